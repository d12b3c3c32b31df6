//! TLS to the collector, with rustls.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::reader::Variable;

/// The configuration of TLS, with its certificates. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Tls(Arc<ClientConfig>);

impl Tls {
    pub(crate) const IS_SUPPORTED: bool = true;

    /// Reads the files that the variables name. Without `authority`, the system's certificate authorities are trusted.
    ///
    /// # Errors
    /// One line that names the variable and its file.
    pub(crate) fn new(
        authority: Option<&Variable>,
        client: Option<(&Variable, &Variable)>,
    ) -> Result<Self, String> {
        let roots = match authority {
            Some(variable) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(variable)? {
                    let added = roots.add(certificate);
                    added
                        .map_err(|error| invalid(variable, "certificates in PEM format", error))?;
                }
                roots
            }
            None => system_roots()?,
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots);
        let config = match client {
            Some((certificate, key)) => {
                let private = PrivateKeyDer::from_pem_file(&key.value);
                let private = private.map_err(|error| {
                    invalid(key, "a file with a private key in PEM format", error)
                })?;
                let expected = "the private key of the client certificate";
                config
                    .with_client_auth_cert(certificates(certificate)?, private)
                    .map_err(|error| invalid(key, expected, error))?
            }
            None => config.with_no_client_auth(),
        };
        Ok(Self(Arc::new(config)))
    }

    pub(crate) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        TlsConnector::from(self.0.clone())
            .connect(name, stream)
            .await
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The configuration contains the private key.
        f.write_str("Tls")
    }
}

impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

fn system_roots() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(
            "environment variable OTEL_EXPORTER_OTLP_CERTIFICATE: not set, and the system has no certificate \
             authorities: expected a file with certificates in PEM format, or the package ca-certificates"
                .to_owned(),
        );
    }
    Ok(roots)
}

/// The certificates in the file that the variable names, at least one.
fn certificates(variable: &Variable) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(&variable.value).and_then(Iterator::collect);
    let read = read.and_then(|certificates: Vec<_>| match certificates.is_empty() {
        true => Err(pem::Error::NoItemsFound),
        false => Ok(certificates),
    });
    read.map_err(|error| invalid(variable, "a file with certificates in PEM format", error))
}

fn invalid(variable: &Variable, expected: &str, error: impl fmt::Display) -> String {
    let Variable { name, value } = variable;
    format!("environment variable {name}: invalid value {value:?}, expected {expected}: {error}")
}
