//! Which database a URL means, and what is wrong with one that means none. What is said of a URL
//! never quotes it: with a slip in the right place, any part of it may be the password.

use axum_chassis::settings::Secret;
use url::{ParseError, Url};

/// A URL that was read.
#[cfg_attr(not(feature = "postgres"), allow(dead_code))]
pub(crate) enum Address {
    Postgres(Url),
    Sqlite,
}

/// What sqlx understands in a URL of PostgreSQL. Others it would log with their values, and ignore.
const PARAMETERS: [&str; 18] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];

const SSL_MODES: [&str; 6] = [
    "disable",
    "allow",
    "prefer",
    "require",
    "verify-ca",
    "verify-full",
];

impl Address {
    /// `Err` says what is wrong and what would be right.
    pub(crate) fn read(url: &Secret) -> Result<Self, String> {
        let expected = expected();
        if url.is_empty() {
            return Err(format!("has to be set, to {expected}"));
        }
        let (scheme, rest) = url.expose().split_once(':').unwrap_or_default();
        match scheme {
            "postgres" | "postgresql" if cfg!(feature = "postgres") => {
                let read = Url::parse(url.expose())
                    .map_err(|error| syntax(error).to_owned())
                    .and_then(|url| check(&url).map(|()| url));
                read.map(Self::Postgres)
                    .map_err(|wrong| format!("expected {expected}: {wrong}"))
            }
            "sqlite" if cfg!(feature = "sqlite") => {
                let path = rest.trim_start_matches("//");
                if path.is_empty() || path.starts_with('?') {
                    return Err(format!("expected {expected}: the path is missing"));
                }
                Ok(Self::Sqlite)
            }
            _ => Err(format!("expected {expected}: it begins otherwise")),
        }
    }
}

/// Words of our own: they hold nothing of the URL.
fn syntax(error: ParseError) -> &'static str {
    match error {
        ParseError::EmptyHost => "the host is missing",
        ParseError::InvalidPort => {
            "the port is not a number, or the password has a `/`, `?`, `#` or `:` that is not \
             written %2F, %3F, %23 or %3A"
        }
        _ => "it cannot be read as a URL; special characters of a password are written as %XX",
    }
}

fn check(url: &Url) -> Result<(), String> {
    let later = [url.path(), url.query().unwrap_or_default()];
    if url.fragment().is_some() || later.iter().any(|part| part.contains('@')) {
        return Err(
            "a `/`, `?`, `#` or `@` of the password is written %2F, %3F, %23 or %40".into(),
        );
    }
    for (name, value) in url.query_pairs() {
        let is_mode = matches!(&*name, "sslmode" | "ssl-mode");
        if is_mode && !SSL_MODES.contains(&&*value) {
            return Err(format!("`{name}` is one of {}", SSL_MODES.join(", ")));
        }
        if !PARAMETERS.contains(&&*name) && !name.starts_with("options[") {
            return Err(format!("it takes none but {}", PARAMETERS.join(", ")));
        }
    }
    Ok(())
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
    fn urls_of_both_databases_are_read() {
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
        for url in ["sqlite:orders.db", "sqlite://orders.db", "sqlite::memory:"] {
            assert!(
                matches!(Address::read(&url.into()), Ok(Address::Sqlite)),
                "{url}"
            );
        }
    }

    #[test]
    fn what_is_said_of_a_wrong_one_helps_and_does_not_quote_it() {
        for (url, helps) in [
            (
                "",
                "has to be set, to postgres://USER:PASSWORD@HOST:5432/NAME or sqlite:PATH",
            ),
            ("hunter2", "it begins otherwise"),
            ("mysql://orders:hunter2@db/orders", "it begins otherwise"),
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
                "it takes none but",
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
