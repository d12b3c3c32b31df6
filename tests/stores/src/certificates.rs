//! An authority that nobody knows, and what it vouches for.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// Files of an authority and of a server on `localhost`.
pub struct Certificates(TempDir);

impl Certificates {
    /// Makes them.
    pub fn make() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("names"), "subjectAltName=DNS:localhost").expect("a file");
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        for command in [
            &format!("req -x509 {key} -days 2 -subj /CN=nobody -keyout ca.key -out ca.pem"),
            &format!("req {key} -subj /CN=localhost -keyout server.key -out server.csr"),
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
             -extfile names -out server.pem",
        ] {
            let mut openssl = Command::new("openssl");
            openssl
                .args(command.split_whitespace())
                .current_dir(folder.path());
            let made = openssl.output();
            let made = made
                .unwrap_or_else(|error| panic!("{openssl:?}: {error} (apt-get install openssl)"));
            assert!(
                made.status.success(),
                "{command}: {}",
                String::from_utf8_lossy(&made.stderr)
            );
        }
        Self(folder)
    }

    /// The authority's certificate, for clients.
    pub fn authority(&self) -> PathBuf {
        self.0.path().join("ca.pem")
    }

    /// The server's certificate and key.
    pub fn server(&self) -> [PathBuf; 2] {
        ["server.pem", "server.key"].map(|name| self.0.path().join(name))
    }
}
