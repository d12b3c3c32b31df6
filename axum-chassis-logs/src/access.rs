//! The access line: one for each request.

use std::fmt;

use super::line::{Line, Style};
use super::write;
use crate::record::FinishedRequest;
use crate::trace;

/// The keys of the chassis's own fields.
const KEYS: [&str; 12] = [
    "method",
    "route",
    "path",
    "status",
    "duration_ms",
    "request_bytes",
    "response_bytes",
    "client",
    "error",
    "request_id",
    "trace_id",
    "span_id",
];
/// The longest text of a field, in bytes.
const LONGEST: usize = 2048;

/// The fields that observers add to the access line of a request, after those of the chassis.
///
/// A field that is named like one of the chassis's (`status`, `client`, `request_id`) is written as `field.NAME`. Of several
/// fields with the same name, the first is written. Texts are escaped. Nothing is redacted, so keep secrets out of fields.
///
/// If the line is not written, because of `logs.access`, `logs.filter` or the route (`RoutePolicy::unlogged`), fields are ignored.
pub struct AccessFields<'a>(Option<&'a mut Line>);

// === impl AccessFields ===

impl<'a> AccessFields<'a> {
    pub(super) fn of(line: &'a mut Line) -> Self {
        Self(Some(line))
    }

    /// The fields of a line that is not written.
    pub fn ignored() -> Self {
        Self(None)
    }

    /// Adds a text, of which at most 2 KiB are written.
    pub fn text(&mut self, name: &'static str, value: &str) {
        self.add(name, |out| {
            write::string(out, trace::shortened(value, LONGEST))
        });
    }

    /// Adds a whole number, of any integer type.
    ///
    /// ```
    /// # fn end(fields: &mut axum_chassis_logs::AccessFields<'_>) {
    /// let rows = ["a", "b"];
    /// fields.integer("rows", rows.len());
    /// # }
    /// ```
    pub fn integer(&mut self, name: &'static str, value: impl Integer) {
        self.add(name, |out| write::integer(out, value));
    }

    /// Adds a number. Infinities and NaN, which JSON does not have, are written as texts.
    pub fn float(&mut self, name: &'static str, value: f64) {
        self.add(name, |out| write::float(out, value));
    }

    /// Adds `true` or `false`.
    pub fn boolean(&mut self, name: &'static str, value: bool) {
        self.add(name, |out| write::boolean(out, value));
    }

    fn add(&mut self, name: &'static str, value: impl FnOnce(&mut Vec<u8>)) {
        if let Some(line) = &mut self.0 {
            line.reserve(&KEYS);
            line.field(name, value);
        }
    }
}

impl fmt::Debug for AccessFields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessFields").finish_non_exhaustive()
    }
}

/// The integer types of Rust, for [`AccessFields::integer`]. Sealed: no other type can implement it.
pub trait Integer: sealed::Sealed {}

mod sealed {
    pub trait Sealed: itoa::Integer {}
}

macro_rules! integers {
    ($($integer:ty),*) => {
        $(
            impl Integer for $integer {}
            impl sealed::Sealed for $integer {}
        )*
    };
}

integers!(
    i8, i16, i32, i64, i128, isize, u8, u16, u32, u64, u128, usize
);

/// The line, without the fields of observers and the IDs.
pub(super) fn line(style: Style, request: &FinishedRequest<'_>) -> Line {
    let mut line = Line::access(style, request.ended);
    line.known_text(b",\"method\":\"", |out| {
        let method = trace::shortened(request.method.as_str(), 32);
        out.extend_from_slice(method.as_bytes());
    });
    line.known_text(b",\"route\":\"", |out| write::escaped(out, request.route));
    line.known_text(b",\"path\":\"", |out| write::escaped(out, request.path));
    let status = request.status.as_str().as_bytes();
    line.known(b",\"status\":").extend_from_slice(status);
    write::milliseconds(line.known(b",\"duration_ms\":"), request.duration);
    write::integer(line.known(b",\"request_bytes\":"), request.request_bytes);
    write::integer(line.known(b",\"response_bytes\":"), request.response_bytes);
    if let Some(client) = request.client {
        write::address(line.known(b",\"client\":"), client);
    }
    if let Some(error) = request.error {
        line.known_text(b",\"error\":\"", |out| write::escaped(out, error));
    }
    line
}
