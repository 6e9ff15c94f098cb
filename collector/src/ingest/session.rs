//! One session as a state machine: inputs in, outputs out, no socket, no clock, no store.
//!
//! The agent greets, is told how to resume, and then sends changes or a snapshot, each acknowledged after its commit.
//! Heartbeats compare digests; two that differ while nothing is under way lead to a snapshot. Nothing an agent sends
//! can do more than end its own session.

mod policing;
mod snapshot;

use std::sync::Arc;

use holdfast_checks::entries::{Digest, Entry, Hash, Key, Kind};
use holdfast_proto::v1;
use holdfast_proto::v1::agent_message::Message as Said;
use holdfast_proto::v1::collector_message::Message as Say;

pub use self::policing::Policed;
use self::policing::Policing;
use self::snapshot::{Part, Snapshot};
use super::convert::Incoming;
use super::{Settings, convert};
use crate::refusals::Refusal;
use crate::store::ingest::{self, NodeWrite, Opaque, Progress, RefusalCode, Written};
use crate::store::nodes::{NodeIdentity, Opened, Resume, SessionStart};

/// Messages an agent may have unacknowledged.
pub const MAX_INFLIGHT: u32 = 4;
/// The first pause before a divergence leads to another snapshot in one session, in milliseconds; doubles.
const RESYNC_PAUSE_MS: u64 = 60_000;
/// The longest such pause: an hour.
const RESYNC_PAUSE_MAX_MS: u64 = 60 * 60 * 1000;

/// The shortest and the longest time over which a fleet comes back, in milliseconds.
const SPREAD_MS: (u32, u32) = (2_000, 900_000);

/// When an input happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Monotonic milliseconds since any fixed point.
    pub mono_ms: u64,
    /// Unix milliseconds.
    pub wall_ms: i64,
}

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// The agent said something.
    Message(Box<v1::AgentMessage>),
    /// The store has fenced the session. Carries how many nodes are connected, which sizes the reconnect spread.
    Opened(Opened, usize),
    /// The store has answered the write of this sequence number.
    Written(u64, Written),
    /// The agent is to try another node's port.
    Probe(v1::ProbeRequest),
    /// The agent is to hold this policy.
    Policy(Arc<v1::Policy>),
    /// The grant asked for is there.
    Granted,
    /// The grant asked for will come later.
    Queued,
    /// A second or so has passed.
    Tick,
    /// The collector is about to stop.
    Drain,
}

/// What to do.
#[derive(Debug)]
pub enum Output {
    /// Send this.
    Send(v1::CollectorMessage),
    /// Open the session in the store, as its holder's; answer with [`Input::Opened`].
    Open(Box<SessionStart>),
    /// Store this; answer with [`Input::Written`], in order.
    Write(Box<NodeWrite>),
    /// Ask for leave to receive a snapshot; answer with [`Input::Granted`], or [`Input::Queued`] and later `Granted`.
    AskGrant,
    /// The snapshot is over.
    ReleaseGrant,
    /// Anything was heard, with the vitals when it was a heartbeat, and whether the digests agree.
    Heard {
        /// The heartbeat.
        vitals: Option<v1::Heartbeat>,
        /// Both sides have the same state.
        confirmed: bool,
    },
    /// The agent stops on purpose.
    Stopped(String),
    /// The agent's token was rotated: it must name the same node.
    Reauth(String),
    /// What the agent says came of a request; it may never have been asked.
    Probed(v1::ProbeResult),
    /// The node stands otherwise to its policy now.
    Policed(Policed),
    /// Something was said that is not this agent's to say, and is not stored: what, for a person.
    Foreign(String),
    /// Something was dropped or refused before the store: a name for metrics, and how often.
    Dropped(&'static str, usize),
    /// End the stream.
    Close(Close),
}

/// Why a session ends. The text is for the agent's log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Close {
    /// The agent said good-bye.
    #[error("good-bye")]
    Bye,
    /// The agent broke the contract.
    #[error("protocol error: {0}")]
    Protocol(String),
    /// The agent and the collector do not speak the same protocol.
    #[error("{0}")]
    Incompatible(String),
    /// Something did not come in time.
    #[error("{0} did not come in time")]
    Late(&'static str),
    /// A newer session of the same node took over.
    #[error("superseded by a newer session of this node")]
    Superseded,
}

impl Close {
    /// Its code; a good-bye is no refusal.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Bye => None,
            Self::Protocol(_) => Some(Refusal::Protocol),
            Self::Incompatible(_) => Some(Refusal::Incompatible),
            Self::Late("hello") => Some(Refusal::NoHello),
            Self::Late(_) => Some(Refusal::Late),
            Self::Superseded => Some(Refusal::Superseded),
        }
    }
}

