//! A proxy as a process, in front of two services, with the configuration that docs/proxies.md has.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use axum_chassis::testing::Process;
use e2e::{root, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::client::{Client, Connection};
use crate::kinds::{Kind, Upstream};
use crate::service::{free_port, start};

/// A proxy in front of two services. Dropped, it is stopped.
pub(crate) struct Proxy {
    pub(crate) kind: &'static Kind,
    pub(crate) upstream: Upstream,
    pub(crate) port: u16,
    pub(crate) services: [Option<Process>; 2],
    ports: [u16; 2],
    settings: &'static [(&'static str, &'static str)],
    child: Child,
    folder: TempDir,
}

impl Proxy {
    /// Starts two services and the proxy; returns once requests reach both of them.
    pub(crate) fn start(
        kind: &'static Kind,
        upstream: Upstream,
        settings: &'static [(&'static str, &'static str)],
    ) -> Self {
        let ports = [free_port(), free_port()];
        let services = ports.map(|port| Some(start(port, settings)));
        let port = free_port();
        let folder = tempfile::tempdir().expect("a folder");
        let mut config = kind.config(upstream, port);
        for (documented, port) in ["10.0.0.11", "10.0.0.12"].into_iter().zip(ports) {
            config = config.replace(documented, "127.0.0.1");
            config = config.replacen("8080", &port.to_string(), 1);
        }
        let child = spawn(kind, &folder, &config, port);
        let proxy = Self {
            kind,
            upstream,
            port,
            services,
            ports,
            settings,
            child,
            folder,
        };
        proxy.wait_for_both();
        proxy
    }

    /// What a failure is listed under.
    pub(crate) fn name(&self) -> String {
        format!("{} over {}", self.kind.name, self.upstream)
    }

    /// Waits until the proxy sends requests to both services.
    pub(crate) fn wait_for_both(&self) {
        let ids = self.services.each_ref().map(|service| {
            let service = service.as_ref().expect("a service");
            service.id().to_string()
        });
        let mut seen = [false; 2];
        wait_for(&self.name(), || {
            let answer = Client::default().request(self.port, "GET", "/", b"").ok()?;
            for (seen, id) in seen.iter_mut().zip(&ids) {
                *seen |= answer.status == 200 && answer.body == *id;
            }
            (seen == [true; 2]).then_some(())
        });
    }

    /// Stops one of the services with SIGTERM, and starts the next one on the same port.
    pub(crate) fn restart(&mut self, index: usize) {
        let ended = self.services[index].take().expect("a service").stop();
        assert_eq!(ended.code, Some(0), "{}: {}", self.name(), ended.stderr);
        self.services[index] = Some(start(self.ports[index], self.settings));
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::open(self.port).expect("a connection")
    }
}

fn spawn(kind: &Kind, folder: &TempDir, config: &str, port: u16) -> Child {
    let path = folder.path();
    let filled = |text: &str| {
        let text = text.replace("FOLDER", &path.display().to_string());
        text.replace("PORT", &port.to_string())
    };
    let config = filled(kind.before) + config + kind.after;
    fs::write(path.join(kind.file), config).expect("a file");
    let log = File::create(path.join("log")).expect("a file");
    let mut command = Command::new(kind.program);
    command
        .args(filled(kind.arguments).split_whitespace())
        .current_dir(path)
        .env("XDG_CONFIG_HOME", path)
        .env("XDG_DATA_HOME", path)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a file"))
        .stderr(log);
    let spawned = command.spawn();
    spawned.unwrap_or_else(|error| panic!("{command:?}: {error} ({})", kind.install))
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(20)..].join("\n");
            eprintln!("{}:\n{tail}", self.name());
        }
        // SIGTERM, so that workers end with their parent.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let deadline = Instant::now() + Duration::from_secs(5);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The configuration that the page has for a proxy.
pub(crate) fn documented(name: &str) -> String {
    let page = root().join("docs/proxies.md");
    let page = fs::read_to_string(Path::new(&page)).expect("docs/proxies.md");
    let block = page.split(&format!("<!-- config: {name} -->\n")).nth(1);
    let block = block.unwrap_or_else(|| panic!("docs/proxies.md has no configuration of {name}"));
    let (_, block) = block.split_once('\n').expect("a fence");
    let (block, _) = block.split_once("```").expect("a fence");
    block.to_owned()
}
