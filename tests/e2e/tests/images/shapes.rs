//! Projects of every shape, none of them on the chassis, built by the same unedited Dockerfiles.

use std::{fs, os::unix::fs::symlink};

use auditable_info::audit_info_from_slice;

use e2e::edit;

use crate::{
    docker::{Build, Image, Network},
    projects::{self, C_CODE, SHAPES, Shape, copy_of, fixture},
    service::{CC, Kind, STATIC},
};

fn build(shape: &str, dockerfile: &str) -> Build {
    projects::build(&fixture(shape), dockerfile)
}

/// It answers in a container without rights, and SIGTERM ends it in good order.
fn serves(image: &Image, answer: &str) {
    let container = image.start();
    assert_eq!(container.get("/"), answer);
    assert_eq!(container.stop(), 0, "{}", container.logs());
}

/// The crates that the binary says it was made of.
fn crates(image: &Image) -> Vec<String> {
    let info =
        audit_info_from_slice(&image.binary(), 1 << 20).expect("a list of crates in the binary");
    info.packages
        .into_iter()
        .map(|package| package.name)
        .collect()
}

#[test]
#[ignore = "needs Docker"]
fn each_shape_serves_from_a_small_image() {
    for shape in &SHAPES {
        serves_from(shape, &STATIC);
    }
}

#[test]
#[ignore = "needs Docker"]
fn c_code_is_linked_with_a_c_library_too() {
    serves_from(&C_CODE, &CC);
}

pub(crate) fn serves_from(shape: &Shape, kind: &Kind) {
    let project = shape.project();
    let build = shape.build(project.path(), kind.dockerfile);
    let image = build.arg("VARIANT", kind.variant).image();
    serves(&image, shape.name);
    kind.is_not_exceeded_by(&image);
}

#[test]
#[ignore = "needs Docker"]
fn a_single_binary_needs_no_argument_and_finds_its_config() {
    let image = build("single-bin", "Dockerfile").image();
    serves(&image, "single-bin");
    assert_eq!(
        image.inspect("{{.Config.User}} {{json .Config.Entrypoint}}"),
        r#"65532:65532 ["/app/service"]"#
    );
    assert!(crates(&image).contains(&"signal-hook".to_owned()));
}

#[test]
#[ignore = "needs Docker"]
fn a_library_and_a_binary_take_features_a_profile_and_a_toolchain_file() {
    let image = build("lib-and-bin", "Dockerfile.distroless")
        .arg("FEATURES", "shout")
        .arg("PROFILE", "release-small")
        .image();
    serves(&image, "LIB-AND-BIN");
}

#[test]
#[ignore = "needs Docker"]
fn a_workspace_lists_its_binaries_and_builds_the_chosen_one() {
    let log = build("workspace", "Dockerfile.distroless").failure();
    for line in [
        "error: `cargo run` could not determine which binary to run",
        "available binaries: counter, greeter",
    ] {
        assert!(log.contains(line), "{log}");
    }
    serves(
        &build("workspace", "Dockerfile.distroless")
            .arg("BIN", "counter")
            .image(),
        "counter",
    );
    serves(
        &build("workspace", "Dockerfile.distroless")
            .arg("PACKAGE", "greeter")
            .image(),
        "greeter",
    );
}

#[test]
#[ignore = "needs Docker"]
fn sources_may_be_reached_through_links() {
    let project = copy_of("workspace");
    let path = |name: &str| project.path().join(name);
    fs::create_dir(path("shared")).expect("a folder");
    fs::rename(path("answers"), path("shared/answers")).expect("a crate");
    symlink("shared/answers", path("answers")).expect("a link");
    fs::rename(path("counter/src"), path("shared/counter")).expect("sources");
    symlink("../shared/counter", path("counter/src")).expect("a link");
    let build = projects::build(project.path(), "Dockerfile.distroless");
    serves(&build.arg("BIN", "counter").image(), "counter");
}

#[test]
#[ignore = "needs Docker"]
fn sources_that_no_build_needs_may_be_missing() {
    let project = copy_of("lib-and-bin");
    fs::remove_dir_all(project.path().join("benches")).expect("a folder");
    let name = "name = \"greeting\"\n";
    let path = format!("{name}path = \"benches/greeting.rs\"\n");
    edit(&project.path().join("Cargo.toml"), name, &path);
    let image = projects::build(project.path(), "Dockerfile.distroless").image();
    serves(&image, "lib-and-bin");
}

#[test]
#[ignore = "needs Docker"]
fn an_example_can_be_the_binary() {
    let image = build("lib-and-bin", "Dockerfile.distroless")
        .arg("EXAMPLE", "greet")
        .image();
    assert_eq!(image.output("/app/service", &[]), "lib-and-bin");
}

