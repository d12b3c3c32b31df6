//! serde's enums, options, maps and other types in each layer: a later layer takes precedence, and nothing is lost in
//! silence.

use std::collections::BTreeMap;

use axum_chassis_settings::schemars::{self, JsonSchema};
use axum_chassis_settings::{Secret, Sources, Validate, load};
use serde::{Deserialize, Serialize};

use crate::fixture::Folder;

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Settings {
    external: External,
    internal: Internal,
    adjacent: Adjacent,
    untagged: Untagged,
    account: Account,
    nested: Option<Nested>,
    map: BTreeMap<String, External>,
    level: Level,
    ratio: f32,
    origins: Vec<String>,
    routes: Vec<Route>,
    labels: BTreeMap<String, String>,
    id: Id,
    flat: Flat,
}

impl Validate for Settings {}

/// serde's default representation of enums.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum External {
    #[default]
    Memory,
    S3 {
        bucket: String,
        region: Option<String>,
    },
    #[serde(alias = "file")]
    #[schemars(extend("x-aliases" = ["file"]))]
    Disk {
        path: String,
    },
    Number(u8),
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Internal {
    #[default]
    Memory,
    S3 {
        bucket: String,
        shared: Option<u8>,
    },
    #[serde(alias = "file")]
    Disk {
        path: String,
        shared: Option<u8>,
    },
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "t", content = "c", rename_all = "lowercase")]
enum Adjacent {
    #[default]
    None,
    S3 {
        bucket: String,
    },
    Disk {
        path: String,
    },
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Untagged {
    Bucket { bucket: String },
    Path { path: String },
    Off(bool),
}

impl Default for Untagged {
    fn default() -> Self {
        Self::Off(false)
    }
}

/// Text first, so that `007` stays what it is.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Account {
    Name(String),
    Number(u64),
}

