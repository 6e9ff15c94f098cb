//! Machines outside a cluster: enrolled by a token, known by their certificates, renewed, and turned away when they should be.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use holdfast_proto::v1::enrolment_client::EnrolmentClient;
use holdfast_proto::v1::{EnrolRequest, Enrolled, RenewRequest};
use holdfast_tests::process::{Process, output};
use holdfast_tests::raw::Client;
use holdfast_tests::site::{Site, recorded};
use holdfast_tests::tls::{self, Pair, Purpose};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose as Usage, KeyPair};
use tonic::{Code, Status};

use crate::BINARIES;

const WITHIN: Duration = holdfast_tests::process::PATIENCE;

/// A site whose collector enrols.
pub(crate) struct Place {
    pub(crate) site: Site,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { site: Site::new(BINARIES).unwrap() }
    }

    pub(crate) fn collector(&self, extra: &[&str]) -> Process {
        let paths = ["enrolments.yaml", "tls/enrolment-ca.crt", "tls/enrolment-ca.key"].map(|name| self.site.path(name));
        let [list, certificate, key] = paths.each_ref().map(String::as_str);
        let mut all = vec!["--enrolments", list, "--enrolment-ca-cert", certificate, "--enrolment-ca-key", key];
        all.extend(extra);
        self.site.collector(&all).unwrap()
    }

    /// `add` or `renew`: a token.
    pub(crate) fn token(&self, command: &str, node: &str) -> String {
        let list = self.site.path("enrolments.yaml");
        let arguments = ["enrolment", command, "--enrolments", &list, "--name", node, "--cluster", "test"];
        let (code, token, errors) = output(Path::new(BINARIES.collector), &arguments).unwrap();
        assert_eq!(code, 0, "{errors}");
        token.trim().to_owned()
    }

    /// An agent that enrols by `NODE.enrolment`.
    pub(crate) fn agent(&self, node: &str, extra: &[&str]) -> Process {
        let (host, proc) = recorded("hardened");
        let site = &self.site;
        let (url, ca) = (format!("https://127.0.0.1:{}", site.grpc), site.path("tls/ca.crt"));
        let (identity, token) = (site.path(&format!("{node}.identity")), site.path(&format!("{node}.enrolment")));
        let spool = site.path(&format!("spool-{node}"));
        let mut all = vec!["run", "--collector", &url, "--ca", &ca, "--identity", &identity, "--enrolment-token-file", &token];
        all.extend(["--node-name", node, "--spool", &spool, "--health", "127.0.0.1:0", "--host-root", &host, "--proc", &proc]);
        all.extend(extra);
        Process::start(Path::new(BINARIES.agent), &all, Path::new(&site.path(&format!("{node}.log")))).unwrap()
    }

    /// Whole or not at all: an agent that looks in between would say that the file is empty.
    pub(crate) fn give(&self, node: &str, token: &str) {
        let (aside, file) = (self.site.path("aside.enrolment"), self.site.path(&format!("{node}.enrolment")));
        std::fs::write(&aside, token).unwrap();
        std::fs::rename(aside, file).unwrap();
    }

    pub(crate) fn identity(&self, node: &str) -> String {
        std::fs::read_to_string(self.site.path(&format!("{node}.identity/identity.pem"))).unwrap_or_default()
    }

    pub(crate) fn wait(&self, what: &str, within: Duration, done: impl FnMut(&holdfast_tests::api::Api) -> bool) {
        let waited = self.site.api().wait(what, within, done);
        waited.unwrap_or_else(|error| panic!("{error}\n{}\n{}", self.site.log("collector.log"), self.site.log("machine.log")));
    }

    pub(crate) fn is(&self, node: &'static str, state: &'static str) {
        self.wait(&format!("{node} is {state}"), WITHIN, |api| api.node_state(node).as_deref() == Some(state));
    }

    pub(crate) fn refused(&self, code: &str) -> f64 {
        self.site.api().metric(&format!("holdfast_rejections_total{{reason=\"{code}\"}}"))
    }

    fn ca(&self) -> String {
        std::fs::read_to_string(self.site.path("tls/ca.crt")).unwrap()
    }

    async fn channel(&self, shown: Option<&Pair>) -> anyhow::Result<tonic::transport::Channel> {
        tls::channel(self.site.grpc, tls::client(&self.ca(), shown).unwrap()).await
    }

    async fn enrol(&self, token: &str, request: Vec<u8>) -> Result<Enrolled, Status> {
        let mut client = EnrolmentClient::new(self.channel(None).await.unwrap());
        client.enrol(EnrolRequest { token: token.to_owned(), request }).await.map(tonic::Response::into_inner)
    }

    /// Opens a session with a certificate: the code it ends with, `Ok` for a Welcome; `Unknown` when there is no connection.
    async fn session(&self, shown: &Pair) -> Code {
        self.open(shown).await.map_or_else(|code| code, |_| Code::Ok)
    }

    /// Opens one that is there for as long as what comes back.
    async fn open(&self, shown: &Pair) -> Result<Client, Code> {
        let channel = self.channel(Some(shown)).await.map_err(|_| Code::Unknown)?;
        let mut client = Client::open(channel, None).await.map_err(|status| status.code())?;
        match client.greet("").await {
            Ok(_) => Ok(client),
            Err(error) => Err(error.downcast::<Status>().map_or(Code::Unknown, |status| status.code())),
        }
    }

    async fn renew(&self, shown: &Pair, key: &KeyPair) -> Result<Enrolled, Status> {
        let mut client = EnrolmentClient::new(self.channel(Some(shown)).await.unwrap());
        client.renew(RenewRequest { request: request(key) }).await.map(tonic::Response::into_inner)
    }
}

