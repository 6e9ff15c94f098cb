//! Certificates in files and kubeconfigs, made for the test and read through the whole sensor.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use holdfast_agent::sensors::Sensors;
use holdfast_checks::derive::{dates, derive};
use holdfast_checks::facts::{CertificateFact, Group, NodeFacts, Reason};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};

use super::hostile::{Tree, fifo};
use super::{complete, known, options, recorded};

fn params(name: &str, organization: &str, authority: bool) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = DistinguishedName::new();
    if !organization.is_empty() {
        params.distinguished_name.push(DnType::OrganizationName, organization);
    }
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2027, 1, 1);
    params.is_ca = if authority { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::NoCa };
    params
}

/// An authority: its certificate in PEM, and what signs.
pub(super) struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = params(name, "", true);
        Self { pem: params.self_signed(&key).unwrap().pem(), issuer: Issuer::new(params, key) }
    }

    /// Certificate and key in PEM.
    fn sign(&self, name: &str, organization: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        (params(name, organization, false).signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

fn kubeconfig(user: &str, credentials: &str) -> String {
    format!("apiVersion: v1\nkind: Config\nusers:\n- name: {user}\n  user:\n    {credentials}\n    token: sup3rsecret\n")
}

fn embedded(pem: &str) -> String {
    format!("client-certificate-data: {}", STANDARD.encode(pem))
}

/// A control plane's files as kubeadm lays them out.
pub(super) fn kubeadm(tree: &Tree) -> Vec<String> {
    let [ca, etcd, front] = ["kubernetes", "etcd-ca", "front-proxy-ca"].map(Authority::new);
    let mut keys = Vec::new();
    let mut put = |path: &str, (certificate, key): (String, String)| {
        tree.write(&format!("host/etc/kubernetes/pki/{path}.crt"), certificate);
        tree.write(&format!("host/etc/kubernetes/pki/{path}.key"), &key);
        keys.push(key);
    };
    for (path, authority) in [("ca", &ca), ("etcd/ca", &etcd), ("front-proxy-ca", &front)] {
        put(path, (authority.pem.clone(), authority.issuer.key().serialize_pem()));
    }
    put("apiserver", ca.sign("kube-apiserver", ""));
    put("apiserver-kubelet-client", ca.sign("kube-apiserver-kubelet-client", "kubeadm:cluster-admins"));
    put("apiserver-etcd-client", etcd.sign("kube-apiserver-etcd-client", ""));
    put("front-proxy-client", front.sign("front-proxy-client", ""));
    for name in ["etcd/server", "etcd/peer", "etcd/healthcheck-client"] {
        put(name, etcd.sign(name, ""));
    }
    for (name, user) in
        [("admin", "kubernetes-admin"), ("super-admin", "kubernetes-super-admin"), ("scheduler", "s"), ("controller-manager", "c")]
    {
        tree.write(&format!("host/etc/kubernetes/{name}.conf"), kubeconfig(user, &embedded(&ca.sign(user, "system:masters").0)));
    }
    let credentials = "client-certificate: /var/lib/kubelet/pki/kubelet-client-current.pem";
    tree.write("host/etc/kubernetes/kubelet.conf", kubeconfig("default-auth", credentials));
    let (certificate, key) = ca.sign("system:node:n1", "system:nodes");
    tree.write("host/var/lib/kubelet/pki/kubelet-client-2026-01-01-00-00-00.pem", format!("{certificate}{key}"));
    symlink("kubelet-client-2026-01-01-00-00-00.pem", tree.path("host/var/lib/kubelet/pki/kubelet-client-current.pem")).unwrap();
    keys.push(key);
    for name in ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"] {
        tree.write(&format!("host/etc/kubernetes/manifests/{name}.yaml"), "");
    }
    for path in ["var/lib/kubelet/config.yaml", "usr/lib/systemd/system/kubelet.service", "etc/cni/net.d/10-x.conflist", "etc/config.yaml"]
    {
        tree.write(&format!("host/{path}"), "authentication: {x509: {clientCAFile: /etc/kubernetes/pki/ca.crt}}");
    }
    keys
}

fn certificate<'a>(facts: &'a NodeFacts, subject: &str) -> &'a CertificateFact {
    let certificates = &known(&facts.certificates).items;
    certificates.iter().find(|fact| fact.subject == subject).unwrap_or_else(|| panic!("{subject} is not in {certificates:?}"))
}

