//! Settings that change under a running service, as a ConfigMap changes.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::client::get;
use crate::program::{Setup, eventually};

/// Puts a new version of the settings in place as the kubelet does: the files are links through
/// `..data`, and `..data` is swapped by one rename.
fn swap(config: &Path, version: u32, text: &str) {
    let data = config.join(format!("..{version}"));
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("default.toml"), text).unwrap();
    symlink(format!("..{version}"), config.join("..data_tmp")).unwrap();
    fs::rename(config.join("..data_tmp"), config.join("..data")).unwrap();
    let link = config.join("default.toml");
    if !link.exists() {
        symlink("..data/default.toml", link).unwrap();
    }
}

#[test]
fn a_reload_takes_effect_and_an_invalid_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    fs::create_dir(&config).unwrap();
    swap(&config, 1, "[subject]\ngreeting = 'hello'\n");
    let program = Setup::default().folder(folder.path()).start();
    assert_eq!(get(program.main, "/greeting").body, "hello");
    let reloads = |result: &str| format!("settings_reload_total{{result=\"{result}\"}}");

    swap(
        &config,
        2,
        "[subject]\ngreeting = 'good day'\n[logs]\nfilter = 'warn'\n[limits]\nbody = '10B'\n",
    );
    eventually("the greeting", || {
        get(program.main, "/greeting").body == "good day"
    });
    assert_eq!(get(program.admin, "/log").json()["filter"], "warn");
    assert_eq!(
        crate::client::post(program.main, "/bytes", "text/plain", "more than ten").status,
        413
    );
    // The settings are in force before they are counted.
    eventually("it is counted", || {
        program.metric(&reloads("applied")) == 1.0
    });

    swap(
        &config,
        3,
        "[subject]\ngreeting = 7\n[logs]\nfilter = 'loud'\n",
    );
    let line = program
        .process
        .wait_for_message("invalid settings: the previous ones stay in force");
    let error = line["error"].as_str().unwrap();
    assert!(
        error.contains("subject.greeting") && error.contains("default.toml"),
        "{error}"
    );
    assert_eq!(get(program.main, "/greeting").body, "good day");
    assert_eq!(program.metric(&reloads("rejected")), 1.0);

    swap(
        &config,
        4,
        "[subject]\ngreeting = 'good day'\n[logs]\nfilter = 'warn'\n[limits]\nbody = '10B'\n[server]\nmax_connections = 7\n",
    );
    let line = program
        .process
        .wait_for_message("changed settings need a restart");
    assert_eq!(line["keys"], "server.max_connections");
    assert_eq!(program.metric(&reloads("needs_restart")), 1.0);
    // The settings in force are shown.
    let config = get(program.admin, "/config").json();
    assert!(config["settings"]["server"]["max_connections"].is_null());
    assert_eq!(config["settings"]["limits"]["body"], "10B");
    assert_eq!(get(program.main, "/greeting").status, 200);
    assert_eq!(program.stop().0, Some(0));
}

#[test]
fn a_custom_source_is_polled_and_may_fail_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let write = |text: &str| {
        // Whole or not at all.
        fs::write(folder.path().join("next"), text).unwrap();
        fs::rename(folder.path().join("next"), folder.path().join("own.json")).unwrap();
    };
    write(r#"{ "subject": { "greeting": "hello" } }"#);
    let program = Setup::default()
        .folder(folder.path())
        .variable("SOURCE", "own.json")
        .start();
    assert_eq!(get(program.main, "/greeting").body, "hello");
    let config = get(program.admin, "/config").json();
    assert_eq!(config["origins"]["subject.greeting"], "own.json");
    let reloads = |result: &str| format!("settings_reload_total{{result=\"{result}\"}}");

    write(r#"{ "subject": { "greeting": "good day" } }"#);
    eventually("the greeting", || {
        get(program.main, "/greeting").body == "good day"
    });
    assert_eq!(program.metric(&reloads("applied")), 1.0);

    write("{ \"subject\": ");
    let wrong = "invalid settings: the previous ones stay in force";
    let line = program.process.wait_for_message(wrong);
    let error = line["error"].as_str().unwrap();
    assert!(error.starts_with("source File: "), "{error}");
    assert!(error.contains("own.json"), "{error}");
    assert_eq!(program.metric(&reloads("rejected")), 1.0);
    assert_eq!(get(program.main, "/greeting").body, "good day");

    write(r#"{ "subject": { "greeting": "good night" } }"#);
    eventually("the greeting", || {
        get(program.main, "/greeting").body == "good night"
    });
    assert_eq!(program.stop().0, Some(0));
}

#[test]
fn a_renamed_key_is_logged_once() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    fs::create_dir(&config).unwrap();
    swap(&config, 1, "[subject]\nsalute = 'hello'\n");
    let program = Setup::default().folder(folder.path()).start();
    assert_eq!(get(program.main, "/greeting").body, "hello");
    let told =
        |line: &serde_json::Value| line["message"] == "deprecated name, use `subject.greeting`";
    let line = program.process.wait_for_line(told);
    assert_eq!(line["level"], "WARN");
    assert_eq!(line["key"], "subject.salute");
    assert_eq!(line["origin"], "config/default.toml:2");

    swap(&config, 2, "\n[subject]\nsalute = 'good day'\n");
    eventually("the greeting", || {
        get(program.main, "/greeting").body == "good day"
    });
    let (code, lines) = program.stop();
    assert_eq!(lines.iter().filter(|line| told(line)).count(), 1);
    assert_eq!(code, Some(0));
}
