//! Every kind of invalid setting with its error message: `wrong.txt` beside this file.
//! `UPDATE=1 cargo test --test settings` writes it anew.

use crate::fixture::Fixture;

/// A secret that must not appear in any message.
const SECRET: &str = "hunter2-swordfish";

type Case = (&'static str, fn(Fixture) -> Fixture);

const CASES: &[Case] = &[
    // === names ===
    ("a misspelt section in a variable", |f| {
        f.var("APP__SERVR__PORT", "80")
    }),
    ("a misspelt key in a variable", |f| {
        f.var("APP__SERVER__PROT", "80")
    }),
    ("one underscore between levels", |f| {
        f.var("APP__SERVER_PORT", "80")
    }),
    ("one underscore after APP", |f| {
        f.var("APP_SERVER__PORT", "80")
    }),
    ("a variable with no key", |f| f.var("APP__", "80")),
    ("a variable that ends in underscores", |f| {
        f.var("APP__SERVER__", "80")
    }),
    ("a variable with an empty level", |f| {
        f.var("APP__SERVER____PORT", "80")
    }),
    ("a variable deeper than its key", |f| {
        f.var("APP__SERVER__PORT__NUMBER", "80")
    }),
    ("a variable for an item of a list", |f| {
        f.var("APP__ORDERS__TAGS__0", "new")
    }),
    ("a variable nothing like any key", |f| {
        f.var("APP__FLUX_CAPACITOR", "on")
    }),
    ("a variable set twice in different case", |f| {
        f.var("APP__SERVER__PORT", "80")
            .var("app__server__port", "81")
    }),
    ("a variable whose name is not UTF-8", |f| {
        f.var(not_utf8("APP__SERVER__PORT"), "80")
    }),
    ("a section that another service has", |f| {
        f.var("APP__REDIS__URL", "redis://localhost")
    }),
    ("a misspelt section in a file", |f| {
        f.default_toml("[servr]\nport = 80\nhost = \"::\"\n")
    }),
    ("a misspelt key in a file", |f| {
        f.default_toml("[server]\nprot = 80\n")
    }),
    ("a key in another case in a file", |f| {
        f.default_toml("[server]\nPort = 80\n")
    }),
    ("a key without its section", |f| {
        f.default_toml("port = 80\n")
    }),
    ("a key in the wrong section", |f| {
        f.default_toml("[server]\nrequest_timeout = \"1s\"\n")
    }),
    ("a misspelt key in the table of a list", |f| {
        f.default_toml("[[orders.tiers]]\nname = \"gold\"\nprize = 3\n")
    }),
    ("an odd key in a file", |f| {
        f.default_toml("\"a b\\n\\u001b[31m\" = 1\n")
    }),
    ("a misspelt flag", |f| f.flag("server.prot=80")),
    ("a flag without a value", |f| f.flag("hunter2-swordfish")),
    ("a flag without a key", |f| f.flag("=80")),
    ("a misspelt secret file", |f| {
        f.secret("databse.url", SECRET)
    }),
    ("a secret file for a section that is not there", |f| {
        f.secret("redis-url", SECRET)
    }),
    ("two secret files for one key", |f| {
        f.secret("database.url", SECRET)
            .secret("database-url", "other")
    }),
    // === types, in variables ===
    ("a port that is not a number", |f| {
        f.var("APP__SERVER__PORT", "80a")
    }),
    ("a port that is too large", |f| f.var("PORT", "65536")),
    ("a negative port", |f| f.var("APP__SERVER__PORT", "-1")),
    ("an empty port", |f| f.var("APP__SERVER__PORT", "")),
    ("a port with a space", |f| f.var("APP__SERVER__PORT", "80 ")),
    ("a port with a fraction", |f| {
        f.var("APP__SERVER__PORT", "80.0")
    }),
    ("a Kubernetes link in PORT", |f| {
        f.var("PORT", "tcp://10.0.0.1:80")
    }),
    ("a number beyond its range", |f| {
        f.var("APP__DATABASE__POOL", "0")
    }),
    ("a number beyond any range", |f| {
        f.var(
            "APP__ORDERS__MAX",
            "99999999999999999999999999999999999999999",
        )
    }),
    ("an invalid boolean", |f| f.var("APP__LOGS__ACCESS", "yes")),
    ("an invalid float", |f| f.var("APP__ORDERS__SHARE", "half")),
    ("a float that is not a number", |f| {
        f.var("APP__ORDERS__SHARE", "NaN")
    }),
    ("a word that is not among the choices", |f| {
        f.var("LOG_FORMAT", "jsno")
    }),
    ("a choice in another case", |f| f.var("LOG_FORMAT", "JSON")),
    ("an invalid address", |f| {
        f.var("APP__SERVER__HOST", "localhost")
    }),
    ("a duration without a unit", |f| {
        f.var("APP__LIMITS__REQUEST_TIMEOUT", "30")
    }),
    ("a duration with an unknown unit", |f| {
        f.var("APP__LIMITS__REQUEST_TIMEOUT", "30sec")
    }),
    ("a duration with a space", |f| {
        f.var("APP__LIMITS__REQUEST_TIMEOUT", "30 s")
    }),
    ("a duration in the wrong order", |f| {
        f.var("APP__LIMITS__REQUEST_TIMEOUT", "5s1m")
    }),
    ("a negative duration", |f| {
        f.var("APP__LIMITS__REQUEST_TIMEOUT", "-1s")
    }),
    ("a duration longer than time", |f| {
        f.var("APP__LIMITS__REQUEST_TIMEOUT", "18446744073709551615d")
    }),
    ("a size with an unknown unit", |f| {
        f.var("APP__LIMITS__BODY", "2MX")
    }),
    ("a size that overflows", |f| {
        f.var("APP__LIMITS__BODY", "18446744073709551615GiB")
    }),
    ("a negative size", |f| f.var("APP__LIMITS__BODY", "-1")),
    ("an item of a list", |f| {
        f.var("APP__ORDERS__WEIGHTS", "1,2,x,256")
    }),
    ("an item that its type refuses", |f| {
        f.var("APP__ORDERS__PEERS", "[::1]:80,localhost")
    }),
    ("a list that does not end", |f| {
        f.var("APP__ORDERS__WEIGHTS", "[1, 2")
    }),
    ("a value for a whole section", |f| {
        f.var("APP__SERVER", "80")
    }),
    ("a table of tables in a variable", |f| {
        f.var("APP__ORDERS__TIERS", r#"[{ nam = "gold" }]"#)
    }),
    ("an invalid map", |f| f.var("APP__ORDERS__LABELS", "a=b")),
    ("a value that is not UTF-8", |f| {
        f.var("APP__SERVER__HOST", not_utf8("::"))
    }),
    ("a plain variable that is not UTF-8", |f| {
        f.var("RUST_LOG", not_utf8("info"))
    }),
    ("a long value", |f| {
        f.var(
            "APP__LOGS__ACCESS",
            "yes, please, for every single request that there ever is, thank you",
        )
    }),
    ("a value that would forge a line", |f| {
        f.var("APP__LOGS__ACCESS", "yes\n\u{1b}[31mINFO all is well")
    }),
    // === types, in files ===
    ("a number as a string", |f| {
        f.default_toml("[server]\nport = \"80\"\n")
    }),
    ("a string as a number", |f| {
        f.default_toml("[logs]\nfilter = 5\n")
    }),
    ("a fraction for a whole number", |f| {
        f.default_toml("[server]\nport = 80.6\n")
    }),
    ("a number too large for TOML", |f| {
        f.default_toml("[orders]\nmax = 99999999999999999999\n")
    }),
    ("an infinite number", |f| {
        f.default_toml("[orders]\nshare = inf\n")
    }),
    ("a boolean as a string", |f| {
        f.default_toml("[logs]\naccess = \"true\"\n")
    }),
    ("a boolean as a number", |f| {
        f.default_toml("[logs]\naccess = 1\n")
    }),
    ("a duration as a number", |f| {
        f.default_toml("[server]\nidle_timeout = 75\n")
    }),
    ("a date for a duration", |f| {
        f.default_toml("[server]\nidle_timeout = 2026-01-01\n")
    }),
    ("a list for a value", |f| {
        f.default_toml("[server]\nport = [80]\n")
    }),
    ("a table for a value", |f| {
        f.default_toml("[server.port]\nnumber = 80\n")
    }),
    ("a value for a table", |f| f.default_toml("server = 80\n")),
    ("a string for a list", |f| {
        f.default_toml("[orders]\nweights = 1\n")
    }),
    ("a list of the wrong things", |f| {
        f.default_toml("[orders]\nweights = [1, \"2\", 300]\n")
    }),
    ("a list for a section", |f| {
        f.default_toml("[[server]]\nport = 80\n")
    }),
    ("a map of the wrong things", |f| {
        f.default_toml("[orders.labels]\nteam = 7\n")
    }),
    ("a required key missing in a list", |f| {
        f.default_toml("[[orders.tiers]]\nprice = 3\n")
    }),
    ("a value that a later layer sets right", |f| {
        f.default_toml("[server]\nport = \"http\"\n")
            .var("PORT", "80")
    }),
    // === files ===
    ("TOML without a value", |f| {
        f.default_toml("[server]\nport =\n")
    }),
    ("TOML without quotes", |f| {
        f.default_toml("[server]\nport = 80\nhost = localhost\n")
    }),
    ("TOML with a key twice", |f| {
        f.default_toml("[server]\nport = 80\nport = 81\n")
    }),
    ("TOML with a section twice", |f| {
        f.default_toml("[server]\nport = 80\n[server]\nhost = \"::\"\n")
    }),
    ("TOML with an open section", |f| {
        f.default_toml("[server\nport = 80\n")
    }),
    ("TOML with an open string", |f| {
        f.default_toml("[database]\nurl = \"hunter2-swordfish\n")
    }),
    ("TOML with a bad escape", |f| {
        f.default_toml("[database]\nurl = \"hunter2-swordfish\\q\"\n")
    }),
    ("TOML with several slips", |f| {
        f.default_toml("[server]\nport 80\n\n[logs]\nfilter = \"info\" \"x\"\naccess = TRUE\n")
    }),
    ("YAML", |f| f.default_toml("server:\n  port: 80\n")),
    ("a file that is not UTF-8", |f| {
        f.default_toml(b"[server]\nhost = \"\xff\"\n")
    }),
    ("a directory for a file", |f| f.file("default.toml/x", "")),
    ("a file that is too large", |f| {
        f.default_toml("#".repeat((1 << 20) + 1))
    }),
    ("a fault in the file of the environment", |f| {
        f.default_toml("[server]\nport = 80\n")
            .production_toml("\n\n[server]\nport = 65536\n")
    }),
    ("an environment that is a path", |f| {
        f.with(|sources| sources.with_run_env("../production"))
    }),
    ("a configuration directory that is not there", |f| {
        f.var("APP_CONFIG_DIR", "/nonexistent")
            .with(|sources| sources.with_config_dir("/nonexistent"))
    }),
    ("a secrets directory that is not there", |f| {
        f.var("APP_SECRETS_DIR", "/nonexistent")
            .with(|sources| sources.with_secrets_dir("/nonexistent"))
    }),
    ("YAML in a file of its own", |f| {
        f.file("default.yaml", "server:\n  port: 80\n")
    }),
    // === secrets ===
    ("a secret file that is not UTF-8", |f| {
        f.secret("database.url", b"hunter2-swordfish\xff")
    }),
    ("a secret as a number", |f| {
        f.default_toml("[database]\nurl = 12345\n")
    }),
    ("a secret as a table", |f| {
        f.default_toml("[database.url]\nhost = \"hunter2-swordfish\"\n")
    }),
    ("a secret for its section", |f| {
        f.default_toml("database = \"hunter2-swordfish\"\n")
    }),
    ("a secret for its section, in a variable", |f| {
        f.var("APP__DATABASE", SECRET)
    }),
    ("a secret under a misspelt key", |f| {
        f.var("APP__DATABASE__ULR", SECRET)
    }),
    ("a secret file for a number", |f| {
        f.secret("server.port", SECRET)
    }),
    ("a secret file for a list", |f| {
        f.secret("orders.weights", SECRET)
    }),
    ("a secret file that its type refuses", |f| {
        f.secret("server.host", SECRET)
    }),
    ("a secret file deeper than its key", |f| {
        f.secret("database/url/password", SECRET)
    }),
    // === rules ===
    ("a rule between keys", |f| f.var("APP__ORDERS__MIN", "11")),
    ("a rule between keys of two files", |f| {
        f.default_toml("[orders]\nmin = 4\n")
            .production_toml("[orders]\nmax = 3\n")
    }),
    ("a rule of the chassis and one of the service", |f| {
        f.flag("admin.port=8080").flag("orders.max=0")
    }),
    ("rules wait until the values are right", |f| {
        f.flag("orders.max=0").flag("orders.weights=x")
    }),
    // === all at once ===
    ("something in every layer", |f| {
        f.default_toml("[server]\nprot = 80\n[limits]\nbody = \"big\"\n")
            .production_toml("[logs]\nformat = \"xml\"\n")
            .secret("databse.url", SECRET)
            .var("PORT", "http")
            .var("APP__ADMIN__PORT", "none")
            .flag("orders.share=most")
            .flag("server.host=here")
    }),
];

#[cfg(unix)]
fn not_utf8(start: &str) -> std::ffi::OsString {
    use std::os::unix::ffi::OsStringExt;
    std::ffi::OsString::from_vec([start.as_bytes(), b"\xff"].concat())
}

#[test]
fn each_invalid_input_has_the_recorded_error() {
    let mut told = String::new();
    for (name, case) in CASES {
        let faults = case(Fixture::new()).faults();
        told += &format!(
            "# {name}\n{}\n\n",
            if faults.is_empty() {
                "NOT FOUND"
            } else {
                &faults
            }
        );
    }
    let recorded = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/settings/wrong.txt");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(recorded, &told).unwrap();
    }
    let recorded = std::fs::read_to_string(recorded).unwrap_or_default();
    for (told, recorded) in told.split("\n\n").zip(recorded.split("\n\n")) {
        assert_eq!(told, recorded);
    }
    assert_eq!(told, recorded);
}

#[test]
fn no_message_contains_a_secret() {
    for (name, case) in CASES {
        let faults = case(Fixture::new()).faults();
        assert!(
            !faults.contains("hunter2") && !faults.contains("swordfish"),
            "{name}: {faults}"
        );
    }
}

#[test]
fn every_error_names_its_origin_on_one_line() {
    for (name, case) in CASES {
        let Err(invalid) = case(Fixture::new()).load() else {
            panic!("{name} is right")
        };
        for fault in invalid.faults() {
            assert!(!fault.origin.is_empty(), "{name}: {fault:?}");
            assert!(
                !fault.to_string().chars().any(char::is_control),
                "{name}: {fault:?}"
            );
        }
        assert_eq!(
            invalid.to_string().lines().count(),
            invalid.faults().len(),
            "{name}"
        );
    }
}
