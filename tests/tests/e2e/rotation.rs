//! Certificates and CAs are replaced under load, as a mounted Secret is: nobody is disconnected, new connections meet the new ones, and
//! what cannot be used changes nothing.

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use holdfast_tests::sim::{Door, Fleet, Load, name};
use holdfast_tests::tls::{self, Pair, Purpose};
use rcgen::ExtendedKeyUsagePurpose as Usage;
use rustls::HandshakeKind;

use crate::enrolment::Place;

const AGENTS: u32 = 50;
const WITHIN: Duration = holdfast_tests::process::PATIENCE;

/// A directory as kubelet mounts a Secret: links to files below `..data`, which is a link itself and is replaced in one step.
struct Mounted {
    directory: PathBuf,
    version: u32,
    files: Vec<(&'static str, String)>,
}

impl Mounted {
    /// Turns files of a directory into links.
    fn over(directory: PathBuf, names: &[&'static str]) -> Self {
        let files = names.iter().map(|&name| (name, std::fs::read_to_string(directory.join(name)).unwrap())).collect();
        let mut mounted = Self { directory, version: 0, files };
        mounted.swap();
        for name in names {
            let link = mounted.directory.join(format!("{name}.link"));
            std::os::unix::fs::symlink(format!("..data/{name}"), &link).unwrap();
            std::fs::rename(link, mounted.directory.join(name)).unwrap();
        }
        mounted
    }

    fn set(&mut self, name: &str, text: &str) {
        let file = self.files.iter_mut().find(|(known, _)| *known == name).unwrap();
        text.clone_into(&mut file.1);
    }

    fn text(&self, name: &str) -> String {
        self.files.iter().find(|(known, _)| *known == name).unwrap().1.clone()
    }

    fn swap(&mut self) {
        self.version += 1;
        let fresh = format!("..v{}", self.version);
        std::fs::create_dir(self.directory.join(&fresh)).unwrap();
        for (name, text) in &self.files {
            std::fs::write(self.directory.join(&fresh).join(name), text).unwrap();
        }
        let link = self.directory.join("..data_tmp");
        std::os::unix::fs::symlink(fresh, &link).unwrap();
        std::fs::rename(link, self.directory.join("..data")).unwrap();
    }
}

fn server(authority: &Pair) -> Pair {
    let purpose = Purpose { dns: vec!["localhost".to_owned()], usages: vec![Usage::ServerAuth], ..Purpose::default() };
    authority.sign(&purpose).unwrap()
}

/// Waits until a new connection shows this certificate. With one configuration all along, which would resume if the server let it.
async fn shows(port: u16, config: &Arc<rustls::ClientConfig>, wanted: &Pair) -> Duration {
    let (started, wanted) = (Instant::now(), wanted.der().unwrap());
    loop {
        if let Ok(mut stream) = tls::shake(port, Arc::clone(config)).await {
            let leaf = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
            assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Full), "nothing is resumed: that would hide a rotation");
            // A ticket would come after the handshake.
            let mut ticket = [0; 256];
            let read = tokio::io::AsyncReadExt::read(&mut stream, &mut ticket);
            drop(tokio::time::timeout(Duration::from_millis(100), read).await);
            if leaf == wanted {
                return started.elapsed();
            }
        }
        assert!(started.elapsed() < WITHIN, "the certificate is still another one");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < WITHIN, "not within {WITHIN:?}: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[allow(clippy::too_many_lines, reason = "one story: each rotation goes on from the last")]
async fn certificates_and_authorities_are_replaced_under_load_and_nobody_is_disconnected() {
    let place = Place::new();
    let site = &place.site;
    let (mut tokens, mut file) = (Vec::new(), String::new());
    for agent in 0..AGENTS {
        let (token, name) = (format!("token-{agent}"), name(agent));
        let hash = digest(&SHA256, token.as_bytes());
        let hex = hash.as_ref().iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        writeln!(file, "- {{sha256: {hex}, cluster: sim, uid: {name}, name: {name}}}").unwrap();
        tokens.push(token);
    }
    std::fs::write(site.path("tokens.yaml"), file).unwrap();
    let directory = PathBuf::from(site.path("tls"));
    let authority = Pair::read(&directory.join("ca.crt"), &directory.join("ca.key")).unwrap();
    let mut secret = Mounted::over(directory.clone(), &["server.crt", "server.key", "enrolment-ca.crt", "enrolment-ca.key"]);
    let _collector = place.collector(&[]);
    let ca = std::fs::read_to_string(directory.join("ca.crt")).unwrap();

    let door = Door {
        collector: format!("https://127.0.0.1:{}", site.grpc),
        ca: directory.join("ca.crt"),
        tokens_file: site.path("tokens.yaml").into(),
        tokens,
    };
    let load = Load { agents: AGENTS, entries: 30, ramp: 1.0, flip_rate: 60.0, ..Load::default() };
    let fleet = Fleet::start(&load, &door).unwrap();
    until("the fleet is connected", || fleet.standing().connected == fleet.len()).await;
    // On a busy machine the first try of one of them may have come to nothing.
    let connected = fleet.meter().connections.load(Ordering::Relaxed);
    place.give("machine", &place.token("add", "machine"));
    let machine = place.agent("machine", &[]);
    until("the machine is enrolled", || site.api().node_state("machine").as_deref() == Some("reporting")).await;
    let connections = || site.api().metric("holdfast_connections");

    // The server certificate, from the same CA.
    let config = Arc::new(tls::client(&ca, None).unwrap());
    let second = server(&authority);
    secret.set("server.crt", &second.certificate);
    secret.set("server.key", &second.key);
    secret.swap();
    let took = shows(site.grpc, &config, &second).await;
    println!("a new server certificate was in use {took:.1?} after the swap");

    // A key of another certificate, then no certificate at all: said once each, and the good one stays.
    let failures = || site.api().metric("holdfast_certificate_reload_failures_total");
    let said = || site.log("collector.log").matches("certificates not usable").count();
    let third = server(&authority);
    for (number, (name, text)) in [("server.key", third.key.as_str()), ("server.crt", "nothing")].into_iter().enumerate() {
        secret.set(name, text);
        secret.swap();
        until("the bad file is counted", || said() == number + 1 && failures() >= 1.0).await;
        shows(site.grpc, &config, &second).await;
    }
    // Half a CA is as bad.
    secret.set("server.crt", &second.certificate);
    secret.set("server.key", &second.key);
    let stranger = tls::authority("another").unwrap();
    let (old_authority, old_key) = (secret.text("enrolment-ca.crt"), secret.text("enrolment-ca.key"));
    secret.set("enrolment-ca.key", &stranger.key);
    secret.swap();
    until("half a CA is counted", || said() == 3).await;
    shows(site.grpc, &config, &second).await;
    secret.set("enrolment-ca.key", &old_key);
    secret.swap();

    // The server's CA: first everybody trusts both, then the certificate changes, then the old CA is forgotten.
    let fresh = tls::authority("Holdfast CA 2").unwrap();
    std::fs::write(directory.join("ca.crt"), format!("{ca}{}", fresh.certificate)).unwrap();
    let fourth = server(&fresh);
    secret.set("server.crt", &fourth.certificate);
    secret.set("server.key", &fourth.key);
    secret.swap();
    let both = Arc::new(tls::client(&format!("{ca}{}", fresh.certificate), None).unwrap());
    shows(site.grpc, &both, &fourth).await;
    assert!(tls::shake(site.grpc, Arc::clone(&config)).await.is_err(), "whoever trusts the old CA only knows no such server");
    std::fs::write(directory.join("ca.crt"), &fresh.certificate).unwrap();
    let only = fresh.certificate.clone();
    shows(site.grpc, &Arc::new(tls::client(&only, None).unwrap()), &fourth).await;

    // The enrolment CA. A certificate of the old one counts as long as that is in the file, and is exchanged for one of the new.
    let old = Pair { certificate: certificates(&place.identity("machine")), key: key(&place.identity("machine")) };
    let new = tls::authority("Holdfast enrolment CA 2").unwrap();
    secret.set("enrolment-ca.crt", &format!("{}{old_authority}", new.certificate));
    secret.set("enrolment-ca.key", &new.key);
    let reloads = || site.log("collector.log").matches("certificates read again").count();
    let before = reloads();
    secret.swap();
    until("the new CA is in use", || reloads() > before).await;
    let exchanged = renewed(site.grpc, &only, &old).await.expect("the old CA's certificates count while it is in the file");
    assert!(renewed(site.grpc, &only, &exchanged).await.is_some());
    secret.set("enrolment-ca.crt", &new.certificate);
    secret.swap();
    until("the old CA is forgotten", || reloads() > before + 1).await;
    assert!(renewed(site.grpc, &only, &old).await.is_none(), "a certificate of a CA that is not trusted any longer");
    assert!(renewed(site.grpc, &only, &exchanged).await.is_some());

    // Nobody noticed: every agent is still on the connection it had before, and in sync.
    assert_eq!(fleet.meter().connections.load(Ordering::Relaxed), connected, "nobody connected again");
    assert_eq!(fleet.standing().connected, fleet.len());
    assert_eq!(site.log("machine.log").matches("\"connected\"").count(), 1, "{}", site.log("machine.log"));
    assert!(connections() >= f64::from(AGENTS + 1));
    fleet.flips(false);
    fleet.in_sync(WITHIN).await.unwrap();
    let nodes = site.api().list("/api/v1/nodes?limit=100", "nodes").unwrap();
    assert!(nodes.iter().all(|node| node["state"] == "reporting"), "{nodes:?}");
    fleet.stop().await;

    // A machine with a certificate of the forgotten CA is turned away, and a new token brings it back as the node it was.
    machine.stop(WITHIN).unwrap();
    let turned_away = place.refused("client_certificate");
    // The certificates of this test are for a name, and agents of a site connect to an address.
    let _machine = place.agent("machine", &["--server-name", "localhost"]);
    let started = Instant::now();
    while place.refused("client_certificate") <= turned_away {
        assert!(started.elapsed() < WITHIN, "its certificate is accepted: {}\n{}", site.log("machine.log"), site.log("collector.log"));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    place.give("machine", &place.token("renew", "machine"));
    until("the machine is back", || site.api().node_state("machine").as_deref() == Some("reporting")).await;
    let nodes = site.api().list("/api/v1/nodes?limit=100", "nodes").unwrap();
    assert_eq!(nodes.len(), usize::try_from(AGENTS).unwrap() + 1);
}

/// Renews over the old certificate: the new pair, or `None` when the collector does not take it.
async fn renewed(port: u16, ca: &str, shown: &Pair) -> Option<Pair> {
    let channel = tls::channel(port, tls::client(ca, Some(shown)).unwrap()).await.ok()?;
    let key = rcgen::KeyPair::generate().unwrap();
    let request = rcgen::CertificateParams::default().serialize_request(&key).unwrap().der().to_vec();
    let mut client = holdfast_proto::v1::enrolment_client::EnrolmentClient::new(channel);
    let answer = client.renew(holdfast_proto::v1::RenewRequest { request }).await.ok()?.into_inner();
    Some(Pair { certificate: tls::pem("CERTIFICATE", &answer.chain[0]), key: key.serialize_pem() })
}

fn block(text: &str, label: &str) -> String {
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----\n"));
    let from = text.find(&begin).unwrap();
    let to = text.rfind(&end).unwrap() + end.len();
    text[from..to].to_owned()
}

fn certificates(identity: &str) -> String {
    block(identity, "CERTIFICATE")
}

fn key(identity: &str) -> String {
    block(identity, "PRIVATE KEY")
}
