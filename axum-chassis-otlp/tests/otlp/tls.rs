//! Collectors behind TLS.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use stores::Certificates;

use crate::client::get;
use crate::collector::{exporting, receive};
use crate::program::{Setup, eventually};

/// A collector that accepts everything from clients that have a certificate of the authority, if it requires one.
struct Collector {
    port: u16,
    requests: Arc<AtomicUsize>,
}

impl Collector {
    fn start(certificates: &Certificates, requires_client: bool) -> Self {
        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider.clone());
        let config = config.with_safe_default_protocol_versions().unwrap();
        let config = if requires_client {
            let mut roots = RootCertStore::empty();
            let authority = CertificateDer::from_pem_file(certificates.authority());
            roots.add(authority.unwrap()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            config.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            config.with_no_client_auth()
        };
        let [certificate, key] = certificates.server();
        let chain = vec![CertificateDer::from_pem_file(certificate).unwrap()];
        let key = PrivateKeyDer::from_pem_file(key).unwrap();
        let config = Arc::new(config.with_single_cert(chain, key).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(AtomicUsize::new(0));
        let seen = requests.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let connection = ServerConnection::new(config.clone()).unwrap();
                let mut stream = StreamOwned::new(connection, stream);
                // A client that does not trust the certificate ends the handshake.
                if receive(&mut stream).is_ok() {
                    seen.fetch_add(1, Ordering::SeqCst);
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
                }
            }
        });
        Self { port, requests }
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

fn file(setup: Setup, name: &str, path: &Path) -> Setup {
    setup.variable(&format!("OTEL_EXPORTER_OTLP_{name}"), path.display())
}

#[test]
fn a_collector_with_a_certificate_of_ones_own_authority_receives_spans() {
    let certificates = Certificates::make();
    for requires_client in [false, true] {
        let collector = Collector::start(&certificates, requires_client);
        let mut setup = exporting(&format!("https://localhost:{}", collector.port));
        setup = file(setup, "CERTIFICATE", &certificates.authority());
        if requires_client {
            let [certificate, key] = certificates.server();
            setup = file(setup, "CLIENT_CERTIFICATE", &certificate);
            setup = file(setup, "CLIENT_KEY", &key);
        }
        let program = setup.start();
        get(program.main, "/");
        eventually("it is exported", || {
            program.metric("trace_spans_exported_total") == 1.0
        });
        program.stop();
        assert_eq!(collector.requests(), 1);
    }
}

#[test]
fn spans_are_not_sent_to_a_collector_whose_certificate_is_not_valid() {
    let certificates = Certificates::make();
    let collector = Collector::start(&certificates, false);
    // The certificate is for `localhost`, and of an authority that the system does not know.
    for (host, knows_authority) in [("127.0.0.1", true), ("localhost", false)] {
        let other = Certificates::make();
        let authority = if knows_authority {
            &certificates
        } else {
            &other
        };
        let setup = exporting(&format!("https://{host}:{}", collector.port))
            .variable("OTEL_EXPORTER_OTLP_TIMEOUT", 500);
        let program = file(setup, "CERTIFICATE", &authority.authority()).start();
        get(program.main, "/");
        let refused = r#"trace_spans_dropped_total{reason="refused"}"#;
        eventually("it is lost", || program.metric(refused) == 1.0);
        let (_, log) = program.stop();
        let lost = log.iter().find(|line| line["lost"] == 1).unwrap();
        let error = lost["error"].as_str().unwrap();
        assert!(error.contains("certificate"), "{error}");
    }
    assert_eq!(collector.requests(), 0);
}

#[test]
fn an_invalid_certificate_file_is_named_at_the_start() {
    let certificates = Certificates::make();
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    fs::write(&empty, "").unwrap();
    let [certificate, key] = certificates.server();
    let missing = folder.path().join("missing.pem");
    for (files, named) in [
        (&[("CERTIFICATE", &missing)][..], "CERTIFICATE"),
        (&[("CERTIFICATE", &empty)], "CERTIFICATE"),
        (
            &[("CLIENT_CERTIFICATE", &certificate)],
            "CLIENT_CERTIFICATE",
        ),
        (
            &[("CLIENT_CERTIFICATE", &certificate), ("CLIENT_KEY", &empty)],
            "CLIENT_KEY",
        ),
        (
            &[("CLIENT_CERTIFICATE", &empty), ("CLIENT_KEY", &key)],
            "CLIENT_CERTIFICATE",
        ),
    ] {
        let mut setup = exporting("https://localhost:1");
        if named != "CERTIFICATE" {
            setup = file(setup, "CERTIFICATE", &certificates.authority());
        }
        for (name, path) in files {
            setup = file(setup, name, path);
        }
        let said = setup.run("--check-config");
        assert_eq!(said.code, Some(78), "{}", said.stderr);
        let name = format!("environment variable OTEL_EXPORTER_OTLP_{named}: ");
        assert!(said.stderr.contains(&name), "{}", said.stderr);
    }
}
