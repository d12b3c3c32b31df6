//! Types that a service may use in its settings.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU16;

use axum_chassis_settings::schemars::{self, JsonSchema};
use axum_chassis_settings::{
    Defaults, Invalid, Secret, SettingsSchema, Size, Sources, Validate, ValidationErrors, load,
    schema,
};
use serde::{Deserialize, Serialize};

fn read<S: SettingsSchema>(toml: &str, vars: &[(&str, &str)]) -> Result<S, Invalid> {
    let folder = crate::fixture::Folder::new();
    folder.write("default.toml", toml);
    let sources = Sources::empty().with_config_dir(folder.path());
    let sources = vars.iter().fold(sources, |sources, (name, value)| {
        sources.with_var(name, value)
    });
    load::<(), S>(&sources).map(|loaded| loaded.service)
}

fn errors<S: SettingsSchema>(toml: &str, vars: &[(&str, &str)]) -> Vec<String> {
    let Err(invalid) = read::<S>(toml, vars) else {
        return Vec::new();
    };
    invalid
        .faults()
        .iter()
        .map(|fault| format!("{}: {}", fault.key, fault.message))
        .collect()
}

macro_rules! settings {
    ($($name:ident)*) => { $(impl Validate for $name {})* };
}
settings!(Needy Inner Variants Flat Odd Clash Chatty);

/// Nothing here has a default.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Needy {
    store: Store,
    optional: Option<Store>,
    cache: Cache,
}

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Store {
    path: String,
    size: Size,
    note: Option<String>,
}

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Cache {
    entries: u32,
}

impl Default for Cache {
    fn default() -> Self {
        Self { entries: 100 }
    }
}

#[test]
fn every_missing_key_is_reported_with_a_way_to_set_it() {
    assert_eq!(
        errors::<Needy>("", &[]),
        [
            "store.path: missing required setting, expected a string, for example in the environment variable APP__STORE__PATH",
            "store.size: missing required setting, expected a size such as \"2MiB\", \"512KiB\" or \"1GB\", for example in the environment variable APP__STORE__SIZE",
        ]
    );
    // An invalid value is not reported as missing, too. An optional section is complete or absent.
    assert_eq!(
        errors::<Needy>("[store]\npath = 5\nsize = 1\n[optional]\nsize = 1\n", &[]),
        [
            "store.path: invalid value 5, expected a string",
            "optional.path: missing required setting, expected a string, for example in the environment variable APP__OPTIONAL__PATH",
        ]
    );
    // A section of defaults need not be written, even if the struct that holds it has none.
    let needy = read::<Needy>(
        "",
        &[("APP__STORE__PATH", "/x"), ("APP__STORE__SIZE", "1KiB")],
    )
    .unwrap();
    assert_eq!((needy.cache.entries, needy.optional.is_none()), (100, true));
}

#[test]
fn nothing_is_called_missing_when_a_file_could_not_be_read() {
    assert_eq!(
        errors::<Needy>("[store]\npath = \"/x\"\nsize 1\n", &[]),
        [": invalid TOML: key with no value, expected `=`"]
    );
}

/// A section whose default differs from that of its own struct.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Inner {
    cache: Cache,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            cache: Cache { entries: 7 },
        }
    }
}

