//! One HTTP/1.1 GET, over TCP or TLS, without credentials and without trust.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_checks::facts::ProbeOutcome;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

/// A whole request, from connecting to the last byte read.
const DEADLINE: Duration = Duration::from_secs(2);
/// Read of an answer, then dropped.
const BODY_CAP: usize = 4096;

/// Makes requests.
pub(super) struct Client {
    tls: Option<Arc<ClientConfig>>,
}

impl Client {
    pub(super) fn new() -> Self {
        let provider: Arc<CryptoProvider> = Arc::new(aws_lc_rs::default_provider());
        let verifier = Arc::new(Anyone(provider.signature_verification_algorithms));
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let tls = config.map(|config| config.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth());
        Self { tls: tls.ok().map(Arc::new) }
    }

    /// What a GET of `path` meets, and the HTTP status (0 without one).
    pub(super) fn get(&self, address: SocketAddr, tls: bool, path: &str) -> (ProbeOutcome, u16) {
        let until = Instant::now() + DEADLINE;
        let stream = match TcpStream::connect_timeout(&address, DEADLINE) {
            Ok(stream) => stream,
            Err(error) if timed_out(&error) => return (ProbeOutcome::TimedOut, 0),
            Err(_) => return (ProbeOutcome::Refused, 0),
        };
        let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        if stream.set_read_timeout(Some(left)).is_err() || stream.set_write_timeout(Some(left)).is_err() {
            return (ProbeOutcome::TimedOut, 0);
        }
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: holdfast\r\nAccept: */*\r\nConnection: close\r\n\r\n");
        let answer = if tls { self.over_tls(stream, address, &request, until) } else { exchange(stream, &request, until) };
        match answer {
            Ok(head) => match status(&head) {
                Some(status) => (ProbeOutcome::Answered, status),
                None => (ProbeOutcome::NotHttp, 0),
            },
            Err(error) if timed_out(&error) => (ProbeOutcome::TimedOut, 0),
            // An alert may come after the handshake: with TLS 1.3 that is how a client certificate is demanded.
            Err(_) if tls => (ProbeOutcome::TlsRefused, 0),
            Err(_) => (ProbeOutcome::NotHttp, 0),
        }
    }

    fn over_tls(&self, stream: TcpStream, address: SocketAddr, request: &str, until: Instant) -> std::io::Result<Vec<u8>> {
        let config = self.tls.clone().ok_or(ErrorKind::Unsupported)?;
        let connection = ClientConnection::new(config, ServerName::IpAddress(address.ip().into())).map_err(std::io::Error::other)?;
        exchange(StreamOwned::new(connection, stream), request, until)
    }
}

fn timed_out(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock)
}

/// Sends the request, reads at most [`BODY_CAP`] bytes. An end without a close is an end.
fn exchange(mut stream: impl Read + Write, request: &str, until: Instant) -> std::io::Result<Vec<u8>> {
    stream.write_all(request.as_bytes())?;
    stream.flush()?;
    let mut answer = Vec::new();
    let mut buffer = [0; 1024];
    while answer.len() < BODY_CAP {
        if Instant::now() >= until {
            break;
        }
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => answer.extend_from_slice(buffer.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) if !answer.is_empty() => break,
            Err(error) => return Err(error),
        }
    }
    if answer.is_empty() && Instant::now() >= until { Err(ErrorKind::TimedOut.into()) } else { Ok(answer) }
}

/// The status of `HTTP/1.1 401 Unauthorized`.
fn status(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|byte| *byte == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?;
    line.strip_prefix("HTTP/")?.split(' ').nth(1)?.trim().parse().ok().filter(|status| (100..600).contains(status))
}

/// Takes any certificate: the question is what the port answers to a stranger, and nothing secret is sent.
#[derive(Debug)]
struct Anyone(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
