//! Collectors: a real one, to check spans, and listeners with scripted behavior.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use crate::program::{Setup, eventually};

/// Has the service export at once what it has to, without metrics and logs.
pub(crate) fn exporting(endpoint: &str) -> Setup {
    Setup::default()
        .variable("OTEL_METRICS_EXPORTER", "none")
        .variable("OTEL_LOGS_EXPORTER", "none")
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        .variable("OTEL_BSP_SCHEDULE_DELAY", 50)
}

/// A span, as the collector understood it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Span {
    pub(crate) resource: BTreeMap<String, String>,
    pub(crate) scope: String,
    pub(crate) trace: String,
    pub(crate) id: String,
    pub(crate) parent: String,
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) status: String,
    pub(crate) message: String,
    pub(crate) attributes: BTreeMap<String, String>,
}

/// rotel, an OpenTelemetry collector, as a process of its own.
pub(crate) struct Collector {
    child: Child,
    address: SocketAddr,
}

impl Collector {
    pub(crate) fn start() -> Self {
        // It cannot choose a port itself: one that somebody else took meanwhile is tried again.
        (0..5)
            .find_map(|_| Self::at(free(), free()))
            .expect("rotel, with two free ports")
    }

    fn at(http: SocketAddr, grpc: SocketAddr) -> Option<Self> {
        let child = Command::new("rotel")
            .args(["start", "--exporter", "blackhole", "--disable-batching"])
            .args([
                "--debug-log",
                "traces",
                "--debug-log",
                "metrics",
                "--debug-log",
                "logs",
                "--debug-log-verbosity",
                "detailed",
            ])
            .args(["--otlp-http-endpoint", &http.to_string()])
            .args(["--otlp-grpc-endpoint", &grpc.to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("rotel");
        let mut collector = Self {
            child,
            address: http,
        };
        let mut runs = true;
        eventually("rotel listens", || {
            runs = collector.child.try_wait().unwrap().is_none();
            !runs || TcpStream::connect(http).is_ok()
        });
        runs.then_some(collector)
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops it: everything that it wrote about what it took.
    pub(crate) fn output(mut self) -> String {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("a process that runs");
        let mut text = String::new();
        let mut output = self.child.stdout.take().unwrap();
        output.read_to_string(&mut text).unwrap();
        text
    }

    /// Stops it: the names of all the metrics that it took.
    pub(crate) fn metrics(self) -> BTreeSet<String> {
        let output = self.output();
        let name = |line: &str| Some(line.trim().strip_prefix("-> Name: ")?.to_owned());
        output.lines().filter_map(name).collect()
    }

    /// Stops it: all the spans that it took, in order.
    pub(crate) fn spans(self) -> Vec<Span> {
        let output = self.output();
        let mut resource = BTreeMap::new();
        let (mut scope, mut in_resource) = (String::new(), false);
        let mut spans: Vec<Span> = Vec::new();
        for line in output.lines() {
            if let Some((key, value)) = attribute(line) {
                let attributes = match spans.last_mut() {
                    Some(span) if !in_resource => &mut span.attributes,
                    _ => &mut resource,
                };
                attributes.insert(key, value);
            } else if line.starts_with("ResourceSpans #") {
                (resource, in_resource) = (BTreeMap::new(), true);
            } else if let Some(name) = line.strip_prefix("InstrumentationScope ") {
                scope = name.to_owned();
            } else if line.starts_with("Span #") {
                in_resource = false;
                spans.push(Span {
                    resource: resource.clone(),
                    scope: scope.clone(),
                    ..Span::default()
                });
            } else if let (Some(span), Some((key, value))) =
                (spans.last_mut(), line.split_once(':'))
            {
                let field = match key.trim() {
                    "Trace ID" => &mut span.trace,
                    "ID" => &mut span.id,
                    "Parent ID" => &mut span.parent,
                    "Name" => &mut span.name,
                    "Kind" => &mut span.kind,
                    "Status code" => &mut span.status,
                    "Status message" => &mut span.message,
                    _ => continue,
                };
                // Events have names of their own, further down.
                if field.is_empty() {
                    *field = value.trim().to_owned();
                }
            }
        }
        spans
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `     -> http.route: Str(/)`.
fn attribute(line: &str) -> Option<(String, String)> {
    let (key, value) = line.trim().strip_prefix("-> ")?.split_once(": ")?;
    let value = value.split_once('(')?.1.strip_suffix(')')?;
    Some((key.to_owned(), value.to_owned()))
}

fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// An address at which nobody listens.
pub(crate) fn unused_address() -> String {
    format!("http://{}", free())
}

/// Accepts what comes, and never answers.
pub(crate) struct Hanging {
    listener: TcpListener,
    asked: RefCell<Vec<TcpStream>>,
}

impl Hanging {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self {
            listener,
            asked: RefCell::default(),
        }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.listener.local_addr().unwrap())
    }

    /// Whether anybody has come.
    pub(crate) fn is_asked(&self) -> bool {
        let mut asked = self.asked.borrow_mut();
        asked.extend(self.listener.accept().map(|(stream, _)| stream));
        !asked.is_empty()
    }
}

/// Answers with these responses in turn, and with the last one from then on.
pub(crate) struct Answering {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
}

/// A response: its status, header lines, and body.
#[derive(Clone, Default)]
pub(crate) struct Answer {
    pub(crate) status: &'static str,
    pub(crate) headers: String,
    pub(crate) body: Vec<u8>,
}

/// A request that a collector received.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) path: String,
    /// The names are in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
    pub(crate) at: Instant,
}

impl Answering {
    pub(crate) fn start(statuses: &[&'static str]) -> Self {
        let answers = statuses.iter().map(|status| Answer {
            status,
            ..Answer::default()
        });
        Self::with(answers.collect())
    }

    pub(crate) fn with(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let seen = received.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let Ok(request) = receive(&stream) else {
                    continue;
                };
                let mut seen = seen.lock().unwrap();
                let answer = &answers[seen.len().min(answers.len() - 1)];
                seen.push(request);
                drop(seen);
                let Answer {
                    status,
                    headers,
                    body,
                } = answer;
                let head = format!(
                    "HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n",
                    body.len()
                );
                let _ = (&stream).write_all(&[head.as_bytes(), body].concat());
            }
        });
        Self { address, received }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The number of requests so far.
    pub(crate) fn requests(&self) -> usize {
        self.received.lock().unwrap().len()
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

pub(crate) fn receive(stream: impl Read) -> std::io::Result<Received> {
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_owned());
    }
    let lines = head[1..].iter().filter_map(|line| line.split_once(':'));
    let headers: BTreeMap<_, _> = lines
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect();
    let mut body = vec![0; headers["content-length"].parse().unwrap()];
    reader.read_exact(&mut body)?;
    Ok(Received {
        path: head[0].split(' ').nth(1).unwrap().to_owned(),
        headers,
        body,
        at: Instant::now(),
    })
}
