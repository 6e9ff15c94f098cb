//! TLS as the components' sockets speak it: versions, suites, certificate.
//!
//! Versions and suites are settled when a process starts: they are asked once for each process and settings. The certificate is
//! renewed while it runs: it is looked at on every pass, by one connection. Must not know what is safe.

mod examine;
mod flight;
mod hello;
mod suites;

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use holdfast_checks::facts::{Handshake, Listing, NodeFacts, Observed, ProbeOutcome, Reason, Skipped, Source, SourceKind, TlsVersion};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::abreast::abreast;
use super::stranger::Stranger;
use super::targets::{Speech, Target};
use super::wire::Visit;
use super::{AT_ONCE, Memory, Plan, now};
use crate::host::Host;
use crate::x509;
use examine::{Found, Seen, Shown, examine, show};

/// How long a certificate is taken for the one that is shown: a little less than the time between full passes.
const SHOWN_FRESH: Duration = Duration::from_mins(10);
/// After this everything is asked again, in case a process changed its mind without a restart.
const SETTLED: Duration = Duration::from_hours(6);
/// Roles of files that hold authorities.
const AUTHORITIES: [&str; 2] = ["pki_certificate", "kubelet_ca"];
const MAX_AUTHORITY_FILES: usize = 64;
const MAX_AUTHORITY_BYTES: u64 = 256 * 1024;
/// Certificates looked at for authorities: each costs a signature, and all of them have to fit behind the pass.
const MAX_AUTHORITIES: usize = 512;

/// What one listener showed.
#[derive(Debug)]
pub(super) struct Examined {
    basis: u64,
    /// When everything was asked.
    settled: Instant,
    /// When the certificate was last looked at.
    shown: Instant,
    /// By which address it was reached.
    address: SocketAddr,
    found: Found,
}

impl Examined {
    pub(super) fn is_of(&self, target: &Target) -> bool {
        self.basis == target.basis
    }

    /// As if its certificate had been looked at that much earlier.
    #[cfg(test)]
    pub(super) fn age(&mut self, by: Duration) {
        self.shown = self.shown.checked_sub(by).unwrap_or(self.shown);
    }

    /// Takes in another look at the certificate. Who does not show it any more is not known any more.
    fn renew(&mut self, shown: Result<Shown, Reason>, at: Instant) {
        self.shown = at;
        match (shown, &mut self.found) {
            (Ok(shown), Found::Tls(seen)) => seen.shown = shown,
            (Ok(_), _) => {}
            (Err(reason), found) => *found = Found::Unknown(reason),
        }
    }
}

/// What has to be done about a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Nothing,
    Certificate,
    Everything,
}

/// What came of it.
enum Asked {
    Everything(Found),
    Certificate(Result<Shown, Reason>),
}

/// The listeners that may speak TLS.
pub(super) fn wanted(plan: &Plan) -> impl Iterator<Item = &Target> {
    plan.targets.iter().filter(|target| target.speech != Speech::Plain && !plan.plain.contains(&target.address))
}

/// Addresses that answered HTTP in clear.
pub(super) fn plain(facts: &NodeFacts) -> Vec<SocketAddr> {
    let probes = facts.probes.value().into_iter().flat_map(|listing| &listing.items);
    let plain = probes.filter(|probe| probe.vantage == "node" && !probe.tls && probe.outcome == ProbeOutcome::Answered);
    plain.filter_map(|probe| Some(SocketAddr::new(probe.address.parse::<IpAddr>().ok()?, u16::try_from(probe.port).ok()?))).collect()
}

/// Files of this node that may hold the authority of a certificate.
pub(super) fn authorities(facts: &NodeFacts) -> Vec<String> {
    let files = facts.files.value().into_iter().flat_map(|listing| &listing.items);
    let paths = files.filter(|file| AUTHORITIES.contains(&file.role.as_str())).map(|file| file.path.clone());
    paths.take(MAX_AUTHORITY_FILES).collect()
}

/// Examines those listeners that are new, and looks at the certificates of the others.
pub(super) fn pass(host: &Host, plan: &Plan, memory: &mut Memory, until: Instant) -> Listing<Handshake> {
    let start = Instant::now();
    let targets: Vec<&Target> = wanted(plan).collect();
    memory.examined.retain(|address, _| targets.iter().any(|target| target.address == *address));
    let needs =
        targets.iter().map(|target| (*target, memory.examined.get(&target.address).map_or(Need::Everything, |it| need(it, target, start))));
    let due: Vec<(&Target, Need)> = needs.filter(|(_, need)| *need != Need::Nothing).collect();
    let visits: Vec<(&Target, Need, Visit)> = due.into_iter().map(|(target, need)| (target, need, memory.visit(target, until))).collect();
    let stranger = Stranger::new();
    let asked = abreast(&visits, AT_ONCE, |(_, need, visit)| {
        let mut visit = *visit;
        let asked = match need {
            Need::Certificate => Asked::Certificate(show(&mut visit, &stranger)),
            _ => Asked::Everything(examine(&mut visit, &stranger)),
        };
        (asked, visit)
    });
    let mut connections = 0;
    for ((target, _, visit), asked) in visits.iter().zip(asked) {
        let (asked, visit) = asked.unwrap_or((Asked::Everything(Found::Unknown(Reason::NotSupported)), *visit));
        connections += visit.connections;
        memory.buckets.insert(target.address, visit.bucket);
        match asked {
            Asked::Everything(found) => {
                let examined = Examined { basis: target.basis, settled: start, shown: start, address: visit.address, found };
                memory.examined.insert(target.address, examined);
            }
            Asked::Certificate(shown) => {
                if let Some(examined) = memory.examined.get_mut(&target.address) {
                    examined.renew(shown, start);
                }
            }
        }
    }
    if connections > 0 {
        tracing::debug!(listeners = visits.len(), connections, elapsed = ?start.elapsed(), "shook hands");
    }
    listing(host, plan, &targets, memory)
}

