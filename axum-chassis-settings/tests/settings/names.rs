//! The syntax of names and values in each source, with examples.

use crate::fixture::Fixture;

/// `(written, key, value as JSON)`
type Means = (fn(Fixture) -> Fixture, &'static str, &'static str);

fn each(cases: &[Means]) {
    for (at, (write, key, value)) in cases.iter().enumerate() {
        let (found, origin) = write(Fixture::new()).value(key);
        assert_eq!(found, *value, "{key} of case {at}");
        assert_ne!(origin, "default", "{key} of case {at}");
    }
}

#[test]
fn a_variable_names_a_key_level_by_level() {
    each(&[
        (|f| f.var("APP__SERVER__PORT", "81"), "server.port", "81"),
        (
            |f| f.var("APP__LIMITS__REQUEST_TIMEOUT", "5s"),
            "limits.request_timeout",
            "\"5s\"",
        ),
        // Digits and underscores are part of a name.
        (
            |f| f.var("APP__V2_API__MAX_2XX_AGE", "5"),
            "v2_api.max_2xx_age",
            "5",
        ),
        // A variable cannot hold a hyphen, so an underscore stands for it.
        (
            |f| f.var("APP__ORDERS__RETRY_AFTER", "5s"),
            "orders.retry-after",
            "\"5s\"",
        ),
        // Any case will do: Windows knows no difference.
        (|f| f.var("app__server__port", "81"), "server.port", "81"),
        (|f| f.var("App__Server__Port", "81"), "server.port", "81"),
        // Keys of maps are anybody's, in lower case.
        (
            |f| f.var("APP__ORDERS__LABELS__TEAM", "blue"),
            "orders.labels.team",
            "\"blue\"",
        ),
        (
            |f| f.var("APP__ORDERS__LABELS__COST_CENTRE", "7"),
            "orders.labels.cost_centre",
            "\"7\"",
        ),
    ]);
}

#[test]
fn plain_variables_are_those_that_platforms_set() {
    each(&[
        (|f| f.var("PORT", "81"), "server.port", "81"),
        (
            |f| f.var("RUST_LOG", "info,sqlx=warn"),
            "logs.filter",
            "\"info,sqlx=warn\"",
        ),
        (|f| f.var("LOG_FORMAT", "json"), "logs.format", "\"json\""),
        (
            |f| f.var("DATABASE_URL", "postgres://db"),
            "database.url",
            "\"[redacted]\"",
        ),
    ]);
}

#[test]
fn a_secret_file_may_name_its_key_with_dots_or_underscores() {
    each(&[
        (
            |f| f.secret("database.url", "x"),
            "database.url",
            "\"[redacted]\"",
        ),
        (
            |f| f.secret("database__url", "x"),
            "database.url",
            "\"[redacted]\"",
        ),
        (
            |f| f.secret("database-url", "x"),
            "database.url",
            "\"[redacted]\"",
        ),
        (
            |f| f.secret("DATABASE_URL", "x"),
            "database.url",
            "\"[redacted]\"",
        ),
        (
            |f| f.secret("APP__DATABASE__URL", "x"),
            "database.url",
            "\"[redacted]\"",
        ),
        // A Secret mounted in a folder of its own.
        (
            |f| f.secret("database/url", "x"),
            "database.url",
            "\"[redacted]\"",
        ),
    ]);
}

#[test]
fn a_flag_names_a_key_with_dots() {
    each(&[
        (|f| f.flag("server.port=81"), "server.port", "81"),
        (|f| f.flag("orders.note=a=b"), "orders.note", "\"a=b\""),
        (
            |f| f.flag("orders.retry-after=5s"),
            "orders.retry-after",
            "\"5s\"",
        ),
        (
            |f| f.flag("orders.labels.Team=blue"),
            "orders.labels.Team",
            "\"blue\"",
        ),
    ]);
}

