//! The settings of the token check.

use axum_chassis::health::Role;
use axum_chassis::schemars::{self, JsonSchema};
use axum_chassis::settings::{Duration, Validate, ValidationErrors};
use serde::{Deserialize, Serialize};

use crate::algorithm::Algorithm;
use crate::fetch::parse_url;

/// A section such as `[auth]`, to embed in a service's own settings. `issuer` and `audience` are required.
///
/// Validate it in the service's settings with [`ValidationErrors::within`]`("auth", &self.auth)`. None of the values is a
/// secret, so `--print-config` and the admin port show them.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[non_exhaustive]
pub struct Settings {
    /// The issuer identifier of the provider. A token is accepted only if its `iss` is exactly this text. Required.
    #[schemars(extend("writeOnly" = false))]
    pub issuer: String,
    /// The names of this service at the provider. A token is accepted only if its `aud` contains one of them. Required.
    #[schemars(extend("writeOnly" = false))]
    pub audience: Vec<String>,
    /// The accepted signature algorithms.
    #[schemars(extend("writeOnly" = false))]
    pub algorithms: Vec<Algorithm>,
    /// The accepted `typ` of a token. RFC 9068 defines `at+jwt`; some providers sign access tokens with `JWT`.
    #[schemars(extend("writeOnly" = false))]
    pub token_types: Vec<String>,
    /// Scopes that every token needs.
    #[schemars(extend("writeOnly" = false))]
    pub required_scopes: Vec<String>,
    /// The tolerated difference of clocks for `exp` and `nbf`, at most 5 minutes.
    pub leeway: Duration,
    /// The URL of the key set. Unset, it is found in the issuer's discovery document.
    #[schemars(extend("writeOnly" = false))]
    pub jwks_url: Option<String>,
    /// A file with the key set, for a network without access to the provider. It is read again at each refresh.
    #[schemars(extend("writeOnly" = false))]
    pub jwks_file: Option<String>,
    /// Whether keys may be fetched from `http://` URLs of this machine, for tests.
    pub allow_http_loopback: bool,
    /// The time between two refreshes of the keys.
    pub refresh_interval: Duration,
    /// The minimum time from the end of a fetch of the keys to the next one, however many tokens have an unknown key.
    pub refresh_cooldown: Duration,
    /// Timeout of one request to the provider.
    pub fetch_timeout: Duration,
    /// Keys are not used for longer than this after their last successful fetch. Requests are then 503.
    pub max_key_age: Duration,
    /// Effect on readiness while the keys cannot be refreshed: `gate` makes the service not ready, `inform` does not.
    pub readiness: Role,
    /// The claim that access lines have as a field of this name, such as `client_id`; empty for none. It may be personal
    /// data. Only texts, numbers, and `true` or `false` are logged, of which the first 200 characters.
    #[schemars(extend("writeOnly" = false))]
    pub log_claim: String,
}

impl Default for Settings {
    /// No issuer and no audience.
    fn default() -> Self {
        Self {
            issuer: String::new(),
            audience: Vec::new(),
            algorithms: vec![
                Algorithm::Rs256,
                Algorithm::Ps256,
                Algorithm::Es256,
                Algorithm::EdDsa,
            ],
            token_types: vec!["at+jwt".to_owned()],
            required_scopes: Vec::new(),
            leeway: Duration::from_secs(30),
            jwks_url: None,
            jwks_file: None,
            allow_http_loopback: false,
            refresh_interval: Duration::from_secs(600),
            refresh_cooldown: Duration::from_secs(10),
            fetch_timeout: Duration::from_secs(5),
            max_key_age: Duration::from_secs(24 * 60 * 60),
            readiness: Role::Inform,
            log_claim: "sub".to_owned(),
        }
    }
}

impl Settings {
    pub(crate) fn discovery_url(&self) -> String {
        let issuer = self.issuer.trim_end_matches('/');
        format!("{issuer}/.well-known/openid-configuration")
    }

    pub(crate) fn accepted(&self) -> impl Iterator<Item = jsonwebtoken::Algorithm> {
        self.algorithms.iter().map(|algorithm| algorithm.of_token())
    }
}

