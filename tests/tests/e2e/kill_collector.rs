//! The collector is killed again and again while agents change all the time and some of them are killed too: nothing is lost,
//! nothing is doubled.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use holdfast_agent::connect::{Shown, Target};
use holdfast_agent::health::Gauges;
use holdfast_agent::line::{Disk, Judgement, Line};
use holdfast_agent::peers::Peers;
use holdfast_agent::session::{Introduction, Session};
use holdfast_agent::spool::Spool;
use holdfast_agent::spool::file::{Opened, SpoolFile};
use holdfast_agent::spool::writer::{Retry, Writer};
use holdfast_checks::entries::{Hash, State};
use holdfast_tests::restless::Node;
use holdfast_tests::sim::dice::Dice;
use holdfast_tests::site::Site;
use holdfast_tests::stored::Stored;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::{BINARIES, rounds};

const AGENTS: u64 = 4;
/// How long an agent that counts its failures may take before it is started anew, as somebody would who does not want to wait.
const BACK: Duration = Duration::from_millis(1_500);
/// How long the last words may take.
const SETTLED: Duration = Duration::from_mins(3);

/// The real line and spool file of one agent, in this process, on a node that never stands still.
struct Agent {
    target: Target,
    directory: PathBuf,
    gauges: Arc<Gauges>,
    node: Node,
    dice: Dice,
    /// Its spool was lost or set aside, which must not happen.
    begun_anew: u32,
}

/// Whoever holds it ends the agent by dropping it; what it sends has the agent killed and started again.
struct Handle {
    name: String,
    gauges: Arc<Gauges>,
    kills: mpsc::Sender<()>,
    living: JoinHandle<State>,
}

struct Life {
    judged: mpsc::Sender<Judgement>,
    stop: CancellationToken,
    line: JoinHandle<()>,
}

fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap()
}

impl Agent {
    fn begin(site: &Site, number: u64) -> Handle {
        let name = format!("restless-{number}");
        let target = Target {
            collector: Target::parse_collector(&format!("https://127.0.0.1:{}", site.grpc)).unwrap(),
            ca: PathBuf::from(site.path("tls/ca.crt")),
            shown: Shown::Token(site.token(&name).unwrap()),
            server_name: None,
            allow_tls12: false,
        };
        let (directory, gauges) = (PathBuf::from(site.path(&format!("spool-{name}"))), Arc::<Gauges>::default());
        std::fs::create_dir(&directory).unwrap();
        let (kills, killed) = mpsc::channel(1);
        let (node, dice) = (Node::default(), Dice::new(number, 1));
        let agent = Self { target, directory, gauges: Arc::clone(&gauges), node, dice, begun_anew: 0 };
        Handle { name, gauges, kills, living: tokio::spawn(agent.live(killed)) }
    }

    async fn live(mut self, mut killed: mpsc::Receiver<()>) -> State {
        self.node.change(&mut self.dice, 100, now());
        let mut life = self.start().await;
        loop {
            let pause = Duration::from_millis(self.dice.between(5, 120));
            tokio::select! {
                kill = killed.recv() => match kill {
                    Some(()) => {
                        // Its memory is gone; of its file there is what was saved.
                        life.line.abort();
                        drop(life.line.await);
                        self.gauges.connected.store(false, Ordering::Relaxed);
                        life = self.start().await;
                    }
                    None => break,
                },
                () = sleep(pause) => {
                    let touched = self.node.change(&mut self.dice, 10, now());
                    let covers = (!self.dice.one_in(4)).then_some(touched);
                    life.judged.send(self.node.judged(covers, now())).await.expect("the line lives");
                }
            }
        }
        // Twice the same: by the time the second is taken out of the queue, the first one is in the spool and counted.
        for _ in 0..2 {
            life.judged.send(self.node.judged(None, now())).await.expect("the line lives");
        }
        let said = Instant::now();
        let done = |gauges: &Gauges| gauges.connected.load(Ordering::Relaxed) && gauges.unsent.load(Ordering::Relaxed) == 0;
        while life.judged.capacity() < life.judged.max_capacity() {
            assert!(said.elapsed() < SETTLED, "not everything was taken in");
            sleep(Duration::from_millis(50)).await;
        }
        while !done(&self.gauges) {
            assert!(said.elapsed() < SETTLED, "not everything was acknowledged");
            sleep(Duration::from_millis(50)).await;
        }
        life.stop.cancel();
        drop(life.line.await);
        assert_eq!(self.begun_anew, 1, "the spool was begun once and survived every kill");
        self.node.state()
    }

