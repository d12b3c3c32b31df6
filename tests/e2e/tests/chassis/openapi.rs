//! A service that describes its routes by OpenAPI, and answers as it says.

use std::fs;
use std::process::Command;

use axum_chassis_testing::Program;
use e2e::{edit, root, said, succeed};

use crate::generate::generate;
use crate::generated_service::Generated;
use crate::tool::TARGET;

/// Generates requests from the document, those that it forbids among them, and compares the answers with it.
#[test]
#[ignore = "needs openapi-spec-validator and schemathesis"]
fn every_response_is_in_the_openapi_document() {
    let name = "documented";
    let place = tempfile::tempdir().expect("a folder");
    let path = format!("chassis-path={}", root().display());
    generate(
        &root().join("template"),
        place.path(),
        name,
        &[
            "chassis=path",
            &path,
            "workspace=own",
            "database=sqlite",
            "openapi=yes",
        ],
    );
    let service = Generated::at(place.path().join(name));
    service.takes_the_versions_of_this_checkout();
    service.builds();
    tried(&service, name, 0);

    // The document has 202, and the handler returns 201.
    let routes = service.folder.join("src/orders.rs");
    edit(&routes, "response_with::<201,", "response_with::<202,");
    service.compiles();
    let found = tried(&service, name, 1);
    assert!(found.contains("POST /orders"), "{found}");
}

/// Runs schemathesis against the service, which has to end with this exit code, and returns its output.
fn tried(service: &Generated, name: &str, code: i32) -> String {
    let place = tempfile::tempdir().expect("a folder");
    let database = format!("sqlite:{}/orders.db", place.path().display());
    let running = Program::new(TARGET.join("debug").join(name))
        .folder(&service.folder)
        .variable("DATABASE_URL", database)
        .start();
    let document = place.path().join("openapi.json");
    fs::write(&document, running.get("/openapi.json").text()).expect("a file");
    succeed(
        Command::new("openapi-spec-validator")
            .args(["--schema", "3.1"])
            .arg(document),
    );
    let mut schemathesis = Command::new("schemathesis");
    schemathesis
        .current_dir(place.path())
        .arg("--config-file")
        .arg(root().join("tests/e2e/tools/schemathesis.toml"))
        .arg("run")
        .arg(format!("http://{}/openapi.json", running.main().address()))
        // The same requests each time: what is found here, anybody finds again.
        .args([
            "--checks=all",
            "--max-examples=50",
            "--seed=1",
            "--no-color",
        ]);
    said(&mut schemathesis, code)
}
