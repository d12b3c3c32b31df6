//! A pool of connections that reconnect by themselves, used in turn.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use axum_chassis::{Chassis, health};
use redis::aio::{ConnectionManager, ConnectionManagerConfig, SendError};
use redis::io::tcp::TcpSettings;
use redis::io::tcp::socket2::TcpKeepalive;
use redis::{
    Client, ErrorKind, ProtocolVersion, PushInfo, PushKind, RedisError, RedisResult,
    ServerErrorKind,
};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::{Settings, address, classify_error};

/// Connections to Redis. Cheap to clone; clones share the connections.
#[derive(Clone)]
pub struct Pool(Arc<Inner>);

struct Inner {
    client: RwLock<Client>,
    config: ConnectionManagerConfig,
    managers: Vec<Mutex<ConnectionManager>>,
    next: AtomicUsize,
    is_closed: AtomicBool,
}

/// Timeout of a `PING`, after which its connection counts as silent.
const ANSWER: Duration = Duration::from_secs(1);
/// The kernel closes a silent connection without pending commands after about this time.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// The minimum pause between two renewals of the connections. Every write fails on a server that has become a replica,
/// and one renewal is enough for all these errors.
const AFTER_FAILOVER: Duration = Duration::from_secs(1);

/// Waits until Redis is available, and opens `pool_size` connections.
///
/// `name` is the key in the service's settings, such as `redis`. It is also the name of the readiness check and of
/// the pool in metrics and errors.
///
/// The connections are closed at shutdown, after the last request.
///
/// # Errors
/// If the URL is not a Redis URL, or if Redis is not available within `service.start_timeout`.
pub async fn redis<S>(
    chassis: &Chassis<S>,
    name: &str,
    settings: &Settings,
) -> anyhow::Result<Pool> {
    let client = client_of(name, settings)?;
    warn_if_readable(name, settings);
    let response = *settings.response_timeout;
    let suspected = Arc::new(Notify::new());
    let mut config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(*settings.connect_timeout))
        .set_response_timeout((!response.is_zero()).then_some(response))
        // While Redis is down, a command waits for one more attempt to connect, a tenth of a second later, and then
        // fails. So requests do not pile up, and there is a pause between attempts.
        .set_number_of_retries(1)
        .set_min_delay(Duration::from_millis(100))
        .set_max_delay(Duration::from_millis(200));
    if client.get_connection_info().redis_settings().protocol() == ProtocolVersion::RESP3 {
        let lost = suspected.clone();
        config = config.set_push_sender(move |push: PushInfo| {
            if push.kind == PushKind::Disconnection {
                lost.notify_one();
            }
            Ok::<(), SendError>(())
        });
    }

    let pool = Pool::new(client, config, settings.pool_size)?;
    chassis.wait_for(name, || pool.ask()).await?;
    let size = f64::from(settings.pool_size);
    chassis.metrics().gauge_fn(
        "db_client_connection_max",
        "The maximum number of connections of the pool.",
        &[("db_client_connection_pool_name", name)],
        move || size,
    )?;
    let (noted, renewed) = (suspected.clone(), pool.clone());
    let last = Mutex::new(None::<Instant>);
    chassis.on_error(move |error| {
        if let Some(error) = error.downcast_ref::<RedisError>() {
            if error.is_timeout() {
                noted.notify_one();
            }
            if error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly) {
                let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
                if last.is_none_or(|last| last.elapsed() > AFTER_FAILOVER) {
                    *last = Some(Instant::now());
                    // A renewal fails only if the URL is invalid, and the URL was valid at the start.
                    let _ = renewed.renew_all();
                }
            }
        }
        classify_error(error)
    });
    tokio::spawn(mend(pool.clone(), suspected));
    let closing = pool.clone();
    chassis.on_stop(name, async move || Ok(closing.close()?));
    let probe = Probe(pool.clone());
    chassis.readiness().add(name, settings.readiness, probe);
    Ok(pool)
}

/// Logs a warning if others on the network can read the connection.
pub(crate) fn warn_if_readable(name: &str, settings: &Settings) {
    if address::read(&settings.url).is_ok_and(|info| address::is_readable(&info)) {
        tracing::warn!(
            redis = name,
            "the password and all data cross the network in clear: write rediss:// in `{name}.url`"
        );
    }
}

/// Creates the client for these settings.
pub(crate) fn client_of(name: &str, settings: &Settings) -> anyhow::Result<Client> {
    let info = match address::read(&settings.url) {
        Ok(info) => info,
        Err(wrong) => bail!("{name}.url: {wrong}"),
    };
    #[cfg(feature = "tls")]
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // The redis crate uses the process's provider and does not install one. `Err` means that another thread was
        // faster.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    Client::open(info.set_tcp_settings(tcp_settings())).with_context(|| format!("{name}.url"))
}

