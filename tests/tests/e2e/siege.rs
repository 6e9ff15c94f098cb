//! A collector under attack: agents go on as before, a new one gets in, memory and logs stay within bounds, every refusal is counted.
//!
//! Everything happens on one machine: who attacks takes the same cores. Latency is compared with the same run's, before.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use holdfast_checks::entries::{State, Verdict};
use holdfast_proto::v1;
use holdfast_proto::v1::agent_message::Message;
use holdfast_tests::figures::Figures;
use holdfast_tests::intruder::{Intruder, session};
use holdfast_tests::peer::{self, Peer, delta, finding};
use holdfast_tests::process::PATIENCE;
use holdfast_tests::sim::ground::Ground;
use holdfast_tests::sim::{Fleet, Load};
use holdfast_tests::site::Site;
use holdfast_tests::unfinished::{Unfinished, crumbs, nothings};
use prost::Message as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use crate::BINARIES;

/// Agents that go on all the while, and those that come in an attack.
const AGENTS: u32 = 20;
const NEWCOMERS: u32 = 20;
/// Connections of an attack.
const FLOOD: usize = 2_000;
/// Connections with requests that do not end, and those among them that go on byte by byte.
const UNFINISHED: u32 = 800;
const DRIPPING: u32 = 20;
/// What begins in them: from nothing but headers to all that one can hold.
const BEGUN: [Unfinished; 4] = [Unfinished::Body, Unfinished::Message, Unfinished::Most, Unfinished::Crumbs];
/// How long an attack is watched, and what comes before.
const WATCHED: Duration = Duration::from_secs(5);
/// How often latency is looked at again that was beyond its bound.
const AGAIN: usize = 2;
/// Messages that make a percentile.
const ENOUGH: usize = 100;
/// Latency that is never held against the collector: debug builds of everybody on the same two cores.
const FLOOR: Duration = Duration::from_secs(1);
/// How long a new agent may take to be welcomed, whatever goes on.
const ENTRY: Duration = Duration::from_mins(1);
/// What an attack may add to what is resident: 64 KiB for each of its connections.
const MEMORY_KIB: u64 = 128 * 1024;
/// What an attack may add to the log in ten seconds, or less.
const LOG_BYTES: f64 = 64.0 * 1024.0;
const CODES: [&str; 7] = ["handshake_displaced", "handshake", "protocol", "slow_reader", "accept", "no_session", "no_session_displaced"];

struct Siege {
    ground: Ground,
    fleet: Fleet,
    intruder: Intruder,
    ca: PathBuf,
    baseline: Duration,
    newcomers: std::vec::IntoIter<String>,
}

/// How it was before an attack.
struct Before {
    at: Instant,
    resident: u64,
    log: usize,
    refused: [f64; CODES.len()],
}

#[allow(clippy::print_stdout, reason = "figures for whoever looks, with --nocapture")]
impl Siege {
    async fn lay() -> Self {
        let ground = Ground::enrolling(BINARIES, AGENTS + NEWCOMERS, 3).unwrap();
        let load = Load { agents: AGENTS, entries: 30, ramp: 0.0, flip_rate: 120.0, seed: 3, ..Load::default() };
        let fleet = Fleet::start(&load, &ground.door()).unwrap();
        fleet.in_sync(PATIENCE).await.unwrap();
        let ca = PathBuf::from(ground.site.path("tls/ca.crt"));
        let intruder = Intruder::new(ground.site.grpc, &ca).unwrap();
        let newcomers = ground.door().tokens.split_off(usize::try_from(AGENTS).unwrap()).into_iter();
        fleet.meter().take_acks();
        let baseline = watch(&fleet).await;
        println!("before: {baseline}, {} messages", baseline.len());
        Self { ground, fleet, intruder, ca, baseline: baseline.percentile(99), newcomers }
    }

    fn refused(&self, code: &str) -> f64 {
        self.ground.site.api().metric(&format!("holdfast_rejections_total{{reason=\"{code}\"}}"))
    }

    fn before(&self) -> Before {
        self.fleet.meter().take_acks();
        let resident = self.ground.memory_kib().0;
        Before {
            at: Instant::now(),
            resident,
            log: self.ground.site.log("collector.log").len(),
            refused: CODES.map(|code| self.refused(code)),
        }
    }

    /// A token that nobody has used.
    fn token(&mut self) -> String {
        self.newcomers.next().unwrap()
    }