#[test]
fn every_certificate_of_a_control_plane_is_read_with_its_authority_and_no_key() {
    let tree = Tree::new();
    let keys = kubeadm(&tree);
    let mut facts = tree.read();
    derive(&mut facts);
    dates(&mut facts, jiff::civil::date(2026, 12, 2));
    let rows: Vec<_> = complete(&facts.certificates)
        .iter()
        .map(|fact| format!("{} by {} in {} days", fact.subject, fact.issued_by, known(&fact.days_left)))
        .collect();
    insta::assert_debug_snapshot!(rows);
    let admin = certificate(&facts, "certificate:/etc/kubernetes/admin.conf#kubernetes-admin");
    assert_eq!(
        (admin.user.as_str(), known(&admin.certificate).organizations.as_slice()),
        ("kubernetes-admin", &["system:masters".to_owned()][..])
    );
    let kubelet = certificate(&facts, "certificate:/etc/kubernetes/kubelet.conf#default-auth");
    assert_eq!((kubelet.path.as_str(), kubelet.role.as_str()), ("/var/lib/kubelet/pki/kubelet-client-current.pem", "kubelet_kubeconfig"));
    let text = serde_json::to_string(&facts).unwrap();
    assert!(!text.contains("sup3rsecret") && !text.contains("PRIVATE KEY"));
    for key in keys {
        let line = key.lines().nth(1).unwrap();
        assert!(line.len() > 40 && !text.contains(line), "a key is in the facts");
    }
}

#[test]
fn what_cannot_be_read_says_why_and_the_rest_stands() {
    let tree = Tree::new();
    kubeadm(&tree);
    let pki = |name: &str| format!("host/etc/kubernetes/pki/{name}");
    tree.write(&pki("garbage.crt"), "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n");
    tree.write(&pki("empty.crt"), "");
    fs::remove_file(tree.path(&pki("apiserver.crt"))).unwrap();
    fifo(&tree.path(&pki("apiserver.crt")));
    fs::File::create(tree.path(&pki("huge.crt"))).unwrap().set_len(2 << 30).unwrap();
    tree.write("host/etc/kubernetes/admin.conf", "users: sup3rsecret");
    tree.write("host/etc/kubernetes/scheduler.conf", kubeconfig("s", "client-certificate-data: '%%%'"));
    tree.write("host/etc/kubernetes/controller-manager.conf", kubeconfig("c", "client-certificate: gone.pem"));
    let facts = tree.read();
    let reason = |subject: &str| certificate(&facts, subject).certificate.unavailable().map(|why| why.reason);
    let at = "certificate:/etc/kubernetes";
    assert_eq!(reason(&format!("{at}/pki/garbage.crt")), Some(Reason::Malformed));
    assert_eq!(reason(&format!("{at}/pki/empty.crt")), Some(Reason::Malformed));
    assert_eq!(reason(&format!("{at}/pki/apiserver.crt")), Some(Reason::Malformed));
    assert_eq!(reason(&format!("{at}/pki/huge.crt")), Some(Reason::TooLarge));
    assert_eq!(reason(&format!("{at}/admin.conf")), Some(Reason::Malformed));
    assert_eq!(reason(&format!("{at}/scheduler.conf#s")), Some(Reason::Malformed));
    assert_eq!(reason(&format!("{at}/controller-manager.conf#c")), Some(Reason::NotPresent));
    assert_eq!(certificate(&facts, &format!("{at}/controller-manager.conf#c")).path, "/etc/kubernetes/gone.pem");
    assert_eq!(reason(&format!("{at}/pki/ca.crt")), None);
    assert!(!serde_json::to_string(&facts).unwrap().contains("sup3rsecret"));
}

