//! Keeps the last warnings and errors, for a page that shows them.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use tracing::Level;

/// The maximum number of lines that are kept.
const LINES: usize = 200;
/// The maximum total size of these lines, in bytes.
const BYTES: usize = 128 * 1024;
/// The longest line that is kept: a backtrace must not evict all others.
const LONGEST: usize = 16 * 1024;
/// The number of bytes at the end of a longer line that are kept, because the IDs of its request are there.
const END: usize = 512;

/// The kept lines, as they are in the log. A new line evicts the oldest ones.
#[derive(Default)]
pub(super) struct Recent(Mutex<RecentLines>);

#[derive(Default)]
struct RecentLines {
    lines: VecDeque<(Level, Box<[u8]>)>,
    bytes: usize,
}

impl super::LogsState {
    /// Queues a line for the output. A warning or an error is also kept for [`recent`](super::Logs::recent).
    pub(super) fn push(&self, level: Level, line: &[u8]) {
        self.recent.push(level, line);
        self.queue.push(level, line);
    }
}

// === impl Recent ===

impl Recent {
    /// Keeps a line, if it is a warning or worse and somebody can read it.
    pub(super) fn push(&self, level: Level, line: &[u8]) {
        if level > Level::WARN || cfg!(not(feature = "recent")) {
            return;
        }
        let line = shortened(line.trim_ascii_end());
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes += line.len();
        kept.lines.push_back((level, line));
        while kept.lines.len() > LINES || kept.bytes > BYTES {
            let Some((_, oldest)) = kept.lines.pop_front() else {
                break;
            };
            kept.bytes -= oldest.len();
        }
    }

    /// The kept lines, newest first.
    #[cfg(any(feature = "recent", test))]
    pub(super) fn newest_first(&self) -> Vec<(Level, String)> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = |line: &[u8]| String::from_utf8_lossy(line).into_owned();
        let lines = kept.lines.iter().rev();
        lines.map(|(level, line)| (*level, text(line))).collect()
    }
}

/// Removes the middle of a long line.
fn shortened(line: &[u8]) -> Box<[u8]> {
    if line.len() <= LONGEST {
        return line.into();
    }
    let (begin, end) = (&line[..LONGEST - END], &line[line.len() - END..]);
    [begin, b" ... ", end].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_warnings_and_errors_are_kept() {
        let recent = Recent::default();
        recent.push(Level::INFO, b"nothing\n");
        for number in 0..LINES + 2 {
            recent.push(Level::WARN, format!("{number}\n").as_bytes());
        }
        let kept = recent.newest_first();
        assert_eq!(kept.len(), LINES);
        assert_eq!(kept[0], (Level::WARN, (LINES + 1).to_string()));
        assert_eq!(kept[LINES - 1].1, "2");
    }

    #[test]
    fn long_lines_are_shortened_and_all_take_no_more_than_their_share_of_memory() {
        let recent = Recent::default();
        for _ in 0..LINES {
            recent.push(Level::ERROR, &vec![b'x'; 1024 * 1024]);
        }
        let kept = recent.newest_first();
        assert!((BYTES / LONGEST - 1..=BYTES / LONGEST).contains(&kept.len()));
        assert!(kept.iter().all(|(_, line)| line.len() < LONGEST + 8));
    }

    #[test]
    fn a_long_line_keeps_its_end() {
        let recent = Recent::default();
        let line = format!("{}\"request_id\":\"a\"}}", "x".repeat(LONGEST));
        recent.push(Level::ERROR, line.as_bytes());
        assert!(
            recent.newest_first()[0]
                .1
                .ends_with("\"request_id\":\"a\"}")
        );
    }
}
