//! Arbitrary input: settings (exit code 0) or errors (78), no panic, no secret in an error, and an origin
//! for everything.
//!
//! 300 cases a run; `.ci/run` has 20,000 of them, and each night has 100,000. `PROPTEST_CASES` says how many; a million
//! take a quarter of an hour: `PROPTEST_CASES=1000000 cargo test --test settings -- anything`.

use std::ffi::OsString;

use axum_chassis_settings::config::{Map, Value as Said, ValueKind};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRunner};

use crate::fixture::{Fixture, Says};

/// Planted wherever a secret may stand, well or badly written.
const SECRET: &str = "hunter2swordfish";

#[derive(Clone, Debug)]
enum Written {
    DefaultToml(Vec<u8>),
    ProductionToml(String),
    Yaml(String),
    Said(Says),
    Secret(String, Vec<u8>),
    Variable(OsString, OsString),
    Flag(String),
}

impl Written {
    fn into(self, fixture: Fixture) -> Fixture {
        match self {
            Self::DefaultToml(toml) => fixture.default_toml(toml),
            Self::ProductionToml(toml) => fixture.production_toml(&toml),
            Self::Yaml(yaml) => fixture.yaml(&yaml),
            Self::Said(says) => fixture.source(says),
            Self::Secret(name, content) => fixture.secret(&name, content),
            Self::Variable(name, value) => fixture.var(name, value),
            Self::Flag(set) => fixture.flag(&set),
        }
    }
}

/// Parsed once: a string as a strategy is parsed for every value.
fn text(regex: &str) -> impl Strategy<Value = String> + Clone {
    prop::string::string_regex(regex).unwrap().boxed()
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => prop::sample::select(vec![
            "server", "port", "host", "admin", "token", "database", "url", "pool", "orders", "labels", "tiers",
            "weights", "retry-after", "v2_api", "limits", "body", "logs", "format", "name", "0",
        ])
        .prop_map(str::to_owned),
        1 => text("[a-zA-Z0-9_-]{1,8}"),
    ]
}

/// A value that is not secret.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| number.to_string()),
        any::<bool>().prop_map(|switch| switch.to_string()),
        text("[0-9]{1,20}(s|ms|h|MiB|KB|x)?"),
        text("[\\[{\"'0-9a-z,= ]{0,20}[\\]}\"']?"),
        text("\\PC{0,40}"),
        any::<String>(),
    ]
}

fn toml_value() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => value().prop_map(|text| format!("{text:?}")),
        1 => value(),
        1 => prop::collection::vec(value(), 0..4).prop_map(|items| format!("{items:?}")),
        1 => (key(), value()).prop_map(|(key, value)| format!("{{ {key} = {value:?} }}")),
    ]
}

/// Where nobody should ever write a secret, nor be shown one that is written there.
fn toml_with_secret() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(format!("[database]\nurl = \"{SECRET}\"")),
        Just(format!("[database]\nurl = {SECRET}")),
        Just(format!("[database]\nurl = [\"{SECRET}\"]")),
        Just(format!("[database]\nurl = \"{SECRET}")),
        Just(format!("[database]\nurl = {{ a = \"{SECRET}\" }}")),
        Just(format!("[admin]\ntoken = \"\"\"\n{SECRET}\"")),
        Just(format!("database = \"{SECRET}\"")),
        Just(format!("admin = [\"{SECRET}\"]")),
        Just(format!("[databse]\nurl = \"{SECRET}\"")),
        Just(format!("# {SECRET}")),
        Just(format!("[database] {SECRET}")),
        Just(format!("[database]\nurl = \"a\" {SECRET}")),
        Just(format!("[database]\nurl = '{SECRET}\u{1}'")),
    ]
}

fn toml() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        (key(), toml_value()).prop_map(|(key, value)| format!("{key} = {value}")),
        (key(), key(), toml_value())
            .prop_map(|(section, key, value)| format!("[{section}]\n{key} = {value}")),
        (key(), key(), toml_value())
            .prop_map(|(section, key, value)| format!("[[{section}.{key}]]\nname = {value}")),
        toml_with_secret(),
    ];
    prop::collection::vec(line, 0..6).prop_map(|lines| lines.join("\n"))
}

