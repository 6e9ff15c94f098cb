//! Active, unauthenticated requests from the node to the sockets of its own components: HTTP here, TLS handshakes in
//! [`handshake`], and, only where it is configured, the kubelet's own word about its configuration in [`configz`].
//!
//! Nothing is asked that no component of this node listens on in the host's network namespace. A few listeners at a time, each
//! by one connection after another, each within two seconds; what was answered holds for a minute, or until the process behind
//! the socket, its command line or its documents change. Must not know what an answer means for a check.

mod abreast;
mod body;
mod configz;
mod handshake;
mod request;
mod stranger;
mod targets;
mod wire;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use holdfast_checks::facts::{
    Handshake, Kubelet, Listing, NodeFacts, Observed, Probe, ProbeOutcome, Reason, Skipped, Source, SourceKind, Unavailable,
};

use super::components::OWN;
use super::now;
use crate::host::{Host, RECORDING_FILE, RecordedProbe, Recording};
pub use configz::ConfigzOptions;
use request::Met;
use stranger::Stranger;
use targets::{Speech, Target};
use wire::{Bucket, Visit};

/// How long an answer holds.
const FRESH: Duration = Duration::from_mins(1);
/// Within this a pass ends, and so before its sensor's deadline.
const PASS: Duration = Duration::from_secs(7);
/// The most listeners that are asked at the same time.
const AT_ONCE: usize = 8;

/// What is kept from pass to pass.
#[derive(Debug, Default)]
pub(super) struct Memory {
    buckets: HashMap<SocketAddr, Bucket>,
    answers: HashMap<SocketAddr, Answers>,
    examined: HashMap<SocketAddr, handshake::Examined>,
    /// By pid and start time.
    configz: BTreeMap<(i64, i64), (Instant, Observed<serde_json::Value>)>,
}

/// What one listener answered.
#[derive(Debug, Clone)]
struct Answers {
    basis: u64,
    asked: Instant,
    /// Unix milliseconds.
    at: i64,
    items: Vec<Probe>,
    skipped: Vec<Skipped>,
}

/// What is to be asked, as the facts have it.
#[derive(Debug)]
pub(super) struct Plan {
    targets: Vec<Target>,
    skipped: Vec<Skipped>,
    configz: Option<(ConfigzOptions, Vec<configz::Question>)>,
    /// Paths of files with authorities.
    authorities: Vec<String>,
    /// Listeners that answered in clear.
    plain: Vec<SocketAddr>,
}

impl Plan {
    pub(super) fn new(facts: &NodeFacts, configz: Option<&ConfigzOptions>) -> Self {
        let (targets, skipped) = targets::targets(facts);
        let questions = |options: &ConfigzOptions| (options.clone(), configz::questions(facts, &targets));
        Self {
            configz: configz.map(questions),
            authorities: handshake::authorities(facts),
            plain: handshake::plain(facts),
            skipped,
            targets,
        }
    }
}

impl Memory {
    /// Would [`handshakes`] find out more than the facts have.
    pub(super) fn outdated(&self, plan: &Plan) -> bool {
        let wanted: Vec<&Target> = handshake::wanted(plan).collect();
        wanted.len() != self.examined.len()
            || wanted.iter().any(|target| self.examined.get(&target.address).is_none_or(|examined| !examined.is_of(target)))
    }

    /// Puts into the kubelets what they said of themselves; elsewhere why they did not.
    pub(super) fn tell(&self, facts: &mut NodeFacts, configured: bool) {
        let starts: Vec<i64> = kubelets(facts).map(|kubelet| targets::started(facts, kubelet.pid)).collect();
        let Some(listing) = facts.kubelets.value_mut() else { return };
        for (kubelet, start) in listing.items.iter_mut().zip(starts) {
            let detail = if configured && kubelet.subject != OWN {
                "only the node's own kubelet is asked"
            } else if configured {
                "it was not asked yet"
            } else {
                "the agent is not to ask it: --configz-token-file and --configz-ca allow that"
            };
            let told = self.configz.get(&(kubelet.pid, start)).map(|(_, told)| told.clone());
            kubelet.configz = told.unwrap_or_else(|| Observed::unavailable_because(Reason::NotSupported, detail));
        }
    }

