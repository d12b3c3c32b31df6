//! The text of errors that PostgreSQL returned.

use std::error::Error;

use sqlx::postgres::PgDatabaseError;

/// The error's text, which already contains its causes.
pub(super) fn without_causes(error: &sqlx::Error) -> anyhow::Error {
    anyhow::Error::msg(message(error).unwrap_or_else(|| error.to_string()))
}

/// The message of an error that PostgreSQL returned. sqlx's `Display` would append `at line N`, which is a line of
/// PostgreSQL's source code.
pub(super) fn message(error: &(dyn Error + 'static)) -> Option<String> {
    let error = error.downcast_ref::<sqlx::Error>()?.as_database_error()?;
    let error = error.try_downcast_ref::<PgDatabaseError>()?;
    Some(error.message().to_owned())
}
