//! Routes described by [OpenAPI](https://spec.openapis.org/oas/v3.1.0), from the types of their handlers.
//!
//! ```
//! use axum::{Json, Router, extract::Path};
//! use axum_chassis::Problem;
//! use axum_chassis::openapi::routing::get_with;
//! use axum_chassis::openapi::{ApiRouter, Document};
//! use axum_chassis::schemars::{self, JsonSchema};
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
//! let routes = ApiRouter::new()
//!     .api_route("/orders/{id}", get_with(order, |route| route.summary("An order")));
//! let (router, document): (Router, _) = Document::new("orders", "1.0.0").describe(routes);
//!
//! let responses = &document["paths"]["/orders/{id}"]["get"]["responses"];
//! assert!(responses["200"]["content"]["application/json"].is_object());
//! assert!(responses["default"]["content"]["application/problem+json"].is_object());
//! ```
//!
//! [`ApiRouter`] and [`routing`] are those of [aide](https://docs.rs/aide), which supports this crate's types too. aide
//! keeps the schemas of a document in thread-local storage until the document is finished, so a document has to be
//! created in one thread. A service's start runs in one thread.
//!
//! The feature includes what JSON needs. For extractors of forms, files and WebSockets, add aide to the service's
//! dependencies, with the features `axum-form`, `axum-multipart` and `axum-ws`. The version has to be the one that is
//! re-exported as `axum_chassis::aide`.

pub use aide::axum::{ApiRouter, routing};
use aide::generate::{GenContext, in_context};
use aide::openapi::{
    Info, MediaType, OpenApi, Operation, ReferenceOr, Response, SchemaObject, SecurityScheme,
    StatusCode,
};
use aide::swagger::Swagger;
use aide::transform::TransformOpenApi;
use aide::util::iter_operations_mut;
use aide::{OperationInput, OperationOutput};
use axum::body::Bytes;
use axum::response::Html;
use axum::routing::get;
use axum::{Json, Router};
use http::header;
use serde_json::Value;

use crate::client_ip::ClientAddress;
use crate::problem::Problem;

/// The page contains its scripts and styles, and loads nothing from other hosts.
const POLICY: &str = "default-src 'none'; connect-src 'self'; img-src data:; \
                      script-src 'unsafe-inline'; style-src 'unsafe-inline'";

/// The OpenAPI document of a service.
#[derive(Clone, Debug)]
#[must_use = "a document is made of routes, with `serve` or `describe`"]
pub struct Document {
    start: OpenApi,
}

impl Document {
    /// The document of a service with this name and version, such as `env!("CARGO_PKG_NAME")` and
    /// `env!("CARGO_PKG_VERSION")`.
    pub fn new(title: impl Into<String>, version: impl Into<String>) -> Self {
        let info = Info {
            title: title.into(),
            version: version.into(),
            ..Info::default()
        };
        let start = OpenApi {
            info,
            ..OpenApi::default()
        };
        Self { start }
    }

    /// Sets the service's description, in Markdown.
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.start.info.description = Some(text.into());
        self
    }

    /// Adds a way to authenticate requests, with the name by which the security requirements of routes refer to it.
    ///
    /// ```
    /// # use axum_chassis::openapi::{ApiRouter, Document};
    /// use axum_chassis::aide::openapi::{ApiKeyLocation, SecurityScheme};
    ///
    /// let key = SecurityScheme::ApiKey {
    ///     location: ApiKeyLocation::Header,
    ///     name: "x-api-key".to_owned(),
    ///     description: None,
    ///     extensions: Default::default(),
    /// };
    /// let document = Document::new("orders", "1.0.0").security_scheme("key", key);
    /// # let (_, document) = document.describe(ApiRouter::new());
    /// # assert_eq!(document["components"]["securitySchemes"]["key"]["name"], "x-api-key");
    /// ```
    pub fn security_scheme(mut self, name: impl Into<String>, scheme: SecurityScheme) -> Self {
        let components = self.start.components.get_or_insert_default();
        let scheme = ReferenceOr::Item(scheme);
        components.security_schemes.insert(name.into(), scheme);
        self
    }

    /// Returns the routes and two more: `/openapi.json`, the document, and `/docs`, a page to try the routes ([Swagger
    /// UI](https://swagger.io/tools/swagger-ui/)). The page loads nothing from other hosts.
    pub fn serve(self, routes: ApiRouter) -> Router {
        let page = Swagger::new("openapi.json").with_title(&self.start.info.title);
        let page = Bytes::from(page.html());
        let (routes, document) = self.describe(routes);
        let page = async move || ([(header::CONTENT_SECURITY_POLICY, POLICY)], Html(page));
        routes
            .route("/openapi.json", get(async move || Json(document)))
            .route("/docs", get(page))
    }

    /// Returns the routes, and their document as JSON. The document is not served.
    ///
    /// The default response of each route is a [`Problem`]. It stands for all error responses of the chassis: after a
    /// timeout, a panic, too many requests and others. Each rejection of axum's extractors is described as a
    /// [`Problem`] too, because [`request`](crate::request) converts it to one.
    pub fn describe(self, routes: ApiRouter) -> (Router, Value) {
        let mut document = self.start;
        let routes = routes.finish_api_with(&mut document, problems);
        // This cannot fail, because the document contains only strings, numbers, and maps with text as keys.
        (routes, serde_json::to_value(document).unwrap_or_default())
    }
}

/// Adds a [`Problem`] to every route as its default response, and in place of rejections in plain text.
fn problems(mut api: TransformOpenApi<'_>) -> TransformOpenApi<'_> {
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
    type Inner = Value;

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

/// Not an input in the document, because clients do not send it.
impl OperationInput for ClientAddress {}
