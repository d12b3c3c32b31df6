//! Sources that a service adds: files in other formats, and sources of a team's own.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum_chassis_settings::config::{ConfigError, File, FileFormat, Map, Source, Value, ValueKind};
use axum_chassis_settings::{Sources, watch};

use crate::fixture::{Fixture, Says};
use crate::structs::{Chassis, Service};

const SECRET: &str = "hunter2-swordfish";

const YAML: &str = "
server:
  port: 81
  idle_timeout: 5s
orders:
  tags: [a, b]
  note: ~
  labels: { Team: blue, a.b: c }
  tiers:
    - name: gold
";

#[test]
fn a_yaml_file_is_a_layer_above_the_files_and_below_secrets_and_variables() {
    let fixture = Fixture::new()
        .default_toml("[server]\nport = 1\n[orders]\nmin = 2\nnote = \"x\"\n")
        .yaml(YAML);
    let settings = fixture.settings();
    assert_eq!(settings.framework.server.port, 81);
    assert_eq!(settings.service.orders.min, 2);
    assert_eq!(settings.service.orders.tags, ["a", "b"]);
    assert_eq!(settings.service.orders.note, None);
    assert_eq!(settings.service.orders.labels["Team"], "blue");
    assert_eq!(settings.service.orders.labels["a.b"], "c");
    assert_eq!(settings.service.orders.tiers[0].name, "gold");
    for key in ["server.port", "orders.tags", "orders.labels.Team"] {
        let origin = settings.effective.origin(key).unwrap();
        assert!(origin.ends_with("orders.yaml"), "{key}: {origin}");
    }
    let toml = settings.effective.to_toml();
    let line = toml.lines().find(|line| line.starts_with("port = 81 # "));
    assert!(line.unwrap().ends_with("orders.yaml"), "{toml}");

    let above = fixture
        .secret("server.port", "82")
        .var("APP__SERVER__IDLE_TIMEOUT", "6s")
        .flag("orders.tags=c")
        .settings();
    assert_eq!(above.framework.server.port, 82);
    assert_eq!(above.framework.server.idle_timeout.as_secs(), 6);
    assert_eq!(above.service.orders.tags, ["c"]);
}

#[test]
fn the_yaml_of_the_documentation_is_valid() {
    let page = include_str!("../../../docs/settings.md");
    let yaml = page.split("```yaml\n").nth(1).unwrap();
    let fixture = Fixture::new().yaml(yaml.split("```").next().unwrap());
    assert_eq!(fixture.value("limits.body").0, "\"512KiB\"");
    assert_eq!(fixture.value("server.idle_timeout").0, "\"2m\"");
}

#[test]
fn a_file_beside_the_others_may_be_read_by_a_source() {
    let fixture = Fixture::new().file("default.yaml", "server: { port: 81 }\n");
    assert!(
        fixture
            .faults()
            .contains("default.yaml: unsupported format")
    );
    assert_eq!(fixture.yaml("{}").faults(), "");
}

#[test]
fn of_several_sources_the_last_wins() {
    let fixture = Fixture::new()
        .source(Says::one("server.port", 1))
        .source(Says::one("server.port", 2));
    assert_eq!(fixture.settings().framework.server.port, 2);
}

/// `(YAML, its errors)`, without their origins.
const WRONG: [(&str, &[&str]); 9] = [
    (
        "server: { prot: 80, host: here }\nordrs: {}\n",
        &[
            "ordrs: unknown setting",
            "server.prot: unknown setting",
            "server.host: invalid value \"here\", expected an IP address such as \"127.0.0.1\" or \"::1\"",
        ],
    ),
    (
        "server:\n  port: http\n",
        &["server.port: invalid value \"http\", expected a whole number from 0 to 65535"],
    ),
    (
        "database:\n  pool: 101\n",
        &["database.pool: invalid value 101, expected a whole number from 1 to 100"],
    ),
    (
        "server: 80\n",
        &["server: invalid value 80, expected a table"],
    ),
    (
        "orders:\n  tiers:\n    - price: 3\n",
        &["orders.tiers.0.name: missing required setting, expected a string"],
    ),
    (
        "orders:\n  min: 11\n",
        &["orders.max: must be at least orders.min"],
    ),
    // Secrets, well and badly written.
    (
        "database: { url: [hunter2-swordfish] }\nadmin: hunter2-swordfish\n",
        &[
            "admin: invalid value (text of 17 characters), expected a table such as '{ key = \"value\" }'",
            "database.url: invalid value (a list), expected a string",
        ],
    ),
    (
        "databse: { url: hunter2-swordfish }\n",
        &["databse: unknown setting"],
    ),
    ("hunter2-swordfish\n", &[": expected a map in "]),
];

#[test]
fn values_of_a_source_are_checked_as_strictly_as_others() {
    for (yaml, expected) in WRONG {
        let Err(invalid) = Fixture::new().yaml(yaml).load() else {
            panic!("{yaml:?} is right")
        };
        let faults = invalid.faults();
        assert_eq!(faults.len(), expected.len(), "{yaml:?}: {invalid}");
        for (fault, expected) in faults.iter().zip(expected) {
            let said = format!("{}: {}", fault.key, fault.message);
            assert!(said.starts_with(expected), "{yaml:?}: {said}");
            let at = [&fault.origin, &fault.message];
            let named = at.iter().any(|said| said.contains("orders.yaml"));
            assert!(named || fault.origin == "default", "{yaml:?}: {fault}");
        }
        assert!(!invalid.to_string().contains("swordfish"), "{invalid}");
    }
    let typo = Fixture::new().yaml("server: { prot: 80 }\n").faults();
    assert!(typo.ends_with("did you mean `server.port`?"), "{typo}");
}

