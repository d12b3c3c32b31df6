//! Parses log filters such as `info,sqlx=warn`.

use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::Targets;

/// The target of access lines.
pub(super) const ACCESS: &str = "access";

/// An invalid filter, and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidFilter {
    filter: String,
    reason: String,
}

impl std::fmt::Display for InvalidFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { filter, reason } = self;
        write!(
            f,
            "invalid log filter `{filter}`: {reason}; expected levels such as `info` or `info,sqlx=warn` \
             (off, error, warn, info, debug, trace)"
        )
    }
}

impl std::error::Error for InvalidFilter {}

/// The filter in force. `tracing` evaluates it once for each callsite, caches the result, and evaluates it again when the
/// filter changes. A line that the filter rejects therefore costs one atomic load.
pub(super) struct Filter {
    current: RwLock<(String, Targets)>,
    access: AtomicBool,
}

// === impl Filter ===

impl Filter {
    pub(super) fn new(filter: &str) -> Result<Self, InvalidFilter> {
        let targets = parse(filter)?;
        Ok(Self {
            access: wants_access(&targets).into(),
            current: RwLock::new((filter.to_owned(), targets)),
        })
    }

    /// Puts `filter` in force. The caller has to rebuild the callsites' interest.
    pub(super) fn set(&self, filter: &str) -> Result<(), InvalidFilter> {
        let targets = parse(filter)?;
        self.access.store(wants_access(&targets), Ordering::Relaxed);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) =
            (filter.to_owned(), targets);
        Ok(())
    }

    /// The filter as it was written.
    pub(super) fn text(&self) -> String {
        self.read(|text, _| text.to_owned())
    }

    pub(super) fn wants(&self, metadata: &Metadata<'_>) -> bool {
        self.wants_target(metadata.target(), metadata.level())
    }

    pub(super) fn wants_target(&self, target: &str, level: &Level) -> bool {
        self.read(|_, targets| targets.would_enable(target, level))
    }

    pub(super) fn wants_access(&self) -> bool {
        self.access.load(Ordering::Relaxed)
    }

    /// The most verbose level of any target.
    pub(super) fn max_level(&self) -> LevelFilter {
        self.read(|_, targets| {
            let levels = targets.iter().map(|(_, level)| level);
            levels
                .chain(targets.default_level())
                .max()
                .unwrap_or(LevelFilter::OFF)
        })
    }

    fn read<R>(&self, read: impl FnOnce(&str, &Targets) -> R) -> R {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        read(&current.0, &current.1)
    }
}

/// Checks that a filter is valid.
///
/// # Errors
///
/// If it is invalid.
pub fn check(filter: &str) -> Result<(), InvalidFilter> {
    parse(filter).map(drop)
}

fn parse(filter: &str) -> Result<Targets, InvalidFilter> {
    let bad = |reason: &str| InvalidFilter {
        filter: filter.to_owned(),
        reason: reason.to_owned(),
    };
    if filter.trim().is_empty() {
        return Err(bad("it is empty"));
    }
    if filter.contains(['[', ']', '{', '}']) {
        return Err(bad("filters by spans and fields are not supported"));
    }
    for directive in filter.split(',').map(str::trim) {
        let (target, level) = match directive.rsplit_once('=') {
            Some((target, level)) => (target.trim(), level.trim()),
            None => ("", directive),
        };
        if target.is_empty() && directive.contains('=') {
            return Err(bad("a target is missing before `=`"));
        }
        if target.contains('=') {
            return Err(bad(&format!("`{directive}` has more than one `=`")));
        }
        // `Targets` would take a misspelled level for the name of a target, and an empty text for the level `error`.
        if level.is_empty() || LevelFilter::from_str(level).is_err() {
            return Err(bad(&format!("`{level}` is not a level")));
        }
    }
    Targets::from_str(filter).map_err(|error| bad(&error.to_string()))
}

fn wants_access(targets: &Targets) -> bool {
    targets.would_enable(ACCESS, &Level::INFO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_matching_target_decides() {
        let filter = Filter::new("warn,app=debug,app::noisy=off").expect("a filter");
        for (target, level, wanted) in [
            ("other", Level::WARN, true),
            ("other", Level::INFO, false),
            ("app::orders", Level::DEBUG, true),
            ("app::noisy::inner", Level::ERROR, false),
        ] {
            assert_eq!(
                filter.wants_target(target, &level),
                wanted,
                "{target} {level}"
            );
        }
        assert_eq!(filter.max_level(), LevelFilter::DEBUG);
        assert!(!filter.wants_access());
    }

    #[test]
    fn access_lines_have_a_target_of_their_own() {
        let filter = Filter::new("info").expect("a filter");
        assert!(filter.wants_access());
        filter.set("info,access=off").expect("a filter");
        assert!(!filter.wants_access());
        filter.set("off,access=info").expect("a filter");
        assert!(filter.wants_access());
    }

    #[test]
    fn an_invalid_filter_is_rejected_with_a_reason() {
        for (filter, reason) in [
            ("", "empty"),
            ("inof", "`inof` is not a level"),
            ("info,", "`` is not a level"),
            ("sqlx=loud", "`loud` is not a level"),
            ("=info", "target is missing"),
            ("a=b=info", "more than one"),
            ("app[span{field=1}]=debug", "spans and fields"),
        ] {
            let message = check(filter).expect_err(filter).to_string();
            assert!(message.contains(reason), "{filter}: {message}");
            assert!(message.contains("`info,sqlx=warn`"), "{message}");
        }
    }
}
