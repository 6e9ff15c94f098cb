//! Who holds each node's session. The newest session of one holder takes over from its older ones; another holder has to wait until
//! the first is gone: until its credentials do not hold any longer, or ten seconds after its stream was lost.
//!
//! Memory only: after a restart nobody is there, and whoever has valid credentials may come. Pure; whether credentials hold and the
//! moment are passed in. Must not know streams, messages or SQL.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdfast_checks::entries::Hash;
use tokio_util::sync::CancellationToken;

use crate::identity::Admitted;

/// For how long a holder whose stream was lost keeps its node, in milliseconds: a reconnect in between is nobody's business.
const GRACE_MS: u64 = 10_000;
/// The time in which two machines have to come in turns to be taken for two, in milliseconds.
const TURNS_MS: u64 = 10 * 60 * 1000;
/// The most turns looked at.
const MAX_TURNS: usize = 12;
/// Sessions of one node that are logged within [`TOLD_MS`]; what is beyond is counted and said with the next.
const TOLD: u32 = 5;
/// See [`TOLD`], in milliseconds.
const TOLD_MS: u64 = 60_000;
/// Nodes after which those that nobody holds are looked for.
const SWEEP_FROM: usize = 1024;

/// What tells one running agent from another: the boot of its machine and the spool it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Speaker(Hash);

impl Speaker {
    /// By what a Hello says.
    pub fn new(boot_id: &str, epoch: u64) -> Self {
        Self(Hash::of_fields([boot_id.as_bytes(), &epoch.to_be_bytes()]))
    }
}

/// The last speakers of one holder, each once for as long as nobody else came.
#[derive(Debug, Default)]
struct Turns(VecDeque<(u64, Speaker)>);

impl Turns {
    /// Takes in who came. `true`: it and another have each come back after the other. One that comes back alone is an agent whose disk
    /// failed for a while: a boot never returns, and of two spools only one can be in a file.
    fn take(&mut self, speaker: Speaker, now_ms: u64) -> bool {
        while self.0.front().is_some_and(|(at, _)| now_ms.saturating_sub(*at) > TURNS_MS) {
            self.0.pop_front();
        }
        if let Some(last) = self.0.back_mut().filter(|(_, last)| *last == speaker) {
            last.0 = now_ms;
            return false;
        }
        self.0.push_back((now_ms, speaker));
        if self.0.len() > MAX_TURNS {
            self.0.pop_front();
        }
        let came_back = |who: &Speaker| self.0.iter().filter(|(_, other)| other == who).count() > 1;
        came_back(&speaker) && self.0.iter().any(|(_, other)| *other != speaker && came_back(other))
    }
}

/// What was logged of a node's sessions: whoever comes back on and on shall not fill the disk.
#[derive(Debug, Default)]
struct Told {
    since_ms: u64,
    lines: u32,
    untold: u64,
}

impl Told {
    /// Is the next one to be logged; then how many were not since the last.
    fn take(&mut self, now_ms: u64) -> Option<u64> {
        if now_ms.saturating_sub(self.since_ms) >= TOLD_MS {
            (self.since_ms, self.lines) = (now_ms, 0);
        }
        if self.lines >= TOLD {
            self.untold = self.untold.saturating_add(1);
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.untold))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    Live,
    Lost(u64),
    /// It said good-bye.
    Left,
}

#[derive(Debug)]
struct Held {
    admitted: Arc<Admitted>,
    claim: u64,
    taken_over: CancellationToken,
    stream: Stream,
    /// Once its session was opened.
    node_id: Option<i64>,
    turns: Turns,
    told: Told,
}

impl Held {
    fn lives(&self, now_ms: u64) -> bool {
        match self.stream {
            Stream::Live => true,
            Stream::Lost(at) => now_ms.saturating_sub(at) < GRACE_MS,
            Stream::Left => false,
        }
    }
}

