//! One HTTP/1.1 GET over TCP or TLS, without credentials and without trust, and what it meets.

use std::io::{ErrorKind, Read, Write};

use holdfast_checks::facts::{ProbeOutcome, Reason};
use rustls::{AlertDescription, StreamOwned};

use super::body::{classify, status, wants_tls};
use super::stranger::{Notes, Stranger};
use super::wire::{NoWire, Visit, Wire, timed_out};

/// Read of an answer, then dropped.
const BODY_CAP: usize = 4096;

/// What a request met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Met {
    pub(super) outcome: ProbeOutcome,
    /// 0 without an answer.
    pub(super) status: u16,
    pub(super) body: &'static str,
}

impl From<ProbeOutcome> for Met {
    fn from(outcome: ProbeOutcome) -> Self {
        Self { outcome, status: 0, body: "" }
    }
}

/// What a GET of `path` meets; or why it was not made.
pub(super) fn get(visit: &mut Visit, stranger: &Stranger, tls: bool, path: &str) -> Result<Met, Reason> {
    let wire = match visit.connect() {
        Ok(wire) => wire,
        Err(NoWire::Refused) => return Ok(ProbeOutcome::Refused.into()),
        Err(NoWire::Unreachable) => return Ok(ProbeOutcome::Unreachable.into()),
        Err(NoWire::TimedOut) => return Ok(ProbeOutcome::TimedOut.into()),
        Err(why) => return Err(why.reason()),
    };
    let address = visit.address;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: holdfast\r\nAccept: */*\r\nConnection: close\r\n\r\n");
    let answer = if tls { over_tls(wire, stranger, visit, &request)? } else { in_clear(wire, &request) };
    Ok(match answer {
        Err(outcome) => outcome.into(),
        Ok(answer) if !tls && wants_tls(&answer) => ProbeOutcome::NotHttp.into(),
        Ok(answer) => match status(&answer) {
            Some(status) => Met { outcome: ProbeOutcome::Answered, status, body: classify(&answer) },
            None => ProbeOutcome::NotHttp.into(),
        },
    })
}

fn in_clear(mut wire: Wire, request: &str) -> Result<Vec<u8>, ProbeOutcome> {
    exchange(&mut wire, request).map_err(|error| if timed_out(&error) { ProbeOutcome::TimedOut } else { ProbeOutcome::NotHttp })
}

fn over_tls(mut wire: Wire, stranger: &Stranger, visit: &Visit, request: &str) -> Result<Result<Vec<u8>, ProbeOutcome>, Reason> {
    let (mut connection, notes) = stranger.connection(visit.address.ip()).map_err(|_| Reason::NotSupported)?;
    while connection.is_handshaking() {
        if let Err(error) = connection.complete_io(&mut wire) {
            return Ok(Err(refusal(&error, &notes, ProbeOutcome::TlsRefused)));
        }
    }
    let mut stream = StreamOwned::new(connection, wire);
    Ok(exchange(&mut stream, request).map_err(|error| refusal(&error, &notes, ProbeOutcome::NotHttp)))
}

/// What an error under TLS means. With TLS 1.3 the alert for want of a client certificate comes after the handshake, with older
/// versions at its end, and then under less telling names.
fn refusal(error: &std::io::Error, notes: &Notes, otherwise: ProbeOutcome) -> ProbeOutcome {
    if timed_out(error) {
        return ProbeOutcome::TimedOut;
    }
    match alert(error) {
        Some(AlertDescription::CertificateRequired) => ProbeOutcome::CertificateRequired,
        Some(
            AlertDescription::BadCertificate
            | AlertDescription::HandshakeFailure
            | AlertDescription::CertificateUnknown
            | AlertDescription::AccessDenied,
        ) if notes.asked() => ProbeOutcome::CertificateRequired,
        Some(_) => ProbeOutcome::TlsRefused,
        None => otherwise,
    }
}

/// The alert behind an error.
pub(super) fn alert(error: &std::io::Error) -> Option<AlertDescription> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(description) => Some(*description),
        _ => None,
    }
}

/// Sends the request, reads at most [`BODY_CAP`] bytes. An answer that breaks off counts as far as it came.
fn exchange(stream: &mut (impl Read + Write), request: &str) -> std::io::Result<Vec<u8>> {
    // Who hangs up on the request has often said why: that is read below.
    if let Err(error) = stream.write_all(request.as_bytes()).and_then(|()| stream.flush())
        && timed_out(&error)
    {
        return Err(error);
    }
    let mut answer = Vec::new();
    let mut buffer = [0; 1024];
    while answer.len() < BODY_CAP {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => answer.extend_from_slice(buffer.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if timed_out(&error) && unfinished(&answer) => return Err(error),
            Err(_) if !answer.is_empty() => break,
            // Hung up without a word.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error),
        }
    }
    Ok(answer)
}

/// Could it still become HTTP: nothing else was said, and no status.
fn unfinished(answer: &[u8]) -> bool {
    status(answer).is_none() && answer.iter().zip(b"HTTP/").all(|(said, expected)| said == expected)
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    use super::super::wire::{Bucket, DEADLINE};
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

    fn get(address: SocketAddr, tls: bool) -> Met {
        let now = Instant::now();
        let mut visit = Visit::new(address, Bucket::full(now), now + Duration::from_secs(10));
        super::get(&mut visit, &Stranger::new(), tls, "/pods").unwrap()
    }

    #[test]
    fn an_answer_has_its_status_and_its_body_is_not_kept() {
        let forbidden = server(|stream| {
            // The reader stops at its cap: the rest may not be wanted any more.
            drop(stream.write_all(&[b"HTTP/1.1 403 Forbidden\r\n\r\n".as_slice(), &[b'x'; 10_000]].concat()));
        });
        assert_eq!(get(forbidden, false), Met { outcome: ProbeOutcome::Answered, status: 403, body: "text" });
    }

    #[test]
    fn what_is_not_http_is_said_to_be_so() {
        let not_http = Met::from(ProbeOutcome::NotHttp);
        assert_eq!(get(server(|stream| stream.write_all(b"SSH-2.0-x\r\n").unwrap()), false), not_http);
        assert_eq!(get(server(|_| ()), false), not_http, "an empty reply");
        assert_eq!(get(server(|stream| stream.write_all(b"HTTP/1.1 99999 x\r\n").unwrap()), false), not_http);
        let alert = [21, 3, 1, 0, 2, 2, 10];
        assert_eq!(get(server(move |stream| stream.write_all(&alert).unwrap()), false), not_http, "TLS, asked in clear");
        let go = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
        assert_eq!(get(server(move |stream| stream.write_all(go).unwrap()), false), not_http, "TLS of Go, asked in clear");
    }

    #[test]
    fn tls_is_refused_by_who_does_not_speak_it() {
        let plain = server(|stream| stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n").unwrap());
        assert_eq!(get(plain, true), ProbeOutcome::TlsRefused.into());
    }

    #[test]
    fn a_closed_port_refuses() {
        // Taken, and nobody listens: nobody else can come to do so.
        let held = tokio::net::TcpSocket::new_v4().unwrap();
        held.bind(([127, 0, 0, 1], 0).into()).unwrap();
        assert_eq!(get(held.local_addr().unwrap(), false), ProbeOutcome::Refused.into());
    }

    #[test]
    fn who_never_answers_is_left_in_time() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let started = Instant::now();
        assert_eq!(get(listener.local_addr().unwrap(), true), ProbeOutcome::TimedOut.into());
        assert!(started.elapsed() < DEADLINE * 30, "{:?}", started.elapsed());
    }

    #[test]
    fn who_answers_without_end_is_left_at_the_cap_and_who_drips_in_time() {
        let endless = server(|stream| {
            let more = [b'x'; 1000];
            let mut all = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n# HELP x\n");
            while all.is_ok() {
                all = stream.write_all(&more);
            }
        });
        assert_eq!(get(endless, false), Met { outcome: ProbeOutcome::Answered, status: 200, body: "metrics" });
        let dripping = server(|stream| {
            let pause = Duration::from_millis(100);
            let mut all = stream.write_all(b"HTTP/1.1 ");
            while all.is_ok() {
                all = stream.write_all(b" ");
                std::thread::park_timeout(pause);
            }
        });
        let started = Instant::now();
        assert_eq!(get(dripping, false), ProbeOutcome::TimedOut.into());
        assert!(started.elapsed() < DEADLINE * 20, "{:?}", started.elapsed());
    }
}