/// Rotated tokens that came lately: four a minute are looked at. A token lasts for ten minutes at least.
#[derive(Debug, Default)]
struct Reauths {
    since_ms: u64,
    n: u32,
}

impl Reauths {
    fn take(&mut self, now_ms: u64) -> bool {
        if now_ms.saturating_sub(self.since_ms) >= 60_000 {
            *self = Self { since_ms: now_ms, n: 0 };
        }
        self.n = self.n.saturating_add(1);
        self.n <= 4
    }
}

#[derive(Debug)]
enum Phase {
    Greeting { until_ms: u64 },
    Opening { greeting: convert::Greeting },
    Live(Box<Live>),
    Over,
}

#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "independent facts about one session, not states of one machine")]
struct Live {
    opened: Opened,
    greeting: convert::Greeting,
    /// The digest of what is stored, as of the last commit.
    stored: Digest,
    last_seq: u64,
    acked_seq: u64,
    in_flight: u32,
    /// The agent's digest after the message of this number.
    claimed: Option<(u64, Digest)>,
    snapshot: Snapshot,
    policing: Policing,
    reauths: Reauths,
    welcomed: bool,
    heard_ms: u64,
    /// Data came since the last heartbeat.
    busy: bool,
    mismatches: u8,
    resync_after_ms: u64,
    resync_pause_ms: u64,
    /// A grant was asked for and has not come.
    asking: bool,
    leaving: bool,
}

/// One agent's session.
#[derive(Debug)]
pub struct Session {
    settings: Settings,
    identity: NodeIdentity,
    phase: Phase,
    /// Over how long the fleet comes back.
    spread_ms: u32,
    /// Stays after the end, so that whoever closes up knows which session it was.
    opened: Option<Opened>,
    out: Vec<Output>,
}

impl Session {
    /// A stream of `identity` has opened.
    pub fn new(identity: NodeIdentity, settings: Settings, now: Moment) -> Self {
        let phase = Phase::Greeting { until_ms: now.mono_ms.saturating_add(settings.hello_ms) };
        Self { settings, identity, phase, spread_ms: SPREAD_MS.0, opened: None, out: Vec::new() }
    }

    /// The node and its fence, once opened.
    pub fn opened(&self) -> Option<&Opened> {
        self.opened.as_ref()
    }

    /// Has the agent said that it tries other nodes' ports when asked.
    pub fn probes_peers(&self) -> bool {
        matches!(&self.phase, Phase::Live(live) if live.greeting.probes_peers)
    }

    /// Is now a time to send it requests.
    pub fn may_be_asked(&self) -> bool {
        matches!(&self.phase, Phase::Live(live) if live.welcomed && !live.leaving)
    }

    /// How many nodes are connected now: a stream that lasts for months began in another fleet. Reconnects are to arrive at no more
    /// than about 200 a second, over at least two seconds.
    pub fn fleet(&mut self, connected: usize) {
        self.spread_ms = u32::try_from(connected.saturating_mul(5)).unwrap_or(u32::MAX).clamp(SPREAD_MS.0, SPREAD_MS.1);
    }

    /// Takes an input; what to do about it, in order.
    pub fn handle(&mut self, input: Input, now: Moment) -> Vec<Output> {
        if matches!(self.phase, Phase::Over) {
            return Vec::new();
        }
        match input {
            Input::Message(message) => self.message(*message, now),
            Input::Opened(opened, connected) => self.opened_as(opened, connected, now),
            Input::Written(seq, written) => self.written(seq, written, now),
            Input::Probe(request) => {
                if self.may_be_asked() {
                    self.say(Say::ProbeRequest(request));
                }
            }
            Input::Policy(policy) => {
                if let Phase::Live(live) = &mut self.phase {
                    live.policing.want(policy);
                }
                self.police();
            }
            Input::Granted => self.granted(true, now),
            Input::Queued => self.granted(false, now),
            Input::Tick => self.tick(now),
            Input::Drain => self.say(Say::Drain(v1::Drain { reconnect_min_ms: 0, reconnect_max_ms: self.spread_ms })),
        }
        std::mem::take(&mut self.out)
    }

