//! [`Server`], the main listener of a program with its own `main`, and the parts that can be added to it.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum_chassis_server::{Bound, ListenSocket, Routers};
use tokio::task::JoinSet;

use super::exporter::{Exporter, Exporters};
use super::reload::Reload;
use super::retry::RetryLimit;
use super::start::{follow, invalid_host, request_layer, share};
use super::stop::Serving;
use super::teardown::Teardown;
use super::{Chassis, Stopped, collectors};
use crate::admin::{self, Admin, AdminThread};
use crate::boxed::{Boxed, boxed};
use crate::chassis_settings::ChassisSettings;
use crate::error::Error;
use crate::logs::{self, Logs};
use crate::request::RequestLayer;
use crate::settings::Effective;
use crate::shared::{Build, Shared};
use crate::shutdown::Signals;

/// Serves a router in a program that keeps its own `main`, in place of `axum::serve`.
///
/// ```no_run
/// # use axum::{Router, routing::get};
/// # #[tokio::main] async fn main() -> anyhow::Result<()> {
/// use axum_chassis::Server;
///
/// let app = Router::new().route("/", get("hello"));
/// let listener = tokio::net::TcpListener::bind("0.0.0.0:3000").await?;
/// Server::new("links", "1.0.0").listener(listener).bind()?.serve(app).await?;
/// # Ok(()) }
/// ```
///
/// The listener is the same as that of a [`Service`](crate::Service). It has timeouts for headers, idle connections and
/// clients that do not read, a limit of connections, a check of `Host`, and a graceful shutdown on SIGTERM and SIGINT
/// within one deadline. The defaults are those of [`ChassisSettings`]. All other parts are optional:
///
/// | part | is added with |
/// |---|---|
/// | request IDs, limits, access log, HTTP metrics, problem details | [`BoundServer::request_layer`] |
/// | readiness checks, metrics, background tasks, shutdown hooks | [`BoundServer::chassis`] |
/// | `/health/liveness` and `/health/readiness` on this listener | [`BoundServer::health_routes`] |
/// | the admin port: probes, metrics, settings, log filter, admin page | [`Server::admin`] |
/// | an exporter, such as of traces | [`Server::export`] |
///
/// `examples/parts.rs` has all of these parts except the exporter. `docs/own-main.md` describes how to change an
/// existing program.
#[must_use = "it listens once it is bound and served"]
pub struct Server {
    build: Build,
    settings: ChassisSettings,
    effective: Effective,
    logs: Option<Logs>,
    socket: Option<ListenSocket>,
    has_admin: bool,
    exporters: Exporters,
    stop: Option<Boxed<()>>,
}

impl Server {
    /// A server with the default settings. Pass the program's name and version: `env!("CARGO_PKG_NAME")` and
    /// `env!("CARGO_PKG_VERSION")`.
    pub fn new(name: &'static str, version: &'static str) -> Self {
        Self {
            build: Build::new(name, version),
            settings: ChassisSettings::default(),
            effective: Effective::default(),
            logs: None,
            socket: None,
            has_admin: false,
            exporters: Exporters::default(),
            stop: None,
        }
    }

