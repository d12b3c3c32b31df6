//! The thread that writes queued lines: whole lines only, even after a failed write.

use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::queue::LineQueue;
use super::reader::Copies;

/// The capacity that a buffer keeps between bursts.
const KEEP: usize = 256 * 1024;
/// The pause before the next attempt to write to an output that accepts no bytes at present.
const PAUSE: Duration = Duration::from_millis(5);

/// Writes the line that reports how many were dropped.
pub(super) type DropReport = Box<dyn Fn(u64, &mut Vec<u8>) + Send>;

/// Starts the thread that writes the queued lines to `output`.
pub(super) fn start(
    output: Box<dyn Write + Send>,
    bound: usize,
    report: DropReport,
    copies: Arc<Copies>,
) -> io::Result<Arc<LineQueue>> {
    let queue = Arc::new(LineQueue::new(bound));
    let writer = Writer {
        queue: queue.clone(),
        output,
        report,
        copies,
        torn: false,
    };
    thread::Builder::new()
        .name("logs".to_owned())
        .spawn(move || writer.run())?;
    Ok(queue)
}

struct Writer {
    queue: Arc<LineQueue>,
    output: Box<dyn Write + Send>,
    report: DropReport,
    copies: Arc<Copies>,
    /// The last write ended within a line.
    torn: bool,
}

// === impl Writer ===

impl Writer {
    fn run(mut self) {
        let mut batch = Vec::new();
        while let Some(unreported) = self.queue.take(&mut batch) {
            if unreported > 0 {
                (self.report)(unreported, &mut batch);
            }
            // Before the write, so that the reader does not wait for the output.
            self.copies.add(&batch);
            let lost = self.write(&batch);
            self.queue.settle(lost);
            if batch.capacity() > KEEP && batch.len() < KEEP {
                batch.shrink_to(KEEP);
            }
            batch.clear();
        }
    }

    /// Writes a batch, and returns how many of its lines were lost.
    fn write(&mut self, batch: &[u8]) -> u64 {
        let mut rest = batch;
        if self.torn && write_all(&mut self.output, &mut b"\n".as_slice()).is_err() {
            return line_ends(batch);
        }
        match write_all(&mut self.output, &mut rest) {
            Ok(()) => {
                self.torn = false;
                0
            }
            Err(_) => {
                let written = &batch[..batch.len() - rest.len()];
                self.torn = written.last().map_or(self.torn, |&last| last != b'\n');
                line_ends(rest)
            }
        }
    }
}

/// Like `Write::write_all`, with two differences. After a failure, `rest` is the remainder. If somebody has made the
/// output non-blocking, this waits until it accepts more.
fn write_all(output: &mut impl Write, rest: &mut &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        match output.write(rest) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(n) => *rest = rest.get(n..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(PAUSE),
            Err(error) => return Err(error),
        }
    }
    output.flush()
}

fn line_ends(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&byte| byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc};
    use std::time::Instant;

    use tracing::Level;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    /// An output that accepts a limited number of bytes, and then fails until it gets a new allowance.
    struct Rationed {
        written: Arc<Mutex<Vec<u8>>>,
        allowance: Arc<Mutex<usize>>,
    }

    impl Write for Rationed {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut allowance = self.allowance.lock().unwrap();
            if *allowance == 0 {
                return Err(ErrorKind::BrokenPipe.into());
            }
            let taken = bytes.len().min(*allowance);
            *allowance -= taken;
            self.written
                .lock()
                .unwrap()
                .extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn report() -> DropReport {
        Box::new(|lines, out| writeln!(out, "dropped {lines}").unwrap())
    }

    #[test]
    fn a_partly_written_line_is_lost_and_the_next_one_is_complete() {
        let written = Arc::default();
        let allowance = Arc::new(Mutex::new(8));
        let output = Rationed {
            written: Arc::clone(&written),
            allowance: allowance.clone(),
        };
        let queue = start(Box::new(output), 1 << 20, report(), Arc::default()).unwrap();
        queue.push(Level::INFO, b"first\n");
        assert!(queue.flush(SOON));
        queue.push(Level::INFO, b"second\n");
        assert!(queue.flush(SOON), "lost is also done with");
        assert_eq!(queue.dropped(), 1);
        *allowance.lock().unwrap() = 1000;
        queue.push(Level::ERROR, b"third\n");
        assert!(queue.flush(SOON));
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        assert_eq!(text, "first\nse\nthird\ndropped 1\n");
        assert_eq!(queue.lines(Level::INFO), 2);
        assert_eq!(queue.lines(Level::ERROR), 1);
        assert_eq!(queue.lines(Level::WARN), 1, "the report is a line too");
    }

    /// An output that signals each write, and waits until it is released.
    struct Gated(mpsc::Sender<usize>, mpsc::Receiver<()>);

    impl Write for Gated {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.send(bytes.len());
            let _ = self.1.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn bytes_being_written_count_towards_the_limit() {
        let (writes, written) = mpsc::channel();
        let (open, gate) = mpsc::channel();
        let queue = start(Box::new(Gated(writes, gate)), 10, report(), Arc::default()).unwrap();
        queue.push(Level::INFO, b"12345\n");
        assert_eq!(written.recv_timeout(SOON), Ok(6));
        queue.push(Level::INFO, b"789\n");
        assert_eq!(queue.dropped(), 0, "ten bytes fit");
        queue.push(Level::INFO, b"\n");
        assert_eq!(queue.dropped(), 1);
        assert!(!queue.flush(Duration::from_millis(1)), "nobody reads");
        open.send(()).unwrap();
        assert_eq!(written.recv_timeout(SOON), Ok(4 + "dropped 1\n".len()));
        open.send(()).unwrap();
        assert!(queue.flush(SOON));
    }

    #[test]
    fn queued_lines_are_one_write() {
        let (writes, written) = mpsc::channel();
        let (open, gate) = mpsc::channel();
        let queue = start(
            Box::new(Gated(writes, gate)),
            1 << 20,
            report(),
            Arc::default(),
        )
        .unwrap();
        for _ in 0..3 {
            open.send(()).unwrap();
        }
        for _ in 0..1000 {
            queue.push(Level::INFO, b"line\n");
        }
        assert!(queue.flush(SOON));
        let sizes: Vec<usize> = written.try_iter().collect();
        assert_eq!(sizes.iter().sum::<usize>(), 5000);
        assert!(sizes.len() <= 3, "{sizes:?}");
    }

    #[test]
    fn the_thread_writes_what_is_queued_and_ends_with_its_owner() {
        let written = Arc::default();
        let output = Rationed {
            written: Arc::clone(&written),
            allowance: Arc::new(Mutex::new(1000)),
        };
        let queue = start(Box::new(output), 1 << 20, report(), Arc::default()).unwrap();
        queue.push(Level::INFO, b"last\n");
        queue.close();
        let deadline = Instant::now() + SOON;
        // The thread drops its own handle when it ends.
        while Arc::strong_count(&queue) > 1 {
            assert!(Instant::now() < deadline, "the thread is still there");
            thread::yield_now();
        }
        assert_eq!(*written.lock().unwrap(), b"last\n");
    }
}
