//! PostgreSQL, of Debian's package or whichever is in the path.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use rustix::process::{Signal, geteuid};
use tempfile::TempDir;

use crate::server::{Process, free_port};
use crate::{Certificates, PASSWORD, PASSWORD_IN_URL, Proxy, wait_for};

const INSTALL: &str = "apt-get install postgresql";
const USER: &str = "orders";

/// A server with a database of its own, in a folder that goes with it.
pub struct Postgres {
    folder: TempDir,
    port: u16,
    process: Option<Process>,
    options: Vec<String>,
}

impl Postgres {
    /// Makes a database and starts its server; returns once it answers.
    pub fn start() -> Self {
        Self::make(None)
    }

    /// The same, with TLS.
    pub fn with_tls(certificates: &Certificates) -> Self {
        Self::make(Some(certificates))
    }

    /// A standby of this one, streaming from it.
    pub fn standby(&self) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        give(folder.path());
        let mut copy = program("pg_basebackup");
        copy.args(["-h", "127.0.0.1", "-U", USER, "-p", &self.port.to_string()])
            .args([
                "--write-recovery-conf",
                "--checkpoint=fast",
                "--no-sync",
                "-D",
            ])
            .arg(folder.path().join("data"))
            .env("PGPASSWORD", PASSWORD);
        let made = copy.output().expect("pg_basebackup");
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        let mut standby = Self {
            folder,
            port: free_port(),
            process: None,
            options: self.options.clone(),
        };
        standby.start_again();
        standby
    }

    /// Promotes a standby of this one, once it has all that was written here.
    pub fn promote(&self, standby: &Self) {
        wait_for("the standby to have all", || {
            let all = self.query("SELECT pg_current_wal_lsn()");
            let sql = format!("SELECT pg_last_wal_replay_lsn() >= '{}'", all[0]);
            (standby.query(&sql) == ["t"]).then_some(())
        });
        standby.query("SELECT pg_promote()");
    }

    /// Refuses writes from now on, also those of the connections there are.
    pub fn turn_read_only(&self) {
        self.query("ALTER SYSTEM SET default_transaction_read_only = on");
        self.query("SELECT pg_reload_conf()");
    }

    fn make(certificates: Option<&Certificates>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let password = folder.path().join("password");
        fs::write(&password, PASSWORD).expect("a file");
        for path in [folder.path(), &password] {
            give(path);
        }
        let mut initdb = program("initdb");
        initdb
            .args([
                "--username",
                USER,
                "--auth=scram-sha-256",
                "--encoding=UTF8",
            ])
            .args(["--locale=C", "--no-sync", "--pwfile"])
            .arg(&password)
            .arg("--pgdata")
            .arg(folder.path().join("data"));
        let made = initdb.output();
        let made = made.unwrap_or_else(|error| panic!("{initdb:?}: {error} ({INSTALL})"));
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        let mut server = Self {
            folder,
            port: free_port(),
            process: None,
            options: Vec::new(),
        };
        if let Some(certificates) = certificates {
            server.options.push("ssl=on".to_owned());
            for (option, file) in ["ssl_cert_file", "ssl_key_file"]
                .iter()
                .zip(certificates.server())
            {
                let copy = server.folder.path().join(option);
                fs::copy(file, &copy).expect("a copy");
                give(&copy);
                server.options.push(format!("{option}={}", copy.display()));
            }
        }
        server.start_again();
        server
    }

    /// The `DATABASE_URL` for a service.
    pub fn url(&self) -> String {
        format!(
            "postgres://{USER}:{PASSWORD_IN_URL}@127.0.0.1:{}/postgres",
            self.port
        )
    }

    /// The same, through a proxy that has this name on the certificate, if there is one.
    pub fn url_through(&self, proxy: &Proxy) -> String {
        self.url().replace(
            &format!("127.0.0.1:{}", self.port),
            &format!("localhost:{}", proxy.port()),
        )
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// Ends every connection and the server, at once and in order.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::INT);
            process.wait();
        }
    }

    /// Starts it with the same data on the same port.
    pub fn start_again(&mut self) {
        let log = fs::File::create(self.folder.path().join("log")).expect("a file");
        let mut postgres = program("postgres");
        postgres
            .arg("-D")
            .arg(self.folder.path().join("data"))
            .arg("-k")
            .arg(self.folder.path())
            .args([
                "-p",
                &self.port.to_string(),
                "-c",
                "listen_addresses=127.0.0.1",
            ])
            .args(["-c", "fsync=off"])
            .args(self.options.iter().flat_map(|option| ["-c", option]))
            .stderr(log);
        self.process = Some(Process::start(&mut postgres, INSTALL));
        wait_for("PostgreSQL", || {
            let mut asked = program("pg_isready");
            asked.args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()]);
            asked.status().expect("pg_isready").success().then_some(())
        });
    }

    /// The result of a query, a line for each row.
    pub fn query(&self, sql: &str) -> Vec<String> {
        let output = self.psql().args(["-c", sql]).output().expect("psql");
        assert!(
            output.status.success(),
            "{sql}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let rows = String::from_utf8(output.stdout).expect("text");
        rows.lines().map(str::to_owned).collect()
    }

    /// Locks all orders in a transaction that stays open until this is dropped.
    pub fn lock_orders(&self) -> Held {
        self.hold("LOCK TABLE orders")
    }

    /// Reads orders in a transaction that stays open until this is dropped.
    pub fn read_orders(&self) -> Held {
        self.hold("SELECT count(*) FROM orders")
    }

    fn hold(&self, sql: &str) -> Held {
        let mut psql = self
            .psql()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("psql");
        let mut input = psql.stdin.take().expect("a pipe");
        writeln!(input, "BEGIN; {sql}; SELECT 'held';").expect("a pipe");
        let said = BufReader::new(psql.stdout.take().expect("a pipe")).lines();
        let held = said.map_while(Result::ok).any(|line| line == "held");
        assert!(held, "psql ended without a lock");
        Held {
            psql,
            input: Some(input),
        }
    }

    fn psql(&self) -> Command {
        let mut psql = program("psql");
        psql.args([
            "-X",
            "-q",
            "-t",
            "-A",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            "127.0.0.1",
        ])
        .args(["-U", USER, "-p", &self.port.to_string(), "postgres"])
        .env("PGPASSWORD", PASSWORD);
        psql
    }
}

