//! A node on which every check passes or does not apply, and the few ways fixtures change it.

use holdfast_checks::facts::*;
use holdfast_checks::versions::{
    Activation, ActivationState, FleetPlace, Headline, KnowledgeFacts, Link, Patch, PatchState, Support, SupportState, VersionFacts,
    Vulnerability, VulnerabilityState,
};
use serde_json::{Value, json};

const NOW: i64 = 1_790_000_000_000;
pub(crate) const KUBELET: i64 = 100;

pub(crate) fn known<T>(value: T) -> Observed<T> {
    Observed::known(value, Source::new(SourceKind::Kernel, "test"), NOW)
}

pub(crate) fn denied<T>() -> Observed<T> {
    Observed::unavailable_because(Reason::PermissionDenied, "open /some/file")
}

pub(crate) fn complete<T>(items: Vec<T>) -> Observed<Listing<T>> {
    known(Listing::complete(items))
}

/// Drops from a known listing what `drop` matches.
pub(crate) fn remove<T>(listing: &mut Observed<Listing<T>>, drop: impl Fn(&T) -> bool) {
    items(listing).retain(|item| !drop(item));
}

pub(crate) fn items<T>(listing: &mut Observed<Listing<T>>) -> &mut Vec<T> {
    &mut listing.value_mut().expect("the base knows it").items
}

pub(crate) fn node() -> NodeFacts {
    let identity = Node {
        name: "n1".into(),
        uid: "u1".into(),
        cluster: "c1".into(),
        role: "control-plane".into(),
        provider: "none".into(),
        profile: "kubeadm".into(),
        profile_because: "/etc/kubernetes/manifests is there".into(),
        cri_allowed: known(false),
        clock: Some(known(Clock { ahead_seconds: -1 })),
        membership: Some(known(Membership { listed: true, agent: true, unwatchable: String::new(), waited_seconds: 0 })),
        admission: Some(known(crate::agent::admission())),
        ..Node::unnamed()
    };
    let mut facts = NodeFacts::unread(identity, &Unavailable::new(Reason::NotSupported, "not in this fixture"));
    facts.os = known(Os {
        id: "debian".into(),
        id_like: vec![],
        version_id: "13".into(),
        pretty_name: "Debian GNU/Linux 13".into(),
        fields: std::collections::BTreeMap::new(),
    });
    facts.kernel = known(kernel());
    facts.kubelets = complete(vec![kubelet()]);
    facts.components = complete(vec![
        component("kube-apiserver", 201, API_SERVER),
        component("kube-controller-manager", 202, CONTROLLER_MANAGER),
        component("kube-scheduler", 203, "--bind-address=127.0.0.1 --profiling=false"),
        component("etcd", 204, ETCD),
        component("kube-proxy", 205, "--healthz-bind-address=192.0.2.2:10256"),
    ]);
    let secrets = json!([{"resources": ["secrets"], "providers": [{"kms": {}}, {"identity": {}}]}]);
    let content = known(json!({"kind": "EncryptionConfiguration", "resources": secrets}));
    let document = ConfigDocument { path: "/enc.yaml".into(), kind: DocumentKind::Main, content };
    component_of(&mut facts, "kube-apiserver").documents = complete(vec![document]);
    facts.listeners = complete(vec![
        listener(22, BindScope::All, 900, "sshd", ""),
        listener(2379, BindScope::Node, 204, "etcd", "etcd"),
        listener(2380, BindScope::Node, 204, "etcd", "etcd"),
        listener(6443, BindScope::All, 201, "kube-apiserver", "kube-apiserver"),
        listener(10248, BindScope::Loopback, KUBELET, "kubelet", "kubelet"),
        listener(10250, BindScope::All, KUBELET, "kubelet", "kubelet"),
        listener(10256, BindScope::Node, 205, "kube-proxy", "kube-proxy"),
        listener(10257, BindScope::Loopback, 202, "kube-controller", "kube-controller-manager"),
        listener(10259, BindScope::Loopback, 203, "kube-scheduler", "kube-scheduler"),
    ]);
    facts.probes = complete(vec![
        probe(10250, true, ProbeOutcome::Answered, 401),
        probe(10255, false, ProbeOutcome::Refused, 0),
        Probe { path: "/healthz".into(), ..probe(10248, false, ProbeOutcome::Answered, 200) },
        Probe { path: "/version".into(), ..probe(6443, true, ProbeOutcome::Answered, 401) },
        Probe { path: "/metrics".into(), ..probe(10257, true, ProbeOutcome::Answered, 403) },
        Probe { path: "/healthz".into(), ..probe(10257, true, ProbeOutcome::Answered, 200) },
        Probe { path: "/metrics".into(), ..probe(10259, true, ProbeOutcome::Answered, 403) },
        Probe { path: "/version".into(), ..probe(2379, true, ProbeOutcome::CertificateRequired, 0) },
    ]);
    for port in [2379, 10250, 10255, 10257, 10259] {
        let asked = Probe { vantage: "n2".into(), ..probe(port, port != 10255, ProbeOutcome::Refused, 0) };
        items(&mut facts.probes).push(asked);
    }
    facts.handshakes = complete([2379, 6443, 10250, 10257, 10259].map(handshake).into());
    facts.certificates = complete(vec![
        certificate("kubelet_ca", "/etc/kubernetes/pki/ca.crt", "", "kubernetes", &[]),
        certificate("pki_certificate", "/pki/ca.crt", "", "etcd-ca", &[]),
        certificate("pki_certificate", "/etc/kubernetes/pki/apiserver.crt", "", "kube-apiserver", &[]),
        certificate("kubeconfig", "/etc/kubernetes/scheduler.conf", "scheduler", "system:kube-scheduler", &[]),
        certificate("pki_key", "/var/lib/kubelet/pki/kubelet-client-current.pem", "", "system:node:n1", &["system:nodes"]),
    ]);
    facts.network = known(network());
    facts.runtimes = complete(vec![containerd()]);
    facts.system = known(system());
    facts.files = complete(FILES.iter().map(|(role, path, mode)| file(role, path, *mode)).collect());
    for file in items(&mut facts.files).iter_mut().filter(|file| file.role == "etcd_data") {
        (file.uid, file.gid) = (998, 998);
    }
    facts.processes = complete(vec![
        process("service:kubelet.service/kubelet", Placement::Host, 0),
        Process { name: "calico-node".into(), ..process("service:calico.service/calico-node", Placement::Host, 0) },
        crate::containers::process_of("pod:default/web/c", "c1"),
    ]);
    facts.containers = complete(vec![crate::containers::container("pod:default/web/c", "c1")]);
    facts.agent = known(crate::agent::agent());
    facts.versions = known(versions());
    facts
}

