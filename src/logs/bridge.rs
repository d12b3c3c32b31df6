//! Forwards records of the `log` crate to the log.

use std::sync::Arc;

use tracing::Level;
use tracing::level_filters::LevelFilter;

use super::Shared;
use super::line;
use super::write;

pub(super) struct Bridge(pub(super) Arc<Shared>);

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
            },
            |line| shared.push(level, line),
        );
    }

    fn flush(&self) {}
}

/// Tells the `log` macros which levels are worth a call.
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