impl Pool {
    fn new(client: Client, config: ConnectionManagerConfig, size: u32) -> RedisResult<Self> {
        let mut inner = Inner {
            client: RwLock::new(client),
            config,
            managers: Vec::new(),
            next: AtomicUsize::new(0),
            is_closed: AtomicBool::new(false),
        };
        for _ in 0..size.max(1) {
            inner.managers.push(Mutex::new(inner.fresh()?));
        }
        Ok(Self(Arc::new(inner)))
    }

    /// Returns the next connection, which other callers share. Cheap: call it for each use.
    pub fn get(&self) -> ConnectionManager {
        let next = self.0.next.fetch_add(1, Ordering::Relaxed);
        self.at(next % self.0.managers.len())
    }

    /// A client that opens connections outside of the pool: for commands that block or watch, or for a subscription.
    pub fn client(&self) -> Client {
        let client = self.0.client.read();
        client.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn at(&self, at: usize) -> ConnectionManager {
        let manager = self.0.managers[at].lock();
        manager.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Drops the connection; the next command opens a new one.
    fn renew(&self, at: usize) -> RedisResult<()> {
        let fresh = self.0.fresh()?;
        *self.0.managers[at]
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// Replaces all connections with those of another client, if a test connection answers.
    pub(crate) async fn follow(&self, client: Client) -> anyhow::Result<()> {
        let new = Self::new(client.clone(), self.0.config.clone(), 1)?;
        new.ask().await?;
        *self
            .0
            .client
            .write()
            .unwrap_or_else(PoisonError::into_inner) = client;
        Ok(self.renew_all()?)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.is_closed.load(Ordering::Relaxed)
    }

    fn renew_all(&self) -> RedisResult<()> {
        (0..self.0.managers.len()).try_for_each(|at| self.renew(at))
    }

    fn close(&self) -> RedisResult<()> {
        self.0.is_closed.store(true, Ordering::Relaxed);
        self.renew_all()
    }

    /// Checks whether each connection answers, and replaces those that do not.
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

    async fn ping(&self, at: usize) -> anyhow::Result<()> {
        let ping = async || {
            let mut manager = self.at(at);
            let answer = redis::cmd("PING");
            tokio::time::timeout(ANSWER, answer.exec_async(&mut manager)).await
        };
        let answer = match ping().await {
            Ok(Err(error)) if error.is_timeout() => None,
            Ok(answer) => Some(answer),
            Err(_) => None,
        };
        let answer = match answer {
            Some(answer) => answer,
            None => {
                // A manager reconnects after a connection was closed, but not if the connection is silent.
                self.renew(at)?;
                match ping().await {
                    Ok(answer) => answer,
                    Err(_) => bail!("no response within {ANSWER:?}"),
                }
            }
        };
        match answer {
            // The server answers, but the user may not run `PING`.
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) => Ok(()),
            // If a reconnect fails with an error of this kind, such as a temporarily wrong password, a manager never
            // retries.
            Err(error) if !error.is_io_error() => {
                self.renew(at)?;
                Err(without_causes(&error))
            }
            answer => answer.map_err(|error| without_causes(&error)),
        }
    }
}

/// The error's text already contains its causes.
fn without_causes(error: &RedisError) -> anyhow::Error {
    anyhow::anyhow!("{error}")
}

/// Checks the connections after one was lost or a command timed out, and retries until all answer. Otherwise a
/// manager would return the error of its last attempt to the next caller, even much later.
async fn mend(pool: Pool, suspected: Arc<Notify>) {
    const SOON: Duration = Duration::from_millis(100);
    loop {
        suspected.notified().await;
        let mut attempts = 0;
        while !pool.is_closed() && pool.ask().await.is_err() {
            attempts += 1;
            tokio::time::sleep(if attempts < 20 { SOON } else { ANSWER }).await;
        }
        if pool.is_closed() {
            return;
        }
    }
}

fn tcp_settings() -> TcpSettings {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE);
    let settings = TcpSettings::default()
        .set_nodelay(true)
        .set_keepalive(keepalive.with_interval(KEEPALIVE / 3));
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(KEEPALIVE);
    settings
}

impl Inner {
    /// Creates a manager that connects on first use.
    fn fresh(&self) -> RedisResult<ConnectionManager> {
        let client = self.client.read().unwrap_or_else(PoisonError::into_inner);
        ConnectionManager::new_lazy_with_config(client.clone(), self.config.clone())
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
