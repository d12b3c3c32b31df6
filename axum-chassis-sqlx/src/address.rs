//! Parses database URLs. Error messages never quote the URL, because after a typo any part of it may be the password.

use axum_chassis::settings::Secret;

#[cfg(feature = "postgres")]
use crate::postgres_url::PostgresUrl;

/// A parsed URL.
#[cfg_attr(not(feature = "sqlite"), allow(dead_code))]
pub(crate) enum Address {
    #[cfg(feature = "postgres")]
    Postgres(Box<PostgresUrl>),
    /// The URL, trimmed: a secret file may end with a newline, which editors add.
    Sqlite(String),
}

impl Address {
    /// Parses a URL. `Err` contains the error and the expected form.
    pub(crate) fn read(url: &Secret) -> Result<Self, String> {
        let expected = expected();
        let url = url.expose().trim();
        if url.is_empty() {
            return Err(format!("missing, expected {expected}"));
        }
        let (scheme, rest) = url.split_once(':').unwrap_or_default();
        match scheme {
            #[cfg(feature = "postgres")]
            "postgres" | "postgresql" => PostgresUrl::read(url)
                .map(|read| Self::Postgres(Box::new(read)))
                .map_err(|wrong| format!("invalid URL: {wrong}; expected {expected}")),
            "sqlite" if cfg!(feature = "sqlite") => {
                let path = rest.trim_start_matches("//");
                if path.is_empty() || path.starts_with('?') {
                    return Err(format!(
                        "invalid URL: the path is missing; expected {expected}"
                    ));
                }
                Ok(Self::Sqlite(url.to_owned()))
            }
            _ => Err(format!("{}: expected {expected}", unknown_scheme(url))),
        }
    }
}

/// The error for an unknown scheme. The scheme is quoted only if `://` follows it: any other text may be a password.
fn unknown_scheme(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, _)) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            format!("unknown URL scheme `{scheme}`")
        }
        _ => "missing URL scheme".to_owned(),
    }
}

fn expected() -> String {
    let forms = [
        (
            "postgres://USER:PASSWORD@HOST:5432/NAME",
            cfg!(feature = "postgres"),
        ),
        ("sqlite:PATH", cfg!(feature = "sqlite")),
    ];
    let forms: Vec<_> = forms
        .iter()
        .filter(|(_, compiled_in)| *compiled_in)
        .map(|(form, _)| *form)
        .collect();
    match &forms[..] {
        [] => "the URL of a database (this program has no driver for any)".to_owned(),
        forms => forms.join(" or "),
    }
}

#[cfg(all(test, feature = "postgres", feature = "sqlite"))]
mod tests {
    use super::*;

    fn wrong(url: &str) -> String {
        match Address::read(&url.into()) {
            Ok(_) => panic!("{url} is accepted"),
            Err(wrong) => wrong,
        }
    }

    #[test]
    fn urls_of_both_databases_are_parsed() {
        for url in [
            "postgres://orders:hunter2@db.example:5432/orders",
            "postgresql://db/orders?sslmode=verify-full&application_name=orders",
            "postgres:///orders?host=/run/postgresql",
            "postgres://orders:a%2Fb%40c%23@db/orders",
        ] {
            assert!(
                matches!(Address::read(&url.into()), Ok(Address::Postgres(_))),
                "{url}"
            );
        }
        for url in [
            "sqlite:orders.db",
            "sqlite://orders.db",
            "sqlite::memory:",
            "sqlite:orders.db\n",
        ] {
            assert!(
                matches!(Address::read(&url.into()), Ok(Address::Sqlite(_))),
                "{url}"
            );
        }
    }

    #[test]
    fn the_error_for_an_invalid_url_is_helpful_and_does_not_quote_it() {
        for (url, helps) in [
            (
                "",
                "missing, expected postgres://USER:PASSWORD@HOST:5432/NAME or sqlite:PATH",
            ),
            ("hunter2", "missing URL scheme: expected postgres://"),
            (
                "mysql://orders:hunter2@db/orders",
                "unknown URL scheme `mysql`: expected postgres://",
            ),
            ("postgres://orders:hun/ter2@db/orders", "%2F"),
            ("postgres://orders:12/hunter2@db/orders", "%2F"),
            ("postgres://orders:12?hunter2@db/orders", "%3F"),
            ("postgres://orders:12#hunter2@db/orders", "%23"),
            (
                "postgres://orders:hunter2@db:port/orders",
                "the port is not a number",
            ),
            ("postgres://orders:hunter2@/orders", "host"),
            (
                "postgres://orders@db/orders?pasword=hunter2",
                "unknown parameter",
            ),
            (
                "postgres://orders@db/orders?sslmode=hunter2",
                "one of disable, allow",
            ),
            ("sqlite:", "the path is missing"),
        ] {
            let said = wrong(url);
            assert!(said.contains(helps), "{url}: {said}");
            assert!(
                !said.contains("hunter2") && !said.contains("ter2"),
                "{url}: {said}"
            );
        }
    }
}
