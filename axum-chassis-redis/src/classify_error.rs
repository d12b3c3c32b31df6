//! Maps errors of the redis crate to HTTP statuses.

use std::error::Error;
use std::time::Duration;

use axum_chassis::Problem;
use redis::{ErrorKind, RedisError, ServerErrorKind};

/// The value of `Retry-After`.
const LATER: Duration = Duration::from_secs(5);

/// Maps an error that a handler returned with `?`. Returns `None` for all other errors, such as an invalid command:
/// they are a 500.
///
/// | error | response |
/// |---|---|
/// | no connection, no response in time, credentials (`NOAUTH`, `WRONGPASS`) | 503, `Retry-After: 5` |
/// | the server rejects commands temporarily: `LOADING`, `BUSY`, `MASTERDOWN`, `CLUSTERDOWN`, `TRYAGAIN` | 503, `Retry-After: 5` |
/// | the server rejects writes: `OOM`, `MISCONF`, `NOREPLICAS`, `READONLY` (the connections are replaced) | 503, `Retry-After: 5` |
///
/// The response contains nothing of the command, which is in the log. Registered by
/// [`redis`](crate::redis()); public for programs that render errors themselves.
pub fn classify_error(error: &(dyn Error + 'static)) -> Option<Problem> {
    let error = error.downcast_ref::<RedisError>()?;
    let passes = match error.kind() {
        // The first two occur at a reconnect, because the first connection succeeded.
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
