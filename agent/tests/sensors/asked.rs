//! What the sensors ask of components that listen on this host: stand-ins that are called like one and speak real TLS.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use holdfast_agent::sensors::Sensors;
use holdfast_checks::facts::{Group, Handshake, NodeFacts, Probe, ProbeOutcome};
use rcgen::{CertificateParams, DnType, KeyPair};

use super::{known, options};

struct StandIn {
    child: Child,
    address: SocketAddr,
    _files: tempfile::TempDir,
}

impl Drop for StandIn {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// An API server by its name; by what it speaks OpenSSL, which answers every GET with a page.
fn stand_in() -> StandIn {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["n1".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
    let files = tempfile::tempdir().unwrap();
    std::fs::write(files.path().join("tls.crt"), params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(files.path().join("tls.key"), key.serialize_pem()).unwrap();
    let mut command = Command::new("openssl");
    command.arg0("kube-apiserver").current_dir(files.path());
    command.args(["s_server", "-accept", "127.0.0.1:0", "-www", "-no_tls1_3", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"]);
    command.args(["-cert", "tls.crt", "-key", "tls.key"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let address = lines.find_map(|line| line.strip_prefix("ACCEPT ")?.trim().parse().ok()).unwrap();
    std::thread::spawn(move || lines.count());
    StandIn { child, address, _files: files }
}

fn answer<'a>(facts: &'a NodeFacts, stand_in: &StandIn) -> Option<&'a Probe> {
    known(&facts.probes).items.iter().find(|probe| probe.port == i64::from(stand_in.address.port()))
}

fn handshake<'a>(facts: &'a NodeFacts, stand_in: &StandIn) -> Option<&'a Handshake> {
    known(&facts.handshakes).items.iter().find(|handshake| handshake.port == i64::from(stand_in.address.port()))
}

#[test]
fn a_components_socket_is_asked_what_it_answers_and_which_tls_it_speaks() {
    let first = stand_in();
    let mut options = options(Path::new("/"), Path::new("/proc"));
    options.probe = true;
    let mut sensors = Sensors::open(options).unwrap();
    let mut facts = sensors.read_all(&mut |_| {});
    let probe = answer(&facts, &first).unwrap();
    assert_eq!((probe.path.as_str(), probe.tls, probe.outcome, probe.status), ("/version", true, ProbeOutcome::Answered, 200));
    assert_eq!(probe.body, "text");
    let shown = handshake(&facts, &first).unwrap();
    assert_eq!(known(&shown.certificate).common_name, "kube-apiserver");
    let versions = &known(&shown.versions).items;
    let taken: Vec<&str> = versions.iter().filter(|version| version.accepted).map(|version| version.name.as_str()).collect();
    assert_eq!((versions.len(), taken), (4, vec!["TLS 1.2"]));
    assert_eq!(known(&shown.suites).items, ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]);
    assert!(!*known(&shown.asks_certificate));
    assert!(sensors.due().is_empty());

    // Another one starts: its answer comes at once, its handshakes are due.
    let second = stand_in();
    let changed = [Group::Processes, Group::Kubelets, Group::Components, Group::Listeners, Group::Probes];
    sensors.refresh(&mut facts, &changed.into());
    assert_eq!(answer(&facts, &second).map(|probe| probe.status), Some(200));
    assert!(handshake(&facts, &second).is_none());
    let due = sensors.due().clone();
    assert_eq!(due, BTreeSet::from([Group::Handshakes]));
    sensors.refresh(&mut facts, &due);
    assert!(handshake(&facts, &first).is_some() && handshake(&facts, &second).is_some());
    assert!(sensors.due().is_empty());

    // One ends: nothing of it stays.
    let port = i64::from(first.address.port());
    drop(first);
    sensors.refresh(&mut facts, &changed.into());
    let due = sensors.due().clone();
    sensors.refresh(&mut facts, &due);
    assert!(known(&facts.handshakes).items.iter().all(|handshake| handshake.port != port));
    assert!(handshake(&facts, &second).is_some());
}