#[test]
fn each_key_of_a_section_has_its_own_default() {
    #[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
    #[serde(default)]
    struct Outer {
        inner: Inner,
        login: Login,
    }
    #[derive(Clone, Serialize, Deserialize, JsonSchema)]
    struct Login {
        user: String,
        password: Secret,
    }
    impl Default for Login {
        fn default() -> Self {
            Self {
                user: "orders".into(),
                password: "dev".into(),
            }
        }
    }
    impl Validate for Outer {}

    assert_eq!(read::<Inner>("[cache]\n", &[]).unwrap().cache.entries, 7);
    assert_eq!(
        read::<Outer>("[inner.cache]\n", &[])
            .unwrap()
            .inner
            .cache
            .entries,
        7
    );
    assert_eq!(
        schema::<(), Outer>()["properties"]["inner"]["properties"]["cache"]["properties"]["entries"]
            ["default"],
        7
    );
    // Nobody may know a secret's default, so a section that has one is all or nothing.
    let outer = read::<Outer>("", &[]).unwrap();
    assert_eq!(
        (outer.login.user.as_str(), outer.login.password.expose()),
        ("orders", "dev")
    );
    let partly = errors::<Outer>("", &[("APP__LOGIN__PASSWORD", "x")]);
    assert_eq!(
        partly,
        [
            "login.user: missing required setting, expected a string, for example in the environment variable APP__LOGIN__USER"
        ]
    );
}

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Variants {
    store: Backend,
    mode: Mode,
    limit: Limit,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Backend {
    Memory { entries: u32 },
    Redis { url: Secret, pool: u8 },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    ReadOnly,
    /// With a rate.
    ReadWrite {
        rate: u32,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Limit {
    Number(u32),
    Word(String),
    Switch(bool),
}

impl Default for Variants {
    fn default() -> Self {
        Self {
            store: Backend::Memory { entries: 1 },
            mode: Mode::ReadOnly,
            limit: Limit::Number(1),
        }
    }
}

#[test]
fn enums_may_carry_settings() {
    let redis = [
        ("APP__STORE__KIND", "redis"),
        ("APP__STORE__URL", "redis://x"),
        ("APP__STORE__POOL", "3"),
    ];
    let variants = read::<Variants>("", &redis).unwrap();
    assert_eq!(
        variants.store,
        Backend::Redis {
            url: "redis://x".into(),
            pool: 3
        }
    );

    let variants = read::<Variants>("mode = \"read-only\"\nlimit = true\n", &[]).unwrap();
    assert_eq!(
        (variants.mode, variants.limit),
        (Mode::ReadOnly, Limit::Switch(true))
    );
    let variants = read::<Variants>(
        "",
        &[("APP__MODE__READ_WRITE__RATE", "3"), ("APP__LIMIT", "12")],
    )
    .unwrap();
    assert_eq!(
        (variants.mode, variants.limit),
        (Mode::ReadWrite { rate: 3 }, Limit::Number(12))
    );
    let variants = read::<Variants>("", &[("APP__LIMIT", "none")]).unwrap();
    assert_eq!(variants.limit, Limit::Word("none".into()));

    // The rest is serde's to say, without the secret.
    let faults = errors::<Variants>("", &redis[..2]);
    assert_eq!(
        faults,
        [
            "store.pool: missing required setting, expected a whole number from 0 to 255, for example in the environment variable APP__STORE__POOL"
        ]
    );
    let faults = errors::<Variants>("[store]\nkind = \"postgres\"\nurl = \"hunter2\"\n", &[]);
    assert_eq!(
        faults,
        ["store.kind: invalid value \"postgres\", expected one of \"memory\", \"redis\""]
    );
    assert_eq!(
        errors::<Variants>(
            "mode = \"read_only\"\nlimit = 1.5\n",
            &[("APP__STORE__URI", "hunter2")]
        ),
        [
            "limit: invalid value 1.5, expected a whole number from 0 to 4294967295, or a string, or true or false",
            "mode: invalid value \"read_only\", expected \"read-only\", or a table",
            "store.uri: unknown setting",
        ]
    );
}

#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Flat {
    #[serde(flatten)]
    cache: Cache,
    name: String,
}

#[test]
fn a_flattened_struct_adds_its_keys() {
    let flat = read::<Flat>("name = \"x\"\n", &[("APP__ENTRIES", "5")]).unwrap();
    assert_eq!((flat.cache.entries, flat.name.as_str()), (5, "x"));
    assert_eq!(
        errors::<Flat>("nam = \"x\"\n", &[("APP__ENTRIES", "x")]).len(),
        2
    );
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Odd {
    pair: (u16, String),
    port: Option<NonZeroU16>,
    nested: BTreeMap<String, Cell>,
    secrets: HashMap<String, Secret>,
    any: serde_json::Value,
    tree: Branch,
    numbers: BTreeMap<u16, String>,
    #[schemars(length(min = 3, max = 5))]
    word: Option<String>,
    ranges: Vec<(i8, i8)>,
    floats: [f32; 2],
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Cell {
    value: u8,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Branch {
    name: String,
    branches: Vec<Branch>,
}

#[test]
fn tuples_maps_options_and_trees_are_read() {
    let odd = read::<Odd>(
        "any = { a = [1, 'x'] }\nranges = [[1, 2], [-3, 4]]\n[numbers]\n80 = 'http'\n[nested.one]\nvalue = 1\n[[tree.branches]]\nname = 'x'\n",
        &[
            ("APP__PAIR", "1,2"),
            ("APP__PORT", "80"),
            ("APP__NESTED__TWO__VALUE", "2"),
            ("APP__SECRETS__KEY", "x"),
            ("APP__WORD", "four"),
            ("APP__FLOATS", "1,2.5"),
            ("APP__NUMBERS__443", "https"),
        ],
    )
    .unwrap_or_else(|invalid| panic!("{invalid}"));
    assert_eq!(odd.pair, (1, "2".to_owned()));
    assert_eq!(odd.port, NonZeroU16::new(80));
    assert_eq!((odd.nested["one"].value, odd.nested["two"].value), (1, 2));
    assert_eq!(odd.secrets["key"].expose(), "x");
    assert_eq!(odd.any, serde_json::json!({ "a": [1, "x"] }));
    assert_eq!(odd.tree.branches[0].name, "x");
    assert_eq!(odd.ranges, [(1, 2), (-3, 4)]);
    assert_eq!(odd.floats, [1.0, 2.5]);
    assert_eq!(odd.numbers.len(), 2);
}

#[test]
fn errors_in_tuples_maps_options_and_trees_are_reported() {
    assert_eq!(
        errors::<Odd>(
            "word = 'abcdef'\n[nested.one]\nvalu = 1\n[tree]\nbranches = [{ nam = 'x' }]\n",
            &[
                ("APP__PORT", "0"),
                ("APP__PAIR", "x,y"),
                ("APP__SECRETS__KEY", ""),
                ("APP__FLOATS", "1")
            ]
        ),
        [
            "nested.one.valu: unknown setting",
            "tree.branches.0.nam: unknown setting",
            "word: invalid value \"abcdef\", expected a string of 3 to 5 characters",
            "pair.0: invalid value (text of 1 character), expected a whole number from 0 to 65535",
            "port: invalid value (number of 1 character), expected a whole number from 1 to 65535",
            "nested.one.value: missing required setting, expected a whole number from 0 to 255, for example in the environment variable APP__NESTED__ONE__VALUE",
            "floats: invalid value (a list), expected an array of length 2",
        ]
    );
}

#[test]
fn a_missing_key_in_a_numbered_map_entry_has_an_origin() {
    let sources = Sources::empty().with_var("APP__NESTED__80__HOST", "x");
    #[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
    #[serde(default)]
    struct Ports {
        nested: BTreeMap<u16, Port>,
    }
    #[derive(Clone, Serialize, Deserialize, JsonSchema)]
    struct Port {
        name: String,
        host: String,
    }
    impl Validate for Ports {}
    let invalid = load::<(), Ports>(&sources).map(|_| ()).unwrap_err();
    assert_eq!(
        invalid.to_string(),
        "nested.80.name: missing required setting, expected a string (environment variable APP__NESTED__80__HOST)"
    );
}

#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Clash {
    cache: Cache,
}

#[test]
fn a_section_of_both_service_and_chassis_is_an_error() {
    let Err(invalid) = load::<Inner, Clash>(&Sources::empty()) else {
        panic!("it clashes")
    };
    let told = invalid.to_string();
    let expected = "cache: reserved section name: `settings::shapes::Inner` has a section of this name (struct ";
    assert!(told.starts_with(expected), "{told}");
}

/// A type whose own errors quote what it was given.
#[derive(Clone, Default, Serialize, JsonSchema)]
struct Dsn(Secret);

impl<'de> Deserialize<'de> for Dsn {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let secret = Secret::deserialize(deserializer)?;
        let refused = format!("cannot parse {}", secret.expose());
        if secret.expose().starts_with("postgres:") {
            Ok(Self(secret))
        } else {
            Err(serde::de::Error::custom(refused))
        }
    }
}

#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Chatty {
    dsn: Option<Dsn>,
    dsns: BTreeMap<String, Dsn>,
}

#[test]
fn a_type_that_quotes_a_secret_is_not_quoted() {
    let vars = [
        ("APP__DSN", "hunter2"),
        ("APP__DSNS__A", "hunter2"),
        ("APP__DSNS__B", "postgres://x"),
    ];
    assert_eq!(
        errors::<Chatty>("", &vars),
        [
            "dsn: invalid value (text of 7 characters)",
            "dsns.a: invalid value (text of 7 characters)"
        ]
    );
}

#[test]
fn a_validation_message_of_several_lines_is_printed_in_one() {
    #[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
    #[serde(default)]
    struct Ruled {
        cache: Cache,
    }
    impl Validate for Ruled {
        fn validate(&self, errors: &mut ValidationErrors) {
            errors.add("cache.entries", "too few\nINFO all is well");
        }
    }
    assert_eq!(
        errors::<Ruled>("", &[]),
        ["cache.entries: too few INFO all is well"]
    );
}

#[test]
fn a_completed_key_of_a_section_has_its_reason_and_an_unknown_one_a_warning() {
    #[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
    #[serde(default)]
    struct Pool {
        size: Option<u32>,
    }
    impl Validate for Pool {
        fn complete(&mut self, defaults: &mut Defaults) {
            if self.size.is_none() {
                self.size = Some(4);
                defaults.add("size", "two for each processor");
                defaults.add("sizes", "misspelled");
            }
        }
    }
    #[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
    #[serde(default)]
    struct Pooled {
        pool: Pool,
    }
    impl Validate for Pooled {
        fn complete(&mut self, defaults: &mut Defaults) {
            defaults.within("pool", &mut self.pool);
        }
    }
    let loaded = load::<(), Pooled>(&Sources::empty()).unwrap();
    assert_eq!(loaded.service.pool.size, Some(4));
    assert_eq!(
        loaded.effective.origin("pool.size"),
        Some("default: two for each processor")
    );
    let warnings: Vec<String> = loaded
        .effective
        .warnings()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        warnings,
        ["pool.sizes: unknown setting: its reason is not shown (Validate::complete)"]
    );
}
