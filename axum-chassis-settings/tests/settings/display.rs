//! Printed settings: redacted, with origins, and readable as settings again.

use axum_chassis_settings::{Sources, schema};
use serde_json::json;

use crate::fixture::{Fixture, Folder};
use crate::structs::{Chassis, Service, Settings, load_from};

const SECRET: &str = "hunter2";

fn with_secrets() -> Fixture {
    Fixture::new()
        .secret("admin.token", SECRET)
        .secret("orders.note", SECRET)
        .default_toml("[orders.labels]\nteam = \"x\"\n")
        .secret("orders.labels.key", SECRET)
        .var("DATABASE_URL", format!("postgres://orders:{SECRET}@db"))
}

#[test]
fn secrets_are_redacted_in_every_output() {
    let Settings {
        framework,
        service,
        effective,
        ..
    } = with_secrets().settings();
    assert_eq!(framework.admin.token.as_ref().unwrap().expose(), SECRET);
    let shown = [
        effective.to_toml(),
        effective.to_json().to_string(),
        format!("{effective:?}"),
        format!("{framework:?}"),
        format!("{:?}", service.database),
        serde_json::to_string(&framework).unwrap(),
        serde_json::to_string(&service.database).unwrap(),
        format!(
            "{:?}",
            Sources::empty()
                .set("admin.token", SECRET)
                .with_var("A", SECRET)
        ),
    ];
    for shown in shown {
        assert!(!shown.contains(SECRET), "{shown}");
    }
    // A value from a secret file is secret, whatever its type.
    assert_eq!(
        effective.to_json()["settings"]["orders"]["note"],
        "[redacted]"
    );
    assert_eq!(
        effective.to_json()["settings"]["orders"]["labels"],
        json!({ "key": "[redacted]", "team": "x" })
    );
}

#[test]
fn toml_shows_each_key_with_its_origin() {
    let fixture = Fixture::new()
        .default_toml("[orders]\ntags = ['a', \"b\\n\"]\n[[orders.tiers]]\nname = 'gold'\n")
        .secret("admin.token", SECRET)
        .flag("orders.labels.a b=x");
    let toml = fixture.plain(&fixture.settings().effective.to_toml());
    let expected = r#"[admin]
port = 9090 # default
token = "[redacted]" # secret file /var/secrets/admin.token

[database]
# patience is not set # default
pool = 10 # default
url = "[redacted]" # default

[limits]
body = "2MiB" # default
request_timeout = "30s" # default

[logs]
access = true # default
filter = "info" # default
format = "auto" # default

[orders]
max = 10 # default
min = 1 # default
# note is not set # default
peers = [] # default
retry-after = "1s" # default
share = 0.5 # default
tags = ["a", "b\n"] # config/default.toml:2
tiers = [{ name = "gold", price = 0 }] # config/default.toml:3
weights = [] # default

[orders.labels]
"a b" = "x" # --set orders.labels."a b"

[server]
host = "0.0.0.0" # default
idle_timeout = "75s" # default
port = 8080 # default

[v2_api]
max_2xx_age = 60 # default
"#;
    assert_eq!(toml, expected);
}

#[test]
fn printed_toml_reads_back_as_the_same_settings() {
    let odd = "\"\\\u{1}\u{7f}\u{85}\u{2028}é😀\n\t";
    let sources = Sources::empty()
        .set("orders.note", odd)
        .set(format!("orders.labels.{}", odd.replace('.', "")), odd)
        .set("orders.min", "-9223372036854775808")
        .set("orders.share", "1e300")
        .set(
            "orders.tiers",
            "[{ name = 'a', price = 1 }, { name = 'b' }]",
        );
    let first = load_from(&sources).unwrap().effective;

    let folder = Folder::new();
    folder.write("default.toml", first.to_toml());
    let second = load_from(&Sources::empty().with_config_dir(folder.path()))
        .unwrap()
        .effective;

    // A secret reads back as what was printed of it.
    assert_eq!(second.diff(&first), ["database.url"]);
}

#[test]
fn diff_names_what_changed_rotated_secrets_included() {
    let effective = |fixture: Fixture| fixture.settings().effective;
    let before = effective(Fixture::new().secret("admin.token", "one").var("PORT", "1"));
    assert_eq!(before.diff(&before), [""; 0]);

    let moved = effective(
        Fixture::new()
            .var("APP__ADMIN__TOKEN", "one")
            .flag("server.port=1"),
    );
    assert_eq!(
        before.diff(&moved),
        [""; 0],
        "another origin is not a change"
    );

    let after = effective(
        Fixture::new()
            .secret("admin.token", "two")
            .var("PORT", "2")
            .flag("orders.labels.a=b"),
    );
    let changed = [
        "admin.token",
        "orders.labels",
        "orders.labels.a",
        "server.port",
    ];
    assert_eq!(before.diff(&after), changed);
    assert_eq!(after.diff(&before), changed);
}

#[test]
fn the_schema_describes_the_settings_of_both() {
    let schema = schema::<Chassis, Service>();
    let key = |path: &str| {
        schema
            .pointer(&format!(
                "/properties/{}",
                path.replace('.', "/properties/")
            ))
            .unwrap()
    };
    assert_eq!(
        key("server.port")["description"],
        "The port of the service's routes; 0 for any that is free."
    );
    assert_eq!(key("server.port")["default"], 8080);
    assert_eq!(key("server.port")["maximum"], 65535);
    assert_eq!(key("limits.body")["default"], "2MiB");
    assert_eq!(key("database.url")["writeOnly"], true);
    assert_eq!(key("admin.token")["writeOnly"], true);
    assert_eq!(key("orders")["additionalProperties"], false);
    assert_eq!(schema["additionalProperties"], false);
    assert!(!schema.to_string().contains("postgres://"));
    assert!(!schema.to_string().contains("[redacted]"));
}
