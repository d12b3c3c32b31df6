//! A proxy as a process, in front of the service, with the configuration that docs/proxies.md has.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use axum_chassis_testing::Process;
use e2e::{root, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::client::{Client, Connection};
use crate::kinds::{Kind, Upstream};
use crate::service::{free_port, start};

/// The setup of each proxy and its services in a test.
#[derive(Clone, Copy)]
pub(crate) struct Setup {
    /// Settings of the services.
    pub(crate) settings: &'static [(&'static str, &'static str)],
    /// The protocols between the proxies and the services.
    pub(crate) upstreams: &'static [Upstream],
    /// Two services with health checks; otherwise one without, where nothing but the test sends requests.
    pub(crate) checked: bool,
    /// Edits of the documented configuration.
    pub(crate) edits: &'static [[&'static str; 2]],
}

/// A proxy in front of its services. Dropped, it is stopped.
pub(crate) struct Proxy {
    pub(crate) kind: &'static Kind,
    pub(crate) upstream: Upstream,
    pub(crate) port: u16,
    pub(crate) services: Vec<Process>,
    settings: &'static [(&'static str, &'static str)],
    child: Child,
    folder: TempDir,
}

impl Proxy {
    /// Starts the services and the proxy; returns once requests reach all of them.
    pub(crate) fn start(kind: &'static Kind, upstream: Upstream, setup: Setup) -> Self {
        let proxy = Self::launch(kind, upstream, setup);
        proxy.wait_for_all();
        proxy
    }

    /// Starts the services and the proxy, which may not be able to reach them.
    pub(crate) fn launch(kind: &'static Kind, upstream: Upstream, setup: Setup) -> Self {
        let (port, mut services) = (free_port(), Vec::new());
        let mut config = kind.config(upstream, port);
        for [from, to] in setup.edits {
            assert!(config.contains(from), "{}: no {from:?}", kind.name);
            config = config.replace(from, to);
        }
        if !setup.checked {
            let lines = config.lines().filter(|line| !line.contains("10.0.0.12"));
            config = lines
                .map(|line| line.replace("500ms", "60s") + "\n")
                .collect();
        }
        while config.contains("8080") {
            let port = free_port();
            services.push(start(port, setup.settings));
            config = config.replacen("8080", &port.to_string(), 1);
        }
        config = config
            .replace("10.0.0.11", "127.0.0.1")
            .replace("10.0.0.12", "127.0.0.1");
        let folder = tempfile::tempdir().expect("a folder");
        let child = spawn(kind, &folder, &config, port);
        Self {
            kind,
            upstream,
            port,
            services,
            settings: setup.settings,
            child,
            folder,
        }
    }

    /// The name of this proxy in failures.
    pub(crate) fn name(&self) -> String {
        format!("{} over {}", self.kind.name, self.upstream)
    }

    /// Waits until the proxy sends requests to all services.
    pub(crate) fn wait_for_all(&self) {
        let mut missing: Vec<_> = self.services.iter().map(|it| it.id().to_string()).collect();
        wait_for(&self.name(), || {
            let answer = Client::default().request(self.port, "GET", "/", b"").ok()?;
            missing.retain(|id| answer.status != 200 || answer.body != *id);
            missing.is_empty().then_some(())
        });
    }

    /// Stops one of the services with SIGTERM, and starts the next one on the same port. Returns what was wrong.
    pub(crate) fn restart(&mut self, index: usize) -> Option<String> {
        self.restart_and(index, |_| ())
    }

    /// The same, with something to do while there is none.
    pub(crate) fn restart_and(
        &mut self,
        index: usize,
        meanwhile: impl FnOnce(&Self),
    ) -> Option<String> {
        let service = self.services.remove(index);
        let port = service.main().address().port();
        let ended = service.stop();
        meanwhile(self);
        self.services.insert(index, start(port, self.settings));
        (ended.code != Some(0))
            .then(|| format!("the stop ended with {:?}: {}", ended.code, ended.stopped()))
    }

    /// Whether it sends requests on connections that a GOAWAY has ended, and answers 502 or 503: as Apache's
    /// mod_proxy_http2 does. No server can help that; see docs/proxies.md.
    pub(crate) fn ignores_goaway(&self) -> bool {
        self.kind.name == "apache" && self.upstream == Upstream::H2c
    }

    /// The output of the proxy.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
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
            let log = self.log();
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

/// docs/proxies.md.
pub(crate) fn page() -> String {
    fs::read_to_string(root().join("docs/proxies.md")).expect("docs/proxies.md")
}

/// The text between two markers of the page.
pub(crate) fn section<'a>(page: &'a str, mark: &str) -> &'a str {
    let begin = format!("<!-- {mark}: begin -->\n");
    let end = format!("<!-- {mark}: end -->");
    let text = page
        .split_once(&begin)
        .and_then(|(_, rest)| rest.split_once(&end));
    text.unwrap_or_else(|| panic!("docs/proxies.md has no {mark:?}"))
        .0
}

/// The configuration that the page has for a proxy.
pub(crate) fn documented(name: &str) -> String {
    let page = page();
    let lines: Vec<_> = section(&page, name).lines().collect();
    // Without its fence.
    lines[1..lines.len() - 1].join("\n") + "\n"
}
