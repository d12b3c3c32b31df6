//! Plain cargo-generate: the same questions and the same files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_generate::{GenerateArgs, TemplatePath, Vcs};
use e2e::{cargo, clone_of_this_checkout, contents, edit, root, said, succeed};

use crate::generated_service::Generated;
use crate::tool::{chassis, read};

pub(crate) fn generate(template: &Path, into: &Path, name: &str, define: &[&str]) {
    try_generate(template, into, name, define).expect("a service");
}

/// As `cargo generate --path TEMPLATE --name NAME --silent` does it.
fn try_generate(
    template: &Path,
    into: &Path,
    name: &str,
    define: &[&str],
) -> anyhow::Result<PathBuf> {
    cargo_generate::generate(GenerateArgs {
        template_path: TemplatePath {
            path: Some(template.display().to_string()),
            ..TemplatePath::default()
        },
        name: Some(name.to_owned()),
        destination: Some(into.to_owned()),
        silent: true,
        // Unformatted sources of ours must not slip through.
        no_fmt: true,
        // This build of it has no git.
        vcs: Some(Vcs::None),
        define: define.iter().map(|&define| define.to_owned()).collect(),
        ..GenerateArgs::default()
    })
}

#[test]
fn a_service_with_the_chassis_from_git_passes_its_tests() {
    let place = tempfile::tempdir().expect("a folder");
    let repository = clone_of_this_checkout(place.path());
    let url = format!("chassis-url=file://{}", repository.display());
    generate(
        &repository.join("template"),
        place.path(),
        "git_orders2",
        &["chassis=git", &url, "deploy=docker"],
    );
    let service = Generated::at(place.path().join("git_orders2"));
    service.takes_the_versions_of_this_checkout();
    service.keeps_its_promises("git_orders2");
}

#[test]
fn a_service_with_the_chassis_from_a_registry_passes_its_tests() {
    let place = tempfile::tempdir().expect("a folder");
    generate(
        &root().join("template"),
        place.path(),
        "registry-orders",
        &["chassis=registry", "otlp=yes"],
    );
    let folder = place.path().join("registry-orders");
    let manifest = read(&folder.join("Cargo.toml"));
    let wanted = format!("axum-chassis = \"{}\"\n", cargo_chassis::embedded::VERSION);
    assert!(manifest.contains(&wanted), "{manifest}");
    let otlp = format!(
        "axum-chassis-otlp = {{ version = \"{}\" }}\n",
        cargo_chassis::embedded::VERSION
    );
    assert!(manifest.contains(&otlp), "{manifest}");
    let service = Generated::from_registry(folder);
    service.takes_the_versions_of_this_checkout();
    service.keeps_its_promises("registry-orders");
    service.exports_traces("registry-orders");
}

