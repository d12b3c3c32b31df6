//! Takes orders and tells of them.

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use axum_chassis::prometheus::IntCounter;
use axum_chassis::{Chassis, Problem};

use crate::settings::Settings;
use crate::store::{NewOrder, Order, Store};

/// Its routes, and what they count.
pub(crate) fn router(chassis: &Chassis<Settings>, store: Store) -> anyhow::Result<Router> {
    let created = chassis
        .metrics()
        .counter("orders_created_total", "Orders taken.")?;
    Ok(routes(store, created))
}

fn routes(store: Store, created: IntCounter) -> Router {
    Router::new()
        .route("/orders", get(list).post(create))
        .route("/orders/{id}", get(find))
        .with_state(App { store, created })
}

#[derive(Clone)]
struct App {
    store: Store,
    created: IntCounter,
}

async fn list(State(app): State<App>) -> Json<Vec<Order>> {
    Json(app.store.all())
}

async fn find(State(app): State<App>, Path(id): Path<usize>) -> Result<Json<Order>, Problem> {
    let order = app.store.get(id);
    order
        .map(Json)
        .ok_or_else(|| Problem::not_found(format!("there is no order {id}")))
}

async fn create(
    State(app): State<App>,
    Json(wanted): Json<NewOrder>,
) -> Result<impl IntoResponse, Problem> {
    if wanted.item.trim().is_empty() {
        return Err(Problem::bad_request("an order needs an item"));
    }
    let order = app
        .store
        .add(wanted)
        .map_err(|full| Problem::new(StatusCode::INSUFFICIENT_STORAGE).detail(full.to_string()))?;
    app.created.inc();
    tracing::info!(order = order.id, "order created");
    let location = [(header::LOCATION, format!("/orders/{}", order.id))];
    Ok((StatusCode::CREATED, location, Json(order)))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::{Method, Request};
    use http_body_util::BodyExt;
    use serde_json::{Value, json};
    use tower::ServiceExt;

    use super::*;

    fn service(capacity: usize) -> (Router, IntCounter) {
        let created = IntCounter::new("orders_created_total", "Orders taken.").expect("a counter");
        (routes(Store::new(capacity), created.clone()), created)
    }

    async fn ask(router: &Router, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string()))
            .expect("a request");
        let response = router.clone().oneshot(request).await.expect("an answer");
        let status = response.status();
        let body = response.into_body().collect().await.expect("a body");
        let json = serde_json::from_slice(&body.to_bytes()).unwrap_or(Value::Null);
        (status, json)
    }

    #[tokio::test]
    async fn an_order_can_be_read_back() {
        let (router, created) = service(1);
        let tea = json!({"item": "tea", "quantity": 2});
        let (status, order) = ask(&router, Method::POST, "/orders", tea).await;
        assert_eq!(status, StatusCode::CREATED);
        assert_eq!(order, json!({"id": 1, "item": "tea", "quantity": 2}));

        let found = ask(&router, Method::GET, "/orders/1", Value::Null).await;
        assert_eq!(found, (StatusCode::OK, order.clone()));
        let listed = ask(&router, Method::GET, "/orders", Value::Null).await;
        assert_eq!(listed, (StatusCode::OK, json!([order])));
        assert_eq!(created.get(), 1);
    }

    #[tokio::test]
    async fn an_order_that_makes_no_sense_is_refused() {
        let (router, created) = service(1);
        for (wrong, refused) in [
            (json!({"item": " ", "quantity": 1}), StatusCode::BAD_REQUEST),
            (
                json!({"item": "tea", "quantity": 0}),
                StatusCode::UNPROCESSABLE_ENTITY,
            ),
            (json!({"item": "tea"}), StatusCode::UNPROCESSABLE_ENTITY),
        ] {
            let (status, _) = ask(&router, Method::POST, "/orders", wrong.clone()).await;
            assert_eq!(status, refused, "{wrong}");
        }
        assert_eq!(created.get(), 0);
    }

    #[tokio::test]
    async fn an_unknown_order_is_a_problem_that_says_so() {
        let (router, _) = service(1);
        let (status, problem) = ask(&router, Method::GET, "/orders/7", Value::Null).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert_eq!(problem["detail"], "there is no order 7");
    }

    #[tokio::test]
    async fn a_full_store_takes_no_more_orders() {
        let (router, _) = service(1);
        let tea = json!({"item": "tea", "quantity": 1});
        ask(&router, Method::POST, "/orders", tea.clone()).await;
        let (status, problem) = ask(&router, Method::POST, "/orders", tea).await;
        assert_eq!(status, StatusCode::INSUFFICIENT_STORAGE);
        assert_eq!(problem["detail"], "all 1 places are taken");
    }
}
