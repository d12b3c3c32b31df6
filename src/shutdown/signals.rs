//! Requests to stop the service: signals, and [`StopRequest`] from within the program.

use tokio::sync::{mpsc, watch};

use crate::boxed::boxed;

/// Requests a shutdown from within the program. Cheap to clone; clones share their state.
#[derive(Clone, Debug, Default)]
pub(crate) struct StopRequest(watch::Sender<Option<String>>);

impl StopRequest {
    /// Requests the shutdown. Of several requests, the reason of the first is kept.
    pub(crate) fn send(&self, reason: String) {
        self.0.send_if_modified(|first| {
            let is_first = first.is_none();
            first.get_or_insert(reason);
            is_first
        });
    }

    /// Completes with the reason, once there is one.
    pub(crate) async fn reason(&self) -> String {
        let mut requests = self.0.subscribe();
        let reason = requests.wait_for(Option::is_some).await;
        let reason = reason.map(|reason| reason.clone());
        // There always is a reason, because this sender keeps the channel open.
        reason.ok().flatten().unwrap_or_default()
    }
}

/// The cause of a shutdown.
#[derive(Debug)]
pub(crate) enum StopCause {
    /// A signal with this name.
    Signal(&'static str),
    /// A request of the program, with its reason.
    Program(String),
}

impl StopCause {
    /// The signal, for a field of the log.
    pub(crate) fn signal(&self) -> Option<&str> {
        match self {
            Self::Signal(name) => Some(name),
            Self::Program(_) => None,
        }
    }

    /// The program's reason, for a field of the log.
    pub(crate) fn reason(&self) -> Option<&str> {
        match self {
            Self::Signal(_) => None,
            Self::Program(reason) => Some(reason),
        }
    }
}

/// The requests to stop: the signals SIGTERM and SIGINT, and requests of the program itself.
pub(crate) struct Signals {
    received: mpsc::UnboundedReceiver<&'static str>,
    program: StopRequest,
    /// Whether a signal has been received.
    is_signalled: bool,
}

impl Signals {
    /// Handles the signals from now on, instead of their default action, which ends the process at once.
    ///
    /// # Errors
    /// If the operating system rejects this.
    pub(crate) fn listen(program: StopRequest) -> std::io::Result<Self> {
        let (send, signals) = Self::channel(program);
        #[cfg(unix)]
        for (name, kind) in [
            ("SIGTERM", tokio::signal::unix::SignalKind::terminate()),
            ("SIGINT", tokio::signal::unix::SignalKind::interrupt()),
        ] {
            let mut signal = tokio::signal::unix::signal(kind)?;
            let send = send.clone();
            tokio::spawn(boxed(async move {
                while signal.recv().await.is_some() && send.send(name).is_ok() {}
            }));
        }
        #[cfg(not(unix))]
        tokio::spawn(async move {
            while tokio::signal::ctrl_c().await.is_ok() && send.send("Ctrl-C").is_ok() {}
        });
        Ok(signals)
    }

    /// Signals that this process sends itself, by name, through the returned sender. The real signals are not handled.
    pub(crate) fn channel(program: StopRequest) -> (mpsc::UnboundedSender<&'static str>, Self) {
        let (send, receive) = mpsc::unbounded_channel();
        let signals = Self {
            received: receive,
            program,
            is_signalled: false,
        };
        (send, signals)
    }

    /// Waits for the first request to stop.
    pub(crate) async fn stop(&mut self) -> StopCause {
        let program = self.program.clone();
        tokio::select! {
            biased;
            signal = self.next() => StopCause::Signal(signal),
            reason = program.reason() => StopCause::Program(reason),
        }
    }

    /// Waits for the second signal, which aborts the shutdown. Two signals are needed even if the program itself
    /// requested the shutdown. In this case, the first signal may come from an orchestrator that does not know about
    /// that request and only wants a graceful shutdown.
    pub(crate) async fn abort(&mut self) -> &'static str {
        if !self.is_signalled {
            let signal = self.next().await;
            tracing::info!(signal, "already stopping");
        }
        self.next().await
    }

    /// Waits for the next signal, and returns its name. If no more signals can be sent, this never completes.
    async fn next(&mut self) -> &'static str {
        match self.received.recv().await {
            Some(name) => {
                self.is_signalled = true;
                name
            }
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_the_second_signal_aborts_a_stop_that_the_program_asked_for() {
        let program = StopRequest::default();
        let (send, mut signals) = Signals::channel(program.clone());
        program.send("lost the lease".to_owned());
        program.send("twice".to_owned());
        assert_eq!(signals.stop().await.reason(), Some("lost the lease"));
        let _ = send.send("SIGTERM");
        let hour = Duration::from_secs(3600);
        assert!(tokio::time::timeout(hour, signals.abort()).await.is_err());
        let _ = send.send("SIGINT");
        assert_eq!(signals.abort().await, "SIGINT");
    }
}
