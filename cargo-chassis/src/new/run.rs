//! Runs a new service: waits until it is ready, prints its URLs, and forwards signals.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ExitCode, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::cargo::cargo;
use crate::status::status;

const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn run(name: &str, folder: &Path, has_example: bool) -> anyhow::Result<ExitCode> {
    let main = free_port(8080, &[])?;
    let admin = free_port(9090, &[main])?;

    // The handlers are installed before the service starts, so that no signal is missed in between.
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    status("Starting", name);
    let mut service = cargo(folder)
        .args(["run", "--quiet"])
        .env("APP__SERVER__PORT", main.to_string())
        .env("APP__ADMIN__PORT", admin.to_string())
        .stdin(Stdio::null())
        // In a process group of its own, the service gets the signal of Ctrl-C only once, forwarded by this program. In
        // the same group, the terminal would send it too, and the second signal would abort the shutdown.
        .process_group(0)
        .spawn()
        .context("cannot start cargo")?;
    let pid = Pid::from_child(&service);
    thread::spawn(move || {
        for signal in signals.forever() {
            if let Some(signal) = Signal::from_named_raw(signal) {
                // This fails only if the service has already ended.
                let _ = kill_process(pid, signal);
            }
        }
    });

    if let Some(ended) = wait_until_ready(&mut service, admin)? {
        status("Ended", format_args!("{name} before it was ready: {ended}"));
        return Ok(exit_code(ended));
    }
    show(name, main, admin, has_example);
    Ok(exit_code(service.wait()?))
}

/// Waits until the service is ready. Returns `Some` if the service ended before that.
fn wait_until_ready(service: &mut Child, admin: u16) -> anyhow::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(ended) = service.try_wait()? {
            return Ok(Some(ended));
        }
        if matches!(get(admin, "/health/readiness"), Ok((200, _))) {
            return Ok(None);
        }
        if Instant::now() > deadline {
            service.kill()?;
            bail!("the service was not ready within {} s", PATIENCE.as_secs());
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Prints URLs to try, each with its current response.
fn show(name: &str, main: u16, admin: u16, has_example: bool) {
    let mut urls = vec![
        (main, "/"),
        (main, "/health/readiness"),
        (admin, "/version"),
        (admin, "/metrics"),
    ];
    if has_example {
        urls.insert(1, (main, "/orders"));
    }
    // All requests are sent before the first line is printed, so that the service's access lines are not printed in
    // between.
    let shown = urls.into_iter().map(|(port, path)| {
        let url = format!("http://localhost:{port}{path}");
        match get(port, path) {
            Ok((status, body)) => format!("  {url:<40} {status}  {}", summary(&body)),
            Err(error) => format!("  {url:<40} {error}"),
        }
    });
    let shown: Vec<String> = shown.collect();
    status(
        "Ready",
        format_args!("{name} is ready. Try, in another terminal:"),
    );
    eprintln!("{}", shown.join("\n"));
    if has_example {
        eprintln!(
            r#"  curl --json '{{"reference":"A-1","item":"tea","quantity":2}}' http://localhost:{main}/orders"#
        );
    }
    eprintln!("Everything else is on http://localhost:{admin}/. Ctrl-C stops the service.");
}

/// The first line of a body, shortened to the width of a screen, and the number of lines that follow.
fn summary(body: &str) -> String {
    let mut lines = body.lines();
    let first = lines.next().unwrap_or_default();
    let mut shown: String = first.chars().take(60).collect();
    if shown.len() < first.len() {
        shown.push('…');
    }
    match lines.count() {
        0 => shown,
        more => format!("{shown}  (and {more} lines more)"),
    }
}

/// The wanted port, or the next port above it that is free.
fn free_port(wanted: u16, taken: &[u16]) -> anyhow::Result<u16> {
    let free = (wanted..wanted.saturating_add(100))
        .filter(|port| !taken.contains(port))
        .find(|port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok())
        .with_context(|| format!("no free port from {wanted} on"))?;
    if free != wanted {
        status(
            "Note",
            format_args!("port {wanted} is in use; using port {free} instead"),
        );
    }
    Ok(free)
}

/// Sends a GET request with `minreq`, as `cargo chassis check` does. It is one crate without dependencies, so neither
/// needs an HTTP client of its own.
fn get(port: u16, path: &str) -> anyhow::Result<(u16, String)> {
    let request = minreq::get(format!("http://127.0.0.1:{port}{path}"));
    let response = request
        .with_follow_redirects(false)
        .with_timeout(5)
        .send()?;
    Ok((response.status_code, response.as_str()?.to_owned()))
}

/// The service's exit code. If a signal ended the service, it is 128 plus the signal's number, as in a shell.
fn exit_code(ended: ExitStatus) -> ExitCode {
    let code = ended
        .code()
        .or_else(|| ended.signal().map(|signal| 128 + signal));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
