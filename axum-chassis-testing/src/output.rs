//! Captures the output of a process. Separate threads read it all the time, because a service drops log lines that are
//! not read. Each new line, and the end of the process, wakes the waiting test.

use std::io::{ErrorKind, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use serde_json::{Map, Value};

/// The maximum number of bytes that are kept. It is far more than a test needs, and less than the memory of a machine.
const MOST: usize = 64 * 1024 * 1024;
/// The number of last lines that a panic shows, and the maximum width of each line.
const TAIL_LINES: usize = 20;
const TAIL_WIDTH: usize = 500;

/// The output and the exit status of a process. Cheap to clone; clones share their state.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProcessOutput(Arc<SharedOutput>);

#[derive(Debug, Default)]
struct SharedOutput {
    state: Mutex<OutputState>,
    changed: Condvar,
    gate: Mutex<()>,
}

/// The output so far.
#[derive(Debug, Default)]
pub(crate) struct OutputState {
    /// Lines of standard output that are JSON objects. Other lines come from other sources, such as a runtime's warning or
    /// the harness of a test that is run as a program.
    pub(crate) log: Vec<Value>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    /// The part of `stdout` that has been searched for lines.
    taken: usize,
    /// The number of outputs (standard output and standard error) that are still open.
    open: usize,
    pub(crate) ending: Option<Ending>,
    pub(crate) flooded: bool,
}

/// The exit code or signal of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutputStream {
    Out,
    Err,
}

// === impl ProcessOutput ===

impl ProcessOutput {
    /// Starts a thread that reads an output to its end.
    pub(crate) fn read(&self, stream: OutputStream, mut from: impl Read + Send + 'static) {
        self.lock().open += 1;
        let output = self.clone();
        thread::spawn(move || {
            let mut chunk = vec![0; 64 * 1024];
            loop {
                drop(output.hold());
                match from.read(&mut chunk) {
                    Ok(0) => break,
                    Ok(length) => output.change(|state| state.hear(stream, &chunk[..length])),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
            output.change(|state| state.close(stream));
        });
    }

    /// Stops reading as long as the guard exists.
    pub(crate) fn hold(&self) -> MutexGuard<'_, ()> {
        self.0.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn end(&self, ending: Ending) {
        self.change(|state| state.ending = Some(ending));
    }

    /// Calls the function now and at each change until it returns a value. Returns `None` at the deadline.
    pub(crate) fn wait_until<T>(
        &self,
        deadline: Instant,
        mut ask: impl FnMut(&OutputState) -> Option<T>,
    ) -> Option<T> {
        let mut state = self.lock();
        loop {
            if let Some(answer) = ask(&state) {
                return Some(answer);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            let waited = self.0.changed.wait_timeout(state, left);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, OutputState> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut OutputState)) {
        change(&mut self.lock());
        self.0.changed.notify_all();
    }
}

// === impl OutputState ===

impl OutputState {
    /// Whether the process has ended, and all its output has been read.
    pub(crate) fn is_over(&self) -> bool {
        self.ending.is_some() && self.open == 0
    }

    /// Whether no awaited event can happen any more.
    pub(crate) fn no_more(&self) -> bool {
        self.flooded || self.is_over()
    }

    fn hear(&mut self, stream: OutputStream, chunk: &[u8]) {
        if self.stdout.len() + self.stderr.len() + chunk.len() > MOST {
            self.flooded = true;
            return;
        }
        match stream {
            OutputStream::Err => self.stderr.extend_from_slice(chunk),
            OutputStream::Out => {
                self.stdout.extend_from_slice(chunk);
                if let Some(last) = chunk.iter().rposition(|byte| *byte == b'\n') {
                    self.take_lines(self.stdout.len() - chunk.len() + last + 1);
                }
            }
        }
    }

    fn close(&mut self, stream: OutputStream) {
        self.open -= 1;
        if stream == OutputStream::Out {
            // The last line may have no line end.
            self.take_lines(self.stdout.len());
        }
    }

    fn take_lines(&mut self, end: usize) {
        let lines = self.stdout[self.taken..end].split(|byte| *byte == b'\n');
        let objects = lines.filter_map(|line| serde_json::from_slice::<Map<_, _>>(line).ok());
        self.log.extend(objects.map(Value::Object));
        self.taken = end;
    }

    /// The last lines of the process's output, and its exit code if it has ended.
    pub(crate) fn tail(&self) -> String {
        let state = match self.ending {
            None => "it is still running".to_owned(),
            Some(Ending {
                code: Some(code), ..
            }) => format!("it ended with exit code {code}"),
            Some(Ending { signal, .. }) => {
                format!("it was ended by signal {}", signal.unwrap_or_default())
            }
        };
        let mut tail = format!("{state}; its output was:\n");
        for (name, output) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            let text = String::from_utf8_lossy(output);
            let lines: Vec<&str> = text.lines().collect();
            let left_out = lines.len().saturating_sub(TAIL_LINES);
            if left_out > 0 {
                tail += &format!("  {name}: ... {left_out} lines before\n");
            }
            for line in &lines[left_out..] {
                let shown = line.char_indices().nth(TAIL_WIDTH);
                match shown {
                    None => tail += &format!("  {name}: {line}\n"),
                    Some((end, _)) => {
                        let rest = line.len() - end;
                        tail += &format!("  {name}: {} ... {rest} bytes more\n", &line[..end]);
                    }
                }
            }
        }
        tail
    }
}
