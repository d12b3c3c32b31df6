//! An observer of requests. It adds the tier of the tenant to each request's access line, and counts requests by tier.
//!
//! ```sh
//! cargo run --example observer
//! curl --header 'x-api-key: gold-7' localhost:8080/orders
//! curl localhost:9090/metrics | grep tenant
//! ```
//!
//! Only the authentication layer can find out the tenant. It passes the tier to the observer in an extension of the
//! request.

use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use axum_chassis::logs::AccessFields;
use axum_chassis::metrics::{Counter, Family};
use axum_chassis::request::{FinishedRequest, RequestHead, RequestObserver};
use axum_chassis::{Chassis, Problem, Service};
use http::StatusCode;

fn main() -> ExitCode {
    Service::<()>::new("observer", env!("CARGO_PKG_VERSION")).run(start)
}

async fn start(chassis: Chassis<()>) -> anyhow::Result<Router> {
    let requests = chassis.metrics().counter_with(
        "tenant_requests_total",
        "Requests by the tier of their tenant.",
        ["tier", "status"],
    )?;
    chassis.observe(Tiers { requests });
    Ok(Router::new()
        .route("/orders", get("no orders\n"))
        .layer(from_fn(authenticate)))
}

/// There are few tiers, so a tier can be a label of a metric. A tenant cannot, because there are many.
#[derive(Clone, Copy)]
enum Tier {
    Free,
    Gold,
}

impl Tier {
    fn name(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Gold => "gold",
        }
    }
}

/// The tier of a request. Empty until the request is authenticated.
type RequestTier = Arc<OnceLock<Tier>>;

async fn authenticate(
    Extension(known): Extension<RequestTier>,
    request: Request,
    next: Next,
) -> Response {
    let key = request.headers().get("x-api-key");
    let tier = match key.and_then(|key| key.to_str().ok()) {
        Some(key) if key.starts_with("gold-") => Tier::Gold,
        Some(key) if key.starts_with("free-") => Tier::Free,
        _ => return Problem::new(StatusCode::UNAUTHORIZED).into_response(),
    };
    // Setting it cannot fail, because only this layer sets it.
    let _ = known.set(tier);
    next.run(request).await
}

struct Tiers {
    requests: Family<Counter, 2>,
}

impl RequestObserver for Tiers {
    type State = RequestTier;

    fn begin(&self, request: &mut RequestHead<'_>) -> RequestTier {
        let tier = RequestTier::default();
        request.extensions_mut().insert(tier.clone());
        tier
    }

    fn end(&self, tier: RequestTier, request: &FinishedRequest<'_>, fields: &mut AccessFields<'_>) {
        let tier = tier.get().map_or("none", |tier| tier.name());
        self.requests.with([tier, request.status.as_str()]).inc();
        fields.text("tenant_tier", tier);
    }
}
