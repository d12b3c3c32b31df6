//! Decides which connections of the pool are reused.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnectionMetadata;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgDatabaseError};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::Notify;

use super::error::without_causes;
use crate::classify_error::is_stale_plan;

/// Timeout of a trivial query, after which its connection counts as silent.
pub(super) const ANSWER: Duration = Duration::from_secs(1);
/// The minimum pause between two replacements after a migration. A statement from before the migration fails once on
/// each connection, and one replacement is enough for all these errors.
const AFTER_MIGRATION: Duration = Duration::from_secs(1);
/// The minimum pause between two replacements during a failover, because new connections may still reach the old
/// server.
const AFTER_FAILOVER: Duration = Duration::from_secs(5);

/// The state that decides which connections are reused. Cheap to clone; clones share it.
#[derive(Clone, Default)]
pub(super) struct Upkeep {
    /// Connections older than this are not used again.
    renewed: Arc<Mutex<Option<Instant>>>,
    /// Notified when a connection was found silent.
    pub(super) suspected: Arc<Notify>,
}

impl Upkeep {
    /// Replaces the connections after an error that others of the same age would return as well.
    pub(super) fn note(&self, error: &(dyn std::error::Error + 'static)) {
        let Some(sqlx::Error::Database(error)) = error.downcast_ref() else {
            return;
        };
        match error.try_downcast_ref::<PgDatabaseError>() {
            Some(error) if error.code() == "25006" => self.renew_after_failover(),
            Some(error) if is_stale_plan(error) => self.renew(AFTER_MIGRATION),
            _ => {}
        }
    }

    /// Replaces connections to a server that has become read-only.
    pub(super) fn renew_after_failover(&self) {
        self.renew(AFTER_FAILOVER);
    }

    /// Replaces connections that were opened with the old password.
    pub(super) fn renew_now(&self) {
        self.renew(Duration::ZERO);
    }

    /// Replaces every connection before its next use, at most once within `pause`.
    fn renew(&self, pause: Duration) {
        let mut renewed = self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        if renewed.is_none_or(|last| last.elapsed() > pause) {
            *renewed = Some(Instant::now());
            tracing::info!("database connections are replaced before their next use");
        }
    }

    /// Whether a connection may be used. A silent connection is replaced here by a new one with the current `options`.
    /// The pool must not close it, because closing over TLS would wait for a response.
    pub(super) async fn is_usable(
        &self,
        connection: &mut PgConnection,
        of: PoolConnectionMetadata,
        options: impl FnOnce() -> PgConnectOptions + Send,
    ) -> sqlx::Result<bool> {
        let answer = {
            let mut ping = pin!(connection.ping());
            match tokio::time::timeout(ANSWER, ping.as_mut()).await {
                Ok(answer) => Ok(answer),
                Err(_) => {
                    self.suspected.notify_one();
                    let options = options();
                    // This distinguishes slow from silent: on a busy machine, a late response still arrives before a
                    // new connection is open.
                    tokio::select! {
                        biased;
                        late = ping => Ok(late),
                        fresh = connect_and_ping(&options) => Err(fresh?),
                    }
                }
            }
        };
        match answer {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::info!(error = %without_causes(&error), "a connection of the pool is lost");
                return Ok(false);
            }
            Err(fresh) => {
                *connection = fresh;
                return Ok(true);
            }
        }
        let renewed = *self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(renewed.is_none_or(|renewed| of.age <= renewed.elapsed()))
    }
}

/// Opens a connection and waits for a first response. A pooler accepts a connection immediately, but does not respond
/// while it has no server for it.
async fn connect_and_ping(options: &PgConnectOptions) -> sqlx::Result<PgConnection> {
    let mut fresh = options.connect().await?;
    fresh.ping().await?;
    Ok(fresh)
}
