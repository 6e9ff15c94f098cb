//! `/configz`: what the kubelet itself says of its configuration, where the agent was given a token for that.
//!
//! Asked only over TLS, of a kubelet whose certificate the given CA signed for this node's name or one of its addresses: the token
//! goes to nobody else. It needs the fine-grained `nodes/configz`, never `nodes/proxy`.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use holdfast_checks::facts::{BindScope, Kubelet, NodeFacts, Observed, Reason, Source, SourceKind, Unavailable};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme, StreamOwned};
use serde_json::Value;

use super::body::status;
use super::targets::{Target, started};
use super::wire::{Bucket, Visit, timed_out};
use super::{FRESH, kubelets};
use crate::connect::own_file;
use crate::sensors::components::OWN;
use crate::sensors::config::flag;
use crate::sensors::{now, redact};

/// The longest answer that is read. A kubelet's has some five thousand bytes.
const MAX_ANSWER: usize = 256 * 1024;
const PORT: u16 = 10250;
const KUBELET_CONFIG: &str = "kubeletconfig";

/// By what the agent may ask.
#[derive(Debug, Clone)]
pub struct ConfigzOptions {
    /// File with the bearer token.
    pub token_file: PathBuf,
    /// PEM file with the CA of the kubelet's serving certificate.
    pub ca: PathBuf,
}

/// One kubelet to ask.
#[derive(Debug, Clone)]
pub(super) struct Question {
    /// Pid and start time.
    who: (i64, i64),
    /// Where it listens, if it does.
    address: Option<SocketAddr>,
    /// Names and addresses of which its certificate must have one.
    names: Vec<ServerName<'static>>,
}

/// What kubelets said, by pid and start time, and when.
pub(super) type Told = BTreeMap<(i64, i64), (Instant, Observed<Value>)>;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum ConfigzError {
    #[error("{}: cannot read it: correct --configz-token-file or --configz-ca", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{}: there is no {what} in it", path.display())]
    Empty { path: PathBuf, what: &'static str },
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
    #[error("the kubelet does not listen on its port in the host's network namespace")]
    NoListener,
    #[error("{address}: it could not be reached")]
    NoWire { address: SocketAddr, reason: Reason },
    #[error("{address}: its certificate does not verify, and so it was sent no token")]
    Untrusted {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("{address}: it gave no answer")]
    Broken {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("{address}: the answer is larger than {MAX_ANSWER} bytes")]
    TooLarge { address: SocketAddr },
    #[error("{address}: it answered {status}: allow the agent's service account to get nodes/configz")]
    Denied { address: SocketAddr, status: u16 },
    #[error("{address}: it answered {status}")]
    Refused { address: SocketAddr, status: u16 },
    #[error("{address}: what it answered is no kubelet's configuration")]
    Malformed { address: SocketAddr },
}

impl ConfigzError {
    fn unavailable(&self) -> Unavailable {
        let reason = match self {
            Self::File { source, .. } if source.kind() == ErrorKind::NotFound => Reason::NotPresent,
            Self::File { .. } | Self::Denied { .. } | Self::Untrusted { .. } => Reason::PermissionDenied,
            Self::Empty { .. } | Self::Malformed { .. } => Reason::Malformed,
            Self::NoListener => Reason::NotPresent,
            Self::NoWire { reason, .. } => *reason,
            Self::Broken { source, .. } if timed_out(source) => Reason::TimedOut,
            Self::Setup(_) | Self::Broken { .. } | Self::Refused { .. } => Reason::NotSupported,
            Self::TooLarge { .. } => Reason::TooLarge,
        };
        let detail = std::error::Error::source(self).map_or_else(|| self.to_string(), |source| format!("{self}: {source}"));
        Unavailable::new(reason, format!("configz: {detail}"))
    }
}

/// One for the node's own kubelet. Anybody may start a process that is called like one and says which node's it is.
pub(super) fn questions(facts: &NodeFacts, targets: &[Target]) -> Vec<Question> {
    let question = |kubelet: &Kubelet| {
        let port = port(kubelet);
        let address = targets.iter().find(|target| target.pid == kubelet.pid && target.address.port() == port).map(|target| target.address);
        Question { who: (kubelet.pid, started(facts, kubelet.pid)), address, names: names(facts, kubelet) }
    };
    kubelets(facts).filter(|kubelet| kubelet.subject == OWN).map(question).collect()
}

/// The port it is told to serve on.
fn port(kubelet: &Kubelet) -> u16 {
    let documents = kubelet.documents.value().into_iter().flat_map(|listing| &listing.items);
    let declared = documents.filter_map(|document| document.content.value()?.get("port")?.as_u64()).next_back();
    let given = flag(&kubelet.argv, "port").and_then(|port| port.parse().ok());
    given.or_else(|| declared.and_then(|port| u16::try_from(port).ok())).filter(|port| *port != 0).unwrap_or(PORT)
}

/// What a certificate of this node's kubelet can be for. Never a loopback address: every node has that.
fn names(facts: &NodeFacts, kubelet: &Kubelet) -> Vec<ServerName<'static>> {
    let mut names: Vec<&str> = vec![&facts.node.name];
    names.extend(flag(&kubelet.argv, "hostname-override"));
    let addresses = facts.network.value().and_then(|network| network.addresses.value()).into_iter().flat_map(|listing| &listing.items);
    names.extend(addresses.filter(|address| address.scope != BindScope::Loopback).map(|address| address.address.as_str()));
    let listeners = facts.listeners.value().into_iter().flat_map(|listing| &listing.items);
    let own = listeners.filter(|listener| listener.owner.value().is_some_and(|owner| owner.pid == kubelet.pid));
    names.extend(
        own.filter(|listener| matches!(listener.scope, BindScope::Node | BindScope::Public)).map(|listener| listener.address.as_str()),
    );
    names.retain(|name| name.parse::<IpAddr>().map_or(*name != "localhost", |address| !address.to_canonical().is_loopback()));
    names.into_iter().filter_map(|name| ServerName::try_from(name.to_owned()).ok()).collect()
}

