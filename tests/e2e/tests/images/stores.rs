//! Services with stores in their images, beside their stores, as hardened as a cluster runs them.

use e2e::root;
use serde_json::json;
use tempfile::TempDir;

use crate::{
    docker::{Build, Container, Image, Network},
    generated::generate,
    service::{SLIM, STATIC},
};

/// As its own Dockerfile makes it; linked like the others, so that what they stand on is compiled once.
fn image_of(service: &TempDir, dockerfile: &str) -> Image {
    let dockerfile = service.path().join(dockerfile).display().to_string();
    let build = Build::of(service.path(), &dockerfile).arg("VARIANT", "static");
    build.unoptimized().image()
}

/// A server under the name that the service knows it by.
fn server(network: &Network, name: &str, variables: &[&str]) -> (Image, Container) {
    let folder = root().join("tests/e2e/images").join(name);
    let dockerfile = folder.join("Dockerfile").display().to_string();
    let image = Build::of(&folder, &dockerfile).image();
    let joined = format!("--network={}", network.0);
    let alias = format!("--network-alias={name}");
    let mut options = vec![
        joined.as_str(),
        &alias,
        "--tmpfs=/tmp",
        "--tmpfs=/run/postgresql:uid=999",
    ];
    options.extend(variables);
    let container = image.start_with(&options);
    (image, container)
}

fn takes_an_order(container: &Container) {
    let order = json!({"reference": "A-1", "item": "tea", "quantity": 2});
    let taken = container.post("/orders", &order.to_string());
    assert!(taken.starts_with("HTTP/1.1 201 "), "{taken}");
}

#[test]
#[ignore = "needs Docker"]
fn a_service_on_servers_is_migrated_and_served_by_its_image() {
    let service = generate(&["database=postgres", "redis=yes"]);
    let image = image_of(&service, STATIC.dockerfile);
    let network = Network::new();
    let (_postgres_image, _postgres) = server(
        &network,
        "postgres",
        &[
            "--env=POSTGRES_USER=orders",
            "--env=POSTGRES_PASSWORD=orders",
            "--env=POSTGRES_DB=orders",
        ],
    );
    let (_valkey_image, _valkey) = server(&network, "valkey", &[]);
    let options = [
        &format!("--network={}", network.0),
        "--env=RUN_ENV=production",
        "--env=DATABASE_URL=postgres://orders:orders@postgres:5432/orders",
        "--env=REDIS_URL=redis://valkey:6379",
    ];

    // It waits for the database to be there.
    image.run(&options, &["migrate"]);
    let container = image.start_with(&options);
    container.get("/health/readiness");
    takes_an_order(&container);
    assert!(container.get("/orders").contains("A-1"));
    let viewed = container.post("/orders/1/views", "");
    assert!(viewed.starts_with("HTTP/1.1 200 "), "{viewed}");
    assert_eq!(container.stop(), 0, "{}", container.logs());
}

#[test]
#[ignore = "needs Docker"]
fn a_service_with_sqlite_keeps_its_file_after_a_restart() {
    let service = generate(&["database=sqlite"]);
    let image = image_of(&service, SLIM.dockerfile);
    let data = tempfile::tempdir().expect("a folder");
    // The user of the image.
    std::os::unix::fs::chown(data.path(), Some(65532), Some(65532)).expect("root");
    let volume = format!("--volume={}:/data", data.path().display());
    let options = ["--env=RUN_ENV=production", &volume];

    let container = image.start_with(&options);
    container.get("/health/readiness");
    takes_an_order(&container);
    assert_eq!(container.stop(), 0, "{}", container.logs());

    let again = image.start_with(&options);
    assert!(again.get("/orders").contains("A-1"));
    assert_eq!(again.stop(), 0, "{}", again.logs());
}
