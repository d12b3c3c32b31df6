//! HTTP/2 by hand: a client that answers what it wants to, and sees each frame.

use std::net::SocketAddr;
use std::time::Duration;

use crate::client::Connection;

pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;

/// GET / with the path, the scheme and the method from the static table, and an authority.
pub(crate) const HEADERS: &[u8] = b"\x82\x86\x84\x41\x04test";

/// A frame that is sent.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A frame that came.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// A connection, of which the preface is sent.
pub(crate) struct Http2 {
    client: Connection,
    /// Streams that have ended, as far as [`Http2::has_ended`] has seen.
    ended: u32,
}

impl Http2 {
    pub(crate) fn open(address: SocketAddr) -> Self {
        Self::with_settings(address, &[])
    }

    /// With settings, by their numbers.
    pub(crate) fn with_settings(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let mut client = Connection::open(address).unwrap();
        client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        let payload: Vec<u8> = settings
            .iter()
            .flat_map(|(number, value)| {
                [&number.to_be_bytes()[..], &value.to_be_bytes()[..]].concat()
            })
            .collect();
        client.send(&frame(SETTINGS, 0, 0, &payload)).unwrap();
        let mut client = Self { client, ended: 0 };
        // Until then the service goes by the standard's own.
        client.until(|frame| frame.kind == SETTINGS && frame.flags & 1 == 1);
        client
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.client.send(bytes)
    }

    /// Asks for a path.
    pub(crate) fn get(&mut self, stream: u32, path: &str) {
        self.request(stream, path, true);
    }

    /// GET, or POST whose body follows.
    pub(crate) fn request(&mut self, stream: u32, path: &str, ends: bool) {
        let method = if ends { &b"\x82"[..] } else { b"\x83" };
        self.head(stream, method, path, ends);
    }

    /// A request without a body.
    pub(crate) fn ask(&mut self, stream: u32, method: &str, path: &str) {
        // `:method`, named by the static table and not indexed.
        let method = [&[2, u8::try_from(method.len()).unwrap()], method.as_bytes()].concat();
        self.head(stream, &method, path, true);
    }

    fn head(&mut self, stream: u32, method: &[u8], path: &str, ends: bool) {
        let length = u8::try_from(path.len()).unwrap();
        let head = [
            method,
            &[0x86, 0x04, length],
            path.as_bytes(),
            b"\x41\x04test",
        ]
        .concat();
        let flags = if ends { 0x5 } else { 0x4 };
        self.send(&frame(1, flags, stream, &head)).unwrap();
    }

    /// Lets so many bytes more come on the connection.
    pub(crate) fn window(&mut self, bytes: u32) {
        self.send(&frame(WINDOW_UPDATE, 0, 0, &bytes.to_be_bytes()))
            .unwrap();
    }

    /// The next frame; none once the connection has ended.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let head = self.client.bytes(9).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
        Some(Frame {
            kind: head[3],
            flags: head[4],
            stream,
            payload: self.client.bytes(length as usize).ok()?,
        })
    }

    /// The frames of these kinds, until one is what it has to be.
    pub(crate) fn until(&mut self, is_it: impl Fn(&Frame) -> bool) -> Frame {
        loop {
            let frame = self.next().expect("the connection goes on");
            if is_it(&frame) {
                return frame;
            }
        }
    }

    /// Whether so many streams have been answered or reset, or the connection has ended, by what has come so far. Answers
    /// PINGs, if it is to.
    pub(crate) fn has_ended(&mut self, streams: u32, answers_pings: bool) -> bool {
        self.client.timeout(Duration::from_millis(20));
        while let Some(came) = self.next() {
            let ends = came.kind == RST_STREAM || (came.flags & 1 == 1 && came.kind <= 1);
            self.ended += u32::from(ends && came.stream > 0);
            if came.kind == PING && came.flags & 1 == 0 && answers_pings {
                let _ = self.send(&frame(PING, 1, 0, &came.payload));
            }
        }
        self.ended >= streams || self.client.is_closed()
    }

    /// The kinds of frames until the connection ends.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        std::iter::from_fn(|| self.next().map(|frame| frame.kind)).collect()
    }
}
