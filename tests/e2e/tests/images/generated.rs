//! A generated service in the images that it ships with.

use std::{fs, path::Path, process::Command};

use cargo_generate::{GenerateArgs, TemplatePath, Vcs};
use e2e::{cargo, root, succeed};
use tempfile::TempDir;

use crate::{
    docker::Build,
    projects::{Shape, edit},
    service::{CC, SLIM, STATIC, lives_and_leaves},
};

pub(crate) const GENERATED: Shape =
    Shape::of_one_package("orders", generate).beside("axum-chassis");

/// A service with its chassis in `vendor/`, as `cargo chassis new` makes it.
fn generate() -> TempDir {
    let place = tempfile::tempdir().expect("a folder");
    let define = [
        "chassis=path",
        "chassis-path=vendor/axum-chassis",
        "workspace=own",
    ];
    cargo_generate::generate(GenerateArgs {
        template_path: TemplatePath {
            path: Some(root().join("template").display().to_string()),
            ..TemplatePath::default()
        },
        name: Some("orders".to_owned()),
        destination: Some(place.path().to_owned()),
        init: true,
        silent: true,
        vcs: Some(Vcs::None),
        define: define.map(str::to_owned).into(),
        ..GenerateArgs::default()
    })
    .expect("a service");
    edit(
        &place.path().join("Cargo.toml"),
        "[workspace]",
        "[workspace]\nexclude = [\"vendor\"]",
    );
    unpack_the_chassis(&place.path().join("vendor/axum-chassis"));
    succeed(cargo(place.path()).arg("generate-lockfile"));
    place
}

/// The crate as a registry would have it.
fn unpack_the_chassis(to: &Path) {
    let packages = tempfile::tempdir().expect("a folder");
    let package = [
        "package",
        "--package=axum-chassis",
        "--no-verify",
        "--allow-dirty",
    ];
    succeed(
        cargo(&root())
            .args(package)
            .arg("--target-dir")
            .arg(packages.path()),
    );
    let mut archives = fs::read_dir(packages.path().join("package")).expect("packages");
    let archive = archives.find_map(|entry| {
        let path = entry.expect("an entry").path();
        path.extension()
            .is_some_and(|extension| extension == "crate")
            .then_some(path)
    });
    fs::create_dir_all(to).expect("a folder");
    let mut tar = Command::new("tar");
    tar.arg("-xzf").arg(archive.expect("a package"));
    succeed(tar.arg("--strip-components=1").arg("-C").arg(to));
}

#[test]
#[ignore = "needs Docker"]
fn a_generated_service_lives_and_leaves_in_each_image() {
    let service = GENERATED.project();
    for kind in [STATIC, CC, SLIM] {
        // Its own copies of the files.
        let dockerfile = service.path().join(kind.dockerfile).display().to_string();
        let build = Build::of(service.path(), &dockerfile).arg("VARIANT", kind.variant);
        let image = build.arg("REVISION", "1234567").image();
        lives_and_leaves(&image);
        kind.is_not_exceeded_by(&image);
    }
}
