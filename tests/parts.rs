//! The parts one by one, in a program that keeps its own `main`.

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use axum_chassis::health::Readiness;
use axum_chassis::limits;
use axum_chassis::logs::{self, Output};
use axum_chassis::metrics::Metrics;
use axum_chassis::request::RequestLayer;
use http::{Request, StatusCode};
use tower::ServiceExt;

#[tokio::test]
async fn the_layer_works_on_any_router() {
    let logs = logs::start(&logs::Settings::default(), Output::to(std::io::sink())).expect("logs");
    let metrics = Metrics::new();
    let layer = RequestLayer::new(&limits::Settings::default(), &logs, &metrics).expect("metrics");
    let panics = async || -> &'static str { panic!("a handler's panic") };
    let router = Router::new()
        .route("/", get("hello"))
        .route("/panics/{id}", get(panics))
        .layer(layer);

    for (path, status) in [("/", 200), ("/panics/7", 500), ("/nowhere", 404)] {
        let request = Request::get(path)
            .header("x-request-id", "r1")
            .body(Body::empty())
            .expect("a request");
        let response = router.clone().oneshot(request).await.expect("infallible");
        assert_eq!(
            response.status(),
            StatusCode::from_u16(status).expect("a status")
        );
        assert_eq!(response.headers()["x-request-id"], "r1");
        let is_problem = response.headers()["content-type"] == "application/problem+json";
        assert_eq!(is_problem, status >= 400, "{path}");
    }
    let (_, text) = metrics.encode(None);
    for (route, status) in [("/", 200), ("/panics/{id}", 500), ("unmatched", 404)] {
        let labels = format!("http_response_status_code=\"{status}\",http_route=\"{route}\"}} 1");
        assert!(text.contains(&labels), "no {labels} in {text}");
    }
}

#[test]
fn a_layer_for_the_same_metrics_twice_is_an_error_and_not_a_panic() {
    let logs = logs::start(&logs::Settings::default(), Output::to(std::io::sink())).expect("logs");
    let metrics = Metrics::new();
    assert!(RequestLayer::new(&limits::Settings::default(), &logs, &metrics).is_ok());
    assert!(RequestLayer::new(&limits::Settings::default(), &logs, &metrics).is_err());
}

#[tokio::test(start_paused = true)]
async fn readiness_works_without_a_service() {
    let readiness = Readiness::new(Default::default());
    readiness.check("store", async || anyhow::Ok(()));
    readiness.set_started();
    assert!(!readiness.is_ready());
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    assert!(readiness.is_ready());
    readiness.set_stopping();
    assert!(!readiness.is_ready());
}
