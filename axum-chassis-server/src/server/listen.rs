//! Listening sockets: TCP, Unix, and those that the process has inherited.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use listenfd::ListenFd;
use tokio::net::{TcpListener, TcpSocket, UnixListener, UnixSocket};

use super::socket_file::{self, SocketFile};
use super::transport::Transport;

/// The variable that names inherited sockets, in errors.
const LISTEN_FDS: &str = "LISTEN_FDS";
/// The maximum number of connections that wait in the kernel while the listener is at its own limit.
const BACKLOG: u32 = 1024;
/// The address that stands for the peer of a Unix socket, which has no address. Like a peer with 127.0.0.1, it is on
/// this machine.
const LOCAL_PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A socket that listens already: one that the program has opened, or one that it has inherited.
///
/// [`Bound::listening`] takes it, and also tokio's `TcpListener` and `UnixListener`. In a program on axum-chassis, pass it to
/// `axum_chassis::Server::listener`.
#[derive(Debug)]
pub struct ListenSocket(SocketOrigin);

#[derive(Debug)]
enum SocketOrigin {
    Program(Acceptor),
    Inherited(Inherited),
}

/// A listening socket of the current runtime.
#[derive(Debug)]
pub(super) enum Acceptor {
    Tcp(TcpListener),
    /// With the file to remove, if this process has created it.
    Unix(
        UnixListener,
        #[expect(dead_code, reason = "removed when dropped")] Option<SocketFile>,
    ),
}

/// The address of a listening socket.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListenAddress {
    /// The host and the port.
    Tcp(SocketAddr),
    /// The path, unless the socket has none.
    Unix(Option<PathBuf>),
}

/// A bound address without a listener: connections are refused until it listens.
#[derive(Debug)]
pub struct Bound {
    socket: BoundKind,
    address: ListenAddress,
}

#[derive(Debug)]
enum BoundKind {
    Tcp(TcpSocket),
    Unix(UnixSocket, SocketFile),
    /// A socket that was bound elsewhere, and listens already.
    Listening(Acceptor),
}

/// An address that cannot be bound, or on which the socket cannot listen. Its `source` is the operating system's error.
#[derive(Debug)]
#[non_exhaustive]
pub struct BindError {
    /// The address as it was configured, or the origin of the socket.
    pub address: String,
    /// The operating system's error.
    pub source: io::Error,
}

// === impl ListenSocket ===

impl ListenSocket {
    /// Takes the socket that the process was started with, by systemd's socket activation (`LISTEN_FDS` and
    /// `LISTEN_PID`) or by a tool that does the same. Returns `None` without such a socket.
    ///
    /// Call it once, at the beginning of a `main` that is not async, before the runtime or anything else has started a
    /// thread. It removes the variables from the environment, so that child processes do not use them. While it does,
    /// no other thread may read the environment.
    ///
    /// ```
    /// use axum_chassis_server::ListenSocket;
    ///
    /// fn main() -> std::io::Result<()> {
    ///     let socket = ListenSocket::inherited()?;
    ///     tokio::runtime::Runtime::new()?.block_on(serve(socket))
    /// }
    /// # async fn serve(_: Option<ListenSocket>) -> std::io::Result<()> { Ok(()) }
    /// ```
    ///
    /// # Errors
    /// If there are several sockets, one that is neither a TCP nor a Unix stream socket, or a connection (systemd's
    /// `Accept=yes`).
    pub fn inherited() -> io::Result<Option<Self>> {
        let socket = Inherited::take()?;
        Ok(socket.map(|socket| Self(SocketOrigin::Inherited(socket))))
    }
}

impl From<TcpListener> for ListenSocket {
    fn from(listener: TcpListener) -> Self {
        Self(SocketOrigin::Program(Acceptor::Tcp(listener)))
    }
}

impl From<UnixListener> for ListenSocket {
    /// The socket's file stays when the server stops.
    fn from(listener: UnixListener) -> Self {
        Self(SocketOrigin::Program(Acceptor::Unix(listener, None)))
    }
}

// === impl BindError ===

impl BindError {
    fn of(address: impl fmt::Display) -> impl FnOnce(io::Error) -> Self {
        let address = address.to_string();
        move |source| Self { address, source }
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot bind {}", self.address)
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

// === impl Acceptor ===

impl Acceptor {
    pub(super) async fn accept(&self) -> io::Result<(Transport, SocketAddr)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Without this option, small responses wait for the client's delayed acknowledgement.
                let _ = stream.set_nodelay(true);
                Ok((Transport::Left(stream), peer))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok((Transport::Right(stream), LOCAL_PEER))
            }
        }
    }

    fn address(&self) -> io::Result<ListenAddress> {
        Ok(match self {
            Self::Tcp(listener) => ListenAddress::Tcp(listener.local_addr()?),
            Self::Unix(listener, _) => {
                let path = listener.local_addr()?.as_pathname().map(Path::to_owned);
                ListenAddress::Unix(path)
            }
        })
    }
}

