//! Counts in Redis how often an order was looked at.

use axum::extract::{Path, State};
use axum::routing::post;
use axum::{Json, Router};
use axum_chassis::Problem;
use axum_chassis_redis::Pool;
use axum_chassis_redis::redis::AsyncTypedCommands;
use serde::Serialize;

use crate::store::Store;

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

#[derive(Serialize)]
struct Views {
    views: usize,
}

async fn count(State(app): State<App>, Path(id): Path<i64>) -> Result<Json<Views>, Problem> {
    let Some(order) = app.store.find(id).await? else {
        return Err(Problem::not_found(format!("there is no order {id}")));
    };
    // By what is the order's alone, also where Redis outlives the database.
    let key = format!("views:{}", order.wanted.reference);
    let views = app.redis.get().incr(key, 1).await?;
    Ok(Json(Views {
        views: usize::try_from(views).unwrap_or_default(),
    }))
}
