//! Chooses the number of worker threads, and logs the reason.

use axum_chassis_server::cgroup;
use tokio::runtime::{Builder, Runtime};

use crate::error::Error;

/// The service's runtime, and the reason for its number of threads, for the log.
pub(crate) fn runtime(set: usize) -> Result<(Runtime, String), Error> {
    let Threads { number, reason } = Threads::choose(set);
    let runtime = Builder::new_multi_thread()
        .worker_threads(number)
        .thread_name("service")
        .enable_all()
        .build()
        .map_err(Error::Runtime)?;
    tracing::info!(threads = number, reason, "runtime sized");
    Ok((runtime, reason))
}

/// The number of threads and its reason, for people.
pub(crate) fn describe(set: usize) -> String {
    let Threads { number, reason } = Threads::choose(set);
    format!("{number} ({reason})")
}

/// A number of threads with its reason, for the log.
#[derive(Debug, PartialEq, Eq)]
struct Threads {
    number: usize,
    reason: String,
}

impl Threads {
    /// The number from the settings; without it, the CPU quota, rounded up; without a quota, one for each processor.
    ///
    /// The quota is rounded up, because two threads can use all of 1.5 CPUs and one thread cannot. More threads than
    /// that would use up the quota early in each period, and then all of them would have to wait.
    fn choose(set: usize) -> Self {
        Self::from(
            set,
            cgroup::cpu_quota().map(|quota| (quota.cores, quota.source.display().to_string())),
            processors(),
        )
    }

    fn from(set: usize, quota: Option<(f64, String)>, processors: usize) -> Self {
        if set > 0 {
            return Self {
                number: set,
                reason: "service.threads is set".to_owned(),
            };
        }
        match quota {
            Some((cores, source)) if cores <= processors as f64 => Self {
                number: (cores.ceil() as usize).clamp(1, processors.max(1)),
                reason: format!("CPU quota of {cores} in {source}"),
            },
            _ => Self {
                number: processors,
                reason: format!("no CPU quota below the {processors} processors there are"),
            },
        }
    }
}

/// The processors that this process may run on.
///
/// The standard library's number is only the fallback: it depends on the quota too, and rounds 1.5 CPUs down to 1.
fn processors() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").ok();
    status
        .and_then(|status| allowed(&status))
        .or_else(|| std::thread::available_parallelism().ok().map(usize::from))
        .unwrap_or(1)
}

/// The number of allowed processors in `/proc/self/status`, such as 4 for `Cpus_allowed_list: 0-2,7`.
fn allowed(status: &str) -> Option<usize> {
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    list.trim().split(',').try_fold(0, |sum, range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        Some(sum + last.checked_sub(first)? + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_processors_is_the_kernels() {
        let status = |list| format!("Name:\tx\nCpus_allowed_list:\t{list}\nMems_allowed:\t1\n");
        for (list, number) in [
            ("0", Some(1)),
            ("0-1", Some(2)),
            ("0-2,7", Some(4)),
            ("", None),
            ("3-1", None),
        ] {
            assert_eq!(allowed(&status(list)), number, "{list}");
        }
        assert_eq!(allowed("Name:\tx\n"), None);
        assert!(processors() >= 1);
    }

    #[test]
    fn the_quota_decides_unless_a_number_is_set() {
        let quota = |cores: f64| Some((cores, "cpu.max".to_owned()));
        let cases = [
            (3, quota(0.5), 8, 3, "service.threads is set"),
            (0, quota(0.5), 8, 1, "CPU quota of 0.5 in cpu.max"),
            (0, quota(1.0), 8, 1, "CPU quota of 1 in cpu.max"),
            (0, quota(1.5), 8, 2, "CPU quota of 1.5 in cpu.max"),
            (0, quota(4.0), 8, 4, "CPU quota of 4 in cpu.max"),
            (
                0,
                quota(16.0),
                8,
                8,
                "no CPU quota below the 8 processors there are",
            ),
            (
                0,
                None,
                8,
                8,
                "no CPU quota below the 8 processors there are",
            ),
        ];
        for (set, quota, processors, number, reason) in cases {
            let expected = Threads {
                number,
                reason: reason.to_owned(),
            };
            assert_eq!(Threads::from(set, quota, processors), expected);
        }
    }
}
