//! A kubelet's settings as its sockets and answers show them.
//!
//! Must not know what was configured, but to choose among several sockets and to spell a wildcard. What behaviour could show
//! and here does not is unavailable with the reason; silence, and a list with holes, show nothing.

use crate::facts::{
    BindScope, Handshake, Kubelet, Listener, Listing, Observed, Probe, ProbeOutcome, Reason, Setting, Settings, Source, SourceKind,
    Unavailable,
};
use serde_json::Value;

use super::setting::decided;

/// Where the requests of this node come from; what a peer met is another fact.
const HERE: &str = "node";
/// What is served without saying anything about the node.
const HEALTH: [&str; 3] = ["/healthz", "/livez", "/readyz"];
/// The port a kubelet is open on when nobody thought of it.
const READ_ONLY: i64 = 10255;

/// What the behaviour of `kubelet`, whose own sockets and answers are derived already, shows of its settings.
pub(super) fn observed(kubelet: &Kubelet) -> Settings {
    let named = |(name, setting): (&str, Observed<Setting>)| (name.to_owned(), setting);
    let sockets = match &kubelet.listeners {
        Observed::Unavailable(why) => {
            return NAMES.into_iter().map(|name| named((name, Observed::Unavailable(why.clone())))).collect();
        }
        Observed::Known { value, at, .. } => Sockets::new(kubelet, value, *at),
    };
    let port = sockets.port();
    let health = sockets.health_port();
    let [min_version, suites] = sockets.tls(&port);
    [
        ("anonymousAuth", sockets.anonymous(&port)),
        ("authorizationMode", sockets.authorization(&port)),
        ("readOnlyPort", sockets.read_only_port()),
        ("address", sockets.address("address", &port)),
        ("port", port),
        ("healthzBindAddress", sockets.address("healthzBindAddress", &health)),
        ("healthzPort", health),
        ("enableServer", sockets.server()),
        ("tlsMinVersion", min_version),
        ("tlsCipherSuites", suites),
    ]
    .map(named)
    .into()
}

/// What behaviour can show.
const NAMES: [&str; 10] = [
    "anonymousAuth",
    "authorizationMode",
    "readOnlyPort",
    "address",
    "port",
    "healthzBindAddress",
    "healthzPort",
    "enableServer",
    "tlsMinVersion",
    "tlsCipherSuites",
];

/// What a socket turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// The API behind TLS.
    Server,
    /// The API without.
    ReadOnly,
    Health,
    /// Nothing it did tells.
    Unclear,
}

/// The TCP sockets of a kubelet, and what is known of each.
struct Sockets<'a> {
    kubelet: &'a Kubelet,
    listening: Vec<(&'a Listener, Role)>,
    /// Why there may be more.
    hole: Option<Unavailable>,
    at: i64,
}

impl<'a> Sockets<'a> {
    fn new(kubelet: &'a Kubelet, listeners: &'a Listing<Listener>, at: i64) -> Self {
        let meant = |name: &str, port: i64| {
            kubelet.settings.get(name).and_then(Observed::value).is_some_and(|setting| setting.value.as_i64() == Some(port))
        };
        let mut listening: Vec<(&Listener, Role)> = Vec::new();
        for listener in listeners.items.iter().filter(|listener| listener.protocol == "tcp") {
            // A port serves one thing: where no answer says what, it is what the port was meant for.
            let role = match role(kubelet, listener.port) {
                Role::Unclear if meant("port", listener.port) => Role::Server,
                Role::Unclear if meant("healthzPort", listener.port) => Role::Health,
                role => role,
            };
            listening.push((listener, role));
        }
        listening.sort_by(|(a, _), (b, _)| (a.port, reach(a.scope), &a.address).cmp(&(b.port, reach(b.scope), &b.address)));
        let hole = listeners
            .skipped
            .first()
            .map(|skipped| Unavailable::new(skipped.reason, format!("not all of its sockets are known: {}", skipped.what)));
        Self { kubelet, listening, hole, at }
    }