fn request(key: &KeyPair) -> Vec<u8> {
    CertificateParams::default().serialize_request(key).unwrap().der().to_vec()
}

fn pair(key: &KeyPair, enrolled: &Enrolled) -> Pair {
    let certificate = tls::pem("CERTIFICATE", &enrolled.chain[0]);
    Pair { certificate, key: key.serialize_pem() }
}

/// Enrols, reports, has its certificate renewed before it ends, and is the same node all along without having been away. Taken out of
/// the list, it is gone within seconds.
#[test]
fn a_machine_enrols_renews_and_stays_the_same_node_until_it_is_taken_out_of_the_list() {
    let place = Place::new();
    // 45 s, renewed after a little more than 30.
    let _collector = place.collector(&["--certificate-hours", "0.0125", "--silent-after", "15"]);
    place.give("machine", &place.token("add", "machine"));
    let run_as: &[&str] = if nix::unistd::Uid::effective().is_root() { &["--run-as", "65523"] } else { &[] };
    let _agent = place.agent("machine", run_as);
    place.is("machine", "reporting");
    let enrolled = Instant::now();
    let first = place.identity("machine");
    let directory = std::path::PathBuf::from(place.site.path("machine.identity"));
    let (file, own) = (std::fs::metadata(directory.join("identity.pem")).unwrap(), std::fs::metadata(&directory).unwrap());
    assert_eq!((file.permissions().mode() & 0o777, own.permissions().mode() & 0o777), (0o600, 0o700));
    assert!(!directory.join("request.key").exists());
    if !run_as.is_empty() {
        assert_eq!((file.uid(), own.uid()), (65523, 65523), "what is not the agent's it could not renew");
    }

    let mut states = std::collections::BTreeSet::new();
    place.wait("the certificate is renewed twice, and the first has ended", WITHIN, |api| {
        states.extend(api.node_state("machine"));
        enrolled.elapsed() > Duration::from_secs(48)
            && place.site.log("machine.log").matches("this node has a new certificate").count() >= 2
    });
    assert_eq!(states.into_iter().collect::<Vec<_>>(), ["reporting"], "nobody saw it away");
    assert_ne!(place.identity("machine"), first);
    let log = place.site.log("machine.log");
    assert!(log.contains("enrolled as machine"), "{log}");
    assert!(!log.contains("not renewed") && !log.contains("refused this node's"), "{log}");
    let nodes = place.site.api().list("/api/v1/nodes", "nodes").unwrap();
    assert_eq!(nodes.len(), 1, "{nodes:?}");
    for code in ["expired", "duplicate_agent", "unlisted_certificate", "handshake", "protocol"] {
        assert_eq!(place.refused(code), 0.0, "{code}: {}", place.site.log("collector.log"));
    }

    std::fs::write(place.site.path("enrolments.yaml"), "").unwrap();
    place.wait("the session of a machine that is not listed ends", WITHIN, |api| api.metric("holdfast_sessions") == 0.0);
    place.is("machine", "silent");
    place.wait("that is counted", WITHIN, |_| place.refused("unlisted_certificate") >= 1.0);
}

