//! A hostile collector against an agent's session, its policy and its limits for peer probes.

use std::net::IpAddr;
use std::panic;
use std::sync::{Arc, LazyLock, Once};
use std::time::Instant;

use holdfast_agent::peers::Limits;
use holdfast_agent::policy::{InForce, Policies};
use holdfast_agent::session::{Input, Introduction, Moment, Output, Session, Vitals};
use holdfast_agent::spool::{Spool, file};
use holdfast_agent::watch::Pending;
use holdfast_checks::entries::{Entry, Finding, Hash, Severity, Verdict};
use holdfast_proto::v1;
use holdfast_proto::v1::agent_message::Message as Said;
use prost::Message;

use crate::wire::Steps;

/// The agent's spool as something else may have left it.
pub(crate) fn spool(data: &[u8]) {
    static ONCE: Once = Once::new();
    // libFuzzer ends the process at the first panic. Those of the library, on pages that are not what they were, the product takes.
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !info.location().is_some_and(|place| place.file().contains("/redb-")) {
                before(info);
            }
        }));
    });
    file::fuzz(data);
}

struct World {
    session: Session,
    spool: Spool,
    policies: Policies,
    limits: Limits,
    now: Moment,
    began: Instant,
    connected: bool,
    findings: u32,
}

/// What a collector says, byte by byte, and what else happens to an agent.
pub(crate) fn session(data: &[u8]) {
    let introduction = Introduction {
        agent_version: "0.0.0".to_owned(),
        catalogue_hash: Hash::default(),
        boot_id: "b".to_owned(),
        node_name: "n".to_owned(),
        capabilities: 1,
    };
    let networks = ["10.0.0.0/8", "fd00::/8"].into_iter().filter_map(|network| network.parse().ok()).collect();
    let mut world = World {
        session: Session::new(introduction),
        spool: Spool::with_ring(9, 64),
        policies: Policies::new(InForce::default(), Arc::new(Pending::default()), ["kubelet-anonymous-auth".to_owned()]),
        limits: Limits::new(networks),
        now: Moment { now_ms: 1_000, wall_ms: 1_800_000_000_000, draw: 7, vitals: Vitals::default() },
        began: *BEGAN,
        connected: false,
        findings: 0,
    };
    for _ in 0..3 {
        world.judge(1);
    }
    let mut steps = Steps::new(data);
    while let Some((step, argument)) = steps.next() {
        world.step(step, argument, &mut steps);
    }
}

static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

impl World {
    fn step(&mut self, step: u8, argument: u8, steps: &mut Steps<'_>) {
        match step % 8 {
            0..=2 => {
                let Ok(message) = v1::CollectorMessage::decode(steps.bytes()) else { return };
                let before: Vec<Entry> = self.spool.state().iter().cloned().collect();
                self.input(Input::Received(message));
                assert!(self.spool.state().iter().eq(&before), "nothing a collector says changes what was found");
            }
            3 => {
                self.connected = true;
                self.input(Input::Connected);
            }
            4 => {
                self.judge(argument);
                self.input(Input::Changed);
            }
            5 => {
                self.now.now_ms += u64::from(argument) * 500;
                self.now.draw = self.now.draw.rotate_left(7) ^ u32::from(argument);
                self.input(Input::Tick);
            }
            6 => {
                // The good-bye goes out before the stream ends.
                self.connected &= argument == 0;
                self.input(if argument == 0 { Input::Stop("test".to_owned()) } else { Input::Disconnected });
                self.connected = false;
            }
            _ => self.input(Input::Probed(v1::ProbeResult::default())),
        }
    }

    /// The node changes: a finding comes, moves or goes.
    fn judge(&mut self, argument: u8) {
        let mut entries: Vec<Entry> = self.spool.state().iter().cloned().collect();
        if argument.is_multiple_of(4) {
            entries.pop();
        } else if self.findings < 64 {
            self.findings += 1;
            entries.push(finding(self.findings, argument));
        }
        let changes = self.spool.state().compare(entries, |_| true, self.now.wall_ms);
        self.spool.apply(changes);
    }

    fn input(&mut self, input: Input) {
        let out = self.session.step(input, &mut self.spool, &self.now);
        // A snapshot of it all, what is unsent, and a few words.
        assert!(out.len() <= 128, "one input leads to {} outputs", out.len());
        assert!(self.spool.last_acked() <= self.spool.seq(), "nothing is acknowledged that was not sent");
        for output in out {
            match output {
                Output::Send(message) => {
                    assert!(self.connected, "something is sent without a stream");
                    let length = message.encoded_len();
                    assert!(length <= holdfast_proto::MAX_MESSAGE_BYTES, "a message of {length} bytes");
                    assert!(!matches!(message.message, Some(Said::Reauth(_))), "a session knows no token");
                }
                Output::Policy(policy) => {
                    let status = self.policies.take(&policy, &mut self.spool);
                    assert!(status.encoded_len() <= holdfast_proto::MAX_MESSAGE_BYTES / 2 + policy.hash.len());
                    self.input(Input::Policed(status));
                }
                Output::Probe(request) => self.probe(&request),
                Output::WakeAt(at) => assert!(at <= self.now.now_ms.saturating_add(24 * 60 * 60 * 1000), "it would sleep until {at}"),
                Output::Close(_) => self.connected = false,
            }
        }
    }

    /// Whatever is allowed is in the networks, in the list, and rare.
    fn probe(&mut self, request: &v1::ProbeRequest) {
        let Ok(target) = self.limits.allow(request, |_| true, self.began) else { return };
        let inside = match target.address.ip() {
            IpAddr::V4(address) => address.octets()[0] == 10,
            IpAddr::V6(address) => address.octets()[0] == 0xfd,
        };
        assert!(inside, "{target:?} is in no network of the configuration");
        assert_eq!(u32::from(target.address.port()), request.port);
    }
}

fn finding(number: u32, argument: u8) -> Entry {
    let finding = Finding {
        check: "kubelet-anonymous-auth".to_owned(),
        subject: format!("kubelet:{number}"),
        verdict: [Verdict::Pass, Verdict::Fail, Verdict::Unknown][usize::from(argument % 3)],
        reason: "r".repeat(usize::from(argument)),
        severity: Severity::High,
        title: "A title".to_owned(),
        evidence: Vec::new(),
        evidence_truncated: false,
    };
    Entry::finding(finding, 1)
}
