//! `run` and its connection against a real gRPC server over real TLS: everything but the collector's store.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "a test may fail")]

mod peer;
mod restart;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use clap::Parser;
use holdfast_agent::cli::{Cli, Command};
use holdfast_agent::connect::{ConnectError, Shown, Target};
use holdfast_agent::run::{RunArgs, run};
use holdfast_checks::entries::{Digest, Hash, Key, Kind};
use holdfast_proto::v1;
use holdfast_proto::v1::agent_message::Message as Say;
use peer::Peer;
use tokio_util::sync::CancellationToken;

fn target(peer: &Peer, directory: &Path) -> Target {
    let token_file = directory.join("token");
    std::fs::write(&token_file, "good\n").unwrap();
    Target {
        collector: peer.url().parse().unwrap(),
        ca: peer.ca.clone(),
        shown: Shown::Token(token_file),
        server_name: None,
        allow_tls12: false,
    }
}

async fn refused(target: Target) -> String {
    // Addresses and paths of this test run are not part of the message.
    let error = match target.dial().await {
        Err(error) => error,
        Ok(connection) => {
            let mut stream = connection.open();
            let hello = v1::AgentMessage { message: Some(Say::Hello(v1::Hello::default())) };
            stream.outgoing.send(hello).await.unwrap();
            stream.incoming.recv().await.expect("an answer").expect_err("a refusal")
        }
    };
    let address = format!("{}:{}", target.collector.host().unwrap(), target.collector.port_u16().unwrap());
    let Shown::Token(token_file) = &target.shown else { panic!("a token") };
    let directory = token_file.parent().unwrap().display().to_string();
    let mut text = String::new();
    let mut source: Option<&dyn std::error::Error> = Some(&error);
    while let Some(error) = source {
        text = format!("{text}{error}\n");
        source = error.source();
    }
    text.replace(&address, "ADDRESS").replace(&directory, "DIR")
}

#[tokio::test]
async fn whatever_keeps_the_agent_from_its_collector_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let peer = Peer::start(directory.path()).await;
    let good = target(&peer, directory.path());
    let other = tempfile::tempdir().unwrap();
    let other_ca = Peer::start(other.path()).await.ca.clone();
    let foreign = directory.path().join("foreign.crt");
    std::fs::copy(other_ca, &foreign).unwrap();
    let (empty, wrong) = (directory.path().join("empty"), directory.path().join("wrong"));
    std::fs::write(&empty, "").unwrap();
    std::fs::write(&wrong, "another").unwrap();
    // Held, and nobody listens.
    let held = tokio::net::TcpSocket::new_v4().unwrap();
    held.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let closed = held.local_addr().unwrap();
    let cases = [
        ("wrong CA", Target { ca: foreign, ..good.clone() }),
        ("no CA file", Target { ca: directory.path().join("absent"), ..good.clone() }),
        ("a CA file without a certificate", Target { ca: empty.clone(), ..good.clone() }),
        ("no token file", Target { shown: Shown::Token(directory.path().join("absent")), ..good.clone() }),
        ("an empty token file", Target { shown: Shown::Token(empty), ..good.clone() }),
        ("a token that the collector refuses", Target { shown: Shown::Token(wrong), ..good.clone() }),
        ("another name", Target { server_name: Some("elsewhere.example".to_owned()), ..good.clone() }),
        ("nobody there", Target { collector: format!("https://{closed}").parse().unwrap(), ..good.clone() }),
    ];
    let mut said = String::new();
    for (case, target) in cases {
        said = format!("{said}# {case}\n{}\n", refused(target).await);
    }
    insta::assert_snapshot!(said);
}

#[tokio::test]
async fn a_session_that_the_collector_ends_is_told_in_its_words() {
    let directory = tempfile::tempdir().unwrap();
    let mut peer = Peer::start(directory.path()).await;
    let mut stream = target(&peer, directory.path()).dial().await.expect("connects").open();
    stream.outgoing.send(v1::AgentMessage { message: Some(Say::Hello(v1::Hello::default())) }).await.unwrap();
    assert!(matches!(peer.hears().await, Say::Hello(_)));
    stream.incoming.recv().await.expect("a Welcome").expect("not an error");
    peer.stop();
    let end = tokio::time::timeout(Duration::from_mins(1), stream.incoming.recv()).await.expect("is noticed");
    let Some(Err(error @ ConnectError::Ended { .. })) = end else { panic!("{end:?}") };
    assert!(error.to_string().ends_with("ended the session: The service is currently unavailable: this collector is stopping"), "{error}");
}

