//! A small node with one of everything.

use std::collections::BTreeMap;

use holdfast_checks::facts::*;
use holdfast_checks::inventory::facts_for_collector;
use serde_json::{Value, json};

pub(crate) fn known<T>(value: T) -> Observed<T> {
    Observed::known(value, Source::new(SourceKind::Kernel, "test"), 7)
}

pub(crate) fn denied<T>() -> Observed<T> {
    Observed::unavailable_because(Reason::PermissionDenied, "open /proc/7/fd: permission denied")
}

pub(crate) fn list<T>(items: Vec<T>) -> Observed<Listing<T>> {
    known(Listing::complete(items))
}

pub(crate) fn listener(port: i64, address: &str, scope: BindScope, owner: Observed<Owner>) -> Listener {
    Listener { subject: format!("port:tcp/{port}"), protocol: "tcp".into(), address: address.into(), port, scope, owner }
}

pub(crate) fn owner(pid: i64, name: &str) -> Observed<Owner> {
    let (exe, component, unit) = (format!("/usr/bin/{name}"), name.to_owned(), format!("{name}.service"));
    known(Owner { pid, name: name.into(), exe, component, unit })
}

pub(crate) fn process(pid: i64, subject: &str, uid: i64, placement: Placement) -> Process {
    Process {
        start_ticks: pid * 100,
        name: "worker".into(),
        exe: known("/usr/bin/worker".into()),
        uid,
        gid: uid,
        inside_uid: known(0),
        user_namespace: known(false),
        cap_effective: 0,
        no_new_privileges: true,
        seccomp: 2,
        cgroup: "/system.slice".into(),
        placement,
        pod_uid: String::new(),
        container_id: String::new(),
        host_network: known(true),
        ..Process::unread(subject, pid)
    }
}

fn setting(value: Value, kind: SourceKind, place: &str) -> Observed<Setting> {
    known(Setting { value, source: Source::new(kind, place), declared: vec![] })
}

fn settings() -> Settings {
    let drop_in = "/etc/kubernetes/kubelet.conf.d/20-debug.conf";
    let mut read_only_port = setting(json!(10255), SourceKind::DropIn, drop_in);
    read_only_port.value_mut().expect("known").declared = vec![
        Declared { value: json!(0), source: Source::new(SourceKind::File, "/var/lib/kubelet/config.yaml") },
        Declared { value: json!(10255), source: Source::new(SourceKind::DropIn, drop_in) },
    ];
    BTreeMap::from([
        ("readOnlyPort".into(), read_only_port),
        ("anonymousAuth".into(), setting(json!(false), SourceKind::Default, "v1beta1")),
        ("tlsCipherSuites".into(), denied()),
    ])
}

/// Documents of `os` and `kernel`, from which facts are rebuilt.
pub(crate) fn os_and_kernel() -> [(&'static str, &'static str, String); 2] {
    let os = json!({"id": "debian", "id_like": [], "version_id": "12", "pretty_name": "Debian GNU/Linux 12 (bookworm)", "fields": {"ID": "debian"}});
    let package = json!({"name": "linux-image-6.1.0-40-amd64", "version": "6.1.153-1", "origin": "linux-signed-amd64"});
    let version = "#1 SMP PREEMPT_DYNAMIC Debian 6.1.153-1 (2025-09-20)";
    let kernel = json!({"release": "6.1.0-40-amd64", "version": version, "package": package, "boot_time": 1_700_000_000});
    [("os", "self", os.to_string()), ("kernel", "self", kernel.to_string())]
}

pub(crate) fn rebuilt(documents: &[(&str, &str, String)]) -> NodeFacts {
    facts_for_collector("n1", "c1", documents.iter().map(|(kind, name, json)| (*kind, *name, json.as_str())))
}

