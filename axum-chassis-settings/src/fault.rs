//! Errors in the settings, all at once. `config` itself reports only one, and quotes the input.

use std::fmt;

use crate::Validate;
use crate::names::dotted;
use crate::redact;

/// All errors in the settings; `Display` is one line for each.
#[derive(Clone, Debug)]
pub struct Invalid {
    pub(crate) faults: Vec<Fault>,
}

/// One error in the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// The key, such as `server.port`; empty when the fault is that of a whole file.
    pub key: String,
    /// The invalid input and the expected form, without the values of secrets.
    pub message: String,
    /// The file and line, the environment variable or the flag that set it.
    pub origin: String,
    /// The known key with the most similar name.
    pub suggestion: Option<String>,
}

/// The errors that [`Validate`](crate::Validate) collects; `Display` is one line for each, without an origin.
#[derive(Debug, Default)]
pub struct ValidationErrors(pub(crate) Vec<(String, String)>);

/// The faults found so far, and the keys about which they leave a doubt.
#[derive(Default)]
pub(crate) struct Findings {
    pub(crate) faults: Vec<Fault>,
    /// Keys whose value was invalid or missing: no further errors are reported for them.
    spoilt: Vec<Vec<String>>,
    /// A whole file could not be read, so no key is reported as missing.
    pub(crate) unread: bool,
    /// Warnings, which are not errors.
    pub(crate) warnings: Vec<Fault>,
}

// === impl Findings ===

impl Findings {
    /// All faults. There is always at least one: a struct that rejects the settings without a reason is itself a fault.
    pub(crate) fn finish(mut self, origin: &str) -> Invalid {
        if self.faults.is_empty() {
            self.note(
                &[],
                origin,
                "the struct rejects values that its JSON Schema allows",
            );
        }
        Invalid {
            faults: self.faults,
        }
    }

    /// Adds a fault that does not invalidate a value.
    pub(crate) fn note(&mut self, path: &[String], origin: &str, message: impl AsRef<str>) {
        self.faults.push(Fault::new(path, origin, message));
    }

    /// Adds a fault for an invalid value, which is left out.
    pub(crate) fn spoil(&mut self, path: &[String], origin: &str, message: impl AsRef<str>) {
        self.note(path, origin, message);
        self.spoilt.push(path.to_vec());
    }

    /// Adds a fault for a whole file, directory or flag, which cannot be read.
    pub(crate) fn unreadable(&mut self, origin: &str, message: impl AsRef<str>) {
        self.note(&[], origin, message);
        self.unread = true;
    }

    /// Whether a fault has been found for this key, for a key within it, or for a table that contains it.
    pub(crate) fn is_spoilt(&self, path: &[String]) -> bool {
        let mut spoilt = self.spoilt.iter();
        spoilt.any(|spoilt| spoilt.starts_with(path) || path.starts_with(spoilt))
    }

    /// Whether all values of these sections are as they were written.
    pub(crate) fn are_sound<'a>(&self, mut sections: impl Iterator<Item = &'a String>) -> bool {
        !self.unread && sections.all(|section| !self.is_spoilt(std::slice::from_ref(section)))
    }
}

/// A fault is one line, even if a type's own error has several.
pub(crate) fn one_line(message: &str) -> String {
    message.replace(char::is_control, " ")
}

// === impl Fault ===

impl Fault {
    pub(crate) fn new(path: &[String], origin: &str, message: impl AsRef<str>) -> Self {
        Self {
            key: dotted(path),
            // The rules of a struct may quote a URL.
            message: one_line(&redact::redact_secrets(message.as_ref())),
            origin: origin.to_owned(),
            suggestion: None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => write!(f, "{}: {}", self.origin, self.message)?,
            key => write!(f, "{key}: {} ({})", self.message, self.origin)?,
        }
        let mut suggestion = self.suggestion.iter();
        suggestion.try_for_each(|key| write!(f, "; did you mean `{key}`?"))
    }
}

// === impl Invalid ===

impl Invalid {
    /// The faults: first those of the layers, lowest layer first, then missing keys, then broken rules.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.faults.iter().map(Fault::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Invalid {}

// === impl ValidationErrors ===

impl ValidationErrors {
    /// Adds an error for a key, such as `"orders.max"`, `"must be at least orders.min"`.
    pub fn add(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.0.push((key.into(), message.into()));
    }

    /// Adds the errors of a nested section. Its own rules use relative keys: `url` becomes
    /// `database.url` within `database`.
    ///
    /// ```
    /// use axum_chassis_settings::{Validate, ValidationErrors};
    ///
    /// struct Database {
    ///     url: String,
    /// }
    ///
    /// impl Validate for Database {
    ///     fn validate(&self, errors: &mut ValidationErrors) {
    ///         if self.url.is_empty() {
    ///             errors.add("url", "must be set");
    ///         }
    ///     }
    /// }
    ///
    /// struct Settings {
    ///     database: Database,
    /// }
    ///
    /// impl Validate for Settings {
    ///     fn validate(&self, errors: &mut ValidationErrors) {
    ///         errors.within("database", &self.database);
    ///     }
    /// }
    /// ```
    pub fn within(&mut self, key: &str, section: &impl Validate) {
        let mut found = Self::default();
        section.validate(&mut found);
        let found = found.0.into_iter();
        self.0
            .extend(found.map(|(below, message)| (format!("{key}.{below}"), message)));
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for ValidationErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (key, message)) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            let message = one_line(&redact::redact_secrets(message));
            write!(f, "{separator}{key}: {message}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ValidationErrors {}

#[cfg(test)]
mod tests {
    use super::*;

    struct Database;

    impl Validate for Database {
        fn validate(&self, errors: &mut ValidationErrors) {
            errors.add("url", "must be set");
        }
    }

    #[test]
    fn the_errors_of_a_section_are_reported_for_its_keys() {
        let mut errors = ValidationErrors::default();
        errors.within("stores.main", &Database);
        let expected = [("stores.main.url".to_owned(), "must be set".to_owned())];
        assert_eq!(errors.0, expected);
    }
}