    fn say(&mut self, message: Say) {
        self.out.push(Output::Send(v1::CollectorMessage { message: Some(message) }));
    }

    fn close(&mut self, close: Close) {
        self.phase = Phase::Over;
        self.out.push(Output::Close(close));
    }

    fn message(&mut self, message: v1::AgentMessage, now: Moment) {
        // A message of a kind this version does not know is additive: ignored, but heard.
        let Some(said) = message.message else { return self.heard(None, now) };
        match (&mut self.phase, said) {
            (Phase::Over, _) => {}
            (Phase::Greeting { .. }, Said::Hello(hello)) => self.hello(hello, now),
            (Phase::Greeting { .. }, _) => self.close(Close::Protocol("the first message must be Hello".to_owned())),
            (_, Said::Hello(_)) => self.close(Close::Protocol("Hello may be said only once".to_owned())),
            (Phase::Opening { .. }, Said::Bye(bye)) => {
                self.out.push(Output::Stopped(bye.reason));
                self.close(Close::Bye);
            }
            (Phase::Opening { .. }, _) => self.close(Close::Protocol("data may only follow Welcome".to_owned())),
            (Phase::Live(_), Said::Heartbeat(heartbeat)) => self.heartbeat(heartbeat, now),
            (Phase::Live(_), Said::Delta(delta)) => self.delta(delta, now),
            (Phase::Live(_), Said::Snapshot(part)) => self.part(part, now),
            (Phase::Live(live), Said::Bye(bye)) => {
                live.leaving = true;
                let idle = live.in_flight == 0;
                self.out.push(Output::Stopped(bye.reason));
                if idle {
                    self.close(Close::Bye);
                }
            }
            (Phase::Live(live), Said::Reauth(reauth)) => {
                // Each may be a question to an API server.
                let may = live.reauths.take(now.mono_ms);
                self.out.push(if may { Output::Reauth(reauth.token) } else { Output::Dropped("reauth", 1) });
                self.heard(None, now);
            }
            (Phase::Live(_), Said::ProbeResult(result)) => {
                self.out.push(Output::Probed(result));
                self.heard(None, now);
            }
            (Phase::Live(live), Said::PolicyStatus(status)) => {
                match live.policing.answered(status) {
                    Ok(policed) => self.out.extend(policed.map(Output::Policed)),
                    Err(()) => self.out.push(Output::Dropped("policy_status", 1)),
                }
                self.heard(None, now);
                self.police();
            }
        }
    }

    fn hello(&mut self, hello: v1::Hello, now: Moment) {
        let greeting = match convert::hello(hello) {
            Ok(greeting) => greeting,
            Err(error @ convert::GreetingError::Protocol { .. }) => return self.close(Close::Incompatible(error.to_string())),
            Err(error) => return self.close(Close::Protocol(error.to_string())),
        };
        self.out.push(Output::Open(Box::new(SessionStart {
            identity: self.identity.clone(),
            epoch: greeting.epoch,
            last_acked: greeting.last_acked,
            sent: greeting.sent,
            digest: greeting.digest,
            agent_version: greeting.agent_version.clone(),
            catalogue_hash: greeting.catalogue_hash.clone(),
            boot_id: greeting.boot_id.clone(),
            holder: String::new(),
            at: now.wall_ms,
        })));
        self.phase = Phase::Opening { greeting };
    }

    fn opened_as(&mut self, opened: Opened, connected: usize, now: Moment) {
        let Phase::Opening { greeting } = std::mem::replace(&mut self.phase, Phase::Over) else { return };
        let resume = opened.resume;
        self.fleet(connected);
        let last = opened.position;
        self.opened = Some(opened.clone());
        self.phase = Phase::Live(Box::new(Live {
            stored: opened.digest,
            last_seq: last,
            acked_seq: last,
            in_flight: 0,
            claimed: None,
            snapshot: if resume == Resume::Full { Snapshot::Asked } else { Snapshot::None },
            policing: Policing::new(greeting.takes_policy, greeting.policy_hash.clone()),
            reauths: Reauths::default(),
            welcomed: false,
            heard_ms: now.mono_ms,
            busy: false,
            mismatches: 0,
            resync_after_ms: 0,
            resync_pause_ms: RESYNC_PAUSE_MS,
            asking: resume == Resume::Full,
            leaving: false,
            opened,
            greeting,
        }));
        match resume {
            Resume::InSync => self.welcome(v1::welcome::Resume::InSync),
            Resume::Delta => self.welcome(v1::welcome::Resume::Delta),
            Resume::Full => self.out.push(Output::AskGrant),
        }
        let confirmed = resume == Resume::InSync;
        self.out.push(Output::Heard { vitals: None, confirmed });
    }

