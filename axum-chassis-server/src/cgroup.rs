//! The container's limits, from cgroup v2 or v1.

use std::fs;
use std::path::{Path, PathBuf};

/// The CPU quota of this process.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Quota {
    /// The quota in cores, such as 1.5.
    pub cores: f64,
    /// The file that it was read from.
    pub source: PathBuf,
}

/// The CPU quota, if there is one: the smallest of this cgroup and its parents.
pub fn cpu_quota() -> Option<Quota> {
    Cgroup::current().cpu_quota()
}

/// The memory limit of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryLimit {
    /// The limit in bytes.
    pub bytes: u64,
    /// The file that it was read from.
    pub source: PathBuf,
}

/// The memory limit, if there is one: the smallest of this cgroup and its parents.
pub fn memory_limit() -> Option<MemoryLimit> {
    Cgroup::current().memory_limit()
}

/// The cgroup of this process, and its directories.
#[derive(Clone, Debug)]
pub struct Cgroup {
    cpu: Controller,
    memory: Controller,
}

/// CPU throttling of this cgroup by its quota.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Throttling {
    /// Periods in which the quota was enforced.
    pub periods: u64,
    /// Periods in which the quota was used up.
    pub throttled_periods: u64,
    /// The total duration for which the cgroup's threads were stopped.
    pub throttled_seconds: f64,
}

/// A controller's directories, from that of this process's cgroup up to the visible root.
#[derive(Clone, Debug)]
struct Controller {
    version: Version,
    directories: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

// === impl Cgroup ===

impl Cgroup {
    /// The cgroup of this process.
    pub fn current() -> Self {
        let membership = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self::at(Path::new("/sys/fs/cgroup"), &membership)
    }

    /// `mount` is the cgroup file system, `membership` the content of `/proc/self/cgroup`.
    fn at(mount: &Path, membership: &str) -> Self {
        Self {
            cpu: Controller::find(mount, membership, "cpu"),
            memory: Controller::find(mount, membership, "memory"),
        }
    }

    pub fn cpu_quota(&self) -> Option<Quota> {
        let quotas = self.cpu.directories.iter().filter_map(|directory| {
            let (cores, source) = match self.cpu.version {
                Version::V2 => {
                    let source = directory.join("cpu.max");
                    let text = fs::read_to_string(&source).ok()?;
                    let (quota, period) = text.trim().split_once(' ')?;
                    (ratio(quota, period)?, source)
                }
                Version::V1 => {
                    let source = directory.join("cpu.cfs_quota_us");
                    let quota = fs::read_to_string(&source).ok()?;
                    let period = fs::read_to_string(directory.join("cpu.cfs_period_us")).ok()?;
                    (ratio(&quota, &period)?, source)
                }
            };
            Some(Quota { cores, source })
        });
        quotas.min_by(|a, b| a.cores.total_cmp(&b.cores))
    }

    pub fn throttling(&self) -> Option<Throttling> {
        let stat = fs::read_to_string(self.cpu.directories.first()?.join("cpu.stat")).ok()?;
        let throttled_seconds = match self.cpu.version {
            Version::V2 => keyed(&stat, "throttled_usec")? as f64 / 1e6,
            Version::V1 => keyed(&stat, "throttled_time")? as f64 / 1e9,
        };
        Some(Throttling {
            periods: keyed(&stat, "nr_periods")?,
            throttled_periods: keyed(&stat, "nr_throttled")?,
            throttled_seconds,
        })
    }

    pub fn memory_limit(&self) -> Option<MemoryLimit> {
        let file = match self.memory.version {
            Version::V2 => "memory.max",
            Version::V1 => "memory.limit_in_bytes",
        };
        let limits = self.memory.directories.iter();
        limits
            .filter_map(|directory| {
                let source = directory.join(file);
                let bytes = number(&source)?;
                Some(MemoryLimit { bytes, source })
            })
            // v1 reports "no limit" as the largest number of bytes that is a whole number of pages, just below 2^63.
            .filter(|limit| limit.bytes < 1 << 60)
            .min_by_key(|limit| limit.bytes)
    }

