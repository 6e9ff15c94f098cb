//! Peer probes between two agents, each in a network namespace of its own: open, filtered and refused by the agent are told apart,
//! and a result that nobody asked for is not taken.
//!
//! ```text
//! namespace a: collector, agent a ── 10.77.0.1 ═ veth ═ 10.77.0.2 ── agent b, a stand-in for a kubelet: namespace b
//! ```

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use holdfast_checks::entries::State;
use holdfast_proto::v1;
use holdfast_proto::v1::agent_message::Message;
use holdfast_tests::api::Api;
use holdfast_tests::namespace::Namespace;
use holdfast_tests::peer::Peer;
use holdfast_tests::process::{PATIENCE, output};
use holdfast_tests::site::Site;
use serde_json::Value;

use crate::{BINARIES, KUBELET};

/// The agents' own limits leave eight requests a minute: what is not first may have to wait for the next, and what was not answered in
/// time on a busy machine for the one after.
const ASKED: Duration = Duration::from_mins(5);

/// Joins two namespaces by a cable. From outside, where both are seen.
fn cable(a: &Namespace, b: &Namespace) {
    let ip = |of: &Namespace, words: &str| {
        let target = of.first().to_string();
        let mut arguments = vec!["--target", target.as_str(), "--net", "--"];
        arguments.extend(words.split(' '));
        let (code, _, errors) = output(Path::new("nsenter"), &arguments).unwrap();
        assert_eq!(code, 0, "{words}: {errors}");
    };
    ip(a, &format!("ip link add va type veth peer name vb netns {}", b.first()));
    for (of, link, address) in [(a, "va", "10.77.0.1/24"), (b, "vb", "10.77.0.2/24")] {
        ip(of, &format!("ip address add {address} dev {link}"));
        ip(of, &format!("ip link set {link} up"));
    }
    // The stand-in listens there, and packets vanish.
    ip(b, "iptables -A INPUT -i vb -p tcp --dport 10256 -j DROP");
}

/// Passes connections from the cable on to the collector, which listens on loopback.
fn relay(from: &str, to: u16) -> u16 {
    let listener = TcpListener::bind((from, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        while let Ok((near, _)) = listener.accept() {
            let far = TcpStream::connect(("127.0.0.1", to)).unwrap();
            for (mut from, mut to) in [(near.try_clone().unwrap(), far.try_clone().unwrap()), (far, near)] {
                std::thread::spawn(move || {
                    let mut buffer = [0; 4096];
                    while let Ok(read) = from.read(&mut buffer) {
                        if read == 0 || to.write_all(&buffer[..read]).is_err() {
                            break;
                        }
                    }
                    drop(to.shutdown(std::net::Shutdown::Both));
                });
            }
        }
    });
    port
}

/// What agent a met at b's port, at an address.
fn met(api: &Api, port: i64, address: &str) -> Option<Value> {
    let groups = api.list("/api/v1/exposure?node=b", "ports").unwrap_or_default();
    let on = groups.into_iter().filter(|group| group["port"] == port).flat_map(|group| group["on"].as_array().cloned().unwrap_or_default());
    let mut answers = on.flat_map(|on| on["peers"].as_array().cloned().unwrap_or_default());
    answers.find(|answer| answer["address"] == address && answer["vantage"] == "a")
}

fn outcome(api: &Api, port: i64, address: &str) -> Option<(String, i64)> {
    let answer = met(api, port, address)?;
    Some((answer["outcome"].as_str()?.to_owned(), answer["status"].as_i64()?))
}