/// Everything is maintained, current and without known holes.
fn versions() -> VersionFacts {
    let kubernetes = |name: &str| link(name, name, "v1.35.8", "1.35", "kubernetes 1.35");
    VersionFacts {
        os: known(link("os", "os", "Debian GNU/Linux 13", "", "debian 13")),
        kernel: known(Link { vendor: "debian".into(), ..link("kernel", "kernel", "6.12.48+deb13-amd64", "6.12", "debian 13") }),
        components: complete(vec![
            link("containerd", "containerd", "2.1.9", "2.1", "containerd 2.1"),
            link("containerd/runc", "runc", "1.3.1", "1.3", "runc 1.3"),
            kubernetes("kubelet"),
            kubernetes("kube-proxy"),
            kubernetes("kube-apiserver"),
        ]),
        knowledge: KnowledgeFacts { as_of: "2026-09-10".into(), age_days: 10, feeds: vec!["osv/Debian".into()], wanted: String::new() },
    }
}

fn link(subject: &str, component: &str, running: &str, series: &str, judged_by: &str) -> Link {
    let patch = Patch {
        state: PatchState::Current,
        days: Some(0),
        releases: Some(0),
        newest: running.into(),
        newest_date: Some("2026-09-01".into()),
        data_date: "2026-09-10".into(),
        source: "endoflife.date".into(),
    };
    let vulnerability = Vulnerability {
        undecided: 0,
        state: VulnerabilityState::NoneKnown,
        affecting: 0,
        exploited: 0,
        public_exploits: 0,
        unreachable: 0,
        possible: 0,
        fixed: 12,
        fixed_in: None,
        matches: Listing::complete(vec![]),
        judged_by: "Debian:13 (OSV, 2026-09-10)".into(),
        data_date: "2026-09-10".into(),
    };
    Link {
        vendor: "upstream".into(),
        tracks_upstream: true,
        series: series.into(),
        upstream: known(running.into()),
        package: known(running.into()),
        installed: known(running.into()),
        support: known(Support { judged_by: judged_by.into(), ..support(SupportState::Supported) }),
        patch: known(patch),
        vulnerability: known(vulnerability),
        activation: known(Activation {
            state: ActivationState::Active,
            since: None,
            because: "what is installed runs".into(),
            security: Some(false),
        }),
        fleet: known(FleetPlace { newest: running.into(), nodes: 50, behind: false }),
        headline: Headline::Supported,
        ..Link::unread(subject, component, running)
    }
}

