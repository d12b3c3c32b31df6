//! A running program, and its output and exit code after its end.

use std::process::Child;
use std::sync::MutexGuard;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use serde_json::Value;

use crate::listener::{Listener, Response};
use crate::output::{Ending, OutputStream};
use crate::subject::Subject;
use crate::{Headers, Kept};

/// A running program, on free ports of this machine. Dropping it kills the program.
#[derive(Debug)]
pub struct Process {
    subject: Subject,
    child: Child,
    /// Those of every request to the main listener.
    headers: Headers,
    /// Waits for the end of the process without reaping it. Until the process is reaped, no other process can get its
    /// ID.
    waiter: Option<JoinHandle<()>>,
    /// Dropped last, when the process has ended.
    #[expect(dead_code, reason = "kept")]
    kept: Kept,
}

/// The result of a program that has ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Ended {
    /// The exit code; `None` if a signal ended the process.
    pub code: Option<i32>,
    /// The lines of the log, oldest first.
    pub log: Vec<Value>,
    /// The standard output, including the log.
    pub stdout: String,
    /// The standard error.
    pub stderr: String,
}

/// While this guard exists, the process's output is not read.
#[derive(Debug)]
pub struct HeldOutput<'a>(#[expect(dead_code, reason = "held")] MutexGuard<'a, ()>);

// === impl Process ===

impl Process {
    pub(crate) fn watch(
        name: String,
        mut child: Child,
        timeout: Duration,
        headers: Headers,
        kept: Kept,
    ) -> Self {
        let subject = Subject::new(name, timeout);
        let output = &subject.output;
        if let Some(stdout) = child.stdout.take() {
            output.read(OutputStream::Out, stdout);
        }
        if let Some(stderr) = child.stderr.take() {
            output.read(OutputStream::Err, stderr);
        }
        let (told, id) = (output.clone(), WaitId::Pid(Pid::from_child(&child)));
        let waiter = thread::spawn(move || {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            let ended = rustix::io::retry_on_intr(|| waitid(id.clone(), options));
            let status = ended.ok().flatten();
            told.end(Ending {
                code: status.as_ref().and_then(|status| status.exit_status()),
                signal: status
                    .as_ref()
                    .and_then(|status| status.terminating_signal()),
            });
        });
        Self {
            subject,
            child,
            headers,
            waiter: Some(waiter),
            kept,
        }
    }

