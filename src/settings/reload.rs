//! Notices that files changed, and loads them again.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

use super::{Invalid, Loaded, Section, Sources, load_files};

/// How often the files are looked at. Kubernetes itself takes up to a minute to deliver a change.
const EVERY: Duration = Duration::from_secs(1);
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
pub fn watch<A: Section, B: Section>(
    sources: Sources,
    mut on_change: impl FnMut(Result<Loaded<A, B>, Invalid>) + Send + 'static,
) -> std::io::Result<Watcher> {
    if !sources.can_change() {
        return Ok(Watcher { _stop: None });
    }
    let (stop, stopped) = mpsc::channel::<()>();
    let pause = move |time| matches!(stopped.recv_timeout(time), Err(RecvTimeoutError::Timeout));
    let files = sources.read();
    let (mut seen, mut count) = (files.fingerprint(), files.count());
    std::thread::Builder::new()
        .name("settings".into())
        .spawn(move || {
            while pause(EVERY) {
                let mut files = sources.read();
                if files.fingerprint() == seen {
                    continue;
                }
                loop {
                    let settle = if files.count() < count {
                        MISSED
                    } else {
                        SETTLE
                    };
                    if !pause(settle) {
                        return;
                    }
                    let before = files.fingerprint();
                    files = sources.read();
                    if files.fingerprint() == before {
                        break;
                    }
                }
                // It may have come back as it was.
                if files.fingerprint() != seen {
                    (seen, count) = (files.fingerprint(), files.count());
                    on_change(load_files(&sources, &files));
                }
            }
        })?;
    Ok(Watcher { _stop: Some(stop) })
}
