//! Parses PostgreSQL URLs as libpq does. An error may contain the name of a known parameter, and nothing else from the
//! URL: after a typo, any part of it may be the password.

use std::net::IpAddr;

use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::{Host, ParseError, Url};

/// Parameters that sqlx supports. Others are not passed to sqlx, which would ignore them and log their values.
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

/// Parameters with values that sqlx does not need, because it behaves like this anyway.
const AS_IT_IS: [(&str, &str); 9] = [
    ("channel_binding", "disable"),
    ("channel_binding", "prefer"),
    ("client_encoding", "UTF8"),
    ("client_encoding", "utf8"),
    ("gssencmode", "disable"),
    ("gssencmode", "prefer"),
    ("sslcompression", "0"),
    ("sslnegotiation", "postgres"),
    ("target_session_attrs", "any"),
];

/// Parameters of libpq, or from poolers' guides, that sqlx lacks, each with the alternative.
const UNSUPPORTED: [(&str, &str); 21] = [
    (
        "channel_binding",
        "leave it out, and have the server verified: sslmode=verify-full",
    ),
    ("client_encoding", "leave it out: it is UTF8"),
    (
        "connect_timeout",
        "leave it out: the setting `acquire_timeout` limits connecting",
    ),
    ("gssencmode", "leave it out"),
    (
        "keepalives",
        "leave it out: silent connections are noticed without it",
    ),
    (
        "keepalives_count",
        "leave it out: silent connections are noticed without it",
    ),
    (
        "keepalives_idle",
        "leave it out: silent connections are noticed without it",
    ),
    (
        "keepalives_interval",
        "leave it out: silent connections are noticed without it",
    ),
    ("load_balance_hosts", "name one host"),
    ("passfile", "give the password in the URL"),
    ("pgbouncer", "leave it out: poolers need no parameter"),
    (
        "require_auth",
        "leave it out, and have the server verified: sslmode=verify-full",
    ),
    ("schema", "write options=-csearch_path%3DNAME"),
    ("service", "give what it stands for in the URL"),
    ("sslcompression", "leave it out"),
    ("sslcrl", "leave it out"),
    ("sslnegotiation", "leave it out"),
    ("sslpassword", "give a key without a password"),
    ("sslsni", "leave it out"),
    (
        "target_session_attrs",
        "expected any, read-write or primary",
    ),
    (
        "tcp_user_timeout",
        "leave it out: silent connections are noticed without it",
    ),
];

const SSL_MODES: [&str; 6] = [
    "disable",
    "allow",
    "prefer",
    "require",
    "verify-ca",
    "verify-full",
];

/// A parsed URL.
pub(crate) struct PostgresUrl {
    options: PgConnectOptions,
    /// Whether a read-only server counts as unavailable.
    pub(crate) needs_writes: bool,
}

