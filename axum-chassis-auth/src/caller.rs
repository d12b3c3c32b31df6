//! The extractor for the claims of a request's token.

use axum::extract::FromRequestParts;
use axum_chassis::Problem;
use http::StatusCode;
use http::request::Parts;
use serde::de::DeserializeOwned;

use crate::access_line::note_rejected;
use crate::claims::Claims;
use crate::layer::CheckedToken;
use crate::outcome::Outcome;

/// The caller of a request: the claims of its token, which a [layer](crate::Auth::layer) has checked.
///
/// ```
/// use axum_chassis_auth::Caller;
/// use serde::Deserialize;
///
/// async fn orders(Caller(caller): Caller) -> String {
///     format!("orders of {}", caller.subject)
/// }
///
/// /// Claims of your own.
/// #[derive(Deserialize)]
/// struct Employee {
///     sub: String,
///     department: String,
/// }
///
/// async fn budget(Caller(employee): Caller<Employee>) -> String {
///     format!("budget of {} for {}", employee.department, employee.sub)
/// }
/// ```
///
/// If the token does not have the claims of your type, the response is a 403. On a route without the layer, no token has
/// been checked, so the response is a 500.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a handler takes it apart")]
pub struct Caller<C = Claims>(pub C);

impl<S: Sync, C: DeserializeOwned> FromRequestParts<S> for Caller<C> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(caller) = parts.extensions.get::<CheckedToken>() else {
            return Err(anyhow::anyhow!(
                "`Caller` is extracted on a route without the layer of `Auth`"
            )
            .into());
        };
        let claims = serde_json::from_str(caller.token.payload.get());
        // The error quotes the claim, so it is dropped.
        claims.map(Self).map_err(|_| {
            note_rejected(&parts.extensions, Outcome::Claims);
            Problem::new(StatusCode::FORBIDDEN)
                .detail("a claim that this route needs is missing in the token, or invalid")
        })
    }
}
