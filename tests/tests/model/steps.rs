//! What can happen, and how often.

use proptest::prelude::*;

/// One thing that happens.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// The node changes (key, content; content 0: gone), and everything is judged again, or only the checks of these keys.
    Scan { changes: Vec<(u8, u8)>, whole: bool },
    /// Both sides run until neither has more to do.
    Flow,
    /// So many messages reach the collector.
    Up(u8),
    /// So many messages reach the agent.
    Down(u8),
    /// The next message reaches the collector, and stays on its way.
    Twice,
    /// So many writes are committed, as one group.
    Commit(u8),
    /// Sessions hear of so many commits.
    Answer(u8),
    /// The agent dials, if it is not connected.
    Connect,
    /// The connection breaks: what was on its way is lost.
    Cut,
    /// The agent's side breaks; the collector does not know, and goes on receiving.
    Half,
    /// What a half-open connection still carries reaches the collector.
    Zombie(u8),
    /// The agent hands out a save.
    Save,
    /// The save under way is durable, or fails this once.
    Saved(bool),
    /// The agent's disk fails. The save under way may have landed.
    DiskFails { landed: bool },
    /// The agent's disk is back.
    DiskBack,
    /// The agent dies and comes back. The save under way may have landed. It may have said good-bye. What it had said may still arrive.
    AgentCrash { landed: bool, bye: bool, heard: bool },
    /// The agent dies, and its file with it.
    SpoolLost,
    /// The collector dies and comes back.
    CollectorCrash,
    /// The collector is about to stop.
    Drain,
    /// Somebody copies the collector's database.
    BackUp,
    /// Somebody brings that copy back.
    BringBack,
    /// Snapshots are granted at once from now on, or wait.
    Grants(bool),
    /// Time passes, in seconds.
    Time(u8),
}

/// What is the same throughout one history.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    /// Transitions the agent keeps.
    pub(crate) ring: usize,
    /// The collector's store refuses some content.
    pub(crate) refusing: bool,
    /// An agent of the version before: no file, and a Hello that says less.
    pub(crate) old_agent: bool,
    /// Messages the collector allows in flight.
    pub(crate) in_flight: u32,
    /// The agent's clock minus the collector's, milliseconds.
    pub(crate) skew_ms: i64,
}

impl Default for Setup {
    fn default() -> Self {
        Self { ring: 1_000, refusing: false, old_agent: false, in_flight: 4, skew_ms: 0 }
    }
}

pub(crate) fn setup() -> impl Strategy<Value = Setup> {
    let ring = prop_oneof![3 => Just(1_000_usize), 1 => Just(4)];
    let in_flight = prop_oneof![3 => Just(4_u32), 1 => Just(1)];
    let skew = prop_oneof![6 => Just(0_i64), 1 => Just(90_000), 1 => Just(-90_000)];
    (ring, prop::bool::weighted(0.25), prop::bool::weighted(0.12), in_flight, skew)
        .prop_map(|(ring, refusing, old_agent, in_flight, skew_ms)| Setup { ring, refusing, old_agent, in_flight, skew_ms })
}

fn step() -> impl Strategy<Value = Step> {
    let changes = prop::collection::vec((0..super::node::KEYS, 0..super::node::CONTENTS), 1..5);
    prop_oneof![
        14 => (changes, any::<bool>()).prop_map(|(changes, whole)| Step::Scan { changes, whole }),
        8 => Just(Step::Flow),
        10 => (1_u8..4).prop_map(Step::Up),
        10 => (1_u8..4).prop_map(Step::Down),
        2 => Just(Step::Twice),
        9 => (1_u8..4).prop_map(Step::Commit),
        9 => (1_u8..4).prop_map(Step::Answer),
        7 => Just(Step::Connect),
        3 => Just(Step::Cut),
        2 => Just(Step::Half),
        3 => (1_u8..4).prop_map(Step::Zombie),
        7 => Just(Step::Save),
        6 => prop::bool::weighted(0.9).prop_map(Step::Saved),
        1 => any::<bool>().prop_map(|landed| Step::DiskFails { landed }),
        1 => Just(Step::DiskBack),
        4 => (any::<bool>(), prop::bool::weighted(0.2), any::<bool>())
            .prop_map(|(landed, bye, heard)| Step::AgentCrash { landed, bye, heard }),
        1 => Just(Step::SpoolLost),
        2 => Just(Step::CollectorCrash),
        1 => Just(Step::Drain),
        1 => Just(Step::BackUp),
        1 => Just(Step::BringBack),
        2 => prop::bool::weighted(0.7).prop_map(Step::Grants),
        4 => (1_u8..80).prop_map(Step::Time),
    ]
}

pub(crate) fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..most)
}
