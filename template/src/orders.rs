//! Routes that create and read orders.

#[cfg(feature = "openapi")]
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderName, StatusCode, header};
#[cfg(not(feature = "openapi"))]
use axum::routing::get;
#[cfg(not(feature = "openapi"))]
use axum::{Json, Router};
use axum_chassis::metrics::Counter;
#[cfg(feature = "openapi")]
use axum_chassis::openapi::ApiRouter;
#[cfg(feature = "openapi")]
use axum_chassis::openapi::routing::{get_with, post_with};
#[cfg(feature = "openapi")]
use axum_chassis::schemars::{self, JsonSchema};
use axum_chassis::{Chassis, Problem};
use serde::{Deserialize, Serialize};

use crate::settings::Settings;
use crate::store::{NewOrder, Order, Store};

#[cfg(feature = "openapi")]
/// Registers the metrics of the routes, and returns the routes.
pub(crate) fn router(chassis: &Chassis<Settings>, store: Store) -> anyhow::Result<ApiRouter> {
    let created = chassis
        .metrics()
        .counter("orders_created_total", "Orders taken.")?;
    let router = ApiRouter::new()
        .api_route(
            "/orders",
            get_with(list, |route| route.summary("Orders, from the oldest")),
        )
        .api_route(
            "/orders",
            post_with(create, |route| {
                route
                    .summary("Takes an order")
                    .description("Sent again, it is answered as it was, and not taken twice.")
                    .response_with::<201, Json<Order>, _>(|answer| answer.description("Taken"))
                    .response_with::<200, Json<Order>, _>(|answer| answer.description("Known"))
                    .response_with::<409, Problem, _>(|answer| {
                        answer.description("Another order has this reference")
                    })
            }),
        )
        .api_route(
            "/orders/{id}",
            get_with(find, |route| {
                route
                    .summary("An order")
                    .response_with::<404, Problem, _>(|answer| {
                        answer.description("There is no such order")
                    })
            }),
        )
        .with_state(App { store, created });
    Ok(router)
}

#[cfg(not(feature = "openapi"))]
/// Registers the metrics of the routes, and returns the routes.
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
    created: Counter,
}

/// The requested page of a list.
#[derive(Deserialize)]
#[cfg_attr(feature = "openapi", derive(JsonSchema))]
#[serde(default)]
struct Page {
    /// The id of the last order of the previous page.
    after: i64,
    #[cfg_attr(feature = "openapi", schemars(range(min = 1, max = 1000)))]
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

/// A page of the list.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(JsonSchema))]
struct List {
    orders: Vec<Order>,
    /// The path of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// The requested order.
#[derive(Deserialize)]
#[cfg_attr(feature = "openapi", derive(JsonSchema))]
pub(crate) struct Which {
    pub(crate) id: i64,
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

async fn find(
    State(app): State<App>,
    Path(Which { id }): Path<Which>,
) -> Result<Json<Order>, Problem> {
    let order = app.store.find(id).await?;
    order
        .map(Json)
        .ok_or_else(|| Problem::not_found(format!("there is no order {id}")))
}

/// If a client sends an order again, for example after a lost response, the client gets the same response, and the
/// order is not created twice.
async fn create(
    State(app): State<App>,
    Json(wanted): Json<NewOrder>,
) -> Result<(StatusCode, [(HeaderName, String); 1], Json<Order>), Problem> {
    // Rejects control characters, because not every database can store them.
    let is_text = |text: &str| !text.is_empty() && !text.contains(char::is_control);
    if !is_text(&wanted.reference) || !is_text(&wanted.item) {
        return Err(Problem::bad_request(
            "an order needs a reference and an item, without control characters",
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
