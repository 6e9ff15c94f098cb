//! The node and its agent: what is true, the real session and spool, and the disk that survives a crash.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use holdfast_agent::line::Judgement;
use holdfast_agent::session::{Introduction, Session};
use holdfast_agent::spool::{Image, Save, Spool};
use holdfast_checks::entries::{Changes, Entry, Evidence, Finding, Hash, Key, Severity, Verdict};

use super::steps::Setup;

/// Keys there are: findings of three checks, the last of them refused by every collector, and two of inventory.
pub(crate) const KEYS: u8 = 10;
/// Contents a key can have; 0 is none.
pub(crate) const CONTENTS: u8 = 6;
/// The finding that no collector stores: its subject has a NUL.
const REFUSED: u8 = 7;

static ENTRIES: LazyLock<Vec<Vec<Entry>>> =
    LazyLock::new(|| (0..KEYS).map(|key| (1..CONTENTS).map(|content| make(key, content)).collect()).collect());

fn make(key: u8, content: u8) -> Entry {
    if key > REFUSED {
        let document = serde_json::json!({"content": content});
        return Entry::inventory("os", &format!("part-{key}"), &document, 0).unwrap();
    }
    // Half of them are large, so that a snapshot has parts.
    let value = format!("{content}{}", "x".repeat(if key.is_multiple_of(2) { 1_700 } else { 0 }));
    let verdicts = [Verdict::Pass, Verdict::Fail, Verdict::Pass, Verdict::Unknown, Verdict::Fail];
    let evidence = Evidence { path: "kubelets.settings.x".into(), value: Some(value.into()), source: "flag".into(), at: 0 };
    let finding = Finding {
        check: ["a", "b", "c"][usize::from(key) % 3].to_owned(),
        subject: if key == REFUSED { "\0".to_owned() } else { format!("subject-{key}") },
        verdict: verdicts[usize::from(content) - 1],
        reason: String::new(),
        severity: if key.is_multiple_of(3) { Severity::High } else { Severity::Low },
        title: "A title".into(),
        evidence: vec![evidence],
        evidence_truncated: false,
    };
    Entry::finding(finding, 0)
}

/// Is this a key no collector stores.
pub(crate) fn is_malformed(key: &Key) -> bool {
    key.as_str().contains('\0')
}

/// The agent's file, and the disk below it.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) image: Option<Image>,
    pub(crate) writing: Option<Save>,
    pub(crate) broken: bool,
}

impl Disk {
    /// The save under way reaches the file.
    pub(crate) fn land(&mut self) {
        if let Some(save) = self.writing.take() {
            self.image.get_or_insert_default().apply(save);
        }
    }
}

/// One node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) truth: BTreeMap<Key, Entry>,
    pub(crate) session: Session,
    pub(crate) spool: Spool,
    pub(crate) disk: Disk,
    /// Times the agent has started.
    pub(crate) life: u64,
    setup: Setup,
}

impl Node {
    pub(crate) fn new(setup: &Setup) -> Self {
        let (session, spool) = (Session::new(introduction()), Spool::in_memory(0));
        Self { truth: BTreeMap::new(), session, spool, disk: Disk::default(), life: 0, setup: setup.clone() }
    }

    /// The agent starts, as the real one does: with its file when it can be read, with a new epoch when not.
    pub(crate) fn start(&mut self) {
        self.life += 1;
        let draw = Hash::of_fields([&self.life.to_le_bytes()[..]]).0;
        let draw = u64::from_le_bytes(draw[..8].try_into().unwrap());
        self.session = Session::new(introduction());
        let keeps = !self.disk.broken && !self.setup.old_agent;
        self.spool = match &self.disk.image {
            Some(image) if keeps => Spool::restore_with_ring(image.clone(), draw, self.setup.ring),
            _ => Spool::with_ring(draw, self.setup.ring),
        };
        if keeps && self.disk.image.is_none() {
            self.spool.keep_in_file();
        }
        self.disk.writing = None;
    }

    /// Does the agent keep a file now.
    pub(crate) fn keeps_file(&self) -> bool {
        !self.disk.broken && !self.setup.old_agent
    }

    /// Changes what is true; which checks see it.
    pub(crate) fn change(&mut self, changes: &[(u8, u8)]) -> BTreeSet<String> {
        let mut checks = BTreeSet::new();
        for (key, content) in changes {
            let (key, content) = (usize::from(*key), usize::from(*content));
            let entry = &ENTRIES[key][content.saturating_sub(1)];
            checks.insert(entry.key.parts().0.to_owned());
            if content == 0 {
                self.truth.remove(&entry.key);
            } else {
                self.truth.insert(entry.key.clone(), entry.clone());
            }
        }
        checks
    }

    /// What judging everything, or some checks, comes to against what the spool holds.
    pub(crate) fn judge(&self, covers: Option<BTreeSet<String>>, at: i64) -> Changes {
        let judgement = Judgement { covers, at, ..Judgement::default() };
        let fresh = self.truth.values().filter(|entry| judgement.covers(&entry.key)).cloned();
        let fresh = fresh.map(|entry| Entry { changed_at: at, ..entry }).collect();
        self.spool.state().compare(fresh, |key| judgement.covers(key), at)
    }
}

fn introduction() -> Introduction {
    Introduction {
        agent_version: "0.0.0".to_owned(),
        catalogue_hash: Hash::default(),
        boot_id: "b".to_owned(),
        node_name: "n".to_owned(),
        capabilities: 0,
    }
}