    /// What was configured for a port, when that is known.
    fn meant(&self, name: &str) -> Option<&'a Value> {
        self.kubelet.settings.get(name)?.value().map(|setting| &setting.value)
    }

    /// The socket of `role`: the one that is meant where there are several.
    fn socket(&self, role: Role, name: &str) -> Option<&'a Listener> {
        let meant = self.meant(name).and_then(Value::as_i64);
        let of_role = || self.listening.iter().filter(|(_, of)| *of == role).map(|(listener, _)| *listener);
        of_role().find(|listener| Some(listener.port) == meant).or_else(|| of_role().next())
    }

    fn shown(&self, value: impl Into<Value>, listener: &Listener) -> Observed<Setting> {
        let place = format!("{}/{}/{}", listener.protocol, listener.address, listener.port);
        decided(value.into(), Source::new(SourceKind::Socket, place), self.at)
    }

    /// `value` because it listens on nothing else: only where every socket is known, and what it is.
    fn by_absence(&self, value: impl Into<Value>) -> Observed<Setting> {
        if let Some(why) = &self.hole {
            return Observed::Unavailable(why.clone());
        }
        if let Some((unclear, _)) = self.listening.iter().find(|(_, role)| *role == Role::Unclear) {
            let detail = format!("what it serves on port {} did not show", unclear.port);
            // Nobody asked: then why is what is missing.
            let unasked = self.kubelet.probes.unavailable().filter(|why| why.reason == Reason::PermissionDenied);
            return Observed::Unavailable(match unasked {
                Some(why) => Unavailable::new(why.reason, format!("{detail}: {}", why.detail)),
                None => Unavailable::new(Reason::NotSupported, detail),
            });
        }
        decided(value.into(), Source::new(SourceKind::Socket, "none of its sockets"), self.at)
    }

    fn read_only_port(&self) -> Observed<Setting> {
        let unclear = |(listener, role): &&(&Listener, Role)| *role == Role::Unclear && listener.port == READ_ONLY;
        let open = self.socket(Role::ReadOnly, "readOnlyPort");
        match open.or_else(|| self.listening.iter().find(unclear).map(|(listener, _)| *listener)) {
            Some(listener) => self.shown(listener.port, listener),
            None => self.by_absence(0),
        }
    }

    fn health_port(&self) -> Observed<Setting> {
        match self.socket(Role::Health, "healthzPort") {
            Some(listener) => self.shown(listener.port, listener),
            None => self.by_absence(0),
        }
    }

    fn port(&self) -> Observed<Setting> {
        if let Some(listener) = self.socket(Role::Server, "port") {
            return self.shown(listener.port, listener);
        }
        let none = Unavailable::new(Reason::NotPresent, "none of its sockets speaks TLS");
        Observed::Unavailable(self.hole.clone().unwrap_or(none))
    }

    fn server(&self) -> Observed<Setting> {
        match self.socket(Role::Server, "port") {
            Some(listener) => self.shown(true, listener),
            None => self.by_absence(false),
        }
    }

    /// The address that `port` is bound to. Every wildcard is the same to the kubelet, and is spelled as it was meant.
    fn address(&self, name: &str, port: &Observed<Setting>) -> Observed<Setting> {
        let port = match number(port) {
            Ok(0) => return Observed::unavailable_because(Reason::NotPresent, "no socket of it is for that"),
            Ok(port) => port,
            Err(why) => return Observed::Unavailable(why),
        };
        let Some((listener, _)) = self.listening.iter().find(|(listener, _)| listener.port == port) else {
            return Observed::unavailable_because(Reason::NotPresent, format!("it does not listen on port {port}"));
        };
        if listener.scope != BindScope::All {
            return self.shown(listener.address.as_str(), listener);
        }
        let meant = self.meant(name).and_then(Value::as_str).filter(|address| ["0.0.0.0", "::"].contains(address));
        self.shown(meant.unwrap_or("0.0.0.0"), listener)
    }

    /// The answers of `port` from this node, in an order of their own.
    fn answers(&self, port: &Observed<Setting>) -> Result<(Vec<&'a Probe>, i64), Unavailable> {
        let port = number(port)?;
        let (listing, at) = match &self.kubelet.probes {
            Observed::Unavailable(why) => return Err(why.clone()),
            Observed::Known { value, at, .. } => (value, *at),
        };
        let answered = |probe: &&Probe| probe.vantage == HERE && probe.port == port && probe.tls && probe.outcome == ProbeOutcome::Answered;
        let mut answers: Vec<&Probe> = listing.items.iter().filter(answered).collect();
        answers.sort_by(|a, b| (&a.path, &a.address).cmp(&(&b.path, &b.address)));
        if answers.is_empty() {
            let skipped = listing.skipped.first();
            let reason = skipped.map_or(Reason::NotSupported, |skipped| skipped.reason);
            let detail = skipped.map_or_else(|| format!("port {port} gave no answer"), |skipped| format!("no answer: {}", skipped.what));
            return Err(Unavailable::new(reason, detail));
        }
        Ok((answers, at))
    }

    /// Anonymous requests get 401 where they are refused, and are answered or turned away by name where they are not.
    fn anonymous(&self, port: &Observed<Setting>) -> Observed<Setting> {
        let (answers, at) = match self.answers(port) {
            Ok(answers) => answers,
            Err(why) => return Observed::Unavailable(why),
        };
        let let_in = answers.iter().find(|probe| [200, 403].contains(&probe.status));
        match let_in.or_else(|| answers.iter().find(|probe| probe.status == 401)) {
            Some(probe) => decided((probe.status != 401).into(), answer(probe), at),
            None => Observed::unavailable_because(Reason::NotSupported, "no answer tells whether the request was anonymous"),
        }
    }

    /// 403 is a refusal by name, so something authorizes; where nothing is refused, nothing does.
    fn authorization(&self, port: &Observed<Setting>) -> Observed<Setting> {
        let (answers, at) = match self.answers(port) {
            Ok(answers) => answers,
            Err(why) => return Observed::Unavailable(why),
        };
        let with = |status: i64| answers.iter().find(|probe| probe.status == status);
        match (with(403), with(200)) {
            (Some(probe), _) => decided("Webhook".into(), answer(probe), at),
            (None, Some(probe)) => decided("AlwaysAllow".into(), answer(probe), at),
            (None, None) if with(401).is_some() => {
                let detail = "a request without credentials is refused before it is authorized";
                Observed::unavailable_because(Reason::NotSupported, detail)
            }
            (None, None) => Observed::unavailable_because(Reason::NotSupported, "no answer tells how requests are authorized"),
        }
    }

    /// The lowest version and the suites that `port` takes.
    fn tls(&self, port: &Observed<Setting>) -> [Observed<Setting>; 2] {
        let both = |why: Unavailable| [Observed::Unavailable(why.clone()), Observed::Unavailable(why)];
        let port = match number(port) {
            Ok(port) => port,
            Err(why) => return both(why),
        };
        let listing = match &self.kubelet.handshakes {
            Observed::Unavailable(why) => return both(why.clone()),
            Observed::Known { value, .. } => value,
        };
        let mut tried: Vec<&Handshake> = listing.items.iter().filter(|tried| tried.vantage == HERE && tried.port == port).collect();
        tried.sort_by(|a, b| a.address.cmp(&b.address));
        let Some(tried) = tried.first() else {
            return both(Unavailable::new(Reason::NotSupported, format!("no handshake with port {port} was tried")));
        };
        let source = Source::new(SourceKind::Probe, format!("handshake with {}", authority(&tried.address, tried.port)));
        [lowest_version(tried, &source), suites(tried, &source)]
    }
}