pub(crate) fn support(state: SupportState) -> Support {
    Support {
        state,
        ends: Some("2028-08-09".into()),
        extended_ends: None,
        days_left: Some(600),
        judged_by: "debian 13".into(),
        upstream_says: String::new(),
        data_date: "2026-08-22".into(),
        source: String::new(),
    }
}

const API_SERVER: &str = "--authorization-mode=Node,RBAC --anonymous-auth=false --profiling=false --client-ca-file=/ca.crt
    --enable-admission-plugins=NodeRestriction --audit-policy-file=/etc/kubernetes/audit.yaml --audit-log-path=/var/log/audit.log
    --tls-cert-file=/s.crt --tls-private-key-file=/s.key --kubelet-client-certificate=/k.crt --kubelet-client-key=/k.key
    --kubelet-certificate-authority=/ca.crt --etcd-certfile=/e.crt --etcd-keyfile=/e.key --etcd-cafile=/e-ca.crt
    --encryption-provider-config=/enc.yaml --tls-min-version=VersionTLS13 --service-account-key-file=/sa.pub
    --service-account-extend-token-expiration=false";

const CONTROLLER_MANAGER: &str = "--bind-address=127.0.0.1 --profiling=false --use-service-account-credentials
    --service-account-private-key-file=/sa.key --root-ca-file=/ca.crt";

const ETCD: &str = "--client-cert-auth=true --cert-file=/pki/s.crt --key-file=/pki/s.key --trusted-ca-file=/pki/ca.crt
    --peer-client-cert-auth=true --peer-cert-file=/pki/p.crt --peer-key-file=/pki/p.key --peer-trusted-ca-file=/pki/ca.crt
    --auto-tls=false --peer-auto-tls=false --listen-client-urls=https://192.0.2.2:2379 --listen-peer-urls=https://192.0.2.2:2380";

const FILES: [(&str, &str, i64); 14] = [
    ("kubelet_config", "/var/lib/kubelet/config.yaml", 0o600),
    ("kubelet_kubeconfig", "/etc/kubernetes/kubelet.conf", 0o600),
    ("kubelet_unit", "/etc/systemd/system/kubelet.service", 0o600),
    ("kubelet_ca", "/etc/kubernetes/pki/ca.crt", 0o644),
    ("kube_proxy_kubeconfig", "/etc/kubernetes/kube-proxy.conf", 0o600),
    ("kube_proxy_config", "/etc/kubernetes/kube-proxy.yaml", 0o644),
    ("kubeconfig", "/etc/kubernetes/admin.conf", 0o600),
    ("manifest", "/etc/kubernetes/manifests/etcd.yaml", 0o600),
    ("pki_certificate", "/etc/kubernetes/pki/apiserver.crt", 0o644),
    ("pki_key", "/etc/kubernetes/pki/ca.key", 0o600),
    ("pki_directory", "/etc/kubernetes/pki", 0o755),
    ("etcd_data", "/var/lib/etcd", 0o700),
    ("cni_config", "/etc/cni/net.d/10-bridge.conflist", 0o600),
    ("container_runtime_config", "/etc/containerd/config.toml", 0o644),
];

pub(crate) fn file(role: &str, path: &str, mode: i64) -> FileFact {
    let kind = if matches!(role, "pki_directory" | "etcd_data" | "directory") { FileKind::Directory } else { FileKind::File };
    let subject = format!("file:{path}");
    FileFact {
        subject,
        path: path.into(),
        role: role.into(),
        kind,
        mode,
        uid: 0,
        gid: 0,
        target: String::new(),
        acl: vec![],
        way: known(vec![]),
        // Derived.
        access: denied(),
    }
}