    async fn start(&mut self) -> Life {
        let Opened { file, image, set_aside } = self.open().await;
        assert!(set_aside.is_none(), "{set_aside:?}");
        let spool = match image {
            Some(image) => Spool::restore(image, self.dice.draw()),
            None => {
                self.begun_anew += 1;
                let mut spool = Spool::in_memory(self.dice.draw());
                spool.keep_in_file();
                spool
            }
        };
        let gauges = Arc::clone(&self.gauges);
        let writer = Writer::start(self.directory.clone(), Some(file), Retry::default()).unwrap();
        let disk = Disk::file(&self.directory, writer, None, Arc::clone(&gauges));
        let session = Session::new(Introduction {
            agent_version: "test".to_owned(),
            catalogue_hash: Hash([1; 16]),
            boot_id: String::new(),
            node_name: String::new(),
            capabilities: 0,
        });
        let line = Line::new(self.target.clone(), session, spool, Peers::new(Vec::new(), Arc::clone(&gauges)), gauges);
        let ((judged, judgements), stop) = (mpsc::channel(4), CancellationToken::new());
        let line = tokio::spawn(Box::pin(line.kept_on(disk).undamped().run(judgements, stop.clone())));
        judged.send(self.node.judged(None, now())).await.expect("the line lives");
        Life { judged, stop, line }
    }

    /// The one before may still be letting go of it.
    async fn open(&self) -> Opened {
        let began = Instant::now();
        loop {
            let directory = self.directory.clone();
            match tokio::task::spawn_blocking(move || SpoolFile::open(&directory)).await.unwrap() {
                Ok(opened) => return opened,
                Err(error) => assert!(began.elapsed() < SETTLED, "{error}"),
            }
            sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Handle {
    async fn is_connected(&self, within: Duration) -> bool {
        let connected = async {
            while !self.gauges.connected.load(Ordering::Relaxed) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(within, connected).await.is_ok()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_killed_again_and_again_ends_with_all_that_agents_found_once() {
    let site = Site::new(BINARIES).unwrap();
    let agents: Vec<Handle> = (1..=AGENTS).map(|number| Agent::begin(&site, number)).collect();
    let (mut dice, mut killed, mut connected) = (Dice::new(1, 0), 0, 0);
    for _ in 0..rounds() {
        let collector = tokio::task::block_in_place(|| site.collector(&[])).unwrap();
        for agent in &agents {
            if !agent.is_connected(BACK).await || dice.one_in(8) {
                killed += 1;
                agent.kills.send(()).await.unwrap();
            }
        }
        // Each time there is a connection to cut, however busy this machine is.
        let waiting = Instant::now();
        while !agents.iter().any(|agent| agent.gauges.connected.load(Ordering::Relaxed)) {
            assert!(waiting.elapsed() < SETTLED, "nobody comes");
            sleep(Duration::from_millis(10)).await;
        }
        sleep(Duration::from_millis(dice.between(100, 1_200))).await;
        collector.kill().unwrap();
        for agent in &agents {
            connected += u64::from(agent.gauges.connected.swap(false, Ordering::Relaxed));
        }
    }
    let _collector = tokio::task::block_in_place(|| site.collector(&[])).unwrap();
    for agent in &agents {
        agent.kills.send(()).await.unwrap();
    }
    let mut expected = Vec::new();
    for agent in agents {
        drop(agent.kills);
        expected.push((agent.name, agent.living.await.unwrap()));
    }
    let stored = Stored::open(&site.database()).await.unwrap();
    stored.is_sound().await.unwrap();
    let mut transitions = 0;
    for (name, state) in expected {
        let node = stored.node(&name).await.unwrap();
        assert_eq!(node.digest, state.digest().to_string(), "{name}");
        node.is_consistent().unwrap();
        node.has_whole_history().unwrap();
        assert_eq!(node.epochs(), 1, "{name}");
        transitions += node.steps.len();
    }
    stored.close().await;
    println!("{} kills of the collector, {killed} of agents, {connected} connections cut, {transitions} transitions", rounds());
    assert!(connected >= rounds() / 2, "the test did cut connections: {connected}");
}