/// A node that is held.
#[derive(Debug)]
pub struct Claim {
    /// Its number; a later one of the same node is higher.
    pub number: u64,
    /// Cancelled when another session takes over.
    pub taken_over: CancellationToken,
    /// Two machines show the same credentials in turns.
    pub alternates: bool,
    /// How many claims of the node were not logged since the last that was; `None`: this one is not to be, either.
    pub untold: Option<u64>,
}

/// Why a node cannot be held: somebody else does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the node's session is held by {holder}")]
pub struct Taken {
    /// Whose it is.
    pub holder: String,
    /// The node, where its session was opened already.
    pub node_id: Option<i64>,
}

/// Every node that is held, or was a short while ago. Locked for moments, never across a wait.
#[derive(Debug, Default)]
pub struct Holders {
    nodes: Mutex<Nodes>,
}

#[derive(Debug, Default)]
struct Nodes {
    /// By cluster and uid.
    held: BTreeMap<(String, String), Held>,
    claims: u64,
    sweep_at: usize,
}

fn key(admitted: &Admitted) -> (String, String) {
    (admitted.node.cluster.clone(), admitted.node.uid.clone())
}

impl Holders {
    fn lock(&self) -> MutexGuard<'_, Nodes> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds the node of `admitted`, unless somebody else does whose credentials stand and whose stream lives. An older session of the
    /// same holder is told at once.
    ///
    /// # Errors
    /// Who has it.
    pub fn claim(
        &self,
        admitted: &Arc<Admitted>,
        speaker: Speaker,
        now_ms: u64,
        stands: impl Fn(&Admitted) -> bool,
    ) -> Result<Claim, Taken> {
        let mut nodes = self.lock();
        nodes.sweep(now_ms);
        let number = nodes.claims.wrapping_add(1);
        nodes.claims = number;
        let taken_over = CancellationToken::new();
        let fresh = Held {
            admitted: Arc::clone(admitted),
            claim: number,
            taken_over: taken_over.clone(),
            stream: Stream::Live,
            node_id: None,
            turns: Turns::default(),
            told: Told::default(),
        };
        let held = match nodes.held.entry(key(admitted)) {
            std::collections::btree_map::Entry::Vacant(free) => free.insert(fresh),
            std::collections::btree_map::Entry::Occupied(entry) => {
                let held = entry.into_mut();
                let same = held.admitted.holder == admitted.holder;
                if !same && held.lives(now_ms) && stands(&held.admitted) {
                    return Err(Taken { holder: held.admitted.holder.text(), node_id: held.node_id });
                }
                held.taken_over.cancel();
                let turns = if same { std::mem::take(&mut held.turns) } else { Turns::default() };
                *held = Held { node_id: held.node_id, turns, told: std::mem::take(&mut held.told), ..fresh };
                held
            }
        };
        Ok(Claim { number, taken_over, alternates: held.turns.take(speaker, now_ms), untold: held.told.take(now_ms) })
    }

    /// Does something to the node of a claim that is still the newest.
    fn with(&self, admitted: &Admitted, claim: u64, change: impl FnOnce(&mut Held)) {
        if let Some(held) = self.lock().held.get_mut(&key(admitted)).filter(|held| held.claim == claim) {
            change(held);
        }
    }

    /// Its session was opened as this node's.
    pub fn opened(&self, admitted: &Admitted, claim: u64, node_id: i64) {
        self.with(admitted, claim, |held| held.node_id = Some(node_id));
    }

    /// It showed fresh credentials.
    pub fn renewed(&self, admitted: &Arc<Admitted>, claim: u64) {
        self.with(admitted, claim, |held| held.admitted = Arc::clone(admitted));
    }

    /// It said good-bye: the node is free.
    pub fn left(&self, admitted: &Admitted, claim: u64) {
        self.with(admitted, claim, |held| held.stream = Stream::Left);
    }