    fn visit(&mut self, target: &Target, until: Instant) -> Visit {
        let bucket = self.buckets.get(&target.address).copied().unwrap_or_else(|| Bucket::full(Instant::now()));
        Visit { otherwise: target.otherwise, ..Visit::new(target.address, bucket, until) }
    }

    /// Forgets what nobody listens on any more.
    fn keep(&mut self, targets: &[Target]) {
        let there = |address: &SocketAddr| targets.iter().any(|target| target.address == *address);
        self.answers.retain(|address, _| there(address));
        // Their buckets stay a while: whoever opens and closes a socket all the time is not asked all the time.
        if self.buckets.len() > 256 {
            self.buckets.retain(|address, _| there(address));
        }
    }
}

fn kubelets(facts: &NodeFacts) -> impl Iterator<Item = &Kubelet> {
    facts.kubelets.value().into_iter().flat_map(|listing| &listing.items)
}

/// Why nothing may be sent; what a recording gives instead.
fn instead<T>(host: &Host, probe: bool, what: &str, recorded: impl FnOnce(&Recording) -> Option<Vec<T>>) -> Option<Observed<Listing<T>>> {
    let why = if !probe {
        "probing is switched off".to_owned()
    } else if !host.live() {
        match host.recording.as_ref().and_then(|recording| recorded(recording)) {
            Some(items) => {
                return Some(Observed::known(Listing::complete(items), Source::new(SourceKind::Recorded, RECORDING_FILE), now()));
            }
            None => format!("the tree gives no {what}"),
        }
    } else if host.proc.network("self").zip(host.proc.network("1")).is_some_and(|(own, host)| own != host) {
        "the agent has a network namespace of its own, where other sockets listen: run it with hostNetwork".to_owned()
    } else {
        return None;
    };
    Some(Observed::Unavailable(Unavailable::new(Reason::NotSupported, why)))
}

/// The answers: a recording's, or those of this node now.
pub(super) fn read(host: &Host, probe: bool, plan: &Plan, memory: &mut Memory) -> Observed<Listing<Probe>> {
    if let Some(instead) = instead(host, probe, "probe answers", |recording| Some(recording.probes.as_ref()?.iter().map(fact).collect())) {
        return instead;
    }
    memory.keep(&plan.targets);
    let until = Instant::now() + PASS;
    let (listing, at) = ask(plan, memory, until);
    // Last: it is an extra, and a kubelet that never answers must not cost the others their turn.
    if let Some((options, questions)) = &plan.configz {
        memory.configz = configz::pass(options, questions, std::mem::take(&mut memory.configz), until);
    }
    Observed::known(listing, Source::new(SourceKind::Probe, "this node"), at)
}

/// One request beyond this node, as `peers` makes them: without credentials and without trust. With the HTTP status, 0 without an
/// answer. `None`: the kernel would not even try.
pub(crate) fn ask_stranger(address: SocketAddr, tls: bool, path: &str) -> Option<(ProbeOutcome, u16)> {
    let now = Instant::now();
    let mut visit = Visit::new(address, Bucket::full(now), now + PASS);
    request::get(&mut visit, &Stranger::new(), tls, path).ok().map(|met| (met.outcome, met.status))
}

/// TLS as the listeners speak it: a recording's, or that of this node now.
pub(super) fn handshakes(host: &Host, probe: bool, plan: &Plan, memory: &mut Memory) -> Observed<Listing<Handshake>> {
    if let Some(instead) = instead(host, probe, "TLS handshakes", |recording| recording.handshakes.clone()) {
        return instead;
    }
    let listing = handshake::pass(host, plan, memory, Instant::now() + PASS);
    Observed::known(listing, Source::new(SourceKind::Probe, "this node"), now())
}

