//! Keys over TLS: the certificate has to be of a known authority, and for the host in the URL.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use axum_chassis_auth::testing::Issuer;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use stores::Certificates;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::program::{get_with, service, start_error};

/// Terminates TLS in front of an issuer, until the test ends. Returns the port.
fn terminate_tls(certificates: &Certificates, issuer: &Issuer) -> u16 {
    let [certificate, key] = certificates.server();
    let certificates = vec![CertificateDer::from_pem_file(certificate).unwrap()];
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let to: SocketAddr = issuer
        .url()
        .strip_prefix("http://")
        .unwrap()
        .parse()
        .unwrap();
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // A client that does not trust the certificate ends the handshake.
                    let mut client = acceptor.accept(client).await.ok()?;
                    let mut server = TcpStream::connect(to).await.ok()?;
                    copy_bidirectional(&mut client, &mut server).await.ok()
                });
            }
        })
    });
    port
}

#[test]
#[ignore = "needs openssl"]
fn keys_are_fetched_only_from_a_server_with_a_valid_certificate() {
    let (certificates, issuer) = (Certificates::make(), Issuer::start());
    let port = terminate_tls(&certificates, &issuer);
    let program = |host: &str, authorities: &str| {
        service(&issuer)
            .set("auth.allow_http_loopback", false)
            .set("auth.jwks_url", format!("https://{host}:{port}/keys"))
            .variable("SSL_CERT_FILE", authorities)
            .variable("SSL_CERT_DIR", "")
    };
    let authority = certificates.authority();
    let authority = authority.to_str().unwrap();
    let service = program("localhost", authority).start();
    let token = issuer.token("orders").sign();
    assert_eq!(get_with(&service, "/", &token).status, 200);

    let fetches = issuer.fetches();
    let others = Certificates::make();
    let other_authority = others.authority();
    for (host, authorities, cause) in [
        ("127.0.0.1", authority, "certificate not valid for name"),
        (
            "localhost",
            other_authority.to_str().unwrap(),
            "invalid peer certificate",
        ),
        ("localhost", "/dev/null", "no certificate authorities found"),
        ("localhost", "/missing.pem", "/missing.pem"),
    ] {
        let error = start_error(program(host, authorities));
        assert!(error.contains(cause), "{cause}: {error}");
    }
    assert_eq!(issuer.fetches(), fetches);
}