pub(crate) fn process(subject: &str, placement: Placement, uid: i64) -> Process {
    let pod = placement == Placement::Pod;
    Process {
        start_ticks: 1,
        name: "main".into(),
        exe: known("/usr/bin/main".into()),
        uid,
        gid: uid,
        inside_uid: known(uid),
        user_namespace: known(false),
        cap_effective: 0,
        no_new_privileges: true,
        seccomp: 2,
        cgroup: String::new(),
        placement,
        pod_uid: if pod { "p1".into() } else { String::new() },
        container_id: String::new(),
        host_network: known(!pod),
        ..Process::unread(subject, 300)
    }
}

pub(crate) fn listener(port: i64, scope: BindScope, pid: i64, name: &str, component: &str) -> Listener {
    let owner = Owner { pid, name: name.into(), exe: format!("/usr/bin/{name}"), component: component.into(), unit: String::new() };
    let address = match scope {
        BindScope::Loopback => "127.0.0.1",
        BindScope::Node => "192.0.2.2",
        BindScope::Public => "203.0.113.2",
        BindScope::All => "::",
    };
    Listener { subject: format!("port:tcp/{port}"), protocol: "tcp".into(), address: address.into(), port, scope, owner: known(owner) }
}

pub(crate) fn probe(port: i64, tls: bool, outcome: ProbeOutcome, status: i64) -> Probe {
    Probe { vantage: "node".into(), address: "127.0.0.1".into(), port, path: "/pods".into(), tls, outcome, status, body: String::new() }
}

/// A certificate with 300 of its 365 days left; an authority where the name says so.
pub(crate) fn certificate(role: &str, path: &str, user: &str, common_name: &str, organizations: &[&str]) -> CertificateFact {
    let authority = matches!(common_name, "kubernetes" | "etcd-ca");
    let lifetime_days = if authority { 3650 } else { 365 };
    let not_before = if authority { 1_780_000_000 } else { 1_785_000_000 };
    let at = if user.is_empty() { String::new() } else { format!("#{user}") };
    CertificateFact {
        subject: format!("certificate:{path}{at}"),
        path: path.into(),
        role: role.into(),
        user: user.into(),
        certificate: known(Certificate {
            name: format!("CN={common_name}"),
            common_name: common_name.into(),
            organizations: organizations.iter().map(|name| (*name).to_owned()).collect(),
            issuer: if authority { format!("CN={common_name}") } else { "CN=kubernetes".into() },
            self_signed: authority,
            authority,
            not_before,
            not_after: not_before + lifetime_days * 86_400,
            lifetime_days,
            key: "rsa".into(),
            key_bits: 2048,
            signature: "sha256WithRSAEncryption".into(),
            names: vec![],
            fingerprint: format!("{path}{at}"),
            key_fingerprint: common_name.into(),
        }),
        issued_by: if authority { path.into() } else { "/etc/kubernetes/pki/ca.crt".into() },
        days_left: known(300),
    }
}

/// A socket that takes TLS 1.2 with one good suite and TLS 1.3, and shows a certificate of the cluster's.
pub(crate) fn handshake(port: i64) -> Handshake {
    let version = |name: &str, accepted| TlsVersion { name: name.into(), accepted };
    let shown = certificate("", "", "", "n1", &[]);
    Handshake {
        vantage: "node".into(),
        address: "127.0.0.1".into(),
        port,
        versions: complete(vec![version("TLS 1.0", false), version("TLS 1.1", false), version("TLS 1.2", false), version("TLS 1.3", true)]),
        suites: complete(vec![]),
        certificate: shown.certificate,
        issued_by: shown.issued_by,
        asks_certificate: known(true),
    }
}

/// What the socket at `port` answers to a handshake, to change.
pub(crate) fn handshake_of(facts: &mut NodeFacts, port: i64) -> &mut Handshake {
    items(&mut facts.handshakes).iter_mut().find(|one| one.port == port).expect("the base has one")
}

/// The certificate of the file at `path`, to change.
pub(crate) fn certificate_of<'a>(facts: &'a mut NodeFacts, path: &str) -> &'a mut Certificate {
    let found = items(&mut facts.certificates).iter_mut().find(|one| one.path == path).expect("the base has it");
    found.certificate.value_mut().expect("the base knows it")
}

/// The server at `port` takes `version` too.
pub(crate) fn takes(facts: &mut NodeFacts, port: i64, version: &str) {
    let versions = handshake_of(facts, port).versions.value_mut().expect("the base knows them");
    versions.items.iter_mut().find(|one| one.name == version).expect("it was offered").accepted = true;
}