    /// Its stream is over.
    pub fn lost(&self, admitted: &Admitted, claim: u64, now_ms: u64) {
        self.with(admitted, claim, |held| {
            if held.stream == Stream::Live {
                held.stream = Stream::Lost(now_ms);
            }
        });
    }
}

impl Nodes {
    /// Forgets nodes that nobody holds and whose turns are too old to count. Now and then: it looks at all of them.
    fn sweep(&mut self, now_ms: u64) {
        if self.held.len() < self.sweep_at.max(SWEEP_FROM) {
            return;
        }
        self.held.retain(|_, held| match held.stream {
            Stream::Live => true,
            Stream::Lost(at) => now_ms.saturating_sub(at) < TURNS_MS,
            Stream::Left => held.turns.0.back().is_some_and(|(at, _)| now_ms.saturating_sub(*at) < TURNS_MS),
        });
        self.sweep_at = self.held.len().saturating_mul(2);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail")]

    use super::*;
    use crate::identity::Holder;
    use crate::store::nodes::{NodeIdentity, Origin};

    fn admitted(holder: Holder) -> Arc<Admitted> {
        let node = NodeIdentity { cluster: "c".into(), uid: "u".into(), name: "n".into(), origin: Origin::Agent };
        Arc::new(Admitted { node, holder, expires_at: None, token_hash: None })
    }

    fn pod(uid: &str) -> Arc<Admitted> {
        admitted(Holder::Pod(uid.into()))
    }

    fn speaker(epoch: u64) -> Speaker {
        Speaker::new("boot", epoch)
    }

    #[test]
    fn the_newest_session_of_a_holder_takes_over_and_the_older_one_is_told_at_once() {
        let holders = Holders::default();
        let first = holders.claim(&pod("a"), speaker(1), 0, |_| true).unwrap();
        let second = holders.claim(&pod("a"), speaker(1), 1, |_| true).unwrap();
        assert!(first.taken_over.is_cancelled() && !second.taken_over.is_cancelled());
        holders.lost(&pod("a"), first.number, 2);
        assert!(holders.claim(&pod("b"), speaker(2), 60_000, |_| true).is_err(), "the older one's end is not the newer one's");
    }

    #[test]
    fn one_that_comes_back_on_and_on_is_logged_a_few_times_a_minute_and_another_node_all_the_same() {
        let holders = Holders::default();
        let node = |uid: &str| {
            let node = NodeIdentity { cluster: "c".into(), uid: uid.into(), name: "n".into(), origin: Origin::Agent };
            Arc::new(Admitted { node, holder: Holder::Token, expires_at: None, token_hash: None })
        };
        let untold = |uid, at| holders.claim(&node(uid), speaker(1), at, |_| true).unwrap().untold;
        let said: Vec<_> = (0..1_000).filter_map(|n| untold("a", 100_000 + n)).collect();
        assert_eq!(said, [0; 5]);
        assert_eq!(untold("b", 100_001), Some(0));
        assert_eq!(untold("a", 160_000), Some(995));
    }

    #[test]
    fn another_holder_waits_while_the_first_lives_and_ten_seconds_after_it_was_lost() {
        let holders = Holders::default();
        let first = holders.claim(&pod("a"), speaker(1), 0, |_| true).unwrap();
        holders.opened(&pod("a"), first.number, 7);
        let taken = holders.claim(&pod("b"), speaker(2), 86_400_000, |_| true).unwrap_err();
        assert_eq!(taken, Taken { holder: "pod:a".into(), node_id: Some(7) });
        assert!(!first.taken_over.is_cancelled());
        holders.lost(&pod("a"), first.number, 100_000);
        assert!(holders.claim(&pod("b"), speaker(2), 109_999, |_| true).is_err());
        assert!(holders.claim(&pod("b"), speaker(2), 110_000, |_| true).is_ok());
        assert!(holders.claim(&pod("a"), speaker(1), 110_001, |_| true).is_err(), "and now it is the other way round");
    }

    #[test]
    fn a_pod_in_place_of_one_that_was_deleted_or_left_does_not_wait() {
        let holders = Holders::default();
        let first = holders.claim(&pod("a"), speaker(1), 0, |_| true).unwrap();
        let deleted = |admitted: &Admitted| admitted.holder != Holder::Pod("a".into());
        let second = holders.claim(&pod("b"), speaker(2), 1, deleted).unwrap();
        assert!(first.taken_over.is_cancelled(), "its stream may not know yet");
        holders.left(&pod("b"), second.number);
        holders.lost(&pod("b"), second.number, 2);
        assert!(holders.claim(&admitted(Holder::Token), speaker(3), 3, |_| true).is_ok());
    }

    #[test]
    fn two_machines_with_the_same_credentials_are_two_once_each_has_come_back() {
        let holders = Holders::default();
        let came = |who, at| holders.claim(&admitted(Holder::Token), who, at, |_| true).unwrap().alternates;
        let (a, b) = (Speaker::new("a", 1), Speaker::new("b", 2));
        assert_eq!([came(a, 1), came(b, 2), came(a, 3), came(b, 4), came(b, 5), came(a, 6)], [false, false, false, true, false, true]);
        let later = 6 + TURNS_MS + 1;
        assert_eq!([came(b, later), came(a, later), came(b, later)], [false, false, false], "what is long ago does not count");
    }

    #[test]
    fn an_agent_that_restarts_or_whose_disk_comes_and_goes_is_one() {
        let holders = Holders::default();
        let came = |who, at| holders.claim(&admitted(Holder::Token), who, at, |_| true).unwrap().alternates;
        // A restart a minute, each with a spool in memory; then one whose file is there every other time.
        assert!(!(0..20).any(|n| came(speaker(n), n * 60_000)));
        assert!(!(20..40).any(|n| came(speaker(if n % 2 == 0 { 1_000 } else { n }), n * 60_000)));
    }

    /// Each session asks once a second, from its tick.
    #[test]
    #[ignore = "prints a figure"]
    #[allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a figure for whoever looks")]
    fn cost_of_asking_ten_thousand_whether_they_stand() {
        use crate::identity::{Identities, Tokens};
        let file = tempfile::NamedTempFile::new().unwrap();
        let line = |n: u32| format!("- {{sha256: {n:064x}, cluster: c, uid: u{n}, name: n{n}}}\n");
        std::fs::write(file.path(), (0..10_000).map(line).collect::<String>()).unwrap();
        let identities = Identities { tokens: Some(Tokens::load(file.path()).unwrap()), ..Identities::default() };
        let admitted: Vec<Admitted> = (0..10_000_u32)
            .map(|n| {
                let node = NodeIdentity { cluster: "c".into(), uid: format!("u{n}"), name: format!("n{n}"), origin: Origin::Agent };
                let mut hash = [0; 32];
                hash[28..].copy_from_slice(&n.to_be_bytes());
                Admitted { node, holder: Holder::Token, expires_at: Some(i64::MAX), token_hash: Some(hash) }
            })
            .collect();
        let began = std::time::Instant::now();
        assert!(admitted.iter().all(|admitted| identities.standing(admitted, 1).is_ok()));
        println!("10,000 asked in {:?}", began.elapsed());
    }

    #[test]
    fn nodes_that_nobody_holds_are_forgotten() {
        let holders = Holders::default();
        for n in 0..5_000_u64 {
            let node = NodeIdentity { cluster: "c".into(), uid: n.to_string(), name: "n".into(), origin: Origin::Agent };
            let admitted = Arc::new(Admitted { node, holder: Holder::Token, expires_at: None, token_hash: None });
            let claim = holders.claim(&admitted, speaker(1), n * 10_000, |_| true).unwrap();
            holders.lost(&admitted, claim.number, n * 10_000);
        }
        assert!(holders.lock().held.len() <= SWEEP_FROM, "{}", holders.lock().held.len());
    }
}
