//! The two formats of a log line, JSON and text, and the buffers that lines are built in.

use std::cell::Cell;
use std::fmt;
use std::time::Instant;

use tracing::Level;

use super::filter::ACCESS;
use super::write;
use crate::trace::{self, Ids};

/// Keys of the line itself. A field with such a name is written as `field.NAME`.
const OWN: [&str; 4] = ["timestamp", "level", "target", "message"];
/// Keys of the line itself while a request is served.
const IDS: [&str; 3] = ["request_id", "trace_id", "span_id"];

/// The start of a JSON line.
const START: &[u8] = b"{\"timestamp\":\"";

/// The format of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// One flat JSON object.
    Json,
    /// For people: `TIME LEVEL target: message key=value`.
    Text { colours: bool },
}

/// A line that is being built, in reusable buffers of the thread.
pub(super) struct Line {
    pub(super) style: Style,
    pub(super) out: Vec<u8>,
    /// The keys written so far.
    keys: Vec<&'static str>,
    /// Keys of the line itself, in addition to [`OWN`].
    reserved: &'static [&'static str],
}

#[derive(Default)]
struct Buffers {
    out: Vec<u8>,
    keys: Vec<&'static str>,
}

thread_local! {
    static BUFFERS: Cell<Buffers> = const { Cell::new(Buffers { out: Vec::new(), keys: Vec::new() }) };
}

// === impl Line ===

impl Line {
    /// Starts a line, up to the message.
    pub(super) fn start(style: Style, level: Level, target: &str) -> Self {
        let mut line = Self::empty(style);
        line.head(level, target);
        line
    }

    fn empty(style: Style) -> Self {
        // If a value logs something while it is written, the buffers are in use, so that line gets new ones.
        let Buffers { out, keys } = BUFFERS.try_with(Cell::take).unwrap_or_default();
        Self {
            style,
            out,
            keys,
            reserved: &[],
        }
    }

    /// Ends the line with the IDs of the current request, if any, and queues it.
    pub(super) fn finish(mut self, ids: Option<&Ids>, hand_over: impl FnOnce(&[u8])) {
        if let Some(ids) = ids {
            self.ids(ids);
        }
        if self.style == Style::Json {
            self.out.push(b'}');
        }
        self.out.push(b'\n');
        hand_over(&self.out);
        let Self {
            mut out, mut keys, ..
        } = self;
        out.clear();
        keys.clear();
        // Do not keep the memory of one huge line.
        if out.capacity() <= 64 * 1024 {
            let _ = BUFFERS.try_with(|buffers| buffers.set(Buffers { out, keys }));
        }
    }

    fn head(&mut self, level: Level, target: &str) {
        let out = &mut self.out;
        match self.style {
            Style::Json => {
                out.extend_from_slice(START);
                write::now(out);
                out.extend_from_slice(b"\",\"level\":\"");
                out.extend_from_slice(level.as_str().as_bytes());
                out.extend_from_slice(b"\",\"target\":");
                write::string(out, target);
            }
            Style::Text { colours } => {
                let (dim, colour, reset) = match colours {
                    true => ("\x1b[2m", colour(level), "\x1b[0m"),
                    false => ("", "", ""),
                };
                out.extend_from_slice(dim.as_bytes());
                write::now(out);
                for part in [reset, " ", colour] {
                    out.extend_from_slice(part.as_bytes());
                }
                out.extend_from_slice(&b"     "[level.as_str().len()..]);
                for part in [level.as_str(), reset, " ", dim] {
                    out.extend_from_slice(part.as_bytes());
                }
                write::escaped(out, target);
                out.extend_from_slice(b":");
                out.extend_from_slice(reset.as_bytes());
            }
        }
    }

    /// Writes a message unless it is empty; returns whether it did.
    pub(super) fn message_if_any(&mut self, message: impl fmt::Display) -> bool {
        let start = self.out.len();
        self.message(message);
        let is_empty = match self.style {
            // Quotation marks within a message are escaped, so only an empty message ends like this.
            Style::Json => self.out.ends_with(b":\"\""),
            Style::Text { .. } => self.out.len() == start + 1,
        };
        if is_empty {
            self.out.truncate(start);
        }
        !is_empty
    }

    /// Writes the message; to be called once, before any field.
    pub(super) fn message(&mut self, message: impl fmt::Display) {
        match self.style {
            Style::Json => {
                self.out.extend_from_slice(b",\"message\":");
                write::display(&mut self.out, message);
            }
            Style::Text { .. } => {
                self.out.push(b' ');
                write::display_escaped(&mut self.out, message);
            }
        }
    }

    /// From here on, fields with the names of a request's IDs are renamed.
    pub(super) fn in_request(&mut self) {
        self.reserve(&IDS);
    }

