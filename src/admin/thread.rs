//! The thread that serves the admin listener.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::page::PageState;
use super::{Admin, Settings, invalid_host};
use crate::boxed::boxed;
use crate::error::Error;
use crate::limits::{self, Limits};
use crate::metrics::Metrics;
use crate::server::{self, Bound, Routers};
use crate::shutdown::Trigger;

/// The maximum number of connections of this listener.
const MAX_CONNECTIONS: usize = 256;
/// Timeout for a client that does not read its response.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

/// The thread with the admin listener on it.
#[derive(Debug)]
pub(crate) struct AdminThread {
    pub(crate) address: SocketAddr,
    handle: Handle,
    trigger: Trigger,
    thread: Option<thread::JoinHandle<()>>,
}

impl AdminThread {
    /// Binds the listener and serves it on a thread of its own.
    pub(crate) fn start(settings: &Settings, admin: Arc<Admin>) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Error::Runtime)?;
        let (address, listening) = {
            let _within = runtime.enter();
            let bound = Bound::tcp("admin", &settings.host, settings.port)?;
            let address = bound.address().socket_address();
            (address, bound.listen("admin")?.for_probes())
        };
        let handle = runtime.handle().clone();
        // Requests to the admin port are not counted: these metrics are in a registry that is never scraped.
        let uncounted = Metrics::new().http()?;
        let trigger = Trigger::new();
        let shutdown = trigger.watch();
        let routers = Routers {
            router: admin.clone().router(),
            invalid_host: invalid_host(&admin.shared.readiness),
        };
        runtime.spawn(boxed(PageState::sample(admin)));
        let serve = move || {
            let settings = server::Settings {
                send_timeout: SEND_TIMEOUT.into(),
                ..server::Settings::default()
            };
            let limits = Limits::new(&limits::Settings::default(), Some(MAX_CONNECTIONS));
            runtime.block_on(listening.serve(routers, settings, limits, shutdown, uncounted));
        };
        let thread = thread::Builder::new()
            .name("admin".to_owned())
            .spawn(serve)
            .map_err(Error::Runtime)?;
        Ok(Self {
            address,
            handle,
            trigger,
            thread: Some(thread),
        })
    }

    /// Runs a task on the admin thread, whose timers work even if the service's runtime is blocked.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.handle.spawn(boxed(task))
    }

    /// Calls `set_up` in the admin thread's runtime, so that its tasks run there.
    pub(crate) fn within<T>(&self, set_up: impl FnOnce() -> T) -> T {
        let _within = self.handle.enter();
        set_up()
    }
}

impl Drop for AdminThread {
    /// Stops the listener, which is the last step of a shutdown.
    fn drop(&mut self) {
        self.trigger.advance(crate::shutdown::Phase::Abort);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
