//! The node, the collector's process, and the connections between them, one step at a time.
//!
//! Both machines are the real ones. What the collector stores waits in a queue until a step commits it, and what came of it in another
//! until a step tells: a crash can come anywhere between. What an acknowledgement covers is looked up at the moment it leaves.

use std::collections::{BTreeSet, VecDeque};

use holdfast_agent::session as agent;
use holdfast_collector::ingest::Settings;
use holdfast_collector::ingest::session as collector;
use holdfast_collector::store::ingest::Written;
use holdfast_proto::v1;
use holdfast_proto::v1::agent_message::Message as Say;
use holdfast_proto::v1::collector_message::Message as Hear;
use prost::Message;

use super::ledger::Ledger;
use super::node::{Node, is_malformed};
use super::steps::{Setup, Step};
use super::storage::{Content, Done, Job, Storage};

/// Collector time at the beginning, Unix milliseconds.
const WALL: i64 = 1_795_000_000_000;
/// Connections there are at most; the oldest half-open one goes.
const CONNECTIONS: usize = 3;
/// The smallest limit an agent obeys, so that little makes many messages.
const MESSAGE_BYTES: u32 = 8 * 1024;

/// A data message on a connection: its number, and those of its transitions.
type Sent = (u64, Vec<u64>);

/// One stream, with the collector's end of it.
struct Connection {
    id: u32,
    machine: collector::Session,
    up: VecDeque<v1::AgentMessage>,
    down: VecDeque<v1::CollectorMessage>,
    /// The collector ended it.
    over: bool,
    /// A grant was asked for.
    asking: bool,
    epoch: u64,
    sent: Vec<Sent>,
}

/// Everything there is.
pub(crate) struct World<S> {
    setup: Setup,
    pub(crate) store: S,
    pub(crate) node: Node,
    ledger: Ledger,
    connections: Vec<Connection>,
    /// The one the agent believes to be open.
    open: Option<u32>,
    next_connection: u32,
    /// Not committed yet.
    jobs: VecDeque<(u32, Job)>,
    /// Committed, and not told yet.
    answers: VecDeque<(u32, Done)>,
    /// Session and number of every message that is committed.
    committed: BTreeSet<(i64, u64)>,
    grants: bool,
    now_ms: u64,
    judged: i64,
    copy: Option<(Content, BTreeSet<(i64, u64)>)>,
    data_messages: usize,
    /// Times the collector found by digests that the two sides had come apart.
    divergences: usize,
    brought_back: bool,
    /// Of more than one, a Welcome that was lost may have said "in sync" of another epoch's state: known, and repaired by the digest.
    epochs: BTreeSet<u64>,
}

impl<S: Storage> World<S> {
    pub(crate) fn new(setup: Setup, store: S) -> Self {
        let node = Node::new(&setup);
        let mut world = Self {
            setup,
            store,
            node,
            ledger: Ledger::default(),
            connections: Vec::new(),
            open: None,
            next_connection: 0,
            jobs: VecDeque::new(),
            answers: VecDeque::new(),
            committed: BTreeSet::new(),
            grants: true,
            now_ms: 0,
            judged: 0,
            copy: None,
            data_messages: 0,
            divergences: 0,
            brought_back: false,
            epochs: BTreeSet::new(),
        };
        world.start();
        world
    }