    /// Bytes in use, including the page cache: the kernel compares this number with the limit.
    pub fn memory_usage(&self) -> Option<u64> {
        let file = match self.memory.version {
            Version::V2 => "memory.current",
            Version::V1 => "memory.usage_in_bytes",
        };
        number(&self.memory.directories.first()?.join(file))
    }
}

// === impl Controller ===

impl Controller {
    fn find(mount: &Path, membership: &str, name: &str) -> Self {
        // Lines are `ID:CONTROLLERS:PATH`. v2 has one line, and its list of controllers is empty.
        let path_of = |wanted: &dyn Fn(&str) -> bool| {
            membership.lines().find_map(|line| {
                let (_, rest) = line.split_once(':')?;
                let (controllers, path) = rest.split_once(':')?;
                wanted(controllers).then_some(path)
            })
        };
        let v1 = path_of(&|controllers| controllers.split(',').any(|one| one == name));
        match v1 {
            Some(path) => Self {
                version: Version::V1,
                directories: up_from(&mount.join(name), path),
            },
            None => Self {
                version: Version::V2,
                directories: up_from(mount, path_of(&str::is_empty).unwrap_or("/")),
            },
        }
    }
}

/// The existing directories from `mount/path` up to `mount`. In a container, `path` often exists only on the host, and
/// the container's own cgroup is mounted at `mount`.
fn up_from(mount: &Path, path: &str) -> Vec<PathBuf> {
    mount
        .join(path.trim_start_matches('/'))
        .ancestors()
        .take_while(|directory| directory.starts_with(mount))
        .filter(|directory| directory.is_dir())
        .map(Path::to_path_buf)
        .collect()
}

/// The quota in cores. `None` without a quota, which is `max` in v2 and `-1` in v1.
fn ratio(quota: &str, period: &str) -> Option<f64> {
    let quota: f64 = quota.trim().parse().ok()?;
    let period: f64 = period.trim().parse().ok()?;
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// The number after `key` in lines of `key number`.
fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        (name == key).then(|| value.trim().parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cgroup file system in a temporary directory, which is removed on drop.
    struct Mount(PathBuf);

    impl Mount {
        fn with(files: &[(&str, &str)]) -> Self {
            let name = format!("cgroup-{}-{:x}", std::process::id(), fastrand::u64(..));
            let mount = Self(std::env::temp_dir().join(name));
            for (file, text) in files {
                let file = mount.0.join(file);
                fs::create_dir_all(file.parent().expect("a directory")).expect("created");
                fs::write(file, text).expect("written");
            }
            mount
        }
    }

    impl Drop for Mount {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn v2_is_read_where_the_container_is_mounted() {
        let mount = Mount::with(&[
            ("cpu.max", "150000 100000\n"),
            (
                "cpu.stat",
                "usage_usec 1\nnr_periods 10\nnr_throttled 3\nthrottled_usec 2500000\n",
            ),
            ("memory.max", "134217728\n"),
            ("memory.current", "1048576\n"),
        ]);
        // This path exists only on the host, not in the container.
        let cgroup = Cgroup::at(&mount.0, "0::/kubepods/pod1/container\n");
        let quota = cgroup.cpu_quota().expect("a quota");
        assert_eq!(quota.cores, 1.5);
        assert_eq!(quota.source, mount.0.join("cpu.max"));
        assert_eq!(
            cgroup.throttling(),
            Some(Throttling {
                periods: 10,
                throttled_periods: 3,
                throttled_seconds: 2.5
            })
        );
        let limit = cgroup.memory_limit().expect("a limit");
        assert_eq!(limit.bytes, 128 << 20);
        assert_eq!(limit.source, mount.0.join("memory.max"));
        assert_eq!(cgroup.memory_usage(), Some(1 << 20));
    }

    #[test]
    fn the_smallest_limit_on_the_way_up_counts() {
        let mount = Mount::with(&[
            ("slice/cpu.max", "50000 100000"),
            ("slice/unit/cpu.max", "max 100000"),
            ("slice/memory.max", "max"),
            ("slice/unit/memory.max", "4096"),
        ]);
        let cgroup = Cgroup::at(&mount.0, "0::/slice/unit\n");
        assert_eq!(cgroup.cpu_quota().map(|quota| quota.cores), Some(0.5));
        assert_eq!(cgroup.memory_limit().map(|limit| limit.bytes), Some(4096));
    }

    #[test]
    fn v1_has_a_directory_for_each_controller() {
        let mount = Mount::with(&[
            ("cpu/pod/cpu.cfs_quota_us", "200000\n"),
            ("cpu/pod/cpu.cfs_period_us", "100000\n"),
            (
                "cpu/pod/cpu.stat",
                "nr_periods 4\nnr_throttled 1\nthrottled_time 1500000000\n",
            ),
            ("memory/pod/memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory/pod/memory.usage_in_bytes", "4096\n"),
        ]);
        let cgroup = Cgroup::at(&mount.0, "5:memory:/pod\n3:cpu,cpuacct:/pod\n0::/\n");
        assert_eq!(cgroup.cpu_quota().map(|quota| quota.cores), Some(2.0));
        assert_eq!(
            cgroup
                .throttling()
                .map(|throttling| throttling.throttled_seconds),
            Some(1.5)
        );
        assert_eq!(cgroup.memory_limit(), None, "that number means no limit");
        assert_eq!(cgroup.memory_usage(), Some(4096));
    }

    #[test]
    fn without_cgroup_limits_no_limit_is_reported() {
        let mount = Mount::with(&[("cpu.max", "max 100000\n"), ("memory.max", "max\n")]);
        let cgroup = Cgroup::at(&mount.0, "0::/\n");
        assert_eq!(cgroup.cpu_quota(), None);
        assert_eq!(cgroup.memory_limit(), None);
        let nowhere = Cgroup::at(Path::new("/nonexistent"), "");
        assert_eq!(nowhere.cpu_quota(), None);
        assert_eq!(nowhere.throttling(), None);
    }
}
