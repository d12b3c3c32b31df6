//! The readiness check, on a connection of its own: a pool without a free connection is busy, and that is not a reason
//! to send the same requests to the next replica.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context;
use axum_chassis::health;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgDatabaseError};
use sqlx::{ConnectOptions, Row};
use tokio::sync::{Mutex, Notify};
use tokio::task::JoinHandle;

use super::silence::{Addresses, Connections};
use super::upkeep::Upkeep;

/// How long a connection may take to answer what costs the server nothing, before it counts as silent.
pub(super) const ANSWER: Duration = Duration::from_secs(1);
/// How much later than the answer of a new connection that of an old one may be seen, though it was sent before.
const GRACE: Duration = Duration::from_millis(100);

/// Cheap to clone; all clones are one.
#[derive(Clone)]
pub(super) struct Probe(Arc<Inner>);

/// How to connect.
#[derive(Clone)]
pub(super) struct Ways {
    pub(super) full: PgConnectOptions,
    /// Without the startup parameter `options`, which poolers refuse.
    pub(super) plain: PgConnectOptions,
    /// Whether a server that takes no writes is as good as none.
    pub(super) needs_writes: bool,
}

struct Inner {
    ways: RwLock<Ways>,
    is_pooled: AtomicBool,
    state: Mutex<State>,
    addresses: Addresses,
    upkeep: Upkeep,
}

/// At most one of the two is there.
#[derive(Default)]
struct State {
    known: Option<PgConnection>,
    /// Waits for its answer.
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

    /// How to connect, as far as it is known by now.
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

    /// Connects as another one does from now on.
    pub(super) async fn follow(&self, new: &Self) {
        let is_pooled = new.0.is_pooled.load(Ordering::Relaxed);
        self.0.is_pooled.store(is_pooled, Ordering::Relaxed);
        *self.0.ways.write().unwrap_or_else(PoisonError::into_inner) = new.ways();
        *self.0.state.lock().await = State::default();
        self.renew();
    }

    /// Has the connections of the pool replaced that there are now.
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

    /// Asks on the connection there is, and if that one is broken, silent or read-only, on a new one.
    async fn ask(&self) -> anyhow::Result<()> {
        let mut state = self.0.state.lock().await;
        // One that did not answer the check before has had its time.
        let mut patience = Duration::ZERO;
        if let Some(known) = state.known.take() {
            patience = ANSWER;
            let probe = self.clone();
            // A task of its own, which goes on when this check is aborted: as long as it waits, the other
            // connections of its time may be silent as well.
            state.asked = Some(tokio::spawn(async move { probe.query(known).await }));
        }
        if let Some(asked) = &mut state.asked {
            let fresh = async {
                tokio::time::sleep(patience).await;
                self.0.addresses.learn(&self.options()).await;
                let old = self.0.addresses.connections();
                anyhow::Ok((self.fresh().await?, old))
            };
            // Slow or silent? A pooler whose servers are all busy takes new clients at once, and lets their
            // queries wait behind those of before: silent is what has no answer when a new one has.
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

    /// A new connection, which answers.
    async fn fresh(&self) -> anyhow::Result<PgConnection> {
        let fresh = self.connect().await?;
        self.query(fresh).await
    }

    /// The connection again, if it is well.
    async fn query(&self, mut connection: PgConnection) -> anyhow::Result<PgConnection> {
        let needs_writes = self.ways().needs_writes;
        let sql = match needs_writes {
            true => "SELECT current_setting('transaction_read_only') = 'on'",
            false => "SELECT false",
        };
        let row = sqlx::raw_sql(sql).fetch_one(&mut connection).await;
        if row.map_err(|error| told(&error))?.try_get(0)? {
            // Those of the pool may be older, and have been made when it was writable.
            self.0.upkeep.renew_after_failover();
            anyhow::bail!("the server is read-only, and the URL has target_session_attrs");
        }
        Ok(connection)
    }

    /// Poolers such as PgBouncer reject `options`, and only when a client connects.
    pub(super) async fn connect(&self) -> anyhow::Result<PgConnection> {
        let refused = match self.options().connect().await {
            Err(sqlx::Error::Database(error))
                if error
                    .try_downcast_ref::<PgDatabaseError>()
                    .is_some_and(is_unsupported_parameter) =>
            {
                error
            }
            connected => return connected.map_err(|error| told(&error)),
        };
        if self.0.is_pooled.swap(true, Ordering::Relaxed) {
            anyhow::bail!("{}", refused.message());
        }
        let connected = self.ways().plain.connect().await;
        connected.map_err(|error| told(&error))
    }
}

/// What waits on these waits in vain.
fn end(silent: Connections) {
    let connections = silent.end();
    if connections > 0 {
        tracing::warn!(
            connections,
            "connections to the database went silent and were ended"
        );
    }
}

/// Its causes stand in its own text already; the line that it names is one of PostgreSQL's source.
pub(super) fn told(error: &sqlx::Error) -> anyhow::Error {
    match error {
        sqlx::Error::Database(error) => anyhow::anyhow!("{}", error.message()),
        error => anyhow::anyhow!("{error}"),
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

/// Asks as soon as a connection of the pool was found silent, and each second while none is free: all of
/// them may wait for answers that never come.
pub(super) async fn watch(pool: sqlx::PgPool, probe: Probe, suspected: Arc<Notify>) {
    while !pool.is_closed() {
        let noticed = tokio::time::timeout(ANSWER, suspected.notified())
            .await
            .is_ok();
        let max = pool.options().get_max_connections();
        if noticed || (pool.size() >= max && pool.num_idle() == 0) {
            // An error is the readiness check's to report.
            let _ = tokio::time::timeout(3 * ANSWER, probe.ask()).await;
        }
    }
}