/// What a socket turned out to be, by its answers and handshakes.
fn role(kubelet: &Kubelet, port: i64) -> Role {
    let of_port = |probe: &&Probe| probe.vantage == HERE && probe.port == port;
    let probes = || kubelet.probes.value().into_iter().flat_map(|listing| &listing.items).filter(of_port);
    let spoken = |tried: &Handshake| {
        let versions = tried.versions.value().into_iter().flat_map(|listing| &listing.items);
        tried.vantage == HERE && tried.port == port && versions.into_iter().any(|version| version.accepted)
    };
    let speaks_tls = |probe: &Probe| probe.tls && [ProbeOutcome::Answered, ProbeOutcome::CertificateRequired].contains(&probe.outcome);
    if probes().any(speaks_tls) || kubelet.handshakes.value().is_some_and(|listing| listing.items.iter().any(spoken)) {
        return Role::Server;
    }
    let open = |health: bool| move |probe: &Probe| !probe.tls && probe.status == 200 && HEALTH.contains(&probe.path.as_str()) == health;
    if probes().any(open(false)) {
        Role::ReadOnly
    } else if probes().any(open(true)) {
        Role::Health
    } else {
        Role::Unclear
    }
}

fn reach(scope: BindScope) -> u8 {
    match scope {
        BindScope::All => 0,
        BindScope::Public => 1,
        BindScope::Node => 2,
        BindScope::Loopback => 3,
    }
}

/// The number of a port, or why it is not known.
fn number(port: &Observed<Setting>) -> Result<i64, Unavailable> {
    match port {
        Observed::Known { value, .. } => Ok(value.value.as_i64().unwrap_or_default()),
        Observed::Unavailable(why) => Err(why.clone()),
    }
}

fn authority(address: &str, port: i64) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

/// Which answer showed it.
fn answer(probe: &Probe) -> Source {
    let place = format!("https://{}{}: {}", authority(&probe.address, probe.port), probe.path, probe.status);
    Source::new(SourceKind::Probe, place)
}

/// The lowest version that was taken: every lower one must have been tried.
fn lowest_version(tried: &Handshake, source: &Source) -> Observed<Setting> {
    let (listing, at) = match &tried.versions {
        Observed::Unavailable(why) => return Observed::Unavailable(why.clone()),
        Observed::Known { value, at, .. } => (value, *at),
    };
    for (name, setting) in
        [("TLS 1.0", "VersionTLS10"), ("TLS 1.1", "VersionTLS11"), ("TLS 1.2", "VersionTLS12"), ("TLS 1.3", "VersionTLS13")]
    {
        match listing.items.iter().find(|version| version.name == name) {
            Some(version) if version.accepted => return decided(setting.into(), source.clone(), at),
            Some(_) => {}
            None => {
                let reason = listing.skipped.first().map_or(Reason::NotSupported, |skipped| skipped.reason);
                return Observed::unavailable_because(reason, format!("{name} was not tried"));
            }
        }
    }
    Observed::unavailable_because(Reason::NotPresent, "it takes no version of TLS without credentials")
}

fn suites(tried: &Handshake, source: &Source) -> Observed<Setting> {
    match &tried.suites {
        Observed::Unavailable(why) => Observed::Unavailable(why.clone()),
        Observed::Known { value, at, .. } => match value.skipped.first() {
            Some(skipped) => Observed::unavailable_because(skipped.reason, format!("not all suites were tried: {}", skipped.what)),
            None => decided(value.items.iter().map(String::as_str).collect(), source.clone(), *at),
        },
    }
}

#[cfg(test)]
mod tests;