/// An inherited socket that is not registered with a runtime yet.
#[derive(Debug)]
enum Inherited {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

impl Inherited {
    /// The socket that the process was started with. Removes its variables from the environment, so that child processes
    /// do not take it for theirs.
    fn take() -> io::Result<Option<Self>> {
        let mut sockets = ListenFd::from_env();
        match sockets.len() {
            0 => return Ok(None),
            1 => {}
            number => {
                let message = format!("{number} sockets in LISTEN_FDS, expected one");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
            }
        }
        let socket = if let Ok(Some(listener)) = sockets.take_tcp_listener(0) {
            Self::Tcp(listener)
        } else if let Ok(Some(listener)) = sockets.take_unix_listener(0) {
            Self::Unix(listener)
        } else {
            let message = "the socket in LISTEN_FDS is neither a TCP nor a Unix stream socket";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        };
        if socket.is_connection()? {
            let message = "the socket in LISTEN_FDS is a connection, expected one that listens: \
                           `Accept=no` in the systemd socket unit";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        Ok(Some(socket))
    }

    /// Whether the socket is a connection, which has a peer. Accepting from such a socket always fails.
    fn is_connection(&self) -> io::Result<bool> {
        Ok(match self {
            Self::Tcp(socket) => {
                let socket = OwnedFd::from(socket.try_clone()?);
                std::net::TcpStream::from(socket).peer_addr().is_ok()
            }
            Self::Unix(socket) => {
                let socket = OwnedFd::from(socket.try_clone()?);
                std::os::unix::net::UnixStream::from(socket)
                    .peer_addr()
                    .is_ok()
            }
        })
    }

    /// Registers it with the current runtime.
    fn listen(self) -> io::Result<Acceptor> {
        Ok(match self {
            Self::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                Acceptor::Tcp(TcpListener::from_std(listener)?)
            }
            Self::Unix(listener) => {
                listener.set_nonblocking(true)?;
                Acceptor::Unix(UnixListener::from_std(listener)?, None)
            }
        })
    }
}

// === impl ListenAddress ===

impl ListenAddress {
    /// Host and port, unless it is a Unix socket.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// Host and port. A Unix socket counts as port 0 of 127.0.0.1, as its peers do.
    pub fn socket_address(&self) -> SocketAddr {
        self.tcp().unwrap_or(LOCAL_PEER)
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(Some(path)) => write!(f, "unix:{}", path.display()),
            Self::Unix(None) => f.write_str("unix:"),
        }
    }
}

// === impl Bound ===

impl Bound {
    /// Binds `host:port`. Port 0 lets the system choose.
    ///
    /// # Errors
    /// If the address cannot be resolved or bound.
    ///
    /// # Panics
    /// For this and the following methods: outside of a tokio runtime.
    pub fn tcp(host: &str, port: u16) -> Result<Self, BindError> {
        let bind = || {
            // A name such as `localhost` may resolve to several addresses. The first that works is used.
            let mut refused = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
            for address in (host, port).to_socket_addrs()? {
                match bind_tcp(address) {
                    Ok(socket) => {
                        let address = ListenAddress::Tcp(socket.local_addr()?);
                        let socket = BoundKind::Tcp(socket);
                        return Ok(Self { socket, address });
                    }
                    Err(error) => refused = error,
                }
            }
            Err(refused)
        };
        bind().map_err(BindError::of(format_args!("{host}:{port}")))
    }

    /// Binds the address in the settings.
    ///
    /// # Errors
    /// If it cannot be bound.
    pub fn from_settings(settings: &super::Settings) -> Result<Self, BindError> {
        let Some(path) = &settings.unix_socket else {
            return Self::tcp(&settings.host, settings.port);
        };
        let address = ListenAddress::Unix(Some(path.clone()));
        let bound = socket_file::bind(path, settings.unix_socket_mode());
        let (socket, file) = bound.map_err(BindError::of(&address))?;
        Ok(Self {
            socket: BoundKind::Unix(socket, file),
            address,
        })
    }

    /// Takes a socket that listens already.
    ///
    /// # Errors
    /// If the operating system does not return the socket's address, or rejects the socket.
    pub fn listening(socket: impl Into<ListenSocket>) -> Result<Self, BindError> {
        let (acceptor, origin) = match socket.into().0 {
            SocketOrigin::Program(acceptor) => (Ok(acceptor), "the program's listener"),
            SocketOrigin::Inherited(socket) => (socket.listen(), LISTEN_FDS),
        };
        let bound = acceptor.and_then(|acceptor| {
            Ok(Self {
                address: acceptor.address()?,
                socket: BoundKind::Listening(acceptor),
            })
        });
        bound.map_err(BindError::of(origin))
    }

    /// The bound address, with the actual port for port 0.
    pub fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// Makes the socket listen.
    pub(super) fn acceptor(self) -> Result<Acceptor, BindError> {
        let listen = || {
            Ok(match self.socket {
                BoundKind::Tcp(socket) => Acceptor::Tcp(socket.listen(BACKLOG)?),
                BoundKind::Unix(socket, file) => {
                    let listener = socket.listen(BACKLOG)?;
                    // Before the socket listened, another process could mistake its file for the file of a killed
                    // process, and replace it.
                    if !file.is_ours() {
                        let message = "another process has taken the socket's file";
                        return Err(io::Error::new(io::ErrorKind::AddrInUse, message));
                    }
                    Acceptor::Unix(listener, Some(file))
                }
                BoundKind::Listening(acceptor) => acceptor,
            })
        };
        listen().map_err(BindError::of(self.address))
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}