    /// Uses these settings, which are the result of [`settings::load`](crate::settings::load), or the defaults with
    /// changes. The section `logs` and the key `service.threads` have no effect, because the program sets up the log
    /// and the runtime itself.
    pub fn settings(mut self, settings: ChassisSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Shows these settings on the admin port, with their origins. Pass the field `effective` of the result of
    /// [`settings::load`](crate::settings::load).
    pub fn effective(mut self, effective: Effective) -> Self {
        self.effective = effective;
        self
    }

    /// Writes access lines to this log, and shows the log's warnings and its filter on the admin port. Without a log,
    /// there are no access lines.
    pub fn logs(mut self, logs: &Logs) -> Self {
        self.logs = Some(logs.clone());
        self
    }

    /// Serves this socket instead of binding `server.host` and `server.port`. Pass tokio's `TcpListener` or
    /// `UnixListener`, or the socket that systemd has passed to the process ([`ListenSocket::inherited`]).
    pub fn listener(mut self, listener: impl Into<ListenSocket>) -> Self {
        self.socket = Some(listener.into());
        self
    }

    /// Opens the admin port (`admin.host`, `admin.port`) as well, on a thread of its own.
    pub fn admin(mut self) -> Self {
        self.has_admin = true;
        self
    }

    /// Adds an exporter, such as that of `axum-chassis-otlp`. The server then adds the exporter's spans of requests and
    /// its metrics, and runs its last export at the end of the shutdown. Pass the exporter's layer to
    /// [`logs::install_with_layer`](crate::logs::install_with_layer).
    pub fn export(mut self, exporter: impl Exporter) -> Self {
        self.exporters.add(exporter);
        self
    }

    /// Starts the graceful shutdown when `signal` completes. SIGTERM and SIGINT are then not handled.
    pub fn with_graceful_shutdown(
        mut self,
        signal: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        self.stop = Some(boxed(signal));
        self
    }

    /// Binds the address. Connections are refused until [`BoundServer::serve`]. The admin port answers at once, with
    /// readiness 503. Until `serve`, SIGTERM and SIGINT keep their default action, which ends the process.
    ///
    /// # Errors
    /// [`Error::Settings`] if settings are invalid, [`Error::Bind`] if an address cannot be bound, [`Error::Runtime`] if
    /// the operating system refuses the admin port's thread, and [`Error::Start`] if an exporter fails.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn bind(self) -> Result<BoundServer, Error> {
        let mut settings = self.settings;
        // A port that is not opened cannot conflict with the other one, so its number is not validated.
        if self.socket.is_some() {
            settings.server.port = 0;
        }
        if !self.has_admin {
            settings.admin.port = 0;
        }
        let settings = Arc::new(settings.checked()?);
        let bound = match self.socket {
            Some(socket) => Bound::listening(socket),
            None => Bound::from_settings(&settings.server),
        };
        let bound = bound.map_err(Error::bind("main"))?;
        let logs = match self.logs {
            Some(logs) => {
                self.exporters.read(&logs).map_err(Error::Start)?;
                logs
            }
            None => no_logs()?,
        };
        let (shared, trigger) = share(self.build, &settings, logs)?;
        collectors::register(&shared)?;
        shared.metrics.runtime(&tokio::runtime::Handle::current())?;
        let mut helpers = JoinSet::new();
        helpers.spawn(boxed(shared.heartbeat.clone().beat()));
        helpers.spawn(boxed(follow(shared.limits.clone())));
        let admin = match self.has_admin {
            true => Some(start_admin(&shared, &settings, self.effective)?),
            false => None,
        };
        let stop = shared.stop.clone();
        let own_signal = self.stop.map(|signal| {
            let (_, signals) = Signals::channel(stop.clone());
            helpers.spawn(boxed(async move {
                signal.await;
                stop.send("the program's own signal".to_owned());
            }));
            signals
        });
        let teardown = Teardown::new(
            shared.clone(),
            trigger,
            settings.shutdown.clone(),
            self.exporters.clone(),
        );
        let retry_limit = RetryLimit::of_start(*settings.service.start_timeout);
        let chassis = Chassis::without_settings(shared, settings.clone(), retry_limit);
        self.exporters.attach(&chassis).map_err(Error::Start)?;
        Ok(BoundServer {
            bound,
            own_signal,
            helpers,
            teardown,
            admin,
            chassis,
        })
    }
}

/// Logs that are written nowhere.
pub(super) fn no_logs() -> Result<Logs, Error> {
    let mut settings = logs::Settings::default();
    settings.filter = "off".to_owned();
    let output = logs::Output::to(std::io::sink());
    logs::start(&settings, output).map_err(|error| Error::Logs(error.into()))
}

fn start_admin(
    shared: &Arc<Shared>,
    settings: &ChassisSettings,
    effective: Effective,
) -> Result<AdminThread, Error> {
    let deadline = *settings.shutdown.deadline;
    let admin = Admin::new(shared.clone(), &settings.admin, deadline, effective);
    let admin = Arc::new(admin?);
    let thread = AdminThread::start(&settings.admin, admin)?;
    tracing::info!(listener = "admin", address = %thread.address, "listening");
    Ok(thread)
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("build", &self.build)
            .field("settings", &self.settings)
            .field("socket", &self.socket)
            .field("has_admin", &self.has_admin)
            .finish_non_exhaustive()
    }
}