/// What a newcomer sees: nothing that looks like trouble where there is none, and where there is some, what to do.
#[test]
fn the_first_start_says_enrolled_before_any_warning_and_what_is_wrong_when_something_is() {
    let place = Place::new();
    let collector = place.collector(&[]);
    let lines = |node: &str| -> Vec<(String, String)> {
        let log = place.site.log(&format!("{node}.log"));
        let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let of_identity = lines.filter(|line| {
            let target = line["target"].as_str().unwrap_or_default();
            // How fast the disk of this machine is, is no trouble of a newcomer's.
            ["holdfast_agent::identity", "holdfast_agent::line", "holdfast_agent::connect"].iter().any(|part| target.starts_with(part))
                && target != "holdfast_agent::line::disk"
        });
        of_identity
            .map(|line| (line["level"].as_str().unwrap().to_owned(), line["fields"]["message"].as_str().unwrap().to_owned()))
            .collect()
    };
    let until = |node: &'static str, text: &'static str| {
        place.wait(&format!("{node} says {text:?}"), WITHIN, |_| lines(node).iter().any(|(_, line)| line.contains(text)));
        lines(node)
    };

    place.give("machine", &place.token("add", "machine"));
    let agent = place.agent("machine", &[]);
    let said = until("machine", "connected");
    let (first, rest) = said.split_first().unwrap();
    assert_eq!((first.0.as_str(), first.1.as_str()), ("INFO", "enrolled as machine: the certificate is renewed before it ends"));
    assert!(said.iter().all(|(level, _)| level == "INFO"), "{said:?}");
    assert!(!rest.iter().any(|(_, line)| line.contains("connecting anew")), "it was not connected before: {said:?}");
    agent.stop(WITHIN).unwrap();

    // No token: what is missing, where it belongs, and who makes it. Once.
    let without = place.agent("without", &[]);
    let said = until("without", "not enrolled");
    let (level, line) = said.first().unwrap();
    assert_eq!(level, "ERROR");
    assert!(line.contains(&place.site.path("without.enrolment")) && line.contains("holdfast-collector enrolment add"), "{line}");
    // And it is taken as soon as it is there.
    place.give("without", &place.token("add", "without"));
    let said = until("without", "connected");
    assert_eq!(said.iter().filter(|(level, _)| level != "INFO").count(), 1, "{said:?}");
    without.stop(WITHIN).unwrap();

    // Refused.
    place.give("refused", "he_nobody_made_this");
    let refused = place.agent("refused", &[]);
    let (level, line) = until("refused", "not enrolled").remove(0);
    let address = format!("127.0.0.1:{}", place.site.grpc);
    assert_eq!(level, "WARN");
    assert!(line.contains(&address) && line.contains("refused to enrol") && line.contains("enrolment renew"), "{line}");
    refused.stop(WITHIN).unwrap();

    // Not there.
    collector.stop(WITHIN).unwrap();
    place.give("alone", "he_whatever");
    let alone = place.agent("alone", &[]);
    let (level, line) = until("alone", "not enrolled").remove(0);
    assert_eq!(level, "WARN");
    assert!(line.contains(&address) && line.contains("is it running"), "{line}");
    alone.stop(WITHIN).unwrap();
}

