//! Takes orders and tells of them.

use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use axum_chassis::prometheus::IntCounter;
use axum_chassis::{Chassis, Problem};
use serde::{Deserialize, Serialize};

use crate::settings::Settings;
use crate::store::{NewOrder, Order, Store};

/// Its routes, and what they count.
pub(crate) fn router(chassis: &Chassis<Settings>, store: Store) -> anyhow::Result<Router> {
    let created = chassis
        .metrics()
        .counter("orders_created_total", "Orders taken.")?;
    let router = Router::new()
        .route("/orders", get(list).post(create))
        .route("/orders/{id}", get(find))
        .with_state(App { store, created });
    Ok(router)
}

#[derive(Clone)]
struct App {
    store: Store,
    created: IntCounter,
}

/// Which part of a list is asked for.
#[derive(Deserialize)]
#[serde(default)]
struct Page {
    /// The last one that is known already.
    after: i64,
    limit: u16,
}

impl Default for Page {
    fn default() -> Self {
        Self {
            after: 0,
            limit: 100,
        }
    }
}

#[derive(Serialize)]
struct List {
    orders: Vec<Order>,
    /// Where there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

async fn list(State(app): State<App>, Query(page): Query<Page>) -> Result<Json<List>, Problem> {
    if !(1..=1000).contains(&page.limit) {
        return Err(Problem::bad_request("limit is a number from 1 to 1000"));
    }
    let limit = usize::from(page.limit);
    let mut orders = app.store.list(page.after, page.limit + 1).await?;
    let more = orders.len() > limit;
    orders.truncate(limit);
    let last = orders.last().filter(|_| more);
    let next = last.map(|last| format!("/orders?after={}&limit={limit}", last.id));
    Ok(Json(List { orders, next }))
}

async fn find(State(app): State<App>, Path(id): Path<i64>) -> Result<Json<Order>, Problem> {
    let order = app.store.find(id).await?;
    order
        .map(Json)
        .ok_or_else(|| Problem::not_found(format!("there is no order {id}")))
}

/// Sent again, as after an answer that was lost, it is answered as it was, and not taken twice.
async fn create(
    State(app): State<App>,
    Json(wanted): Json<NewOrder>,
) -> Result<impl IntoResponse, Problem> {
    if wanted.reference.trim().is_empty() || wanted.item.trim().is_empty() {
        return Err(Problem::bad_request(
            "an order needs a reference and an item",
        ));
    }
    if wanted.quantity < 1 {
        return Err(Problem::bad_request("quantity has to be at least 1"));
    }
    let (status, order) = match app.store.add(&wanted).await? {
        Some(order) => {
            app.created.inc();
            tracing::info!(order = order.id, "order created");
            (StatusCode::CREATED, order)
        }
        None => {
            let known = app.store.find_by_reference(&wanted.reference).await?;
            let same = known.filter(|order| order.wanted == wanted);
            let same = same.ok_or_else(|| {
                let detail = format!("{} is the reference of another order", wanted.reference);
                Problem::new(StatusCode::CONFLICT).detail(detail)
            })?;
            (StatusCode::OK, same)
        }
    };
    let location = [(header::LOCATION, format!("/orders/{}", order.id))];
    Ok((status, location, Json(order)))
}
