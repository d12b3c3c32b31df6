//! A TCP proxy whose connections can go silent, as they do behind a firewall that forgot them: what is sent
//! is acknowledged and lost, and nothing is closed.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// Forwards to one address.
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    target: Mutex<SocketAddr>,
    /// The number of times that all connections were silenced.
    silences: AtomicUsize,
    /// Whether new ones are silent from the start.
    is_dead: AtomicBool,
    /// Silent ones stay open.
    kept: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// Starts one, on a port of its own.
    pub fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State {
            target: Mutex::new(target),
            silences: AtomicUsize::new(0),
            is_dead: AtomicBool::new(false),
            kept: Mutex::default(),
        });
        let shared = state.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if shared.is_dead.load(Ordering::SeqCst) {
                    shared.keep(client);
                    continue;
                }
                let target = *shared.target.lock().expect("not poisoned");
                let Ok(server) = TcpStream::connect(target) else {
                    continue;
                };
                let generation = shared.silences.load(Ordering::SeqCst);
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (from.try_clone(), to.try_clone());
                    let (from, to) = (from.expect("a clone"), to.expect("a clone"));
                    let state = shared.clone();
                    thread::spawn(move || state.forward(from, to, generation));
                }
            }
        });
        Self { address, state }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Has the connections there are go silent. New ones are fine.
    pub fn silence(&self) {
        self.state.silences.fetch_add(1, Ordering::SeqCst);
    }

    /// The same, and new ones get no answer either until [`Proxy::revive`].
    pub fn kill(&self) {
        self.state.is_dead.store(true, Ordering::SeqCst);
        self.silence();
    }

    /// New connections go to another server, as behind a name or an address that moved.
    pub fn retarget(&self, target: SocketAddr) {
        *self.state.target.lock().expect("not poisoned") = target;
    }

    /// New connections are fine again; those from before stay silent.
    pub fn revive(&self) {
        self.state.is_dead.store(false, Ordering::SeqCst);
    }
}

impl State {
    fn forward(&self, mut from: TcpStream, mut to: TcpStream, generation: usize) {
        let is_silent = || self.silences.load(Ordering::SeqCst) != generation;
        let mut bytes = [0; 65536];
        while let Ok(read @ 1..) = from.read(&mut bytes) {
            if !is_silent() && to.write_all(&bytes[..read]).is_err() {
                break;
            }
        }
        if is_silent() {
            self.keep(to);
        } else {
            let _ = to.shutdown(Shutdown::Both);
        }
    }

    fn keep(&self, silent: TcpStream) {
        self.kept.lock().expect("not poisoned").push(silent);
    }
}
