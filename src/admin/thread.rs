//! The thread that serves the admin listener.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use axum_chassis_server::{Bound, Limits, Routers, limits};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::page::PageState;
use super::{Admin, Settings, invalid_host};
use crate::boxed::boxed;
use crate::error::Error;
use crate::server;
use crate::shutdown::{self, Trigger};

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
            let bound = Bound::tcp(&settings.host, settings.port).map_err(Error::bind("admin"))?;
            let address = bound.address().socket_address();
            let listening = bound.listen().map_err(Error::bind("admin"))?;
            (address, listening.for_probes())
        };
        let handle = runtime.handle().clone();
        let (trigger, shutdown) = shutdown::channel();
        let routers = Routers::new(admin.clone().router())
            .invalid_host(invalid_host(&admin.shared.readiness));
        runtime.spawn(boxed(PageState::sample(admin)));
        let serve = move || {
            let mut settings = server::Settings::default();
            settings.send_timeout = SEND_TIMEOUT.into();
            let limits = Limits::new(&limits::Settings::default(), Some(MAX_CONNECTIONS));
            // Connections to the admin port are not counted.
            let events = Arc::new(());
            runtime.block_on(listening.serve(routers, settings, limits, shutdown, events));
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
        self.trigger.advance(shutdown::Phase::Abort);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