    /// An agent nobody knows comes and says something, trying again as agents do.
    async fn newcomer(&mut self) -> Duration {
        let token = self.ground.site.path("newcomer.token");
        std::fs::write(&token, self.token()).unwrap();
        let (start, mut tries) = (Instant::now(), 0);
        loop {
            tries += 1;
            let heard = async {
                let (mut peer, welcome) =
                    Peer::connect(self.ground.site.grpc, &self.ca, Path::new(&token), 1, 0, &State::default()).await?;
                let (mut state, entry) = (State::default(), finding("siege-test", "here", Verdict::Pass));
                state.upsert(entry.clone());
                peer.say(delta(welcome.seq + 1, &[entry], Vec::new(), state.digest())).await?;
                peer.acknowledged(welcome.seq + 1).await
            };
            match tokio::time::timeout(ENTRY, heard).await {
                Ok(Ok(_)) => break,
                failed => assert!(start.elapsed() < ENTRY, "a new agent gets in: {failed:?}, {tries} tries"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        println!("  a new agent is stored after {:.1?}, {tries} tries", start.elapsed());
        start.elapsed()
    }

    /// Agents were served, somebody new got in, and nothing grew beyond its bound; which codes were counted.
    async fn hold(&mut self, attack: &str, before: &Before) -> [f64; CODES.len()] {
        println!("{attack}:");
        assert!(self.newcomer().await < ENTRY, "{attack}: a new agent gets in");
        let mut acks = watch(&self.fleet).await;
        let bound = (self.baseline * 10).max(FLOOR);
        for _ in 0..AGAIN {
            if acks.percentile(99) > bound {
                // Whoever else uses this machine comes and goes; an attack stays.
                println!("  {acks}: once more");
                acks = watch(&self.fleet).await;
            }
        }
        let tens = (before.at.elapsed().as_secs_f64() / 10.0).max(1.0);
        let grown = self.ground.memory_kib().0.saturating_sub(before.resident);
        let logged = self.ground.site.log("collector.log").len() - before.log;
        let per_ten = f64::from(u32::try_from(logged).unwrap()) / tens;
        let now = CODES.map(|code| self.refused(code));
        let counted: [f64; CODES.len()] = std::array::from_fn(|code| now[code] - before.refused[code]);
        println!("  {acks}, {} messages; {grown} KiB more resident; {logged} bytes of log; {CODES:?}: {counted:?}", acks.len());
        assert!(acks.percentile(99) <= bound, "{attack}: {acks} where {bound:?} is the bound");
        assert!(grown < MEMORY_KIB, "{attack}: {grown} KiB more");
        assert!(per_ten < LOG_BYTES, "{attack}: {logged} bytes of log in {tens:.1} times ten seconds");
        assert_eq!(self.fleet.standing().connected, self.fleet.len(), "{attack}: nobody lost the connection");
        counted
    }
}

/// From sending to acknowledgement, of what the agents say for a while: until they have said enough on a machine however busy.
async fn watch(fleet: &Fleet) -> Figures {
    let (start, mut acks) = (Instant::now(), fleet.meter().take_acks());
    while start.elapsed() < WATCHED || acks.len() <= ENOUGH {
        assert!(start.elapsed() < PATIENCE, "agents have something to say: {} messages", acks.len());
        tokio::time::sleep(Duration::from_millis(100)).await;
        acks.extend(fleet.meter().take_acks());
    }
    Figures::of(acks)
}

/// Bytes that are nothing, the same in every run.
fn garbage(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        u8::try_from(state >> 56).unwrap()
    };
    (0..length).map(next).collect()
}

/// Says 1 MiB/s of nothing in one connection after another, before or after its handshake.
async fn babble(intruder: Intruder, shaken: bool) {
    loop {
        if shaken && let Ok(stream) = intruder.shaken().await {
            talk(stream).await;
        } else if let Ok(stream) = intruder.silent().await {
            talk(stream).await;
        }
        tokio::time::sleep(Duration::from_millis(16)).await;
    }
}

async fn talk(mut stream: impl tokio::io::AsyncWrite + Unpin) {
    let chunk = garbage(16 * 1024);
    let mut pace = tokio::time::interval(Duration::from_millis(16));
    while stream.write_all(&chunk).await.is_ok() && stream.flush().await.is_ok() {
        pace.tick().await;
    }
}

fn hello() -> Vec<u8> {
    let hello = peer::hello(1, 0, &State::default()).unwrap();
    v1::AgentMessage { message: Some(Message::Hello(hello)) }.encode_to_vec()
}

/// Sessions with good credentials in which what follows is no message, or too large a one.
async fn babble_inside(intruder: Intruder, token: String, garbage: Vec<u8>) {
    loop {
        let said = stream::iter([hello()]).chain(stream::repeat(garbage.clone()));
        if let Ok(channel) = intruder.channel(64 * 1024).await
            && let Ok(mut answers) = session(channel, &token, said).await
        {
            while let Ok(Some(())) = answers.message().await {}
        }
        tokio::time::sleep(Duration::from_millis(16)).await;
    }
}

/// Says a message of a request byte by byte, four hundred a second, and never its last one.
async fn drip(intruder: Intruder) {
    let mut stream = intruder.unfinished(Unfinished::Crumbs).await.unwrap();
    let mut pace = tokio::time::interval(Duration::from_millis(250));
    for _ in 0..120 {
        pace.tick().await;
        if stream.write_all(&crumbs(100)).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
    // It is for the other side to end it.
    drop(stream.read_to_end(&mut Vec::new()).await);
}

/// The limit of open files of a process, changed while it runs.
fn limit_files(pid: i32, limit: usize) {
    let done = Command::new("prlimit").args(["--pid", &pid.to_string(), &format!("--nofile={limit}:20000")]).status().unwrap();
    assert!(done.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_go_on_and_new_ones_get_in_while_a_collector_is_under_attack() {
    holdfast_collector::accept::raise_limit().unwrap();
    let mut siege = Siege::lay().await;

    let before = siege.before();
    let opening = stream::iter(0..FLOOD).map(|_| siege.intruder.silent()).buffer_unordered(256);
    let silent: Vec<_> = opening.map(Result::unwrap).collect().await;
    let [displaced, ..] = siege.hold("2,000 connections in which nothing is said", &before).await;
    assert!(displaced > 500.0, "{displaced} gave way");
    drop(silent);

    let before = siege.before();
    let opening = stream::iter(0..FLOOD).map(|n| siege.intruder.half_open(n.is_multiple_of(2))).buffer_unordered(256);
    let half_open: Vec<_> = opening.map(Result::unwrap).collect().await;
    let [displaced, ..] = siege.hold("2,000 handshakes that go no further", &before).await;
    assert!(displaced > 500.0, "{displaced} gave way");
    drop(half_open);

    let before = siege.before();
    let mut babblers = JoinSet::new();
    for shaken in [false, true] {
        babblers.spawn(babble(siege.intruder.clone(), shaken));
    }
    for garbage in [garbage(1_000), vec![0x0a; 64 * 1024]] {
        babblers.spawn(babble_inside(siege.intruder.clone(), siege.token(), garbage));
    }
    let [_, handshake, protocol, ..] = siege.hold("garbage at 1 MiB/s: as TLS, as HTTP/2 and as messages", &before).await;
    assert!(handshake > 0.0 && protocol > 1.0, "{handshake} handshakes, {protocol} broke the contract");
    let most = 30.0 * before.at.elapsed().as_secs_f64().max(10.0);
    assert!(handshake + protocol < most, "trying again at once is not free: {handshake} and {protocol}");
    babblers.shutdown().await;

    let before = siege.before();
    let begin = |n| siege.intruder.unfinished(BEGUN[usize::try_from(n).unwrap() % BEGUN.len()]);
    let opening = stream::iter(0..UNFINISHED).map(begin).buffer_unordered(64);
    let unfinished: Vec<_> = opening.map(Result::unwrap).collect().await;
    let mut dripping = JoinSet::new();
    (0..DRIPPING).for_each(|_| drop(dripping.spawn(drip(siege.intruder.clone()))));
    let mut empty = siege.intruder.unfinished(Unfinished::Body).await.unwrap();
    // HTTP/2 takes a hundred frames of nothing, once.
    empty.write_all(&nothings(101)).await.unwrap();
    siege.hold("800 connections with requests that do not end, 20 of them byte by byte", &before).await;
    let gone = |siege: &Siege, codes: &[usize]| codes.iter().map(|code| siege.refused(CODES[*code]) - before.refused[*code]).sum::<f64>();
    let start = Instant::now();
    while gone(&siege, &[5, 6]) < f64::from(UNFINISHED) || gone(&siege, &[2, 5, 6]) <= f64::from(UNFINISHED + DRIPPING) {
        let (waited, all) = (gone(&siege, &[5, 6]), gone(&siege, &[2, 5, 6]));
        assert!(start.elapsed() < PATIENCE, "each is let go and counted: {waited} that waited, {all} in all");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    println!("  all were let go {:.1?} after that", start.elapsed());
    let log = siege.ground.site.log("collector.log");
    assert!(log.contains("no_session") && log.contains("too much of what is small"), "{log}");
    drop((unfinished, empty));
    dripping.shutdown().await;

    // A window of nothing: not even the Welcome can be sent. Seventeen answers fill the outbox.
    let before = siege.before();
    let channel = siege.intruder.channel(0).await.unwrap();
    let said = (1..=40_u64).map(|seq| {
        let entry = finding("siege-test", &format!("unread-{seq}"), Verdict::Pass);
        v1::AgentMessage { message: Some(delta(seq, &[entry], Vec::new(), State::default().digest())) }.encode_to_vec()
    });
    let said: Vec<Vec<u8>> = std::iter::once(hello()).chain(said).collect();
    let said = stream::iter(said).then(|message| async {
        tokio::time::sleep(Duration::from_millis(60)).await;
        message
    });
    let token = siege.token();
    let deaf = session(channel, &token, said.chain(stream::pending())).await.unwrap();
    siege.hold("an agent that reads nothing", &before).await;
    let slow = |siege: &Siege| siege.refused("slow_reader") > before.refused[3];
    let start = Instant::now();
    while !slow(&siege) {
        assert!(start.elapsed() < PATIENCE, "it is let go: {}", siege.ground.site.log("collector.log"));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    drop(deaf);

    // No descriptors left: for nothing but a few more connections.
    let before = siege.before();
    let pid = siege.ground.pid();
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    limit_files(pid, open + 16);
    let start = Instant::now();
    let opening = stream::iter(0..200).map(|_| siege.intruder.silent()).buffer_unordered(64);
    let waiting: Vec<_> = opening.map(Result::unwrap).collect().await;
    siege.hold("no descriptor left", &before).await;
    limit_files(pid, 20_000);
    let attempts = siege.refused("accept") - before.refused[4];
    let bound = start.elapsed().as_secs_f64() * 10.0 + 5.0;
    println!("  {attempts} attempts to accept in {:.1?}", start.elapsed());
    assert!(attempts > 0.0 && attempts < bound, "{attempts} attempts");
    drop(waiting);
    let again = siege.newcomer().await;
    assert!(again < ENTRY, "all is well again");
    let answer = async {
        let mut plain = siege.intruder.silent().await.unwrap();
        plain.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        drop(plain.read_to_end(&mut answer).await);
        answer
    };
    let answer = tokio::time::timeout(PATIENCE, answer).await.expect("plain HTTP is turned away");
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    siege.fleet.stop().await;
}

/// HTTP/2 ends a connection in which some 130 small frames wait to be read. While the collector reads nothing for a minute, an agent of the
/// shortest heartbeat says 75 of them, four changes, and what it was asked before.
#[tokio::test]
async fn an_agent_whose_words_wait_to_be_read_is_not_taken_for_a_flood() {
    let site = Site::new(BINARIES).unwrap();
    let _collector = site.collector(&[]).unwrap();
    let (token, ca, mut state) = (site.token("patient").unwrap(), site.path("tls/ca.crt"), State::default());
    let (mut peer, welcome) = Peer::connect(site.grpc, Path::new(&ca), &token, 1, 0, &state).await.unwrap();
    let heartbeat = v1::Heartbeat { digest: state.digest().to_bytes().to_vec(), ..v1::Heartbeat::default() };
    // A hundred are read at once, and twenty a second after that: the others wait.
    for _ in 0..100 + 110 {
        peer.say(Message::Heartbeat(heartbeat.clone())).await.unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let entry = finding("siege-test", "patient", Verdict::Pass);
    state.upsert(entry.clone());
    peer.say(delta(welcome.seq + 1, &[entry], Vec::new(), state.digest())).await.unwrap();
    peer.acknowledged(welcome.seq + 1).await.unwrap();
}
