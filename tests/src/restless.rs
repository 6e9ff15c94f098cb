//! A made-up node on which everything changes all the time: findings appear, flip and go, inventory moves.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_agent::line::Judgement;
use holdfast_checks::entries::{Entry, Evidence, Finding, Key, Severity, State, Verdict};

use crate::sim::dice::Dice;

const VERDICTS: [Verdict; 5] = [Verdict::Pass, Verdict::Fail, Verdict::Unknown, Verdict::NotApplicable, Verdict::Manual];
const SEVERITIES: [Severity; 3] = [Severity::Critical, Severity::High, Severity::Low];
const CHECKS: usize = 6;
const SUBJECTS: u64 = 25;

/// A node as it is, whatever anybody knows of it.
#[derive(Debug, Default)]
pub struct Node {
    entries: BTreeMap<Key, Entry>,
    versions: u64,
}

impl Node {
    /// Changes up to `most` things; which checks were touched.
    pub fn change(&mut self, dice: &mut Dice, most: u64, at: i64) -> BTreeSet<String> {
        let mut touched = BTreeSet::new();
        for _ in 0..dice.between(1, most) {
            self.versions += 1;
            if dice.one_in(6) {
                let document = serde_json::json!({"version": self.versions});
                let entry = Entry::inventory("thing", &format!("n-{}", dice.between(0, 9)), &document, at);
                if let Some(entry) = entry {
                    self.put(dice, entry);
                }
            } else {
                let check = dice.below(CHECKS);
                touched.insert(format!("check-{check}"));
                let entry = self.finding(check, dice, at);
                self.put(dice, entry);
            }
        }
        touched
    }

    /// Something goes once in eight times.
    fn put(&mut self, dice: &mut Dice, entry: Entry) {
        if dice.one_in(8) {
            self.entries.remove(&entry.key);
        } else {
            self.entries.insert(entry.key.clone(), entry);
        }
    }

    fn finding(&self, check: usize, dice: &mut Dice, at: i64) -> Entry {
        let value = Some(serde_json::json!(self.versions / 4));
        let evidence = vec![Evidence { path: "made.up".into(), value, source: "file /made/up".into(), at }];
        let finding = Finding {
            check: format!("check-{check}"),
            subject: format!("port:tcp/{}", dice.between(1, SUBJECTS)),
            verdict: VERDICTS.get(dice.below(VERDICTS.len())).copied().unwrap_or(Verdict::Unknown),
            reason: String::new(),
            severity: SEVERITIES.get(check % SEVERITIES.len()).copied().unwrap_or(Severity::Info),
            title: "A made-up finding".into(),
            evidence,
            evidence_truncated: false,
        };
        Entry::finding(finding, at)
    }

    /// As a pass judges it: all of it, or the checks that were touched.
    pub fn judged(&self, covers: Option<BTreeSet<String>>, at: i64) -> Judgement {
        let judgement = Judgement { covers, at, ..Judgement::default() };
        let entries = self.entries.values().filter(|entry| judgement.covers(&entry.key)).cloned().collect();
        Judgement { entries, ..judgement }
    }

    /// What an agent would keep of it.
    pub fn state(&self) -> State {
        let mut state = State::default();
        self.entries.values().for_each(|entry| state.upsert(entry.clone()));
        state
    }
}
