//! Support dates of docs/maintained.md.

use e2e::{files, root};

/// Software that is no longer maintained, and the files that may still name it.
const RETIRED: [(&str, &[&str]); 4] = [
    ("ingress-nginx", &[]),
    ("nginx.ingress.kubernetes.io", &[]),
    // Clusters still use it: the component and the rule that it needs describe its future.
    (
        "prometheus-adapter",
        &[
            "k8s/components/hpa-requests",
            "k8s/cluster/prometheus-adapter",
            "k8s/README.md",
            // Removes it from a service without autoscaling.
            "hooks/parts.rhai",
            "hooks/rules.toml",
        ],
    ),
    ("debian12", &[]),
];

#[test]
fn nothing_that_the_template_emits_names_a_retired_part() {
    let template = root().join("template");
    let mut found = Vec::new();
    for file in files(&template, &[]) {
        let Ok(text) = std::fs::read_to_string(template.join(&file)) else {
            continue;
        };
        for (part, allowed) in RETIRED {
            let explained = allowed.iter().any(|place| file.starts_with(place));
            if text.contains(part) && !explained {
                found.push(format!("{} names {part}", file.display()));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Part, version and file of each row of docs/maintained.md.
fn rows(table: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    table.lines().filter_map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let ["", part, version, file, _, _, _, _, ""] = cells[..] else {
            return None;
        };
        Some((
            part,
            version.strip_prefix('`')?.strip_suffix('`')?,
            file.strip_prefix('`')?.strip_suffix('`')?,
        ))
    })
}

fn table() -> String {
    std::fs::read_to_string(root().join("docs/maintained.md")).expect("a page")
}

#[test]
fn the_table_has_the_versions_that_the_files_name() {
    let table = table();
    for (part, version, file) in rows(&table) {
        let text = std::fs::read_to_string(root().join(file)).expect("a file");
        assert!(
            text.contains(version),
            "{part}: {file} does not name {version}"
        );
    }
}

#[test]
fn each_action_and_image_that_the_files_name_is_in_the_table() {
    let table = table();
    let mut named = Vec::new();
    for file in [
        ".github/workflows/ci.yml",
        ".github/workflows/release.yml",
        "template/.github/workflows/ci.yml",
        "template/.github/workflows/nightly.yml",
        "template/.github/workflows/release.yml",
        "docker-compose.yml",
        "template/docker-compose.yml",
        "template/.devcontainer/compose.yaml",
        "k8s/cluster/fluent-bit/kustomization.yaml",
        "template/k8s/cluster/databases/postgres.yaml",
        "template/k8s/cluster/databases/redis.yaml",
    ] {
        let text = std::fs::read_to_string(root().join(file)).expect("a file");
        for line in text.lines() {
            let line = line.trim().trim_start_matches("- ");
            let prefixes = ["uses: ", "image: ", "newTag: "];
            named.extend(
                prefixes
                    .iter()
                    .filter_map(|prefix| line.strip_prefix(prefix))
                    // The image that the workflow itself makes.
                    .filter(|name| !name.contains("${{"))
                    .map(str::to_owned),
            );
        }
    }
    assert!(named.len() > 8, "{named:?}");
    for name in named {
        assert!(
            rows(&table).any(|(_, version, _)| version == name),
            "{name} is not in docs/maintained.md"
        );
    }
}
