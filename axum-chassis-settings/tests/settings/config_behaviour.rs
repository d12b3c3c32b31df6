//! The habits of `config`: what it does by itself, and what becomes of it here.

use std::collections::BTreeMap;

use axum_chassis_settings::config::{Config, Map, Value, ValueKind};
use axum_chassis_settings::schemars::{self, JsonSchema};
use axum_chassis_settings::{Sources, Validate, ValidationErrors, load};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::fixture::{Fixture, Says};

/// JSON as a value of `config`, numbers of 64 bits included.
fn value(json: serde_json::Value) -> Value {
    let kind: ValueKind = match json {
        serde_json::Value::Number(number) if number.is_u64() => number.as_u64().into(),
        serde_json::Value::Array(items) => items.into_iter().map(value).collect::<Vec<_>>().into(),
        serde_json::Value::Object(table) => {
            let table = table.into_iter().map(|(key, json)| (key, value(json)));
            table.collect::<Map<_, _>>().into()
        }
        scalar => return serde_json::from_value(scalar).unwrap(),
    };
    Value::new(None, kind)
}

// --- by itself ---

fn merged(layers: &[(&str, serde_json::Value)]) -> Config {
    let builder = layers
        .iter()
        .fold(Config::builder(), |builder, (key, json)| {
            builder.add_source(Says::one(key, value(json.clone())))
        });
    builder.build().unwrap()
}

#[test]
fn config_takes_keys_of_the_first_level_for_paths_and_only_those() {
    for (key, expected) in [
        ("a.b", json!({ "a": { "b": 1 } })),
        ("a[1]", json!({ "a": [null, 1] })),
        ("a[-1]", json!({ "a": [1] })),
        // Anything that is not a path is a key.
        ("a..b", json!({ "a..b": 1 })),
        ("a b", json!({ "a b": 1 })),
        ("a[x]", json!({ "a[x]": 1 })),
        ("", json!({ "": 1 })),
        ("A", json!({ "A": 1 })),
    ] {
        let tree = merged(&[(key, json!(1))]);
        let tree: serde_json::Value = tree.try_deserialize().unwrap();
        assert_eq!(tree, expected, "{key}");
    }
    // So everything of ours stands one level down.
    let keys = json!({ "a.b": 1, "a[1]": 2, "A": 3, "a": 4, "": 5 });
    let tree = merged(&[("root", keys.clone())]);
    assert_eq!(tree.get::<serde_json::Value>("root").unwrap(), keys);
}

#[test]
fn config_merges_tables_and_replaces_the_rest() {
    for (under, over, expected) in [
        (
            json!({ "a": 1, "b": 1 }),
            json!({ "b": 2 }),
            json!({ "a": 1, "b": 2 }),
        ),
        (
            json!({ "a": 1, "A": 1 }),
            json!({ "A": 2 }),
            json!({ "a": 1, "A": 2 }),
        ),
        (json!([1, 2, 3]), json!([4]), json!([4])),
        (json!([1]), json!([]), json!([])),
        (json!(1), json!({ "a": 1 }), json!({ "a": 1 })),
        (json!({ "a": 1 }), json!(1), json!(1)),
        (json!({ "a": 1 }), json!({}), json!({ "a": 1 })),
        (json!({ "a": 1 }), json!(null), json!(null)),
        (json!(null), json!({ "a": 1 }), json!({ "a": 1 })),
        (json!(1), json!(null), json!(null)),
        (json!(u64::MAX), json!(i64::MIN), json!(i64::MIN)),
        (json!(1), json!(u64::MAX), json!(u64::MAX)),
        (json!(1), json!(0.1), json!(0.1)),
    ] {
        let said = format!("{over} over {under}");
        let tree = merged(&[("key", under), ("key", over)]);
        assert_eq!(
            tree.get::<serde_json::Value>("key").unwrap(),
            expected,
            "{said}"
        );
    }
}

