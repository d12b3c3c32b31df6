//! Clients that ask all the time.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::{Answer, wait_for};

/// One request of them.
#[derive(Debug)]
pub struct Asked {
    /// Which: no two have the same number.
    pub number: usize,
    /// When it was sent.
    pub begun: Instant,
    /// The time until the response was complete.
    pub took: Duration,
    /// The response.
    pub answer: io::Result<Answer>,
}

impl Asked {
    /// The answer's status; 0 of none.
    pub fn status(&self) -> u16 {
        self.answer.as_ref().map_or(0, |answer| answer.status)
    }
}

/// Clients at work. Each asks again as soon as it has an answer, and ends when it gets no connection.
pub struct Load {
    over: Arc<AtomicBool>,
    asked: Arc<Mutex<Vec<Asked>>>,
    clients: Vec<thread::JoinHandle<()>>,
}

impl Load {
    /// So many clients, each of whom calls `ask` with the number of the request.
    pub fn start(
        clients: usize,
        ask: impl Fn(usize) -> io::Result<Answer> + Send + Sync + 'static,
    ) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (ask, next) = (Arc::new(ask), Arc::new(AtomicUsize::new(1)));
        let client = |_| {
            let (over, asked) = (over.clone(), asked.clone());
            let (ask, next) = (ask.clone(), next.clone());
            thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let begun = Instant::now();
                    let answer = ask(number);
                    let refused = answer.is_err();
                    let took = begun.elapsed();
                    let one = Asked {
                        number,
                        begun,
                        took,
                        answer,
                    };
                    asked.lock().expect("not poisoned").push(one);
                    if refused {
                        return;
                    }
                }
            })
        };
        Self {
            clients: (0..clients).map(client).collect(),
            asked,
            over,
        }
    }

    /// Returns once so many requests more have this status that are sent from now on.
    pub fn wait_for(&self, number: usize, status: u16) {
        let now = Instant::now();
        wait_for(&format!("{number} answers of {status}"), || {
            let asked = self.asked.lock().expect("not poisoned");
            let found = asked
                .iter()
                .rev()
                .take_while(|one| one.begun + one.took >= now);
            let found = found.filter(|one| one.begun >= now && one.status() == status);
            (found.count() >= number).then_some(())
        });
    }

    /// Ends it; all that was asked.
    pub fn finish(self) -> Vec<Asked> {
        self.over.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().expect("a client that does not panic");
        }
        std::mem::take(&mut self.asked.lock().expect("not poisoned"))
    }
}