/// Asks those whose answers do not hold any more. With the time of the oldest answer.
fn ask(plan: &Plan, memory: &mut Memory, until: Instant) -> (Listing<Probe>, i64) {
    let start = Instant::now();
    let holds = |target: &Target| {
        let answers = memory.answers.get(&target.address);
        answers.is_some_and(|answers| answers.basis == target.basis && start.duration_since(answers.asked) < FRESH)
    };
    let stale: Vec<&Target> = plan.targets.iter().filter(|target| !holds(target)).collect();
    let visits: Vec<(&Target, Visit)> = stale.into_iter().map(|target| (target, memory.visit(target, until))).collect();
    let stranger = Stranger::new();
    let asked = abreast::abreast(&visits, AT_ONCE, |(target, visit)| {
        let mut visit = *visit;
        let answers = ask_one(target, &mut visit, &stranger);
        (answers, visit)
    });
    let mut connections = 0;
    for ((target, _), asked) in visits.iter().zip(asked) {
        if let Some((answers, visit)) = asked {
            connections += visit.connections;
            memory.buckets.insert(target.address, visit.bucket);
            memory.answers.insert(target.address, answers);
        } else {
            memory.answers.remove(&target.address);
        }
    }
    if connections > 0 {
        tracing::debug!(listeners = visits.len(), connections, elapsed = ?start.elapsed(), "probed");
    }
    let mut listing = Listing { items: Vec::new(), skipped: plan.skipped.clone() };
    let mut at = now();
    for target in &plan.targets {
        match memory.answers.get(&target.address) {
            Some(answers) => {
                at = at.min(answers.at);
                listing.items.extend(answers.items.iter().cloned());
                listing.skipped.extend(answers.skipped.iter().cloned());
            }
            None => listing.skipped.push(Skipped { what: target.address.to_string(), reason: Reason::NotSupported }),
        }
    }
    (listing, at)
}

/// Asks one listener for everything. Who does not answer once is not asked for the rest.
fn ask_one(target: &Target, visit: &mut Visit, stranger: &Stranger) -> Answers {
    let mut answers = Answers { basis: target.basis, asked: Instant::now(), at: now(), items: Vec::new(), skipped: Vec::new() };
    let mut tls = target.speech != Speech::Plain;
    let mut silent = false;
    for path in target.paths {
        let mut met = if silent { Err(Reason::TimedOut) } else { request::get(visit, stranger, tls, path) };
        if target.speech == Speech::Either && tls && met.is_ok_and(|met| met.outcome == ProbeOutcome::TlsRefused) {
            let plain = request::get(visit, stranger, false, path);
            if plain.is_ok_and(|plain| plain.outcome == ProbeOutcome::Answered) {
                (tls, met) = (false, plain);
            } else if let Ok(plain) = plain {
                answers.items.push(probe(visit, false, path, plain));
            }
        }
        match met {
            Ok(met) => {
                silent = met.outcome == ProbeOutcome::TimedOut;
                answers.items.push(probe(visit, tls, path, met));
            }
            Err(reason) => answers.skipped.push(Skipped { what: format!("{}{path}", target.address), reason }),
        }
    }
    answers
}

fn probe(visit: &Visit, tls: bool, path: &str, met: Met) -> Probe {
    Probe {
        vantage: "node".to_owned(),
        address: visit.address.ip().to_string(),
        port: i64::from(visit.address.port()),
        path: path.to_owned(),
        tls,
        outcome: met.outcome,
        status: i64::from(met.status),
        body: met.body.to_owned(),
    }
}

fn fact(recorded: &RecordedProbe) -> Probe {
    let outcome = recorded.outcome.unwrap_or(if recorded.status == 0 { ProbeOutcome::NotHttp } else { ProbeOutcome::Answered });
    Probe {
        vantage: "node".to_owned(),
        address: recorded.address.clone(),
        port: i64::from(recorded.port),
        path: recorded.path.clone(),
        tls: recorded.tls,
        outcome,
        status: i64::from(recorded.status),
        body: recorded.body.clone(),
    }
}

/// What a listener answers, over HTTP and in a handshake, fed in pieces of `step` bytes.
#[cfg(feature = "fuzzing")]
pub(super) fn fuzz(content: &[u8], step: usize) {
    std::hint::black_box((body::status(content), body::wants_tls(content), body::classify(content)));
    configz::fuzz(content);
    handshake::fuzz(content, step);
}

#[cfg(test)]
mod tests;
