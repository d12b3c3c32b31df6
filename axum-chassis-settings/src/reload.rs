//! Detects changed files and sources, and loads them again.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

use crate::{Invalid, Loaded, SettingsSchema, Sources, load_files};

/// The polling interval of the files. Kubernetes itself takes up to a minute to deliver a change.
const EVERY: Duration = Duration::from_secs(1);
/// The polling interval with a service's own sources, which may be across a network.
const EVERY_WITH_SOURCES: Duration = Duration::from_secs(5);
/// Files that still change are still being written.
const SETTLE: Duration = Duration::from_millis(200);
/// A file that is gone is often about to come back.
const MISSED: Duration = Duration::from_secs(2);

/// Looks for changes until it is dropped.
#[derive(Debug)]
#[must_use = "dropping it ends the watching"]
pub struct Watcher {
    _stop: Option<Sender<()>>,
}

/// Loads the settings again, on a thread of its own, whenever the content of their files has
/// changed and come to rest, and hands over what came of it.
///
/// The files are read and compared rather than watched by inotify: a swap of a ConfigMap's
/// `..data`, a rename-over or a network file system all look the same, there is no limit on
/// watchers to run into, and what is loaded is what was compared. Where neither directory
/// exists, nothing is watched.
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
            // Ends when they have come to rest, or are as they were.
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
