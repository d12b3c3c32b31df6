//! Listening sockets: TCP, Unix, and those that the process has inherited.

use std::fmt;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use listenfd::ListenFd;
use tokio::net::{TcpListener, TcpSocket, UnixListener, UnixSocket, UnixStream};

use super::transport::Transport;
use crate::error::Error;

/// The maximum number of connections that wait in the kernel while the listener is at its own limit.
const BACKLOG: u32 = 1024;
/// The address that stands for the peer of a Unix socket, which has no address. Like a peer with 127.0.0.1, it is on
/// this machine.
const LOCAL_PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A socket that listens already: one that the program has opened, or one that it has inherited.
///
/// Pass it to [`Server::listener`](crate::Server::listener), which also accepts tokio's `TcpListener` and
/// `UnixListener`.
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
pub(crate) enum ListenAddress {
    Tcp(SocketAddr),
    /// The path, unless the socket has none.
    Unix(Option<PathBuf>),
}

/// A bound address without a listener: connections are refused until it listens.
#[derive(Debug)]
pub(crate) struct Bound {
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

/// The file of a Unix socket that this process has bound. The file is removed when this value is dropped, unless
/// another process has replaced the file meanwhile.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
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
    /// use axum_chassis::server::ListenSocket;
    ///
    /// fn main() -> anyhow::Result<()> {
    ///     let socket = ListenSocket::inherited()?;
    ///     tokio::runtime::Runtime::new()?.block_on(serve(socket))
    /// }
    /// # async fn serve(_: Option<ListenSocket>) -> anyhow::Result<()> { Ok(()) }
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
pub(crate) enum Inherited {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

impl Inherited {
    /// The socket that the process was started with. Removes its variables from the environment, so that child processes
    /// do not take it for theirs.
    pub(crate) fn take() -> io::Result<Option<Self>> {
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
    pub(crate) fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// Host and port. A Unix socket counts as port 0 of 127.0.0.1, as its peers do.
    pub(crate) fn socket_address(&self) -> SocketAddr {
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
    /// Binds `host:port`. `name` is the listener's name in errors.
    ///
    /// # Errors
    /// [`Error::Bind`] with the address, if it cannot be resolved or bound.
    pub(crate) fn tcp(name: &'static str, host: &str, port: u16) -> Result<Self, Error> {
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
        bind().map_err(Error::bind(name, format_args!("{host}:{port}")))
    }

    /// Binds the address in the settings.
    ///
    /// # Errors
    /// [`Error::Bind`] with the address.
    pub(crate) fn main(settings: &super::Settings) -> Result<Self, Error> {
        let Some(path) = &settings.unix_socket else {
            return Self::tcp("main", &settings.host, settings.port);
        };
        let address = ListenAddress::Unix(Some(path.clone()));
        let bound = bind_unix(path, settings.unix_socket_mode());
        let (socket, file) = bound.map_err(Error::bind("main", &address))?;
        Ok(Self {
            socket: BoundKind::Unix(socket, file),
            address,
        })
    }

    /// The socket that the process was started with. It listens already.
    pub(crate) fn inherited(socket: Inherited) -> Result<Self, Error> {
        let bound = Self::listening(ListenSocket(SocketOrigin::Inherited(socket)));
        bound.map_err(Error::bind("main", "LISTEN_FDS"))
    }

    /// A socket that listens already.
    pub(crate) fn listening(socket: ListenSocket) -> io::Result<Self> {
        let acceptor = match socket.0 {
            SocketOrigin::Program(acceptor) => acceptor,
            SocketOrigin::Inherited(socket) => socket.listen()?,
        };
        Ok(Self {
            address: acceptor.address()?,
            socket: BoundKind::Listening(acceptor),
        })
    }

    /// The bound address, with the actual port for port 0.
    pub(crate) fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// Makes the socket listen.
    pub(super) fn acceptor(self, name: &'static str) -> Result<Acceptor, Error> {
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
        listen().map_err(Error::bind(name, self.address))
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

fn bind_unix(path: &Path, mode: Option<u32>) -> io::Result<(UnixSocket, SocketFile)> {
    remove_stale(path)?;
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    let file = SocketFile {
        identity: identity(path)?,
        path: path.to_owned(),
    };
    // This is early enough: nobody can connect before the socket listens.
    if let Some(mode) = mode {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    Ok((socket, file))
}

/// Removes the socket file of a process that was killed. The file of a process that still listens stays.
fn remove_stale(path: &Path) -> io::Result<()> {
    let is_socket = match fs::symlink_metadata(path) {
        Ok(file) => file.file_type().is_socket(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !is_socket {
        let message = "there is a file that is not a socket";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
    }
    // One poll is enough: a connection to a listening socket succeeds at once, or waits for room in the socket's queue.
    let connect = pin!(UnixStream::connect(path));
    match connect.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path)
        }
        Poll::Ready(Err(error)) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        _ => {
            let message = "another process listens there";
            Err(io::Error::new(io::ErrorKind::AddrInUse, message))
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let file = fs::symlink_metadata(path)?;
    Ok((file.dev(), file.ino()))
}

impl SocketFile {
    fn is_ours(&self) -> bool {
        identity(&self.path).is_ok_and(|identity| identity == self.identity)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_ours() {
            let _ = fs::remove_file(&self.path);
        }
    }
}