fn need(examined: &Examined, target: &Target, at: Instant) -> Need {
    let older = |than: Instant, by: Duration| at.saturating_duration_since(than) >= by;
    if !examined.is_of(target) || older(examined.settled, SETTLED) {
        return Need::Everything;
    }
    match &examined.found {
        _ if !older(examined.shown, SHOWN_FRESH) => Need::Nothing,
        Found::Tls(seen) if seen.untried.is_empty() && seen.suites_unknown.is_none() => Need::Certificate,
        Found::Plain => Need::Nothing,
        // It was cut short: once more from the start.
        Found::Tls(_) | Found::Unknown(_) => Need::Everything,
    }
}

fn listing(host: &Host, plan: &Plan, targets: &[&Target], memory: &Memory) -> Listing<Handshake> {
    let mut listing = Listing { items: Vec::new(), skipped: plan.skipped.clone() };
    let authorities = read_authorities(host, &plan.authorities);
    for target in targets {
        let skip = |reason| Skipped { what: target.address.to_string(), reason };
        match memory.examined.get(&target.address).map(|examined| (&examined.found, examined.address)) {
            Some((Found::Tls(seen), address)) => listing.items.push(fact(seen, address, &authorities)),
            Some((Found::Plain, _)) => {}
            Some((Found::Unknown(reason), _)) => listing.skipped.push(skip(*reason)),
            None => listing.skipped.push(skip(Reason::NotSupported)),
        }
    }
    listing
}

/// The authorities in those files, DER, each with its path. A file that cannot be read has none to offer.
fn read_authorities(host: &Host, paths: &[String]) -> Vec<(String, Vec<u8>)> {
    let (mut authorities, mut left) = (Vec::new(), MAX_AUTHORITIES);
    for path in paths {
        let Ok(pem) = host.root.read_capped(path, MAX_AUTHORITY_BYTES) else { continue };
        for certificate in CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok).take(left) {
            left -= 1;
            if x509::certificate(&certificate).is_ok_and(|certificate| certificate.authority || certificate.self_signed) {
                authorities.push((path.clone(), certificate.to_vec()));
            }
        }
    }
    authorities
}

fn fact(seen: &Seen, address: SocketAddr, authorities: &[(String, Vec<u8>)]) -> Handshake {
    let source = || Source::new(SourceKind::Probe, address.to_string());
    let known = |items: Vec<TlsVersion>, skipped| Observed::known(Listing { items, skipped }, source(), now());
    let versions = seen.versions.iter().map(|(version, accepted)| TlsVersion { name: version.name().to_owned(), accepted: *accepted });
    let untried = seen.untried.iter().map(|(version, reason)| Skipped { what: version.name().to_owned(), reason: *reason });
    let suites = match seen.suites_unknown {
        None => Observed::known(Listing::complete(seen.suites.iter().map(|name| (*name).to_owned()).collect()), source(), now()),
        Some(reason) => Observed::unavailable_because(reason, format!("{address}: its suites could not be listed to the end")),
    };
    let certificate = match &seen.shown.certificate {
        Some(der) => match x509::certificate(der) {
            Ok(certificate) => Observed::known(certificate, source(), now()),
            Err(error) => Observed::unavailable_because(Reason::Malformed, format!("{address}: what it shows {error}")),
        },
        None => Observed::unavailable_because(Reason::NotPresent, format!("{address}: it showed none")),
    };
    let issued_by =
        seen.shown.certificate.as_ref().and_then(|der| authorities.iter().find(|(_, authority)| x509::signed_by(der, authority)));
    Handshake {
        vantage: "node".to_owned(),
        address: address.ip().to_string(),
        port: i64::from(address.port()),
        versions: known(versions.collect(), untried.collect()),
        suites,
        certificate,
        issued_by: issued_by.map(|(path, _)| path.clone()).unwrap_or_default(),
        asks_certificate: match seen.shown.asks {
            Some(asks) => Observed::known(asks, source(), now()),
            None => Observed::unavailable_because(Reason::NotSupported, format!("{address}: no handshake came so far")),
        },
    }
}

/// A server's flight that comes in pieces of `step` bytes, and the certificate in it.
#[cfg(feature = "fuzzing")]
pub(super) fn fuzz(content: &[u8], step: usize) {
    let mut flight = flight::Flight::default();
    for piece in content.chunks(step.max(1)) {
        if flight.feed(piece).is_err() {
            return;
        }
    }
    drop(flight.certificate.map(|der| x509::certificate(&der)));
}

#[cfg(test)]
mod tests;
