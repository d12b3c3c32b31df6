//! [`Secret`]: a setting that is never displayed.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::redact::REDACTED;

/// A password, a token, or a URL that contains one. `Debug` and `Serialize` write `[redacted]`, its memory is wiped
/// when it is dropped, and the schema marks it as `writeOnly`.
///
/// Use `Option<Secret>` for a secret that may be missing. An empty secret is not redacted: it is written as the empty
/// string.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(from = "String")]
#[schemars(inline, description = "", extend("writeOnly" = true))]
pub struct Secret(#[schemars(with = "String")] Zeroizing<String>);

impl Secret {
    /// The secret itself. Review each call of this method.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether the secret is the empty string.
    pub fn is_empty(&self) -> bool {
        self.expose().is_empty()
    }

    fn shown(&self) -> &'static str {
        if self.is_empty() { "" } else { REDACTED }
    }
}

impl From<String> for Secret {
    fn from(secret: String) -> Self {
        Self(secret.into())
    }
}

impl From<&str> for Secret {
    fn from(secret: &str) -> Self {
        secret.to_owned().into()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.shown(), f)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.shown())
    }
}
