//! AGENTS.md of a generated service: it is short, and its commands and files exist.

use std::path::Path;

use e2e::{root, run_lines};

use crate::generate::generate;
use crate::tool::read;

/// The commands in the first code block with one of these beginnings, without comments.
fn commands<'a>(page: &'a str, beginnings: &[&str]) -> Vec<&'a str> {
    let (_, block) = page.split_once("```sh\n").expect("commands");
    let (block, _) = block.split_once("```").expect("their end");
    let lines = block.lines().map(|line| line.split(" #").next());
    let lines = lines.map(|line| line.unwrap_or_default().trim_end());
    lines
        .filter(|line| beginnings.iter().any(|begin| line.starts_with(begin)))
        .collect()
}

/// Text in backticks that is a path in the service.
fn paths(page: &str) -> Vec<&str> {
    let mut parts: Vec<&str> = page.split('`').skip(1).step_by(2).collect();
    parts.retain(|part| {
        let is_path = part.contains('/') || part.starts_with('.') || part.ends_with(".toml");
        is_path && !part.starts_with('/') && !part.contains([' ', '\n'])
    });
    parts
}

fn is_in_step(folder: &Path) {
    let page = read(&folder.join("AGENTS.md"));
    let name = folder.display();
    assert!(page.lines().count() <= 60, "{name}: {page}");
    assert!(!page.contains("\n\n\n"), "{name}: {page}");

    let mut workflow = run_lines(&read(&folder.join(".github/workflows/ci.yml")));
    workflow.retain(|line| line.starts_with("cargo ") && !line.starts_with("cargo install"));
    workflow.sort();
    let mut listed = commands(&page, &["cargo"]);
    listed.sort_unstable();
    assert_eq!(listed, workflow, "{name}");
    let readme = read(&folder.join("README.md"));
    let servers = ["docker compose"];
    assert_eq!(commands(&page, &servers), commands(&readme, &servers));
    assert!(readme.lines().count() < 120, "{name}");

    let paths = paths(&page);
    assert!(paths.len() >= 10, "{name}: {paths:?}");
    for path in paths {
        // The crate is copied by the tool, and the schema is written by the service's tests.
        let is_later = path.starts_with("vendor") || path == "config/schema.json";
        let later = is_later || path == "Cargo.lock";
        assert!(later || folder.join(path).exists(), "{name}: {path}");
    }
}

#[test]
fn agents_md_agrees_with_the_workflow_the_readme_and_the_files() {
    let place = tempfile::tempdir().expect("a folder");
    for database in ["none", "sqlite", "postgres"] {
        for deploy in ["kubernetes", "docker", "none"] {
            for (example, redis, auth) in [("yes", "no", "oidc"), ("no", "yes", "none")] {
                let name = format!("{database}-{deploy}-{example}-{redis}");
                let answers = [
                    format!("database={database}"),
                    format!("deploy={deploy}"),
                    format!("example={example}"),
                    format!("redis={redis}"),
                    format!("auth={auth}"),
                    "chassis=vendored".to_owned(),
                ];
                let answers = answers.each_ref().map(String::as_str);
                generate(&root().join("template"), place.path(), &name, &answers);
                is_in_step(&place.path().join(name));
            }
        }
    }
}
