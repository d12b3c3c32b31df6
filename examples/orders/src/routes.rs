//! The routes. Errors of the stores are handled with `?`: 503, 409 or 500.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use axum_chassis::Problem;
use axum_chassis_redis::Pool;
use axum_chassis_redis::redis::AsyncTypedCommands;
use serde::Serialize;

use crate::store::{NewOrder, Order, Store};

#[derive(Clone)]
pub(crate) struct Orders {
    pub(crate) store: Store,
    pub(crate) views: Option<Pool>,
}

#[derive(Serialize)]
struct Views {
    views: usize,
}

pub(crate) fn router(orders: Orders) -> Router {
    Router::new()
        .route("/", get(async || "Order something: POST /orders\n"))
        .route("/orders", post(take))
        .route("/orders/{id}", get(read))
        .route("/orders/{id}/views", post(view))
        .with_state(orders)
}

async fn take(
    State(orders): State<Orders>,
    Json(order): Json<NewOrder>,
) -> Result<(StatusCode, Json<Order>), Problem> {
    if order.quantity < 1 {
        return Err(Problem::bad_request("quantity must be at least 1"));
    }
    let order = orders.store.add(&order).await?;
    tracing::info!(id = order.id, "order taken");
    Ok((StatusCode::CREATED, Json(order)))
}

async fn read(State(orders): State<Orders>, Path(id): Path<i64>) -> Result<Json<Order>, Problem> {
    let order = orders.store.find(id).await?;
    order
        .map(Json)
        .ok_or_else(|| Problem::not_found(format!("there is no order {id}")))
}

/// Counts a view of an order.
async fn view(State(orders): State<Orders>, Path(id): Path<i64>) -> Result<Json<Views>, Problem> {
    let Some(redis) = orders.views else {
        return Err(Problem::not_found("views are not counted here"));
    };
    let views = redis.get().incr(format!("views:{id}"), 1).await?;
    Ok(Json(Views {
        views: usize::try_from(views).unwrap_or_default(),
    }))
}
