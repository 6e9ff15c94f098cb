//! Fixtures of `files.yaml`.

use holdfast_checks::entries::Verdict;
use holdfast_checks::facts::*;

use crate::base::*;
use crate::case::{Case, judged};

fn of_role<'a>(facts: &'a mut NodeFacts, role: &str) -> &'a mut FileFact {
    items(&mut facts.files).iter_mut().find(|file| file.role == role).expect("the base has one")
}

fn about(check: &'static str, roles: &'static [&'static str]) -> Case {
    Case::of(check)
        .not_applicable(|facts| remove(&mut facts.files, |file| roles.contains(&file.role.as_str())))
        .unreadable("permission_denied", |facts| facts.files = denied())
        .unreadable("incomplete", |facts| {
            let skipped = Skipped { what: "/etc/kubernetes".into(), reason: Reason::PermissionDenied };
            facts.files.value_mut().expect("known").skipped.push(skipped);
        })
}

/// A directory of root's.
fn directory(path: &str, mode: i64) -> Step {
    Step { path: path.into(), mode, uid: 0, gid: 0, acl: vec![] }
}

/// A directory that only root enters is on the way to the file.
fn closed(facts: &mut NodeFacts, role: &str) {
    of_role(facts, role).way = known(vec![directory("/", 0o755), directory("/closed", 0o700)]);
}

/// What anybody enters is on the way to the file.
fn open(facts: &mut NodeFacts, role: &str) {
    of_role(facts, role).way = known(vec![directory("/", 0o755), directory("/open", 0o755)]);
}

fn mode(check: &'static str, role: &'static [&'static str], bad: i64) -> Case {
    about(check, role)
        .passes(|facts| of_role(facts, role[0]).mode &= 0o400)
        .passes(move |facts| {
            of_role(facts, role[0]).mode = bad;
            closed(facts, role[0]);
        })
        .fails(move |facts| of_role(facts, role[0]).mode = bad)
        .fails(move |facts| {
            of_role(facts, role[0]).mode = bad;
            open(facts, role[0]);
        })
        .fails(|facts| of_role(facts, role[0]).mode = 0o077)
        .unreadable("permission_denied", move |facts| {
            let file = of_role(facts, role[0]);
            (file.mode, file.way) = (bad, denied());
        })
}

fn owner(check: &'static str, roles: &'static [&'static str]) -> Case {
    let mut case = about(check, roles);
    for role in roles {
        case = case
            .fails(|facts| of_role(facts, role).uid = 1000)
            .fails(|facts| {
                let file = of_role(facts, role);
                (file.gid, file.mode) = (1000, 0o640);
            })
            // Its owner does not get that far.
            .passes(|facts| {
                of_role(facts, role).uid = 1000;
                closed(facts, role);
            });
    }
    case
}

/// alice's kubeconfig, with a mode and a way that is hers.
fn alice(facts: &mut NodeFacts, mode: i64, home: i64) {
    let mut config = file("kubeconfig", "/home/alice/.kube/config", mode);
    (config.uid, config.gid) = (1000, 1000);
    config.way = known(vec![directory("/home", 0o755), Step { uid: 1000, gid: 1000, ..directory("/home/alice", home) }]);
    items(&mut facts.files).push(config);
}

fn home_kubeconfig() -> Case {
    Case::only("home-kubeconfig")
        .passes(|facts| alice(facts, 0o600, 0o755))
        .passes(|facts| alice(facts, 0o644, 0o700))
        .passes(|facts| items(&mut facts.files).push(file("kubeconfig", "/root/.kube/config", 0o600)))
        .fails(|facts| alice(facts, 0o644, 0o755))
        .fails(|facts| alice(facts, 0o600, 0o777))
        .fails(|facts| items(&mut facts.files).push(file("kubeconfig", "/root/.kube/config", 0o644)))
        .not_applicable(|_| {})
        .unreadable("permission_denied", |facts| facts.files = denied())
        .unreadable("permission_denied", |facts| {
            alice(facts, 0o600, 0o700);
            items(&mut facts.files).last_mut().expect("hers").way = denied();
        })
}

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::of("kubernetes-file-writable")
            .passes(|facts| of_role(facts, "etcd_data").mode = 0o770)
            .fails(|facts| of_role(facts, "manifest").mode = 0o620)
            .fails(|facts| of_role(facts, "kubelet_unit").mode = 0o666)
            .fails(|facts| of_role(facts, "pki_directory").uid = 1000)
            // Whoever can write the directory puts another file in its place.
            .fails(|facts| of_role(facts, "manifest").way = known(vec![directory("/etc/kubernetes/manifests", 0o777)]))
            .fails(|facts| {
                let manifest = of_role(facts, "manifest");
                manifest.acl = vec![AclEntry { whom: "user".into(), id: 1000, permissions: 6 }];
            })
            .passes(|facts| {
                of_role(facts, "manifest").mode = 0o666;
                closed(facts, "manifest");
            })
            .not_applicable(|facts| {
                remove(&mut facts.files, |file| file.role != "etcd_data");
            })
            .unreadable("permission_denied", |facts| of_role(facts, "manifest").way = denied())
            .unreadable("permission_denied", |facts| facts.files = denied()),
        mode("kubelet-config-mode", &["kubelet_config"], 0o644)
            // An ACL names who the mode does not.
            .fails(|facts| {
                let config = of_role(facts, "kubelet_config");
                config.mode = 0o640;
                config.acl = vec![AclEntry { whom: "user".into(), id: 1000, permissions: 4 }];
            }),
        owner("kubelet-config-owner", &["kubelet_config"]),
        mode("kubelet-kubeconfig-mode", &["kubelet_kubeconfig"], 0o640)
            // A symlink to a file of mode 0600: the metadata is the file's.
            .passes(|facts| of_role(facts, "kubelet_kubeconfig").target = "/data/kubelet.conf".into()),
        owner("kubelet-kubeconfig-owner", &["kubelet_kubeconfig"]),
        mode("kubelet-unit-mode", &["kubelet_unit"], 0o644),
        owner("kubelet-unit-owner", &["kubelet_unit"]),
        mode("kubelet-ca-mode", &["kubelet_ca"], 0o664),
        owner("kubelet-ca-owner", &["kubelet_ca"]),
        mode("kube-proxy-kubeconfig-mode", &["kube_proxy_kubeconfig"], 0o604),
        owner("kube-proxy-kubeconfig-owner", &["kube_proxy_kubeconfig"]),
        mode("kubeconfig-mode", &["kubeconfig"], 0o644),
        owner("kubeconfig-owner", &["kubeconfig"]),
        home_kubeconfig(),
        mode("manifest-mode", &["manifest"], 0o644),
        owner("manifest-owner", &["manifest"]),
        mode("pki-key-mode", &["pki_key"], 0o640),
        mode("pki-certificate-mode", &["pki_certificate"], 0o646),
        owner("pki-owner", &["pki_certificate", "pki_key", "pki_directory"]),
        about("etcd-data-owner", &["etcd_data"]).fails(|facts| {
            let data = of_role(facts, "etcd_data");
            (data.uid, data.gid) = (0, 0);
        }),
        mode("etcd-data-mode", &["etcd_data"], 0o750),
        mode("cni-config-mode", &["cni_config"], 0o644),
        owner("cni-config-owner", &["cni_config"]),
    ]
}

#[test]
fn modes_are_shown_in_octal() {
    let findings = judged("pki-key-mode", &|facts| of_role(facts, "pki_key").mode = 0o644);
    assert_eq!(findings[0].deciding(), "mode = 0644 (kernel test)");
}

/// What a person keeps at home is judged by what it is to that person, not by the benchmark's rows about the control plane.
#[test]
fn a_kubeconfig_at_home_need_not_belong_to_root() {
    for check in ["kubeconfig-mode", "kubeconfig-owner", "kubernetes-file-writable"] {
        let findings = judged(check, &|facts| alice(facts, 0o600, 0o700));
        assert!(findings.iter().all(|finding| !finding.subject.contains("alice")), "{findings:#?}");
    }
}

#[test]
fn a_runtime_configuration_that_anybody_can_write_is_a_finding() {
    let findings = judged("kubernetes-file-writable", &|facts| of_role(facts, "container_runtime_config").mode = 0o666);
    let failed: Vec<&str> =
        findings.iter().filter(|finding| finding.verdict == Verdict::Fail).map(|finding| finding.subject.as_str()).collect();
    assert_eq!(failed, ["file:/etc/containerd/config.toml"]);
}
