//! Services whose routes need a token of an OpenID provider.

use axum_chassis_testing::Program;
use e2e::{root, said};

use crate::generate::generate;
use crate::generated_service::Generated;
use crate::tool::{TARGET, chassis, read};

/// With the crates in `vendor/`, and the features that OpenAPI needs.
#[test]
fn a_service_with_tokens_and_openapi_passes_its_tests() {
    let place = tempfile::tempdir().expect("a folder");
    let mut new = chassis(place.path());
    new.args([
        "new",
        "token-orders",
        "-d",
        "auth=oidc",
        "-d",
        "openapi=yes",
    ]);
    let said = said(new.env("CARGO", "true"), 0);
    let required = "config/default.toml: set auth.issuer and auth.audience";
    assert!(said.contains(required), "{said}");

    let service = Generated::at(place.path().join("token-orders"));
    service.takes_the_versions_of_this_checkout();
    let readme = service.folder.join("README.md");
    let generated = read(&readme);
    service.is_green("token-orders");
    assert_eq!(read(&readme), generated, "the table of settings");
}

#[test]
fn a_service_with_tokens_and_without_the_example_passes_its_tests() {
    let place = tempfile::tempdir().expect("a folder");
    let path = format!("chassis-path={}", root().display());
    let define = [
        "chassis=path",
        &path,
        "workspace=own",
        "example=no",
        "database=sqlite",
        "auth=oidc",
    ];
    let name = "token-desk";
    generate(&root().join("template"), place.path(), name, &define);
    let service = Generated::at(place.path().join(name));
    service.takes_the_versions_of_this_checkout();
    service.is_green(name);

    // The placeholders are valid settings, and an empty value is not.
    let binary = TARGET.join("debug").join(name);
    let program = Program::new(binary)
        .folder(&service.folder)
        .argument("--check-config");
    assert_eq!(program.clone().output().code, Some(0));
    let wrong = program.argument("--set").argument("auth.issuer=").output();
    assert_eq!(wrong.code, Some(78));
    assert!(wrong.stderr.contains("auth.issuer"), "{}", wrong.stderr);
}
