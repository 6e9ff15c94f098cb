//! The policy's part of a session: what the agent holds, what it is to hold, and what it was told and has not answered.
//!
//! Nothing is said twice: a policy is pushed when the agent does not hold it, and one it refused is not pushed again in this session
//! until another is wanted. A status that answers nothing is not believed.

use std::collections::VecDeque;
use std::sync::Arc;

use holdfast_checks::entries::MAX_REASON_BYTES;
use holdfast_proto::v1;

/// Policies an agent may be told of without having answered.
const MOST_UNANSWERED: usize = 4;
/// As much of a hash as is looked at: a longer one equals none.
const HASH_BYTES: usize = 17;

/// How the node stands now, for the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policed {
    /// The policy that is wanted, hex; empty for none.
    pub hash: String,
    /// The policy in force on the node, as its agent says, hex; empty for none.
    pub held: String,
    /// `applied`, `refused`, `pending` or `unsupported`.
    pub state: &'static str,
    /// What the agent said with it; `None`: nothing.
    pub reason: Option<String>,
}

#[derive(Debug)]
pub(super) struct Policing {
    able: bool,
    held: Vec<u8>,
    wanted: Option<Arc<v1::Policy>>,
    unanswered: VecDeque<Vec<u8>>,
    refused: Option<Vec<u8>>,
    /// What was last told to the store, so that nothing is told twice.
    told: Option<Policed>,
}

impl Policing {
    /// `able`: the agent takes policies; it says that it holds `held`.
    pub(super) fn new(able: bool, mut held: Vec<u8>) -> Self {
        held.truncate(HASH_BYTES);
        Self { able, held, wanted: None, unanswered: VecDeque::new(), refused: None, told: None }
    }

    /// The agent is to hold this.
    pub(super) fn want(&mut self, policy: Arc<v1::Policy>) {
        if self.wanted.as_ref().is_none_or(|wanted| wanted.hash != policy.hash) {
            self.refused = None;
        }
        self.wanted = Some(policy);
    }

    /// What follows: a policy to push, and how the node stands when that is new.
    pub(super) fn next(&mut self) -> (Option<v1::Policy>, Option<Policed>) {
        let Some(wanted) = self.wanted.clone() else { return (None, None) };
        if !self.able {
            return (None, self.tell("unsupported", &wanted, None));
        }
        let expected = self.unanswered.back().unwrap_or(&self.held);
        let settled = *expected == wanted.hash;
        let refused = self.unanswered.is_empty() && self.refused.as_ref() == Some(&wanted.hash);
        if refused {
            return (None, None);
        }
        if settled && self.unanswered.is_empty() {
            return (None, self.tell("applied", &wanted, None));
        }
        let push = (!settled && self.unanswered.len() < MOST_UNANSWERED).then(|| {
            self.unanswered.push_back(wanted.hash.clone());
            (*wanted).clone()
        });
        (push, self.tell("pending", &wanted, None))
    }

    /// The agent's answer, which may be how the node stands now. `Err`: nothing was asked that it could answer.
    pub(super) fn answered(&mut self, status: v1::PolicyStatus) -> Result<Option<Policed>, ()> {
        let at = self.unanswered.iter().position(|hash| *hash == status.hash).ok_or(())?;
        // Answers come in order: what was asked before was answered by this, too.
        self.unanswered.drain(..=at);
        if status.applied {
            self.held.clone_from(&status.hash);
        }
        let Some(wanted) = self.wanted.clone().filter(|wanted| wanted.hash == status.hash) else { return Ok(None) };
        if !status.applied {
            self.refused = Some(status.hash);
        }
        Ok(self.tell(if status.applied { "applied" } else { "refused" }, &wanted, Some(bounded(&status.reason))))
    }

    fn tell(&mut self, state: &'static str, wanted: &v1::Policy, reason: Option<String>) -> Option<Policed> {
        let now = Policed { hash: hex(&wanted.hash), held: hex(&self.held), state, reason };
        let same = self.told.as_ref().is_some_and(|told| {
            (&told.hash, &told.held, told.state) == (&now.hash, &now.held, now.state) && (now.reason.is_none() || told.reason == now.reason)
        });
        if same {
            return None;
        }
        self.told = Some(now.clone());
        Some(now)
    }
}

fn hex(hash: &[u8]) -> String {
    hash.iter().fold(String::with_capacity(hash.len() * 2), |hex, byte| hex + &format!("{byte:02x}"))
}

