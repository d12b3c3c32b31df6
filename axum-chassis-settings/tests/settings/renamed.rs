//! Renamed keys: the old name keeps working, with a deprecation warning.

use axum_chassis_settings::schemars::{self, JsonSchema};
use axum_chassis_settings::{Loaded, Sources, Validate, load, schema};
use serde::{Deserialize, Serialize};

use crate::fixture::{Folder, Says};

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Settings {
    #[serde(alias = "shop")]
    #[schemars(extend("x-aliases" = ["shop"]))]
    orders: Orders,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Orders {
    #[serde(alias = "patience", alias = "wait-for")]
    #[schemars(extend("x-aliases" = ["patience", "wait-for"]))]
    timeout: u32,
    tiers: Vec<Tier>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
struct Tier {
    #[serde(alias = "title")]
    #[schemars(extend("x-aliases" = ["title"]))]
    name: String,
}

impl Validate for Settings {}

fn read(
    toml: &str,
    change: impl FnOnce(Sources) -> Sources,
) -> Result<Loaded<(), Settings>, String> {
    let folder = Folder::new();
    folder.write("default.toml", toml);
    let sources = change(Sources::empty().with_config_dir(folder.path()));
    let path = folder.path().to_string_lossy().into_owned();
    load(&sources).map_err(|invalid| invalid.to_string().replace(&path, "config"))
}

fn warnings(loaded: &Loaded<(), Settings>) -> Vec<String> {
    let warnings = loaded.effective.warnings().iter();
    warnings
        .map(|warning| format!("{}: {}", warning.key, warning.message))
        .collect()
}

#[test]
fn an_old_name_works_in_every_layer_and_is_reported_once() {
    type Write = fn(Sources) -> Sources;
    let cases: [(&str, Write, &str); 6] = [
        ("[orders]\npatience = 5\n", |s| s, "orders.patience"),
        ("[orders]\nwait-for = 5\n", |s| s, "orders.wait-for"),
        (
            "",
            |s| s.with_var("APP__ORDERS__PATIENCE", "5"),
            "orders.patience",
        ),
        (
            "",
            |s| s.with_var("APP__ORDERS__WAIT_FOR", "5"),
            "orders.wait_for",
        ),
        ("", |s| s.with_set("orders.patience=5"), "orders.patience"),
        (
            "",
            |s| s.source(Says::one("orders.patience", 5)),
            "orders.patience",
        ),
    ];
    for (toml, write, key) in cases {
        let loaded = read(toml, write).unwrap_or_else(|faults| panic!("{key}: {faults}"));
        assert_eq!(loaded.service.orders.timeout, 5, "{key}");
        let told = [format!("{key}: deprecated name, use `orders.timeout`")];
        assert_eq!(warnings(&loaded), told);
        // It is shown by its name, with the place where it goes by the old one.
        assert_ne!(loaded.effective.origin("orders.timeout"), Some("default"));
        assert_eq!(loaded.effective.origin(key), None);
    }
}

#[test]
fn sections_and_items_of_lists_have_old_names_too() {
    let loaded = read(
        "[shop]\ntimeout = 5\n[[shop.tiers]]\ntitle = 'gold'\n",
        |s| s,
    )
    .unwrap();
    assert_eq!(loaded.service.orders.tiers[0].name, "gold");
    assert_eq!(
        warnings(&loaded),
        [
            "shop: deprecated name, use `orders`",
            "orders.tiers.0.title: deprecated name, use `orders.tiers.0.name`",
        ]
    );
}

#[test]
fn the_new_name_wins_over_the_old_one_of_a_lower_layer() {
    let loaded = read("[orders]\npatience = 5\n", |s| {
        s.with_set("orders.timeout=6")
    })
    .unwrap();
    assert_eq!(loaded.service.orders.timeout, 6);
    let loaded = read("[orders]\ntimeout = 5\n", |s| {
        s.with_set("orders.patience=6")
    })
    .unwrap();
    assert_eq!(loaded.service.orders.timeout, 6);
}

#[test]
fn two_names_in_one_place_are_an_error() {
    for (toml, fault) in [
        (
            "[orders]\ntimeout = 5\npatience = 6\n",
            "orders.patience: already set by another name of `timeout` (config/default.toml:3)",
        ),
        (
            "[orders]\nwait-for = 5\npatience = 6\n",
            "orders.wait-for: already set by another name of `timeout` (config/default.toml:2)",
        ),
    ] {
        assert_eq!(read(toml, |s| s).unwrap_err(), fault);
    }
    let variables = read("", |s| {
        s.with_var("APP__ORDERS__PATIENCE", "5")
            .with_var("APP__ORDERS__TIMEOUT", "6")
    });
    assert_eq!(
        variables.unwrap_err(),
        "orders.timeout: already set by environment variable APP__ORDERS__PATIENCE (environment variable APP__ORDERS__TIMEOUT)"
    );
}

#[test]
fn the_value_of_an_old_name_is_checked_and_the_error_names_the_key() {
    let faults = read("[orders]\npatience = 'x'\n", |s| s).unwrap_err();
    assert_eq!(
        faults,
        "orders.timeout: invalid value \"x\", expected a whole number from 0 to 4294967295 (config/default.toml:2)"
    );
}

#[test]
fn current_names_are_not_reported() {
    let loaded = read("[orders]\ntimeout = 5\n", |s| {
        s.with_var("app__Orders__TIMEOUT", "6")
    });
    assert_eq!(warnings(&loaded.unwrap()), [""; 0]);
    // Editors call the old name unknown, and so lead to the new one.
    let schema = schema::<(), Settings>();
    let orders = &schema["properties"]["orders"];
    assert_eq!(orders["properties"]["timeout"]["x-aliases"][0], "patience");
    assert_eq!(orders["additionalProperties"], false);
}
