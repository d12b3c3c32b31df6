//! The readiness check. It has a connection of its own, so that a busy pool does not make the service unready:
//! otherwise the same requests would go to the next replica and make that one busy.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context;
use axum_chassis::health;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgDatabaseError};
use sqlx::{ConnectOptions, Row};
use tokio::sync::{Mutex, Notify};
use tokio::task::JoinHandle;

use super::error::without_causes;
use super::silence::{Addresses, Connections};
use super::upkeep::{ANSWER, Upkeep};

/// Tolerance for reordered responses: the old connection counts as silent only if its response is later than the new
/// connection's by more than this.
const GRACE: Duration = Duration::from_millis(100);

/// Cheap to clone; clones share their state.
#[derive(Clone)]
pub(super) struct Probe(Arc<Inner>);

/// The options to connect with.
#[derive(Clone)]
pub(super) struct Ways {
    pub(super) full: PgConnectOptions,
    /// Without the startup parameter `options`, which poolers refuse.
    pub(super) plain: PgConnectOptions,
    /// The statement timeout in `full`, if it is that of the settings.
    pub(super) timeout: Option<axum_chassis::settings::Duration>,
    /// Whether a read-only server counts as unavailable.
    pub(super) needs_writes: bool,
}

struct Inner {
    ways: RwLock<Ways>,
    is_pooled: AtomicBool,
    state: Mutex<State>,
    addresses: Addresses,
    upkeep: Upkeep,
}

/// At most one of the two is set.
#[derive(Default)]
struct State {
    known: Option<PgConnection>,
    /// The task of a query that waits for its response.
    asked: Option<JoinHandle<anyhow::Result<PgConnection>>>,
}

// === impl Probe ===

impl Probe {
    pub(super) fn new(ways: Ways, upkeep: Upkeep) -> Self {
        Self(Arc::new(Inner {
            ways: RwLock::new(ways),
            is_pooled: AtomicBool::new(false),
            state: Mutex::default(),
            addresses: Addresses::default(),
            upkeep,
        }))
    }

    /// The connect options, without `options` if a pooler was detected.
    pub(super) fn options(&self) -> PgConnectOptions {
        let Ways { full, plain, .. } = self.ways();
        if self.0.is_pooled.load(Ordering::Relaxed) {
            plain
        } else {
            full
        }
    }

    fn ways(&self) -> Ways {
        let ways = self.0.ways.read().unwrap_or_else(PoisonError::into_inner);
        ways.clone()
    }

    /// Adopts the connect options of another probe.
    pub(super) async fn follow(&self, new: &Self) {
        let is_pooled = new.0.is_pooled.load(Ordering::Relaxed);
        self.0.is_pooled.store(is_pooled, Ordering::Relaxed);
        *self.0.ways.write().unwrap_or_else(PoisonError::into_inner) = new.ways();
        *self.0.state.lock().await = State::default();
        self.renew();
    }

    /// Replaces the current connections of the pool.
    pub(super) fn renew(&self) {
        self.0.upkeep.renew_now();
    }

    /// The `statement_timeout` of connections like those of the pool; zero means no timeout.
    pub(super) async fn statement_timeout(&self) -> anyhow::Result<Duration> {
        let mut state = self.0.state.lock().await;
        let connection = state.known.as_mut().context("not connected")?;
        let sql = "SELECT setting::bigint FROM pg_settings WHERE name = 'statement_timeout'";
        let row = sqlx::raw_sql(sql).fetch_one(connection).await?;
        let milliseconds: i64 = row.try_get(0)?;
        Ok(Duration::from_millis(milliseconds.try_into()?))
    }