    fn welcome(&mut self, resume: v1::welcome::Resume) {
        let Phase::Live(live) = &mut self.phase else { return };
        live.welcomed = true;
        let welcome = v1::Welcome {
            session: u64::try_from(live.opened.session).unwrap_or(0),
            resume: resume.into(),
            heartbeat_seconds: self.settings.heartbeat_seconds,
            max_message_bytes: u32::try_from(holdfast_proto::MAX_MESSAGE_BYTES).unwrap_or(u32::MAX),
            max_inflight: MAX_INFLIGHT,
            protocol: live.greeting.protocol,
            capabilities: 0,
            catalogue_hash: self.settings.catalogue_hash.to_vec(),
            reconnect_spread_ms: self.spread_ms,
            // An agent that does not number from there would take it for nothing it knows; and a snapshot has no position yet.
            seq: if live.greeting.sent.is_some() && live.opened.resume != Resume::Full { live.opened.position } else { 0 },
        };
        self.say(Say::Welcome(welcome));
        self.police();
    }

    /// Pushes the policy that is wanted, if the agent does not hold it, and says how the node stands.
    fn police(&mut self) {
        let Phase::Live(live) = &mut self.phase else { return };
        if !live.welcomed || live.leaving {
            return;
        }
        let (push, policed) = live.policing.next();
        if let Some(policy) = push {
            self.say(Say::Policy(policy));
        }
        self.out.extend(policed.map(Output::Policed));
    }

    /// A grant for a snapshot came, or will come later.
    fn granted(&mut self, now_granted: bool, now: Moment) {
        let Phase::Live(live) = &mut self.phase else { return };
        let welcomed = live.welcomed;
        if now_granted {
            live.asking = false;
            live.snapshot = Snapshot::Granted { since_ms: now.mono_ms };
        }
        match (welcomed, now_granted) {
            (false, true) => self.welcome(v1::welcome::Resume::Full),
            (false, false) => self.welcome(v1::welcome::Resume::Wait),
            (true, true) => self.say(Say::Resync(v1::Resync { reason: "send a snapshot".to_owned() })),
            (true, false) => {}
        }
    }

    fn heard(&mut self, vitals: Option<v1::Heartbeat>, now: Moment) {
        let Phase::Live(live) = &mut self.phase else { return };
        live.heard_ms = now.mono_ms;
        let same = vitals.as_ref().is_some_and(|heartbeat| Digest::from_slice(&heartbeat.digest) == Some(live.stored));
        let confirmed = same && live.in_flight == 0;
        self.out.push(Output::Heard { vitals, confirmed });
    }

    /// Digests are compared only when nothing is under way on either side.
    fn heartbeat(&mut self, heartbeat: v1::Heartbeat, now: Moment) {
        let Phase::Live(live) = &mut self.phase else { return };
        // While a snapshot is owed the two are known to differ.
        let quiet = live.in_flight == 0 && !live.busy && heartbeat.queued == 0 && !live.snapshot.owed();
        let same = Digest::from_slice(&heartbeat.digest) == Some(live.stored);
        live.busy = false;
        live.mismatches = if quiet && !same { live.mismatches.saturating_add(1) } else { 0 };
        let diverged = live.mismatches >= 2;
        self.heard(Some(heartbeat), now);
        if diverged {
            self.resync(now);
        }
    }

    /// Asks for a snapshot, at growing intervals: a state that cannot be brought together must not loop.
    fn resync(&mut self, now: Moment) {
        let Phase::Live(live) = &mut self.phase else { return };
        live.snapshot = Snapshot::Asked;
        live.mismatches = 0;
        if now.mono_ms < live.resync_after_ms {
            return;
        }
        live.asking = true;
        live.resync_after_ms = now.mono_ms.saturating_add(live.resync_pause_ms);
        live.resync_pause_ms = live.resync_pause_ms.saturating_mul(2).min(RESYNC_PAUSE_MAX_MS);
        self.out.push(Output::Dropped("divergence", 1));
        self.out.push(Output::AskGrant);
    }

