//! A generated service in the image that it ships with.

use std::fs;

use cargo_generate::{GenerateArgs, TemplatePath, Vcs};
use e2e::{cargo, root, succeed};

use crate::{docker::Build, scratch::copy};

#[test]
#[ignore = "needs Docker"]
fn a_generated_service_builds_serves_and_leaves() {
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
    let image = Build::of(&service, "Dockerfile.distroless").image();
    let container = image.start();
    container.get("/health/readiness");
    assert!(container.service(&["--health-check"]));
    assert_eq!(container.stop(), 0, "{}", container.logs());
}
