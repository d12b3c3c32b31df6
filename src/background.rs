//! Background tasks with names: restarted with exponential backoff when they fail, and awaited at shutdown.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use crate::backoff::Backoff;
use crate::boxed::{Boxed, boxed};
use crate::error::in_words;
use crate::settings::redact_secrets;
use crate::shutdown::Shutdown;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause before a restart. A task that ran for longer than this has recovered: its next pause is short
/// again.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// All background tasks of a service. Cheap to clone; clones share their state.
#[derive(Clone, Default)]
pub(crate) struct BackgroundTasks(Arc<TaskList>);

#[derive(Default)]
struct TaskList {
    known: Mutex<Vec<(AbortHandle, TaskReport)>>,
    running: watch::Sender<usize>,
}

/// The state and the counts of one task.
#[derive(Clone, Debug)]
pub(crate) struct TaskReport {
    pub(crate) name: String,
    pub(crate) state: TaskState,
    /// The number of its starts.
    pub(crate) starts: u64,
    /// The number of ended runs, by outcome.
    pub(crate) ends: BTreeMap<RunEnd, u64>,
    /// The last failure.
    pub(crate) error: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TaskState {
    Running,
    /// Between a failure and the next start.
    Pausing,
    /// The task has done its work, or was notified of shutdown.
    Ended,
}

/// The outcome of a run of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RunEnd {
    Done,
    Failed,
    Panicked,
}

// === impl BackgroundTasks ===

impl BackgroundTasks {
    /// Starts a task on the current runtime.
    pub(crate) fn spawn<F, Fut>(&self, name: String, shutdown: Shutdown, work: F)
    where
        F: Fn(Shutdown) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let mut known = self.known();
        let entry = TaskEntry {
            tasks: self.clone(),
            at: known.len(),
        };
        self.0.running.send_modify(|running| *running += 1);
        let task = TaskReport::new(name.clone());
        let work = Arc::new(move |shutdown| boxed(work(shutdown)));
        let supervised = supervise(name, work, shutdown, entry);
        known.push((tokio::spawn(boxed(supervised)).abort_handle(), task));
    }

    /// Each task, in the order of their start.
    pub(crate) fn report(&self) -> Vec<TaskReport> {
        self.known().iter().map(|(_, task)| task.clone()).collect()
    }

    /// Completes once no task runs.
    pub(crate) async fn ended(&self) {
        // The sender is a field of `self`, so waiting does not fail.
        let _ = self
            .0
            .running
            .subscribe()
            .wait_for(|running| *running == 0)
            .await;
    }

    /// The number of tasks that have not ended.
    pub(crate) fn running(&self) -> usize {
        *self.0.running.borrow()
    }

    /// Aborts the remaining tasks, and returns how many there were.
    pub(crate) fn abort_all(&self) -> usize {
        let running = self.running();
        for (supervisor, _) in self.known().iter() {
            supervisor.abort();
        }
        running
    }

    fn known(&self) -> MutexGuard<'_, Vec<(AbortHandle, TaskReport)>> {
        // Nothing panics while it holds the lock; if it did, the data would still be whole.
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TaskReport {
    fn new(name: String) -> Self {
        Self {
            name,
            state: TaskState::Running,
            starts: 0,
            ends: BTreeMap::new(),
            error: None,
        }
    }
}

impl TaskState {
    /// The name on the admin page.
    #[cfg_attr(
        not(feature = "admin-page"),
        expect(dead_code, reason = "for the admin page")
    )]
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Pausing => "pausing",
            Self::Ended => "ended",
        }
    }
}

impl RunEnd {
    pub(crate) const ALL: [Self; 3] = [Self::Done, Self::Failed, Self::Panicked];

    /// The name in the metrics, the log and the admin page.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Panicked => "panicked",
        }
    }
}

/// Updates the report of one task. When it is dropped, the task has ended.
struct TaskEntry {
    tasks: BackgroundTasks,
    at: usize,
}

impl TaskEntry {
    fn note(&self, change: impl FnOnce(&mut TaskReport)) {
        if let Some((_, task)) = self.tasks.known().get_mut(self.at) {
            change(task);
        }
    }

    fn started(&self) {
        self.note(|task| {
            task.state = TaskState::Running;
            task.starts += 1;
        });
    }

    fn ended(&self, end: RunEnd, error: Option<String>) {
        self.note(|task| {
            task.state = TaskState::Pausing;
            *task.ends.entry(end).or_default() += 1;
            // The admin listener shows the error, so it must not contain secrets.
            let error = error.map(|error| redact_secrets(&error).into_owned());
            task.error = error.or(task.error.take());
        });
    }
}

