//! A service with and without the example, and the table of settings in its README.

use std::path::Path;

use axum_chassis_testing::Program;
use e2e::{edit, files, root};

use crate::generate::generate;
use crate::generated_service::Generated;
use crate::tool::{TARGET, read};

const LINES: usize = 120;

#[test]
fn the_readme_has_a_table_that_is_kept() {
    let place = tempfile::tempdir().expect("a folder");
    let path = format!("chassis-path={}", root().display());
    let define = ["chassis=path", &path, "workspace=own"];
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
}

#[test]
fn a_service_without_the_example_serves_its_front_page_and_nothing_of_orders() {
    let place = tempfile::tempdir().expect("a folder");
    let path = format!("chassis-path={}", root().display());
    let define = ["chassis=path", &path, "workspace=own", "example=no"];
    let name = "tea-desk";
    generate(&root().join("template"), place.path(), name, &define);
    let service = Generated::at(place.path().join(name));
    service.takes_the_versions_of_this_checkout();
    service.is_green(name);
    let readme = read(&service.folder.join("README.md"));
    assert!(readme.contains("begin -->\nNone.\n<!--"), "{readme}");
    for file in files(&service.folder, &[".git"]) {
        let at = file.display().to_string();
        let text = read(&service.folder.join(&file)).to_lowercase();
        let text = text.replace("example.com", ""); // a placeholder that the README names
        let is_source = ["src/", "tests/", "config/", "README.md"];
        let is_source = is_source.iter().any(|place| at.starts_with(place));
        let words: &[&str] = if is_source {
            &["orders", " store", "example"]
        } else {
            &["orders"]
        };
        for word in words {
            assert!(!at.contains(word.trim()), "{at}");
            assert!(!text.contains(word), "{word} is left in {at}: {text}");
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