    /// One thing happens.
    pub(crate) fn step(&mut self, step: &Step) {
        match step {
            Step::Scan { changes, whole } => {
                let checks = self.node.change(changes);
                self.judge((!whole).then_some(checks));
                self.agent(agent::Input::Changed);
            }
            Step::Flow => drop(self.flow()),
            Step::Up(n) => (0..*n).for_each(|_| self.up(self.open, false)),
            Step::Down(n) => (0..*n).for_each(|_| self.down()),
            Step::Twice => self.up(self.open, true),
            Step::Commit(n) => self.commit(usize::from(*n)),
            Step::Answer(n) => (0..*n).for_each(|_| self.answer()),
            Step::Connect => self.connect(),
            Step::Cut => {
                if let Some(open) = self.open {
                    self.connections.retain(|connection| connection.id != open);
                    self.disconnected();
                }
            }
            Step::Half => self.disconnected(),
            Step::Zombie(n) => {
                let zombie = self.connections.iter().find(|connection| Some(connection.id) != self.open).map(|connection| connection.id);
                (0..*n).for_each(|_| self.up(zombie, false));
            }
            Step::Save => self.save(),
            Step::Saved(well) => self.saved(*well),
            Step::DiskFails { landed } if self.node.keeps_file() => {
                if *landed {
                    self.node.disk.land();
                }
                self.node.disk.writing = None;
                self.node.disk.broken = true;
                self.node.spool.keep_in_memory();
                self.ledger.no_file();
                self.agent(agent::Input::Changed);
            }
            Step::DiskBack if self.node.disk.broken => {
                self.node.disk.broken = false;
                self.node.spool.keep_in_file();
            }
            Step::DiskFails { .. } | Step::DiskBack => {}
            Step::AgentCrash { landed, bye, heard } => {
                if *bye {
                    self.agent(agent::Input::Stop("it is told to".to_owned()));
                }
                if *landed {
                    self.node.disk.land();
                }
                if let Some(open) = self.open.filter(|_| !heard) {
                    self.connections.retain(|connection| connection.id != open);
                }
                self.crash();
            }
            Step::SpoolLost => {
                if let Some(image) = self.node.disk.image.take() {
                    self.ledger.file_lost(&image);
                }
                self.crash();
            }
            Step::CollectorCrash => self.collector_crash(),
            Step::Drain => {
                let ids: Vec<u32> = self.connections.iter().map(|connection| connection.id).collect();
                ids.into_iter().for_each(|id| self.collector(id, collector::Input::Drain));
            }
            Step::BackUp => {
                self.store.back_up();
                self.copy = Some((self.store.content(), self.committed.clone()));
            }
            Step::BringBack => {
                if self.store.bring_back() {
                    let (after, committed) = self.copy.clone().unwrap();
                    self.ledger.undone(&after);
                    self.brought_back = true;
                    self.committed = committed;
                    self.collector_crash();
                }
            }
            Step::Grants(at_once) => {
                self.grants = *at_once;
                self.grant();
            }
            Step::Time(seconds) => self.time(u64::from(*seconds) * 1_000),
        }
    }

    /// Nothing breaks any more: both sides come together, soon, and stay so.
    pub(crate) fn settle(&mut self) {
        self.grants = true;
        self.grant();
        let before = self.data_messages;
        let mut heartbeats = 0;
        loop {
            self.connect();
            self.flow();
            let content = self.store.content();
            if self.open.is_some() && content.digest == self.node.spool.digest() && self.node.spool.queued() == 0 {
                break;
            }
            heartbeats += 1;
            assert!(heartbeats <= 8, "not together after {heartbeats} heartbeats: {:?}", self.node.spool);
            self.time(73_000);
        }
        let repaired = self.data_messages - before;
        assert!(repaired <= 100, "{repaired} messages to come together");
        let quiet = self.data_messages;
        for _ in 0..3 {
            self.time(73_000);
            self.connect();
            self.flow();
        }
        assert_eq!(self.data_messages, quiet, "together, and still sending");
        self.compare();
    }

    /// What is stored is what is true on the node and was not refused, and history is what was made.
    fn compare(&self) {
        let content = self.store.content();
        let accepted = self.node.truth.values().filter(|entry| !is_malformed(&entry.key) && !self.store.refuses(&entry.key, &entry.hash));
        let truth = accepted.map(|entry| (entry.key.clone(), entry.hash)).collect();
        assert_eq!(content.entries, truth, "what is stored is not what is true");
        assert_eq!(content.digest, self.node.spool.digest());
        // The digest is the net below: nothing may need it, but a store that forgot what it had acknowledged.
        assert!(self.divergences == 0 || self.brought_back, "they came apart {} times, and only the digest told", self.divergences);
        let spool = &self.node.spool;
        assert_eq!((spool.entries(), spool.in_flight(), spool.has_unsent()), (content.entries.len(), 0, false));
        self.ledger.check(&content, &self.node, &self.setup, |epoch, number| self.store.has(epoch, number));
    }

    fn start(&mut self) {
        self.node.start();
        self.epochs.insert(self.node.spool.epoch());
        self.judge(None);
    }

    fn judge(&mut self, checks: Option<BTreeSet<String>>) {
        self.judged += 1;
        let at = WALL + self.setup.skew_ms + i64::try_from(self.now_ms).unwrap() + self.judged;
        let changes = self.node.judge(checks, at);
        self.ledger.made(&changes, self.node.spool.epoch(), !self.node.keeps_file());
        self.node.spool.apply(changes);
    }

    fn crash(&mut self) {
        self.disconnected();
        let broken = self.node.disk.broken;
        self.ledger.crashed(self.node.disk.image.as_ref().filter(|_| !broken));
        self.start();
    }

    fn collector_crash(&mut self) {
        self.jobs.clear();
        self.answers.clear();
        self.connections.clear();
        self.disconnected();
    }

    fn save(&mut self) {
        if self.node.keeps_file()
            && let Some(save) = self.node.spool.save()
        {
            assert!(self.node.disk.writing.is_none(), "one save at a time");
            self.ledger.saved(self.node.spool.epoch(), &save.transitions);
            self.node.disk.writing = Some(save);
        }
    }

