//! What is handed out is maintained.

use e2e::{files, root};

/// What is no longer maintained, and where it may still be named.
const RETIRED: [(&str, &[&str]); 4] = [
    ("ingress-nginx", &[]),
    ("nginx.ingress.kubernetes.io", &[]),
    // Still at work in clusters: the component and the rule that it needs say what its future is.
    (
        "prometheus-adapter",
        &[
            "k8s/components/hpa-requests",
            "k8s/cluster/prometheus-adapter",
            "k8s/README.md",
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
            // What an image stands on: tests/images.
            let image = file.display().to_string().starts_with("Dockerfile");
            if text.contains(part) && !explained && !image {
                found.push(format!("{} names {part}", file.display()));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