#[test]
#[ignore = "needs Docker"]
fn c_code_builds_twice_from_nothing_to_the_same_bytes() {
    // Packages that the builder has anyway; with others named, nothing comes from the layers of the first build.
    let once = |packages: &str| {
        let fixed = build("c-code", "Dockerfile.distroless")
            .arg("VARIANT", "cc")
            .arg("REVISION", "1234567");
        fixed.arg("BUILD_PACKAGES", packages).image()
    };
    let (first, second) = (once("gcc"), once("libc6-dev"));
    serves(&first, "c-code");
    assert!(first.binary() == second.binary(), "two builds differ");
}

#[test]
#[ignore = "needs Docker"]
fn a_static_binary_resolves_names() {
    let image = build("plain-axum", "Dockerfile.distroless").image();
    let container = image.start_with(&["--add-host=database:10.1.2.3"]);
    assert_eq!(
        container.get("/resolve/database"),
        r#"["10.1.2.3"]"#,
        "/etc/hosts"
    );
    assert!(container.get("/resolve/localhost").contains("127.0.0.1"));
    assert!(
        container
            .get("/resolve/no-such-host.invalid")
            .contains("failed to lookup"),
        "the network's servers say no"
    );
    let network = Network::new();
    let database = image.start_with(&["--network", &network.0, "--network-alias=database"]);
    let service = image.start_with(&["--network", &network.0]);
    let address = database.inspect("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}");
    assert_eq!(
        service.get("/resolve/database"),
        format!("[\"{address}\"]"),
        "DNS"
    );
    assert_eq!(container.stop(), 0);
}

#[test]
#[ignore = "needs Docker"]
fn a_package_without_an_executable_is_an_error() {
    let log = build("workspace", "Dockerfile.distroless")
        .arg("PACKAGE", "answers")
        .failure();
    assert!(
        log.contains("error: a bin target must be available for `cargo run`"),
        "{log}"
    );
}

#[test]
#[ignore = "needs Docker"]
fn build_packages_are_installed_and_static_linking_keeps_the_projects_own_flags() {
    let project = copy_of("single-bin");
    let settings = project.path().join(".cargo/config.toml");
    fs::create_dir(project.path().join(".cargo")).expect("a folder");
    let flags = "[target.'cfg(unix)']\nrustflags = [\"-Clink-arg=-fuse-ld=mold\"]\n";
    fs::write(settings, flags).expect("cargo's settings");
    let image = projects::build(project.path(), "Dockerfile")
        .arg("VARIANT", "static")
        .arg("BUILD_PACKAGES", "mold")
        .arg("RUNTIME_PACKAGES", "netbase")
        .image();
    serves(&image, "single-bin");
    let binary = image.binary();
    let has = |text: &[u8]| binary.windows(text.len()).any(|window| window == text);
    assert!(has(b"mold"), "linked by mold");
    assert!(!has(b"/lib64/ld-linux"), "needs no loader");
    assert!(
        image.output("cat", &["/etc/services"]).contains("https"),
        "netbase is there at run time"
    );
}

#[test]
#[ignore = "needs Docker"]
fn the_labels_have_the_source_of_an_image() {
    let labels = [
        ("SOURCE", "source", "https://example.com/shop"),
        ("VERSION", "version", "1.2.3"),
        ("REVISION", "revision", "1234567"),
        ("CREATED", "created", "2026-01-01T00:00:00Z"),
    ];
    let mut build = build("single-bin", "Dockerfile");
    for (argument, _, value) in labels {
        build = build.arg(argument, value);
    }
    let image = build.image();
    for (_, label, value) in labels {
        assert_eq!(
            image.inspect(&format!(
                "{{{{index .Config.Labels \"org.opencontainers.image.{label}\"}}}}"
            )),
            value
        );
    }
}

#[test]
#[ignore = "needs Docker"]
fn a_registry_token_stays_out_of_the_image() {
    let folder = tempfile::tempdir().expect("a folder");
    let token = "token-that-must-not-leak";
    let file = folder.path().join("credentials.toml");
    fs::write(
        &file,
        format!("[registries.private]\ntoken = \"{token}\"\n"),
    )
    .expect("a file");
    let secret = format!("--secret=id=cargo-credentials,src={}", file.display());
    let image = Build::of(fixture("single-bin"), "Dockerfile")
        .option(&secret)
        .image();
    let archive = image.archive();
    assert!(
        !archive.is_empty()
            && !archive
                .windows(token.len())
                .any(|window| window == token.as_bytes())
    );
}

#[test]
#[ignore = "needs Docker"]
fn the_debug_image_has_a_shell_and_the_same_binary() {
    let debug = build("single-bin", "Dockerfile.distroless")
        .option("--target=debug")
        .image();
    assert_eq!(
        debug.output("sh", &["-c", "id -u; cat config/default.toml"]),
        "65532\ngreeting = \"single-bin\""
    );
    let plain = build("single-bin", "Dockerfile.distroless").image();
    assert!(debug.binary() == plain.binary());
}
