//! Formats an error and its causes in one line.

use std::error::Error;
use std::fmt;

/// An error and its causes in one line, outermost first: `order 7: no connection: timed out`. A cause is left out if the text before it
/// already ends with it.
///
/// An event's field that is an error, such as `error = &error as &dyn Error`, is written like this.
///
/// ```
/// let error = std::io::Error::other("timed out");
/// tracing::warn!(error = %axum_chassis_logs::Chain(&error), "retrying");
/// ```
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "it only formats its one field")]
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl Chain<'_> {
    /// The same line. If `describe` returns a text for an error, this text replaces the error and its causes.
    pub fn described(&self, describe: impl Fn(&(dyn Error + 'static)) -> Option<String>) -> String {
        let mut line = String::new();
        let mut words = None::<String>;
        let mut next = Some(self.0);
        while let Some(error) = next {
            let described = describe(error);
            next = error.source().filter(|_| described.is_none());
            let more = described.unwrap_or_else(|| error.to_string());
            if words.as_ref().is_some_and(|words| words.ends_with(&more)) {
                continue;
            }
            if words.is_some() {
                line.push_str(": ");
            }
            line.push_str(&more);
            words = Some(more);
        }
        line
    }
}

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.described(|_| None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An error with a cause.
    #[derive(Debug)]
    struct Caused(&'static str, std::io::Error);

    impl fmt::Display for Caused {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Caused {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.1)
        }
    }

    #[test]
    fn a_cause_that_its_error_message_contains_is_not_repeated() {
        for message in ["no connection", "no connection: timed out"] {
            let error = Caused(message, std::io::Error::other("timed out"));
            assert_eq!(Chain(&error).to_string(), "no connection: timed out");
        }
    }

    #[test]
    fn a_description_replaces_an_error_and_its_causes() {
        let error = Caused("no connection", std::io::Error::other("password is x"));
        let line =
            Chain(&error).described(|error| error.is::<std::io::Error>().then(|| "I/O".to_owned()));
        assert_eq!(line, "no connection: I/O");
    }
}
