//! What is wrong with the settings: every fault at once.

use std::fmt;

use super::tree::Origin;

/// All that is wrong with the settings; `Display` is one line a fault.
#[derive(Clone, Debug)]
pub struct Invalid {
    faults: Vec<Fault>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// The key, such as `server.port`; empty when the fault is that of a whole file.
    pub key: String,
    /// What was found and what was expected, without the values of secrets.
    pub message: String,
    /// The file and line, the variable or the flag that said so.
    pub origin: String,
    /// The known key that was probably meant.
    pub suggestion: Option<String>,
}

/// Where [`Validate`](super::Validate) puts what it finds.
#[derive(Debug, Default)]
pub struct Problems(pub(super) Vec<(String, String)>);

impl Invalid {
    pub(super) fn new(faults: Vec<Fault>) -> Self {
        Self { faults }
    }

    /// The faults, in the order of the layers they were found in.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, fault) in self.faults.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Invalid {}

impl Fault {
    pub(super) fn new(key: impl Into<String>, origin: &Origin, message: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            message: message.into(),
            origin: origin.to_string(),
            suggestion: None,
        }
    }

    pub(super) fn suggesting(mut self, suggestion: Option<String>) -> Self {
        self.suggestion = suggestion;
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            write!(f, "{}: {}", self.origin, self.message)?;
        } else {
            write!(f, "{}: {} ({})", self.key, self.message, self.origin)?;
        }
        match &self.suggestion {
            Some(key) => write!(f, "; did you mean `{key}`?"),
            None => Ok(()),
        }
    }
}

impl Problems {
    /// Says what is wrong at a key, such as `"orders.max"`, `"must be at least orders.min"`.
    pub fn add(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.0.push((key.into(), message.into()));
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
