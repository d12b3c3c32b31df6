//! The file of a Unix socket.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use tokio::net::{UnixSocket, UnixStream};

/// The file of a Unix socket that this process has bound. The file is removed when this value is dropped, unless
/// another process has replaced the file meanwhile.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

/// Binds a Unix socket to `path`, whose file gets the permissions `mode`.
pub(super) fn bind(path: &Path, mode: Option<u32>) -> io::Result<(UnixSocket, SocketFile)> {
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
    pub(super) fn is_ours(&self) -> bool {
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
