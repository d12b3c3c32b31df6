//! The bearer token in the OpenAPI document of a service, with the feature `openapi`.
//!
//! ```no_run
//! use axum::Router;
//! use axum_chassis::openapi::routing::{delete, get};
//! use axum_chassis::openapi::{ApiRouter, Document};
//! use axum_chassis_auth::{Auth, Caller, openapi};
//!
//! async fn orders(Caller(caller): Caller) -> String {
//!     format!("orders of {}", caller.subject)
//! }
//!
//! async fn cancel() {}
//!
//! fn routes(auth: &Auth) -> Router {
//!     let write = ApiRouter::new().api_route("/orders/{id}", delete(cancel));
//!     let protected = ApiRouter::new()
//!         .api_route("/orders", get(orders))
//!         .merge(auth.require("orders:write").protect(write));
//!     let routes = auth.layer().protect(protected);
//!     openapi::with_security_scheme(Document::new("orders", "1.0.0")).serve(routes)
//! }
//! ```
//!
//! The scheme is `http` with `bearer` ([OpenAPI 3.1](https://spec.openapis.org/oas/v3.1.0#security-scheme-object)), so
//! clients of the document send a token that they already have. The page for the routes has a field for it.

use axum_chassis::aide::openapi::{Operation, SecurityScheme};
use axum_chassis::aide::{OperationInput, generate::GenContext, util::iter_operations_mut};
use axum_chassis::openapi::{ApiRouter, Document};

use crate::caller::Caller;
use crate::layer::RequireToken;

/// The name of the scheme in the document. Services with two providers have one scheme too, because clients send the
/// tokens of both in the same way.
const SCHEME: &str = "bearer";

/// Adds the security scheme to a document. Without it, the routes refer to a scheme that the document does not have.
pub fn with_security_scheme(document: Document) -> Document {
    let scheme = SecurityScheme::Http {
        scheme: "bearer".to_owned(),
        bearer_format: Some("JWT".to_owned()),
        description: None,
        extensions: Default::default(),
    };
    document.security_scheme(SCHEME, scheme)
}

impl RequireToken {
    /// Adds the layer to the routes, as `route_layer` does, and describes in the document that they need a token, and
    /// its scopes. With the feature `openapi`.
    #[must_use = "the routes are in the value that is returned"]
    pub fn protect<S>(&self, routes: ApiRouter<S>) -> ApiRouter<S>
    where
        S: Clone + Send + Sync + 'static,
    {
        let described = routes.with_path_items(|mut path| {
            for (_, operation) in iter_operations_mut(path.inner_mut()) {
                describe(operation, self.scopes());
            }
            path
        });
        described.route_layer(self.clone())
    }
}

/// A handler with `Caller` needs a token, whichever way the layer was added.
impl<C> OperationInput for Caller<C> {
    fn operation_input(_: &mut GenContext, operation: &mut Operation) {
        describe(operation, std::iter::empty());
    }
}

/// Adds the scheme and the scopes to the requirements of a route. They are alternatives, and each of them needs the token.
fn describe<'a>(operation: &mut Operation, scopes: impl Iterator<Item = &'a str> + Clone) {
    if operation.security.is_empty() {
        operation.security.push(Default::default());
    }
    for requirement in &mut operation.security {
        let listed = requirement.entry(SCHEME.to_owned()).or_default();
        for scope in scopes.clone() {
            if !listed.iter().any(|known| known == scope) {
                listed.push(scope.to_owned());
            }
        }
    }
}