#[test]
fn a_source_that_fails_is_named() {
    let missing = File::new("/nonexistent/orders.yaml", FileFormat::Yaml);
    let faults = Fixture::new().source(missing.clone()).faults();
    assert!(
        faults.starts_with("source File: ") && faults.contains("/nonexistent/orders.yaml"),
        "{faults}"
    );
    let optional = Fixture::new().source(missing.required(false));
    assert_eq!(optional.faults(), "");

    // The place, and nothing that may be a secret.
    let broken = Fixture::new()
        .yaml("database: { url: 'hunter2-swordfish\n")
        .faults();
    assert!(broken.starts_with("source File: "), "{broken}");
    assert!(broken.contains("line 1 column 18"), "{broken}");
    assert!(broken.ends_with("orders.yaml"), "{broken}");
    assert!(!broken.contains("swordfish"), "{broken}");

    let quoting = "not TOML at line 1\n  url = hunter2-swordfish";
    for (error, said) in [
        (
            ConfigError::Message(quoting.into()),
            "source Fails: not TOML at line 1...",
        ),
        (
            ConfigError::Foreign("no route to host".into()),
            "source Fails: no route to host",
        ),
    ] {
        let error = Mutex::new(Some(error));
        let fails = Fails(Arc::new(move || Err(error.lock().unwrap().take().unwrap())));
        assert_eq!(Fixture::new().source(fails).faults(), said);
    }
    let panics = Fails(Arc::new(|| panic!("{SECRET}")));
    assert_eq!(
        Fixture::new().source(panics).flag("server.prot=1").faults(),
        "source Fails: the source panicked\nserver.prot: unknown setting (--set server.prot); did you mean `server.port`?"
    );
}

#[test]
fn a_source_may_block_within_a_runtime() {
    let blocks = Fails(Arc::new(|| {
        // Blocking clients do this. On a thread of a runtime it panics.
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(async { Ok(Map::new()) })
    }));
    let fixture = Fixture::new().source(blocks);
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let faults = runtime.unwrap().block_on(async { fixture.faults() });
    assert_eq!(faults, "");
}

#[test]
fn a_value_without_an_origin_has_the_name_of_its_source() {
    let fixture = Fixture::new().source(Says::one("server.port", 81));
    assert_eq!(
        fixture.value("server.port"),
        ("81".into(), "source Says".into())
    );
    // An origin cannot break out of the comment that shows it.
    let origin = "db\nport = 1".to_owned();
    let fixture = Fixture::new().source(Says::one("server.port", Value::new(Some(&origin), 81)));
    assert_eq!(fixture.value("server.port").1, "db port = 1");
}

#[test]
fn values_with_a_secret_origin_are_redacted() {
    let origin = "secret vault/orders".to_owned();
    let secret = |text: &str| Value::new(Some(&origin), text);
    let fixture = Fixture::new().source(Says::one("orders.note", secret(SECRET)));
    let settings = fixture.settings();
    assert_eq!(settings.service.orders.note.as_deref(), Some(SECRET));
    assert_eq!(
        fixture.value("orders.note"),
        ("\"[redacted]\"".into(), origin.clone())
    );
    let faults = Fixture::new()
        .source(Says::one("server.port", secret(SECRET)))
        .faults();
    assert_eq!(
        faults,
        "server.port: invalid value (text of 17 characters), expected a whole number from 0 to 65535 (secret vault/orders)"
    );
}

/// A source whose values a test can change.
#[derive(Clone)]
struct Fails(Arc<dyn Fn() -> Result<Map<String, Value>, ConfigError> + Send + Sync>);

impl std::fmt::Debug for Fails {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fails")
    }
}

impl Source for Fails {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        self.0()
    }
}

#[test]
fn a_source_is_polled_and_a_failure_is_reported_until_it_ends() {
    let answer = Arc::new(Mutex::new(Ok(1)));
    let source = {
        let answer = answer.clone();
        Fails(Arc::new(move || {
            let port = answer
                .lock()
                .unwrap()
                .clone()
                .map_err(ConfigError::Message)?;
            Ok(Map::from([(
                "server.port".to_owned(),
                ValueKind::I64(port).into(),
            )]))
        }))
    };
    let (send, changes) = std::sync::mpsc::channel();
    let _watcher = watch::<Chassis, Service>(Sources::empty().source(source), move |change| {
        let port = change.map(|settings| settings.framework.server.port);
        send.send(port.map_err(|invalid| invalid.to_string()))
            .unwrap_or_default();
    })
    .unwrap();
    for (says, expected) in [
        (Ok(2), Ok(2)),
        (Err("gone".to_owned()), Err("source Fails: gone".to_owned())),
        (Ok(2), Ok(2)),
    ] {
        *answer.lock().unwrap() = says;
        let change = changes.recv_timeout(Duration::from_secs(20));
        assert_eq!(change.expect("a change is noticed"), expected);
    }
    // Equal values are not a change.
    assert!(changes.recv_timeout(Duration::from_secs(6)).is_err());
}
