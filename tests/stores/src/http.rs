//! A request on a connection of its own.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::PATIENCE;

/// A response.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Such as 200.
    pub status: u16,
    /// Status line and headers.
    pub head: String,
    /// The rest.
    pub body: String,
}

impl Answer {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// Whether this is a 503 as it should be: a problem that says when to come back, and nothing of
    /// what was asked of the store.
    pub fn is_unavailable(&self) -> bool {
        let pause = self
            .header("retry-after")
            .and_then(|pause| pause.parse::<u64>().ok());
        let telling = ["INSERT", "SELECT", "orders_", "sqlx", "127.0.0.1", "views:"];
        self.status == 503
            && self.header("content-type") == Some("application/problem+json")
            && pause.is_some_and(|pause| pause > 0)
            && !telling.iter().any(|word| self.body.contains(word))
    }
}

/// HTTP/1.0, which has no chunks to put together.
///
/// # Errors
/// If there is no connection, or none that lasts until the answer is whole.
pub fn request(to: SocketAddr, method: &str, path: &str, body: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nhost: test\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    let parse = || {
        let (head, body) = response.split_once("\r\n\r\n")?;
        Some(Answer {
            status: head.split(' ').nth(1)?.parse().ok()?,
            head: head.to_owned(),
            body: body.to_owned(),
        })
    };
    parse().ok_or_else(|| io::Error::other(format!("no answer: {response:?}")))
}