    /// From here on, fields with these names are renamed.
    pub(super) fn reserve(&mut self, keys: &'static [&'static str]) {
        self.reserved = keys;
    }

    /// Writes a field whose value is JSON, unless the line has this key already.
    pub(super) fn field(&mut self, name: &'static str, value: impl FnOnce(&mut Vec<u8>)) {
        let name = name.strip_prefix("r#").unwrap_or(name);
        if self.keys.contains(&name) {
            return;
        }
        self.keys.push(name);
        self.key(name);
        value(&mut self.out);
    }

    /// Like `field`, without recording the key.
    pub(super) fn pair(&mut self, name: &str, value: impl FnOnce(&mut Vec<u8>)) {
        if !self.keys.contains(&name) {
            self.key(name);
            value(&mut self.out);
        }
    }

    fn key(&mut self, name: &str) {
        let own = OWN.contains(&name)
            || self.reserved.contains(&name)
            // Fields with this prefix are renamed too, so that they do not look like renamed ones.
            || name.starts_with("field.");
        let prefix = if own { "field." } else { "" };
        let out = &mut self.out;
        match self.style {
            Style::Json => {
                out.extend_from_slice(b",\"");
                out.extend_from_slice(prefix.as_bytes());
                write::escaped(out, name);
                out.extend_from_slice(b"\":");
            }
            Style::Text { .. } => self.text_key(prefix, name),
        }
    }

    fn text_key(&mut self, prefix: &str, name: &str) {
        let [dim, reset] = match self.style {
            Style::Text { colours: true } => ["\x1b[2m", "\x1b[0m"],
            _ => [""; 2],
        };
        for part in [" ", dim, prefix] {
            self.out.extend_from_slice(part.as_bytes());
        }
        write::escaped(&mut self.out, name);
        for part in ["=", reset] {
            self.out.extend_from_slice(part.as_bytes());
        }
    }

    /// Starts the access line of a request. In JSON, everything up to the method is copied at once.
    pub(super) fn access(style: Style, ended: Instant) -> Self {
        if style != Style::Json {
            let mut line = Self::start(style, Level::INFO, ACCESS);
            line.message("request");
            return line;
        }
        let mut head = *b"{\"timestamp\":\"2026-01-31T23:59:59.123456Z\",\"level\":\"INFO\",\"target\":\"access\",\"message\":\"request\"";
        let (_, timestamp) = head.split_at_mut(START.len());
        timestamp[..27].copy_from_slice(&write::moment(ended));
        let mut line = Self::empty(style);
        line.out.extend_from_slice(&head);
        line
    }

    /// Starts a field whose key is not used yet and needs no escaping. `key` has the form `,"NAME":`.
    #[inline(always)]
    pub(super) fn known(&mut self, key: &'static [u8]) -> &mut Vec<u8> {
        match self.style {
            // This is inlined, so that a key is a few moves of known length: saves 252 instructions for each access line.
            Style::Json => self.out.extend_from_slice(key),
            Style::Text { .. } => self.text_key(
                "",
                std::str::from_utf8(&key[2..key.len() - 2]).unwrap_or_default(),
            ),
        }
        &mut self.out
    }

    /// Writes a field like [`known`](Self::known) whose value is a text. `key` has the form `,"NAME":"`.
    #[inline(always)]
    pub(super) fn known_text(&mut self, key: &'static [u8], value: impl FnOnce(&mut Vec<u8>)) {
        match self.style {
            Style::Json => self.out.extend_from_slice(key),
            Style::Text { .. } => self.known(&key[..key.len() - 1]).push(b'"'),
        }
        value(&mut self.out);
        self.out.push(b'"');
    }

    fn ids(&mut self, ids: &Ids) {
        // A request ID needs no escaping: it contains only visible ASCII without quotes.
        self.known_text(b",\"request_id\":\"", |out| {
            out.extend_from_slice(ids.request.as_bytes());
        });
        let (_, span, _) = ids.trace.as_numbers();
        let (trace, span) = (ids.trace.trace_digits(), trace::digits(span));
        match self.style {
            // To copy both at once saves 48 instructions for each line of a request.
            Style::Json => {
                let mut both = *b",\"trace_id\":\"4bf92f3577b34da6a3ce929d0e0e4736\",\"span_id\":\"00f067aa0ba902b7\"";
                both[13..45].copy_from_slice(&trace);
                both[58..74].copy_from_slice(&span);
                self.out.extend_from_slice(&both);
            }
            Style::Text { .. } => {
                self.known_text(b",\"trace_id\":\"", |out| out.extend_from_slice(&trace));
                self.known_text(b",\"span_id\":\"", |out| out.extend_from_slice(&span));
            }
        }
    }
}

/// Builds a line with a message and the current IDs, and queues it.
pub(super) fn build(
    style: Style,
    level: Level,
    target: &str,
    message: impl fmt::Display,
    fields: impl FnOnce(&mut Line),
    hand_over: impl FnOnce(&[u8]),
) {
    let mut line = Line::start(style, level, target);
    line.message(message);
    with_ids(|ids| {
        if ids.is_some() {
            line.in_request();
        }
        fields(&mut line);
        line.finish(ids, hand_over);
    });
}

/// Calls `run` with the IDs of the current request, if any.
pub(super) fn with_ids(run: impl FnOnce(Option<&Ids>)) {
    let mut run = Some(run);
    trace::with_current(|ids| run.take().map(|run| run(Some(ids))));
    if let Some(run) = run {
        run(None);
    }
}

fn colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG => "\x1b[34m",
        Level::TRACE => "\x1b[35m",
    }
}