    fn saved(&mut self, well: bool) {
        if self.node.disk.writing.is_none() {
            return;
        }
        if well {
            self.node.disk.land();
            self.node.spool.saved();
        } else {
            self.node.disk.writing = None;
            self.node.spool.not_saved();
        }
        self.agent(agent::Input::Changed);
    }

    /// Carries everything on until neither side has more to do; connected or not.
    fn flow(&mut self) -> usize {
        for rounds in 0..400 {
            let ids: Vec<u32> = self.connections.iter().map(|connection| connection.id).collect();
            let busy = self.connections.iter().any(|connection| !connection.up.is_empty() || !connection.down.is_empty());
            let unsaved = self.node.keeps_file() && self.node.spool.has_unsaved();
            if !busy && !unsaved && self.jobs.is_empty() && self.answers.is_empty() && self.node.disk.writing.is_none() {
                return rounds;
            }
            ids.into_iter().for_each(|id| self.up(Some(id), false));
            self.commit(usize::MAX);
            while !self.answers.is_empty() {
                self.answer();
            }
            self.down();
            self.save();
            self.saved(true);
        }
        panic!("they do not come to rest");
    }

    fn time(&mut self, ms: u64) {
        self.now_ms += ms;
        self.agent(agent::Input::Tick);
        let ids: Vec<u32> = self.connections.iter().map(|connection| connection.id).collect();
        ids.into_iter().for_each(|id| self.collector(id, collector::Input::Tick));
    }

    fn connect(&mut self) {
        if self.open.is_some() {
            return;
        }
        if self.connections.len() >= CONNECTIONS {
            self.connections.remove(0);
        }
        self.next_connection += 1;
        let id = self.next_connection;
        self.connections.push(Connection {
            id,
            machine: collector::Session::new(self.store.identity(), Settings::default(), self.moment()),
            up: VecDeque::new(),
            down: VecDeque::new(),
            over: false,
            asking: false,
            epoch: self.node.spool.epoch(),
            sent: Vec::new(),
        });
        self.open = Some(id);
        self.agent(agent::Input::Connected);
    }

    /// The agent's end of the stream is gone. The collector's, if there still is one, does not know.
    fn disconnected(&mut self) {
        if let Some(open) = self.open.take() {
            if let Some(connection) = self.connections.iter_mut().find(|connection| connection.id == open) {
                connection.down.clear();
            }
            self.agent(agent::Input::Disconnected);
        }
    }

    fn moment(&self) -> collector::Moment {
        collector::Moment { mono_ms: self.now_ms, wall_ms: WALL + i64::try_from(self.now_ms).unwrap() }
    }

    fn connection(&mut self, id: u32) -> Option<&mut Connection> {
        self.connections.iter_mut().find(|connection| connection.id == id)
    }

    fn agent(&mut self, input: agent::Input) {
        let wall_ms = WALL + self.setup.skew_ms + i64::try_from(self.now_ms).unwrap();
        let moment = agent::Moment { now_ms: self.now_ms, wall_ms, draw: 1 << 31, vitals: agent::Vitals::default() };
        let mut closed = false;
        for output in self.node.session.step(input, &mut self.node.spool, &moment) {
            match output {
                agent::Output::Send(message) => self.send(message),
                agent::Output::Close(agent::Closed::Protocol(what)) => panic!("the agent holds that {what}"),
                agent::Output::Close(_) => closed = true,
                agent::Output::WakeAt(_) | agent::Output::Probe(_) | agent::Output::Policy(_) => {}
            }
        }
        if closed {
            self.disconnected();
        }
    }

    fn send(&mut self, mut message: v1::AgentMessage) {
        let mut sent = None;
        match message.message.as_mut().unwrap() {
            Say::Hello(hello) if self.setup.old_agent => (hello.capabilities, hello.sent_seq) = (0, 0),
            Say::Delta(delta) => {
                let image = self.node.keeps_file().then(|| self.node.disk.image.clone().unwrap_or_default());
                self.ledger.sent(self.node.spool.epoch(), &delta.transitions, image.as_ref());
                let numbers = delta.transitions.iter().filter(|transition| !transition.key.as_ref().unwrap().key.contains('\0'));
                sent = Some((delta.seq, numbers.map(|transition| transition.number).collect()));
            }
            Say::Snapshot(part) => sent = Some((part.seq, Vec::new())),
            _ => {}
        }
        self.data_messages += usize::from(sent.is_some());
        assert!(message.encoded_len() + 5 <= usize::try_from(MESSAGE_BYTES).unwrap(), "a message larger than allowed");
        let Some(open) = self.open else { panic!("the agent speaks to nobody: {message:?}") };
        if let Some(connection) = self.connection(open) {
            connection.sent.extend(sent);
            connection.up.push_back(message);
        }
    }