#[test]
fn without_an_answer_the_chassis_comes_from_a_checkout_nearby_or_from_git() {
    let place = tempfile::tempdir().expect("a folder");
    let template = root().join("template");
    let source = |folder: &Path| {
        generate(&template, folder, "orders", &[]);
        let manifest = read(&folder.join("orders/Cargo.toml"));
        let line = manifest
            .lines()
            .find(|line| line.starts_with("axum-chassis"));
        line.expect("the dependency").to_owned()
    };
    assert_eq!(
        source(place.path()),
        r#"axum-chassis = { git = "https://github.com/axum-chassis/axum-chassis" }"#
    );

    let beside = place.path().join("beside");
    fs::create_dir_all(&beside).expect("a folder");
    let checkout = clone_of_this_checkout(&beside);
    assert_eq!(
        source(&beside),
        r#"axum-chassis = { path = "../axum-chassis" }"#
    );
    assert_eq!(source(&checkout), r#"axum-chassis = { path = ".." }"#);
    // cargo-generate made it a member of the workspace that it lies in, and Cargo agrees.
    succeed(cargo(&checkout.join("orders")).args(["metadata", "--format-version=1", "--no-deps"]));
}

/// Users may switch between the two at any time.
#[test]
fn cargo_generate_makes_what_cargo_chassis_new_makes() {
    is_alike(|into, define| generate(&root().join("template"), into, "orders", define));
}

fn is_alike(generate: impl Fn(&Path, &[&str])) {
    let description = "description=Takes notes, and doesn't lose them.";
    for define in [
        &["chassis=vendored", "otlp=yes"][..],
        &[
            "chassis=git",
            "chassis-url=https://git.example/axum-chassis",
            description,
            "deploy=docker",
        ],
        &["chassis=path", "chassis-path=../somewhere"],
        &["chassis=path", "chassis-path=../somewhere", "deploy=none"],
    ] {
        let place = tempfile::tempdir().expect("a folder");
        let [ours, theirs] = ["ours", "theirs"].map(|name| place.path().join(name));
        fs::create_dir(&ours).expect("a folder");
        fs::create_dir(&theirs).expect("a folder");
        let mut new = chassis(&ours);
        new.args(["new", "orders"]);
        new.args(define.iter().flat_map(|define| ["-d", define]));
        // It ends with a build, which is not what this is about: there is nobody to build.
        let said = said(new.env("CARGO", "true"), 0);
        assert!(said.contains("Built"), "{said}");
        generate(&theirs, &[define, &["workspace=own"]].concat());

        let mut made = contents(&ours.join("orders"));
        made.retain(|path, _| path != Path::new("Cargo.lock") && !path.starts_with("vendor"));
        assert!(made.len() > 15, "{:?}", made.keys());
        let theirs = contents(&theirs.join("orders"));
        assert_eq!(
            made.keys().collect::<Vec<_>>(),
            theirs.keys().collect::<Vec<_>>()
        );
        for (path, text) in made {
            assert!(text == theirs[&path], "{define:?}: {}", path.display());
        }
    }
}

#[test]
fn cargo_chassis_vendor_completes_what_cargo_generate_began() {
    let place = tempfile::tempdir().expect("a folder");
    generate(
        &root().join("template"),
        place.path(),
        "path_orders",
        &["chassis=path", "chassis-path=/nowhere", "deploy=none"],
    );
    let folder = place.path().join("path_orders");
    // The owner has asked for more of it.
    edit(
        &folder.join("Cargo.toml"),
        r#"{ path = "/nowhere" }"#,
        r#"{ path = "/nowhere", features = ["json"] }"#,
    );
    said(chassis(&folder.join("src")).arg("vendor"), 0);
    let manifest = read(&folder.join("Cargo.toml"));
    let dependency = r#"axum-chassis = { path = "vendor/axum-chassis", features = ["json"] }"#;
    let in_tests = r#"axum-chassis-testing = { path = "vendor/axum-chassis-testing" }"#;
    for line in [dependency, in_tests] {
        assert!(manifest.contains(line), "{manifest}");
    }
    // Nor does the owner want the admin page.
    let without_page =
        "axum-chassis = { path = \"vendor/axum-chassis\", default-features = false }\n";
    edit(
        &folder.join("Cargo.toml"),
        &format!("{dependency}\n"),
        without_page,
    );
    assert!(!manifest.contains("A folder on this machine"), "{manifest}");
    let record = read(&folder.join(".chassis.toml"));
    assert!(record.contains("chassis = \"vendored\"\n") && !record.contains("/nowhere"));

    let service = Generated::at(folder);
    service.takes_the_versions_of_this_checkout();
    service.keeps_its_promises("path_orders");
    let features = cargo(&service.folder)
        .args(["tree", "--offline", "--edges", "features"])
        .output()
        .expect("cargo");
    let features = String::from_utf8_lossy(&features.stdout).into_owned();
    assert!(
        features.contains("axum-chassis v") && !features.contains("admin-page"),
        "{features}"
    );
    let again = said(chassis(&service.folder).arg("vendor"), 0);
    assert!(again.contains("Unchanged"), "{again}");

    // The owner adds a crate to a vendored service, as docs/traces.md describes.
    edit(
        &service.folder.join("Cargo.toml"),
        without_page,
        &format!("{without_page}axum-chassis-otlp = {{ path = \"vendor/axum-chassis-otlp\" }}\n"),
    );
    edit(
        &service.folder.join("src/main.rs"),
        "        .run(",
        "        .export(axum_chassis_otlp::Otlp::from_env)\n        .run(",
    );
    let added = said(chassis(&service.folder).arg("vendor"), 0);
    assert!(added.contains("axum-chassis-otlp"), "{added}");
    assert!(!added.contains("axum-chassis-redis"), "{added}");
    service.takes_the_versions_of_this_checkout();
    service.compiles();
    service.exports_traces("path_orders");
}

#[test]
fn an_invalid_name_is_rejected_before_anything_is_written() {
    let place = tempfile::tempdir().expect("a folder");
    for (name, reason) in [
        ("match", "a keyword of Rust"),
        ("9lives", "start with a letter"),
        ("größe", "may consist of"),
        ("test", "a crate of Rust's own"),
        ("build", "Cargo keeps a folder"),
        ("con", "Windows keeps this name"),
        ("com1", "Windows keeps this name"),
        ("lpt9", "Windows keeps this name"),
        ("serde-json", "depends on a crate of this name"),
        (
            "orders-for-the-whole-of-the-northern-hemisphere",
            "longer than 40",
        ),
    ] {
        let refused = try_generate(&root().join("template"), place.path(), name, &[])
            .expect_err("it is not a name for a service");
        assert!(
            format!("{refused:#}").contains(reason),
            "{name}: {refused:#}"
        );
        let said = said(chassis(place.path()).args(["new", name]), 2);
        assert!(said.contains(reason), "{name}: {said}");
        let left = place.path().read_dir().expect("a folder").count();
        assert_eq!(left, 0, "{name}");
    }
}

/// Run by the nightly CI, because cargo-generate compiles for a minute. The other tests use the library.
mod nightly {
    use super::{Command, is_alike, root, said};

    /// The version that docs/template.md names.
    #[test]
    #[ignore = "needs cargo-generate"]
    fn the_installed_cargo_generate_makes_what_cargo_chassis_new_makes() {
        is_alike(|into, define| {
            let mut generate = Command::new("cargo-generate");
            generate
                .args(["generate", "--silent", "--vcs=none", "--name=orders"])
                .arg("--path")
                .arg(root().join("template"))
                .arg("--destination")
                .arg(into);
            for define in define {
                generate.args(["--define", define]);
            }
            let said = said(generate.current_dir(into), 0);
            // It cannot bring the crate along, and has to say so.
            assert_eq!(
                said.contains("cargo chassis vendor"),
                !define.iter().any(|define| define.contains("git")),
                "{define:?}: {said}"
            );
        });
    }
}
