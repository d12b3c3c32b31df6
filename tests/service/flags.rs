//! The flags with which a binary explains itself.

use std::fs;

use serde_json::Value;

use crate::program::{Program, Setup};

#[test]
fn all_invalid_settings_are_named_and_the_exit_code_is_78() {
    let wrong = || {
        Setup::default()
            .variable("APP__SERVR__PORT", "1")
            .variable("APP__LIMITS__BODY", "lots")
            .variable("APP__SUBJECT__START", "soon")
            .variable("PORT", "99999")
    };
    for flags in ["--check-config", "--print-config", ""] {
        let said = wrong().run(flags);
        assert_eq!(said.code, Some(78), "{flags}: {}", said.stderr);
        for part in [
            "servr.port",
            "APP__SERVR__PORT",
            "did you mean `server.port`",
            "limits.body",
            "APP__LIMITS__BODY",
            "subject.start",
            "PORT",
        ] {
            assert!(
                said.stderr.contains(part),
                "{flags}: no {part} in {}",
                said.stderr
            );
        }
    }
}

#[test]
fn valid_settings_are_confirmed() {
    let said = Setup::default().run("--check-config --set server.port=8081");
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_renamed_key_is_valid_and_logs_a_deprecation_warning() {
    let said = Setup::default().run("--check-config --set subject.salute=hello");
    assert_eq!(said.code, Some(0));
    assert_eq!(
        said.stderr,
        "warning: subject.salute: deprecated name, use `subject.greeting` (--set subject.salute)\n"
    );
}

#[test]
fn a_custom_source_is_printed_or_named_when_it_fails() {
    let folder = tempfile::tempdir().unwrap();
    let run = |flags: &str| {
        let setup = Setup::default().folder(folder.path());
        setup.variable("SOURCE", "own.json").run(flags)
    };
    for flags in ["--check-config", "--print-config", ""] {
        let said = run(flags);
        assert_eq!(said.code, Some(78), "{flags}: {}", said.stderr);
        let named = "source File: configuration file \"own.json\" not found";
        assert!(said.stderr.contains(named), "{flags}: {}", said.stderr);
    }
    fs::write(
        folder.path().join("own.json"),
        r#"{ "subject": { "greeting": "hello" } }"#,
    )
    .unwrap();
    let printed = run("--print-config").stdout;
    assert!(
        printed.contains("greeting = \"hello\" # own.json\n"),
        "{printed}"
    );
}

#[test]
fn the_settings_are_printed_with_their_origins_and_without_their_secrets() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("config")).unwrap();
    fs::write(
        folder.path().join("config/default.toml"),
        "[subject]\ngreeting = 'hello'\n",
    )
    .unwrap();
    let said = Setup::default()
        .folder(folder.path())
        .set("admin.token", "hunter2-and-more-of-it")
        .run("--print-config --set limits.body=3MiB");
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    for line in [
        "greeting = \"hello\" # config/default.toml",
        "token = \"[redacted]\" # environment variable APP__ADMIN__TOKEN",
        "body = \"3MiB\" # --set limits.body",
        "header_timeout = \"5s\" # default",
    ] {
        assert!(said.stdout.contains(line), "no {line} in {}", said.stdout);
    }
    assert!(!said.stdout.contains("hunter2"));
}

#[test]
fn the_schema_contains_the_chassis_and_the_service() {
    let said = Setup::default().run("--config-schema");
    let schema: Value = serde_json::from_str(&said.stdout).unwrap();
    assert!(schema["properties"]["server"].is_object(), "{schema:#}");
    assert!(schema["properties"]["subject"].is_object(), "{schema:#}");
    assert!(said.stdout.contains("\"writeOnly\": true"));
    assert!(said.stdout.contains("The port to listen on"));
}

#[test]
fn the_health_check_flag_requests_the_running_service() {
    let program = Program::start();
    let check = |arguments: String| Setup::default().run(&arguments);
    let url = |path: &str| format!("--health-check http://{}{path}", program.admin);
    assert_eq!(check(url("/health/liveness")).code, Some(0));
    let missing = check(url("/health/nothing"));
    assert_eq!(missing.code, Some(1));
    assert!(missing.stderr.contains("404"), "{}", missing.stderr);
    let port = program.admin.port();
    assert_eq!(
        check(format!(
            "--health-check --set admin.port={port} --set server.port=1"
        ))
        .code,
        Some(0)
    );
    assert_eq!(program.stop().0, Some(0));
    let gone = check(format!("--health-check http://127.0.0.1:{port}/"));
    assert_eq!(gone.code, Some(1));
    assert!(gone.stderr.contains("refused"), "{}", gone.stderr);
    assert_eq!(
        check("--health-check https://127.0.0.1/".to_owned()).code,
        Some(1)
    );
}

#[test]
fn version_and_help_describe_the_service_and_an_unknown_flag_is_named() {
    let version = Setup::default().run("--version").stdout;
    assert!(
        version.starts_with("subject 1.2.3 (commit abc123, built unknown, rustc 1."),
        "{version}"
    );
    let help = Setup::default().run("--help");
    assert!(help.code == Some(0) && help.stdout.contains("--check-config"));
    let wrong = Setup::default().run("--verbose");
    assert_eq!(wrong.code, Some(64));
    assert!(wrong.stderr.contains("--verbose"), "{}", wrong.stderr);
}

#[test]
fn defaults_that_depend_on_the_platform_are_printed_with_it() {
    let printed = |setup: Setup, flags: &str| {
        let setup = setup.variable("APP__SHUTDOWN__DELAY", "");
        setup.run(&format!("--print-config {flags}")).stdout
    };
    let in_a_pod = Setup::default().variable("KUBERNETES_SERVICE_HOST", "10.0.0.1");
    for (printed, platform, delay) in [
        (
            printed(in_a_pod, ""),
            "\"container\" # default: KUBERNETES_SERVICE_HOST is set",
            "\"5s\" # default: service.platform is container",
        ),
        (
            printed(Setup::default(), "--set service.platform=terminal"),
            "\"terminal\" # --set service.platform",
            "\"0s\" # default: service.platform is terminal",
        ),
        (
            printed(
                Setup::default(),
                "--set service.platform=container --set shutdown.deadline=7s",
            ),
            "\"container\" # --set service.platform",
            "\"2s\" # default: service.platform is container",
        ),
        (
            printed(Setup::default(), "--set shutdown.delay=9s"),
            "\"",
            "\"9s\" # --set shutdown.delay",
        ),
    ] {
        for line in [
            format!("platform = {platform}"),
            format!("\ndelay = {delay}\n"),
        ] {
            assert!(printed.contains(&line), "no {line} in {printed}");
        }
    }
}

#[test]
fn settings_are_valid_or_not_on_every_platform_alike() {
    for (deadline, code) in [("7s", 0), ("3s", 78)] {
        for platform in ["auto", "container", "terminal", "host"] {
            let flags = format!(
                "--check-config --set shutdown.deadline={deadline} --set service.platform={platform}"
            );
            let said = Setup::default()
                .variable("APP__SHUTDOWN__DELAY", "")
                .run(&flags);
            assert_eq!(said.code, Some(code), "{flags}: {}", said.stderr);
        }
    }
}
