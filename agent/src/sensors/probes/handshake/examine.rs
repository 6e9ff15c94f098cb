//! Asks one listener what TLS it speaks, with as few connections as that takes.
//!
//! One ordinary handshake shows the newest version, the certificate and whether it asks for one. The other versions are offered
//! alone, and the suites of the newest old one are found by offering all, striking out what was chosen, and asking again.
//! For a server that takes TLS 1.3 and `n` older suites that makes `n + 4` connections.

use std::io::{ErrorKind, Read, Write};

use holdfast_checks::facts::Reason;
use rustls::ProtocolVersion;

use super::flight::{Broken, Flight};
use super::hello::{Version, client_hello};
use super::suites::{SUITES, SUITES_13, name};
use crate::sensors::probes::request::alert;
use crate::sensors::probes::stranger::Stranger;
use crate::sensors::probes::wire::{Visit, timed_out};

/// The most rounds of finding suites. OpenSSL with everything switched on takes some forty.
const MAX_ROUNDS: usize = 60;
/// Alerts by which a server says that it does not take what was offered: `handshake_failure`, `illegal_parameter`,
/// `protocol_version`, `insufficient_security`. Others, such as `internal_error` of a kubelet that waits for its certificate, say
/// nothing about versions.
const REFUSALS: [u8; 4] = [40, 47, 70, 71];

/// What a listener showed to somebody without credentials.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Every version that could be tried, and whether it was taken.
    pub(super) versions: Vec<(Version, bool)>,
    /// Those that could not, and why.
    pub(super) untried: Vec<(Version, Reason)>,
    /// The older suites it takes; why they could not be listed to the end.
    pub(super) suites: Vec<&'static str>,
    pub(super) suites_unknown: Option<Reason>,
    pub(super) shown: Shown,
}

/// What changes while a server runs, unlike versions and suites.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Shown {
    /// The certificate it showed first, DER.
    pub(super) certificate: Option<Vec<u8>>,
    /// Does it ask for one.
    pub(super) asks: Option<bool>,
}

/// How an examination ended.
#[derive(Debug)]
pub(super) enum Found {
    /// It speaks TLS.
    Tls(Box<Seen>),
    /// It does not.
    Plain,
    /// It could not be told.
    Unknown(Reason),
}

/// How one connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Refused by an alert that says so, or hung up without a word.
    Refused,
    HungUp,
    /// An alert that says something else.
    Trouble,
    NotTls,
    Malformed,
    Failed(Reason),
}

impl From<Broken> for End {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Alert(number) if REFUSALS.contains(&number) => Self::Refused,
            Broken::Alert(0) => Self::HungUp,
            Broken::Alert(_) => Self::Trouble,
            Broken::NotTls => Self::NotTls,
            Broken::Malformed => Self::Malformed,
        }
    }
}

/// Asks everything.
pub(super) fn examine(visit: &mut Visit, stranger: &Stranger) -> Found {
    let (greeted, shown) = greet(visit, stranger);
    let mut examination = Examination { visit, seen: Seen { shown, ..Seen::default() }, speaks: false, stopped: None, first_round: None };
    match greeted {
        Ok(version) => {
            examination.speaks = true;
            examination.seen.versions.extend(version.map(|version| (version, true)));
        }
        Err(End::NotTls) => return Found::Plain,
        Err(End::Failed(reason)) => return Found::Unknown(reason),
        // It may be too old for the library; the alert alone shows that it speaks TLS.
        Err(end) => examination.speaks = matches!(end, End::Refused | End::Trouble),
    }
    examination.versions();
    examination.suites();
    match (examination.speaks, examination.stopped) {
        (true, _) => Found::Tls(Box::new(examination.seen)),
        (false, Some(reason)) => Found::Unknown(reason),
        (false, None) => Found::Plain,
    }
}

/// One ordinary handshake: the version it came to, and what was shown on the way.
pub(super) fn show(visit: &mut Visit, stranger: &Stranger) -> Result<Shown, Reason> {
    match greet(visit, stranger) {
        (Err(End::Failed(reason)), _) => Err(reason),
        (_, shown) => Ok(shown),
    }
}

fn greet(visit: &mut Visit, stranger: &Stranger) -> (Result<Option<Version>, End>, Shown) {
    let mut wire = match visit.connect() {
        Ok(wire) => wire,
        Err(why) => return (Err(End::Failed(why.reason())), Shown::default()),
    };
    let Ok((mut connection, notes)) = stranger.connection(visit.address.ip()) else {
        return (Err(End::Failed(Reason::NotSupported)), Shown::default());
    };
    let mut end = Ok(());
    while end.is_ok() && connection.is_handshaking() {
        end = connection.complete_io(&mut wire).map(drop);
    }
    if end.is_ok() {
        // So that it does not wonder. Whether that still arrives plays no part.
        connection.send_close_notify();
        drop(connection.complete_io(&mut wire));
    }
    let version = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => Some(Version::Tls13),
        Some(ProtocolVersion::TLSv1_2) => Some(Version::Tls12),
        _ => None,
    };
    let certificate = notes.certificate().map(<[u8]>::to_vec);
    let asks = if notes.asked() { Some(true) } else { end.is_ok().then_some(false) };
    let outcome = match end {
        // With TLS 1.2 the want of a certificate ends the handshake; by then everything was shown.
        Err(_) if certificate.is_some() && version.is_some() => Ok(version),
        Err(error) => Err(ending(&error)),
        Ok(()) => Ok(version),
    };
    (outcome, Shown { certificate, asks })
}

fn ending(error: &std::io::Error) -> End {
    if timed_out(error) {
        return End::Failed(Reason::TimedOut);
    }
    if let Some(description) = alert(error) {
        return Broken::Alert(u8::from(description)).into();
    }
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidMessage(_)) => End::NotTls,
        // It wants something that the library does not do: an old version, a short key.
        Some(_) => End::Malformed,
        None => End::HungUp,
    }
}

