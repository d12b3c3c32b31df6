//! Finds secrets by their form: keys with the name of a secret, the userinfo of URLs, and values after `password=`
//! and similar names in a text.

use std::borrow::Cow;
use std::ops::Range;

/// Replaces a redacted value.
pub(crate) const REDACTED: &str = "[redacted]";

/// The words of a key that make its value a secret, in the singular.
const WORDS: [&str; 12] = [
    "password",
    "passwd",
    "pwd",
    "passphrase",
    "secret",
    "token",
    "key",
    "apikey",
    "credential",
    "credentials",
    "dsn",
    "auth",
];

/// The userinfo of example URLs in documentation.
const PLACEHOLDER: &str = "USER:PASSWORD";

/// Whether the name of a key marks its value as a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Name {
    /// The value is not a secret.
    Plain,
    /// If the value is a text, it may be a secret: `token_url`, `tokens`. If it is a number, it is a limit, such as
    /// `max_tokens`.
    MayBeSecret,
    /// The last word names a secret: `api_key`.
    Secret,
}

// === impl Name ===

impl Name {
    /// Compares whole words of the key, in any case: `api_key`, `apiKey` and `api-key` contain the word `key`, and
    /// `monkey` does not.
    pub(crate) fn of(key: &str) -> Self {
        let mut words = vec![String::new()];
        let mut before_is_lower = false;
        let mut chars = key.chars().peekable();
        while let Some(c) = chars.next() {
            // `apiKey` and `DBPassword` have two words.
            let begins_lower = chars.peek().is_some_and(|next| next.is_lowercase());
            if !c.is_alphanumeric() || (c.is_uppercase() && (before_is_lower || begins_lower)) {
                words.push(String::new());
            }
            if let Some(word) = words.last_mut().filter(|_| c.is_alphanumeric()) {
                word.extend(c.to_lowercase());
            }
            before_is_lower = c.is_lowercase() || c.is_numeric();
        }
        let is_secret =
            |word: &str| WORDS.contains(&word.trim_end_matches(|c: char| c.is_numeric()));
        let plural = |word: &str| word.strip_suffix('s').is_some_and(is_secret);
        if words.last().is_some_and(|word| is_secret(word)) {
            Self::Secret
        } else if words.iter().any(|word| is_secret(word) || plural(word)) {
            Self::MayBeSecret
        } else {
            Self::Plain
        }
    }
}

/// Replaces the userinfo of each URL in a text with `[redacted]`, and each value after `password=` and similar names
/// in a query or a connection string.
pub fn redact_secrets(text: &str) -> Cow<'_, str> {
    match replace(text, next_userinfo) {
        Cow::Borrowed(text) => replace(text, next_value),
        Cow::Owned(text) => replace(&text, next_value).into_owned().into(),
    }
}

fn replace(text: &str, next: fn(&str) -> Option<Range<usize>>) -> Cow<'_, str> {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(found) = next(rest) {
        shown += &rest[..found.start];
        shown += REDACTED;
        rest = &rest[found.end..];
    }
    if shown.is_empty() {
        return text.into();
    }
    (shown + rest).into()
}

/// Finds the userinfo of the next URL. As RFC 3986, 3.2 defines it, the authority is the part between `//` and the next
/// `/`, `?` or `#`, and its userinfo ends at an `@`.
fn next_userinfo(text: &str) -> Option<Range<usize>> {
    let mut from = 0;
    loop {
        let start = from + text[from..].find("://")? + 3;
        let word = &text[start..];
        let is_end = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>');
        let word = &word[..word.find(is_end).unwrap_or(word.len())];
        let authority = &word[..word.find(['/', '?', '#']).unwrap_or(word.len())];
        // People write passwords with an unescaped `/`, so if there is a `:`, the userinfo may continue after the `/`.
        let at = authority
            .rfind('@')
            .or_else(|| word.rfind('@').filter(|_| authority.contains(':')));
        match at {
            Some(at) if at > 0 && ![REDACTED, PLACEHOLDER].contains(&&word[..at]) => {
                return Some(start..start + at);
            }
            _ => from = start,
        }
    }
}