/// Asks those that were not asked within the last minute, and forgets those that are gone.
pub(super) fn pass(options: &ConfigzOptions, questions: &[Question], mut told: Told, until: Instant) -> Told {
    told.retain(|who, _| questions.iter().any(|question| question.who == *who));
    for question in questions {
        let start = Instant::now();
        if told.get(&question.who).is_some_and(|(asked, _)| start.duration_since(*asked) < FRESH) {
            continue;
        }
        let answer = ask(options, question, until).unwrap_or_else(|error| Observed::Unavailable(error.unavailable()));
        told.insert(question.who, (start, answer));
    }
    told
}

fn ask(options: &ConfigzOptions, question: &Question, until: Instant) -> Result<Observed<Value>, ConfigzError> {
    let address = question.address.ok_or(ConfigzError::NoListener)?;
    let token = token(&options.token_file)?;
    let config = client_config(&options.ca, &question.names)?;
    let mut visit = Visit::new(address, Bucket::full(Instant::now()), until);
    let mut wire = visit.connect().map_err(|why| ConfigzError::NoWire { address, reason: why.reason() })?;
    let mut connection = ClientConnection::new(config, ServerName::IpAddress(address.ip().into())).map_err(ConfigzError::Setup)?;
    while connection.is_handshaking() {
        connection.complete_io(&mut wire).map_err(|source| match source.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(rustls::Error::InvalidCertificate(_)) => ConfigzError::Untrusted { address, source },
            _ => ConfigzError::Broken { address, source },
        })?;
    }
    // The handshake is over and the certificate was verified: only now the token is sent. HTTP/1.0, so that the answer comes in one
    // piece and ends with the connection.
    let mut stream = StreamOwned::new(connection, wire);
    let request = format!(
        "GET /configz HTTP/1.0\r\nHost: {address}\r\nUser-Agent: holdfast\r\nAccept: application/json\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    let broken = |source| ConfigzError::Broken { address, source };
    stream.write_all(request.as_bytes()).and_then(|()| stream.flush()).map_err(broken)?;
    let mut answer = Vec::new();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => answer.extend_from_slice(buffer.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(source) => return Err(broken(source)),
        }
        if answer.len() > MAX_ANSWER {
            return Err(ConfigzError::TooLarge { address });
        }
    }
    let config = parse(&answer, address)?;
    Ok(Observed::known(config, Source::new(SourceKind::Probe, format!("https://{address}/configz")), now()))
}

fn parse(answer: &[u8], address: SocketAddr) -> Result<Value, ConfigzError> {
    match status(answer) {
        Some(200) => {}
        Some(status @ (401 | 403)) => return Err(ConfigzError::Denied { address, status }),
        Some(status) => return Err(ConfigzError::Refused { address, status }),
        None => return Err(ConfigzError::Malformed { address }),
    }
    let body = answer.windows(4).position(|window| window == b"\r\n\r\n").and_then(|end| answer.get(end + 4..));
    let document: Option<Value> = body.and_then(|body| serde_json::from_slice(body).ok());
    match document {
        Some(Value::Object(mut members)) => match members.remove(KUBELET_CONFIG) {
            Some(config @ Value::Object(_)) => Ok(redact::document(config)),
            _ => Err(ConfigzError::Malformed { address }),
        },
        _ => Err(ConfigzError::Malformed { address }),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ConfigzError> {
    own_file(path).map_err(|source| ConfigzError::File { path: path.to_owned(), source })
}

/// One line of printable characters: it becomes part of a header.
fn token(path: &Path) -> Result<String, ConfigzError> {
    let text = String::from_utf8(read(path)?).unwrap_or_default();
    let token = text.trim();
    if token.is_empty() || !token.chars().all(|letter| letter.is_ascii_graphic()) {
        return Err(ConfigzError::Empty { path: path.to_owned(), what: "token" });
    }
    Ok(token.to_owned())
}

fn client_config(ca: &Path, names: &[ServerName<'static>]) -> Result<Arc<ClientConfig>, ConfigzError> {
    let pem = read(ca)?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok) {
        // A bundle may hold one that this build cannot use; the count decides.
        drop(roots.add(certificate));
    }
    let empty = || ConfigzError::Empty { path: ca.to_owned(), what: "certificate" };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let verifier = Arc::new(OneOf { inner: builder.build().map_err(|_| empty())?, names: names.to_vec() });
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(ConfigzError::Setup)?;
    let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    // A resumed session would skip looking at the certificate.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

/// The library's verification in full, for any one of several names: the node is asked on loopback, which no certificate names.
#[derive(Debug)]
struct OneOf {
    inner: Arc<WebPkiServerVerifier>,
    names: Vec<ServerName<'static>>,
}

impl ServerCertVerifier for OneOf {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let mut refused = rustls::Error::InvalidCertificate(rustls::CertificateError::NotValidForName);
        for name in &self.names {
            match self.inner.verify_server_cert(end_entity, intermediates, name, ocsp_response, now) {
                Ok(verified) => return Ok(verified),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// An answer of a kubelet.
#[cfg(feature = "fuzzing")]
pub(super) fn fuzz(answer: &[u8]) {
    drop(parse(answer, SocketAddr::from(([127, 0, 0, 1], 10250))));
}

#[cfg(test)]
mod tests;
