//! Who came into a container from outside and stayed: `kubectl exec`, `docker exec`.
//!
//! The runtime starts a container's first process and everything that is executed in it later, so that both have a parent outside
//! the container. Orphans are no help to anybody: in a pid namespace they fall to its process 1, elsewhere to the runtime.

use std::collections::{BTreeMap, BTreeSet};

use super::members::{Members, program};
use crate::facts::{Observed, Process, Reason};

/// From when on a session is long, in milliseconds: longer than any probe or hook, and than a look at something.
const LONG_MS: i64 = 10 * 60 * 1000;
/// The most programs in the list.
const MAX_PROGRAMS: usize = 16;

/// Programs that were started from outside and have run for long.
pub(super) fn of(members: &Members<'_>) -> Observed<Vec<String>> {
    // One that was not read may be the parent that seems to be outside.
    if let Some(hole) = members.hole() {
        return Observed::Unavailable(hole.clone());
    }
    let own: BTreeMap<i64, &Process> = members.processes().iter().map(|process| (process.pid, *process)).collect();
    let entered: Vec<&Process> = own.values().copied().filter(|process| !own.contains_key(&process.parent)).collect();
    let came: Vec<&Process> = match (entered.iter().any(|process| process.inside_pid == 1), entered.as_slice()) {
        (true, _) => entered.into_iter().filter(|process| process.inside_pid != 1).collect(),
        // The only one that the runtime started is what the container runs.
        (false, [] | [_]) => Vec::new(),
        (false, _) => {
            let why = "its process ids are the host's or the whole pod's, where an orphan looks like a session";
            return Observed::unavailable_because(Reason::NotSupported, why);
        }
    };
    if came.is_empty() {
        return members.derived(Vec::new());
    }
    let ages: Option<Vec<(i64, &Process)>> = came.into_iter().map(|process| Some((process.age_ms?, process))).collect();
    let Some(ages) = ages else {
        return Observed::unavailable_because(Reason::NotSupported, "how long a process has run cannot be told here");
    };
    let programs: BTreeSet<&str> = ages.into_iter().filter(|(age, _)| *age > LONG_MS).map(|(_, process)| program(process)).collect();
    members.derived(programs.into_iter().take(MAX_PROGRAMS).map(str::to_owned).collect())
}
