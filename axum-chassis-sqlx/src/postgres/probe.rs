//! The readiness check, on a connection of its own: a pool without a free connection is busy, and that is not a reason
//! to send the same requests to the next replica.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context;
use axum_chassis::health;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgDatabaseError};
use sqlx::{ConnectOptions, Row};
use tokio::sync::{Mutex, Notify};

use super::silence::Addresses;
use super::upkeep::Upkeep;

/// How long a connection may take to answer what costs the server nothing, before it counts as silent.
pub(super) const ANSWER: Duration = Duration::from_secs(1);

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
    connection: Mutex<Option<PgConnection>>,
    addresses: Addresses,
    /// A connection has gone silent, and the others of its time are still to be ended.
    is_silent: AtomicBool,
    upkeep: Upkeep,
}

// === impl Probe ===

impl Probe {
    pub(super) fn new(ways: Ways, upkeep: Upkeep) -> Self {
        Self(Arc::new(Inner {
            ways: RwLock::new(ways),
            is_pooled: AtomicBool::new(false),
            connection: Mutex::new(None),
            addresses: Addresses::default(),
            is_silent: AtomicBool::new(false),
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
        self.0.connection.lock().await.take();
        self.renew();
    }

    /// Has the connections of the pool replaced that there are now.
    pub(super) fn renew(&self) {
        self.0.upkeep.renew_now();
    }

    /// The `statement_timeout` that connections like those of the pool have; zero is none.
    pub(super) async fn statement_timeout(&self) -> anyhow::Result<Duration> {
        let mut place = self.0.connection.lock().await;
        let connection = place.as_mut().context("not connected")?;
        let sql = "SELECT setting::bigint FROM pg_settings WHERE name = 'statement_timeout'";
        let row = sqlx::raw_sql(sql).fetch_one(connection).await?;
        let milliseconds: i64 = row.try_get(0)?;
        Ok(Duration::from_millis(milliseconds.try_into()?))
    }

    /// Asks on the connection there is, and if that one is broken, silent or read-only, on a new one.
    async fn ask(&self) -> anyhow::Result<()> {
        let mut place = self.0.connection.lock().await;
        // Taken out, so that one whose query is aborted half-way is not used again.
        if let Some(mut known) = place.take() {
            let answer = {
                let mut asked = pin!(self.query(&mut known));
                match tokio::time::timeout(ANSWER, asked.as_mut()).await {
                    Ok(answer) => answer,
                    Err(_) => {
                        self.0.is_silent.store(true, Ordering::Relaxed);
                        // Slow or silent? A new one takes longer than an answer does on a busy machine.
                        tokio::select! {
                            biased;
                            late = asked => {
                                self.0.is_silent.store(false, Ordering::Relaxed);
                                late
                            }
                            fresh = self.replace() => {
                                *place = Some(fresh?);
                                return Ok(());
                            }
                        }
                    }
                }
            };
            if answer.is_ok() {
                *place = Some(known);
                return Ok(());
            }
        }
        *place = Some(self.replace().await?);
        Ok(())
    }

    /// A new connection, which answers. Those that went silent before are ended.
    async fn replace(&self) -> anyhow::Result<PgConnection> {
        self.0.addresses.learn(&self.options()).await;
        let is_silent = self.0.is_silent.load(Ordering::Relaxed);
        let old = is_silent.then(|| self.0.addresses.connections());
        let mut fresh = self.connect().await?;
        // A pooler whose servers are all busy takes new clients at once, and lets their queries wait as it does the others':
        // nothing is silent until one of them is answered.
        let answer = self.query(&mut fresh).await;
        if let Some(old) = old {
            // What waits on those from before waits in vain.
            self.0.is_silent.store(false, Ordering::Relaxed);
            let connections = old.end();
            if connections > 0 {
                tracing::warn!(
                    connections,
                    "connections to the database went silent and were ended"
                );
            }
        }
        answer.map(|()| fresh)
    }

    async fn query(&self, connection: &mut PgConnection) -> anyhow::Result<()> {
        let needs_writes = self.ways().needs_writes;
        let sql = match needs_writes {
            true => "SELECT current_setting('transaction_read_only') = 'on'",
            false => "SELECT false",
        };
        let row = sqlx::raw_sql(sql).fetch_one(connection).await;
        if row.map_err(|error| told(&error))?.try_get(0)? {
            // Those of the pool may be older, and have been made when it was writable.
            self.0.upkeep.renew_after_failover();
            anyhow::bail!("the server is read-only, and the URL has target_session_attrs");
        }
        Ok(())
    }

    /// Poolers such as PgBouncer do not know `options`, and say so only when one connects.
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

/// Its causes stand in its own text already; the line that it names is one of PostgreSQL's source.
fn told(error: &sqlx::Error) -> anyhow::Error {
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
