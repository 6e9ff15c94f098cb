//! The real agent, stopped, killed and started again over one spool, against one peer: what it says then.

use std::fmt::Write;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use holdfast_proto::v1;
use holdfast_proto::v1::agent_message::Message as Say;

use super::peer::Peer;

const LIMIT: Duration = Duration::from_mins(2);
/// Without a save for so long there is none to come.
const REST: Duration = Duration::from_secs(4);

/// A recorded node, which does not change by itself, with its agent's files.
struct Node {
    directory: tempfile::TempDir,
    spool: PathBuf,
}

struct Agent {
    child: Child,
    health: SocketAddr,
}

/// An address of loopback that nobody else has, so that nobody takes it before the agent does.
fn own_address() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [low, high, ..] = std::process::id().to_le_bytes();
    ([127, NEXT.fetch_add(1, Ordering::Relaxed), high, low], 9464).into()
}

impl Node {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("token"), "good\n").unwrap();
        let spool = directory.path().join("spool");
        Self { directory, spool }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Starts the agent on the recording `name`, to speak with `url`.
    fn start(&self, peer: &Peer, url: &str, name: &str) -> Agent {
        let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/recorded").join(name);
        let health = own_address();
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast-agent"));
        command.args(["run", "--node-name", "n1", "--no-probe", "--collector", url, "--health", &health.to_string()]);
        command.arg("--ca").arg(&peer.ca).arg("--token-file").arg(self.path().join("token"));
        command.arg("--host-root").arg(tree.join("host")).arg("--proc").arg(tree.join("proc")).arg("--spool").arg(&self.spool);
        let log = std::fs::File::options().create(true).append(true).open(self.path().join("log")).unwrap();
        Agent { child: command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap(), health }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path().join("log")).unwrap()
    }
}

impl Agent {
    fn metric(&self, name: &str) -> u64 {
        let mut text = String::new();
        if let Ok(mut stream) = std::net::TcpStream::connect(self.health) {
            std::io::Write::write_all(&mut stream, b"GET /metrics HTTP/1.1\r\n\r\n").ok();
            stream.read_to_string(&mut text).ok();
        }
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap_or("0");
        value.parse().unwrap_or(0)
    }

    /// Waits until there was a save after everything was said: one may be due a second after the one before, and take its time.
    async fn saved(&self) {
        let start = Instant::now();
        let mut seen = (0, Instant::now());
        while start.elapsed() < LIMIT {
            let saves = self.metric("holdfast_agent_spool_saves_total");
            if saves != seen.0 {
                seen = (saves, Instant::now());
            } else if saves > 0 && seen.1.elapsed() > REST {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the spool did not come to rest");
    }

    async fn stop(mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        let start = Instant::now();
        while start.elapsed() < LIMIT {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert!(status.success(), "{status}");
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the agent did not stop");
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

async fn hello(peer: &mut Peer) -> v1::Hello {
    loop {
        if let Say::Hello(hello) = peer.hears().await {
            return hello;
        }
    }
}

async fn snapshot(peer: &mut Peer) {
    loop {
        if matches!(peer.hears().await, Say::Snapshot(part) if part.last) {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_and_a_kill_go_on_where_they_were_and_send_nothing_anew() {
    let node = Node::new();
    let mut peer = Peer::start(node.path()).await;
    let url = peer.url();
    let agent = node.start(&peer, &url, "hardened");
    let first = hello(&mut peer).await;
    snapshot(&mut peer).await;
    agent.saved().await;
    assert_eq!(agent.metric("holdfast_agent_spool_file"), 1);
    agent.stop().await;
    for kill in [false, true, true] {
        let agent = node.start(&peer, &url, "hardened");
        let again = hello(&mut peer).await;
        assert_eq!((again.epoch, &again.state_digest), (first.epoch, &peer.digest()), "{}", node.log());
        assert!(again.last_acked_seq > 0 && again.last_acked_seq <= again.sent_seq, "{again:?}");
        agent.saved().await;
        if kill {
            agent.kill();
        } else {
            agent.stop().await;
        }
        // In sync: nothing but the goodbye.
        while let Some(said) = peer.heard_already() {
            assert!(matches!(said, Say::Bye(_)), "{said:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happened_while_the_collector_was_away_survives_a_kill() {
    let node = Node::new();
    let mut peer = Peer::start(node.path()).await;
    let url = peer.url();
    let agent = node.start(&peer, &url, "hardened");
    let first = hello(&mut peer).await;
    snapshot(&mut peer).await;
    agent.saved().await;
    agent.stop().await;
    let nobody = format!("https://{}", own_address());
    let agent = node.start(&peer, &nobody, "misconfigured");
    agent.saved().await;
    agent.kill();
    let now = i64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis()).unwrap();
    let _agent = node.start(&peer, &url, "misconfigured");
    assert_eq!(hello(&mut peer).await.epoch, first.epoch);
    let failed = i32::from(v1::Verdict::Fail);
    let told = |key: &str, delta: &v1::Delta| {
        let wanted = |transition: &v1::Transition| {
            transition.at < now && transition.to == failed && transition.key.as_ref().is_some_and(|found| found.key.starts_with(key))
        };
        delta.transitions.iter().any(wanted)
    };
    peer.hears_of(|delta| told("kubelet-anonymous-auth/", delta)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spool_that_is_lost_is_said_and_everything_is_sent_anew() {
    let node = Node::new();
    let mut peer = Peer::start(node.path()).await;
    let url = peer.url();
    let agent = node.start(&peer, &url, "hardened");
    let first = hello(&mut peer).await;
    snapshot(&mut peer).await;
    agent.saved().await;
    agent.stop().await;
    std::fs::write(node.spool.join("spool.redb"), "nothing that was ever a spool").unwrap();
    let agent = node.start(&peer, &url, "misconfigured");
    assert_ne!(hello(&mut peer).await.epoch, first.epoch);
    snapshot(&mut peer).await;
    agent.saved().await;
    assert_eq!(agent.metric("holdfast_agent_spool_file"), 1);
    assert!(node.log().contains("the spool was begun anew: "), "{}", node.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_directory_for_its_spool_the_agent_works_in_memory_and_says_so() {
    let node = Node::new();
    std::fs::write(&node.spool, "a file where the directory should be").unwrap();
    let mut peer = Peer::start(node.path()).await;
    let url = peer.url();
    let mut epochs = Vec::new();
    for _ in 0..2 {
        let agent = node.start(&peer, &url, "hardened");
        epochs.push(hello(&mut peer).await.epoch);
        assert_eq!(agent.metric("holdfast_agent_spool_file"), 0);
        agent.stop().await;
    }
    assert_ne!(epochs.first(), epochs.last(), "nothing was kept");
    let words = "state and history are kept in memory only and do not survive a restart";
    let mut said = String::new();
    node.log().lines().filter(|line| line.contains(words)).for_each(|line| writeln!(said, "{line}").unwrap());
    assert_eq!(said.lines().count(), 2, "once each: {}", node.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_was_refused_is_read_again() {
    let node = Node::new();
    let mut peer = Peer::start(node.path()).await;
    std::fs::write(node.path().join("token"), "another\n").unwrap();
    let url = peer.url();
    let _agent = node.start(&peer, &url, "hardened");
    let start = Instant::now();
    while !node.log().contains("refused this node's token") {
        assert!(start.elapsed() < LIMIT, "{}", node.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    std::fs::write(node.path().join("token"), "good\n").unwrap();
    hello(&mut peer).await;
}
