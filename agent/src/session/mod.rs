//! The session: what the agent says to the collector and when, as a state machine without socket, clock or chance.
//!
//! [`Session::step`] takes an input and the moment it happened, reads and updates the [`Spool`], and returns what to do.
//! The real loop, tests and the simulator drive the same code. Must not know facts, checks, TLS or tokio.

mod convert;
mod limits;
mod pack;

use std::collections::VecDeque;

use holdfast_checks::entries::Hash;
use holdfast_proto::v1;
use holdfast_proto::v1::agent_message::Message as Say;
use holdfast_proto::v1::collector_message::Message as Hear;

use crate::spool::{Refusal, Spool};
pub use limits::Limits;

/// How long the collector may take to answer a Hello, in milliseconds.
pub const WELCOME_TIMEOUT_MS: u64 = 20_000;
/// How long data may stay unacknowledged before the connection counts as dead, in milliseconds.
pub const ACK_TIMEOUT_MS: u64 = 60_000;
/// How long a draining collector may take to acknowledge the rest, in milliseconds.
pub const DRAIN_TIMEOUT_MS: u64 = 10_000;

/// The highest position believed. A collector takes numbers up to twice that: there is room behind it for whatever an agent will ever
/// send, so that no collector can put an agent where every other one refuses it.
const MAX_SEQ: u64 = u64::MAX >> 3;

/// Who speaks: what a Hello says and does not change while the agent runs.
#[derive(Debug, Clone)]
pub struct Introduction {
    /// This build's version.
    pub agent_version: String,
    /// Of the catalogue in use.
    pub catalogue_hash: Hash,
    /// The kernel's boot id; empty when it could not be read.
    pub boot_id: String,
    /// For people to read; identity comes from the credentials.
    pub node_name: String,
    /// What this agent does beyond the first version: bits of `holdfast_proto`.
    pub capabilities: u64,
}

/// The agent's own cost, for heartbeats.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Vitals {
    /// Resident memory, bytes.
    pub rss_bytes: u64,
    /// CPU time used since start, milliseconds.
    pub cpu_ms: u64,
    /// What bounded queues dropped since start, transitions apart.
    pub dropped: u64,
}

/// Time, chance and the agent's own cost at one step.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Monotonic milliseconds since any fixed point.
    pub now_ms: u64,
    /// Unix milliseconds: told to the collector, never computed with.
    pub wall_ms: i64,
    /// A fresh uniform draw.
    pub draw: u32,
    /// See [`Vitals`].
    pub vitals: Vitals,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// A stream is open.
    Connected,
    /// The collector said something.
    Received(v1::CollectorMessage),
    /// The spool has changed.
    Changed,
    /// What came of an [`Output::Probe`] of this stream.
    Probed(v1::ProbeResult),
    /// What came of an [`Output::Policy`].
    Policed(v1::PolicyStatus),
    /// The token was rotated: this one is to be shown from now on.
    Rotated(String),
    /// A time asked for by [`Output::WakeAt`] has come.
    Tick,
    /// The agent is about to stop, for this reason.
    Stop(String),
    /// The stream is gone.
    Disconnected,
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Send this.
    Send(v1::AgentMessage),
    /// Try another node's port, if that is allowed; answer with [`Input::Probed`], unless the stream ends before.
    Probe(v1::ProbeRequest),
    /// Apply this policy or refuse it, and keep an applied one in the spool; answer with [`Input::Policed`].
    Policy(v1::Policy),
    /// Close the stream.
    Close(Closed),
    /// Step again with [`Input::Tick`] at this monotonic millisecond, unless an earlier step moves it.
    WakeAt(u64),
}

/// Why a stream was closed from this side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closed {
    /// The agent stops.
    Stopping,
    /// The collector is about to stop: come back after a time between these, in milliseconds.
    Drained {
        /// Earliest.
        min_ms: u32,
        /// Latest.
        max_ms: u32,
    },
    /// The collector broke the contract or does not speak our version.
    Protocol(String),
    /// The collector did not answer in time.
    Silent(&'static str),
}

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stopping => f.write_str("this agent is stopping"),
            Self::Drained { min_ms, max_ms } => {
                write!(f, "the collector is about to stop and asks to come back in {min_ms} to {max_ms} ms")
            }
            Self::Protocol(what) => write!(f, "the collector broke the session's contract: {what}"),
            Self::Silent(what) => write!(f, "the collector {what} in time"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No stream, or one that was closed.
    Off,
    /// Hello is sent; until this time a Welcome must come.
    Greeting { until_ms: u64 },
    /// A snapshot is needed and not granted yet.
    Waiting,
    /// Data flows.
    Open,
    /// The collector is about to stop: nothing new is sent, acknowledgements are still taken.
    Draining { until_ms: u64, min_ms: u32, max_ms: u32 },
}