/// Two files that name one cluster: a machine that is in both is two nodes. Said when it becomes so, with where, and once.
#[test]
fn a_cluster_that_two_files_name_is_warned_of_with_where_and_once() {
    let place = Place::new();
    place.token("add", "machine");
    let _collector = place.collector(&[]);
    let warnings = || {
        let log = place.site.log("collector.log");
        log.lines().filter(|line| line.contains("one cluster by more than one way in")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(warnings(), Vec::<String>::new());
    place.site.token("other").unwrap();
    place.wait("it is warned of", WITHIN, |_| !warnings().is_empty());
    let line = warnings().remove(0);
    for named in ["\"cluster\":\"test\"", &place.site.path("tokens.yaml"), &place.site.path("enrolments.yaml")] {
        assert!(line.contains(named), "{named}: {line}");
    }
    let read = |file: &str| place.site.log("collector.log").matches(&format!("{file} read again")).count();
    let before = read("tokens file");
    place.site.token("third").unwrap();
    place.wait("the file is read again", WITHIN, |_| read("tokens file") > before);
    holdfast_tests::process::pause(Duration::from_millis(300));
    assert_eq!(warnings().len(), 1, "nothing new");
}

/// Off for longer than its certificate held: nothing renews that. The agent says what to do, and takes the new token as it runs.
#[test]
fn a_machine_that_was_off_too_long_says_so_and_comes_back_with_a_new_token_as_the_node_it_was() {
    let place = Place::new();
    let _collector = place.collector(&["--certificate-hours", "0.005", "--silent-after", "1"]);
    let token = place.token("add", "machine");
    place.give("machine", &token);
    let agent = place.agent("machine", &[]);
    place.is("machine", "reporting");
    agent.stop(WITHIN).unwrap();
    place.is("machine", "stopped");
    // By the clock that ends it, wherever that one goes.
    let ends = SystemTime::now() + Duration::from_secs(20);
    place.wait("the certificate has ended", WITHIN, |_| SystemTime::now() > ends);

    let _agent = place.agent("machine", &[]);
    place.wait("the agent says what to do", WITHIN, |_| place.site.log("machine.log").contains("enrolment renew --name 'machine'"));
    place.is("machine", "stopped");
    let fresh = place.token("renew", "machine");
    assert_ne!(fresh, token);
    place.give("machine", &fresh);
    place.is("machine", "reporting");
    assert_eq!(place.site.api().list("/api/v1/nodes", "nodes").unwrap().len(), 1, "the same node, with its history");
    // The token before is good for nothing.
    assert_eq!(place.refused("enrolment_token"), 0.0);
}

/// One token, one key. Who comes with another key has stolen it, or the machine's own: either way somebody should look.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stolen_token_is_good_for_nothing_and_strangers_hear_the_same_whatever_is_wrong() {
    let place = Place::new();
    let _collector = place.collector(&[]);
    assert!(place.site.api().text("/metrics").unwrap().contains("holdfast_rejections_total{reason=\"enrolment_reused\"} 0"));
    let token = place.token("add", "machine");
    let (own, thief) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let enrolled = place.enrol(&token, request(&own)).await.unwrap();
    let day = enrolled.not_after_ms - enrolled.not_before_ms;
    assert_eq!(day, 86_400_000 + 300_000, "a day, from five minutes ago");
    assert_eq!(place.enrol(&token, request(&own)).await.unwrap().chain.len(), 1, "a lost answer costs nothing");

    let mut forged = request(&own);
    *forged.last_mut().unwrap() ^= 1;
    let refusals = [
        place.enrol(&token, request(&thief)).await,
        place.enrol("he_nobody", request(&thief)).await,
        place.enrol("", request(&own)).await,
        place.enrol(&token, forged).await,
        place.enrol(&token, vec![0; 5000]).await,
    ];
    let told: std::collections::BTreeSet<String> = refusals
        .into_iter()
        .map(|refusal| refusal.unwrap_err())
        .map(|status| format!("{:?} {}", status.code(), status.message()))
        .collect();
    assert_eq!(told.into_iter().collect::<Vec<_>>(), ["Unauthenticated not accepted"]);
    let counted = ["enrolment_reused", "enrolment_token", "enrolment_request"].map(|code| place.refused(code));
    assert_eq!(counted, [1.0, 2.0, 2.0], "{}", place.site.log("collector.log"));
    assert!(place.site.log("collector.log").contains("used with another key before"));

    // The machine itself is not harmed, and renews by its certificate; nobody does without one.
    let shown = pair(&own, &enrolled);
    assert_eq!(place.session(&shown).await, Code::Ok);
    let next = KeyPair::generate().unwrap();
    let renewed = place.renew(&shown, &next).await.unwrap();
    assert_ne!(renewed.chain, enrolled.chain);
    assert_eq!(place.session(&pair(&next, &renewed)).await, Code::Ok);
    let mut stranger = EnrolmentClient::new(place.channel(None).await.unwrap());
    let status = stranger.renew(RenewRequest { request: request(&next) }).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unauthenticated, "not accepted"));

    // Faster than a person or a fleet: one address has to wait, and hears that before anything is looked up. At once, each on a connection
    // of its own: one after the other waits for the file to be looked at again, and is no faster than it may be.
    let enrol = async |token: &str, request: Vec<u8>| place.enrol(token, request).await.err().map(|no| no.code());
    let exhausted = Some(Code::ResourceExhausted);
    for round in 1.. {
        let guesses = futures_util::future::join_all((0..80).map(|_| enrol("he_guess", Vec::new())));
        // Nobody learns by that whether a token is good. On a busy machine there may be room again by then.
        let good = async {
            let mut answers = Vec::new();
            for _ in 0..10 {
                answers.push(enrol(&token, request(&own)).await);
            }
            answers
        };
        let (guesses, good) = tokio::join!(guesses, good);
        if guesses.contains(&exhausted) && good.contains(&exhausted) {
            break;
        }
        assert!(round < 50, "a stranger, or a good token, is never too fast: {guesses:?} {good:?}");
    }
    assert!(place.refused("enrolment_busy") >= 1.0);
}

