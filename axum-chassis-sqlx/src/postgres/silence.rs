//! Closes PostgreSQL connections that have gone silent: the network drops their packets, or a proxy in between has lost
//! them, and neither side closes them.
//!
//! sqlx waits for a response without a limit: during a query, when a connection returns to the pool (where it
//! occupies a slot), and when a connection is closed over TLS. It does not set TCP keepalive, and does not expose its
//! sockets. A proxy that still acknowledges packets would defeat keepalive anyway. This module therefore finds the
//! sockets among the process's file descriptors, by peer address, and shuts them down. Pending operations fail
//! immediately, as if the server had closed the connection.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use sqlx::postgres::PgConnectOptions;

/// The number of addresses to keep, which is more than a name has at a time. Older addresses belong to servers that no
/// longer exist.
const ADDRESSES: usize = 64;

/// The current and former addresses of the database.
#[derive(Default)]
pub(crate) struct Addresses(Mutex<VecDeque<SocketAddr>>);

impl Addresses {
    /// Resolves the host and adds its addresses. A Unix socket has no address, and does not go silent.
    pub(crate) async fn learn(&self, options: &PgConnectOptions) {
        if options.get_socket().is_some() || options.get_host().starts_with('/') {
            return;
        }
        let Ok(found) = tokio::net::lookup_host((options.get_host(), options.get_port())).await
        else {
            return;
        };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for address in found {
            if !known.contains(&address) {
                known.push_back(address);
            }
        }
        while known.len() > ADDRESSES {
            known.pop_front();
        }
    }

    /// The open connections to these addresses.
    pub(crate) fn connections(&self) -> Connections {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Connections::to(&known)
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::VecDeque;
    use std::fs;
    use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
    use std::os::fd::RawFd;

    use nix::sys::socket::{Shutdown, SockaddrStorage, getpeername, getsockname, shutdown};

    /// A snapshot of this process's connections. It has both addresses of each connection, because the file descriptor
    /// may belong to another socket by the time of the shutdown.
    pub(crate) struct Connections(Vec<(RawFd, SocketAddr, SocketAddr)>);

    impl Connections {
        pub(super) fn to(addresses: &VecDeque<SocketAddr>) -> Self {
            let numbers = fs::read_dir("/proc/self/fd").into_iter().flatten();
            let numbers =
                numbers.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
            let ends = numbers.filter_map(|number| {
                let (own, peer) = ends(number)?;
                addresses.contains(&peer).then_some((number, own, peer))
            });
            Self(ends.collect())
        }

        /// Shuts down the connections that are still open, and returns their number.
        pub(crate) fn end(self) -> usize {
            let open = self.0.into_iter();
            open.filter(|&(number, own, peer)| ends(number) == Some((own, peer)))
                .filter(|&(number, ..)| shutdown(number, Shutdown::Both).is_ok())
                .count()
        }
    }

    /// The local address and the peer's address of a connected TCP socket.
    fn ends(number: RawFd) -> Option<(SocketAddr, SocketAddr)> {
        let own = getsockname::<SockaddrStorage>(number).ok()?;
        let peer = getpeername::<SockaddrStorage>(number).ok()?;
        Some((address(&own)?, address(&peer)?))
    }

    fn address(from: &SockaddrStorage) -> Option<SocketAddr> {
        let v4 = from
            .as_sockaddr_in()
            .map(|v4| SocketAddrV4::from(*v4).into());
        v4.or_else(|| {
            from.as_sockaddr_in6()
                .map(|v6| SocketAddrV6::from(*v6).into())
        })
    }
}

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    use std::collections::VecDeque;
    use std::net::SocketAddr;

    /// Does nothing, because this system has no list of the process's sockets.
    pub(crate) struct Connections;

    impl Connections {
        pub(super) fn to(_: &VecDeque<SocketAddr>) -> Self {
            Self
        }

        pub(crate) fn end(self) -> usize {
            0
        }
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) use elsewhere::Connections;
#[cfg(target_os = "linux")]
pub(crate) use linux::Connections;

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::thread;

    use super::*;

    #[test]
    fn a_blocked_read_ends_and_connections_to_other_servers_continue() {
        let [database, other] =
            [(), ()].map(|()| TcpListener::bind("127.0.0.1:0").expect("a socket"));
        let [silent, well] = [&database, &other].map(|listener| {
            TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection")
        });
        let addresses = Addresses::default();
        let known = database.local_addr().expect("an address");
        addresses.0.lock().expect("not poisoned").push_back(known);
        let seen = addresses.connections();
        let later = TcpStream::connect(known).expect("a connection");

        let mut waits = silent.try_clone().expect("a clone");
        let waits = thread::spawn(move || waits.read(&mut [0]));
        // The clone has its own file descriptor.
        assert!((1..=2).contains(&seen.end()));
        assert_eq!(waits.join().expect("no panic").expect("the end"), 0);
        for mut open in [&well, &later] {
            open.write_all(b"still open").expect("an open connection");
        }
    }
}