/// One agent's side of the conversation, over all its connections.
#[derive(Debug)]
pub struct Session {
    introduction: Introduction,
    phase: Phase,
    limits: Limits,
    heartbeat_at: u64,
    ack_by: Option<u64>,
    snapshots: u64,
    parts: VecDeque<pack::Part>,
    acked_once: bool,
    /// A rotated token that the present stream has not been told, while there is no stream to tell or none that is welcome yet. The next
    /// one may have been opened with it already: told again, it changes nothing.
    rotated: Option<String>,
}

impl Session {
    /// A session that has not spoken yet.
    pub fn new(introduction: Introduction) -> Self {
        Self {
            introduction,
            phase: Phase::Off,
            limits: Limits::default(),
            heartbeat_at: 0,
            ack_by: None,
            snapshots: 0,
            parts: VecDeque::new(),
            acked_once: false,
            rotated: None,
        }
    }

    /// Upper bound of the first random delay after a lost connection, as the last Welcome set it, in milliseconds.
    pub fn reconnect_spread_ms(&self) -> u32 {
        self.limits.reconnect_spread_ms
    }

    /// Has the collector said Welcome on the present stream.
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Waiting | Phase::Draining { .. })
    }

    /// Has the present or last stream seen an acknowledgement, or been told that nothing is to be sent.
    pub fn was_healthy(&self) -> bool {
        self.acked_once
    }

    /// Takes one input and says what to do.
    pub fn step(&mut self, input: Input, spool: &mut Spool, moment: &Moment) -> Vec<Output> {
        let mut out = Vec::new();
        match input {
            Input::Connected => self.greet(spool, moment, &mut out),
            Input::Received(message) => self.hear(message, spool, moment, &mut out),
            Input::Changed => {}
            Input::Probed(result) => {
                if matches!(self.phase, Phase::Open | Phase::Waiting) {
                    say(&mut out, Say::ProbeResult(result));
                }
            }
            Input::Policed(status) => {
                if matches!(self.phase, Phase::Open | Phase::Waiting) {
                    say(&mut out, Say::PolicyStatus(status));
                }
            }
            Input::Rotated(token) => self.rotated = Some(token),
            Input::Tick => self.tick(spool, moment, &mut out),
            Input::Stop(reason) => {
                if self.phase != Phase::Off {
                    say(&mut out, Say::Bye(v1::Bye { reason }));
                    self.close(Closed::Stopping, spool, &mut out);
                }
            }
            Input::Disconnected => self.off(spool),
        }
        if matches!(self.phase, Phase::Open | Phase::Waiting)
            && let Some(token) = self.rotated.take()
        {
            say(&mut out, Say::Reauth(v1::Reauth { token }));
        }
        self.flow(spool, moment, &mut out);
        out.extend(self.next_wake().map(Output::WakeAt));
        out
    }

    fn greet(&mut self, spool: &mut Spool, moment: &Moment, out: &mut Vec<Output>) {
        self.off(spool);
        self.acked_once = false;
        spool.announce();
        self.phase = Phase::Greeting { until_ms: moment.now_ms + WELCOME_TIMEOUT_MS };
        let hello = v1::Hello {
            protocol_min: *holdfast_proto::PROTOCOL.start(),
            protocol_max: *holdfast_proto::PROTOCOL.end(),
            agent_version: self.introduction.agent_version.clone(),
            epoch: spool.epoch(),
            last_acked_seq: spool.last_acked(),
            state_digest: spool.digest().to_bytes().to_vec(),
            entries: count(spool.entries()),
            catalogue_hash: self.introduction.catalogue_hash.0.to_vec(),
            boot_id: self.introduction.boot_id.clone(),
            capabilities: self.introduction.capabilities | holdfast_proto::NUMBERS_FROM_WELCOME | holdfast_proto::TAKES_POLICY,
            sent_seq: spool.seq(),
            policy_hash: policy_hash(spool),
            node_name: self.introduction.node_name.clone(),
        };
        say(out, Say::Hello(hello));
    }

    fn hear(&mut self, message: v1::CollectorMessage, spool: &mut Spool, moment: &Moment, out: &mut Vec<Output>) {
        // A kind of message from a later collector: additive, so ignored.
        let Some(message) = message.message else { return };
        match (self.phase, message) {
            (Phase::Off, _) => {}
            (Phase::Greeting { .. }, Hear::Welcome(welcome)) => self.welcome(&welcome, spool, moment, out),
            (Phase::Greeting { .. }, Hear::Drain(drain)) => {
                let (min_ms, max_ms) = (drain.reconnect_min_ms, drain.reconnect_max_ms.max(drain.reconnect_min_ms));
                self.close(Closed::Drained { min_ms, max_ms }, spool, out);
            }
            (Phase::Greeting { .. }, _) => self.close(Closed::Protocol("it spoke before Welcome".to_owned()), spool, out),
            (_, Hear::Welcome(_)) => self.close(Closed::Protocol("a second Welcome".to_owned()), spool, out),
            (_, Hear::Ack(ack)) => self.ack(&ack, spool, moment, out),
            (Phase::Draining { .. }, _) => {}
            // While parts are still to be sent the whole is under way already; if it fails, the collector asks again.
            (_, Hear::Resync(_)) if self.parts.is_empty() => self.begin_snapshot(spool),
            (_, Hear::Resync(_)) => {}
            (_, Hear::Policy(policy)) => out.push(Output::Policy(policy)),
            (_, Hear::ProbeRequest(request)) => out.push(Output::Probe(request)),
            (_, Hear::Drain(drain)) => {
                let (min_ms, max_ms) = (drain.reconnect_min_ms, drain.reconnect_max_ms.max(drain.reconnect_min_ms));
                self.parts.clear();
                self.phase = Phase::Draining { until_ms: moment.now_ms + DRAIN_TIMEOUT_MS, min_ms, max_ms };
            }
        }
    }

    fn welcome(&mut self, welcome: &v1::Welcome, spool: &mut Spool, moment: &Moment, out: &mut Vec<Output>) {
        use v1::welcome::Resume;
        if !holdfast_proto::PROTOCOL.contains(&welcome.protocol) {
            let spoken = holdfast_proto::PROTOCOL;
            let what = format!("it chose protocol {}, this agent speaks {} to {}", welcome.protocol, spoken.start(), spoken.end());
            return self.close(Closed::Protocol(what), spool, out);
        }
        self.limits = Limits::of(welcome);
        self.heartbeat_at = moment.now_ms + self.limits.heartbeat_ms(moment.draw);
        self.phase = Phase::Open;
        if matches!(welcome.resume(), Resume::InSync | Resume::Delta) && welcome.seq > 0 {
            if welcome.seq > MAX_SEQ {
                return self.close(Closed::Protocol(format!("it stands at message {}, which cannot be", welcome.seq)), spool, out);
            }
            spool.positioned(welcome.seq);
        }
        match welcome.resume() {
            Resume::InSync => {
                self.acked_once = true;
                spool.in_sync();
            }
            Resume::Delta => spool.not_in_sync(),
            Resume::Full => {
                spool.not_in_sync();
                spool.forget_refusals();
                self.begin_snapshot(spool);
            }
            Resume::Wait => {
                spool.not_in_sync();
                spool.forget_refusals();
                self.phase = Phase::Waiting;
            }
            Resume::Unspecified => self.close(Closed::Protocol("a Welcome that does not say how to resume".to_owned()), spool, out),
        }
    }

    fn ack(&mut self, ack: &v1::Ack, spool: &mut Spool, moment: &Moment, out: &mut Vec<Output>) {
        if ack.seq > spool.seq() {
            let what = format!("it acknowledged message {}, the last one sent is {}", ack.seq, spool.seq());
            return self.close(Closed::Protocol(what), spool, out);
        }
        let before = spool.in_flight();
        spool.acked(ack.seq);
        for refused in &ack.refused {
            // One that has changed since is under way or about to be sent as it is now.
            let now = spool.state().iter().find(|entry| convert::is_refused(entry, refused));
            if let Some((key, hash)) = now.map(|entry| (entry.key.clone(), entry.hash)) {
                spool.refused(&key, hash, convert::refusal(refused.code()));
            }
        }
        if spool.in_flight() < before {
            self.acked_once = true;
            self.ack_by = (spool.in_flight() > 0).then_some(moment.now_ms + ACK_TIMEOUT_MS);
        }
    }

    fn tick(&mut self, spool: &mut Spool, moment: &Moment, out: &mut Vec<Output>) {
        match self.phase {
            Phase::Greeting { until_ms } if moment.now_ms >= until_ms => self.close(Closed::Silent("did not answer Hello"), spool, out),
            Phase::Draining { until_ms, min_ms, max_ms } if moment.now_ms >= until_ms => {
                self.close(Closed::Drained { min_ms, max_ms }, spool, out);
            }
            Phase::Open | Phase::Waiting => {
                if self.ack_by.is_some_and(|by| moment.now_ms >= by) {
                    self.close(Closed::Silent("did not acknowledge data"), spool, out);
                } else if moment.now_ms >= self.heartbeat_at {
                    self.heartbeat_at = moment.now_ms + self.limits.heartbeat_ms(moment.draw);
                    say(out, Say::Heartbeat(heartbeat(spool, moment)));
                }
            }
            _ => {}
        }
    }

    fn begin_snapshot(&mut self, spool: &mut Spool) {
        self.phase = Phase::Open;
        self.snapshots += 1;
        let parts = loop {
            match pack::snapshot(spool, self.snapshots, self.limits.message_bytes) {
                Ok(parts) => break parts,
                Err(too_large) => too_large.iter().for_each(|(key, hash)| spool.refused(key, *hash, Refusal::TooLarge)),
            }
        };
        spool.begin_snapshot();
        self.parts = parts.into();
    }

    /// Sends as much as may be in flight: first the snapshot under way, then what is unsent.
    fn flow(&mut self, spool: &mut Spool, moment: &Moment, out: &mut Vec<Output>) {
        if let Phase::Draining { min_ms, max_ms, .. } = self.phase
            && spool.in_flight() == 0
        {
            self.close(Closed::Drained { min_ms, max_ms }, spool, out);
        }
        while self.phase == Phase::Open && spool.in_flight() < self.limits.in_flight {
            if let Some((mut part, batch)) = self.parts.pop_front() {
                part.seq = spool.send(batch);
                if part.last {
                    spool.snapshot_sent(part.seq);
                }
                say(out, Say::Snapshot(part));
            } else {
                match pack::delta(spool, self.limits.message_bytes) {
                    Ok(None) => break,
                    Err((key, hash)) => {
                        spool.refused(&key, hash, Refusal::TooLarge);
                        continue;
                    }
                    Ok(Some((mut delta, batch))) => {
                        delta.seq = spool.send(batch);
                        delta.truncated_transitions = spool.truncated();
                        if !spool.has_unsent_entries() {
                            delta.digest_after = spool.digest().to_bytes().to_vec();
                        }
                        say(out, Say::Delta(delta));
                    }
                }
            }
            self.ack_by.get_or_insert(moment.now_ms + ACK_TIMEOUT_MS);
        }
    }

    fn next_wake(&self) -> Option<u64> {
        match self.phase {
            Phase::Off => None,
            Phase::Greeting { until_ms } | Phase::Draining { until_ms, .. } => Some(until_ms),
            Phase::Waiting | Phase::Open => Some(self.ack_by.map_or(self.heartbeat_at, |by| by.min(self.heartbeat_at))),
        }
    }

    fn close(&mut self, why: Closed, spool: &mut Spool, out: &mut Vec<Output>) {
        out.push(Output::Close(why));
        self.off(spool);
    }

    fn off(&mut self, spool: &mut Spool) {
        self.phase = Phase::Off;
        self.parts.clear();
        self.ack_by = None;
        spool.reset_in_flight();
    }
}

fn heartbeat(spool: &Spool, moment: &Moment) -> v1::Heartbeat {
    v1::Heartbeat {
        digest: spool.digest().to_bytes().to_vec(),
        entries: count(spool.entries()),
        rss_bytes: moment.vitals.rss_bytes,
        cpu_ms_total: moment.vitals.cpu_ms,
        queued: count(spool.queued() + spool.in_flight()),
        dropped_total: moment.vitals.dropped.saturating_add(spool.truncated()),
        monotonic_ms: moment.now_ms,
        wall_ms: moment.wall_ms,
    }
}

/// The hash of the policy in force, as the collector named it.
fn policy_hash(spool: &Spool) -> Vec<u8> {
    use prost::Message;
    v1::Policy::decode(spool.policy()).map(|policy| policy.hash).unwrap_or_default()
}

fn say(out: &mut Vec<Output>, message: Say) {
    out.push(Output::Send(v1::AgentMessage { message: Some(message) }));
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
