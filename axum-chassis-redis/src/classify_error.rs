//! Maps errors of the redis crate to HTTP statuses.

use std::error::Error;
use std::time::Duration;

use axum_chassis::Problem;
use redis::{ErrorKind, RedisError, ServerErrorKind};

/// When to come back.
const LATER: Duration = Duration::from_secs(5);

/// What an error that reached the client by `?` means; `None` of all else, such as a command that is not
/// valid: a 500.
///
/// | error | answer |
/// |---|---|
/// | no connection, no answer in time, credentials (`NOAUTH`, `WRONGPASS`) | 503, `Retry-After: 5` |
/// | the server takes no commands for now: `LOADING`, `BUSY`, `MASTERDOWN`, `CLUSTERDOWN`, `TRYAGAIN` | 503, `Retry-After: 5` |
/// | it takes no writes: `OOM`, `MISCONF`, `NOREPLICAS`, `READONLY` (the connections are replaced) | 503, `Retry-After: 5` |
///
/// The answer holds nothing of the command: that is in the log. Registered by
/// [`redis`](crate::redis()); public for a program that renders its errors by itself.
pub fn classify_error(error: &(dyn Error + 'static)) -> Option<Problem> {
    let error = error.downcast_ref::<RedisError>()?;
    let passes = match error.kind() {
        // The first two at a reconnect: the start went well.
        _ if matches!(
            error.code(),
            Some("NOAUTH" | "WRONGPASS" | "BUSY" | "OOM" | "MISCONF" | "NOREPLICAS")
        ) =>
        {
            true
        }
        ErrorKind::Io
        | ErrorKind::AuthenticationFailed
        | ErrorKind::ClusterConnectionNotFound
        | ErrorKind::MasterNameNotFoundBySentinel
        | ErrorKind::NoValidReplicasFoundBySentinel => true,
        ErrorKind::Server(kind) => matches!(
            kind,
            ServerErrorKind::BusyLoading
                | ServerErrorKind::TryAgain
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ReadOnly
        ),
        _ => false,
    };
    passes.then(|| Problem::unavailable("Redis is not available").retry_after(LATER))
}
