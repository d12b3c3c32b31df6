//! The generated README's commands for the example, and its table of settings.

use std::path::Path;
use std::process::Command;

use axum_chassis::testing::Program;
use e2e::{edit, files, root, succeed};

use crate::generate::generate;
use crate::generated_service::Generated;
use crate::tool::{TARGET, read};

const LINES: usize = 120;

#[test]
fn the_readme_has_a_table_that_is_kept_and_takes_the_example_out_in_one_step() {
    let place = tempfile::tempdir().expect("a folder");
    let path = format!("chassis-path={}", root().display());
    let define = ["chassis=path", &path, "workspace=own"];
    // Its name has what `sed` looks for.
    let name = "tea-orders";
    generate(&root().join("template"), place.path(), name, &define);
    let service = Generated::at(place.path().join(name));
    service.takes_the_versions_of_this_checkout();

    let readme = service.folder.join("README.md");
    let generated = read(&readme);
    assert!(generated.lines().count() < LINES, "{generated}");
    edit(&readme, "The largest number of orders.", "Who knows?");
    service.builds();
    assert_eq!(read(&readme), generated, "the table is written anew");

    let (_, step) = generated
        .split_once("```sh\nrm src/orders.rs")
        .expect("the step");
    let (step, _) = step.split_once("```").expect("its end");
    let mut shell = Command::new("bash");
    shell
        .args(["-ec", &format!("rm src/orders.rs{step}")])
        .current_dir(&service.folder)
        .env("CARGO_TARGET_DIR", &*TARGET)
        .env("CARGO_NET_OFFLINE", "true");
    succeed(&mut shell);

    service.is_green(name);
    for file in files(&service.folder, &[".git"]) {
        let at = file.display().to_string();
        assert!(!at.ends_with(".bak"), "{at}");
        if ["src/", "tests/", "config/", "README.md"]
            .iter()
            .any(|place| at.starts_with(place))
        {
            let text = read(&service.folder.join(&file)).to_lowercase();
            for word in [
                "\"tea\"",
                "store",
                "example",
                "8080/orders",
                "orders_created",
            ] {
                assert!(!text.contains(word), "{word} is left in {at}: {text}");
            }
        }
    }
    let binary = TARGET.join("debug").join(name);
    let service = Program::new(binary).folder(&service.folder).start();
    assert_eq!(service.get("/").status, 200);
    assert_eq!(service.get("/orders").status, 404);
    assert_eq!(service.get("/health/readiness").status, 200);
    assert_eq!(service.stop().code, Some(0));
}

#[test]
fn no_two_modules_of_a_service_import_each_other() {
    let place = tempfile::tempdir().expect("a folder");
    for database in ["none", "sqlite", "postgres"] {
        let answer = format!("database={database}");
        let define = ["chassis=git", &answer, "redis=yes", "openapi=yes"];
        generate(&root().join("template"), place.path(), database, &define);
        let src = place.path().join(database).join("src");
        let modules = files(&src, &[]);
        let uses = |from: &Path, to: &Path| {
            let name = to.file_stem().and_then(|name| name.to_str());
            let import = format!("crate::{}", name.expect("a module"));
            let text = read(&src.join(from));
            let mut rests = text.split(&import).skip(1);
            rests.any(|rest| rest.starts_with([':', ';']))
        };
        let mut seen = 0;
        for one in &modules {
            for other in modules.iter().filter(|other| *other != one) {
                if uses(one, other) {
                    seen += 1;
                    assert!(!uses(other, one), "{one:?} and {other:?}");
                }
            }
        }
        assert!(seen > 3, "{seen} imports were found");
    }
}
