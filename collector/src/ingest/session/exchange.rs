//! What goes into a session and what comes out of it.

use std::sync::Arc;

use holdfast_proto::v1;

use super::Policed;
use crate::refusals::Refusal;
use crate::store::ingest::{NodeWrite, Written};
use crate::store::nodes::{Opened, SessionStart};

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
