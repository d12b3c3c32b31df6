//! The log queue: a waiting writer is woken, and each line is written once or counted as dropped.

use std::time::Duration;

use loom::sync::{self, Arc};
use loom::thread;
use tracing::Level;

use self::queue::LineQueue;

#[path = "../../../axum-chassis-logs/src/queue.rs"]
#[allow(dead_code)]
mod queue;

/// Here no time passes: a thread that is not woken hangs, and loom reports it.
const FOR_EVER: Duration = Duration::from_secs(3600);

/// The output of the writer's thread.
#[derive(Default)]
struct Written {
    text: String,
    reported: u64,
}

/// The writer's thread, with a text for its output.
fn writer(queue: &Arc<LineQueue>, written: &Arc<sync::Mutex<Written>>) -> thread::JoinHandle<()> {
    let (queue, written) = (queue.clone(), written.clone());
    thread::spawn(move || {
        let mut batch = Vec::new();
        while let Some(unreported) = queue.take(&mut batch) {
            let mut written = written.lock().unwrap();
            written.text += std::str::from_utf8(&batch).unwrap();
            written.reported += unreported;
            drop(written);
            queue.settle(0);
            batch.clear();
        }
    })
}

fn pushes(queue: &Arc<LineQueue>, line: &'static str) -> thread::JoinHandle<()> {
    let queue = queue.clone();
    thread::spawn(move || queue.push(Level::INFO, line.as_bytes()))
}

/// Three changes of threads that nothing asks for: two miss a mistake of this queue, and more cost minutes.
fn model(run: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(run);
}

#[test]
fn a_flush_waits_only_for_lines_queued_before_it() {
    model(|| {
        let (queue, written) = (Arc::new(LineQueue::new(100)), Arc::default());
        let writer = writer(&queue, &written);
        let other = pushes(&queue, "b\n");
        queue.push(Level::INFO, b"a\n");
        assert!(queue.flush(FOR_EVER));
        assert!(written.lock().unwrap().text.contains("a\n"));
        other.join().unwrap();
        queue.close();
        writer.join().unwrap();
        let text = written.lock().unwrap().text.clone();
        assert!(["a\nb\n", "b\na\n"].contains(&&*text), "{text:?}");
    });
}

#[test]
fn a_line_is_written_or_counted_as_dropped() {
    model(|| {
        // Room for one of them.
        let (queue, written) = (Arc::new(LineQueue::new(2)), Arc::default());
        let writer = writer(&queue, &written);
        let other = pushes(&queue, "a\n");
        queue.push(Level::INFO, b"b\n");
        let dropped = queue.dropped();
        assert!(queue.flush(FOR_EVER));
        assert!(written.lock().unwrap().reported >= dropped);
        other.join().unwrap();
        queue.close();
        writer.join().unwrap();
        let written = written.lock().unwrap();
        assert_eq!(written.reported, queue.dropped());
        assert_eq!(written.text.lines().count() as u64 + queue.dropped(), 2);
    });
}

#[test]
fn two_concurrent_flushes_both_complete() {
    model(|| {
        let (queue, written) = (Arc::new(LineQueue::new(100)), Arc::default());
        let writer = writer(&queue, &written);
        let other = {
            let queue = queue.clone();
            thread::spawn(move || {
                queue.push(Level::INFO, b"b\n");
                assert!(queue.flush(FOR_EVER));
            })
        };
        queue.push(Level::INFO, b"a\n");
        assert!(queue.flush(FOR_EVER));
        other.join().unwrap();
        queue.close();
        writer.join().unwrap();
    });
}
