//! Runs one sensor on a thread of its own, within a deadline and a byte budget, and outlives its panic.
//!
//! A sensor that hangs in the kernel keeps its thread; it is not started a second time before that thread ends, so the
//! number of threads is bounded by the number of groups.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use holdfast_checks::facts::{Group, Reason, Unavailable};

use crate::host::{Budget, Host};

/// After its deadline a sensor may still hand back what it has, for this long.
const GRACE: Duration = Duration::from_millis(500);

/// What one pass of one sensor may use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowance {
    pub(super) time: Duration,
    pub(super) bytes: u64,
}

/// Starts sensors and remembers which ones had trouble.
#[derive(Debug, Default)]
pub(super) struct Supervisor {
    hanging: BTreeMap<Group, JoinHandle<()>>,
    troubled: BTreeSet<Group>,
}

impl Supervisor {
    /// Groups that timed out or crashed since [`Self::forget`].
    pub(super) fn troubled(&self) -> &BTreeSet<Group> {
        &self.troubled
    }

    /// Starts a new account of trouble for `groups`.
    pub(super) fn forget(&mut self, groups: &BTreeSet<Group>) {
        self.troubled.retain(|group| !groups.contains(group));
    }

    /// The result of `work`, or why there is none.
    pub(super) fn run<T: Send + 'static>(
        &mut self,
        group: Group,
        allowance: Allowance,
        host: &Host,
        work: impl FnOnce(Host) -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        let trouble = |reason, detail: String| Unavailable::new(reason, format!("the {} sensor {detail}", group.name()));
        if self.hanging.get(&group).is_some_and(|thread| !thread.is_finished()) {
            self.troubled.insert(group);
            return Err(trouble(Reason::TimedOut, "still hangs in an earlier reading".to_owned()));
        }
        self.hanging.remove(&group);
        let budget = Budget::new(allowance.time, allowance.bytes);
        let host = host.within(&budget);
        let (answer, question) = sync_channel(1);
        let body = move || {
            let result = work(host);
            // Nobody waits any more after a timeout: then the result is dropped.
            drop(answer.send(result));
        };
        let thread = match std::thread::Builder::new().name(format!("sensor-{}", group.name())).spawn(body) {
            Ok(thread) => thread,
            Err(error) => {
                self.troubled.insert(group);
                return Err(trouble(Reason::NotSupported, format!("could not be started: {error}")));
            }
        };
        match question.recv_timeout(allowance.time + GRACE) {
            Ok(result) => {
                if budget.used_up() {
                    self.troubled.insert(group);
                }
                Ok(result)
            }
            Err(RecvTimeoutError::Timeout) => {
                self.hanging.insert(group, thread);
                self.troubled.insert(group);
                Err(trouble(Reason::TimedOut, format!("did not finish within {} s", allowance.time.as_secs())))
            }
            Err(RecvTimeoutError::Disconnected) => {
                self.troubled.insert(group);
                Err(trouble(Reason::Malformed, "crashed on what it read: please report this as a bug".to_owned()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> (tempfile::TempDir, Host) {
        let dir = tempfile::tempdir().unwrap();
        let host = Host::open(dir.path(), dir.path()).unwrap();
        (dir, host)
    }

    const SHORT: Allowance = Allowance { time: Duration::from_millis(200), bytes: 1024 };

    #[test]
    fn a_sensor_that_panics_is_unavailable_and_troubled() {
        let (_dir, host) = host();
        let mut supervisor = Supervisor::default();
        let result: Result<(), _> = supervisor.run(Group::Os, SHORT, &host, |_| panic!("on purpose"));
        assert_eq!(result.unwrap_err().reason, Reason::Malformed);
        assert_eq!(supervisor.troubled(), &BTreeSet::from([Group::Os]));
        supervisor.forget(&BTreeSet::from([Group::Os]));
        assert_eq!(supervisor.run(Group::Os, SHORT, &host, |_| 7), Ok(7));
        assert!(supervisor.troubled().is_empty());
    }

    #[test]
    fn a_sensor_that_used_up_its_bytes_is_troubled_and_keeps_what_it_has() {
        let (dir, host) = host();
        std::fs::write(dir.path().join("file"), [0; 2000]).unwrap();
        let mut supervisor = Supervisor::default();
        let read = supervisor.run(Group::Os, SHORT, &host, |host| host.root.read("file").map_err(|error| error.reason()));
        assert_eq!(read, Ok(Err(Reason::TimedOut)));
        assert_eq!(supervisor.troubled(), &BTreeSet::from([Group::Os]));
    }

    #[test]
    fn a_sensor_that_hangs_is_timed_out_and_not_started_twice() {
        let (_dir, host) = host();
        let mut supervisor = Supervisor::default();
        let (release, wait) = sync_channel::<()>(0);
        let hang = move |_| wait.recv().is_ok();
        assert_eq!(supervisor.run(Group::Os, SHORT, &host, hang).unwrap_err().reason, Reason::TimedOut);
        let again = supervisor.run(Group::Os, SHORT, &host, |_| true).unwrap_err();
        assert!(again.detail.contains("earlier reading"), "{}", again.detail);
        drop(release);
    }
}