#[test]
fn config_keeps_the_origins_of_leaves_and_loses_those_of_tables() {
    let from = |origin: &str, kind: ValueKind| Value::new(Some(&origin.to_owned()), kind);
    let table = |origin: &str, key: &str, value: Value| {
        from(origin, Map::from([(key.to_owned(), value)]).into())
    };
    let tree = Config::builder()
        .add_source(Says::one("key", table("one", "a", from("one", 1.into()))))
        .add_source(Says::one(
            "key",
            table("two", "b", from("two", vec![1].into())),
        ))
        .build()
        .unwrap();
    let key = tree.get_table("key").unwrap();
    assert_eq!(
        (key["a"].origin(), key["b"].origin()),
        (Some("one"), Some("two"))
    );
    assert_eq!(tree.cache.into_table().unwrap()["key"].origin(), None);
}

#[test]
fn config_reads_one_type_as_another_where_we_do_not() {
    fn reads<T: DeserializeOwned + PartialEq + std::fmt::Debug>(
        written: impl Into<ValueKind>,
        read: T,
    ) {
        let written = Value::new(None, written);
        assert_eq!(
            written.clone().try_deserialize::<T>().unwrap(),
            read,
            "{written}"
        );
    }
    reads("80", 80_u16);
    reads("on", 1_u16);
    reads(1.6, 2_u16);
    reads(true, 1_u16);
    reads("yes", true);
    reads(7, true);
    reads("0.5", 0.5);
    reads(80, "80".to_owned());
    reads("1979-05-27", "1979-05-27".to_owned());
    reads(ValueKind::Nil, None::<u16>);
    reads(u64::MAX, u64::MAX);
    reads(i64::MIN, i64::MIN);
    // 128 bits are kept and cannot be read.
    assert!(
        Value::new(None, i128::MAX)
            .try_deserialize::<i128>()
            .is_err()
    );
    // Unsigned numbers above `i64::MAX` cannot be made from JSON.
    assert!(serde_json::from_value::<Value>(json!(u64::MAX)).is_err());
}

// --- here ---

