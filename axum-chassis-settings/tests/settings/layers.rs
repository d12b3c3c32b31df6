//! The precedence of layers, and the origin that is shown.

use axum_chassis_settings::{Sources, load};

use crate::fixture::Fixture;
use crate::structs::{Chassis, load_from};

#[test]
fn each_layer_wins_over_those_before_it() {
    type Layer = (&'static str, fn(Fixture) -> Fixture, &'static str);
    let layers: [Layer; 7] = [
        ("8080", |f| f, "default"),
        (
            "1",
            |f| f.default_toml("[server]\nport = 1\n"),
            "config/default.toml:2",
        ),
        (
            "2",
            |f| f.production_toml("\n[server]\nport = 2\n"),
            "config/production.toml:3",
        ),
        (
            "3",
            |f| f.secret("server.port", "3\n"),
            "secret file /var/secrets/server.port",
        ),
        ("4", |f| f.var("PORT", "4"), "environment variable PORT"),
        (
            "5",
            |f| f.var("APP__SERVER__PORT", "5"),
            "environment variable APP__SERVER__PORT",
        ),
        ("6", |f| f.flag("server.port=6"), "--set server.port"),
    ];
    let mut fixture = Fixture::new();
    for (port, write, from) in layers {
        fixture = write(fixture);
        let settings = fixture.settings();
        assert_eq!(settings.framework.server.port.to_string(), port);
        assert_eq!(
            fixture.plain(settings.effective.origin("server.port").unwrap()),
            from
        );
    }
}

#[test]
fn layers_set_single_keys_and_leave_their_neighbours() {
    let settings = Fixture::new()
        .default_toml("[orders]\nmin = 2\nmax = 20\n")
        .production_toml("[orders]\nmax = 30\n")
        .settings();
    assert_eq!(
        (settings.service.orders.min, settings.service.orders.max),
        (2, 30)
    );
    assert_eq!(settings.service.orders.tags, ["new"]);
}

#[test]
fn the_last_of_two_flags_wins() {
    let settings = Fixture::new()
        .flag("server.port=1")
        .flag("server.port=2")
        .settings();
    assert_eq!(settings.framework.server.port, 2);
}

#[test]
fn without_files_and_variables_the_defaults_hold() {
    let settings = load_from(&Sources::empty()).unwrap();
    assert_eq!(settings.framework.server.port, 8080);
    assert_eq!(settings.service.orders.max, 10);
}

#[test]
fn a_missing_directory_is_fine_unless_it_is_configured() {
    let missing = Sources::empty()
        .with_config_dir("/nonexistent")
        .with_secrets_dir("/nonexistent");
    assert!(load_from(&missing).is_ok());
    assert!(load_from(&missing.with_var("APP_CONFIG_DIR", "/nonexistent")).is_err());
}

#[test]
fn a_service_without_settings_has_those_of_the_chassis() {
    let sources = Sources::empty()
        .with_var("PORT", "81")
        .with_var("DATABASE_URL", "postgres://db");
    let loaded = load::<Chassis, ()>(&sources).unwrap();
    assert_eq!(loaded.framework.server.port, 81);
}

#[test]
fn a_byte_order_mark_is_not_part_of_a_file() {
    let settings = Fixture::new()
        .default_toml("\u{feff}[server]\nport = 1\n")
        .settings();
    assert_eq!(settings.framework.server.port, 1);
}
