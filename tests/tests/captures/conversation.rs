//! Conversations between this version's agent machine and this version's collector machine with its store, frame by frame.
//!
//! Nothing in them depends on the time of the day or on chance, so that the same version has the same conversations again.

use std::collections::VecDeque;
use std::path::Path;

use holdfast_agent::session as agent;
use holdfast_agent::spool::Spool;
use holdfast_checks::entries::{Entry, Hash};
use holdfast_collector::changes::ChangeFeed;
use holdfast_collector::ingest::Settings;
use holdfast_collector::ingest::session as collector;
use holdfast_collector::metrics::Metrics;
use holdfast_collector::store::Store;
use holdfast_collector::store::ingest::Writer;
use holdfast_collector::store::nodes::{NodeIdentity, Origin};
use holdfast_proto::v1;
use prost::Message;
use tokio::runtime::Runtime;

use crate::frames::{Frame, Side};

/// When the first conversation begins, Unix milliseconds.
pub(crate) const START: i64 = 1_795_000_000_000;

/// Both machines, the store behind one of them, and what they say.
pub(crate) struct Rig {
    runtime: Runtime,
    writer: Writer,
    pub(crate) spool: Spool,
    agent: agent::Session,
    machine: Option<collector::Session>,
    pub(crate) frames: Vec<Frame>,
    up: VecDeque<v1::AgentMessage>,
    down: VecDeque<v1::CollectorMessage>,
    now_ms: u64,
    grants: bool,
}

impl Rig {
    /// A collector that has never seen this node. `directory` takes its database.
    pub(crate) fn new(directory: &Path, agent_version: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let writer = runtime.block_on(async {
            let store = Store::open(&directory.join("holdfast.db")).await.unwrap();
            let (writer, running) = store.writer(ChangeFeed::default(), Metrics::default(), Default::default());
            tokio::spawn(running);
            writer
        });
        let introduction = agent::Introduction {
            agent_version: agent_version.to_owned(),
            catalogue_hash: Hash([7; 16]),
            boot_id: "6d3a0a5e-4f0f-4d5e-9d0e-2f5f3c1b7a11".to_owned(),
            node_name: "worker-1".to_owned(),
            capabilities: 1,
        };
        Self {
            runtime,
            writer,
            spool: Spool::in_memory(0x5eed_0000_0000_0001),
            agent: agent::Session::new(introduction),
            machine: None,
            frames: Vec::new(),
            up: VecDeque::new(),
            down: VecDeque::new(),
            now_ms: 0,
            grants: true,
        }
    }

    /// From now on snapshots are granted at once, or wait.
    pub(crate) fn grants(&mut self, at_once: bool) {
        self.grants = at_once;
        if at_once && self.machine.is_some() {
            self.collector(collector::Input::Granted);
        }
    }

    /// Makes `fresh` the whole truth, as a full pass does.
    pub(crate) fn scan(&mut self, fresh: Vec<Entry>) {
        let changes = self.spool.state().compare(fresh, |_| true, self.wall());
        self.spool.apply(changes);
        self.agent(agent::Input::Changed);
    }

    /// Opens a stream and lets both talk until neither has more to say.
    pub(crate) fn connect(&mut self) {
        let identity = NodeIdentity { cluster: "c".into(), uid: "u".into(), name: "worker-1".into(), origin: Origin::Agent };
        self.machine = Some(collector::Session::new(identity, Settings { catalogue_hash: [7; 16], ..Settings::default() }, self.moment()));
        self.agent(agent::Input::Connected);
    }

    /// Lets time pass until the agent's next heartbeat.
    pub(crate) fn heartbeat(&mut self) {
        self.now_ms += 72_000;
        self.agent(agent::Input::Tick);
    }

    /// The stream ends here; what comes next is another conversation.
    pub(crate) fn hang_up(&mut self) -> Vec<Frame> {
        self.agent(agent::Input::Disconnected);
        self.machine = None;
        self.now_ms += 10_000;
        std::mem::take(&mut self.frames)
    }

    /// The collector says something it does not say by itself.
    pub(crate) fn tell(&mut self, message: v1::collector_message::Message) {
        self.say(v1::CollectorMessage { message: Some(message) });
        self.pump();
    }

    pub(crate) fn agent(&mut self, input: agent::Input) {
        self.step(input);
        self.pump();
    }

    pub(crate) fn collector(&mut self, input: collector::Input) {
        self.handle(input);
        self.pump();
    }

