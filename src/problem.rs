//! Errors as `application/problem+json` ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)).

mod error_map;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Map, Value};

pub(crate) use self::error_map::ErrorMap;
use self::error_map::UnmappedError;
use crate::error::Chain;
use crate::trace::{self, RequestId};

/// An error response that a handler returns.
///
/// ```
/// use axum::{Json, extract::Path};
/// use axum_chassis::Problem;
///
/// async fn order(Path(id): Path<u64>) -> Result<Json<u64>, Problem> {
///     if id > 100 {
///         return Err(Problem::not_found(format!("there is no order {id}")));
///     }
///     Ok(Json(id))
/// }
/// ```
///
/// An error that converts into [`anyhow::Error`] becomes a 500 through `?`. Its causes are logged, and the client gets
/// no details except the request ID. To map such errors to other responses, such as a 503 without a connection to the
/// store, register a mapping once with [`Chassis::on_error`](crate::Chassis::on_error).
#[derive(Debug)]
pub struct Problem(Box<ProblemParts>);

/// Boxed, so that a `Result<_, Problem>` costs a handler that succeeds no more than a pointer.
#[derive(Debug)]
struct ProblemParts {
    status: StatusCode,
    title: Option<Cow<'static, str>>,
    kind: Option<Cow<'static, str>>,
    detail: Option<Cow<'static, str>>,
    fields: Map<String, Value>,
    retry_after: Option<Duration>,
    cause: Option<anyhow::Error>,
    /// The cause came through `?`, and the status is 500 because no mapping has been applied yet.
    unmapped: bool,
}

/// An extension of every response that is a problem already, so that no layer renders it again. It contains the error
/// if `on_error` may still map the error to another status.
#[derive(Clone)]
pub(crate) struct Rendered(Option<Arc<UnmappedError>>);

impl Problem {
    /// A problem of this status, titled with the status's standard phrase.
    pub fn new(status: StatusCode) -> Self {
        Self(Box::new(ProblemParts {
            status,
            title: None,
            kind: None,
            detail: None,
            fields: Map::new(),
            retry_after: None,
            cause: None,
            unmapped: false,
        }))
    }

    /// 400: the request is invalid, for the given reason.
    pub fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST).detail(detail)
    }

    /// 404: the resource does not exist.
    pub fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND).detail(detail)
    }

    /// 409: the request conflicts with the current state.
    pub fn conflict(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::CONFLICT).detail(detail)
    }

    /// 503: temporarily unavailable, for the given reason; see [`retry_after`](Self::retry_after).
    pub fn unavailable(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE).detail(detail)
    }

    /// A description of this occurrence, for the client.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// A short name for this kind of problem, the same each time.
    #[must_use]
    pub fn title(mut self, title: impl Into<Cow<'static, str>>) -> Self {
        self.0.title = Some(title.into());
        self
    }

    /// A URI that identifies this kind of problem; `about:blank` unless set.
    #[must_use]
    pub fn kind(mut self, uri: impl Into<Cow<'static, str>>) -> Self {
        self.0.kind = Some(uri.into());
        self
    }

    /// A further member of the body. The standard's own members cannot be replaced.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.0.fields.insert(name.into(), value.into());
        self
    }

    /// When the client may try again: the `Retry-After` header, in whole seconds, rounded up.
    #[must_use]
    pub fn retry_after(mut self, pause: Duration) -> Self {
        self.0.retry_after = Some(pause);
        self
    }

    /// The cause: logged with its own causes, never sent to the client.
    #[must_use]
    pub fn cause(mut self, error: impl Into<anyhow::Error>) -> Self {
        self.0.cause = Some(error.into());
        self
    }

    /// The response's status.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The response, with this request ID.
    pub(crate) fn render(self, request: Option<&RequestId>) -> Response {
        let problem = *self.0;
        // Within a request, a layer of the chassis receives the response and maps the error.
        let mut unmapped = None;
        match problem.cause {
            Some(cause) if problem.unmapped && request.is_some() => {
                unmapped = Some(Arc::new(UnmappedError::new(cause)));
            }
            Some(cause) => log(problem.status, &Chain(cause.as_ref()).to_string()),
            None => {}
        }
        let body = serde_json::to_vec(&Body {
            kind: problem.kind.as_deref().unwrap_or("about:blank"),
            title: problem
                .title
                .as_deref()
                .or(problem.status.canonical_reason())
                .unwrap_or("Unknown"),
            status: problem.status.as_u16(),
            detail: problem.detail.as_deref(),
            request_id: request.map(RequestId::as_str),
            fields: &problem.fields,
        })
        .unwrap_or_default();
        let mut response = (problem.status, body).into_response();
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(pause) = problem.retry_after {
            let seconds = pause.as_secs() + u64::from(pause.subsec_nanos() > 0);
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, seconds.into());
        }
        response.extensions_mut().insert(Rendered(unmapped));
        response
    }
}