    /// Runs the check on the existing connection, or on a new one if that is broken, silent or read-only.
    async fn ask(&self) -> anyhow::Result<()> {
        let mut state = self.0.state.lock().await;
        // If a connection has not answered the previous check yet, a new one is opened without another wait.
        let mut patience = Duration::ZERO;
        if let Some(known) = state.known.take() {
            patience = ANSWER;
            let probe = self.clone();
            // A separate task continues if this check is aborted. If it still waits at the next check, the pool's
            // connections of the same age may be silent as well, and that check ends them.
            state.asked = Some(tokio::spawn(async move { probe.query(known).await }));
        }
        if let Some(asked) = &mut state.asked {
            let fresh = async {
                tokio::time::sleep(patience).await;
                self.0.addresses.learn(&self.options()).await;
                let old = self.0.addresses.connections();
                anyhow::Ok((self.fresh().await?, old))
            };
            // This distinguishes slow from silent. A pooler whose servers are all busy accepts new clients immediately,
            // and queues their queries after earlier ones. So a connection counts as silent only if a newer one gets
            // its response first.
            let answer = tokio::select! {
                biased;
                answer = &mut *asked => answer.unwrap_or_else(|error| Err(error.into())),
                fresh = fresh => {
                    let (fresh, old) = fresh?;
                    if tokio::time::timeout(GRACE, asked).await.is_err() {
                        end(old);
                    }
                    Ok(fresh)
                }
            };
            state.asked = None;
            if let Ok(connection) = answer {
                state.known = Some(connection);
                return Ok(());
            }
        }
        self.0.addresses.learn(&self.options()).await;
        state.known = Some(self.fresh().await?);
        Ok(())
    }

    /// Opens a new connection, and runs the query on it.
    async fn fresh(&self) -> anyhow::Result<PgConnection> {
        let fresh = self.connect().await?;
        self.query(fresh).await
    }

    /// Runs the query, and returns the connection if the query succeeds.
    async fn query(&self, mut connection: PgConnection) -> anyhow::Result<PgConnection> {
        let needs_writes = self.ways().needs_writes;
        let sql = match needs_writes {
            true => "SELECT current_setting('transaction_read_only') = 'on'",
            false => "SELECT false",
        };
        let row = sqlx::raw_sql(sql).fetch_one(&mut connection).await;
        if row.map_err(|error| without_causes(&error))?.try_get(0)? {
            // The pool's connections may be older, and date from when the server was writable.
            self.0.upkeep.renew_after_failover();
            anyhow::bail!("the server is read-only, and the URL has target_session_attrs");
        }
        Ok(connection)
    }

    /// Opens a connection. Poolers such as PgBouncer reject the startup parameter `options`; only an attempt to connect
    /// shows it, and a second attempt connects without the parameter.
    pub(super) async fn connect(&self) -> anyhow::Result<PgConnection> {
        let refused = match self.options().connect().await {
            Err(sqlx::Error::Database(error))
                if error
                    .try_downcast_ref::<PgDatabaseError>()
                    .is_some_and(is_unsupported_parameter) =>
            {
                error
            }
            connected => return connected.map_err(|error| without_causes(&error)),
        };
        if self.0.is_pooled.swap(true, Ordering::Relaxed) {
            anyhow::bail!("{}", refused.message());
        }
        let connected = self.ways().plain.connect().await;
        connected.map_err(|error| without_causes(&error))
    }
}

/// Ends silent connections, whose pending queries would never finish.
fn end(silent: Connections) {
    let connections = silent.end();
    if connections > 0 {
        tracing::warn!(
            connections,
            "connections to the database went silent and were ended"
        );
    }
}

fn is_unsupported_parameter(error: &PgDatabaseError) -> bool {
    error.code() == "08P01" && error.message().contains("unsupported startup parameter")
}

impl health::Check for Probe {
    fn check(&self) -> impl Future<Output = anyhow::Result<()>> + Send {
        self.ask()
    }
}

/// Runs the check when a connection of the pool was found silent, and every second while no connection is free: all of
/// them may be waiting for responses that never come.
pub(super) async fn watch(pool: sqlx::PgPool, probe: Probe, suspected: Arc<Notify>) {
    while !pool.is_closed() {
        let noticed = tokio::time::timeout(ANSWER, suspected.notified())
            .await
            .is_ok();
        let max = pool.options().get_max_connections();
        if noticed || (pool.size() >= max && pool.num_idle() == 0) {
            // The readiness check reports errors.
            let _ = tokio::time::timeout(3 * ANSWER, probe.ask()).await;
        }
    }
}