struct Examination<'a> {
    visit: &'a mut Visit,
    seen: Seen,
    /// It was seen to speak TLS.
    speaks: bool,
    /// Why nothing more is asked.
    stopped: Option<Reason>,
    /// The suite chosen when a version was offered with all suites.
    first_round: Option<(Version, &'static str)>,
}

impl Examination<'_> {
    /// Offers every version alone that was not taken yet.
    fn versions(&mut self) {
        let mut hung_up = Vec::new();
        for version in Version::ALL {
            if self.seen.versions.iter().any(|(known, _)| *known == version) {
                continue;
            }
            match self.offer(version, &offered(version)) {
                Ok(suite) => {
                    self.seen.versions.push((version, suite.is_some()));
                    if version < Version::Tls13 {
                        self.first_round = suite.map(|suite| (version, suite)).or(self.first_round);
                    }
                }
                Err(End::Refused) => {
                    self.speaks = true;
                    self.seen.versions.push((version, false));
                }
                Err(End::HungUp) => hung_up.push(version),
                Err(End::Trouble) => {
                    self.speaks = true;
                    self.seen.untried.push((version, Reason::NotSupported));
                }
                Err(End::NotTls | End::Malformed) => self.seen.untried.push((version, Reason::Malformed)),
                Err(End::Failed(reason)) => self.seen.untried.push((version, reason)),
            }
        }
        // Some servers hang up on a version they do not take. That says so only of one that takes another.
        let takes_some = self.seen.versions.iter().any(|(_, taken)| *taken);
        for version in hung_up {
            if takes_some { self.seen.versions.push((version, false)) } else { self.seen.untried.push((version, Reason::NotSupported)) }
        }
        self.seen.versions.sort_unstable();
        self.seen.untried.sort_unstable();
    }

    /// Finds the suites of the newest version before TLS 1.3 that is taken.
    fn suites(&mut self) {
        let Some((version, _)) = self.seen.versions.iter().rev().find(|(version, taken)| *taken && *version < Version::Tls13).copied()
        else {
            self.seen.suites_unknown = self.seen.untried.iter().find(|(version, _)| *version < Version::Tls13).map(|(_, reason)| *reason);
            return;
        };
        let mut left = offered(version);
        if let Some((_, suite)) = self.first_round.filter(|(of, _)| *of == version) {
            self.strike(suite, &mut left);
        }
        let unknown = loop {
            if left.is_empty() {
                break None;
            }
            if self.seen.suites.len() >= MAX_ROUNDS {
                break Some(Reason::TooLarge);
            }
            match self.offer(version, &left) {
                Ok(Some(suite)) => self.strike(suite, &mut left),
                // Another version, an alert, or hanging up: nothing more is taken.
                Ok(None) | Err(End::Refused | End::HungUp) => break None,
                Err(End::Trouble) => break Some(Reason::NotSupported),
                Err(End::NotTls | End::Malformed) => break Some(Reason::Malformed),
                Err(End::Failed(reason)) => break Some(reason),
            }
        };
        self.seen.suites_unknown = unknown;
    }

    fn strike(&mut self, suite: &'static str, left: &mut Vec<u16>) {
        left.retain(|number| name(*number) != Some(suite));
        self.seen.suites.push(suite);
    }

    /// Offers one version with these suites: the suite chosen, or `None` where another version was. After one connection that gave
    /// no answer in time none is made any more.
    fn offer(&mut self, version: Version, suites: &[u16]) -> Result<Option<&'static str>, End> {
        if let Some(reason) = self.stopped {
            return Err(End::Failed(reason));
        }
        let outcome = self.try_offer(version, suites);
        if let Err(End::Failed(reason)) = outcome {
            self.stopped = Some(reason);
        }
        outcome
    }

    fn try_offer(&mut self, version: Version, suites: &[u16]) -> Result<Option<&'static str>, End> {
        let hello = client_hello(version, suites, entropy().ok_or(End::Failed(Reason::NotSupported))?);
        let mut wire = self.visit.connect().map_err(|why| End::Failed(why.reason()))?;
        let told = |error: &std::io::Error| if timed_out(error) { End::Failed(Reason::TimedOut) } else { End::HungUp };
        wire.write_all(&hello).map_err(|error| told(&error))?;
        // The certificate is in clear before TLS 1.3: wanted where the library got none.
        let whole = self.seen.shown.certificate.is_none() && version < Version::Tls13;
        let mut flight = Flight::default();
        let mut buffer = [0; 4096];
        while !(flight.complete || flight.hello.is_some() && !whole) {
            match wire.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => flight.feed(buffer.get(..read).unwrap_or_default())?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) if flight.hello.is_some() => break,
                Err(error) => return Err(told(&error)),
            }
        }
        let hello = flight.hello.ok_or(End::HungUp)?;
        self.speaks = true;
        if hello.version != version.number() {
            return Ok(None);
        }
        if !suites.contains(&hello.suite) {
            return Err(End::Malformed);
        }
        if whole && flight.complete {
            self.seen.shown = Shown { certificate: flight.certificate, asks: Some(flight.asks) };
        }
        Ok(Some(name(hello.suite).unwrap_or_default()))
    }
}

fn offered(version: Version) -> Vec<u16> {
    if version == Version::Tls13 { SUITES_13.to_vec() } else { SUITES.iter().map(|(number, _)| *number).collect() }
}

fn entropy() -> Option<[[u8; 32]; 3]> {
    let mut entropy = [[0; 32]; 3];
    entropy.iter_mut().try_for_each(|part| getrandom::fill(part)).ok()?;
    Some(entropy)
}
