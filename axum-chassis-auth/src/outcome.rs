//! The outcomes of a check, as metrics, the access line and clients see them.

/// The outcome of the check of a request's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Accepted,
    NoToken,
    InvalidRequest,
    Malformed,
    Algorithm,
    TokenType,
    UnknownKey,
    Signature,
    Issuer,
    Audience,
    Expired,
    NotYetValid,
    Claims,
    Scope,
    Unavailable,
}

/// The error codes of [RFC 6750](https://www.rfc-editor.org/rfc/rfc6750#section-3.1), and the cases without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorCode {
    /// The request has no token, so the challenge has no error code.
    None,
    InvalidRequest,
    InvalidToken,
    InsufficientScope,
    /// The service cannot decide: 503.
    Unavailable,
}

impl Outcome {
    pub(crate) const ALL: [Self; 15] = [
        Self::Accepted,
        Self::NoToken,
        Self::InvalidRequest,
        Self::Malformed,
        Self::Algorithm,
        Self::TokenType,
        Self::UnknownKey,
        Self::Signature,
        Self::Issuer,
        Self::Audience,
        Self::Expired,
        Self::NotYetValid,
        Self::Claims,
        Self::Scope,
        Self::Unavailable,
    ];

    /// The name in metrics and in the access line.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::NoToken => "no_token",
            Self::InvalidRequest => "invalid_request",
            Self::Malformed => "malformed",
            Self::Algorithm => "algorithm",
            Self::TokenType => "token_type",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Claims => "claims",
            Self::Scope => "scope",
            Self::Unavailable => "unavailable",
        }
    }

    pub(crate) fn code(self) -> ErrorCode {
        match self {
            Self::NoToken => ErrorCode::None,
            Self::InvalidRequest => ErrorCode::InvalidRequest,
            Self::Scope => ErrorCode::InsufficientScope,
            Self::Unavailable => ErrorCode::Unavailable,
            _ => ErrorCode::InvalidToken,
        }
    }

    /// The description for the client. It has nothing of the token, and no `"` or `\`, which the header does not allow.
    pub(crate) fn description(self) -> &'static str {
        match self {
            Self::Accepted => "the token is valid",
            Self::NoToken => "this route needs an access token: Authorization: Bearer <token>",
            Self::InvalidRequest => "the request has more than one Authorization header",
            Self::Malformed => "the token is not a valid signed JWT",
            Self::Algorithm => "the signature algorithm of the token is not accepted",
            Self::TokenType => "the token is not an access token: its typ is not accepted",
            Self::UnknownKey => "the key of the token is not known",
            Self::Signature => "the signature of the token is invalid",
            Self::Issuer => "the token is from another issuer",
            Self::Audience => "the token is for another audience",
            Self::Expired => "the token has expired",
            Self::NotYetValid => "the token is not valid yet",
            Self::Claims => "a claim of the token is missing or invalid",
            Self::Scope => "the token does not have the required scope",
            Self::Unavailable => "the keys of the token issuer are not available",
        }
    }
}