/// Logs the cause, which clients do not see. Below 500 the client caused it, so the level is info.
fn log(status: StatusCode, error: &str) {
    let status_code = status.as_u16();
    if status.is_server_error() {
        tracing::error!(status = status_code, error, "request failed");
    } else {
        tracing::info!(status = status_code, error, "request refused");
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let ids = trace::current();
        self.render(ids.as_ref().map(|ids| &ids.request))
    }
}

impl<E: Into<anyhow::Error>> From<E> for Problem {
    fn from(error: E) -> Self {
        let mut problem = Self::new(StatusCode::INTERNAL_SERVER_ERROR).cause(error);
        problem.0.unmapped = true;
        problem
    }
}

/// The schema of the JSON that is sent.
impl JsonSchema for Problem {
    fn schema_name() -> Cow<'static, str> {
        "Problem".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Body::json_schema(generator)
    }
}

/// An error as RFC 9457 defines it; some kinds of problems have further members.
#[derive(Serialize, JsonSchema)]
struct Body<'a> {
    /// A URI that identifies this kind of problem.
    #[serde(rename = "type")]
    #[schemars(extend("format" = "uri-reference"))]
    kind: &'a str,
    /// A short name for this kind of problem, the same each time.
    title: &'a str,
    /// The response's status.
    status: u16,
    /// A description of this occurrence.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", default)]
    detail: Option<&'a str>,
    /// The request ID, which is also in the service's log.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", default)]
    request_id: Option<&'a str>,
    #[serde(flatten, serialize_with = "unreserved")]
    #[schemars(with = "Map<String, Value>")]
    fields: &'a Map<String, Value>,
}

fn unreserved<S: serde::Serializer>(fields: &Map<String, Value>, to: S) -> Result<S::Ok, S::Error> {
    const RESERVED: [&str; 5] = ["type", "title", "status", "detail", "request_id"];
    to.collect_map(
        fields
            .iter()
            .filter(|(name, _)| !RESERVED.contains(&name.as_str())),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn json(problem: Problem) -> Value {
        let body = axum::body::to_bytes(problem.into_response().into_body(), usize::MAX)
            .await
            .expect("a body in memory");
        serde_json::from_slice(&body).expect("JSON")
    }

    #[tokio::test]
    async fn a_problem_has_the_standards_members() {
        let problem = Problem::not_found("there is no order 7")
            .with("order", 7)
            .with("status", 200);
        assert_eq!(
            json(problem).await,
            serde_json::json!({
                "type": "about:blank", "title": "Not Found", "status": 404,
                "detail": "there is no order 7", "order": 7
            })
        );
    }

    #[tokio::test]
    async fn the_response_matches_the_schema() {
        let schema = schemars::schema_for!(Problem).to_value();
        let members = schema["properties"].as_object().expect("members");
        assert_eq!(
            schema["required"],
            serde_json::json!(["type", "title", "status"])
        );
        for member in json(Problem::not_found("there is no order 7"))
            .await
            .as_object()
            .expect("an object")
            .keys()
        {
            assert!(members.contains_key(member), "{member}: {schema}");
        }
        assert_eq!(schema["additionalProperties"], true, "{schema}");
    }

    #[tokio::test]
    async fn the_cause_of_a_500_is_not_sent() {
        let problem = Problem::from(anyhow::anyhow!("password hunter2 refused"));
        assert_eq!(
            json(problem).await,
            serde_json::json!({"type": "about:blank", "title": "Internal Server Error", "status": 500})
        );
    }
}