#[test]
fn variables_of_kubernetes_and_others_are_not_settings() {
    let ignored = Fixture::new()
        // Kubernetes' links to a service called `app`, and to one called `app-server`.
        .var("APP_PORT", "tcp://10.0.0.1:80")
        .var("APP_SERVICE_HOST", "10.0.0.1")
        .var("APP_PORT_80_TCP_ADDR", "10.0.0.1")
        .var("APP_SERVER_PORT", "tcp://10.0.0.1:80")
        .var("APP", "orders")
        .var("MYAPP__SERVER__PORT", "81")
        // Where to read settings, rather than settings.
        .with(|sources| sources.with_var("RUN_ENV", "dev"))
        // Platforms set this for services that have no such key as well.
        .var("REDIS_URL", "redis://localhost")
        // An empty plain variable is an unset one.
        .var("PORT", "")
        .var("RUST_LOG", "")
        .var("DATABASE_URL", "")
        // Kubernetes' own files beside the secrets, and an editor's.
        .secret("..2026_11_22/database.url", "x")
        .secret(".database.url.swp", "x")
        // Other files of the configuration.
        .file("schema.json", "{}")
        .file("production.toml", "[server]\nport = 82\n");
    let effective = ignored.settings().effective;
    for (key, origin) in effective.to_json()["origins"].as_object().unwrap() {
        assert_eq!(origin, "default", "{key}");
    }
}

#[test]
fn text_becomes_the_type_of_its_key() {
    each(&[
        (
            |f| f.var("APP__LOGS__ACCESS", "false"),
            "logs.access",
            "false",
        ),
        (
            |f| f.var("APP__LOGS__ACCESS", "FALSE"),
            "logs.access",
            "false",
        ),
        (|f| f.var("APP__ORDERS__MIN", "-3"), "orders.min", "-3"),
        (|f| f.var("APP__ORDERS__SHARE", "1"), "orders.share", "1.0"),
        (
            |f| f.var("APP__ORDERS__SHARE", "2.5e-1"),
            "orders.share",
            "0.25",
        ),
        // A string is taken as it stands, even one that looks like something else.
        (
            |f| f.var("APP__ORDERS__NOTE", "true"),
            "orders.note",
            "\"true\"",
        ),
        (
            |f| f.var("APP__ORDERS__NOTE", "007"),
            "orders.note",
            "\"007\"",
        ),
        (
            |f| f.var("APP__ORDERS__NOTE", " a, \"b\" "),
            "orders.note",
            r#"" a, \"b\" ""#,
        ),
        (
            |f| f.var("APP__SERVER__HOST", "::1"),
            "server.host",
            "\"::1\"",
        ),
    ]);
}