/// A [`Server`] that has bound its address and does not serve yet. Dropping it aborts its background tasks.
#[must_use = "clients are refused until it serves"]
pub struct BoundServer {
    bound: Bound,
    /// The stop requests of [`Server::with_graceful_shutdown`], in place of SIGTERM and SIGINT.
    own_signal: Option<Signals>,
    /// Tasks that end with the server.
    helpers: JoinSet<()>,
    teardown: Teardown,
    admin: Option<AdminThread>,
    chassis: Chassis<()>,
}

impl BoundServer {
    /// The address, with the actual port for port 0. `None` for a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        self.bound.address().tcp()
    }

    /// The address of the admin port, with the actual port for port 0. `None` without [`Server::admin`].
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|admin| admin.address)
    }

    /// The API for readiness checks, metrics, background tasks, shutdown hooks and admin routes, as in the start of a
    /// [`Service`](crate::Service). Cheap to clone.
    pub fn chassis(&self) -> &Chassis<()> {
        &self.chassis
    }

    /// The middleware around routes. Add it after all routes to which it applies: `app.layer(server.request_layer())`.
    ///
    /// The layer has the limits, trusted proxies and metrics of this server. During the shutdown, it adds
    /// `Connection: close` to HTTP/1 responses, so that clients close their connections.
    pub fn request_layer(&self) -> RequestLayer {
        request_layer(&self.chassis.shared, &self.chassis.chassis_settings.server)
    }

    /// The routes `/health/liveness` and `/health/readiness`, for the health checks of proxies. Merge them after adding
    /// layers, so that health checks are neither logged nor limited: `app.layer(..).merge(server.health_routes())`.
    pub fn health_routes(&self) -> Router {
        admin::probes(self.chassis.readiness().clone())
    }

    /// Serves the router until the shutdown is complete. The shutdown begins on SIGTERM or SIGINT, on the signal of
    /// [`Server::with_graceful_shutdown`], or with [`Chassis::stop`].
    ///
    /// The shutdown has the phases of that of a [`Service`](crate::Service): readiness 503, `shutdown.delay`, no new
    /// connections, requests and background tasks finish, hooks run. Everything that still runs at `shutdown.deadline`
    /// is aborted. If this future is dropped, everything is aborted at once.
    ///
    /// # Errors
    /// [`Error::Bind`] if another process has started to listen on the address, and [`Error::Runtime`] if the operating
    /// system refuses a signal handler or the shutdown panicked.
    pub async fn serve(self, router: Router) -> Result<Stopped, Error> {
        let layer = self.request_layer();
        let _helpers = self.helpers;
        let Chassis {
            shared,
            chassis_settings: settings,
            ..
        } = self.chassis;
        let routers = Routers::new(router).invalid_host(invalid_host(&shared, layer));
        // The signal handlers are installed only now. Installed earlier, they would swallow a signal that arrives
        // before anything reacts to it.
        let stop = shared.stop.clone();
        let signals = match (self.own_signal, &self.admin) {
            (Some(signals), _) => Ok(signals),
            (None, Some(admin)) => admin.within(|| Signals::listen(stop)),
            (None, None) => Signals::listen(stop),
        };
        let signals = signals.map_err(Error::Runtime)?;
        let serving = Serving::begin(
            self.bound,
            routers,
            &settings.server,
            signals,
            self.teardown,
            Reload::default(),
        );
        let stopping = serving.await?.until_stopped();
        let Some(admin) = self.admin else {
            return Ok(stopping.await);
        };
        // On the admin thread, timers of the shutdown work even if a handler blocks this thread.
        let stopped = admin.spawn(stopping).await;
        // Dropping it joins its thread, which blocks.
        let _ = tokio::task::spawn_blocking(|| drop(admin)).await;
        stopped.map_err(|panic| Error::Runtime(std::io::Error::other(panic)))
    }
}

impl fmt::Debug for BoundServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundServer")
            .field("bound", &self.bound)
            .field("admin", &self.admin)
            .finish_non_exhaustive()
    }
}
