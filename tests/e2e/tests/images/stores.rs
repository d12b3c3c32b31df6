//! Generated services with a store, in their images, on real servers.

use std::{fs, net::SocketAddr, os::unix::fs::PermissionsExt};

use e2e::wait_for;
use stores::{Answer, Postgres, Redis, free_port, request};

use crate::docker::{Build, Container, Image};
use crate::generated::generate;

const ORDER: &str = r#"{"reference": "A-1", "item": "tea", "quantity": 2}"#;

/// A service in a hardened container, on the network of this machine, as its servers are on loopback.
struct Served {
    container: Container,
    main: SocketAddr,
}

impl Served {
    fn start(image: &Image, options: &[&str]) -> Self {
        let main = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let ports = [("SERVER", main.port()), ("ADMIN", free_port())]
            .map(|(listener, port)| format!("--env=APP__{listener}__PORT={port}"));
        let mut all = vec![
            "--network=host",
            "--env=LOG_FORMAT=json",
            &ports[0],
            &ports[1],
        ];
        all.extend(options);
        let container = image.start_with(&all);
        let served = Self { container, main };
        wait_for("readiness", || {
            let answer = request(main, "GET", "/health/readiness", "").ok();
            answer.filter(|answer| answer.status == 200)
        });
        served
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        request(self.main, method, path, body).expect("an answer")
    }

    fn stops(self) {
        assert_eq!(self.container.stop(), 0, "{}", self.container.logs());
    }
}

#[test]
#[ignore = "needs Docker, PostgreSQL and Redis"]
fn a_service_on_servers_is_migrated_serves_and_stops_in_its_image() {
    let service = generate(&["database=postgres", "redis=yes"]);
    let dockerfile = service.path().join("Dockerfile.distroless");
    let image = Build::of(service.path(), &dockerfile.display().to_string()).image();
    let (postgres, redis) = (Postgres::start(), Redis::start());
    let urls = [("DATABASE_URL", postgres.url()), ("REDIS_URL", redis.url())]
        .map(|(name, url)| format!("--env={name}={url}"));

    image.run(&["--network=host", &urls[0], &urls[1]], &["migrate"]);
    let tables = "SELECT count(*) FROM orders";
    assert_eq!(postgres.query(tables), ["0"]);

    let served = Served::start(&image, &[&urls[0], &urls[1]]);
    assert_eq!(served.ask("POST", "/orders", ORDER).status, 201);
    assert_eq!(served.ask("POST", "/orders/1/views", "").status, 200);
    assert_eq!(postgres.query(tables), ["1"]);
    served.stops();
}

/// As a cluster gives it one, it writes to nothing but its volume.
#[test]
#[ignore = "needs Docker"]
fn a_service_on_a_file_keeps_it_on_its_volume() {
    let service = generate(&["database=sqlite"]);
    let dockerfile = service.path().join("Dockerfile");
    let image = Build::of(service.path(), &dockerfile.display().to_string()).image();
    let volume = tempfile::tempdir().expect("a folder");
    fs::set_permissions(volume.path(), fs::Permissions::from_mode(0o777)).expect("a mode");
    let mount = format!("--volume={}:/data", volume.path().display());

    let served = Served::start(&image, &[&mount]);
    assert_eq!(served.ask("POST", "/orders", ORDER).status, 201);
    served.stops();
    assert!(volume.path().join("orders.db").exists());
    let served = Served::start(&image, &[&mount]);
    assert_eq!(served.ask("GET", "/orders/1", "").status, 200);
    served.stops();
}
