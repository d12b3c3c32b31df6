//! A generated service in the images that it ships with.

use std::fs;

use cargo_generate::{GenerateArgs, TemplatePath, Vcs};
use e2e::{cargo, root, succeed};

use crate::{
    docker::Build,
    projects::copy,
    service::{CC, SLIM, STATIC, lives_and_leaves},
};

#[test]
#[ignore = "needs Docker"]
fn a_generated_service_lives_and_leaves_in_each_image() {
    let place = tempfile::tempdir().expect("a folder");
    // The chassis has to lie in the build context, as long as no registry has it.
    let define = ["chassis=path", "chassis-path=chassis", "workspace=own"];
    cargo_generate::generate(GenerateArgs {
        template_path: TemplatePath {
            path: Some(root().join("template").display().to_string()),
            ..TemplatePath::default()
        },
        name: Some("orders".to_owned()),
        destination: Some(place.path().to_owned()),
        silent: true,
        vcs: Some(Vcs::None),
        define: define.map(str::to_owned).into(),
        ..GenerateArgs::default()
    })
    .expect("a service");
    let service = place.path().join("orders");
    copy(&root(), &service.join("chassis"));
    let manifest = service.join("Cargo.toml");
    let text = fs::read_to_string(&manifest).expect("a manifest");
    let text = text.replacen("[workspace]", "[workspace]\nexclude = [\"chassis\"]", 1);
    fs::write(manifest, text).expect("a manifest");
    succeed(cargo(&service).arg("generate-lockfile"));
    for kind in [STATIC, CC, SLIM] {
        // Its own copies of the files.
        let dockerfile = service.join(kind.dockerfile).display().to_string();
        let build = Build::of(&service, &dockerfile).arg("VARIANT", kind.variant);
        let image = build.arg("REVISION", "1234567").image();
        lives_and_leaves(&image);
        kind.is_not_exceeded_by(&image);
    }
}
