//! One session as a state machine: inputs in, outputs out, no socket, no clock, no store.
//!
//! The agent greets, is told how to resume, and then sends changes or a snapshot, each acknowledged after its commit.
//! Heartbeats compare digests; two that differ while nothing is under way lead to a snapshot. Nothing an agent sends
//! can do more than end its own session.
//!
//! `exchange` has what goes in and out, `greeting` its beginning, `data` what is stored, `pulse` whether both sides agree.

mod data;
mod exchange;
mod greeting;
mod policing;
mod pulse;
mod snapshot;

use holdfast_checks::entries::Digest;
use holdfast_proto::v1;
use holdfast_proto::v1::agent_message::Message as Said;
use holdfast_proto::v1::collector_message::Message as Say;

pub use self::exchange::{Close, Input, Moment, Output};
pub use self::policing::Policed;
use self::policing::Policing;
use self::snapshot::Snapshot;
use super::{Settings, convert};
use crate::store::nodes::{NodeIdentity, Opened};

/// Messages an agent may have unacknowledged.
pub const MAX_INFLIGHT: u32 = 4;
/// The shortest and the longest time over which a fleet comes back, in milliseconds.
const SPREAD_MS: (u32, u32) = (2_000, 900_000);

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
            // Who said good-bye is waited for until the last commit, and not heard any more: it is not to write on as one that stopped.
            (Phase::Live(live), _) if live.leaving => {}
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
}

#[cfg(test)]
mod tests;
