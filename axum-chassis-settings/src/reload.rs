//! Detects changed files and sources, and loads them again.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

use crate::{Invalid, Loaded, SettingsSchema, Sources, load_files};

/// The polling interval of the files. Kubernetes itself takes up to a minute to deliver a change.
const EVERY: Duration = Duration::from_secs(1);
/// The polling interval with a service's own sources, which may be across a network.
const EVERY_WITH_SOURCES: Duration = Duration::from_secs(5);
/// The time without changes after which files are loaded. Files that still change are still being written.
const SETTLE: Duration = Duration::from_millis(200);
/// The same if a file is missing, because it is often about to come back.
const MISSED: Duration = Duration::from_secs(2);

/// Looks for changes until it is dropped.
#[derive(Debug)]
#[must_use = "dropping it ends the watching"]
pub struct Watcher {
    _stop: Option<Sender<()>>,
}

/// Loads the settings again, on a thread of its own, when the contents of their files have changed and are stable, and
/// passes the result to `on_change`.
///
/// The files are read and compared instead of watched with inotify. This works the same for a swap of a ConfigMap's
/// `..data`, a rename and a network file system, and has no limit on the number of watchers. The compared contents are
/// the ones that are loaded. If neither directory exists and no source has been added, nothing is watched.
pub fn watch<A: SettingsSchema, B: SettingsSchema>(
    sources: Sources,
    mut on_change: impl FnMut(Result<Loaded<A, B>, Invalid>) + Send + 'static,
) -> std::io::Result<Watcher> {
    if !sources.can_change() {
        return Ok(Watcher { _stop: None });
    }
    let (stop, stopped) = mpsc::channel::<()>();
    let pause = move |time| matches!(stopped.recv_timeout(time), Err(RecvTimeoutError::Timeout));
    let mut seen = sources.read().mark();
    let every = if sources.has_added() {
        EVERY_WITH_SOURCES
    } else {
        EVERY
    };
    let look = move || {
        while pause(every) {
            let mut files = sources.read();
            // The loop ends when the files have stopped changing, or when they are the same as before.
            while files.mark() != seen {
                let rest = if files.mark().count < seen.count {
                    MISSED
                } else {
                    SETTLE
                };
                if !pause(rest) {
                    return;
                }
                let again = sources.read();
                if again.mark() == files.mark() {
                    seen = again.mark();
                    on_change(load_files(&sources, &again));
                }
                files = again;
            }
        }
    };
    let thread = std::thread::Builder::new().name("settings".into());
    thread.spawn(look)?;
    Ok(Watcher { _stop: Some(stop) })
}