    /// The next message of a connection reaches the collector. One that arrives twice is data: a second Hello is another connection.
    fn up(&mut self, id: Option<u32>, twice: bool) {
        let Some(connection) = id.and_then(|id| self.connection(id)) else { return };
        let id = connection.id;
        let data = |message: &v1::AgentMessage| matches!(message.message, Some(Say::Delta(_) | Say::Snapshot(_)));
        let message = match connection.up.front() {
            Some(first) if twice && data(first) => Some(first.clone()),
            Some(_) if !twice => connection.up.pop_front(),
            _ => None,
        };
        if let Some(message) = message {
            self.collector(id, collector::Input::Message(Box::new(message)));
        }
    }

    /// The next message reaches the agent, or that the collector has ended the stream.
    fn down(&mut self) {
        let Some(connection) = self.open.and_then(|open| self.connection(open)) else { return };
        match connection.down.pop_front() {
            Some(message) => self.agent(agent::Input::Received(message)),
            None if connection.over => {
                let id = connection.id;
                self.disconnected();
                self.connections.retain(|connection| connection.id != id);
            }
            None => {}
        }
    }

    fn collector(&mut self, id: u32, input: collector::Input) {
        let now = self.moment();
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let grants = self.grants;
            let Some(connection) = self.connection(id) else { return };
            for output in connection.machine.handle(input, now) {
                match output {
                    collector::Output::Send(message) => self.say(id, message),
                    collector::Output::Open(start) => self.jobs.push_back((id, Job::Open(start))),
                    collector::Output::Write(write) => self.jobs.push_back((id, Job::Write(write))),
                    collector::Output::AskGrant if grants => inputs.push_back(collector::Input::Granted),
                    collector::Output::AskGrant => {
                        self.connection(id).unwrap().asking = true;
                        inputs.push_back(collector::Input::Queued);
                    }
                    collector::Output::Close(why @ (collector::Close::Protocol(_) | collector::Close::Incompatible(_))) => {
                        panic!("the collector holds that it is a {why}")
                    }
                    collector::Output::Close(_) => self.connection(id).unwrap().over = true,
                    collector::Output::Dropped("divergence", _) => self.divergences += 1,
                    _ => {}
                }
            }
        }
    }

    fn say(&mut self, id: u32, mut message: v1::CollectorMessage) {
        let in_flight = self.setup.in_flight;
        match message.message.as_mut().unwrap() {
            Hear::Welcome(welcome) => (welcome.max_message_bytes, welcome.max_inflight) = (MESSAGE_BYTES, in_flight),
            Hear::Ack(ack) => self.acknowledged(id, ack.seq),
            _ => {}
        }
        if self.open == Some(id)
            && let Some(connection) = self.connection(id)
        {
            connection.down.push_back(message);
        }
    }

    /// No acknowledgement before durability: everything it covers is committed now.
    fn acknowledged(&self, id: u32, seq: u64) {
        let connection = self.connections.iter().find(|connection| connection.id == id).unwrap();
        let session = connection.machine.opened().unwrap().session;
        for (number, transitions) in connection.sent.iter().filter(|(number, _)| *number <= seq) {
            assert!(self.committed.contains(&(session, *number)), "message {number} was acknowledged before it was committed");
            for transition in transitions {
                let has = self.store.has(connection.epoch, *transition);
                assert_ne!(has, Some(false), "transition {transition} was acknowledged and is not stored");
            }
        }
    }

    /// The writer's next group.
    fn commit(&mut self, most: usize) {
        let group: Vec<(u32, Job)> = self.jobs.drain(..most.min(self.jobs.len())).collect();
        if group.is_empty() {
            return;
        }
        let of = |job: &Job| if let Job::Write(write) = job { Some((write.session, write.seq)) } else { None };
        let (ids, jobs): (Vec<u32>, Vec<Job>) = group.into_iter().unzip();
        let written: Vec<_> = jobs.iter().map(of).collect();
        for ((id, written), done) in ids.into_iter().zip(written).zip(self.store.commit(jobs)) {
            if matches!(done, Done::Written(_, Written::Committed { .. })) {
                self.committed.extend(written);
            }
            self.answers.push_back((id, done));
        }
    }

    fn answer(&mut self) {
        match self.answers.pop_front() {
            Some((id, Done::Opened(opened))) => self.collector(id, collector::Input::Opened(opened, 1)),
            Some((id, Done::Written(seq, written))) => self.collector(id, collector::Input::Written(seq, written)),
            None => {}
        }
    }

    /// Whoever waits for a grant gets it.
    fn grant(&mut self) {
        if self.grants {
            let asking =
                self.connections.iter_mut().filter_map(|connection| std::mem::take(&mut connection.asking).then_some(connection.id));
            let ids: Vec<u32> = asking.collect();
            ids.into_iter().for_each(|id| self.collector(id, collector::Input::Granted));
        }
    }
}
