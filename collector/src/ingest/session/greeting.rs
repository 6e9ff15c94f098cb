//! The beginning of a session: Hello, the store's answer to it, Welcome with how to resume, and the policy that is pushed after it.

use holdfast_proto::v1;
use holdfast_proto::v1::collector_message::Message as Say;

use super::policing::Policing;
use super::pulse::RESYNC_PAUSE_MS;
use super::snapshot::Snapshot;
use super::{Close, Live, MAX_INFLIGHT, Moment, Output, Phase, Reauths, Session};
use crate::ingest::convert;
use crate::store::nodes::{Opened, Resume, SessionStart};

impl Session {
    pub(super) fn hello(&mut self, hello: v1::Hello, now: Moment) {
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

    pub(super) fn opened_as(&mut self, opened: Opened, connected: usize, now: Moment) {
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
    pub(super) fn police(&mut self) {
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
    pub(super) fn granted(&mut self, now_granted: bool, now: Moment) {
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
}
