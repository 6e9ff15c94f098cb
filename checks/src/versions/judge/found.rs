//! What looking a version up comes to, and the memory of it: small, and the same for every node that runs it under the same
//! conditions, while what the records say of one kernel can be thousands of vulnerabilities.
//!
//! Must not know nodes: two that look alike here are judged alike.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::decide::{Decided, NewestFix, decide};
use super::exposure::conditions;
use super::target::Target;
use super::vulnerability::vulnerability;
use super::{Scene, Waiting};
use crate::entries::Hash;
use crate::facts::{Kubelet, Observed};
use crate::versions::{Confidence, Vulnerability};

/// The most that is remembered; each takes up to about 12 KiB. A fleet has some hundred kinds of kernels, runtimes and kubelets.
const MOST: usize = 2_048;

/// What was looked up already, by one [`crate::versions::knowledge::Knowledge`]: another needs a memory of its own.
#[derive(Debug, Default)]
pub struct Memory(Mutex<HashMap<Hash, Arc<Found>>>);

/// What is known of a version that runs, and of the one that waits.
#[derive(Debug)]
pub(super) struct Found {
    /// How many vulnerabilities are known at all.
    pub known: usize,
    /// Of how many it is not certain whether they affect it.
    pub unsure: usize,
    /// Was there anything to look it up in.
    pub looked_up: bool,
    /// The newest fix that the distribution's records name.
    pub newest_fix: Option<NewestFix>,
    /// The axis.
    pub vulnerability: Observed<Vulnerability>,
    /// What the version that waits does about it.
    pub waiting: Option<Waiting>,
}

/// Looks `target` up, and what waits to replace it.
pub(super) fn look_up(
    scene: &Scene<'_>,
    target: &Target,
    waiting: Option<&Target>,
    kubelet: Option<&Kubelet>,
    livepatched: bool,
) -> Arc<Found> {
    let (running, next) = (format!("{target:?}"), format!("{waiting:?}"));
    let conditions = conditions(scene.facts, kubelet);
    let key = Hash::of_fields([running.as_bytes(), next.as_bytes(), conditions.as_bytes(), &[u8::from(livepatched)]]);
    if let Some(found) = scene.memory.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
        return Arc::clone(found);
    }
    let decided = decide(target, scene.knowledge);
    let found = Arc::new(Found {
        known: decided.known(),
        unsure: unsure(&decided),
        looked_up: !decided.judged_by.is_empty(),
        vulnerability: vulnerability(scene, target, &decided, kubelet, livepatched),
        waiting: waiting.map(|waiting| Waiting::of(&decided, &decide(waiting, scene.knowledge))),
        newest_fix: decided.newest_fix,
    });
    let mut memory = scene.memory.0.lock().unwrap_or_else(PoisonError::into_inner);
    if memory.len() >= MOST {
        memory.clear();
    }
    memory.insert(key, Arc::clone(&found));
    found
}

fn unsure(decided: &Decided<'_>) -> usize {
    let possible = decided.affected.iter().filter(|one| one.confidence == Confidence::Possible).count();
    possible.saturating_add(decided.undecided.len())
}
