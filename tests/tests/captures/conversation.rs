//! Conversations between this version's agent machine and this version's collector machine with its store, frame by frame.
//!
//! Nothing in them depends on the time of the day or on chance, so that the same version has the same conversations again.

use std::collections::VecDeque;

use holdfast_agent::session as agent;
use holdfast_agent::spool::Spool;
use holdfast_checks::entries::{Entry, Hash};
use holdfast_collector::ingest::session as machine;
use holdfast_proto::v1;
use holdfast_proto::v1::collector_message::Message as Hear;
use prost::Message;

use crate::collector::{Collector, START};
use crate::frames::{Frame, Side};

/// The agent's side: its machine and spool, and what the machine asked for beside sending.
pub(crate) struct Agent {
    session: agent::Session,
    pub(crate) spool: Spool,
    pub(crate) asked: Vec<agent::Output>,
    pub(crate) now_ms: u64,
}

impl Agent {
    pub(crate) fn new(version: &str) -> Self {
        let introduction = agent::Introduction {
            agent_version: version.to_owned(),
            catalogue_hash: Hash([7; 16]),
            boot_id: "6d3a0a5e-4f0f-4d5e-9d0e-2f5f3c1b7a11".to_owned(),
            node_name: "worker-1".to_owned(),
            capabilities: 1,
        };
        let spool = Spool::in_memory(0x5eed_0000_0000_0001);
        Self { session: agent::Session::new(introduction), spool, asked: Vec::new(), now_ms: 0 }
    }

    /// Makes `fresh` the whole truth, as a full pass does; what is said then.
    pub(crate) fn scan(&mut self, fresh: Vec<Entry>) -> Vec<v1::AgentMessage> {
        let changes = self.spool.state().compare(fresh, |_| true, START + i64::try_from(self.now_ms).unwrap());
        self.spool.apply(changes);
        self.step(agent::Input::Changed)
    }

    pub(crate) fn step(&mut self, input: agent::Input) -> Vec<v1::AgentMessage> {
        let vitals = agent::Vitals { rss_bytes: 17 << 20, cpu_ms: 4_200, dropped: 0 };
        let wall_ms = START + i64::try_from(self.now_ms).unwrap();
        let moment = agent::Moment { now_ms: self.now_ms, wall_ms, draw: 1 << 31, vitals };
        let mut said = Vec::new();
        for output in self.session.step(input, &mut self.spool, &moment) {
            match output {
                agent::Output::Send(message) => said.push(message),
                agent::Output::Close(agent::Closed::Protocol(what)) => panic!("the agent holds that {what}"),
                agent::Output::WakeAt(_) => {}
                other => self.asked.push(other),
            }
        }
        said
    }
}

/// Both sides, and what they say.
struct Rig {
    agent: Agent,
    collector: Collector,
    frames: Vec<Frame>,
    up: VecDeque<v1::AgentMessage>,
    down: VecDeque<v1::CollectorMessage>,
}

impl Rig {
    fn scan(&mut self, fresh: Vec<Entry>) {
        let said = self.agent.scan(fresh);
        self.pump(said, Vec::new());
    }

    /// Opens a stream and lets both talk until neither has more to say.
    fn connect(&mut self) {
        self.collector.accept();
        self.agent(agent::Input::Connected);
    }

    /// Lets time pass until the agent's next heartbeat.
    fn heartbeat(&mut self) {
        self.pass(72_000);
        self.agent(agent::Input::Tick);
    }

    fn pass(&mut self, ms: u64) {
        self.agent.now_ms += ms;
        self.collector.now_ms += ms;
    }

    /// The stream ends here; what comes next is another conversation.
    fn hang_up(&mut self) -> Vec<Frame> {
        self.agent.step(agent::Input::Disconnected);
        self.pass(10_000);
        std::mem::take(&mut self.frames)
    }

    fn agent(&mut self, input: agent::Input) {
        let said = self.agent.step(input);
        self.pump(said, Vec::new());
    }

    fn collector(&mut self, input: machine::Input) {
        let said = self.collector.step(input);
        self.pump(Vec::new(), said);
    }

    fn pump(&mut self, up: Vec<v1::AgentMessage>, down: Vec<v1::CollectorMessage>) {
        self.say(up, down);
        loop {
            if let Some(message) = self.up.pop_front() {
                let said = self.collector.step(machine::Input::Message(Box::new(message)));
                self.say(Vec::new(), said);
            } else if let Some(message) = self.down.pop_front() {
                let said = self.agent.step(agent::Input::Received(message));
                self.say(said, Vec::new());
            } else {
                return;
            }
        }
    }

    fn say(&mut self, up: Vec<v1::AgentMessage>, down: Vec<v1::CollectorMessage>) {
        self.frames.extend(up.iter().map(|message| Frame { side: Side::Agent, bytes: message.encode_to_vec() }));
        self.frames.extend(down.iter().map(|message| Frame { side: Side::Collector, bytes: message.encode_to_vec() }));
        self.up.extend(up);
        self.down.extend(down);
    }
}

/// Everything two sides of this version have to say to each other, by the name of its file. `before` and `after` are two states of
/// the node; `refused` is an entry that no collector stores.
pub(crate) fn conversations(before: &[Entry], after: &[Entry], refused: &Entry) -> Vec<(&'static str, Vec<Frame>)> {
    let (frames, up, down) = (Vec::new(), VecDeque::new(), VecDeque::new());
    let mut rig = Rig { agent: Agent::new("0.1.0"), collector: Collector::new(), frames, up, down };
    let mut all = Vec::new();
    let with = |entries: &[Entry]| entries.iter().cloned().chain([refused.clone()]).collect::<Vec<_>>();

    // A node's first session: everything, then what changed, and whatever else is said between heartbeats.
    rig.scan(before.to_vec());
    rig.connect();
    rig.heartbeat();
    rig.scan(with(after));
    let pool = v1::ProbePool { name: "zone-a".into(), networks: vec!["10.0.0.0/24".into()] };
    let policy = v1::Policy {
        hash: vec![9; 16],
        full_pass_seconds: 600,
        disabled_checks: vec!["kubelet-anonymous-auth".into()],
        probe_pools: vec![pool],
    };
    rig.pump(Vec::new(), vec![v1::CollectorMessage { message: Some(Hear::Policy(policy)) }]);
    let status = v1::PolicyStatus { hash: vec![9; 16], applied: true, reason: String::new() };
    rig.agent(agent::Input::Policed(status));
    let request = v1::ProbeRequest { request: 77, address: "10.0.0.2".into(), port: 10_250, path: "/pods".into() };
    rig.collector(machine::Input::Probe(request));
    let result = v1::ProbeResult { request: 77, outcome: "answered".into(), status: 401, ..v1::ProbeResult::default() };
    rig.agent(agent::Input::Probed(result));
    rig.heartbeat();
    all.push(("first", rig.hang_up()));

    rig.connect();
    rig.heartbeat();
    rig.agent(agent::Input::Stop("the agent was told to stop".into()));
    all.push(("in-sync", rig.hang_up()));

    rig.scan(with(&before[..before.len() / 2]));
    rig.connect();
    rig.collector(machine::Input::Drain);
    all.push(("delta", rig.hang_up()));

    // Another spool: a snapshot, which has to wait.
    rig.agent.spool = Spool::in_memory(0x5eed_0000_0000_0002);
    rig.scan(after[..after.len() / 2].to_vec());
    rig.collector.grants = false;
    rig.connect();
    rig.heartbeat();
    rig.collector.grants = true;
    rig.collector(machine::Input::Granted);
    rig.heartbeat();
    all.push(("wait", rig.hang_up()));
    all
}
