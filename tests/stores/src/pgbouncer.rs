//! PgBouncer, of Debian's package or the one that the variable `PGBOUNCER` names.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs};

use tempfile::TempDir;

use crate::postgres::{as_postgres, give};
use crate::server::{Process, free_port};
use crate::{PASSWORD, Postgres, wait_for};

const INSTALL: &str = "apt-get install pgbouncer, or PGBOUNCER names one";

/// A pooler in front of a database.
pub struct PgBouncer {
    _folder: TempDir,
    _process: Process,
    database: u16,
    port: u16,
}

impl PgBouncer {
    /// Starts one in a mode, `session` or `transaction`, whose settings are otherwise those of the package.
    pub fn start(database: &Postgres, mode: &str) -> Self {
        Self::start_with(database, database.address().port(), mode, "")
    }

    /// The same with further settings, lines of its file, and the database behind another port, such as a proxy's.
    pub fn start_with(database: &Postgres, server: u16, mode: &str, more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let port = free_port();
        let users = folder.path().join("users");
        fs::write(&users, format!("\"orders\" \"{PASSWORD}\"\n")).expect("a file");
        let settings = folder.path().join("pgbouncer.ini");
        // The default of 1.24 and later, nearly; those before 1.21 do not know it.
        let prepared = if mode == "transaction" {
            "max_prepared_statements = 100\n"
        } else {
            ""
        };
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={server}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {}\n\
             pool_mode = {mode}\n{prepared}{more}\n",
            users.display()
        );
        fs::write(&settings, text).expect("a file");
        for path in [folder.path(), &users, &settings] {
            give(path);
        }
        let mut command = as_postgres(&program());
        command.arg(&settings).stderr(Stdio::null());
        let process = Process::start(&mut command, INSTALL);
        wait_for("PgBouncer", || TcpStream::connect(("127.0.0.1", port)).ok());
        Self {
            _folder: folder,
            _process: process,
            database: database.address().port(),
            port,
        }
    }

    /// Fails unless it knows prepared statements in transaction mode.
    ///
    /// # Panics
    /// If it is older than 1.21.
    pub fn needs_prepared_statements() {
        let version = Command::new(program()).arg("--version").output();
        let version = version.unwrap_or_else(|error| panic!("{error} ({INSTALL})"));
        let version = String::from_utf8(version.stdout).expect("text");
        let minor = version
            .split('.')
            .nth(1)
            .and_then(|minor| minor.trim().lines().next());
        let minor: u32 = minor
            .and_then(|minor| minor.parse().ok())
            .expect("a version");
        assert!(minor >= 21, "{version} ({INSTALL} that is 1.21 or later)");
    }

    /// The URL of a database, through this.
    pub fn url(&self, database: &Postgres) -> String {
        let url = database.url();
        url.replace(&self.database.to_string(), &self.port.to_string())
    }
}

/// Debian has it in `/usr/sbin`, which is not in every path.
fn program() -> std::path::PathBuf {
    let named = env::var_os("PGBOUNCER").map(Into::into);
    let debians = Path::new("/usr/sbin/pgbouncer");
    named.unwrap_or_else(|| {
        if debians.exists() {
            debians.into()
        } else {
            "pgbouncer".into()
        }
    })
}
