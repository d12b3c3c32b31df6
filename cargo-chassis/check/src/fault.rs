//! A mistake that `check` found: description, place and remedy.

use std::fmt;

/// A mismatch between two files, or between a file and the binary.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// The file to edit.
    pub file: String,
    /// The field in it, such as `spec.replicas`.
    pub field: String,
    /// The value, and the value that it should match.
    pub problem: String,
    /// The remedy.
    pub remedy: String,
    /// The overlays in which it occurs.
    pub overlays: Vec<String>,
    /// Whether this is only a warning, which does not fail the check. Warnings are about the future, or about something
    /// that could not be checked.
    pub warning: bool,
}

/// The faults that were found. The same fault in several overlays is listed once.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    faults: Vec<Fault>,
    overlay: String,
}

// === impl Fault ===

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.warning { "warning: " } else { "" };
        writeln!(f, "{kind}{}: {}", self.file, self.field)?;
        writeln!(f, "    {}", self.problem.replace('\n', "\n    "))?;
        write!(f, "    remedy: {}", self.remedy)?;
        if !self.overlays.is_empty() {
            write!(f, "\n    in: {}", self.overlays.join(", "))?;
        }
        Ok(())
    }
}

// === impl Faults ===

impl Faults {
    /// Sets the overlay of the following faults. An empty name means no overlay.
    pub(crate) fn enter(&mut self, overlay: &str) {
        overlay.clone_into(&mut self.overlay);
    }

    pub(crate) fn add(
        &mut self,
        file: &str,
        field: impl Into<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.tell(Fault {
            file: file.to_owned(),
            field: field.into(),
            problem: problem.into(),
            remedy: remedy.into(),
            overlays: Vec::new(),
            warning: false,
        });
    }

    pub(crate) fn warn(
        &mut self,
        file: impl Into<String>,
        field: impl Into<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.tell(Fault {
            file: file.into(),
            field: field.into(),
            problem: problem.into(),
            remedy: remedy.into(),
            overlays: Vec::new(),
            warning: true,
        });
    }

    pub(crate) fn tell(&mut self, fault: Fault) {
        let same = |known: &Fault| {
            known.file == fault.file && known.field == fault.field && known.problem == fault.problem
        };
        let at = self.faults.iter().position(same).unwrap_or_else(|| {
            self.faults.push(fault);
            self.faults.len() - 1
        });
        let overlays = &mut self.faults[at].overlays;
        if !self.overlay.is_empty() && !overlays.contains(&self.overlay) {
            overlays.push(self.overlay.clone());
        }
    }

    pub(crate) fn into_vec(self) -> Vec<Fault> {
        self.faults
    }
}