impl Default for Account {
    fn default() -> Self {
        Self::Number(0)
    }
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Nested {
    name: String,
    #[serde(flatten)]
    backend: Internal,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Level {
    #[default]
    Info,
    #[serde(alias = "warning")]
    Warn,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Route {
    path: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
struct Id(u16);

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Flat {
    name: String,
    #[serde(flatten)]
    tls: Option<Tls>,
    #[serde(skip_serializing)]
    pin: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    note: String,
    password: Option<Secret>,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Tls {
    certificate: String,
    port: u16,
}

const EXTERNAL_S3: &str = "[external.s3]\nbucket = 'b'\n";
const INTERNAL_S3: &str = "[internal]\ntype = 's3'\nbucket = 'b'\n";
const UNTAGGED_BUCKET: &str = "[untagged]\nbucket = 'b'\n";

/// Where the later of two values is written.
#[derive(Clone, Copy, Debug)]
enum Layer {
    File,
    Secret,
    Variable,
    Flag,
}

const LAYERS: [Layer; 4] = [Layer::File, Layer::Secret, Layer::Variable, Layer::Flag];

/// `later` are keys and their values as TOML.
fn told(earlier: &str, layer: Layer, later: &[(&str, &str)], field: &str) -> String {
    let (config, secrets) = (Folder::new(), Folder::new());
    config.write("default.toml", earlier);
    let mut sources = Sources::empty()
        .with_config_dir(config.path())
        .with_secrets_dir(secrets.path())
        .with_run_env("production");
    let mut file = String::new();
    for (key, value) in later {
        let text = value.trim_matches('"');
        match layer {
            Layer::File => file += &format!("{key} = {value}\n"),
            Layer::Secret => secrets.write(key, text),
            Layer::Variable => {
                let name = format!("APP__{}", key.replace('.', "__").to_uppercase());
                sources = sources.with_var(name, text);
            }
            Layer::Flag => sources = sources.set(key, text),
        }
    }
    config.write("production.toml", file);
    match load::<(), Settings>(&sources) {
        Ok(loaded) => {
            let printed = format!("{:#?}", loaded.service);
            assert!(!printed.is_empty());
            serde_json::to_value(&loaded.service).unwrap()[field].to_string()
        }
        Err(invalid) => {
            let faults = invalid.faults().iter();
            let faults: Vec<_> = faults
                .map(|f| format!("{}: {}", f.key, f.message))
                .collect();
            faults.join("; ")
        }
    }
}

type Case = (
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static str,
    &'static str,
);

#[test]
fn a_later_layer_may_choose_another_variant() {
    const CASES: &[Case] = &[
        (
            EXTERNAL_S3,
            &[("external.disk.path", "\"/d\"")],
            "external",
            r#"{"disk":{"path":"/d"}}"#,
        ),
        (
            EXTERNAL_S3,
            &[("external", "\"memory\"")],
            "external",
            "\"memory\"",
        ),
        (
            "external = 'memory'\n",
            &[("external.s3.bucket", "\"b\"")],
            "external",
            r#"{"s3":{"bucket":"b","region":null}}"#,
        ),
        (
            EXTERNAL_S3,
            &[("external.number", "7")],
            "external",
            r#"{"number":7}"#,
        ),
        // By an alias that its schema lists.
        (
            EXTERNAL_S3,
            &[("external.file.path", "\"/d\"")],
            "external",
            r#"{"disk":{"path":"/d"}}"#,
        ),
        (
            "[external.file]\npath = '/c'\n",
            &[("external.disk.path", "\"/d\"")],
            "external",
            r#"{"disk":{"path":"/d"}}"#,
        ),
        (
            "[external.file]\npath = '/c'\n",
            &[("external.s3.bucket", "\"b\"")],
            "external",
            r#"{"s3":{"bucket":"b","region":null}}"#,
        ),
        // The same one is set key by key.
        (
            EXTERNAL_S3,
            &[("external.s3.region", "\"r\"")],
            "external",
            r#"{"s3":{"bucket":"b","region":"r"}}"#,
        ),
        (
            "[map.a.s3]\nbucket = 'b'\n",
            &[("map.a.disk.path", "\"/d\"")],
            "map",
            r#"{"a":{"disk":{"path":"/d"}}}"#,
        ),
        (
            "[internal]\ntype = 's3'\nbucket = 'b'\nshared = 1\n",
            &[("internal.type", "\"disk\""), ("internal.path", "\"/d\"")],
            "internal",
            r#"{"type":"disk","path":"/d","shared":null}"#,
        ),
        (
            INTERNAL_S3,
            &[("internal.type", "\"file\""), ("internal.path", "\"/d\"")],
            "internal",
            r#"{"type":"disk","path":"/d","shared":null}"#,
        ),
        (
            "[internal]\ntype = 'file'\npath = '/c'\nshared = 1\n",
            &[("internal.type", "\"disk\""), ("internal.path", "\"/d\"")],
            "internal",
            r#"{"type":"disk","path":"/d","shared":1}"#,
        ),
        (
            INTERNAL_S3,
            &[("internal.type", "\"memory\"")],
            "internal",
            r#"{"type":"memory"}"#,
        ),
        (
            INTERNAL_S3,
            &[("internal.shared", "2")],
            "internal",
            r#"{"type":"s3","bucket":"b","shared":2}"#,
        ),
        (
            INTERNAL_S3,
            &[("internal.bucket", "\"c\"")],
            "internal",
            r#"{"type":"s3","bucket":"c","shared":null}"#,
        ),
        (
            "[adjacent]\nt = 's3'\nc = { bucket = 'b' }\n",
            &[("adjacent.t", "\"disk\""), ("adjacent.c.path", "\"/d\"")],
            "adjacent",
            r#"{"t":"disk","c":{"path":"/d"}}"#,
        ),
        (
            UNTAGGED_BUCKET,
            &[("untagged.path", "\"/d\"")],
            "untagged",
            r#"{"path":"/d"}"#,
        ),
        (UNTAGGED_BUCKET, &[("untagged", "true")], "untagged", "true"),
        // The keys beside a flattened enum stay.
        (
            "[nested]\nname = 'n'\ntype = 's3'\nbucket = 'b'\n",
            &[("nested.type", "\"disk\""), ("nested.path", "\"/d\"")],
            "nested",
            r#"{"name":"n","type":"disk","path":"/d","shared":null}"#,
        ),
    ];
    for (earlier, later, field, expected) in CASES {
        for layer in LAYERS {
            let told = told(earlier, layer, later, field);
            let as_json = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
            assert_eq!(
                as_json(&told),
                as_json(expected),
                "{earlier} {layer:?}: {told}"
            );
        }
    }
}

#[test]
fn values_that_serde_would_ignore_are_errors() {
    const DROPPED: &str =
        "has no effect: other keys of its section are missing, or those of another variant are set";
    for layer in LAYERS {
        let half = told("", layer, &[("flat.certificate", "\"/c\"")], "flat");
        assert_eq!(half, format!("flat.certificate: {DROPPED}"), "{layer:?}");
        // Of the variant that is chosen, in the layer that chooses it.
        let both = [
            ("internal.type", "\"memory\""),
            ("internal.bucket", "\"b\""),
        ];
        let other = told("", layer, &both, "internal");
        assert_eq!(other, format!("internal.bucket: {DROPPED}"), "{layer:?}");
        let whole = [("flat.certificate", "\"/c\""), ("flat.port", "1")];
        let whole = told("", layer, &whole, "flat");
        assert!(
            whole.contains(r#""certificate":"/c""#),
            "{layer:?}: {whole}"
        );
        // A value that the struct reads and does not print is not reported.
        let unprinted = [("flat.pin", "\"1234\""), ("flat.note", "\"\"")];
        let unprinted = told("", layer, &unprinted, "flat");
        assert!(unprinted.contains("name"), "{layer:?}: {unprinted}");
    }
}

#[test]
fn text_is_parsed_by_serdes_order_and_aliases() {
    const CASES: &[(&str, &str, &str, &str)] = &[
        ("account", "007", "account", r#""007""#),
        (
            "origins",
            "https://a.example,https://b.example,",
            "origins",
            r#"["https://a.example","https://b.example"]"#,
        ),
        (
            "routes",
            r#"[{"path":"/a"},{"path":"/b"}]"#,
            "routes",
            r#"[{"path":"/a"},{"path":"/b"}]"#,
        ),
        (
            "labels",
            r#"{"team":"blue"}"#,
            "labels",
            r#"{"team":"blue"}"#,
        ),
        (
            "labels",
            r#"{ team = "blue" }"#,
            "labels",
            r#"{"team":"blue"}"#,
        ),
        (
            "labels",
            "team=blue",
            "labels",
            r#"labels: invalid value (text of 9 characters), expected a table such as '{ key = "value" }'"#,
        ),
        (
            "ratio",
            "1e40",
            "ratio",
            "ratio: invalid value (number of 4 characters), expected a number of 32 bits",
        ),
        ("ratio", "3e38", "ratio", "3e38"),
        ("level", "warning", "level", r#""warn""#),
        (
            "level",
            "wrning",
            "level",
            r#"level: invalid value (text of 6 characters), expected one of "info", "warn""#,
        ),
        (
            "id",
            "65536",
            "id",
            "id: invalid value (number of 5 characters), expected a whole number from 0 to 65535",
        ),
    ];
    for (key, text, field, expected) in CASES {
        for layer in [Layer::Secret, Layer::Variable, Layer::Flag] {
            let told = told("", layer, &[(key, text)], field);
            let as_number = |text: &str| text.parse::<f32>().ok();
            let same = told == *expected
                || as_number(&told).is_some_and(|n| Some(n) == as_number(expected));
            assert!(same, "{key}={text} {layer:?}: {told}");
        }
    }
    let in_file = |value: &str, key: &str| told("", Layer::File, &[(key, value)], key);
    assert_eq!(in_file("\"007\"", "account"), r#""007""#);
    assert_eq!(in_file("7", "account"), "7");
    assert_eq!(in_file("\"warning\"", "level"), r#""warn""#);
    assert_eq!(
        in_file("1e40", "ratio"),
        "ratio: invalid value 1e40, expected a number of 32 bits"
    );
    // An invalid word is reported even if a later layer overrides it.
    let covered = told(
        "level = 'wrning'\n",
        Layer::Flag,
        &[("level", "info")],
        "level",
    );
    assert_eq!(
        covered,
        r#"level: invalid value "wrning", expected one of "info", "warn""#
    );
    // The alias of a tag is a variant's name, too.
    let alias = [("internal.type", "\"file\""), ("internal.path", "\"/d\"")];
    for layer in LAYERS {
        assert_eq!(
            told("", layer, &alias, "internal"),
            r#"{"path":"/d","shared":null,"type":"disk"}"#
        );
    }
}
