//! Counts the views of orders in Redis.

#[cfg(feature = "openapi")]
use axum::Json;
use axum::extract::{Path, State};
#[cfg(not(feature = "openapi"))]
use axum::routing::post;
#[cfg(not(feature = "openapi"))]
use axum::{Json, Router};
use axum_chassis::Problem;
#[cfg(feature = "openapi")]
use axum_chassis::openapi::ApiRouter;
#[cfg(feature = "openapi")]
use axum_chassis::openapi::routing::post_with;
#[cfg(feature = "openapi")]
use axum_chassis::schemars::{self, JsonSchema};
use axum_chassis_redis::Pool;
use axum_chassis_redis::redis::AsyncTypedCommands;
use serde::Serialize;

use crate::orders::Which;
use crate::store::Store;

#[cfg(feature = "openapi")]
pub(crate) fn router(store: Store, redis: Pool) -> ApiRouter {
    ApiRouter::new()
        .api_route(
            "/orders/{id}/views",
            post_with(count, |route| {
                route
                    .summary("Counts a look at an order")
                    .response_with::<404, Problem, _>(|answer| {
                        answer.description("There is no such order")
                    })
            }),
        )
        .with_state(App { store, redis })
}

#[cfg(not(feature = "openapi"))]
pub(crate) fn router(store: Store, redis: Pool) -> Router {
    Router::new()
        .route("/orders/{id}/views", post(count))
        .with_state(App { store, redis })
}

#[derive(Clone)]
struct App {
    store: Store,
    redis: Pool,
}

/// The number of views of an order.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(JsonSchema))]
struct Views {
    views: usize,
}

async fn count(
    State(app): State<App>,
    Path(Which { id }): Path<Which>,
) -> Result<Json<Views>, Problem> {
    let Some(order) = app.store.find(id).await? else {
        return Err(Problem::not_found(format!("there is no order {id}")));
    };
    // The key contains the order's reference, not its ID: Redis may outlive the database, whose IDs would then begin
    // again.
    let key = format!("views:{}", order.wanted.reference);
    let views = app.redis.get().incr(key, 1).await?;
    Ok(Json(Views {
        views: usize::try_from(views).unwrap_or_default(),
    }))
}