    fn wall(&self) -> i64 {
        START + i64::try_from(self.now_ms).unwrap()
    }

    fn moment(&self) -> collector::Moment {
        collector::Moment { mono_ms: self.now_ms, wall_ms: self.wall() }
    }

    fn say(&mut self, message: v1::CollectorMessage) {
        self.frames.push(Frame { side: Side::Collector, bytes: message.encode_to_vec() });
        self.down.push_back(message);
    }

    fn pump(&mut self) {
        loop {
            if let Some(message) = self.up.pop_front() {
                self.handle(collector::Input::Message(Box::new(message)));
            } else if let Some(message) = self.down.pop_front() {
                self.step(agent::Input::Received(message));
            } else {
                return;
            }
        }
    }

    fn step(&mut self, input: agent::Input) {
        let vitals = agent::Vitals { rss_bytes: 17 << 20, cpu_ms: 4_200, dropped: 0 };
        let moment = agent::Moment { now_ms: self.now_ms, wall_ms: self.wall(), draw: 1 << 31, vitals };
        for output in self.agent.step(input, &mut self.spool, &moment) {
            match output {
                agent::Output::Send(message) => {
                    self.frames.push(Frame { side: Side::Agent, bytes: message.encode_to_vec() });
                    self.up.push_back(message);
                }
                agent::Output::Close(agent::Closed::Protocol(what)) => panic!("{what}"),
                _ => {}
            }
        }
    }

    fn handle(&mut self, input: collector::Input) {
        let mut inputs = VecDeque::from([input]);
        while let (Some(input), Some(machine)) = (inputs.pop_front(), &mut self.machine) {
            let now = collector::Moment { mono_ms: self.now_ms, wall_ms: START + i64::try_from(self.now_ms).unwrap() };
            for output in machine.handle(input, now) {
                match output {
                    collector::Output::Send(message) => {
                        self.frames.push(Frame { side: Side::Collector, bytes: message.encode_to_vec() });
                        self.down.push_back(message);
                    }
                    collector::Output::Open(start) => {
                        let opened = self.runtime.block_on(self.writer.open_session(*start)).unwrap();
                        inputs.push_back(collector::Input::Opened(opened, 1));
                    }
                    collector::Output::Write(write) => {
                        let seq = write.seq;
                        let written = self.runtime.block_on(self.writer.write(*write)).unwrap();
                        inputs.push_back(collector::Input::Written(seq, written));
                    }
                    collector::Output::AskGrant if self.grants => inputs.push_back(collector::Input::Granted),
                    collector::Output::AskGrant => inputs.push_back(collector::Input::Queued),
                    collector::Output::Close(collector::Close::Protocol(what)) => panic!("{what}"),
                    _ => {}
                }
            }
        }
    }
}

/// Everything two sides of this version have to say to each other, by the name of its file. `before` and `after` are two states of
/// the node; `refused` is an entry that no collector stores.
pub(crate) fn conversations(directory: &Path, agent_version: &str, before: &[Entry], after: &[Entry], refused: &Entry) -> Vec<(&'static str, Vec<Frame>)> {
    use v1::collector_message::Message as Hear;
    let mut rig = Rig::new(directory, agent_version);
    let mut all = Vec::new();
    let with = |entries: &[Entry]| entries.iter().cloned().chain([refused.clone()]).collect::<Vec<_>>();

    // A node's first session: everything, then what changed, and whatever else is said between heartbeats.
    rig.scan(before.to_vec());
    rig.connect();
    rig.heartbeat();
    rig.scan(with(after));
    let policy = v1::Policy { hash: vec![9; 16], full_pass_seconds: 600, disabled_checks: vec!["kubelet-anonymous-auth".into()], ..v1::Policy::default() };
    rig.tell(Hear::Policy(policy));
    let request = v1::ProbeRequest { request: 77, address: "10.0.0.2".into(), port: 10_250, path: "/pods".into() };
    rig.collector(collector::Input::Probe(request));
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
    rig.collector(collector::Input::Drain);
    all.push(("delta", rig.hang_up()));

    // Another spool: a snapshot, which has to wait.
    rig.spool = Spool::in_memory(0x5eed_0000_0000_0002);
    rig.scan(after[..after.len() / 2].to_vec());
    rig.grants(false);
    rig.connect();
    rig.heartbeat();
    rig.grants(true);
    rig.heartbeat();
    all.push(("wait", rig.hang_up()));
    all
}