fn yaml() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        (key(), value()).prop_map(|(key, value)| format!("{key}: {value:?}")),
        (key(), value()).prop_map(|(key, value)| format!("{key}: {value}")),
        (key(), key(), toml_value())
            .prop_map(|(section, key, value)| format!("{section}:\n  {key}: {value}")),
        (key(), value()).prop_map(|(key, value)| format!("  - {key}: {value:?}")),
        Just(SECRET.to_owned()),
        Just(format!("database: {SECRET}")),
        Just(format!("database: {{ url: '{SECRET}' }}")),
        Just(format!("database:\n  url: [{SECRET}]")),
        Just(format!("database: {{ url: {SECRET}")),
        Just(format!("databse: {{ url: '{SECRET}' }}")),
        Just(format!("database.url: \"{SECRET}")),
        Just(format!("admin:\n  token: |\n {SECRET}")),
        Just(format!("? {{ {SECRET}: 1 }}\n: 2")),
        Just(format!("admin: &a {{ token: {SECRET} }}\ndatabase: *a")),
    ];
    prop::collection::vec(line, 0..4).prop_map(|lines| lines.join("\n"))
}

/// A value of `config` itself: secret, if it is anywhere where a secret may stand.
fn said() -> impl Strategy<Value = Said> {
    let leaf = prop_oneof![
        Just(ValueKind::Nil),
        any::<bool>().prop_map(ValueKind::from),
        any::<i64>().prop_map(ValueKind::from),
        any::<u64>().prop_map(ValueKind::from),
        any::<i128>().prop_map(ValueKind::from),
        any::<u128>().prop_map(ValueKind::from),
        any::<f64>().prop_map(ValueKind::from),
        prop::sample::select(vec![f64::NAN, f64::INFINITY, -0.0, 1e300]).prop_map(ValueKind::from),
        value().prop_map(ValueKind::from),
    ];
    let origin =
        prop::option::of(text("[a-z ]{0,8}\\PC{0,3}").prop_map(|at| format!("db {at}\n\t")));
    let value = (origin, leaf).prop_map(|(origin, kind)| Said::new(origin.as_ref(), kind));
    value.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Said::from),
            prop::collection::vec((key(), inner), 0..4)
                .prop_map(|table| table.into_iter().collect::<Map<_, _>>().into()),
        ]
    })
}

fn says() -> impl Strategy<Value = Says> {
    let secret = |kind: &str| Said::new(Some(&"secret db".to_owned()), kind);
    let path = prop_oneof![
        3 => prop::collection::vec(key(), 0..4).prop_map(|keys| keys.join(".")),
        1 => text("[a-zA-Z.\\[\\]0-9]{0,12}"),
    ];
    let entry = prop_oneof![
        3 => (path.clone(), said()),
        1 => path.prop_map(move |path| (path, secret(SECRET))),
        1 => Just(("database.url".to_owned(), SECRET.into())),
        1 => Just(("databse.url".to_owned(), SECRET.into())),
        1 => Just(("admin".to_owned(), SECRET.into())),
    ];
    prop::collection::vec(entry, 0..4).prop_map(Says)
}

#[cfg(unix)]
fn os_string() -> impl Strategy<Value = OsString> {
    use std::os::unix::ffi::OsStringExt;
    // The system lets no variable hold a zero.
    prop::collection::vec(1..=255_u8, 0..20).prop_map(OsString::from_vec)
}

fn variable() -> impl Strategy<Value = Written> {
    let name = prop::collection::vec(key(), 0..4)
        .prop_map(|keys| format!("APP__{}", keys.join("__").to_uppercase()));
    let secret_name = prop::sample::select(vec![
        "DATABASE_URL",
        "REDIS_URL",
        "APP__DATABASE__URL",
        "APP__ADMIN__TOKEN",
        "APP__ADMIN",
        "APP__DATABASE",
        "APP__DATABASE__ULR",
        "APP__DATABASE_URL",
        "APP__DATABASE__URL__X",
        "APP__NOTHING",
        "APP_DATABASE__URL",
    ]);
    prop_oneof![
        (name, value()).prop_map(|(name, value)| Written::Variable(
            name.into(),
            value.replace('\0', "").into()
        )),
        (os_string(), os_string()).prop_map(|(name, value)| {
            let mut prefixed = OsString::from("APP__");
            prefixed.push(name);
            Written::Variable(prefixed, value)
        }),
        secret_name.prop_map(|name| Written::Variable(name.into(), SECRET.into())),
        prop::sample::select(vec!["PORT", "RUST_LOG", "LOG_FORMAT"]).prop_flat_map(|name| {
            os_string().prop_map(move |value| Written::Variable(name.into(), value))
        }),
    ]
}

