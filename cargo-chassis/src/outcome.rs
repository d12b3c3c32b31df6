//! The result of a command: its exit code, and the report that `--json` prints.

use std::process::ExitCode;

use serde_json::Value;

/// Both; a command without a report prints `null`.
pub(crate) struct Outcome {
    pub(crate) code: ExitCode,
    pub(crate) report: Value,
}

impl Outcome {
    /// Exit code 0.
    pub(crate) fn success(report: Value) -> Self {
        Self {
            code: ExitCode::SUCCESS,
            report,
        }
    }
}

impl From<ExitCode> for Outcome {
    fn from(code: ExitCode) -> Self {
        Self {
            code,
            report: Value::Null,
        }
    }
}