/// Whether this is a scope token of [RFC 6749](https://www.rfc-editor.org/rfc/rfc6749#section-3.3). Names of claims in the
/// log have the same characters, which need no escapes.
pub(crate) fn is_scope(scope: &str) -> bool {
    let is_allowed = |c: u8| matches!(c, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    !scope.is_empty() && scope.bytes().all(is_allowed)
}

impl Validate for Settings {
    fn validate(&self, errors: &mut ValidationErrors) {
        if self.issuer.is_empty() {
            errors.add(
                "issuer",
                "missing, expected a URL such as https://id.example.com/",
            );
        } else if self.jwks_url.is_none()
            && self.jwks_file.is_none()
            && let Err(wrong) = parse_url(&self.issuer, self.allow_http_loopback)
        {
            errors.add("issuer", wrong);
        }
        if let Some(url) = &self.jwks_url {
            if self.jwks_file.is_some() {
                errors.add("jwks_file", "must not be set together with jwks_url");
            }
            if let Err(wrong) = parse_url(url, self.allow_http_loopback) {
                errors.add("jwks_url", wrong);
            }
        }
        for (key, list) in [
            ("audience", &self.audience),
            ("token_types", &self.token_types),
        ] {
            if list.is_empty() || list.iter().any(String::is_empty) {
                errors.add(key, "must have at least one value, and no empty one");
            }
        }
        if self.algorithms.is_empty() {
            errors.add("algorithms", "must have at least one value");
        }
        if let Some(scope) = self.required_scopes.iter().find(|scope| !is_scope(scope)) {
            errors.add(
                "required_scopes",
                format!("invalid scope \"{scope}\": expected ASCII characters without spaces, `\"` and `\\`"),
            );
        }
        if !self.log_claim.is_empty() && !is_scope(&self.log_claim) {
            errors.add(
                "log_claim",
                format!(
                    "invalid name \"{}\": expected ASCII characters without spaces, `\"` and `\\`, or nothing",
                    self.log_claim.escape_debug()
                ),
            );
        }
        if *self.leeway > std::time::Duration::from_secs(300) {
            errors.add("leeway", "must be at most 5m");
        }
        if self.leeway.subsec_nanos() > 0 {
            errors.add("leeway", "must be whole seconds, as the times in tokens");
        }
        for (key, time) in [
            ("refresh_cooldown", self.refresh_cooldown),
            ("fetch_timeout", self.fetch_timeout),
        ] {
            if time.is_zero() {
                errors.add(key, "must be longer than 0s");
            }
        }
        for (key, longer, name, shorter) in [
            (
                "refresh_interval",
                self.refresh_interval,
                "refresh_cooldown",
                self.refresh_cooldown,
            ),
            (
                "max_key_age",
                self.max_key_age,
                "refresh_interval",
                self.refresh_interval,
            ),
        ] {
            if *longer < *shorter {
                errors.add(key, format!("must be at least {name} ({shorter})"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_invalid_setting_is_named() {
        type Change = fn(&mut Settings);
        let changes: [(Change, &str); 18] = [
            (|_| {}, ""),
            (|all| all.issuer.clear(), "issuer: missing"),
            (
                |all| all.issuer = "http://id.example.com".to_owned(),
                "issuer: invalid URL",
            ),
            (|all| all.audience.clear(), "audience: must have"),
            (
                |all| all.audience = vec![String::new()],
                "audience: must have",
            ),
            (|all| all.token_types.clear(), "token_types: must have"),
            (|all| all.algorithms.clear(), "algorithms: must have"),
            (
                |all| all.required_scopes = vec!["a b".to_owned()],
                "invalid scope \"a b\"",
            ),
            (|all| all.log_claim.clear(), ""),
            (
                |all| all.log_claim = "a\",\"status".to_owned(),
                "log_claim: invalid name",
            ),
            (
                |all| all.leeway = Duration::from_secs(301),
                "leeway: must be at most 5m",
            ),
            (
                |all| all.leeway = Duration::from_millis(500),
                "leeway: must be whole seconds",
            ),
            (
                |all| all.jwks_url = Some("keys".to_owned()),
                "jwks_url: invalid URL",
            ),
            (
                |all| {
                    all.jwks_url = Some("https://id.example.com/keys".to_owned());
                    all.jwks_file = Some("keys.json".to_owned());
                },
                "jwks_file: must not be set together",
            ),
            (
                |all| all.refresh_cooldown = Duration::from_secs(0),
                "refresh_cooldown: must be longer",
            ),
            (
                |all| all.fetch_timeout = Duration::from_secs(0),
                "fetch_timeout: must be longer",
            ),
            (
                |all| all.refresh_interval = Duration::from_secs(5),
                "must be at least refresh_cooldown (10s)",
            ),
            (
                |all| all.max_key_age = Duration::from_secs(599),
                "must be at least refresh_interval (10m)",
            ),
        ];
        for (change, expected) in changes {
            let mut settings = Settings {
                issuer: "https://id.example.com/".to_owned(),
                audience: vec!["orders".to_owned()],
                ..Settings::default()
            };
            change(&mut settings);
            let mut errors = ValidationErrors::default();
            settings.validate(&mut errors);
            let errors = errors.to_string();
            assert!(errors.contains(expected), "{expected}: {errors}");
            assert_eq!(errors.is_empty(), expected.is_empty(), "{errors}");
        }
    }

    #[test]
    fn no_setting_accepts_unsigned_or_symmetric_tokens() {
        for name in ["none", "HS256", "HS384", "HS512", "hs256", "RS256 ", ""] {
            let text = format!("\"{name}\"");
            assert!(serde_json::from_str::<Algorithm>(&text).is_err(), "{name}");
        }
        assert!(serde_json::from_str::<Algorithm>("\"EdDSA\"").is_ok());
    }
}
