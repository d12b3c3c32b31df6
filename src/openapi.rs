//! Routes described by [OpenAPI](https://spec.openapis.org/oas/v3.1.0), from the types of their handlers: [`aide`]
//! supports this crate's types too, and [`problems`] adds the error responses of every route.
//!
//! ```
//! use aide::axum::ApiRouter;
//! use aide::axum::routing::get_with;
//! use aide::openapi::OpenApi;
//! use axum::{Json, Router, extract::Path};
//! use axum_chassis::schemars::{self, JsonSchema};
//! use axum_chassis::openapi::problems;
//! use axum_chassis::{Problem, aide};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Deserialize, JsonSchema)]
//! struct Which {
//!     id: u64,
//! }
//!
//! #[derive(Serialize, JsonSchema)]
//! struct Order {
//!     item: String,
//! }
//!
//! async fn order(Path(Which { id }): Path<Which>) -> Result<Json<Order>, Problem> {
//!     Err(Problem::not_found(format!("there is no order {id}")))
//! }
//!
//! let mut document = OpenApi::default();
//! let router: Router = ApiRouter::new()
//!     .api_route("/orders/{id}", get_with(order, |route| route.summary("An order")))
//!     .finish_api_with(&mut document, problems);
//!
//! let document = serde_json::to_value(&document).unwrap();
//! let responses = &document["paths"]["/orders/{id}"]["get"]["responses"];
//! assert!(responses["200"]["content"]["application/json"].is_object());
//! assert!(responses["default"]["content"]["application/problem+json"].is_object());
//! ```
//!
//! `aide` keeps the schemas of a document in its thread until the document is finished. A service's start stays in one.
//!
//! It comes with what JSON needs. For extractors of forms, files and WebSockets a service depends on it too, in the same
//! version, with the features `axum-form`, `axum-multipart` and `axum-ws`.

use aide::generate::{GenContext, in_context};
use aide::openapi::{MediaType, Operation, ReferenceOr, Response, SchemaObject, StatusCode};
use aide::transform::TransformOpenApi;
use aide::util::iter_operations_mut;
use aide::{OperationInput, OperationOutput};

use crate::client_ip::ClientAddress;
use crate::problem::Problem;

/// Adds a [`Problem`] to every route as its default response, which stands for all error responses of the chassis in
/// its place (it takes too long, it panics, there are too many requests, ...), and where axum's extractors
/// refuse a request in plain text, of which [`request`](crate::request) makes a problem.
pub fn problems(mut api: TransformOpenApi<'_>) -> TransformOpenApi<'_> {
    let problem = in_context(response);
    let paths = api.inner_mut().paths.iter_mut();
    let paths = paths.flat_map(|paths| paths.paths.values_mut());
    for path in paths.filter_map(ReferenceOr::as_item_mut) {
        for (_, operation) in iter_operations_mut(path) {
            let responses = operation.responses.get_or_insert_default();
            for (status, response) in &mut responses.responses {
                let error = matches!(status, StatusCode::Code(400..) | StatusCode::Range(4..));
                if let Some(response) = response.as_item_mut()
                    && error
                    && response
                        .content
                        .keys()
                        .all(|kind| kind.starts_with("text/plain"))
                {
                    response.content.clone_from(&problem.content);
                }
            }
            let default = &mut responses.default;
            default.get_or_insert_with(|| ReferenceOr::Item(problem.clone()));
        }
    }
    api
}

fn response(context: &mut GenContext) -> Response {
    let schema = SchemaObject {
        json_schema: context.schema.subschema_for::<Problem>(),
        example: None,
        external_docs: None,
    };
    let content = MediaType {
        schema: Some(schema),
        ..MediaType::default()
    };
    Response {
        description: "An error".to_owned(),
        content: [("application/problem+json".to_owned(), content)].into(),
        ..Response::default()
    }
}

/// The default response: it applies to every status.
impl OperationOutput for Problem {
    type Inner = serde_json::Value;

    fn operation_response(context: &mut GenContext, _: &mut Operation) -> Option<Response> {
        Some(response(context))
    }

    fn inferred_responses(
        context: &mut GenContext,
        _: &mut Operation,
    ) -> Vec<(Option<StatusCode>, Response)> {
        vec![(None, response(context))]
    }
}

/// Clients do not send it.
impl OperationInput for ClientAddress {}