fn secret() -> impl Strategy<Value = Written> {
    let known = prop::collection::vec(key(), 1..4).prop_map(|keys| keys.join("."));
    let name = prop_oneof![
        known,
        text("[a-zA-Z0-9._-]{1,12}"),
        Just("database-url".to_owned()),
        text("[a-z]{1,4}\\PC{1,4}").prop_map(|name| name.replace(['/', '\0'], "")),
    ];
    let content = prop_oneof![
        Just(SECRET.as_bytes().to_vec()),
        Just(format!("[\"{SECRET}\", 1").into_bytes()),
        Just(format!("1,{SECRET},{{").into_bytes()),
        Just([SECRET.as_bytes(), b"\xff\n"].concat()),
    ];
    // Alone these name the directory itself.
    let name = name.prop_filter("a name", |name| !name.trim_matches('.').is_empty());
    (name, content).prop_map(|(name, content)| Written::Secret(name, content))
}

fn written() -> impl Strategy<Value = Written> {
    prop_oneof![
        toml().prop_map(|toml| Written::DefaultToml(toml.into_bytes())),
        prop::collection::vec(any::<u8>(), 0..60).prop_map(Written::DefaultToml),
        any::<String>().prop_map(|toml| Written::DefaultToml(toml.into_bytes())),
        toml().prop_map(Written::ProductionToml),
        yaml().prop_map(Written::Yaml),
        any::<String>().prop_map(Written::Yaml),
        says().prop_map(Written::Said),
        secret(),
        variable(),
        (prop::collection::vec(key(), 0..4), value())
            .prop_map(|(keys, value)| Written::Flag(format!("{}={value}", keys.join(".")))),
        Just(Written::Flag(SECRET.into())),
        any::<String>().prop_map(Written::Flag),
    ]
}

#[test]
fn no_input_causes_a_panic_shows_a_secret_or_loses_an_origin() {
    let cases = match std::env::var_os("PROPTEST_CASES") {
        Some(_) => ProptestConfig::default().cases,
        None => 300,
    };
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() as u32);
    let config = ProptestConfig {
        cases: cases.div_ceil(threads),
        failure_persistence: None,
        // Without optimisation, the usual one takes half of the time.
        rng_algorithm: RngAlgorithm::XorShift,
        // A case is a directory full of files: shrink for seconds rather than minutes.
        max_shrink_iters: 200,
        ..ProptestConfig::default()
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let layers = prop::collection::vec(written(), 0..6);
                let tested = TestRunner::new(config.clone()).run(&layers, loads_or_tells);
                tested.unwrap_or_else(|failed| panic!("{failed}"));
            });
        }
    });
}

fn loads_or_tells(all: Vec<Written>) -> Result<(), TestCaseError> {
    let fixture = all
        .into_iter()
        .fold(Fixture::new(), |fixture, written| written.into(fixture));
    let told = match fixture.load() {
        Ok(settings) => {
            let json = settings.effective.to_json();
            let origins = json["origins"].as_object().unwrap();
            for origin in origins.values() {
                prop_assert!(
                    is_origin(&fixture.plain(origin.as_str().unwrap())),
                    "{origin}"
                );
            }
            format!(
                "{json}{}{:?}",
                settings.effective.to_toml(),
                settings.effective
            )
        }
        Err(invalid) => {
            prop_assert!(!invalid.faults().is_empty());
            for fault in invalid.faults() {
                prop_assert!(is_origin(&fixture.plain(&fault.origin)), "{fault}");
                prop_assert!(
                    !fault.to_string().chars().any(char::is_control),
                    "{fault:?}"
                );
            }
            format!("{invalid}{invalid:?}")
        }
    };
    prop_assert!(!told.contains(SECRET), "{told}");
    Ok(())
}

fn is_origin(origin: &str) -> bool {
    let starts = [
        "environment variable ",
        "--set ",
        "secret file /var/secrets/",
        "config/default.",
        "config/production.",
        "source File",
        "source Says",
        "db ",
        "secret db",
    ];
    // `config` returns a file's path relative to the working directory, which may share a part with it.
    let yaml = origin.ends_with("/orders.yaml");
    yaml || ["default", "not set"].contains(&origin)
        || starts.iter().any(|start| origin.starts_with(start))
}
