//! The devcontainer of a generated service.

use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::{root, succeed};
use serde_json::{Value, json};

use crate::generate::generate;
use crate::tool::read;

/// A service named `tea-orders` for each combination of stores.
fn services(place: &Path) -> Vec<(PathBuf, Vec<&'static str>)> {
    let combinations = [
        ("none", "no", vec![]),
        ("sqlite", "no", vec![]),
        ("postgres", "no", vec!["postgres"]),
        ("none", "yes", vec!["redis"]),
        ("postgres", "yes", vec!["postgres", "redis"]),
    ];
    let generated = combinations.map(|(database, redis, servers)| {
        let place = place.join(format!("{database}-{redis}"));
        std::fs::create_dir(&place).expect("a folder");
        let answers = [format!("database={database}"), format!("redis={redis}")];
        let [database, redis] = answers.each_ref().map(String::as_str);
        let answers = ["chassis=git", "deploy=docker", database, redis];
        generate(&root().join("template"), &place, "tea-orders", &answers);
        (place.join("tea-orders"), servers)
    });
    generated.into()
}

#[test]
fn the_devcontainer_starts_the_servers_that_tests_need_and_sets_their_urls() {
    let place = tempfile::tempdir().expect("a folder");
    for (folder, servers) in services(place.path()) {
        let compose = read(&folder.join(".devcontainer/compose.yaml"));
        let compose: Value = serde_saphyr::from_str(&compose).expect("YAML");
        let services = compose["services"].as_object().expect("services");
        let mut expected = servers.clone();
        expected.push("workspace");
        assert!(services.keys().eq(&expected), "{services:?}");
        let workspace = &services["workspace"];
        let waits_for = workspace["depends_on"].as_object();
        let waits_for: Vec<_> = waits_for
            .into_iter()
            .flatten()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(waits_for, servers);
        let mut variables = json!({});
        if servers.contains(&"postgres") {
            let server = &services["postgres"]["environment"];
            let part = |name: &str| server[name].as_str().expect("text");
            let [user, password, name] =
                ["POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"].map(part);
            let url = format!("postgres://{user}:{password}@postgres:5432/{name}?sslmode=disable");
            variables["DATABASE_URL"] = url.into();
        }
        if servers.contains(&"redis") {
            variables["REDIS_URL"] = "redis://redis:6379".into();
        }
        let set = workspace.get("environment").cloned().unwrap_or(json!({}));
        assert_eq!(set, variables);
    }
}

#[test]
#[ignore = "needs node and @devcontainers/cli, by NODE_MODULES; and check-jsonschema"]
fn the_devcontainer_is_read_by_its_own_tool() {
    let place = tempfile::tempdir().expect("a folder");
    let modules = std::env::var_os("NODE_MODULES").unwrap_or_else(|| "node_modules".into());
    let tool = Path::new(&modules).join("@devcontainers/cli/devcontainer.js");
    for (folder, _) in services(place.path()) {
        let mut cli = Command::new("node");
        cli.arg(&tool).arg("read-configuration");
        let output = succeed(cli.arg("--workspace-folder").arg(&folder));
        let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let found = &found["configuration"];
        let config = folder.join(".devcontainer/devcontainer.json");
        assert_eq!(
            found["configFilePath"]["fsPath"],
            config.display().to_string()
        );
        assert_eq!(found["name"], "tea-orders");
        let file = found["dockerComposeFile"].as_str().expect("a file");
        let compose = folder.join(".devcontainer").join(file);
        let services: Value = serde_saphyr::from_str(&read(&compose)).expect("YAML");
        let service = found["service"].as_str().expect("a service");
        let mounts = &services["services"][service]["volumes"];
        let mount = format!(
            "..:{}",
            found["workspaceFolder"].as_str().expect("a folder")
        );
        assert_eq!(mounts, &json!([mount]));
        let mut check = Command::new("check-jsonschema");
        check.args(["--builtin-schema", "vendor.compose-spec"]);
        succeed(check.arg(&compose));
    }
}