impl PostgresUrl {
    /// Parses a URL. `Err` contains the error and the expected form.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let mut url = parse(text)?;
        let later = [url.path(), url.query().unwrap_or_default()];
        if url.fragment().is_some() || later.iter().any(|part| part.contains('@')) {
            return Err(
                "a `/`, `?`, `#` or `@` in the password has to be written %2F, %3F, %23 or %40"
                    .into(),
            );
        }
        let pairs: Vec<(String, String)> = url
            .query_pairs()
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        let mut known = Vec::new();
        let mut needs_writes = false;
        for (name, value) in &pairs {
            match (name.as_str(), value.as_str()) {
                ("target_session_attrs", "read-write" | "primary") => needs_writes = true,
                pair if AS_IT_IS.contains(&pair) => {}
                ("sslmode" | "ssl-mode", mode) if !SSL_MODES.contains(&mode) => {
                    return Err(format!(
                        "invalid value of `{name}`: expected one of {}",
                        SSL_MODES.join(", ")
                    ));
                }
                ("host", hosts) if hosts.contains(',') => return Err(SEVERAL.into()),
                // In libpq, `system` stands for the trusted authorities of the system. Here these are compiled in, so
                // the parameter is left out. As in libpq, it implies `verify-full`.
                ("sslrootcert", "system") if !has(&pairs, &["sslmode", "ssl-mode"]) => {
                    known.push(("sslmode", "verify-full"));
                }
                ("sslrootcert", "system") => {}
                pair if PARAMETERS.contains(&pair.0) || pair.0.starts_with("options[") => {
                    known.push(pair);
                }
                (name, _) => {
                    let unsupported = UNSUPPORTED.iter().find(|(known, _)| *known == name);
                    return Err(match unsupported {
                        Some((name, instead)) => {
                            format!("`{name}` is not supported here: {instead}")
                        }
                        None => format!(
                            "unknown parameter; expected one of {}",
                            PARAMETERS.join(", ")
                        ),
                    });
                }
            }
        }
        let known: Vec<_> = known.iter().map(|(name, value)| [*name, *value]).collect();
        url.set_query(None);
        if !known.is_empty() {
            let mut pairs = url.query_pairs_mut();
            for [name, value] in known {
                pairs.append_pair(name, value);
            }
        }
        // The parser's message may quote the URL.
        let Ok(mut options) = PgConnectOptions::from_url(&url) else {
            return Err("a parameter after the `?` has an invalid value".into());
        };
        if let Some(Host::Ipv6(address)) = url.host()
            && !has(&pairs, &["host", "hostaddr"])
        {
            // sqlx keeps the brackets, and a name in brackets does not resolve.
            options = options.host(&address.to_string());
        }
        let authority = ["sslrootcert", "ssl-root-cert", "ssl-ca"];
        if matches!(options.get_ssl_mode(), PgSslMode::Require) && has(&pairs, &authority) {
            // As in libpq, `sslrootcert` turns on the verification of the certificate.
            options = options.ssl_mode(PgSslMode::VerifyCa);
        }
        Ok(Self {
            options,
            needs_writes,
        })
    }

    /// The connect options. `name` is the key in the service's settings.
    pub(crate) fn options(&self, name: &str) -> PgConnectOptions {
        // Poolers refuse `extra_float_digits`. It is not needed: since version 12, PostgreSQL sends the shortest exact
        // digits by default.
        let options = self.options.clone().extra_float_digits(None);
        match options.get_application_name() {
            Some(_) => options,
            None => options.application_name(name),
        }
    }

    /// A warning if others on the network could read the connection or impersonate the server. It names the URL
    /// parameter that prevents it. `None` if the connection stays on this machine, or has `verify-full`.
    pub(crate) fn weakness(&self) -> Option<&'static str> {
        let host = self.options.get_host();
        let is_local = host.starts_with('/')
            || self.options.get_socket().is_some()
            || host == "localhost"
            || host
                .parse()
                .is_ok_and(|address: IpAddr| address.is_loopback());
        match self.options.get_ssl_mode() {
            _ if is_local => None,
            PgSslMode::VerifyFull => None,
            PgSslMode::Require | PgSslMode::VerifyCa => Some(
                "any server may take the database's place: add sslmode=verify-full to its URL, and \
                 sslrootcert=FILE for an authority of your own",
            ),
            _ => Some(
                "the password and all data may cross the network in clear: add sslmode=verify-full to the \
                 database's URL, and sslrootcert=FILE for an authority of your own",
            ),
        }
    }
}

const SEVERAL: &str =
    "several hosts are not supported: name one, such as the address that follows the primary";

fn has(pairs: &[(String, String)], names: &[&str]) -> bool {
    pairs.iter().any(|(name, _)| names.contains(&name.as_str()))
}