    /// Is this sequence number new. One that is already acknowledged is acknowledged again.
    fn fresh(&mut self, seq: u64, now: Moment) -> bool {
        self.heard(None, now);
        let Phase::Live(live) = &mut self.phase else { return false };
        live.busy = true;
        live.mismatches = 0;
        if !live.welcomed {
            self.close(Close::Protocol("data may only follow Welcome".to_owned()));
            return false;
        }
        if seq > convert::MAX_SEQ {
            self.close(Close::Protocol("a sequence number is out of range".to_owned()));
            return false;
        }
        if seq > live.last_seq {
            live.last_seq = seq;
            return true;
        }
        if seq <= live.acked_seq {
            let seq = live.acked_seq;
            self.say(Say::Ack(v1::Ack { seq, refused: Vec::new() }));
        }
        false
    }

    fn delta(&mut self, delta: v1::Delta, now: Moment) {
        if !self.fresh(delta.seq, now) {
            return;
        }
        let (entries, foreign) = self.entries(delta.upserts);
        let gone = delta.gone.iter().filter_map(|key| convert::key(key).ok()).collect::<Vec<_>>();
        let said = delta.transitions.len();
        let mut transitions: Vec<_> = delta.transitions.into_iter().filter_map(convert::transition).collect();
        if transitions.len() < said {
            self.out.push(Output::Dropped("malformed_transition", said - transitions.len()));
        }
        let well_formed = transitions.len();
        let foreign = transitions.iter().find(|transition| self.is_judged_here(&transition.key)).map(|one| one.key.clone()).or(foreign);
        transitions.retain(|transition| !self.is_judged_here(&transition.key));
        if transitions.len() < well_formed {
            self.out.push(Output::Dropped("foreign_transition", well_formed - transitions.len()));
        }
        self.foreign(foreign);
        let Phase::Live(live) = &mut self.phase else { return };
        live.snapshot.also(&entries.held(), &gone);
        let progress = if live.snapshot.owed() { Progress::Partial } else { Progress::Delta };
        let write = NodeWrite {
            gone,
            transitions,
            truncated_transitions: delta.truncated_transitions,
            ..live.write(delta.seq, entries, progress, now)
        };
        live.in_flight += 1;
        live.claimed = Digest::from_slice(&delta.digest_after).map(|digest| (delta.seq, digest));
        self.out.push(Output::Write(Box::new(write)));
    }

    fn part(&mut self, part: v1::Snapshot, now: Moment) {
        if !self.fresh(part.seq, now) {
            return;
        }
        let (seq, last) = (part.seq, part.last);
        let position = Part { snapshot: part.snapshot, number: part.part, last, digest: Digest::from_slice(&part.digest) };
        let (entries, foreign) = self.entries(part.entries);
        self.foreign(foreign);
        let Phase::Live(live) = &mut self.phase else { return };
        let granted = matches!(live.snapshot, Snapshot::Granted { .. } | Snapshot::Receiving(_));
        let taken = live.snapshot.take(&position, &entries.held(), &entries.refused, now.mono_ms);
        let (progress, broken) = match taken {
            Ok(progress) => (progress, None),
            Err(problem) => (Progress::Partial, Some(problem)),
        };
        let write = live.write(seq, entries, progress, now);
        live.in_flight += 1;
        live.claimed = position.digest.map(|digest| (seq, digest));
        self.out.push(Output::Write(Box::new(write)));
        if granted && (last || broken.is_some()) {
            self.out.push(Output::ReleaseGrant);
        }
        if let Some(problem) = broken {
            // Said as often as another is asked for: an agent may send broken parts without end.
            if now.mono_ms >= live.resync_after_ms {
                tracing::warn!(node = self.identity.name, problem, "snapshot not usable: asking for another");
            }
            self.resync(now);
        }
    }

    /// The entries of a message, and one of them that is not the agent's to say.
    fn entries(&self, wire: Vec<v1::Entry>) -> (Entries, Option<Key>) {
        let mut entries = Entries::of(wire);
        let here = |key: &Key| self.is_judged_here(key);
        let foreign: Vec<(Key, Hash)> = entries.held().into_iter().filter(|(key, _)| here(key)).collect();
        if !foreign.is_empty() {
            entries.known.retain(|entry| !here(&entry.key));
            entries.opaque.retain(|entry| !here(&entry.key));
            entries.refused.extend(foreign.iter().map(|(key, hash)| ingest::Refusal {
                kind: i32::from(key.kind().number()),
                key: key.as_str().to_owned(),
                hash: hash.0.to_vec(),
                code: RefusalCode::Foreign,
            }));
        }
        (entries, foreign.into_iter().next().map(|(key, _)| key))
    }

