//! The check of one token: [RFC 9068 section 4](https://www.rfc-editor.org/rfc/rfc9068#section-4), with the
//! recommendations of [RFC 8725](https://www.rfc-editor.org/rfc/rfc8725).

use std::borrow::Cow;

use axum_chassis::shutdown::Shutdown;
use http::{HeaderMap, header};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::claims::Claims;
use crate::outcome::Outcome;
use crate::settings::Settings;
use crate::store::{KeyStore, MissingKey};

/// The maximum size of a token, and of its header alone. Both are checked before anything is decoded.
const MAX_TOKEN: usize = 16 * 1024;
const MAX_TOKEN_HEADER: usize = 4 * 1024;

/// The rules that a token has to meet.
pub(crate) struct Rules {
    /// One for each accepted algorithm.
    validations: Vec<(Algorithm, Validation)>,
    token_types: Vec<String>,
}

/// The content of a token that meets the rules.
#[derive(Debug)]
pub(crate) struct VerifiedToken {
    pub(crate) claims: Claims,
    /// All claims, for types of the service.
    pub(crate) payload: Box<RawValue>,
}

impl VerifiedToken {
    /// A claim that is a text, a number or a boolean, as text.
    pub(crate) fn text(&self, claim: &str) -> Option<Cow<'_, str>> {
        // The usual claim has been parsed.
        if claim == "sub" {
            return Some(self.claims.subject.as_str().into());
        }
        let mut claims: Map<String, Value> = serde_json::from_str(self.payload.get()).ok()?;
        match claims.remove(claim)? {
            Value::String(text) => Some(text.into()),
            value @ (Value::Number(_) | Value::Bool(_)) => Some(value.to_string().into()),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }
}

impl Rules {
    pub(crate) fn new(settings: &Settings) -> Self {
        let validation = |algorithm| {
            let mut validation = Validation::new(algorithm);
            validation.set_issuer(&[&settings.issuer]);
            validation.set_audience(&settings.audience);
            validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
            validation.leeway = settings.leeway.as_secs();
            validation.validate_nbf = true;
            (algorithm, validation)
        };
        let token_types = settings.token_types.iter().map(|typ| normalized(typ));
        Self {
            validations: settings.accepted().map(validation).collect(),
            token_types: token_types.collect(),
        }
    }

    pub(crate) async fn check(
        &self,
        token: &str,
        keys: &KeyStore,
        shutdown: &Shutdown,
    ) -> Result<VerifiedToken, Outcome> {
        let (header, _) = token.split_once('.').ok_or(Outcome::Malformed)?;
        if token.len() > MAX_TOKEN || header.len() > MAX_TOKEN_HEADER {
            return Err(Outcome::Malformed);
        }
        // The URLs and keys in the header (`jku`, `x5u`, `jwk`, `x5c`) are never used.
        let header = decode_header(token).map_err(|error| match error.kind() {
            // JSON of another shape: in practice an `alg` that jsonwebtoken does not know, such as `none`.
            ErrorKind::Json(error) if error.is_data() => Outcome::Algorithm,
            _ => Outcome::Malformed,
        })?;
        let mut validations = self.validations.iter();
        let (algorithm, validation) = validations
            .find(|(algorithm, _)| *algorithm == header.alg)
            .ok_or(Outcome::Algorithm)?;
        // No extension is supported, so none can be critical (RFC 7515 section 4.1.11).
        if header.crit.is_some() {
            return Err(Outcome::Malformed);
        }
        let typ = normalized(header.typ.as_deref().unwrap_or_default());
        if !self.token_types.contains(&typ) {
            return Err(Outcome::TokenType);
        }
        let key = keys.find(header.kid.as_deref(), *algorithm, shutdown).await;
        let key = key.map_err(|missing| match missing {
            MissingKey::Unknown => Outcome::UnknownKey,
            MissingKey::Unavailable => Outcome::Unavailable,
        })?;
        let decoded = decode::<Box<RawValue>>(token, &key.decoding, validation);
        let payload = decoded.map_err(|error| outcome(error.kind()))?.claims;
        // serde would also read the fields of a struct from a list.
        if !payload.get().starts_with('{') {
            return Err(Outcome::Malformed);
        }
        let claims = serde_json::from_str(payload.get()).map_err(|_| Outcome::Claims)?;
        Ok(VerifiedToken { claims, payload })
    }
}

/// A media type as RFC 7515 section 4.1.9 compares it: the prefix `application/` and the case do not matter.
fn normalized(typ: &str) -> String {
    let typ = typ.to_ascii_lowercase();
    typ.strip_prefix("application/").unwrap_or(&typ).to_owned()
}

fn outcome(error: &ErrorKind) -> Outcome {
    match error {
        ErrorKind::InvalidSignature => Outcome::Signature,
        ErrorKind::ExpiredSignature => Outcome::Expired,
        ErrorKind::ImmatureSignature => Outcome::NotYetValid,
        ErrorKind::InvalidIssuer => Outcome::Issuer,
        ErrorKind::InvalidAudience => Outcome::Audience,
        ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) => Outcome::Claims,
        _ => Outcome::Malformed,
    }
}

/// The token in `Authorization: Bearer` (RFC 6750 section 2.1). Tokens in the URL or in a form are not accepted.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<&str, Outcome> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or(Outcome::NoToken)?;
    if values.next().is_some() {
        return Err(Outcome::InvalidRequest);
    }
    let value = value.to_str().map_err(|_| Outcome::Malformed)?;
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    match scheme.eq_ignore_ascii_case("bearer") {
        true => Ok(token.trim_matches(' ')),
        false => Err(Outcome::NoToken),
    }
}
