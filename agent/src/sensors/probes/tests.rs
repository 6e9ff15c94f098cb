//! Whole passes against listeners on loopback.
#![allow(clippy::print_stdout, reason = "a figure is printed for who looks for it")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;

use super::*;

fn tls() -> Arc<ServerConfig> {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["n1".to_owned()]).unwrap().self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    Arc::new(builder.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap())
}

fn answer(stream: &mut (impl Read + Write)) {
    if stream.read(&mut [0; 1024]).is_ok_and(|read| read > 0) {
        drop(stream.write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 12\r\n\r\nUnauthorized"));
        drop(stream.flush());
    }
}

/// A server, by TLS or in clear, and how often it was connected to.
fn server(tls: Option<Arc<ServerConfig>>) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            counter.fetch_add(1, Ordering::SeqCst);
            let tls = tls.clone();
            std::thread::spawn(move || match tls {
                None => answer(&mut stream),
                Some(config) => speak(config, stream),
            });
        }
    });
    (address, connections)
}

fn speak(config: Arc<ServerConfig>, mut stream: TcpStream) {
    let mut connection = rustls::ServerConnection::new(config).unwrap();
    while connection.is_handshaking() {
        if connection.complete_io(&mut stream).is_err() {
            // An alert waits to be sent.
            drop(connection.write_tls(&mut stream));
            return;
        }
    }
    let mut stream = rustls::StreamOwned::new(connection, stream);
    answer(&mut stream);
    stream.conn.send_close_notify();
    drop(stream.flush());
}

fn target(address: SocketAddr, speech: Speech) -> Target {
    Target { address, otherwise: None, speech, paths: &["/pods", "/healthz"], basis: 1, pid: 1 }
}

fn plan(targets: Vec<Target>) -> Plan {
    Plan { targets, skipped: Vec::new(), configz: None, authorities: Vec::new(), plain: Vec::new() }
}

fn live() -> Host {
    Host::open(Path::new("/"), Path::new("/proc")).unwrap()
}

#[test]
fn a_pass_against_twelve_listeners_is_short_and_the_next_one_asks_nothing() {
    let config = tls();
    let servers: Vec<(SocketAddr, Arc<AtomicUsize>)> = (0..12).map(|index| server((index < 8).then(|| Arc::clone(&config)))).collect();
    let counts = || servers.iter().map(|(_, count)| count.load(Ordering::SeqCst)).sum::<usize>();
    let mut plan = plan(servers.iter().map(|(address, _)| target(*address, Speech::Either)).collect());
    let (host, mut memory) = (live(), Memory::default());

    let started = Instant::now();
    let answers = read(&host, true, &plan, &mut memory);
    let (probing, probed) = (started.elapsed(), counts());
    let answers = answers.value().unwrap();
    assert!(answers.skipped.is_empty(), "{:?}", answers.skipped);
    assert_eq!(answers.items.len(), 24);
    assert!(answers.items.iter().all(|probe| probe.status == 401 && probe.body == "text"), "{:?}", answers.items);
    assert_eq!(answers.items.iter().filter(|probe| probe.tls).count(), 16);
    assert_eq!(probed, 12 * 2 + 4, "the four in clear refuse TLS once");

    let in_clear = answers.items.iter().filter(|probe| !probe.tls);
    plan.plain = in_clear.map(|probe| SocketAddr::new(probe.address.parse().unwrap(), u16::try_from(probe.port).unwrap())).collect();
    assert!(memory.outdated(&plan));
    let started = Instant::now();
    let shaken = handshakes(&host, true, &plan, &mut memory);
    let (shaking, shook) = (started.elapsed(), counts() - probed);
    let shaken = shaken.value().unwrap();
    assert_eq!((shaken.items.len(), shaken.skipped.len()), (8, 0));
    assert_eq!(shook, 8 * 7, "three old suites and four");
    assert!(!memory.outdated(&plan));
    println!("12 listeners: probes {probing:?}, {probed} connections; handshakes with 8 of them {shaking:?}, {shook} connections");

    let before = counts();
    assert_eq!(read(&host, true, &plan, &mut memory).value().map(|listing| listing.items.len()), Some(24));
    assert_eq!(handshakes(&host, true, &plan, &mut memory).value().map(|listing| listing.items.len()), Some(8));
    assert_eq!(counts(), before, "what was answered holds");

    // A new process on one of them: that one is asked again.
    plan.targets[0].basis = 2;
    assert!(memory.outdated(&plan));
    drop(read(&host, true, &plan, &mut memory));
    drop(handshakes(&host, true, &plan, &mut memory));
    assert_eq!(counts() - before, 2 + 7);

    // After some time only the certificates are looked at.
    memory.examined.values_mut().for_each(|examined| examined.age(Duration::from_mins(11)));
    let before = counts();
    drop(handshakes(&host, true, &plan, &mut memory));
    assert_eq!(counts() - before, 8);
}

#[test]
fn who_never_answers_costs_two_seconds_however_many_there_are() {
    let silent: Vec<TcpListener> = (0..8).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let plan = plan(silent.iter().map(|listener| target(listener.local_addr().unwrap(), Speech::Either)).collect());
    let started = Instant::now();
    let answers = read(&live(), true, &plan, &mut Memory::default());
    assert!(started.elapsed() < PASS * 10, "{:?}", started.elapsed());
    let answers = answers.value().unwrap();
    assert!(answers.items.iter().all(|probe| probe.outcome == ProbeOutcome::TimedOut));
    assert_eq!((answers.items.len(), answers.skipped.len()), (8, 8), "the second path is not asked");
    let started = Instant::now();
    let shaken = handshakes(&live(), true, &plan, &mut Memory::default());
    assert!(started.elapsed() < PASS * 10, "{:?}", started.elapsed());
    let skipped = &shaken.value().unwrap().skipped;
    assert!(skipped.len() == 8 && skipped.iter().all(|skipped| skipped.reason == Reason::TimedOut), "{skipped:?}");
}

#[test]
fn an_empty_bucket_is_no_answer() {
    let (address, connections) = server(None);
    let plan = plan(vec![target(address, Speech::Plain)]);
    let mut memory = Memory::default();
    let mut bucket = Bucket::full(Instant::now());
    while bucket.take(Instant::now()) {}
    memory.buckets.insert(address, bucket);
    let answers = read(&live(), true, &plan, &mut memory);
    let answers = answers.value().unwrap();
    assert!(answers.items.is_empty() && answers.skipped.len() == 2, "{answers:?}");
    assert_eq!(connections.load(Ordering::SeqCst), 0);
}

#[test]
fn nothing_is_sent_when_probing_is_off_or_the_host_is_a_tree() {
    let (address, connections) = server(None);
    let plan = plan(vec![target(address, Speech::Plain)]);
    let off = read(&live(), false, &plan, &mut Memory::default());
    assert!(off.unavailable().is_some_and(|why| why.detail.contains("switched off")));
    let tree = tempfile::tempdir().unwrap();
    let host = Host::open(tree.path(), tree.path()).unwrap();
    assert!(read(&host, true, &plan, &mut Memory::default()).unavailable().is_some());
    assert!(handshakes(&host, true, &plan, &mut Memory::default()).unavailable().is_some());
    assert_eq!(connections.load(Ordering::SeqCst), 0);
}
