//! Prints status lines as Cargo does: a verb and its object.

use anstream::eprintln;
use anstyle::{AnsiColor, Style};

const VERB: Style = AnsiColor::Green.on_default().bold();

/// Prints a line, with the verb in colour on a terminal.
pub(crate) fn status(verb: &str, what: impl std::fmt::Display) {
    eprintln!("{VERB}{verb:>12}{VERB:#} {what}");
}