    /// The main listener, which serves the service's routes. Waits until it is open.
    ///
    /// # Panics
    /// If it does not open in time, or is a Unix socket.
    #[track_caller]
    pub fn main(&self) -> Listener<'_> {
        self.listener("main", &self.headers)
    }

    /// The admin listener. Waits until it is open, which is before the service's own start.
    ///
    /// # Panics
    /// If it does not open in time.
    #[track_caller]
    pub fn admin(&self) -> Listener<'_> {
        self.listener("admin", &[])
    }

    #[track_caller]
    fn listener<'a>(&'a self, name: &str, headers: &'a [(String, String)]) -> Listener<'a> {
        let is_it = |line: &Value| line["message"] == "listening" && line["listener"] == name;
        let line = self.wait_for(&format!("open its {name} listener"), is_it);
        match line["address"].as_str().map(str::parse) {
            Some(Ok(address)) => Listener::new(&self.subject, address, headers),
            _ => self.subject.fail(
                "listens on a Unix socket, which this client cannot use: connect to the path yourself",
            ),
        }
    }

    /// Waits until the service is ready, according to `/health/readiness` of the admin listener. This is requested
    /// again after each line of the log, because each change of the readiness is logged.
    ///
    /// # Panics
    /// If the process ends, or does not become ready. The message then has the state of its readiness checks.
    #[track_caller]
    pub fn wait_until_ready(&self) {
        let deadline = self.subject.deadline();
        let admin = self.admin();
        loop {
            let seen = self.subject.output.lock().log.len();
            let answer = admin.ask("GET", "/health/readiness", &[], Bytes::new());
            if answer.as_ref().is_ok_and(|answer| answer.status == 200) {
                return;
            }
            let more = self.subject.output.wait_until(deadline, |state| {
                let more = state.log.len() > seen;
                (more || state.no_more()).then_some(more)
            });
            if more != Some(true) {
                let report = answer.map_or_else(|error| error, |answer| answer.text().to_owned());
                self.subject.give_up(&format!("get ready ({report})"));
            }
        }
    }

    /// Waits for the main listener, and sends a `GET` request to it.
    ///
    /// # Panics
    /// If there is no response.
    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        self.main().get(path)
    }

    /// Waits for the main listener, and sends a `POST` request with a JSON body: a [`Value`], or any text.
    ///
    /// # Panics
    /// If there is no response.
    #[track_caller]
    pub fn post(&self, path: &str, json: impl ToString) -> Response {
        self.main().post(path, json)
    }

    /// Waits for the main listener, and sends any request to it.
    ///
    /// # Panics
    /// If there is no response, or the request is invalid.
    #[track_caller]
    pub fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Response {
        self.main().request(method, path, headers, body)
    }

    /// The lines of the log so far. Lines of standard output that are not JSON objects are not included.
    #[must_use]
    pub fn log(&self) -> Vec<Value> {
        self.subject.output.lock().log.clone()
    }

    /// Waits for a line of the log for which `wanted` returns true, and returns the first such line since the start.
    ///
    /// # Panics
    /// If the process ends without such a line, or the timeout is over.
    #[track_caller]
    pub fn wait_for_line(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        self.wait_for("log the line that is wanted", wanted)
    }

    /// Waits for a line of the log with this message, and returns the first such line since the start.
    ///
    /// # Panics
    /// If the process ends without such a line, or the timeout is over.
    #[track_caller]
    pub fn wait_for_message(&self, message: &str) -> Value {
        self.wait_for(&format!("log {message:?}"), |line| {
            line["message"] == message
        })
    }

    #[track_caller]
    fn wait_for(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = self.subject.deadline();
        let mut seen = 0;
        loop {
            // `wanted` is called without the lock, because it may send a request to the process. The lines are cloned
            // one at a time, because most wanted lines are among the first of many.
            let next = self.subject.output.wait_until(deadline, |state| {
                let next = state.log.get(seen).cloned();
                (next.is_some() || state.no_more()).then_some(next)
            });
            let Some(line) = next.flatten() else {
                self.subject.give_up(what);
            };
            if wanted(&line) {
                return line;
            }
            seen += 1;
        }
    }

    /// Stops reading the process's output until the guard is dropped, to test a service whose log is not read.
    #[must_use]
    pub fn hold_output(&self) -> HeldOutput<'_> {
        HeldOutput(self.subject.output.hold())
    }

    /// The process ID.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to the process. Does nothing if the process has ended already.
    ///
    /// # Panics
    /// If the operating system refuses to send the signal.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        if let Err(error) = kill_process(Pid::from_child(&self.child), signal) {
            self.subject
                .fail(&format!("cannot be sent {signal:?}: {error}"));
        }
    }

    /// Sends SIGTERM to the process, as Kubernetes does for a graceful shutdown.
    ///
    /// # Panics
    /// If the operating system refuses to send the signal.
    #[track_caller]
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends SIGTERM for a graceful shutdown, and waits until the process ends.
    ///
    /// # Panics
    /// If the process does not end in time.
    #[track_caller]
    pub fn stop(self) -> Ended {
        self.terminate();
        self.wait()
    }

    /// Waits until the process ends.
    ///
    /// # Panics
    /// If the process does not end in time, or if a process that it started keeps its output open.
    #[track_caller]
    pub fn wait(self) -> Ended {
        let over = self
            .subject
            .output
            .wait_until(self.subject.deadline(), |state| {
                state.no_more().then_some(state.flooded)
            });
        if over != Some(false) {
            self.subject.give_up("come to its end");
        }
        let mut state = self.subject.output.lock();
        let text =
            |bytes: &mut Vec<u8>| String::from_utf8_lossy(&std::mem::take(bytes)).into_owned();
        Ended {
            code: state.ending.and_then(|ending| ending.code),
            log: std::mem::take(&mut state.log),
            stdout: text(&mut state.stdout),
            stderr: text(&mut state.stderr),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if thread::panicking() {
            // The test harness shows this output below the panic of the test.
            self.subject.show();
        }
        let _ = self.child.kill();
        if let Some(waiter) = self.waiter.take() {
            let _ = waiter.join();
        }
        let _ = self.child.wait();
    }
}

// === impl Ended ===

impl Ended {
    /// The first line of the log with this message.
    ///
    /// # Panics
    /// If there is no such line. The message then has the whole log.
    #[track_caller]
    pub fn message(&self, message: &str) -> &Value {
        let line = self.log.iter().find(|line| line["message"] == message);
        line.unwrap_or_else(|| panic!("no {message:?} in {:#?}\n{}", self.log, self.stderr))
    }

    /// The log line `stopped` with the result of the shutdown: `aborted`, the connections that were still open at
    /// the deadline, `aborted_tasks`, `failed_hooks`, and `duration_ms`.
    ///
    /// # Panics
    /// If there is no such line, because the process did not complete its shutdown. The message then has the whole log.
    #[track_caller]
    pub fn stopped(&self) -> &Value {
        self.message("stopped")
    }
}