#[test]
fn keys_of_a_source_are_paths_at_the_first_level_and_as_they_stand_below_it() {
    for (key, json, expected) in [
        ("server.port", json!(81), Ok(("server.port", "81"))),
        (
            "orders.labels",
            json!({ "Team": "x" }),
            Ok(("orders.labels.Team", "\"x\"")),
        ),
        (
            "orders.labels.Team",
            json!("x"),
            Ok(("orders.labels.Team", "\"x\"")),
        ),
        (
            "orders",
            json!({ "labels": { "a.b": "x", "c[0]": "y" } }),
            Ok(("orders.labels", r#"{"a.b":"x","c[0]":"y"}"#)),
        ),
        // A list is set as a whole, and no other case will do.
        (
            "orders.tags[0]",
            json!("x"),
            Err("orders.\"tags[0]\": unknown setting"),
        ),
        (
            "orders.tags[99999999999]",
            json!("x"),
            Err("orders.\"tags[99999999999]\": unknown setting"),
        ),
        (
            "orders.tags.0",
            json!("x"),
            Err("orders.tags: invalid value (a table), expected a list, each a string"),
        ),
        (
            "server..port",
            json!(81),
            Err("server.\"\": unknown setting"),
        ),
        ("SERVER.PORT", json!(81), Err("SERVER: unknown setting")),
        (
            "server",
            json!({ "Port": 81 }),
            Err("server.Port: unknown setting"),
        ),
        (
            "server",
            json!({ "a.b": 81 }),
            Err("server.\"a.b\": unknown setting"),
        ),
    ] {
        let fixture = Fixture::new().source(Says::one(key, value(json)));
        match expected {
            Ok((key, read)) => {
                let json = fixture.settings().effective.to_json();
                let pointer = format!("/settings/{}", key.replace('.', "/"));
                assert_eq!(json.pointer(&pointer).unwrap().to_string(), read);
            }
            Err(said) => {
                let faults = fixture.faults();
                assert!(faults.starts_with(said), "{key}: {faults}");
            }
        }
    }
    // Of a key and what is in it, neither is lost.
    let both = Says(vec![
        ("server".into(), value(json!({ "port": 81 }))),
        ("server.host".into(), "::1".into()),
    ]);
    let server = Fixture::new().source(both).settings().framework.server;
    assert_eq!((server.port, server.host.to_string().as_str()), (81, "::1"));
}

#[test]
fn a_value_of_a_source_has_its_keys_type_or_is_an_error() {
    for (key, kind, expected) in [
        // Text becomes the type of its key, as in variables: some sources know nothing else.
        ("server.port", ValueKind::from("81"), Ok("81")),
        ("orders.share", "0.25".into(), Ok("0.25")),
        ("logs.access", "FALSE".into(), Ok("false")),
        ("orders.weights", "1,2".into(), Ok("[1,2]")),
        ("orders.note", "12".into(), Ok("\"12\"")),
        ("orders.note", "".into(), Ok("null")),
        ("server.port", "on".into(), Err("invalid value \"on\"")),
        ("server.port", "1.6".into(), Err("invalid value \"1.6\"")),
        ("logs.access", "yes".into(), Err("invalid value \"yes\"")),
        // The rest becomes nothing else.
        ("server.port", 81.into(), Ok("81")),
        ("server.port", 81_u64.into(), Ok("81")),
        ("server.port", 81_i128.into(), Ok("81")),
        ("server.port", 81_u128.into(), Ok("81")),
        ("server.port", 80.0.into(), Err("invalid value 80.0")),
        ("server.port", true.into(), Err("invalid value true")),
        ("logs.access", 1.into(), Err("invalid value 1")),
        ("logs.filter", 5.into(), Err("invalid value 5")),
        ("orders.share", 1.into(), Ok("1.0")),
        (
            "orders.share",
            f64::NAN.into(),
            Err("invalid value \"NaN\""),
        ),
        (
            "orders.share",
            f64::INFINITY.into(),
            Err("invalid value \"inf\""),
        ),
        ("orders.min", i64::MIN.into(), Ok("-9223372036854775808")),
        (
            "orders.min",
            u64::MAX.into(),
            Err("invalid value 18446744073709551615"),
        ),
        (
            "orders.min",
            i128::MAX.into(),
            Err("invalid value \"170141183460469231731687303715884105727\""),
        ),
        (
            "orders.min",
            u128::MAX.into(),
            Err("invalid value \"340282366920938463463374607431768211455\""),
        ),
        // Nil unsets what may be unset.
        ("orders.note", ValueKind::Nil, Ok("null")),
        ("server.port", ValueKind::Nil, Err("invalid value (none)")),
        ("server", ValueKind::Nil, Err("invalid value (none)")),
        // Lists and tables.
        ("orders.weights", vec![1, 2].into(), Ok("[1,2]")),
        ("orders.weights", vec![256].into(), Err("invalid value 256")),
        ("orders.weights", 1.into(), Err("invalid value 1")),
        (
            "orders.note",
            vec!["a"].into(),
            Err("invalid value (a list)"),
        ),
        (
            "orders.note",
            Map::<String, Value>::new().into(),
            Err("invalid value (a table)"),
        ),
        ("orders", "x".into(), Err("invalid value \"x\"")),
        // `config` has no dates: its TOML makes text of them, as ours does.
        ("orders.note", "1979-05-27".into(), Ok("\"1979-05-27\"")),
    ] {
        let said = format!("{key} = {kind:?}");
        let fixture = Fixture::new().source(Says::one(key, Value::new(None, kind)));
        match expected {
            Ok(read) => assert_eq!(fixture.value(key).0, read, "{said}"),
            Err(found) => {
                let faults = fixture.faults();
                assert!(faults.contains(found), "{said}: {faults}");
                assert!(faults.ends_with("(source Says)"), "{said}: {faults}");
            }
        }
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Loose {
    any: serde_json::Value,
    large: u64,
    sizes: BTreeMap<String, u64>,
    inner: Inner,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[allow(non_snake_case)]
struct Inner {
    most: u64,
    Upper: u8,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            most: u64::MAX,
            Upper: 1,
        }
    }
}

impl Validate for Loose {}

#[test]
fn values_without_a_schema_are_unchanged() {
    let read = |sources: Sources| load::<(), Loose>(&sources).unwrap().service;
    let plain = read(Sources::empty());
    assert_eq!((plain.inner.most, plain.inner.Upper), (u64::MAX, 1));
    for (written, expected) in [
        (value(json!(u64::MAX)), json!(u64::MAX)),
        (
            value(json!({ "a.b": [1, { "C": null }], "D": -0.5 })),
            json!({ "a.b": [1, { "C": null }], "D": -0.5 }),
        ),
        (
            i128::MIN.into(),
            json!("-170141183460469231731687303715884105728"),
        ),
        (vec![f64::NAN].into(), json!(["NaN"])),
        ("yes".into(), json!("yes")),
        ("12".into(), json!("12")),
    ] {
        assert_eq!(
            read(Sources::empty().source(Says::one("any", written))).any,
            expected
        );
    }
    // Tables merge, and anything else is replaced.
    let sources = Sources::empty()
        .source(Says::one("any", value(json!({ "a": 1, "b": [1, 2] }))))
        .source(Says::one("any", value(json!({ "b": [3], "c": {} }))));
    assert_eq!(
        read(sources.clone()).any,
        json!({ "a": 1, "b": [3], "c": {} })
    );
    assert_eq!(read(sources.source(Says::one("any", 1))).any, json!(1));

    let folder = crate::fixture::Folder::new();
    folder.write(
        "default.toml",
        "large = 18446744073709551615\nany = { day = 1979-05-27, at = 1979-05-27T07:32:00Z }\n[sizes]\n\"a.b\" = 1\nA = 2\n[inner]\nUpper = 3\n",
    );
    let loose = read(Sources::empty().with_config_dir(folder.path()));
    assert_eq!(loose.large, u64::MAX);
    assert_eq!(
        loose.any,
        json!({ "day": "1979-05-27", "at": "1979-05-27T07:32:00Z" })
    );
    assert_eq!((loose.sizes["a.b"], loose.sizes["A"]), (1, 2));
    assert_eq!((loose.inner.most, loose.inner.Upper), (u64::MAX, 3));
}

#[test]
fn a_table_that_is_one_value_has_the_origin_of_its_content() {
    let sources = Sources::empty().with_set("any={ b = 1 }");
    let loaded = load::<(), Loose>(&sources).unwrap();
    assert_eq!(loaded.effective.origin("any"), Some("--set any"));

    #[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
    #[serde(default)]
    struct Moded {
        mode: Mode,
    }
    #[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
    enum Mode {
        #[default]
        Off,
        On {
            rate: u32,
        },
    }
    impl Validate for Moded {
        fn validate(&self, errors: &mut ValidationErrors) {
            if let Mode::On { rate: 0 } = self.mode {
                errors.add("mode", "must be off, or have a rate");
            }
        }
    }
    let mode = |rate| Sources::empty().with_var("APP__MODE__ON__RATE", rate);
    let loaded = load::<(), Moded>(&mode("3")).unwrap();
    let variable = "environment variable APP__MODE__ON__RATE";
    assert_eq!(loaded.effective.origin("mode"), Some(variable));
    let invalid = load::<(), Moded>(&mode("0")).map(|_| ()).unwrap_err();
    assert_eq!(invalid.faults()[0].origin, variable);
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Open {
    #[serde(flatten)]
    sizes: BTreeMap<String, u64>,
}

impl Validate for Open {}

#[test]
fn keys_of_a_file_are_not_paths_at_the_first_level() {
    let folder = crate::fixture::Folder::new();
    folder.write("default.toml", "\"a.b\" = 1\n\"c[9]\" = 2\nD = 3\n");
    folder.write("dev.toml", "\"a.b\" = 4\n");
    let sources = Sources::empty().with_config_dir(folder.path());
    let open = load::<(), Open>(&sources).unwrap().service;
    let expected = [("D", 3), ("a.b", 4), ("c[9]", 2)].map(|(key, size)| (key.to_owned(), size));
    assert_eq!(open.sizes, BTreeMap::from(expected));
}