/// The server at `port` shows a certificate that it made for itself.
pub(crate) fn shows_its_own(facts: &mut NodeFacts, port: i64) {
    let handshake = handshake_of(facts, port);
    handshake.issued_by = String::new();
    handshake.certificate.value_mut().expect("the base knows it").issuer = "CN=n1-ca@1795212995".into();
}

fn network() -> Network {
    let setting = |value: Value| {
        let source = Source::new(SourceKind::File, "/etc/ssh/sshd_config");
        Observed::known(Setting { value, source: source.clone(), declared: vec![] }, source, NOW)
    };
    let sshd = [
        ("PermitRootLogin", json!("prohibit-password")),
        ("PasswordAuthentication", json!(false)),
        ("KbdInteractiveAuthentication", json!(false)),
    ];
    Network {
        addresses: complete(vec![
            Address { interface: "lo".into(), address: "127.0.0.1".into(), scope: BindScope::Loopback },
            Address { interface: "eth0".into(), address: "192.0.2.2".into(), scope: BindScope::Node },
        ]),
        firewall: known(Firewall { legacy_tables: vec!["filter".into()], services: vec!["nftables".into()] }),
        firewall_rules: denied(),
        cni: known(Cni {
            path: "/etc/cni/net.d/10-calico.conflist".into(),
            name: "k8s-pod-network".into(),
            plugins: vec!["calico".into(), "portmap".into()],
            // Derived.
            enforces_policies: "unknown".into(),
            because: String::new(),
        }),
        sshd: known(sshd.into_iter().map(|(name, value)| (name.to_owned(), setting(value))).collect()),
    }
}

/// The node has an address that the internet reaches.
pub(crate) fn public_address(facts: &mut NodeFacts) {
    let network = facts.network.value_mut().expect("the base knows it");
    items(&mut network.addresses).push(Address { interface: "eth0".into(), address: "203.0.113.2".into(), scope: BindScope::Public });
}

fn kubelet() -> Kubelet {
    let config = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {"x509": {"clientCAFile": "/etc/kubernetes/pki/ca.crt"}},
        "enableSystemLogHandler": false,
        "podPidsLimit": 4096,
        "protectKernelDefaults": true,
        "rotateCertificates": true,
        "seccompDefault": true,
        "serverTLSBootstrap": true,
        "systemReserved": {"pid": "1000"},
        "tlsMinVersion": "VersionTLS13",
    });
    let path = "/var/lib/kubelet/config.yaml";
    let document = ConfigDocument { path: path.into(), kind: DocumentKind::Main, content: known(config) };
    Kubelet {
        host_network: known(true),
        host_mounts: known(true),
        version: known("v1.36.2".into()),
        executable: known(Executable { path: "/usr/bin/kubelet".into(), replaced: false }),
        argv: words(&format!("kubelet --kubeconfig=/etc/kubernetes/kubelet.conf --config={path}")),
        origins: complete(vec![]),
        documents: complete(vec![document]),
        ..Kubelet::unread("kubelet", KUBELET, "kubelet")
    }
}

pub(crate) fn component(name: &str, pid: i64, flags: &str) -> Component {
    Component {
        host_network: known(true),
        version: known("v1.36.2".into()),
        executable: known(Executable { path: format!("/usr/bin/{name}"), replaced: false }),
        argv: words(&format!("{name} {flags}")),
        documents: complete(vec![]),
        ..Component::unread(name, pid)
    }
}

/// containerd 2.1 as a careful person sets it up.
fn containerd() -> Runtime {
    let config = json!({
        "version": 3,
        "plugins": {
            "io.containerd.cri.v1.runtime": {
                "enable_unprivileged_ports": false,
                "enable_cdi": false,
                "containerd": {"runtimes": {
                    "runc": {"runtime_type": "io.containerd.runc.v2", "options": {"SystemdCgroup": true}},
                    "gvisor": {"runtime_type": "io.containerd.runsc.v1"},
                }},
            },
            "io.containerd.nri.v1.nri": {"disable": true},
        },
    });
    let path = "/etc/containerd/config.toml";
    let document = RuntimeDocument { path: path.into(), role: DocumentRole::Main, content: known(config) };
    let program = |path: &str, version: &str| RuntimeProgram { path: path.into(), version: known(version.into()), package: denied() };
    Runtime {
        version: known("2.1.9".into()),
        executable: known(Executable { path: "/usr/bin/containerd".into(), replaced: false }),
        argv: words("/usr/bin/containerd"),
        documents: complete(vec![document]),
        programs: complete(vec![program("/usr/sbin/runc", "1.3.1"), program("/usr/bin/runsc", "20250101.0")]),
        sockets: complete(vec![runtime_socket("/run/containerd/containerd.sock", 0o660, 0)]),
        ..Runtime::unread("containerd", "containerd", 150)
    }
}