pub(crate) fn facts() -> NodeFacts {
    let mut facts = rebuilt(&os_and_kernel());
    facts.node.role = "worker".into();
    facts.node.provider = "none".into();
    facts.node.profile = "kubeadm".into();
    facts.node.profile_because = "/etc/kubernetes/kubelet.conf exists".into();
    let kernel = facts.kernel.value_mut().expect("rebuilt");
    let installed = |release: &str, path: &str| InstalledKernel::unread(release, path);
    kernel.installed = list(vec![
        installed("6.1.0-41-amd64", "/lib/modules/6.1.0-41-amd64"),
        installed("6.1.0-40-amd64", "/lib/modules/6.1.0-40-amd64"),
        installed("6.1.0-40-amd64", "/boot/vmlinuz-6.1.0-40-amd64"),
    ]);
    kernel.lsms = known(vec!["lockdown".into(), "apparmor".into()]);
    kernel.reboot_sentinels = list(vec![RebootSentinel {
        path: "/run/reboot-required".into(),
        since: 1_700_000_500,
        packages: vec!["linux-image-amd64".into()],
    }]);
    facts.kubelets = list(vec![Kubelet {
        host_network: known(true),
        version: known("v1.34.2".into()),
        argv: vec!["kubelet".into(), "--config=/var/lib/kubelet/config.yaml".into()],
        documents: denied(),
        settings: settings(),
        observed: BTreeMap::from([
            ("readOnlyPort".into(), setting(json!(10255), SourceKind::Socket, "tcp/::/10255")),
            ("authorizationMode".into(), denied()),
        ]),
        reported: BTreeMap::from([("readOnlyPort".into(), setting(json!(0), SourceKind::Probe, "configz"))]),
        ..Kubelet::unread("kubelet", 812, "kubelet")
    }]);
    facts.components = list(vec![Component {
        host_network: denied(),
        version: denied(),
        argv: vec!["kube-proxy".into()],
        documents: denied(),
        ..Component::unread("kube-proxy", 990)
    }]);
    facts.listeners = known(Listing {
        items: vec![
            listener(10248, "127.0.0.1", BindScope::Loopback, owner(812, "kubelet")),
            listener(10255, "::", BindScope::All, owner(812, "kubelet")),
            listener(22, "0.0.0.0", BindScope::All, denied()),
        ],
        skipped: vec![Skipped { what: "/proc/1/net/udp6".into(), reason: Reason::NotPresent }],
    });
    facts.probes = list(vec![Probe {
        vantage: "node".into(),
        address: "127.0.0.1".into(),
        port: 10255,
        path: "/pods".into(),
        tls: false,
        outcome: ProbeOutcome::Answered,
        status: 200,
        body: String::new(),
    }]);
    let weak =
        Process { no_new_privileges: false, seccomp: 0, inside_uid: denied(), ..process(32, "pod:default/web/app", 0, Placement::Pod) };
    facts.processes = list(vec![
        process(1, "process:init.scope/systemd", 0, Placement::Host),
        process(31, "pod:default/web/app", 0, Placement::Pod),
        weak,
        process(40, "pod:default/web/sidecar", 1000, Placement::Pod),
    ]);
    facts.files = denied();
    let address = |interface: &str, address: &str, scope| Address { interface: interface.into(), address: address.into(), scope };
    let spool = SpoolState {
        kind: SpoolKind::Memory,
        path: "/var/lib/holdfast/spool.redb".into(),
        reason: "disk_full".into(),
        detail: "no space is left where /var/lib/holdfast is".into(),
        recreated: Some(Recreated { set_aside: "spool.redb.bad".into(), because: "not a database".into(), at: 5 }),
    };
    facts.agent = known(Agent { running: true, spool, truncated_transitions: 3, ..Agent::not_running() });
    facts.network = known(Network {
        addresses: list(vec![
            address("eth0", "10.0.0.7", BindScope::Node),
            address("", "203.0.114.9", BindScope::Public),
            address("lo", "127.0.0.1", BindScope::Loopback),
            address("cali1", "fe80::1", BindScope::Node),
        ]),
        firewall: known(Firewall { legacy_tables: vec!["filter".into()], services: vec!["ufw".into()] }),
        firewall_rules: denied(),
        cni: known(Cni {
            path: "/etc/cni/net.d/10-calico.conflist".into(),
            name: "k8s-pod-network".into(),
            plugins: vec!["calico".into(), "portmap".into()],
            enforces_policies: "yes".into(),
            because: "calico-node runs on this node".into(),
        }),
        sshd: denied(),
    });
    facts.certificates = list(vec![
        certificate("/etc/kubernetes/pki/apiserver.crt", "", known(said(1_767_225_600))),
        certificate("/etc/kubernetes/admin.conf", "kubernetes-admin", known(said(1_800_000_000))),
        certificate("/etc/kubernetes/pki/front-proxy.crt", "", denied()),
    ]);
    facts
}

