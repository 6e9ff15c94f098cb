//! What the followed cluster says of a node, as a fact. Pure.

use holdfast_checks::facts::{Membership as Fact, Observed, Reason, Source, SourceKind};

use crate::cluster::Cluster;
use crate::store::membership::Membership;
use crate::store::{JudgedNode, Standing};

/// The checks that can be judged of a node which has sent nothing: they read `node.membership` and nothing else.
pub(super) const CHECKS: [&str; 2] = ["node-has-agent", "node-is-known"];

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// The fact, `None` where no API server is followed for the node's cluster: for recordings and other clusters.
///
/// What is in memory says who is there now. What is stored stands otherwise: it was concluded after waiting, outlives a restart, and
/// is the last known while the API server is away. Its time is when that was concluded.
pub fn membership(node: &JudgedNode, followed: Option<&Cluster>, now: i64) -> Option<Observed<Fact>> {
    let cluster = followed.filter(|cluster| cluster.name() == node.cluster && !node.recorded)?;
    let object = cluster.node(&node.name).filter(|object| object.uid == node.standing.uid);
    let Standing { membership_since, unwatchable, spoke, first_seen, .. } = &node.standing;
    let (listed, unwatchable, at) = match (object, node.standing.membership) {
        (Some(object), stored) => {
            let at = if stored.listed() { *membership_since } else { now };
            (true, object.unwatchable.unwrap_or_default().to_owned(), at)
        }
        (None, Membership::Listed | Membership::Unwatchable) => (true, unwatchable.clone(), *membership_since),
        (None, Membership::Absent | Membership::Deleted) => (false, String::new(), *membership_since),
        (None, Membership::Unknown) => {
            let why = "the API server has not told of its Node object yet";
            return Some(Observed::unavailable_because(Reason::NotPresent, why));
        }
    };
    let waited_seconds = if *spoke { 0 } else { stepped(now.saturating_sub(*first_seen) / 1000) };
    let fact = Fact { listed, agent: *spoke, unwatchable, waited_seconds };
    Some(Observed::known(fact, Source::new(SourceKind::Derived, "Node objects"), at))
}

/// Rounded down, coarser the longer it is: evidence does not change every second.
fn stepped(seconds: i64) -> i64 {
    match seconds {
        ..HOUR => seconds.clamp(0, 300),
        HOUR..DAY => HOUR,
        DAY.. => seconds - seconds % DAY,
    }
}