pub(crate) fn runtime_socket(path: &str, mode: i64, gid: i64) -> RuntimeSocket {
    RuntimeSocket { subject: format!("socket:{path}"), path: path.into(), mode, uid: 0, gid }
}

/// The runtime, to change.
pub(crate) fn runtime_of(facts: &mut NodeFacts) -> &mut Runtime {
    items(&mut facts.runtimes).first_mut().expect("the base has a runtime")
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

fn kernel() -> Kernel {
    let listed = |names: &[&str]| known(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    Kernel {
        release: "6.12.48+deb13-amd64".into(),
        version: "#1 SMP PREEMPT_DYNAMIC Debian 6.12.48-1".into(),
        signature: Observed::unavailable_because(Reason::NotPresent, "/proc/version_signature"),
        package: denied(),
        boot_time: known(1_789_000_000),
        command_line: listed(&["quiet"]),
        sysctls: Sysctls {
            kptr_restrict: known(1),
            dmesg_restrict: known(1),
            unprivileged_bpf_disabled: known(2),
            ptrace_scope: known(1),
            perf_event_paranoid: known(3),
            kexec_load_disabled: known(1),
            randomize_va_space: known(2),
            unprivileged_userns_clone: known(0),
            max_user_namespaces: known(10_000),
            protected_hardlinks: known(1),
            protected_symlinks: known(1),
            protected_fifos: known(1),
            protected_regular: known(2),
            suid_dumpable: known(0),
            ipv4_forward: known(1),
            ipv6_forward: known(0),
            ipv4_accept_redirects: known(0),
            ipv4_accept_source_route: known(0),
            tcp_syncookies: known(1),
            overcommit_memory: known(1),
            panic_on_oom: known(0),
            panic: known(10),
            panic_on_oops: known(1),
            keys_root_maxkeys: known(1_000_000),
            keys_root_maxbytes: known(25_000_000),
            modules_disabled: known(0),
            io_uring_disabled: known(2),
            pid_max: known(4_194_304),
            apparmor_restrict_unprivileged_userns: Observed::unavailable_because(Reason::NotPresent, "/proc/sys"),
            mmap_min_addr: known(65_536),
            unprivileged_userfaultfd: known(0),
            ipv4_send_redirects: known(0),
            ipv4_send_redirects_default: known(0),
            ipv4_rp_filter: known(2),
            ipv4_rp_filter_default: known(2),
            ipv6_accept_redirects: known(0),
            ipv6_accept_redirects_default: known(0),
            ipv6_accept_source_route: known(0),
            ipv4_route_localnet: known(0),
        },
        lsms: listed(&["lockdown", "capability", "yama", "apparmor"]),
        apparmor: known(true),
        selinux: known(Selinux { enabled: false, enforcing: false }),
        seccomp: known(true),
        lockdown: known("integrity".into()),
        module_signatures: known(true),
        // Derived.
        unprivileged_user_namespaces: denied(),
        newer_installed: denied(),
        taint: known(0),
        cpu_vulnerabilities: complete(vec![CpuVulnerability {
            subject: "cpu:meltdown".into(),
            name: "meltdown".into(),
            status: "Mitigation: PTI".into(),
        }]),
        swaps: complete(vec![]),
        installed: complete(vec![
            InstalledKernel::unread("6.12.43+deb13-amd64", "/lib/modules/6.12.43+deb13-amd64"),
            InstalledKernel::unread("6.12.48+deb13-amd64", "/lib/modules/6.12.48+deb13-amd64"),
        ]),
        reboot_sentinels: complete(vec![]),
        livepatches: listed(&[]),
        ..Kernel::unread("", "")
    }
}

fn system() -> System {
    let mount = |path: &str, mounted_at: &str, options: &[&str]| MountPoint {
        subject: format!("mount:{path}"),
        path: path.into(),
        mounted_at: mounted_at.into(),
        kind: "tmpfs".into(),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
    };
    let seen = |name: &str, by: &str| complete(vec![ServiceSeen { name: name.into(), by: by.into() }]);
    System {
        mounts: complete(vec![
            mount("/tmp", "/tmp", &["nodev", "nosuid", "rw"]),
            mount("/var/tmp", "/var", &["nodev", "nosuid", "rw"]),
            mount("/proc", "/proc", &["hidepid=invisible", "rw"]),
        ]),
        disks: complete(vec![
            Disk {
                subject: "disk:/".into(),
                path: "/".into(),
                holds: vec!["/".into(), "/var/lib/kubelet".into()],
                used_percent: 45,
                inodes_percent: 5,
            },
            Disk {
                subject: "disk:/var/log".into(),
                path: "/var/log".into(),
                holds: vec!["/var/log".into()],
                used_percent: 85,
                inodes_percent: 0,
            },
        ]),
        core_pattern: known("|/usr/lib/systemd/systemd-coredump %P %u %g %s %t 9223372036854775808 %h".into()),
        // Its defaults are derived.
        journald: known(Settings::new()),
        journal_persistent: known(true),
        shippers: complete(vec![LogShipper {
            subject: "shipper:fluent-bit".into(),
            name: "fluent-bit".into(),
            destination: "tls://logs.example:24224".into(),
            encrypted: "yes".into(),
            buffered: "yes".into(),
            source: "/etc/fluent-bit/fluent-bit.conf".into(),
        }]),
        time_services: seen("chronyd", "process"),
        clock_synchronised: known(true),
        updates: seen("unattended-upgrades", "file"),
        protection: seen("falco", "process"),
        binaries: complete(vec![Binary {
            subject: "binary:/usr/bin/kubelet".into(),
            path: "/usr/bin/kubelet".into(),
            sha256: "a".repeat(64),
            listed: known(true),
        }]),
    }
}

/// The host as a server, to change.
pub(crate) fn system_of(facts: &mut NodeFacts) -> &mut System {
    facts.system.value_mut().expect("the base knows it")
}

/// The kernel, to change.
pub(crate) fn kernel_of(facts: &mut NodeFacts) -> &mut Kernel {
    facts.kernel.value_mut().expect("the base knows its kernel")
}

/// The kubelet, to change.
pub(crate) fn kubelet_of(facts: &mut NodeFacts) -> &mut Kubelet {
    items(&mut facts.kubelets).first_mut().expect("the base has a kubelet")
}

/// One component, to change.
pub(crate) fn component_of<'a>(facts: &'a mut NodeFacts, name: &str) -> &'a mut Component {
    items(&mut facts.components).iter_mut().find(|component| component.name == name).expect("the base has it")
}