/// Whoever has a copy of a former certificate loses it when the machine is enrolled anew, and not when that certificate ends: the
/// session that is open, the next one, and renewals; also by a collector that was started since.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_a_former_certificate_is_refused_at_once() {
    let place = Place::new();
    let collector = place.collector(&[]);
    let (old, new) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let first = place.enrol(&place.token("add", "machine"), request(&old)).await.unwrap();
    let first = pair(&old, &first);
    let copy = pair(&old, &place.renew(&first, &old).await.unwrap());
    let mut former = place.open(&copy).await.unwrap();

    // A new token by itself takes nothing from anybody: the machine may be far from it.
    let token = place.token("renew", "machine");
    assert_eq!(place.session(&first).await, Code::Ok);
    let mut latter = place.open(&copy).await.unwrap();
    assert_eq!(former.end().await.code(), Code::Aborted);
    assert_eq!(place.refused("enrolment_replaced"), 0.0);

    let anew = pair(&new, &place.enrol(&token, request(&new)).await.unwrap());
    assert_eq!(latter.end().await.code(), Code::Unauthenticated, "and not when the certificate ends");
    place.wait("that is counted", WITHIN, |_| place.refused("enrolment_replaced") == 1.0);
    for copy in [&copy, &first] {
        assert_eq!(place.session(copy).await, Code::Unauthenticated);
        assert_eq!(place.renew(copy, &old).await.unwrap_err().code(), Code::Unauthenticated);
    }
    assert_eq!(place.refused("enrolment_replaced"), 5.0, "{}", place.site.log("collector.log"));
    assert!(place.site.log("collector.log").contains("was enrolled anew since this certificate was issued"));
    assert_eq!(place.session(&anew).await, Code::Ok);

    collector.stop(WITHIN).unwrap();
    let collector = place.collector(&[]);
    assert_eq!((place.session(&copy).await, place.session(&anew).await), (Code::Unauthenticated, Code::Ok));

    // A database that knows nobody: whoever is listed has to come in, and the first that renews is the machine.
    collector.stop(WITHIN).unwrap();
    std::fs::remove_dir_all(place.site.path("data")).unwrap();
    let _collector = place.collector(&[]);
    assert_eq!(place.session(&copy).await, Code::Ok);
    place.renew(&anew, &new).await.unwrap();
    assert_eq!((place.session(&copy).await, place.session(&anew).await), (Code::Unauthenticated, Code::Ok));
}