fn arguments(peer: &Peer, directory: &Path) -> RunArgs {
    let token_file = directory.join("token");
    std::fs::write(&token_file, "good\n").unwrap();
    let arguments = ["holdfast-agent", "run", "--health", "127.0.0.1:0", "--no-probe", "--node-name", "n1"].map(str::to_owned);
    let files = [("--ca", &peer.ca), ("--token-file", &token_file)].map(|(flag, path)| [flag.to_owned(), path.display().to_string()]);
    let url = ["--collector".to_owned(), peer.url()];
    let cli = Cli::try_parse_from(arguments.into_iter().chain(files.into_iter().flatten()).chain(url)).expect("a command line");
    let Command::Run(args) = cli.command else { panic!("run was parsed as something else") };
    *args
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_opens_and_closes_reaches_the_collector_and_stopping_says_goodbye() {
    let directory = tempfile::tempdir().unwrap();
    let mut peer = Peer::start(directory.path()).await;
    let cancel = CancellationToken::new();
    let running = tokio::spawn(run(arguments(&peer, directory.path()), cancel.clone()));

    let Say::Hello(hello) = peer.hears().await else { panic!("the first message is a Hello") };
    assert_eq!((hello.node_name.as_str(), hello.catalogue_hash.len(), hello.state_digest.len()), ("n1", 16, 16));
    let mut entries = BTreeMap::new();
    let digest = loop {
        let (sent, gone, last) = match peer.hears().await {
            Say::Snapshot(part) => (part.entries, Vec::new(), part.last.then_some(part.digest)),
            Say::Delta(delta) => (delta.upserts, delta.gone, None),
            _ => continue,
        };
        for key in gone {
            entries.remove(&(key.kind, key.key));
        }
        entries.extend(sent.into_iter().filter_map(|entry| entry.key.map(|key| ((key.kind, key.key), entry.hash))));
        if let Some(digest) = last {
            break digest;
        }
    };
    assert!(!entries.is_empty());
    let mut sum = Digest::EMPTY;
    for ((kind, key), hash) in &entries {
        sum.add(&Key::parse(Kind::from_number(*kind).unwrap(), key).unwrap(), &Hash::from_slice(hash).unwrap());
    }
    assert_eq!(sum.to_bytes().to_vec(), digest, "the snapshot is what its digest says");
    // Other tests open ports on this machine meanwhile.
    if digest == hello.state_digest {
        assert_eq!(u32::try_from(entries.len()).unwrap(), hello.entries, "the snapshot is what Hello announced");
    }

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let key = format!("listener/tcp/127.0.0.1/{}", listener.local_addr().unwrap().port());
    peer.hears_of(|delta| delta.upserts.iter().any(|entry| entry.key.as_ref().is_some_and(|found| found.key == key))).await;
    drop(listener);
    peer.hears_of(|delta| delta.gone.iter().any(|found| found.key == key)).await;

    cancel.cancel();
    loop {
        if let Say::Bye(bye) = peer.hears().await {
            assert_eq!(bye.reason, "the agent was told to stop");
            break;
        }
    }
    tokio::time::timeout(Duration::from_mins(1), running).await.expect("it stops").expect("no panic").expect("no error");
}

#[tokio::test]
async fn what_cannot_work_is_refused_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let peer = Peer::start(directory.path()).await;
    let outside = RunArgs { health: "0.0.0.0:0".parse().unwrap(), ..arguments(&peer, directory.path()) };
    let error = run(outside, CancellationToken::new()).await.expect_err("health is loopback only");
    assert!(error.to_string().contains("is not a loopback address"), "{error:#}");
    let plain = ["holdfast-agent", "run", "--collector", "http://x:1", "--ca", "c", "--token-file", "t"];
    let error = Cli::try_parse_from(plain).expect_err("not encrypted");
    assert!(error.to_string().contains("the session is always encrypted: write https://HOST:PORT"), "{error}");
}