pub(crate) fn certificate(path: &str, user: &str, certificate: Observed<Certificate>) -> CertificateFact {
    let hash = if user.is_empty() { "" } else { "#" };
    CertificateFact {
        subject: format!("certificate:{path}{hash}{user}"),
        path: path.into(),
        role: if user.is_empty() { "pki_certificate" } else { "kubeconfig" }.into(),
        user: user.into(),
        certificate,
        issued_by: "/etc/kubernetes/pki/ca.crt".into(),
        days_left: denied(),
    }
}

/// A certificate of a year's life. Its alternative names and fingerprints are not part of the inventory.
pub(crate) fn said(not_after: i64) -> Certificate {
    Certificate {
        name: "O=system:masters, CN=kubernetes-admin".into(),
        common_name: "kubernetes-admin".into(),
        organizations: vec!["system:masters".into()],
        issuer: "CN=kubernetes".into(),
        self_signed: false,
        authority: false,
        not_before: not_after - 365 * 86_400,
        not_after,
        lifetime_days: 365,
        key: "rsa".into(),
        key_bits: 2048,
        signature: "sha256WithRSAEncryption".into(),
        names: Vec::new(),
        fingerprint: String::new(),
        key_fingerprint: String::new(),
    }
}

/// The same node with all that version verdicts can rest on, some of it not known.
pub(crate) fn chain_facts() -> NodeFacts {
    let mut facts = facts();
    let package = |name: &str, version: &str| {
        let (manager, name, version) = ("dpkg".to_owned(), name.to_owned(), version.to_owned());
        Package { manager, origin: name.clone(), name, version }
    };
    let kernel = facts.kernel.value_mut().expect("rebuilt");
    let build = |number: i64| known(format!("#1 SMP PREEMPT_DYNAMIC Debian 6.1.{number}-1 (2025-09-20)"));
    let installed = |release: &str, build, modified| InstalledKernel { build, modified, ..InstalledKernel::unread(release, "/boot") };
    kernel.installed = known(Listing {
        items: vec![
            installed("6.1.0-39-amd64", denied(), denied()),
            installed("6.1.0-40-amd64", build(153), known(1_758_000_000)),
            installed("6.1.0-41-amd64", build(158), known(1_760_000_000)),
        ],
        skipped: vec![Skipped { what: "/boot/efi".into(), reason: Reason::PermissionDenied }],
    });
    kernel.newer_installed = known(Listing {
        items: vec!["6.1.0-41-amd64".into()],
        skipped: vec![Skipped { what: "/boot/efi".into(), reason: Reason::PermissionDenied }],
    });
    kernel.taint = known(32768);
    kernel.livepatches = known(vec!["livepatch_1".into()]);
    kernel.boot_default =
        known(BootEntry { release: "6.1.0-40-amd64".into(), title: "Debian GNU/Linux".into(), path: "/boot/grub/grub.cfg".into() });
    kernel.deployment = Observed::unavailable_because(Reason::NotSupported, "the system is made of packages");
    let feature = |name: &str, state| Feature { name: name.into(), state };
    kernel.features = list(vec![feature("algif_aead", FeatureState::Loadable), feature("nf_tables", FeatureState::Loaded)]);
    kernel.unprivileged_user_namespaces = known(true);
    kernel.sysctls.unprivileged_bpf_disabled = known(2);
    kernel.cgroup = known(2);
    let kubelet = &mut facts.kubelets.value_mut().expect("known").items[0];
    kubelet.installed = known("v1.34.3".into());
    kubelet.executable = known(Executable { path: "/usr/bin/kubelet".into(), replaced: true });
    let component = &mut facts.components.value_mut().expect("known").items[0];
    component.inside = "k3s".into();
    facts.runtimes = list(vec![Runtime {
        version: known("1.6.20~ds1".into()),
        installed: known("1.6.24~ds1".into()),
        executable: known(Executable { path: "/usr/bin/containerd".into(), replaced: true }),
        package: known(package("containerd", "1.6.24~ds1-1+deb12u2")),
        programs: list(vec![
            RuntimeProgram { path: "/usr/sbin/runc".into(), version: denied(), package: known(package("runc", "1.1.5+ds1-1+deb12u1")) },
            RuntimeProgram { path: "/opt/bin/crun".into(), version: known("1.8.1".into()), package: denied() },
        ]),
        settings: BTreeMap::from([("registryConfigPath".into(), setting(json!("/etc/containerd/certs.d"), SourceKind::File, "/etc/x"))]),
        ..Runtime::unread("containerd", "containerd", 17)
    }]);
    facts
}
