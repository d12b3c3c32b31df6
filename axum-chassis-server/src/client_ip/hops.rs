//! Parses `X-Forwarded-For` and `Forwarded` headers, from right to left.
//!
//! Each line is read from the right, too. The last entry was written by the nearest proxy, and its meaning must not
//! depend on what a client has put before it. If a line were read from the left, a quotation mark that a client never
//! closes would swallow the proxies' entries.

use std::iter;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::{HeaderMap, HeaderName};

/// The maximum number of hops, which is more than any request has passed.
const MOST_HOPS: usize = 32;
/// The maximum length of a hop in bytes, which is more than any proxy writes.
const LONGEST_HOP: usize = 512;

/// Each hop in the lines of a header, the nearest first, parsed with `parse`.
pub(super) fn read(
    headers: &HeaderMap,
    name: HeaderName,
    parse: fn(&str) -> Option<IpAddr>,
) -> impl Iterator<Item = Option<IpAddr>> {
    let lines = headers.get_all(name).iter().rev();
    let hops = lines.flat_map(|line| items(line.as_bytes(), b','));
    // A list may have empty items, and a header empty lines.
    let hops = hops.take(MOST_HOPS).filter(|hop| *hop != Some(b""));
    hops.map(move |hop| {
        parse(std::str::from_utf8(hop?).ok()?).map(|address| address.to_canonical())
    })
}

/// The items of a list, from the last to the first. An item that is too long is `None`, and ends the iteration: it
/// cannot be told apart from the item before it.
fn items(list: &[u8], separator: u8) -> impl Iterator<Item = Option<&[u8]>> {
    let mut rest = Some(list);
    iter::from_fn(move || {
        let list = rest?;
        let (before, item) = match last(list, separator) {
            Some(at) => (Some(&list[..at]), Some(&list[at + 1..])),
            None => (None, Some(list).filter(|list| list.len() <= LONGEST_HOP)),
        };
        rest = before;
        Some(item.map(<[u8]>::trim_ascii))
    })
}

/// The position of the last separator outside of quotation marks, unless it is too far away.
fn last(list: &[u8], separator: u8) -> Option<usize> {
    let mut quoted = false;
    for at in (list.len().saturating_sub(LONGEST_HOP + 1)..list.len()).rev() {
        match list[at] {
            b'"' if quoted => {
                let slashes = list[..at].iter().rev().take_while(|byte| **byte == b'\\');
                quoted = slashes.count() % 2 == 1;
            }
            b'"' => quoted = true,
            byte if byte == separator && !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// The `for` of an element of `Forwarded`: `for="[2001:db8::1]:4711";proto=https`.
pub(super) fn forwarded(element: &str) -> Option<IpAddr> {
    let mut node = None;
    for pair in items(element.as_bytes(), b';').filter(|pair| *pair != Some(b"")) {
        let (name, value) = std::str::from_utf8(pair?).ok()?.split_once('=')?;
        // With two of them, either could come from the client.
        if name.eq_ignore_ascii_case("for") && node.replace(value).is_some() {
            return None;
        }
    }
    let node = node?;
    let unquoted = node
        .strip_prefix('"')
        .and_then(|node| node.strip_suffix('"'));
    address(unquoted.unwrap_or(node))
}

/// Parses `192.0.2.43`, `2001:db8::1` or `[2001:db8::1]`. The first and the last form may have a port.
pub(super) fn address(node: &str) -> Option<IpAddr> {
    let (address, port) = match node.strip_prefix('[') {
        Some(node) => {
            let (address, port) = node.split_once(']')?;
            let port = match port {
                "" => None,
                port => Some(port.strip_prefix(':')?),
            };
            (address.parse::<Ipv6Addr>().ok()?.into(), port)
        }
        None => match node.split_once(':') {
            Some((address, port)) if !port.contains(':') => {
                (address.parse::<Ipv4Addr>().ok()?.into(), Some(port))
            }
            _ => (node.parse().ok()?, None),
        },
    };
    port.is_none_or(is_port).then_some(address)
}

/// Whether this is a port number, or an obfuscated port such as `_hidden` (RFC 7239).
fn is_port(port: &str) -> bool {
    let digits = (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let hidden = port.strip_prefix('_');
    digits || hidden.is_some_and(|name| !name.is_empty() && name.bytes().all(is_plain))
}
