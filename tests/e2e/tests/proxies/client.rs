//! A client that reads while it sends, and reports exactly what it saw.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

/// Timeout of a response.
const TIMEOUT: Duration = Duration::from_secs(15);
/// More than this does not fit into the buffers on the way.
const SMALL: usize = 8 * 1024;

/// A complete answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// A connection over HTTP/1.1.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    /// Whether no answer has come over it.
    is_new: bool,
}

impl Connection {
    pub(crate) fn open(port: u16) -> io::Result<Self> {
        Self::with(TcpStream::connect(("127.0.0.1", port))?)
    }

    /// Connects from another address of this machine, such as 127.0.0.2.
    pub(crate) fn open_from(from: IpAddr, port: u16) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()?;
        let stream = runtime.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4()?;
            socket.bind(SocketAddr::new(from, 0))?;
            socket.connect(([127, 0, 0, 1], port).into()).await
        })?;
        let stream = stream.into_std()?;
        stream.set_nonblocking(false)?;
        Self::with(stream)
    }

    fn with(stream: TcpStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::new(stream),
            is_new: true,
        })
    }

    /// Sets the timeout of a read.
    pub(crate) fn timeout(&self, timeout: Duration) {
        let set = self.stream.get_ref().set_read_timeout(Some(timeout));
        set.expect("a timeout");
    }

    /// Sends a request, and reads its answer meanwhile. `headers` are lines, each with its end.
    pub(crate) fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &str,
        body: &[u8],
    ) -> io::Result<Answer> {
        let length = match method {
            "GET" => String::new(),
            _ => format!("content-length: {}\r\n", body.len()),
        };
        let head = format!("{method} {path} HTTP/1.1\r\nhost: orders\r\n{headers}{length}\r\n");
        let bytes = [head.as_bytes(), body].concat();
        let mut writer = self.stream.get_ref().try_clone()?;
        if bytes.len() <= SMALL {
            writer.write_all(&bytes)?;
            return self.answer();
        }
        std::thread::scope(|scope| {
            // If this fails, the answer has the reason.
            let sent = scope.spawn(move || writer.write_all(&bytes));
            let answer = self.answer();
            if !matches!(&answer, Ok(answer) if answer.keeps_open()) {
                let _ = self.stream.get_ref().shutdown(std::net::Shutdown::Both);
            }
            let sent = sent.join().expect("no panic");
            answer.map_err(|error| match sent {
                Ok(()) => error,
                Err(sent) => io::Error::new(error.kind(), format!("{error}, after {sent}")),
            })
        })
    }

    /// The head of an answer, of which the body is still to be read.
    pub(crate) fn head(&mut self) -> io::Result<(u16, String)> {
        let mut head = String::new();
        loop {
            let begin = head.len();
            if self.stream.read_line(&mut head)? == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "closed before the answer",
                ));
            }
            if head[begin..].trim_end().is_empty() {
                self.is_new = false;
                let status = head.split(' ').nth(1).and_then(|it| it.parse().ok());
                let status =
                    status.ok_or_else(|| io::Error::other(format!("no status: {head}")))?;
                match status {
                    100 => head.clear(),
                    status => return Ok((status, head.to_lowercase())),
                }
            }
        }
    }

    fn answer(&mut self) -> io::Result<Answer> {
        let (status, head) = self.head()?;
        let mut answer = Answer {
            status,
            head,
            body: String::new(),
        };
        let mut body = Vec::new();
        if let Some(length) = answer.header("content-length") {
            body.resize(length.parse().map_err(io::Error::other)?, 0);
            self.stream.read_exact(&mut body)?;
        } else if answer.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk()? {
                body.extend(chunk);
            }
        } else {
            self.stream.read_to_end(&mut body)?;
        }
        answer.body = String::from_utf8_lossy(&body).into_owned();
        Ok(answer)
    }

    /// The next chunk of a body that comes in chunks.
    pub(crate) fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut size = String::new();
        self.stream.read_line(&mut size)?;
        let size = usize::from_str_radix(size.trim(), 16).map_err(io::Error::other)?;
        let mut chunk = vec![0; size + 2];
        self.stream.read_exact(&mut chunk)?;
        chunk.truncate(size);
        Ok((size > 0).then_some(chunk))
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    pub(crate) fn read(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.stream.read_exact(bytes)
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            (found == name).then(|| value.trim())
        })
    }

    fn keeps_open(&self) -> bool {
        self.header("connection") != Some("close")
    }
}

/// A client that keeps its connection, as every well-made client does: it opens another one when the server has closed
/// it, and sends a request again if the server closed a kept connection without an answer.
#[derive(Default)]
pub(crate) struct Client(Option<Connection>);

impl Client {
    pub(crate) fn request(
        &mut self,
        port: u16,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> io::Result<Answer> {
        loop {
            let mut connection = match self.0.take() {
                Some(connection) => connection,
                None => Connection::open(port)?,
            };
            let was_new = connection.is_new;
            match connection.request(method, path, "", body) {
                Ok(answer) => {
                    if answer.keeps_open() {
                        self.0 = Some(connection);
                    }
                    return Ok(answer);
                }
                Err(error) if was_new || error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(error);
                }
                Err(_) => {}
            }
        }
    }
}