/// As much of a reason as is kept. Stores disagree on NUL.
fn bounded(reason: &str) -> String {
    let mut kept = String::new();
    for character in reason.chars().filter(|character| *character != '\0') {
        if kept.len() + character.len_utf8() > MAX_REASON_BYTES {
            break;
        }
        kept.push(character);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(number: u8) -> Arc<v1::Policy> {
        let hash = if number == 0 { Vec::new() } else { vec![number; 16] };
        Arc::new(v1::Policy { hash, full_pass_seconds: u32::from(number) * 60, ..v1::Policy::default() })
    }

    fn status(number: u8, applied: bool) -> v1::PolicyStatus {
        v1::PolicyStatus { hash: policy(number).hash.clone(), applied, reason: if applied { "" } else { "no" }.to_owned() }
    }

    /// What is pushed and how the node stands, in short.
    fn said((push, policed): (Option<v1::Policy>, Option<Policed>)) -> (Option<u8>, Option<&'static str>) {
        (push.map(|policy| policy.hash.first().copied().unwrap_or(0)), policed.map(|policed| policed.state))
    }

    #[test]
    fn an_agent_that_holds_it_is_told_nothing() {
        let mut policing = Policing::new(true, vec![1; 16]);
        assert_eq!(said(policing.next()), (None, None), "nothing is wanted yet");
        policing.want(policy(1));
        assert_eq!(said(policing.next()), (None, Some("applied")));
        assert_eq!(said(policing.next()), (None, None), "and nothing twice");
        let mut none = Policing::new(true, Vec::new());
        none.want(policy(0));
        assert_eq!(said(none.next()), (None, Some("applied")));
    }

    #[test]
    fn a_refused_policy_is_pushed_again_only_after_another_was_wanted() {
        let mut policing = Policing::new(true, vec![1; 16]);
        policing.want(policy(2));
        assert_eq!(said(policing.next()), (Some(2), Some("pending")));
        assert_eq!(said(policing.next()), (None, None), "once");
        let refused = policing.answered(status(2, false)).unwrap().unwrap();
        assert_eq!((refused.state, refused.reason.as_deref(), refused.held.as_str()), ("refused", Some("no"), "01".repeat(16).as_str()));
        assert_eq!(said(policing.next()), (None, None));
        policing.want(policy(2));
        assert_eq!(said(policing.next()), (None, None), "the file was written again and says the same");
        policing.want(policy(3));
        assert_eq!(said(policing.next()), (Some(3), Some("pending")));
        assert_eq!(policing.answered(status(3, true)).unwrap().unwrap().state, "applied");
        policing.want(policy(2));
        assert_eq!(said(policing.next()), (Some(2), Some("pending")));
    }

    #[test]
    fn a_policy_wanted_while_another_is_under_way_ends_in_force() {
        let mut policing = Policing::new(true, vec![1; 16]);
        policing.want(policy(2));
        policing.next();
        policing.want(policy(1));
        assert_eq!(said(policing.next()), (Some(1), Some("pending")), "what it holds is about to be replaced");
        assert_eq!(policing.answered(status(2, true)).unwrap(), None);
        assert_eq!(said(policing.next()), (None, Some("pending")), "what it holds is another now");
        assert_eq!(policing.answered(status(1, true)).unwrap().unwrap().state, "applied");
        assert_eq!(said(policing.next()), (None, None));
    }

    #[test]
    fn many_changes_wait_for_answers_and_the_last_one_wins() {
        let mut policing = Policing::new(true, Vec::new());
        let pushed: Vec<u8> = (1..=9)
            .filter_map(|number| {
                policing.want(policy(number));
                said(policing.next()).0
            })
            .collect();
        assert_eq!(pushed, [1, 2, 3, 4]);
        assert_eq!(policing.answered(status(1, true)).unwrap(), None);
        assert_eq!(said(policing.next()), (Some(9), Some("pending")), "what it holds is another now");
        assert_eq!(policing.answered(status(9, true)).unwrap().unwrap().state, "applied");
    }

    #[test]
    fn an_answer_to_nothing_is_not_believed_and_a_long_one_is_cut() {
        let mut policing = Policing::new(true, Vec::new());
        assert!(policing.answered(status(1, true)).is_err());
        policing.want(policy(1));
        policing.next();
        assert!(policing.answered(status(2, true)).is_err() && policing.answered(v1::PolicyStatus::default()).is_err());
        let long = v1::PolicyStatus { reason: "\0é".repeat(10_000), ..status(1, false) };
        assert_eq!(policing.answered(long).unwrap().unwrap().reason.unwrap().len(), MAX_REASON_BYTES);
        assert!(policing.answered(status(1, true)).is_err(), "it was answered");
    }

    #[test]
    fn an_older_agent_is_told_nothing_and_shown_as_such() {
        let mut policing = Policing::new(false, Vec::new());
        policing.want(policy(1));
        assert_eq!(said(policing.next()), (None, Some("unsupported")));
    }
}