/// Finds the next value of `name=value` whose name is a secret's.
fn next_value(text: &str) -> Option<Range<usize>> {
    let is_end = |c: char| c.is_whitespace() || "&;,\"'`<>()[]{}|".contains(c);
    let values = text.match_indices('=').filter_map(|(at, _)| {
        let before = &text[..at];
        let is_of_name = |c: char| c.is_alphanumeric() || "_-.".contains(c);
        let name = before.trim_end_matches(is_of_name).len();
        let start = at + 1;
        let value = &text[start..];
        let end = start + value.find(is_end).unwrap_or(value.len());
        // The name `key` alone is not a secret's, but usually the key of a map.
        let name = &before[name..];
        let is_secret = !name.eq_ignore_ascii_case("key") && Name::of(name) == Name::Secret;
        (is_secret && start < end).then_some(start..end)
    });
    values.into_iter().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_secret_by_its_whole_words() {
        for key in [
            "password",
            "api_key",
            "API_KEY",
            "apiKey",
            "api-key",
            "dsn",
            "auth",
            "credentials",
            "client.secret",
            "session_token",
            "DBPassword",
            "JWTSecret",
            "password2",
        ] {
            assert_eq!(Name::of(key), Name::Secret, "{key}");
        }
        for key in [
            "auth_url",
            "key_prefix",
            "max_tokens",
            "keys",
            "tokenUrl",
            "PASSWORD_FILE",
        ] {
            assert_eq!(Name::of(key), Name::MayBeSecret, "{key}");
        }
        for key in [
            "",
            "monkey",
            "author",
            "keyboard",
            "tokenizer",
            "url",
            "pass_through",
        ] {
            assert_eq!(Name::of(key), Name::Plain, "{key}");
        }
    }

    #[test]
    fn the_userinfo_of_urls_is_redacted_anywhere_in_a_text() {
        for (text, shown) in [
            ("amqp://svc:hunter2@mq/", "amqp://[redacted]@mq/"),
            ("redis://:hunter2@r:6379", "redis://[redacted]@r:6379"),
            (
                "https://hunter2@example.org/a?b=@c",
                "https://[redacted]@example.org/a?b=@c",
            ),
            (
                "a://u:p@ss@h, \"b://u:p@h\" x@y",
                "a://[redacted]@h, \"b://[redacted]@h\" x@y",
            ),
            (
                "a://u:p@h1,b://u:p@h2",
                "a://[redacted]@h1,b://[redacted]@h2",
            ),
            (
                "postgres://u:hunter2/x@db/orders",
                "postgres://[redacted]@db/orders",
            ),
            (
                "http://localhost:80/a http://u:p@h",
                "http://localhost:80/a http://[redacted]@h",
            ),
        ] {
            assert_eq!(redact_secrets(text), shown, "{text}");
        }
        for text in [
            "",
            "me@example.org",
            "http://localhost:80/",
            "://",
            "https://cdn/pkg@1.2",
            "a://[redacted]@h",
            "postgres://USER:PASSWORD@HOST:5432/NAME",
        ] {
            assert_eq!(redact_secrets(text), text);
        }
    }

    #[test]
    fn passwords_in_queries_and_connection_strings_are_redacted() {
        for (text, shown) in [
            (
                "postgres://db/orders?password=hunter2&sslmode=require",
                "postgres://db/orders?password=[redacted]&sslmode=require",
            ),
            (
                "jdbc:sqlserver://db;user=me;Password=hunter2;encrypt=true",
                "jdbc:sqlserver://db;user=me;Password=[redacted];encrypt=true",
            ),
            (
                "host=db user=me password=hunter2",
                "host=db user=me password=[redacted]",
            ),
            (
                "AccountName=me;AccountKey=aGk+Lw==;a=b",
                "AccountName=me;AccountKey=[redacted];a=b",
            ),
            (
                "https://u:p@h/?access_token=a&api-key=b",
                "https://[redacted]@h/?access_token=[redacted]&api-key=[redacted]",
            ),
        ] {
            assert_eq!(redact_secrets(text), shown, "{text}");
        }
        for text in [
            "info,sqlx=warn",
            "key=value",
            "password=",
            "token=[redacted]",
            "a=b&max_tokens=7",
            "=x",
        ] {
            assert_eq!(redact_secrets(text), text);
        }
    }
}
