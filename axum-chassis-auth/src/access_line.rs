//! Fields of the access line: the caller, or the reason why a token was rejected.

use std::sync::{Arc, OnceLock};

use axum_chassis::logs::AccessFields;
use axum_chassis::request::{FinishedRequest, RequestHead, RequestObserver};
use http::Extensions;

use crate::outcome::Outcome;

/// The maximum length of the claim in the line, in characters.
const MAX_CLAIM: usize = 200;

/// Adds a claim to the access line of a request with a valid token, and `auth` to that of a rejected one. The line has
/// nothing of an invalid token.
pub(crate) struct AccessLine;

/// An extension of each request, which the layer fills in.
#[derive(Clone, Default)]
pub(crate) struct Checked(Arc<CheckedParts>);

#[derive(Default)]
struct CheckedParts {
    /// The name of a claim, and its value.
    claim: OnceLock<(&'static str, String)>,
    rejected: OnceLock<Outcome>,
}

impl RequestObserver for AccessLine {
    type State = Option<Checked>;

    fn begin(&self, request: &mut RequestHead<'_>) -> Option<Checked> {
        // If a service checks the tokens of two issuers, the first observer writes the fields of both.
        let extensions = request.extensions_mut();
        if extensions.get::<Checked>().is_some() {
            return None;
        }
        let checked = Checked::default();
        extensions.insert(checked.clone());
        Some(checked)
    }

    fn end(
        &self,
        checked: Option<Checked>,
        _: &FinishedRequest<'_>,
        fields: &mut AccessFields<'_>,
    ) {
        let Some(Checked(parts)) = checked else {
            return;
        };
        if let Some((name, value)) = parts.claim.get() {
            fields.text(name, value);
        }
        if let Some(outcome) = parts.rejected.get() {
            fields.text("auth", outcome.word());
        }
    }
}

/// Notes a claim of the token of a request.
pub(crate) fn note_claim(extensions: &Extensions, name: &'static str, value: &str) {
    if let Some(Checked(parts)) = extensions.get() {
        let value = || value.chars().take(MAX_CLAIM).collect();
        parts.claim.get_or_init(|| (name, value()));
    }
}

/// Notes that a request is rejected.
pub(crate) fn note_rejected(extensions: &Extensions, outcome: Outcome) {
    if let Some(Checked(parts)) = extensions.get() {
        parts.rejected.get_or_init(|| outcome);
    }
}