    /// Is this a finding that only the collector makes.
    fn is_judged_here(&self, key: &Key) -> bool {
        key.kind() == Kind::Finding && self.settings.judged_here.contains(key.parts().0)
    }

    fn foreign(&mut self, key: Option<Key>) {
        if let Some(key) = key {
            self.out.push(Output::Foreign(format!("its agent sent findings of {}, which the collector judges", key.parts().0)));
        }
    }

    fn written(&mut self, seq: u64, written: Written, now: Moment) {
        let Phase::Live(live) = &mut self.phase else { return };
        live.in_flight = live.in_flight.saturating_sub(1);
        let Written::Committed { refused, digest } = written else { return self.close(Close::Superseded) };
        // What the checks judge was told when it came; this is what only the store knows.
        let inventory = i32::from(Kind::Inventory.number());
        if refused.iter().any(|refusal| refusal.code == RefusalCode::Foreign && refusal.kind == inventory) {
            self.out.push(Output::Foreign("its agent calls the node as another node of the cluster is called".to_owned()));
        }
        live.stored = digest;
        live.acked_seq = live.acked_seq.max(seq);
        live.heard_ms = live.heard_ms.max(now.mono_ms);
        let done = live.leaving && live.in_flight == 0;
        if live.claimed == Some((seq, digest)) {
            self.out.push(Output::Heard { vitals: None, confirmed: true });
        }
        let ack = v1::Ack { seq: live.acked_seq, refused: refused.into_iter().map(convert::refused).collect() };
        self.say(Say::Ack(ack));
        if done {
            self.close(Close::Bye);
        }
    }

    fn tick(&mut self, now: Moment) {
        match &self.phase {
            Phase::Greeting { until_ms } if now.mono_ms >= *until_ms => self.close(Close::Late("hello")),
            Phase::Live(live) => {
                // Three heartbeats, each up to a fifth later than the mean.
                let patience = u64::from(self.settings.heartbeat_seconds).saturating_mul(3_600);
                if now.mono_ms.saturating_sub(live.heard_ms) > patience {
                    self.close(Close::Late("three heartbeats"));
                } else if live.snapshot.paused_ms(now.mono_ms) > self.settings.snapshot_pause_ms {
                    self.out.push(Output::ReleaseGrant);
                    self.close(Close::Late("the snapshot"));
                } else if matches!(live.snapshot, Snapshot::Asked) && !live.asking {
                    self.resync(now);
                }
            }
            _ => {}
        }
    }
}

/// The entries of one message: those to store, those of which only that they are there, and those to refuse.
#[derive(Debug, Default)]
struct Entries {
    known: Vec<Entry>,
    opaque: Vec<Opaque>,
    refused: Vec<ingest::Refusal>,
}

impl Entries {
    fn of(wire: Vec<v1::Entry>) -> Self {
        let mut entries = Self { known: Vec::with_capacity(wire.len()), ..Self::default() };
        for entry in wire {
            match convert::entry(entry) {
                Ok(Incoming::Known(entry)) => entries.known.push(entry),
                Ok(Incoming::Opaque(opaque)) => entries.opaque.push(opaque),
                Err(refusal) => entries.refused.push(refusal),
            }
        }
        entries
    }

    /// What is stored of it, by key and content.
    fn held(&self) -> Vec<(Key, Hash)> {
        let opaque = self.opaque.iter().map(|entry| (entry.key.clone(), entry.hash));
        self.known.iter().map(|entry| (entry.key.clone(), entry.hash)).chain(opaque).collect()
    }
}

impl Live {
    fn write(&self, seq: u64, entries: Entries, progress: Progress, now: Moment) -> NodeWrite {
        NodeWrite {
            node_id: self.opened.node_id,
            session: self.opened.session,
            epoch: self.greeting.epoch,
            seq,
            at: now.wall_ms,
            upserts: entries.known,
            opaque: entries.opaque,
            gone: Vec::new(),
            transitions: Vec::new(),
            refused: entries.refused,
            truncated_transitions: 0,
            progress,
        }
    }
}

#[cfg(test)]
mod tests;
