//! Applies a setting each time that it changes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::error::Chain;

/// The pause before another attempt to apply a value.
const PAUSE: Duration = Duration::from_secs(1);

/// Applies changes until the service ends, and with it the sender of its settings.
pub(super) async fn follow<S, T, F>(
    key: String,
    mut settings: watch::Receiver<Arc<S>>,
    mut applied: T,
    read: impl Fn(&S) -> T,
    apply: impl Fn(T) -> F,
) where
    T: Clone + PartialEq,
    F: Future<Output = anyhow::Result<()>>,
{
    let mut logged = None::<String>;
    loop {
        let changed = settings.changed();
        let changed = match &logged {
            None => changed.await,
            Some(_) => tokio::time::timeout(PAUSE, changed).await.unwrap_or(Ok(())),
        };
        if changed.is_err() {
            return;
        }
        let new = read(&settings.borrow_and_update());
        if new == applied {
            logged = None;
            continue;
        }
        match apply(new.clone()).await {
            Ok(()) => {
                tracing::info!(key, "the new value of a setting is in use");
                applied = new;
                logged = None;
            }
            Err(error) => {
                let error = Chain(error.as_ref()).to_string();
                if logged.as_ref() != Some(&error) {
                    tracing::error!(
                        key,
                        error,
                        "the new value of a setting does not work: the one before it stays in use"
                    );
                }
                logged = Some(error);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use anyhow::bail;
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_new_value_is_applied_once_and_retried_on_failure() {
        let (send, settings) = watch::channel(Arc::new("first"));
        let (tell, mut told) = mpsc::unbounded_channel();
        let refused = Mutex::new(3);
        let following = tokio::spawn(follow(
            "database.url".to_owned(),
            settings,
            "first",
            |all: &&'static str| *all,
            move |value| {
                let mut refused = refused.lock().expect("not poisoned");
                let fails = value == "wrong" || (value == "late" && *refused > 0);
                *refused -= i32::from(value == "late");
                tell.send((value, fails)).expect("a test that listens");
                async move {
                    if fails {
                        bail!("no answer to {value}");
                    }
                    Ok(())
                }
            },
        ));
        let mut next = async || {
            let next = tokio::time::timeout(10 * PAUSE, told.recv()).await;
            next.expect("in time").expect("a value")
        };
        let give = |value| send.send(Arc::new(value)).expect("one that follows");

        give("second");
        assert_eq!(next().await, ("second", false));
        give("wrong");
        assert_eq!(next().await, ("wrong", true));
        assert_eq!(next().await, ("wrong", true), "tried again");
        // The setting is changed back to the value in use, so nothing is left to apply.
        give("second");
        tokio::time::sleep(10 * PAUSE).await;
        give("late");
        for _ in 0..3 {
            assert_eq!(next().await, ("late", true));
        }
        assert_eq!(next().await, ("late", false));
        // Another setting changed.
        give("late");
        tokio::time::sleep(10 * PAUSE).await;
        drop(send);
        following.await.expect("the end");
        assert_eq!(told.recv().await, None);
    }
}
