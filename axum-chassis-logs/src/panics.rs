//! Logs panics.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt;
use std::panic::PanicHookInfo;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use tracing::Level;

use super::line::{self, Line};
use super::{LogsState, write};

/// Timeout for writing the log after a panic that ends the process.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// The timeout after a panic that the process may survive.
const PERHAPS_LAST: Duration = Duration::from_millis(50);

/// The panic hook: logs one line, counts the panic, and flushes the log.
pub(super) fn hook(shared: Arc<LogsState>) -> impl Fn(&PanicHookInfo<'_>) {
    move |panic| {
        shared.panics.fetch_add(1, Ordering::Relaxed);
        report(&shared, panic);
        let thread = thread::current();
        let last = cfg!(panic = "abort") || thread.name() == Some("main");
        shared
            .queue
            .flush(if last { LAST_WORDS } else { PERHAPS_LAST });
    }
}

fn report(shared: &LogsState, panic: &PanicHookInfo<'_>) {
    let backtrace = match std::env::var_os("RUST_BACKTRACE") {
        Some(off) if off == "0" => Backtrace::disabled(),
        _ => Backtrace::force_capture(),
    };
    let build = |message: fmt::Arguments<'_>, hand_over: &dyn Fn(&[u8])| {
        let fields = |line: &mut Line| {
            if let Some(location) = panic.location() {
                line.field("location", |out| write::display(out, location));
            }
            line.field("thread", |out| {
                write::string(out, thread::current().name().unwrap_or("(unnamed)"));
            });
            if backtrace.status() == BacktraceStatus::Captured {
                line.field("backtrace", |out| write::display(out, &backtrace));
            }
        };
        line::build(
            shared.style,
            Level::ERROR,
            "panic",
            message,
            fields,
            hand_over,
        );
    };
    build(format_args!("panicked: {}", message(panic)), &|line| {
        shared.queue.push(Level::ERROR, line)
    });
    // The message may contain a secret, so only the log has it.
    build(format_args!("panicked; the log has the message"), &|line| {
        shared.recent.push(Level::ERROR, line);
    });
}

/// The message of a panic: a literal, or formatted text.
fn message<'a>(panic: &'a PanicHookInfo<'_>) -> &'a str {
    let payload = panic.payload();
    let literal = payload.downcast_ref::<&str>().copied();
    let formatted = || payload.downcast_ref::<String>().map(String::as_str);
    literal.or_else(formatted).unwrap_or("(no message)")
}
