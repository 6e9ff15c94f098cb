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
            Ok(stream) => Timed { stream, until },
            Err(error) if timed_out(&error) => return (ProbeOutcome::TimedOut, 0),
            Err(_) => return (ProbeOutcome::Refused, 0),
        };
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: holdfast\r\nAccept: */*\r\nConnection: close\r\n\r\n");
        let answer = if tls { self.over_tls(stream, address, &request) } else { exchange(stream, &request) };
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

    fn over_tls(&self, stream: Timed, address: SocketAddr, request: &str) -> std::io::Result<Vec<u8>> {
        let config = self.tls.clone().ok_or(ErrorKind::Unsupported)?;
        let connection = ClientConnection::new(config, ServerName::IpAddress(address.ip().into())).map_err(std::io::Error::other)?;
        exchange(StreamOwned::new(connection, stream), request)
    }
}

/// A connection on which nothing happens after a point in time, however slowly the other side drips.
struct Timed {
    stream: TcpStream,
    until: Instant,
}

impl Timed {
    fn left(&self) -> std::io::Result<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        self.stream.read(buffer)
    }
}

impl Write for Timed {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write(buffer)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.stream.flush()
    }
}

fn timed_out(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock)
}

/// Sends the request, reads at most [`BODY_CAP`] bytes. An answer that breaks off counts as far as it came.
fn exchange(mut stream: impl Read + Write, request: &str) -> std::io::Result<Vec<u8>> {
    stream.write_all(request.as_bytes())?;
    stream.flush()?;
    let mut answer = Vec::new();
    let mut buffer = [0; 1024];
    while answer.len() < BODY_CAP {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => answer.extend_from_slice(buffer.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) if !answer.is_empty() => break,
            Err(error) => return Err(error),
        }
    }
    Ok(answer)
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

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A server for one connection; `serve` gets it after the first bytes of the request.
    fn server(serve: impl FnOnce(&mut TcpStream) + Send + 'static) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            assert!(stream.read(&mut request).unwrap() > 0);
            serve(&mut stream);
        });
        address
    }

    fn get(address: SocketAddr, tls: bool) -> (ProbeOutcome, u16) {
        Client::new().get(address, tls, "/pods")
    }

    #[test]
    fn an_answer_has_its_status_and_its_body_is_not_kept() {
        let forbidden = server(|stream| {
            // The reader stops at its cap: the rest may not be wanted any more.
            drop(stream.write_all(&[b"HTTP/1.1 403 Forbidden\r\n\r\n".as_slice(), &[b'x'; 10_000]].concat()));
        });
        assert_eq!(get(forbidden, false), (ProbeOutcome::Answered, 403));
    }

    #[test]
    fn what_is_not_http_is_said_to_be_so() {
        assert_eq!(get(server(|stream| stream.write_all(b"SSH-2.0-x\r\n").unwrap()), false), (ProbeOutcome::NotHttp, 0));
        assert_eq!(get(server(|_| ()), false), (ProbeOutcome::NotHttp, 0));
        assert_eq!(get(server(|stream| stream.write_all(b"HTTP/1.1 99999 x\r\n").unwrap()), false), (ProbeOutcome::NotHttp, 0));
    }

    #[test]
    fn tls_is_refused_by_who_does_not_speak_it() {
        assert_eq!(
            get(server(|stream| stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n").unwrap()), true),
            (ProbeOutcome::TlsRefused, 0)
        );
    }

    #[test]
    fn a_closed_port_refuses() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert_eq!(get(address, false), (ProbeOutcome::Refused, 0));
    }

    #[test]
    fn who_never_answers_is_left_in_time() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let started = Instant::now();
        assert_eq!(get(listener.local_addr().unwrap(), true), (ProbeOutcome::TimedOut, 0));
        assert!(started.elapsed() < DEADLINE * 3, "{:?}", started.elapsed());
    }
}
