//! The reasons of rejected requests, and their responses.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

use crate::problem::Problem;

/// The reason of a rejection: the label of its counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    Host,
    Origin,
    Token,
    Remote,
    Container,
}

impl Reason {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Origin => "origin",
            Self::Token => "token",
            Self::Remote => "remote",
            Self::Container => "container",
        }
    }

    pub(super) fn answer(self) -> Response {
        let (status, detail) = match self {
            Self::Host => (
                StatusCode::MISDIRECTED_REQUEST,
                "on a connection to localhost, Host has to be localhost or an IP address",
            ),
            Self::Origin => (
                StatusCode::FORBIDDEN,
                "the Origin of a change has to be this listener itself",
            ),
            Self::Token => (
                StatusCode::UNAUTHORIZED,
                "needs `Authorization: Bearer` with admin.token; a browser may send it as the password of `Basic`",
            ),
            Self::Remote => (
                StatusCode::FORBIDDEN,
                "without admin.token, changes are for requests from localhost",
            ),
            Self::Container => (
                StatusCode::FORBIDDEN,
                "without admin.token, a service in a container takes no changes: set admin.token",
            ),
        };
        let mut answer = Problem::new(status).detail(detail).into_response();
        if self == Self::Token {
            for scheme in ["Bearer", "Basic realm=\"admin\", charset=\"UTF-8\""] {
                let scheme = HeaderValue::from_static(scheme);
                answer
                    .headers_mut()
                    .append(header::WWW_AUTHENTICATE, scheme);
            }
        }
        answer
    }
}
