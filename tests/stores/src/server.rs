//! A server as a process, on a port of its own.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::wait_for;

/// A port that is free now. The same server takes it again when it is started again.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    listener.local_addr().expect("an address").port()
}

/// A process that is killed when this is dropped.
pub struct Process(Child);

impl Process {
    /// Starts it.
    ///
    /// # Panics
    /// If there is no such program; `install` says where it comes from.
    pub fn start(command: &mut Command, install: &str) -> Self {
        let child = command.stdin(Stdio::null()).spawn();
        Self(child.unwrap_or_else(|error| panic!("{command:?}: {error} ({install})")))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).expect("a running process");
    }

    /// Waits for its end.
    pub fn wait(&mut self) {
        wait_for("the end of a server", || {
            self.0.try_wait().expect("a child")
        });
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
