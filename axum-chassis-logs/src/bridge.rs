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
        write::boolean(self.0, value);
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
    // Both crates have the same names of levels.
    let level = level.to_string().parse();
    log::set_max_level(level.unwrap_or(log::LevelFilter::Trace));
}

fn level(level: log::Level) -> Level {
    level.as_str().parse().unwrap_or(Level::TRACE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_of_log_is_the_level_of_that_name() {
        let levels = [
            Level::ERROR,
            Level::WARN,
            Level::INFO,
            Level::DEBUG,
            Level::TRACE,
        ];
        assert!(log::Level::iter().map(level).eq(levels));
        for filter in log::LevelFilter::iter() {
            let text = filter.as_str().to_lowercase();
            let parsed: LevelFilter = text.parse().expect("a level");
            assert_eq!(parsed.to_string(), text);
            assert_eq!(parsed.to_string().parse(), Ok(filter));
        }
    }
}
