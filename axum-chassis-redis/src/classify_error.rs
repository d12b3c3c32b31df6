//! Maps errors of the redis crate to HTTP statuses.

use std::error::Error;
use std::time::Duration;

use axum_chassis::Problem;
use redis::{ErrorKind, RedisError, ServerErrorKind};

/// The value of `Retry-After`.
const LATER: Duration = Duration::from_secs(5);

/// Maps an error that a handler returned with `?`. Returns `None` for all other errors, such as that of an invalid
/// command. These errors become a 500.
///
/// | error | response |
/// |---|---|
/// | no connection, no response in time, credentials (`NOAUTH`, `WRONGPASS`) | 503, `Retry-After: 5` |
/// | the server rejects commands temporarily: `LOADING`, `BUSY`, `MASTERDOWN`, `CLUSTERDOWN`, `TRYAGAIN` | 503, `Retry-After: 5` |
/// | the server rejects writes: `OOM`, `MISCONF`, `NOREPLICAS`, `READONLY` (the connections are replaced) | 503, `Retry-After: 5` |
///
/// The response contains nothing of the error's text, which is logged. [`redis`](crate::redis()) registers this
/// function. It is public for programs that render errors themselves.
pub fn classify_error(error: &(dyn Error + 'static)) -> Option<Problem> {
    let error = error.downcast_ref::<RedisError>()?;
    let passes = match error.kind() {
        // `NOAUTH` and `WRONGPASS` are temporary: they occur at a reconnect, after the first connection has succeeded.
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