#[test]
fn a_bundle_gives_each_of_its_certificates_within_bounds() {
    let tree = Tree::new();
    let ca = Authority::new("kubernetes");
    let (leaf, key) = ca.sign("server", "");
    tree.write("host/etc/kubernetes/pki/apiserver.crt", format!("{leaf}{key}{}", ca.pem));
    tree.write("host/etc/kubernetes/pki/many.crt", ca.pem.repeat(300));
    let facts = tree.read();
    let listing = known(&facts.certificates);
    let of = |path: &str| listing.items.iter().filter(|fact| fact.path.ends_with(path)).count();
    assert_eq!((of("apiserver.crt"), of("many.crt")), (2, 256));
    assert_eq!(listing.skipped.iter().map(|skipped| skipped.reason).collect::<Vec<_>>(), [Reason::TooLarge]);
    let second = certificate(&facts, "certificate:/etc/kubernetes/pki/apiserver.crt#2");
    assert!(known(&second.certificate).self_signed);
    assert_eq!(second.issued_by, second.path);
    let first = certificate(&facts, "certificate:/etc/kubernetes/pki/apiserver.crt");
    assert_eq!(first.issued_by, "/etc/kubernetes/pki/many.crt", "one that opens its file comes before one at the end of a chain");
}

#[test]
fn a_renewed_certificate_is_read_when_its_files_are() {
    let tree = Tree::new();
    kubeadm(&tree);
    let mut sensors = Sensors::open(options(&tree.path("host"), &tree.path("proc"))).unwrap();
    let mut facts = sensors.read_all(&mut |_| {});
    let subject = "certificate:/etc/kubernetes/pki/apiserver.crt";
    let before = known(&certificate(&facts, subject).certificate).fingerprint.clone();
    tree.write("host/etc/kubernetes/pki/apiserver.crt", Authority::new("other").sign("kube-apiserver", "").0);
    let read = sensors.refresh(&mut facts, &BTreeSet::from([Group::Files]));
    assert!(read.contains(&Group::Certificates), "{read:?}");
    let after = certificate(&facts, subject);
    assert_ne!(known(&after.certificate).fingerprint, before);
    assert_eq!(after.issued_by, "", "nobody here signed it");
}

#[test]
fn a_recording_without_the_content_of_its_files_says_so_once_a_file() {
    let tree = recorded("hardened");
    let facts = super::read(options(&tree.join("host"), &tree.join("proc")));
    let certificates = known(&facts.certificates);
    assert!(certificates.items.is_empty(), "{:?}", certificates.items);
    let skipped: Vec<(&str, Reason)> = certificates.skipped.iter().map(|skipped| (skipped.what.as_str(), skipped.reason)).collect();
    assert!(skipped.len() > 10);
    assert!(
        skipped.contains(&("/etc/kubernetes/admin.conf, whose content the recording does not hold", Reason::NotSupported)),
        "{skipped:?}"
    );
}

/// Whoever writes a bundle chooses the names in it: trying each key on each certificate would take minutes.
#[test]
fn a_bundle_of_authorities_that_all_have_one_name_is_read_in_time() {
    let tree = Tree::new();
    let authority = Authority::new("same");
    let (leaf, _) = authority.sign("leaf", "");
    let crowd: String = (0..200).map(|_| Authority::new("same").pem).collect();
    let leaves: String = (0..200).map(|_| authority.sign("same", "").0).collect();
    for number in 0..2 {
        tree.write(&format!("host/etc/kubernetes/pki/many{number}.crt"), &crowd);
        tree.write(&format!("host/etc/kubernetes/pki/leaves{number}.crt"), &leaves);
    }
    tree.write("host/etc/kubernetes/pki/ca.crt", &authority.pem);
    tree.write("host/etc/kubernetes/pki/leaf.crt", &leaf);
    let started = std::time::Instant::now();
    let facts = tree.read();
    assert!(started.elapsed() < std::time::Duration::from_mins(2), "{:?}", started.elapsed());
    let found = known(&facts.certificates).items.iter().find(|fact| fact.path.ends_with("/leaf.crt")).unwrap();
    assert!(found.issued_by.ends_with("/ca.crt"), "an authority that opens its file comes first: {}", found.issued_by);
}
