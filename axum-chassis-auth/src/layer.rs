//! The layer that lets only requests with a valid token pass.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum_chassis::Problem;
use http::{HeaderValue, StatusCode, header};
use tower::{Layer, Service};

use crate::access_line::{note_claim, note_rejected};
use crate::auth::Auth;
use crate::outcome::{ErrorCode, Outcome};
use crate::settings::is_scope;
use crate::token::VerifiedToken;

/// A layer that rejects requests without a valid token, or without a scope. [`Auth::layer`] and [`Auth::require`] return
/// it.
#[derive(Clone, Debug)]
pub struct RequireToken {
    auth: Auth,
    scope: Option<Arc<str>>,
}

/// The service of a [`RequireToken`].
#[derive(Clone, Debug)]
pub struct RequireTokenService<S> {
    inner: S,
    layer: RequireToken,
}

/// An extension of a request whose token has been checked.
#[derive(Clone)]
pub(crate) struct CheckedToken {
    pub(crate) token: Arc<VerifiedToken>,
    checked_by: Auth,
}

impl Auth {
    /// A layer that rejects requests without a valid token:
    ///
    /// ```no_run
    /// # use axum::{Router, routing::get};
    /// # fn routes(auth: axum_chassis_auth::Auth) -> Router {
    /// Router::new()
    ///     .route("/orders", get("your orders"))
    ///     .route_layer(auth.layer()) // for all routes above
    ///     .route("/prices", get("public"))
    /// # }
    /// ```
    ///
    /// With `route_layer`, an unknown path is a 404. With `layer`, it is a 401 for a request without a token.
    pub fn layer(&self) -> RequireToken {
        RequireToken {
            auth: self.clone(),
            scope: None,
        }
    }

    /// A layer that rejects requests whose token does not have this scope (403), and those without a valid token.
    ///
    /// ```no_run
    /// # use axum::{Router, routing::{delete, get}};
    /// # fn routes(auth: axum_chassis_auth::Auth) -> Router {
    /// Router::new()
    ///     .route("/orders/{id}", delete("deleted").layer(auth.require("orders:write")))
    ///     .route("/orders", get("your orders"))
    ///     .route_layer(auth.layer())
    /// # }
    /// ```
    ///
    /// Two layers around the same route check the token once.
    ///
    /// # Panics
    /// If the scope is empty, or contains a space, `"`, `\` or a character that is not ASCII.
    pub fn require(&self, scope: &str) -> RequireToken {
        assert!(is_scope(scope), "invalid scope {scope:?}");
        RequireToken {
            auth: self.clone(),
            scope: Some(scope.into()),
        }
    }
}

impl<S> Layer<S> for RequireToken {
    type Service = RequireTokenService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RequireTokenService {
            inner,
            layer: self.clone(),
        }
    }
}

impl<S> Service<Request> for RequireTokenService<S>
where
    S: Service<Request, Response = Response> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        // The one that is ready; the clone is not.
        let ready = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, ready);
        let layer = self.layer.clone();
        Box::pin(async move {
            match layer.admit(&mut request).await {
                Ok(()) => inner.call(request).await,
                Err(outcome) => {
                    note_rejected(request.extensions(), outcome);
                    Ok(layer.rejection(outcome))
                }
            }
        })
    }
}

impl RequireToken {
    async fn admit(&self, request: &mut Request) -> Result<(), Outcome> {
        let checked = request.extensions().get::<CheckedToken>();
        let token = match checked.filter(|caller| caller.checked_by.is(&self.auth)) {
            Some(caller) => caller.token.clone(),
            None => {
                let token = Arc::new(self.auth.check(request.headers()).await?);
                if let Some(name) = self.auth.log_claim()
                    && let Some(value) = token.text(name)
                {
                    note_claim(request.extensions(), name, &value);
                }
                request.extensions_mut().insert(CheckedToken {
                    token: token.clone(),
                    checked_by: self.auth.clone(),
                });
                token
            }
        };
        if self.scopes().all(|scope| token.claims.has_scope(scope)) {
            return Ok(());
        }
        self.auth.count(Outcome::Scope);
        Err(Outcome::Scope)
    }

    pub(crate) fn scopes(&self) -> impl Iterator<Item = &str> + Clone {
        let of_all = self.auth.required_scopes().iter().map(String::as_str);
        of_all.chain(self.scope.as_deref())
    }

    /// The response to a rejected request, with the challenge of [RFC 6750](https://www.rfc-editor.org/rfc/rfc6750#section-3).
    fn rejection(&self, outcome: Outcome) -> Response {
        let description = outcome.description();
        let (status, challenge) = match outcome.code() {
            ErrorCode::None => (StatusCode::UNAUTHORIZED, r#"Bearer realm="api""#.to_owned()),
            ErrorCode::InvalidRequest => (
                StatusCode::BAD_REQUEST,
                format!(r#"Bearer error="invalid_request", error_description="{description}""#),
            ),
            ErrorCode::InvalidToken => (
                StatusCode::UNAUTHORIZED,
                format!(r#"Bearer error="invalid_token", error_description="{description}""#),
            ),
            ErrorCode::InsufficientScope => {
                let scopes = self.scopes().collect::<Vec<_>>().join(" ");
                let challenge = format!(
                    r#"Bearer error="insufficient_scope", error_description="{description}", scope="{scopes}""#
                );
                (StatusCode::FORBIDDEN, challenge)
            }
            ErrorCode::Unavailable => {
                let problem =
                    Problem::unavailable(description).retry_after(self.auth.retry_after());
                return problem.into_response();
            }
        };
        let mut response = Problem::new(status).detail(description).into_response();
        // It does not fail, because all its parts are visible ASCII.
        if let Ok(challenge) = HeaderValue::from_str(&challenge) {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