#[test]
fn lists_are_separated_by_commas_or_written_as_toml() {
    each(&[
        (
            |f| f.var("APP__ORDERS__TAGS", "a"),
            "orders.tags",
            r#"["a"]"#,
        ),
        (
            |f| f.var("APP__ORDERS__TAGS", "a,b"),
            "orders.tags",
            r#"["a","b"]"#,
        ),
        (
            |f| f.var("APP__ORDERS__TAGS", " a , b c "),
            "orders.tags",
            r#"["a","b c"]"#,
        ),
        (|f| f.var("APP__ORDERS__TAGS", ""), "orders.tags", "[]"),
        (
            |f| f.var("APP__ORDERS__TAGS", r#"["a,b", 'c']"#),
            "orders.tags",
            r#"["a,b","c"]"#,
        ),
        (
            |f| f.var("APP__ORDERS__WEIGHTS", "1,2,3"),
            "orders.weights",
            "[1,2,3]",
        ),
        (
            |f| f.var("APP__ORDERS__WEIGHTS", "[1, 2]"),
            "orders.weights",
            "[1,2]",
        ),
        // This starts like TOML, but is not TOML.
        (
            |f| f.var("APP__ORDERS__PEERS", "[::1]:80,[::1]:81"),
            "orders.peers",
            r#"["[::1]:80","[::1]:81"]"#,
        ),
        (
            |f| f.flag(r#"orders.tiers=[{ name = "gold", price = 3 }]"#),
            "orders.tiers",
            r#"[{"name":"gold","price":3}]"#,
        ),
    ]);
}

#[test]
fn maps_are_written_key_by_key_or_as_toml() {
    let both = Fixture::new()
        .default_toml("[orders.labels]\nteam = \"red\"\nfloor = \"2\"\n")
        .var("APP__ORDERS__LABELS", "{ team = 'blue', desk = '7' }")
        .flag("orders.labels.desk=8");
    for (key, value, from) in [
        ("orders.labels.floor", "\"2\"", "config/default.toml:3"),
        (
            "orders.labels.team",
            "\"blue\"",
            "environment variable APP__ORDERS__LABELS",
        ),
        ("orders.labels.desk", "\"8\"", "--set orders.labels.desk"),
    ] {
        let (found, origin) = both.value(key);
        assert_eq!(
            (found.as_str(), both.plain(&origin).as_str()),
            (value, from)
        );
    }
}

#[test]
fn durations_and_sizes_have_units() {
    each(&[
        (
            |f| f.var("APP__SERVER__IDLE_TIMEOUT", "250ms"),
            "server.idle_timeout",
            "\"250ms\"",
        ),
        (
            |f| f.var("APP__SERVER__IDLE_TIMEOUT", "90s"),
            "server.idle_timeout",
            "\"90s\"",
        ),
        (
            |f| f.var("APP__SERVER__IDLE_TIMEOUT", "1h30m"),
            "server.idle_timeout",
            "\"90m\"",
        ),
        (
            |f| f.var("APP__SERVER__IDLE_TIMEOUT", "0s"),
            "server.idle_timeout",
            "\"0s\"",
        ),
        (
            |f| f.var("APP__LIMITS__BODY", "512KiB"),
            "limits.body",
            "\"512KiB\"",
        ),
        (
            |f| f.var("APP__LIMITS__BODY", "2Mi"),
            "limits.body",
            "\"2MiB\"",
        ),
        (
            |f| f.var("APP__LIMITS__BODY", "1 gb"),
            "limits.body",
            "\"1000000000B\"",
        ),
        (
            |f| f.var("APP__LIMITS__BODY", "1024"),
            "limits.body",
            "\"1KiB\"",
        ),
        (
            |f| f.default_toml("[limits]\nbody = 1024\n"),
            "limits.body",
            "\"1KiB\"",
        ),
    ]);
}

#[test]
fn an_empty_string_unsets_an_option_and_is_a_string_elsewhere() {
    each(&[
        (|f| f.var("APP__ORDERS__NOTE", ""), "orders.note", "null"),
        (|f| f.var("APP__ADMIN__TOKEN", ""), "admin.token", "null"),
        (|f| f.secret("admin.token", "\n"), "admin.token", "null"),
        (
            |f| f.default_toml("[orders]\nnote = \"\"\n"),
            "orders.note",
            "null",
        ),
        (
            |f| {
                f.default_toml("[database]\npatience = \"5s\"\n")
                    .var("APP__DATABASE__PATIENCE", "")
            },
            "database.patience",
            "null",
        ),
        (|f| f.var("APP__LOGS__FILTER", ""), "logs.filter", "\"\""),
    ]);
}

#[test]
fn a_secret_file_loses_one_newline_and_nothing_else() {
    for (content, secret) in [
        ("p4ss", "p4ss"),
        ("p4ss\n", "p4ss"),
        ("p4ss\r\n", "p4ss"),
        ("p4ss\n\n", "p4ss\n"),
        (" p4ss ", " p4ss "),
        ("a\nb\n", "a\nb"),
        ("p4ss\r", "p4ss\r"),
    ] {
        let settings = Fixture::new().secret("admin.token", content).settings();
        let token = settings.framework.admin.token.unwrap();
        assert_eq!(token.expose(), secret, "{content:?}");
    }
}

#[test]
fn a_name_a_few_edits_away_is_suggested() {
    for (written, suggested) in [
        // Of five letters, one may be wrong: replaced, left out, too many, or swapped with the next.
        ("logz", Some("logs")),
        ("log", Some("logs")),
        ("loggs", Some("logs")),
        ("lgos", Some("logs")),
        ("xlogs", Some("logs")),
        ("lgosx", None),
        ("gols", None),
        // Of more, a third, and never more than four.
        ("sorvar.port", Some("server.port")),
        ("sorvarport", Some("server.port")),
        ("sxxxxr.port", None),
        ("limits.requestimout", Some("limits.request_timeout")),
        ("limits.wrequestimeot", Some("limits.request_timeout")),
        ("limits.wrecestimeot", None),
    ] {
        let faults = Fixture::new().flag(&format!("{written}=1")).faults();
        let told = suggested.map(|key| format!("; did you mean `{key}`?"));
        assert!(
            faults.ends_with(told.as_deref().unwrap_or(&format!("(--set {written})"))),
            "{faults}"
        );
    }
}