/// Certificates of another CA, of servers, of nobody, past their end: none opens a session, each is counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_enrolment_did_not_give_opens_no_session() {
    let place = Place::new();
    let _collector = place.collector(&[]);
    place.token("add", "machine");
    let list = std::fs::read_to_string(place.site.path("enrolments.yaml")).unwrap();
    let uid = list.split("\"uid\":\"").nth(1).unwrap().split('"').next().unwrap();
    let name = format!("spiffe://holdfast/cluster/test/node/{uid}");
    let path = |name: &str| std::path::PathBuf::from(place.site.path(name));
    let ours = Pair::read(&path("tls/enrolment-ca.crt"), &path("tls/enrolment-ca.key")).unwrap();
    let servers = Pair::read(&path("tls/ca.crt"), &path("tls/ca.key")).unwrap();
    let other = tls::authority("Holdfast enrolment CA").unwrap();
    let purpose = |uris: &[&str], usages: &[Usage]| Purpose {
        uris: uris.iter().map(|&uri| uri.to_owned()).collect(),
        usages: usages.to_vec(),
        ..Purpose::default()
    };
    let client = [Usage::ClientAuth];
    let good = purpose(&[&name], &client);
    assert_eq!(place.session(&ours.sign(&good).unwrap()).await, Code::Ok, "this form is the one that counts");

    // The handshake itself says no.
    let shaken = [
        other.sign(&good).unwrap(),
        servers.sign(&good).unwrap(),
        Pair::read(&path("tls/server.crt"), &path("tls/server.key")).unwrap(),
        ours.sign(&purpose(&[&name], &[Usage::ServerAuth])).unwrap(),
        ours.sign(&Purpose { ended: true, ..good.clone() }).unwrap(),
    ];
    for shown in &shaken {
        assert_ne!(place.session(shown).await, Code::Ok, "{}", shown.certificate);
    }
    // Counted after the other end was told.
    place.wait("each is counted", WITHIN, |_| place.refused("client_certificate") == 5.0);

    // A good chain that names no node.
    let nobody = "spiffe://holdfast/cluster/test/node/nobody";
    let named = [
        (ours.sign(&purpose(&[], &client)).unwrap(), "malformed_certificate", 1.0),
        (ours.sign(&purpose(&[&name, nobody], &client)).unwrap(), "malformed_certificate", 2.0),
        (ours.sign(&purpose(&[&name], &[])).unwrap(), "malformed_certificate", 3.0),
        (ours.sign(&purpose(&[&name], &[Usage::ClientAuth, Usage::ServerAuth])).unwrap(), "malformed_certificate", 4.0),
        (ours.sign(&purpose(&[nobody], &client)).unwrap(), "unlisted_certificate", 1.0),
    ];
    for (shown, code, count) in &named {
        assert_eq!(place.session(shown).await, Code::Unauthenticated, "{code}");
        assert_eq!(place.refused(code), *count, "{}", place.site.log("collector.log"));
    }

    // TLS 1.2, and whoever does not ask for HTTP/2.
    let ca = std::fs::read_to_string(place.site.path("tls/ca.crt")).unwrap();
    let mut silent = tls::client(&ca, None).unwrap();
    silent.alpn_protocols.clear();
    drop(tls::channel(place.site.grpc, silent).await);
    place.wait("whoever does not ask for HTTP/2 is counted", WITHIN, |_| place.refused("handshake") >= 1.0);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(servers.der().unwrap()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let old = rustls::ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS12]).unwrap();
    let mut old = old.with_root_certificates(roots).with_no_client_auth();
    old.alpn_protocols = vec![b"h2".to_vec()];
    let old = std::sync::Arc::new(old);
    assert!(tls::shake(place.site.grpc, std::sync::Arc::clone(&old)).await.is_err(), "TLS 1.2 is off by default");

    let second = Place::new();
    let _collector = second.collector(&["--allow-tls12"]);
    let mut roots = rustls::RootCertStore::empty();
    let ca = Pair::read(Path::new(&second.site.path("tls/ca.crt")), Path::new(&second.site.path("tls/ca.key"))).unwrap();
    roots.add(ca.der().unwrap()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let old = rustls::ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS12]).unwrap();
    let mut old = old.with_root_certificates(roots).with_no_client_auth();
    old.alpn_protocols = vec![b"h2".to_vec()];
    assert!(tls::shake(second.site.grpc, std::sync::Arc::new(old)).await.is_ok());
}
