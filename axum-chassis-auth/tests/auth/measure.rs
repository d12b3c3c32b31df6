//! The cost of the check, next to that of jsonwebtoken alone, in the same run.

use std::hint::black_box;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum_chassis::TestChassis;
use axum_chassis_auth::Settings;
use axum_chassis_auth::testing::Issuer;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use tower::{Layer, Service, service_fn};

/// The time for one token.
fn time(mut run: impl FnMut()) -> Duration {
    const TOKENS: u32 = 100;
    let begun = Instant::now();
    (0..TOKENS).for_each(|_| run());
    begun.elapsed() / TOKENS
}

#[test]
#[ignore = "a measurement"]
fn a_check_takes_little_more_than_the_decoding() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let issuer = Issuer::start();
    let token = issuer.token("orders").scope("orders:read").sign();
    let mut settings = Settings::default();
    settings.issuer = issuer.url();
    settings.audience = vec!["orders".to_owned()];
    settings.allow_http_loopback = true;
    let (_test, auth) = runtime.block_on(async {
        let test = TestChassis::new(());
        let auth = axum_chassis_auth::auth(&test.chassis(), "auth", &settings).await;
        (test, auth.unwrap())
    });
    let handler = async |_: axum::extract::Request| {
        Ok::<Response, std::convert::Infallible>("".into_response())
    };
    let mut layered = auth.layer().layer(service_fn(handler));
    let mut whole = || {
        let request = http::Request::get("/")
            .header("authorization", format!("Bearer {token}"))
            .body(Body::empty());
        let response = runtime.block_on(layered.call(request.unwrap()));
        assert_eq!(black_box(response).unwrap().status(), 200);
    };
    let keys: JwkSet = serde_json::from_str(&issuer.key_set()).unwrap();
    let key = DecodingKey::from_jwk(&keys.keys[0]).unwrap();
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_audience(&["orders"]);
    validation.set_issuer(&[issuer.url()]);
    let alone = || {
        let claims = decode::<axum_chassis_auth::Claims>(&token, &key, &validation);
        black_box(claims).unwrap();
    };
    // The shortest of several runs, in turn, because other programs run at the same time.
    let runs: Vec<_> = (0..40).map(|_| (time(&mut whole), time(alone))).collect();
    let whole = runs.iter().map(|run| run.0).min().unwrap();
    let alone = runs.iter().map(|run| run.1).min().unwrap();
    let ratio = whole.as_secs_f64() / alone.as_secs_f64();
    println!("the layer {whole:?}, jsonwebtoken alone {alone:?}, ratio {ratio:.2}");
    assert!(ratio < 1.5, "{ratio}");
}
