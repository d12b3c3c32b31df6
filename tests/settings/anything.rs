//! Whatever is written: no panic, no secret told, and an origin for everything.

use std::ffi::OsString;

use proptest::prelude::*;

use crate::fixture::Fixture;

/// Planted wherever a secret may stand, well or badly written.
const SECRET: &str = "hunter2swordfish";

#[derive(Clone, Debug)]
enum Written {
    DefaultToml(Vec<u8>),
    ProductionToml(String),
    Secret(String, Vec<u8>),
    Variable(OsString, OsString),
    Flag(String),
}

impl Written {
    fn into(self, fixture: Fixture) -> Fixture {
        match self {
            Self::DefaultToml(toml) => fixture.default_toml(toml),
            Self::ProductionToml(toml) => fixture.production_toml(&toml),
            Self::Secret(name, content) => fixture.secret(&name, content),
            Self::Variable(name, value) => fixture.var(name, value),
            Self::Flag(set) => fixture.flag(&set),
        }
    }
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => prop::sample::select(vec![
            "server", "port", "host", "admin", "token", "database", "url", "pool", "orders", "labels", "tiers",
            "weights", "retry-after", "v2_api", "limits", "body", "logs", "format", "name", "0",
        ])
        .prop_map(str::to_owned),
        1 => "[a-zA-Z0-9_-]{1,8}",
    ]
}

/// A value that is no secret.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| number.to_string()),
        any::<bool>().prop_map(|switch| switch.to_string()),
        "[0-9]{1,20}(s|ms|h|MiB|KB|x)?",
        "[\\[{\"'0-9a-z,= ]{0,20}[\\]}\"']?",
        "\\PC{0,40}",
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
        "[a-zA-Z0-9._-]{1,12}",
        Just("database-url".to_owned()),
        "[a-z]{1,4}\\PC{1,4}".prop_map(|name| name.replace(['/', '\0'], "")),
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
        secret(),
        variable(),
        (prop::collection::vec(key(), 0..4), value())
            .prop_map(|(keys, value)| Written::Flag(format!("{}={value}", keys.join(".")))),
        Just(Written::Flag(SECRET.into())),
        any::<String>().prop_map(Written::Flag),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None,
        // A case is a directory full of files: shrink for seconds rather than minutes.
        max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn nothing_written_makes_it_panic_tell_a_secret_or_lose_an_origin(
        all in prop::collection::vec(written(), 0..6)
    ) {
        let fixture = all.into_iter().fold(Fixture::new(), |fixture, written| written.into(fixture));
        let told = match fixture.load() {
            Ok(settings) => {
                let json = settings.effective.to_json();
                let origins = json["origins"].as_object().unwrap();
                prop_assert!(origins.values().all(|origin| is_origin(&fixture.plain(origin.as_str().unwrap()))));
                format!("{json}{}{:?}", settings.effective.to_toml(), settings.effective)
            }
            Err(invalid) => {
                prop_assert!(!invalid.faults().is_empty());
                for fault in invalid.faults() {
                    prop_assert!(is_origin(&fixture.plain(&fault.origin)), "{fault}");
                    prop_assert!(!fault.to_string().chars().any(char::is_control), "{fault:?}");
                }
                format!("{invalid}{invalid:?}")
            }
        };
        prop_assert!(!told.contains(SECRET), "{told}");
    }
}

fn is_origin(origin: &str) -> bool {
    let starts = [
        "variable ",
        "--set ",
        "secret file /var/secrets/",
        "config/default.",
        "config/production.",
    ];
    ["default", "set nowhere"].contains(&origin)
        || starts.iter().any(|start| origin.starts_with(start))
}