fn parse(text: &str) -> Result<Url, String> {
    let start = text.find("://").map_or(0, |at| at + 3);
    let end = text[start..]
        .find(['/', '?', '#'])
        .map_or(text.len(), |at| start + at);
    let authority = &text[start..end];
    let hosts = authority
        .rsplit_once('@')
        .map_or(authority, |(_, hosts)| hosts);
    if hosts.contains(',') {
        return Err(SEVERAL.into());
    }
    // The parser rejects a URL that has a user and no host. If a parameter sets the host (`?host=/run/postgresql`), add
    // a host for the parser.
    let padded = format!("{}localhost{}", &text[..end], &text[end..]);
    let is_elsewhere = authority.ends_with('@') && text[end..].contains("host=");
    Url::parse(if is_elsewhere { &padded } else { text }).map_err(|error| {
        let what = match error {
            ParseError::EmptyHost => "the host is missing",
            ParseError::InvalidPort => {
                "the port is not a number, or the password has a `/`, `?`, `#` or `:` that is not \
                 written %2F, %3F, %23 or %3A"
            }
            _ => "it cannot be read as a URL; special characters of a password are written as %XX",
        };
        what.to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> PostgresUrl {
        PostgresUrl::read(url).unwrap_or_else(|wrong| panic!("{url}: {wrong}"))
    }

    #[test]
    fn urls_are_parsed_as_libpq_parses_them() {
        let mode = |url| format!("{:?}", read(url).options.get_ssl_mode());
        for (url, host) in [
            ("postgres://orders@[::1]:5433/orders", "::1"),
            (
                "postgres://orders@db.example/orders?channel_binding=prefer",
                "db.example",
            ),
            ("postgres://orders@db/orders?hostaddr=10.0.0.1", "10.0.0.1"),
        ] {
            assert_eq!(read(url).options.get_host(), host, "{url}");
        }
        for url in [
            "postgres:///orders?host=/run/postgresql",
            "postgres://orders:hunter2@/orders?host=/run/postgresql",
            "postgres://%2Frun%2Fpostgresql/orders",
        ] {
            let socket = read(url).options.get_socket().cloned();
            assert_eq!(socket.as_deref(), Some("/run/postgresql".as_ref()), "{url}");
        }
        assert_eq!(mode("postgres://db/orders?sslmode=require"), "Require");
        assert_eq!(
            mode("postgres://db/orders?sslmode=require&sslrootcert=/ca.pem"),
            "VerifyCa"
        );
        assert_eq!(
            mode("postgres://db/orders?sslrootcert=system"),
            "VerifyFull"
        );
        assert!(read("postgres://db/orders?target_session_attrs=read-write").needs_writes);
        assert!(!read("postgres://db/orders?target_session_attrs=any").needs_writes);
    }

    #[test]
    fn an_unsupported_parameter_is_named() {
        for (url, helps) in [
            (
                "postgres://db/orders?channel_binding=require",
                "`channel_binding`",
            ),
            (
                "postgres://db/orders?connect_timeout=10",
                "`connect_timeout`",
            ),
            (
                "postgres://db/orders?keepalives_idle=10",
                "`keepalives_idle`",
            ),
            (
                "postgres://db/orders?target_session_attrs=standby",
                "read-write",
            ),
            ("postgres://u:hunter2@one:1,two:2/orders", "several hosts"),
            ("postgres://u:hunter2@one,two/orders", "several hosts"),
            ("postgres://db/orders?host=one,two", "several hosts"),
            ("postgres://db/orders?hunter2=1", "unknown parameter"),
        ] {
            let wrong = PostgresUrl::read(url).map(drop).expect_err(url);
            assert!(
                wrong.contains(helps) && !wrong.contains("hunter2"),
                "{url}: {wrong}"
            );
        }
    }

    #[test]
    fn a_connection_without_encryption_or_verification_is_insecure() {
        for (url, weak) in [
            ("postgres://db.example/orders", Some("in clear")),
            (
                "postgres://db.example/orders?sslmode=disable",
                Some("in clear"),
            ),
            (
                "postgres://db.example/orders?sslmode=prefer",
                Some("in clear"),
            ),
            (
                "postgres://db.example/orders?sslmode=require",
                Some("take the database's place"),
            ),
            (
                "postgres://db.example/orders?sslmode=verify-ca",
                Some("take the database's place"),
            ),
            ("postgres://db.example/orders?sslmode=verify-full", None),
            ("postgres://localhost/orders", None),
            ("postgres://127.0.0.1/orders", None),
            ("postgres://[::1]/orders", None),
            ("postgres:///orders?host=/run/postgresql", None),
        ] {
            let found = read(url).weakness();
            assert_eq!(found.is_some(), weak.is_some(), "{url}: {found:?}");
            assert!(
                found.unwrap_or_default().contains(weak.unwrap_or_default()),
                "{url}"
            );
        }
    }
}
