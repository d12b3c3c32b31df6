//! The claims of a verified token.

use serde::{Deserialize, Deserializer};

/// The claims that a service usually needs. For others, extract [`Caller`](crate::Caller) with a type of your own.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Claims {
    /// `sub`: the user, or for a token without a user (client credentials) usually the client. Unique within the issuer.
    #[serde(rename = "sub")]
    pub subject: String,
    /// `iss`: the issuer, which is the one in the settings.
    #[serde(rename = "iss")]
    pub issuer: String,
    /// `client_id`: the client that requested the token. [RFC 9068](https://www.rfc-editor.org/rfc/rfc9068#section-2.2)
    /// requires it, but not all providers send it.
    #[serde(default)]
    pub client_id: Option<String>,
    #[serde(default)]
    scope: Scopes,
    /// As Entra (a text) and Okta (a list) name it.
    #[serde(default)]
    scp: Scopes,
}

/// Scopes, separated by spaces or in a list.
#[derive(Clone, Debug, Default)]
struct Scopes(Vec<String>);

impl Claims {
    /// Whether the token has this scope, in `scope` or `scp`.
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes().any(|known| known == scope)
    }

    /// The scopes in `scope` and `scp`.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.scope.0.iter().chain(&self.scp.0).map(String::as_str)
    }
}

impl<'de> Deserialize<'de> for Scopes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Text(String),
            List(Vec<String>),
        }
        Ok(match Form::deserialize(deserializer)? {
            Form::Text(text) => Self(text.split(' ').map(str::to_owned).collect()),
            Form::List(list) => Self(list),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_a_text_or_a_list_and_match_as_a_whole() {
        for scopes in [
            r#""scope":"orders:read orders:write""#,
            r#""scp":"orders:read orders:write""#,
            r#""scp":["orders:read","orders:write"]"#,
        ] {
            let text = format!(r#"{{"sub":"a","iss":"b",{scopes}}}"#);
            let claims: Claims = serde_json::from_str(&text).expect("claims");
            assert!(claims.has_scope("orders:write"), "{scopes}");
            assert!(!claims.has_scope("orders"), "{scopes}");
            assert!(!claims.has_scope("orders:read orders:write"), "{scopes}");
        }
    }

    #[test]
    fn a_claim_that_occurs_twice_or_has_another_type_is_rejected() {
        for claims in [
            r#"{"sub":"a","sub":"b","iss":"c"}"#,
            r#"{"sub":"a","iss":"c","iss":"c"}"#,
            r#"{"sub":"a","iss":"c","scope":"a","scope":"b"}"#,
            r#"{"sub":"a","iss":["c"]}"#,
            r#"{"sub":["a"],"iss":"c"}"#,
            r#"{"sub":"a","iss":"c","scope":7}"#,
        ] {
            assert!(serde_json::from_str::<Claims>(claims).is_err(), "{claims}");
        }
    }
}
