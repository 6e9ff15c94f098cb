//! A thread for what may hang: the files of processes that are not the node's, on file systems that are theirs.
//!
//! One at a time: while one hangs, the next is not started, so there is never more than one lost thread, and what the sensor
//! reads of the node itself waits for nobody. Must not know what is read.

use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

/// The last thread that was started.
#[derive(Debug, Default)]
pub(super) struct Aside(Mutex<Option<JoinHandle<()>>>);

impl Aside {
    /// Runs `jobs` one after the other, and hands out each result when it is there. `None` while an earlier thread still hangs,
    /// or when none can be started.
    pub(super) fn run<T: Send + 'static>(&self, jobs: impl ExactSizeIterator<Item = T> + Send + 'static) -> Option<Receiver<T>> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return None;
        }
        let (sender, receiver) = sync_channel(jobs.len());
        let work = move || {
            for result in jobs {
                // Nobody waits any more.
                if sender.send(result).is_err() {
                    return;
                }
            }
        };
        *last = Some(std::thread::Builder::new().name("sensor-aside".to_owned()).spawn(work).ok()?);
        Some(receiver)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_hangs_costs_one_thread_and_what_came_before_it_is_kept() {
        let aside = Aside::default();
        let (release, wait) = sync_channel::<()>(0);
        let hang = move |job: u8| {
            if job == 2 {
                assert!(wait.recv().is_err(), "released");
            }
            job
        };
        let results = aside.run(vec![1, 2, 3].into_iter().map(hang)).unwrap();
        let second = Duration::from_secs(6);
        assert_eq!(results.recv_timeout(second * 10), Ok(1));
        assert!(results.recv_timeout(Duration::from_millis(50)).is_err());
        assert!(aside.run(vec![1].into_iter()).is_none(), "it still hangs");
        drop(release);
        assert_eq!(results.recv_timeout(second * 10), Ok(2));
        assert_eq!(results.recv_timeout(second * 10), Ok(3));
        while aside.0.lock().unwrap().as_ref().is_some_and(|thread| !thread.is_finished()) {
            std::thread::yield_now();
        }
        assert!(aside.run(vec![1].into_iter()).is_some());
    }
}
