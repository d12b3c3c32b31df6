//! Connections that reconnect by themselves, handed out in turn.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use axum_chassis::{Chassis, health};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, RedisResult};
use tokio::task::JoinSet;

use crate::{Settings, address, meaning};

/// Connections to Redis. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Pool(Arc<Inner>);

struct Inner {
    client: Client,
    config: ConnectionManagerConfig,
    managers: Vec<Mutex<ConnectionManager>>,
    next: AtomicUsize,
}

/// Opens `pool_size` connections to Redis, once it answers.
///
/// `name` is what the service's settings call it, such as `redis`: so are the readiness check, the
/// pool in the metrics and whatever is wrong with it.
///
/// At the stop, once the last request is gone, the connections are closed.
///
/// # Errors
/// If the URL is none of Redis, or if Redis cannot be had within `service.start_timeout`.
pub async fn redis<S>(
    chassis: &Chassis<S>,
    name: &str,
    settings: &Settings,
) -> anyhow::Result<Pool> {
    let info = match address::read(&settings.url) {
        Ok(info) => info,
        Err(wrong) => bail!("{name}.url: {wrong}"),
    };
    #[cfg(feature = "tls")]
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // The redis crate takes the process's own and brings none. `Err`: another was quicker.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    let client = Client::open(info).with_context(|| format!("{name}.url"))?;
    let response = *settings.response_timeout;
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(*settings.connect_timeout))
        .set_response_timeout((!response.is_zero()).then_some(response))
        // While Redis is down a command waits for one more attempt, a tenth of a second later, and
        // fails then: requests do not pile up, and attempts do not follow each other without a pause.
        .set_number_of_retries(1)
        .set_min_delay(Duration::from_millis(100))
        .set_max_delay(Duration::from_millis(200));

    let pool = Pool::new(client, config, settings.pool_size)?;
    chassis.wait_for(name, || pool.ask()).await?;
    let size = f64::from(settings.pool_size);
    chassis.metrics().gauge_fn(
        "db_client_connection_max",
        "How many connections the pool may have.",
        &[("db_client_connection_pool_name", name)],
        move || size,
    )?;
    chassis.on_error(meaning);
    let closing = pool.clone();
    chassis.on_stop(name, async move || Ok(closing.close()?));
    chassis.readiness().check(name, Probe(pool.clone()));
    Ok(pool)
}

impl Pool {
    fn new(client: Client, config: ConnectionManagerConfig, size: u32) -> RedisResult<Self> {
        let mut inner = Inner {
            client,
            config,
            managers: Vec::new(),
            next: AtomicUsize::new(0),
        };
        for _ in 0..size.max(1) {
            inner.managers.push(Mutex::new(inner.fresh()?));
        }
        Ok(Self(Arc::new(inner)))
    }

    /// The next connection, which others use at the same time. Cheap: take one for each use.
    pub fn get(&self) -> ConnectionManager {
        let next = self.0.next.fetch_add(1, Ordering::Relaxed);
        self.at(next % self.0.managers.len())
    }

    /// For connections of one's own: for commands that block or watch, or for a subscription.
    pub fn client(&self) -> &Client {
        &self.0.client
    }

    fn at(&self, at: usize) -> ConnectionManager {
        let manager = self.0.managers[at].lock();
        manager.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets the connection go, and has a new one made by whoever needs it.
    fn renew(&self, at: usize) -> RedisResult<()> {
        let fresh = self.0.fresh()?;
        *self.0.managers[at]
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    fn close(&self) -> RedisResult<()> {
        (0..self.0.managers.len()).try_for_each(|at| self.renew(at))
    }

    /// Whether each connection answers. One that does not is mended on the way.
    async fn ask(&self) -> anyhow::Result<()> {
        let asked = (0..self.0.managers.len()).map(|at| {
            let pool = self.clone();
            async move { pool.ping(at).await }
        });
        let mut asked: JoinSet<_> = asked.collect();
        while let Some(answer) = asked.join_next().await {
            answer??;
        }
        Ok(())
    }

    async fn ping(&self, at: usize) -> RedisResult<()> {
        let answer = redis::cmd("PING").exec_async(&mut self.at(at)).await;
        // After such an error at a reconnect (a password that was wrong for a moment) a manager never
        // tries again.
        if answer.as_ref().is_err_and(|error| !error.is_io_error()) {
            self.renew(at)?;
        }
        answer
    }
}

impl Inner {
    /// Connects when it is first used.
    fn fresh(&self) -> RedisResult<ConnectionManager> {
        ConnectionManager::new_lazy_with_config(self.client.clone(), self.config.clone())
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("size", &self.0.managers.len())
            .finish_non_exhaustive()
    }
}

/// The readiness check.
struct Probe(Pool);

impl health::Check for Probe {
    fn check(&self) -> impl Future<Output = anyhow::Result<()>> + Send {
        self.0.ask()
    }
}
