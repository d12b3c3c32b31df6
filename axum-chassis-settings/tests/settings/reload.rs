//! Files that change under a running service.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use axum_chassis_settings::{Invalid, Sources, Watcher, watch};

use crate::fixture::Folder;
use crate::structs::{Chassis, Service, Settings};

const SOON: Duration = Duration::from_secs(10);
/// Longer than two looks at the files and the time they are given to settle.
const QUIET: Duration = Duration::from_secs(3);

struct Watched {
    folder: Folder,
    changes: Receiver<Result<Settings, Invalid>>,
    watcher: Watcher,
}

/// Watches a folder that `prepare` has filled: its `config` and its `secrets`.
fn watched(prepare: impl FnOnce(&Folder)) -> Watched {
    let folder = Folder::new();
    prepare(&folder);
    let sources = Sources::empty()
        .with_config_dir(folder.path().join("config"))
        .with_secrets_dir(folder.path().join("secrets"));
    let (send, changes) = channel();
    let watcher =
        watch::<Chassis, Service>(sources, move |change| send.send(change).unwrap_or_default())
            .unwrap();
    Watched {
        folder,
        changes,
        watcher,
    }
}

impl Watched {
    fn next(&self) -> Result<Settings, Invalid> {
        self.changes
            .recv_timeout(SOON)
            .expect("a change is noticed")
    }

    fn nothing_more(&self) {
        if let Ok(change) = self.changes.recv_timeout(QUIET) {
            panic!(
                "a second change: {:?}",
                change.map(|settings| settings.effective)
            );
        }
    }
}

/// Publishes files as the kubelet does: a new version beside the old, and one rename of `..data`.
#[cfg(unix)]
fn publish(volume: &Path, version: &str, files: &[(&str, &str)]) {
    use std::os::unix::fs::symlink;
    let new = volume.join(version);
    std::fs::create_dir_all(&new).unwrap();
    for (name, content) in files {
        std::fs::write(new.join(name), content).unwrap();
        let link = volume.join(name);
        if !link.exists() {
            let _ = std::fs::remove_file(&link);
            symlink(PathBuf::from("..data").join(name), link).unwrap();
        }
    }
    let next = volume.join("..data_tmp");
    symlink(version, &next).unwrap();
    let old = std::fs::read_link(volume.join("..data"));
    std::fs::rename(next, volume.join("..data")).unwrap();
    if let Ok(old) = old {
        std::fs::remove_dir_all(volume.join(old)).unwrap();
    }
}

#[cfg(unix)]
#[test]
fn an_atomic_update_of_a_configmap_is_read_completely() {
    let watched = watched(|folder| {
        publish(
            &folder.path().join("config"),
            "..1",
            &[("default.toml", "[logs]\nfilter = \"info\"\n")],
        );
        publish(
            &folder.path().join("secrets"),
            "..1",
            &[("admin.token", "one")],
        );
    });
    let config = watched.folder.path().join("config");
    publish(
        &config,
        "..2",
        &[("default.toml", "[logs]\nfilter = \"debug\"\n")],
    );
    let settings = watched.next().unwrap();
    assert_eq!(settings.framework.logs.filter, "debug");

    publish(
        &watched.folder.path().join("secrets"),
        "..2",
        &[("admin.token", "two")],
    );
    let rotated = watched.next().unwrap();
    assert_eq!(rotated.effective.diff(&settings.effective), ["admin.token"]);
    assert_eq!(rotated.framework.admin.token.unwrap().expose(), "two");

    publish(
        &config,
        "..3",
        &[("default.toml", "[logs]\nfiltr = \"warn\"\n")],
    );
    let invalid = watched.next().unwrap_err().to_string();
    assert!(invalid.contains("did you mean `logs.filter`?"), "{invalid}");

    publish(
        &config,
        "..4",
        &[("default.toml", "[logs]\nfilter = \"warn\"\n")],
    );
    assert_eq!(watched.next().unwrap().framework.logs.filter, "warn");
    watched.nothing_more();
}

#[test]
fn a_rename_over_is_noticed_and_so_is_a_new_file() {
    let watched = watched(|folder| {
        folder.write("config/default.toml", "");
        folder.write("secrets/.keep", "");
    });
    watched
        .folder
        .write("config/.default.toml.swp", "[server]\nport = 1\n");
    let config = watched.folder.path().join("config");
    std::fs::rename(
        config.join(".default.toml.swp"),
        config.join("default.toml"),
    )
    .unwrap();
    assert_eq!(watched.next().unwrap().framework.server.port, 1);

    watched
        .folder
        .write("config/dev.toml", "[server]\nport = 2\n");
    assert_eq!(watched.next().unwrap().framework.server.port, 2);

    watched.folder.write("secrets/server/port", "3");
    assert_eq!(watched.next().unwrap().framework.server.port, 3);
}

#[test]
fn a_burst_of_changes_is_one_change() {
    let watched = watched(|folder| folder.write("config/default.toml", ""));
    // Every 50 ms for two seconds: hardly ever at rest for long enough.
    let start = Instant::now();
    let mut written = 0;
    while start.elapsed() < Duration::from_secs(2) {
        written += 1;
        watched.folder.write(
            "config/default.toml",
            format!("[server]\nport = {written}\n"),
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut noticed = 1;
    while watched.next().unwrap().framework.server.port != written {
        noticed += 1;
    }
    // On a machine as busy as can be, it may have rested now and then.
    assert!(noticed <= 3, "{noticed} of {written} changes");
    watched.nothing_more();
}

#[test]
fn a_file_that_is_missing_for_a_moment_is_not_a_change() {
    let watched = watched(|folder| folder.write("config/default.toml", "[server]\nport = 1\n"));
    let file = watched.folder.path().join("config/default.toml");
    std::fs::remove_file(&file).unwrap();
    // Long enough to be noticed.
    std::thread::sleep(Duration::from_millis(1200));
    watched
        .folder
        .write("config/default.toml", "[server]\nport = 1\n");
    watched.nothing_more();

    std::fs::remove_file(&file).unwrap();
    assert_eq!(
        watched.next().unwrap().framework.server.port,
        8080,
        "gone for good"
    );
}

#[test]
fn a_touch_is_not_a_change() {
    let watched = watched(|folder| folder.write("config/default.toml", "[server]\nport = 1\n"));
    watched
        .folder
        .write("config/default.toml", "[server]\nport = 1\n");
    watched
        .folder
        .write("config/notes.txt", "nothing to read here");
    watched.nothing_more();
}

#[test]
fn nothing_is_noticed_after_the_watcher_is_dropped() {
    let Watched {
        folder,
        changes,
        watcher,
    } = watched(|folder| folder.write("config/default.toml", ""));
    drop(watcher);
    folder.write("config/default.toml", "[server]\nport = 1\n");
    // The thread ends, and with it the sender.
    assert!(changes.recv_timeout(SOON).is_err());
    assert!(changes.try_recv().is_err());
}

#[test]
fn without_directories_nothing_is_watched() {
    let watched = watched(|_| ());
    assert!(matches!(
        watched.changes.try_recv(),
        Err(std::sync::mpsc::TryRecvError::Disconnected)
    ));
}