/// A lock. Dropped, it is given back.
pub struct Held {
    psql: Child,
    input: Option<ChildStdin>,
}

impl Drop for Held {
    fn drop(&mut self) {
        // The end of its input is psql's end, and that of its transaction.
        self.input.take();
        let _ = self.psql.wait();
    }
}

fn program(name: &str) -> Command {
    as_postgres(&binaries().map_or_else(|| name.into(), |folder| folder.join(name)))
}

/// PostgreSQL refuses to run as root, and so does PgBouncer.
pub(crate) fn as_postgres(path: &Path) -> Command {
    if !geteuid().is_root() {
        return Command::new(path);
    }
    let mut command = Command::new("setpriv");
    command
        .args([
            "--reuid=postgres",
            "--regid=postgres",
            "--init-groups",
            "--",
        ])
        .arg(path)
        .current_dir("/");
    command
}

/// Debian's are in no path, since there may be several.
fn binaries() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let folders = versions.filter_map(|entry| Some(entry.ok()?.path().join("bin")));
    folders
        .filter(|folder| folder.join("initdb").exists())
        .max()
}

pub(crate) fn give(path: &Path) {
    if geteuid().is_root() {
        let id = |flag| {
            let id = Command::new("id")
                .args([flag, "postgres"])
                .output()
                .expect("id");
            let id = String::from_utf8(id.stdout).expect("text");
            id.trim()
                .parse()
                .unwrap_or_else(|_| panic!("no user postgres ({INSTALL})"))
        };
        chown(path, Some(id("-u")), Some(id("-g"))).expect("a new owner");
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).expect("a mode");
}
