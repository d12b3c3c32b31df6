//! The `tracing` layers of Sentry and of tokio-console in one service, as docs/logs.md has them.
//!
//! Their dependencies are more than those of the chassis itself, so they are of this program only.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use axum_chassis_testing::Program;
use e2e::{cargo, root, succeed, wait_for};

const MAIN: &str = r#"
use std::process::ExitCode;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use axum_chassis::Service;
use sentry::integrations::tracing::{BreadcrumbLayer, ErrorLayer};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;

/// Prints what would go to Sentry.
struct Printed;

impl sentry::Transport for Printed {
    fn send_envelope(&self, envelope: sentry::Envelope) {
        let event = envelope.event().expect("an event");
        let crumbs: Vec<_> = event.breadcrumbs.iter().filter_map(|crumb| crumb.message.as_deref()).collect();
        eprintln!("sentry: {} after {}", event.message.as_deref().unwrap_or_default(), crumbs.join(", "));
    }
}

fn main() -> ExitCode {
    let options = sentry::ClientOptions::new().dsn("https://key@localhost/1").transport(Arc::new(Printed));
    let _sentry = sentry::init(options);
    let fail = async || {
        tracing::info!("on the way");
        tracing::error!("broken");
    };
    Service::<()>::new("layers", "1.0.0")
        .tracing_layer(BreadcrumbLayer::new().with_filter(LevelFilter::INFO))
        .tracing_layer(ErrorLayer::new().with_filter(LevelFilter::ERROR))
        .tracing_layer(console_subscriber::spawn())
        .run(async move |_| Ok(Router::new().route("/fail", get(fail))))
}
"#;

#[test]
#[ignore = "needs crates.io, and minutes"]
fn sentry_and_tokio_console_work_beside_the_log_whose_filter_changes() {
    let folder = tempfile::tempdir().expect("a folder");
    let manifest = format!(
        r#"
[package]
name = "layers"
version = "1.0.0"
edition = "2024"

[dependencies]
axum = {{ version = "0.8", default-features = false }}
axum-chassis = {{ path = {:?} }}
console-subscriber = "=0.5.0"
sentry = {{ version = "=0.49.5", default-features = false, features = ["tracing"] }}
tokio = {{ version = "1", features = ["tracing"] }}
tracing = "0.1"
tracing-subscriber = {{ version = "0.3", default-features = false }}

[workspace]
"#,
        root()
    );
    fs::create_dir(folder.path().join("src")).expect("a folder");
    fs::write(folder.path().join("Cargo.toml"), manifest).expect("a file");
    fs::write(folder.path().join("src/main.rs"), MAIN).expect("a file");
    let target = root().join("target/layers");
    let mut build: Command = cargo(folder.path());
    build
        .arg("build")
        .env("CARGO_TARGET_DIR", &target)
        .env("RUSTFLAGS", "--cfg tokio_unstable");
    succeed(&mut build);

    // A port that is free a moment before.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let console: SocketAddr = listener.local_addr().expect("an address");
    drop(listener);
    let service = Program::new(target.join("debug/layers"))
        .variable("TOKIO_CONSOLE_BIND", console.to_string())
        .set("service.platform", "host")
        .set("admin.token", "0123456789abcdef")
        .start();
    wait_for("tokio-console's port", || {
        TcpStream::connect(console).ok().map(drop)
    });
    let fail = || assert_eq!(service.get("/fail").status, 200);
    fail();
    let token = [("authorization", "Bearer 0123456789abcdef")];
    let off = service.admin().request("PUT", "/log", &token, "off");
    assert_eq!(off.status, 200);
    fail();
    let ended = service.stop();
    let logged = ended.log.iter().filter(|line| line["message"] == "broken");
    assert_eq!(logged.count(), 1, "{:#?}", ended.log);
    let sent = ended.stderr.lines().filter(|line| {
        line.starts_with("sentry: broken after ") && line.ends_with("on the way, broken")
    });
    assert_eq!(sent.count(), 2, "{}", ended.stderr);
}