/// Sets fields of the kubelet's configuration file.
pub(crate) fn configure(facts: &mut NodeFacts, fields: Value) {
    let document = items(&mut kubelet_of(facts).documents).first_mut().expect("the base has a document");
    let content = document.content.value_mut().expect("known");
    for (field, value) in fields.as_object().expect("fields") {
        content[field] = value.clone();
    }
}

/// Makes the kubelet's configuration file unreadable.
pub(crate) fn hide_config(facts: &mut NodeFacts) {
    items(&mut kubelet_of(facts).documents).first_mut().expect("the base has a document").content = denied();
}

/// Adds a flag to the kubelet's command line.
pub(crate) fn kubelet_flag(facts: &mut NodeFacts, flag: &str) {
    kubelet_of(facts).argv.push(flag.into());
}

/// Replaces a component's flags.
pub(crate) fn flags(facts: &mut NodeFacts, name: &str, flags: &str) {
    component_of(facts, name).argv = words(&format!("{name} {flags}"));
}

/// No kubelet runs here.
pub(crate) fn no_kubelet(facts: &mut NodeFacts) {
    facts.kubelets = complete(vec![]);
}

/// Replaces the answers of the kubelet's API port.
pub(crate) fn answers(facts: &mut NodeFacts, outcome: ProbeOutcome, status: i64) {
    remove(&mut facts.probes, |probe| probe.port == 10250);
    items(&mut facts.probes).push(probe(10250, true, outcome, status));
}
