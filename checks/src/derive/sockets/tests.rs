use crate::derive::derive;
use crate::facts::*;

const NOW: i64 = 1_700_000_000_000;

fn known<T>(value: T) -> Observed<T> {
    Observed::known(value, Source::new(SourceKind::Socket, "test"), NOW)
}

fn listener(port: i64, owner: Option<i64>) -> Listener {
    let owner = match owner {
        Some(pid) => known(Owner { pid, name: "kubelet".into(), exe: String::new(), component: "kubelet".into(), unit: String::new() }),
        None => Observed::unavailable_because(Reason::PermissionDenied, "open /proc/9/fd"),
    };
    Listener { subject: format!("port:tcp/{port}"), protocol: "tcp".into(), address: "::".into(), port, scope: BindScope::All, owner }
}

fn probe(port: i64, outcome: ProbeOutcome, status: i64) -> Probe {
    Probe {
        vantage: "node".into(),
        address: "127.0.0.1".into(),
        port,
        path: "/pods".into(),
        tls: true,
        outcome,
        status,
        body: String::new(),
    }
}

/// The kubelet (pid 7) after derivation.
fn derived(host_network: Observed<bool>, listeners: Observed<Listing<Listener>>, probes: Observed<Listing<Probe>>) -> Kubelet {
    let text = String::new;
    let node = Node {
        name: "n1".into(),
        uid: text(),
        cluster: text(),
        role: text(),
        provider: text(),
        profile: text(),
        profile_because: text(),
        ..Node::unnamed()
    };
    let mut facts = NodeFacts::unread(node, &Unavailable::new(Reason::NotSupported, ""));
    let kubelet = Kubelet {
        host_network,
        version: known(text()),
        argv: vec!["kubelet".into(), "--read-only-port=0".into()],
        documents: known(Listing::complete(vec![])),
        ..Kubelet::unread("kubelet", 7, "kubelet")
    };
    facts.kubelets = known(Listing::complete(vec![kubelet]));
    (facts.listeners, facts.probes) = (listeners, probes);
    derive(&mut facts);
    let once = facts.clone();
    derive(&mut facts);
    assert_eq!(facts, once, "derivation is idempotent");
    facts.kubelets.value().expect("known").items[0].clone()
}

fn ports(kubelet: &Kubelet) -> Vec<i64> {
    kubelet.listeners.value().expect("known").items.iter().map(|listener| listener.port).collect()
}

fn lacking(listing: &Observed<Listing<impl Clone>>) -> Vec<String> {
    let skipped = &listing.value().expect("known").skipped;
    skipped.iter().map(|skipped| format!("{}: {}", skipped.what, skipped.reason.name())).collect()
}

#[test]
fn own_sockets_and_their_answers_are_claimed() {
    let listeners = known(Listing::complete(vec![listener(10250, Some(7)), listener(22, Some(8))]));
    let probes = known(Listing::complete(vec![probe(10250, ProbeOutcome::Answered, 401), probe(22, ProbeOutcome::NotHttp, 0)]));
    let kubelet = derived(known(true), listeners, probes);
    assert_eq!(ports(&kubelet), [10250]);
    assert_eq!(lacking(&kubelet.listeners), Vec::<String>::new());
    let probes = kubelet.probes.value().expect("known");
    assert_eq!((probes.items.len(), probes.items[0].status), (1, 401));
    assert_eq!(lacking(&kubelet.probes), Vec::<String>::new());
}

#[test]
fn a_socket_of_unknown_owner_is_not_claimed_and_not_forgotten() {
    let listeners = known(Listing::complete(vec![listener(10250, Some(7)), listener(10255, None)]));
    let kubelet = derived(known(true), listeners, known(Listing::complete(vec![probe(10250, ProbeOutcome::Answered, 401)])));
    assert_eq!(ports(&kubelet), [10250]);
    assert_eq!(lacking(&kubelet.listeners), ["owner of port:tcp/10255: permission_denied"]);
    assert_eq!(lacking(&kubelet.probes), ["owner of port:tcp/10255: permission_denied"]);
}

#[test]
fn what_is_unavailable_stays_unavailable_with_its_reason() {
    let why = || Unavailable::new(Reason::TimedOut, "netlink");
    let kubelet = derived(known(true), Observed::Unavailable(why()), known(Listing::complete(vec![])));
    assert_eq!((kubelet.listeners.unavailable(), kubelet.probes.unavailable()), (Some(&why()), Some(&why())));
    let kubelet = derived(known(true), known(Listing::complete(vec![])), Observed::Unavailable(why()));
    assert_eq!(kubelet.probes.unavailable(), Some(&why()));
}

#[test]
fn sockets_of_another_network_namespace_are_not_read() {
    let listeners = || known(Listing::complete(vec![listener(10250, Some(7))]));
    let kubelet = derived(known(false), listeners(), known(Listing::complete(vec![])));
    assert_eq!(kubelet.listeners.unavailable().expect("unavailable").reason, Reason::NotSupported);
    let unknown = Observed::unavailable_because(Reason::PermissionDenied, "readlink /proc/7/ns/net");
    let kubelet = derived(unknown, listeners(), known(Listing::complete(vec![])));
    assert_eq!(ports(&kubelet), [10250]);
    assert_eq!(lacking(&kubelet.listeners), ["its network namespace: permission_denied"]);
}

#[test]
fn silence_is_no_refusal() {
    let listeners = || known(Listing::complete(vec![listener(10250, Some(7))]));
    let kubelet = derived(known(true), listeners(), known(Listing::complete(vec![probe(10250, ProbeOutcome::TimedOut, 0)])));
    assert_eq!(lacking(&kubelet.probes), ["port 10250/pods: timed_out"]);
    let probes = vec![probe(10250, ProbeOutcome::TimedOut, 0), probe(10250, ProbeOutcome::Answered, 401)];
    let kubelet = derived(known(true), listeners(), known(Listing::complete(probes)));
    assert_eq!(lacking(&kubelet.probes), Vec::<String>::new(), "another path of the port answered");
    let kubelet = derived(known(true), listeners(), known(Listing::complete(vec![])));
    assert_eq!(lacking(&kubelet.probes), ["port 10250, which was not asked: not_supported"]);
}