fn metric(api: &Api, line: &str) -> u64 {
    let text = api.text("/metrics").unwrap_or_default();
    text.lines().find_map(|at| at.strip_prefix(line)).and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

#[test]
fn open_and_filtered_are_told_apart_and_what_an_agent_refuses_is_counted_and_said() {
    let _kubelet = KUBELET.blocking_lock();
    // A network namespace is a thread's own: what it starts is in it too.
    let body = std::thread::spawn(between_two_namespaces);
    body.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

fn between_two_namespaces() {
    let site = Site::new(BINARIES).unwrap();
    let log = site.path("namespaces.log");
    let (a, b) = (Namespace::new(Path::new(&log)).unwrap(), Namespace::new(Path::new(&log)).unwrap());
    cable(&a, &b);
    a.enter_network().unwrap();
    site.token("a").unwrap();
    site.token("b").unwrap();
    // 10.88.0.2 is what a collector that was taken, or misled, might ask for.
    let list = "every: 1m\nvantages: 2\nnodes:\n- {cluster: test, name: b, addresses: [10.77.0.2, 10.88.0.2]}\n";
    std::fs::write(site.path("nodes.yaml"), list).unwrap();
    let _collector = site.collector(&["--peer-probes", &site.path("nodes.yaml")]).unwrap();
    let api = site.api();

    let orders = site.path("orders");
    std::fs::write(&orders, "listen 10255 plain 200\nlisten 10256 plain 200\nlisten 10250 tls 401\n").unwrap();
    let kubelet = site.path("kubelet");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_holdfast-test-kubelet"), &kubelet).unwrap();
    let config = site.path("config.yaml");
    std::fs::write(&config, "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nreadOnlyPort: 10255\n").unwrap();
    let stand_in = [format!("--config={config}")];
    let stand_in: Vec<&str> = stand_in.iter().map(String::as_str).collect();
    let _kubelet = b.start(&kubelet, &stand_in, Path::new(&site.path("kubelet.log")), &[("STAND_IN", &orders)]).unwrap();

    let _agent_a = site.agent_in(&a, "a", &["--no-probe", "--peer-probes-cidrs", "10.77.0.0/24"]).unwrap();
    let url = format!("https://10.77.0.1:{}", relay("10.77.0.1", site.grpc));
    let (ca, token) = (site.path("tls/ca.crt"), site.path("b.token"));
    let arguments = ["run", "--collector", &url, "--server-name", "localhost", "--ca", &ca, "--token-file", &token, "--node-name", "b"];
    let arguments = arguments.into_iter().chain(["--cluster", "test", "--health", "127.0.0.1:0", "--no-probe"]).collect::<Vec<_>>();
    let _agent_b = b.start(BINARIES.agent, &arguments, Path::new(&site.path("b.log")), &[]).unwrap();

    let logs = || {
        format!("{}\n--- a\n{}\n--- b\n{}\n{}", site.log("collector.log"), site.log("a.log"), site.log("b.log"), site.log("kubelet.log"))
    };
    let wait = |what: &str, within, done: &dyn Fn(&Api) -> bool| {
        if let Err(error) = api.wait(what, within, done) {
            panic!("{error}\n{}", logs());
        }
    };
    let is = |port, address: &'static str, wanted: (&str, i64)| {
        let wanted = (wanted.0.to_owned(), wanted.1);
        move |api: &Api| outcome(api, port, address) == Some(wanted.clone())
    };
    for node in ["a", "b"] {
        wait(&format!("{node} is connected"), PATIENCE, &|api| api.node_state(node).as_deref() == Some("reporting"));
    }
    wait("the open port is seen open from a", ASKED, &is(10255, "10.77.0.2", ("answered", 200)));
    wait("the filtered port is seen filtered", ASKED, &is(10256, "10.77.0.2", ("timed_out", 0)));
    wait("the port that asks for credentials is seen to", ASKED, &is(10250, "10.77.0.2", ("answered", 401)));

    // The agent's own networks decide, whoever asks.
    wait("the address outside a's networks is refused", ASKED, &is(10255, "10.88.0.2", ("refused_by_agent", 0)));
    assert_eq!(met(&api, 10255, "10.88.0.2").unwrap()["refusal"], "outside_networks");
    assert!(metric(&api, "holdfast_peer_probe_refusals_total{reason=\"outside_networks\"}") > 0, "{}", api.text("/metrics").unwrap());
    let said = |log: &str| site.log(log).lines().any(|line| line.contains("refused to ask") && line.contains("10.88.0.2"));
    // Both log one refusal a second, which may have been another one.
    wait("both say so", ASKED, &|_| said("collector.log") && said("a.log"));
    // b was not told to: it is never asked, and a is not listed: nobody asks about it.
    assert!(!site.log("b.log").contains("asking another node's port"), "{}", logs());

    let verdict = |api: &Api, check: &str| {
        let found = api.findings(&format!("node=b&check={check}&verdict=any")).unwrap_or_default();
        found.first().map(|finding| (finding["verdict"].clone(), finding["reason"].clone()))
    };
    wait("the open read-only port is a finding", PATIENCE, &|api| {
        verdict(api, "kubelet-read-only-port-reachable").is_some_and(|(verdict, _)| verdict == "fail")
    });
    wait("the kubelet that wants credentials passes", PATIENCE, &|api| {
        verdict(api, "kubelet-serves-peers").is_some_and(|(verdict, _)| verdict == "pass")
    });

    // A port that closes is asked about again at once, not at the next round.
    std::fs::write(&orders, "listen 10256 plain 200\nlisten 10250 tls 401\n").unwrap();
    wait("the closed read-only port is none", ASKED, &|api| {
        verdict(api, "kubelet-read-only-port-reachable").is_some_and(|(verdict, _)| verdict == "pass")
    });
    lies(&site);
}

/// An agent that speaks of what nobody asked it.
fn lies(site: &Site) {
    let token = site.token("liar").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let ca = site.path("tls/ca.crt");
        let (mut peer, _) = Peer::connect(site.grpc, Path::new(&ca), &token, 1, 0, &State::default()).await.unwrap();
        for request in [0, 1, u64::MAX] {
            let lie = v1::ProbeResult { request, outcome: "answered".to_owned(), status: 200, ..v1::ProbeResult::default() };
            peer.say(Message::ProbeResult(lie)).await.unwrap();
        }
        let api = site.api();
        let counted = |api: &Api| metric(api, "holdfast_peer_probe_results_refused_total{reason=\"unsolicited\"}") == 3;
        // Counted, then said.
        let said = || site.log("collector.log").contains("refused a peer-probe result");
        let started = std::time::Instant::now();
        // In this task's own time: the lies are sent by the same thread.
        while !(counted(&api) && said()) {
            assert!(started.elapsed() < PATIENCE, "the lies are counted and said: {}", site.log("collector.log"));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
}
