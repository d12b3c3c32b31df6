//! Forwards records of the `log` crate to the log.

use std::collections::BTreeSet;
use std::sync::Arc;

use log::kv::{self, VisitSource, VisitValue};
use tracing::Level;
use tracing::level_filters::LevelFilter;

use super::LogsState;
use super::line::{self, Line};
use super::write;

pub(super) struct Bridge(pub(super) Arc<LogsState>);

impl log::Log for Bridge {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        let level = level(metadata.level());
        self.0.filter.wants_target(metadata.target(), &level)
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let shared = &*self.0;
        let level = level(record.level());
        line::build(
            shared.style,
            level,
            record.target(),
            record.args(),
            |line| {
                if let Some(file) = record.file_static() {
                    line.field("file", |out| write::string(out, file));
                }
                let mut pairs = Pairs {
                    line,
                    seen: BTreeSet::new(),
                };
                // The visit ends early only if a source of pairs or a visitor fails. This visitor does not fail.
                let _ = record.key_values().visit(&mut pairs);
            },
            |line| shared.push(level, line),
        );
    }

    fn flush(&self) {}
}

/// Writes the key-values of a record as fields.
struct Pairs<'l> {
    line: &'l mut Line,
    seen: BTreeSet<String>,
}

impl<'kvs> VisitSource<'kvs> for Pairs<'_> {
    fn visit_pair(&mut self, key: kv::Key<'kvs>, value: kv::Value<'kvs>) -> Result<(), kv::Error> {
        if self.seen.insert(key.as_str().to_owned()) {
            self.line.pair(key.as_str(), |out| {
                let is_written = value.visit(AsJson(out)).is_ok();
                debug_assert!(is_written);
            });
        }
        Ok(())
    }
}

/// Writes a value as `tracing`'s fields are written.
struct AsJson<'o>(&'o mut Vec<u8>);

impl VisitValue<'_> for AsJson<'_> {
    fn visit_any(&mut self, value: kv::Value<'_>) -> Result<(), kv::Error> {
        write::display(self.0, value);
        Ok(())
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), kv::Error> {
        self.0
            .extend_from_slice(if value { b"true" } else { b"false" });
        Ok(())
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), kv::Error> {
        write::integer(self.0, value);
        Ok(())
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), kv::Error> {
        write::integer(self.0, value);
        Ok(())
    }

    fn visit_f64(&mut self, value: f64) -> Result<(), kv::Error> {
        write::float(self.0, value);
        Ok(())
    }
}

/// Sets the most verbose level for the `log` macros.
pub(super) fn set_max_level(level: LevelFilter) {
    log::set_max_level(match level.into_level() {
        None => log::LevelFilter::Off,
        Some(Level::ERROR) => log::LevelFilter::Error,
        Some(Level::WARN) => log::LevelFilter::Warn,
        Some(Level::INFO) => log::LevelFilter::Info,
        Some(Level::DEBUG) => log::LevelFilter::Debug,
        Some(Level::TRACE) => log::LevelFilter::Trace,
    });
}

fn level(level: log::Level) -> Level {
    match level {
        log::Level::Error => Level::ERROR,
        log::Level::Warn => Level::WARN,
        log::Level::Info => Level::INFO,
        log::Level::Debug => Level::DEBUG,
        log::Level::Trace => Level::TRACE,
    }
}