impl Drop for TaskEntry {
    fn drop(&mut self) {
        self.note(|task| task.state = TaskState::Ended);
        self.tasks.0.running.send_modify(|running| *running -= 1);
    }
}

type Work = dyn Fn(Shutdown) -> Boxed<anyhow::Result<()>> + Send + Sync;

async fn supervise(name: String, work: Arc<Work>, shutdown: Shutdown, entry: TaskEntry) {
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    loop {
        entry.started();
        let begun = Instant::now();
        let (end, error) = run(work.clone(), shutdown.clone()).await;
        entry.ended(end, error.clone());
        if end == RunEnd::Done {
            tracing::info!(task = name, "background task is done");
            return;
        }
        if begun.elapsed() > LONGEST_PAUSE {
            backoff.reset();
        }
        let pause = backoff.pause();
        let restart_ms = (!shutdown.is_stopping()).then_some(pause.as_millis() as u64);
        tracing::error!(
            task = name,
            error,
            restart_ms,
            "background task {}",
            end.word()
        );
        tokio::select! {
            biased;
            () = shutdown.stopping() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn run(work: Arc<Work>, shutdown: Shutdown) -> (RunEnd, Option<String>) {
    // A separate task, so that a panic ends only this run. It is in a `JoinSet`, so that aborting the outer task aborts
    // it too. The error is formatted within the separate task, because formatting may panic too.
    let mut alone = JoinSet::new();
    alone.spawn(boxed(async move { work(shutdown).await.map_err(in_words) }));
    match alone.join_next().await {
        Some(Ok(Ok(()))) | None => (RunEnd::Done, None),
        Some(Ok(Err(error))) => (RunEnd::Failed, Some(error.to_string())),
        // The panic message may contain a secret, and the admin page shows the error; the log has the message.
        Some(Err(_)) => (
            RunEnd::Panicked,
            Some("panicked; the log has the message".to_owned()),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::shutdown::{self, Phase};

    #[tokio::test(start_paused = true)]
    async fn a_task_that_fails_or_panics_is_restarted_until_it_is_done() {
        let tasks = BackgroundTasks::default();
        let (_trigger, shutdown) = shutdown::channel();
        let runs = Arc::new(AtomicU32::new(0));
        let counted = runs.clone();
        tasks.spawn("outbox".to_owned(), shutdown.clone(), move |_| {
            let run = counted.fetch_add(1, Ordering::Relaxed);
            async move {
                match run {
                    0 | 2 => anyhow::bail!("no connection"),
                    1 => panic!("boom"),
                    _ => Ok(()),
                }
            }
        });
        let begun = tokio::time::Instant::now();
        tasks.ended().await;
        let took = begun.elapsed();
        // 1 s, 2 s and 4 s, each up to a quarter shorter.
        assert!(
            took > Duration::from_secs(5) && took < Duration::from_secs(8),
            "{took:?}"
        );
        let [task] = &tasks.report()[..] else {
            panic!("one task")
        };
        assert_eq!((task.state, task.starts), (TaskState::Ended, 4));
        let ends = BTreeMap::from([
            (RunEnd::Done, 1),
            (RunEnd::Failed, 2),
            (RunEnd::Panicked, 1),
        ]);
        assert_eq!(task.ends, ends);
        assert_eq!(task.error.as_deref(), Some("no connection"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_shutdown_ends_the_backoff_and_remaining_tasks_can_be_aborted() {
        let tasks = BackgroundTasks::default();
        let (trigger, shutdown) = shutdown::channel();
        let fails = async |_| anyhow::bail!("no");
        tasks.spawn("fails".to_owned(), shutdown.clone(), fails);
        let hangs = async |_| std::future::pending().await;
        tasks.spawn("hangs".to_owned(), shutdown.clone(), hangs);
        let polite = async |shutdown: Shutdown| {
            shutdown.stopping().await;
            Ok(())
        };
        tasks.spawn("polite".to_owned(), shutdown.clone(), polite);
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(tasks.running(), 3);
        trigger.advance(Phase::Closing);
        let ended = tokio::time::timeout(Duration::from_millis(100), tasks.ended()).await;
        assert!(ended.is_err());
        assert_eq!(tasks.abort_all(), 1);
        tasks.ended().await;
        assert_eq!(tasks.running(), 0);
    }
}
