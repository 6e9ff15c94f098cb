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

fn mode(check: &'static str, role: &'static [&'static str], bad: i64) -> Case {
    about(check, role)
        .passes(|facts| of_role(facts, role[0]).mode &= 0o400)
        .fails(move |facts| of_role(facts, role[0]).mode = bad)
        .fails(|facts| of_role(facts, role[0]).mode = 0o077)
}

fn owner(check: &'static str, roles: &'static [&'static str]) -> Case {
    let mut case = about(check, roles);
    for role in roles {
        case = case.fails(|facts| of_role(facts, role).uid = 1000).fails(|facts| of_role(facts, role).gid = 1000);
    }
    case
}

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::of("kubernetes-file-writable")
            .passes(|facts| of_role(facts, "etcd_data").mode = 0o770)
            .fails(|facts| of_role(facts, "manifest").mode = 0o620)
            .fails(|facts| of_role(facts, "kubelet_unit").mode = 0o666)
            .fails(|facts| of_role(facts, "pki_directory").uid = 1000)
            .not_applicable(|facts| {
                remove(&mut facts.files, |file| file.role != "etcd_data");
            })
            .unreadable("permission_denied", |facts| facts.files = denied()),
        mode("kubelet-config-mode", &["kubelet_config"], 0o644)
            // 0644 in a directory that only root enters.
            .passes(|facts| {
                of_role(facts, "kubelet_config").mode = 0o644;
                items(&mut facts.files).push(file("directory", "/var/lib/kubelet", 0o700));
            })
            .fails(|facts| {
                of_role(facts, "kubelet_config").mode = 0o644;
                items(&mut facts.files).push(file("directory", "/var/lib/kubelet", 0o755));
            })
            // The directory of the link says nothing about the file it leads to.
            .fails(|facts| {
                let config = of_role(facts, "kubelet_config");
                (config.mode, config.target) = (0o644, "/etc/kubelet.yaml".into());
                items(&mut facts.files).push(file("directory", "/var/lib/kubelet", 0o700));
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

#[test]
fn a_runtime_configuration_that_anybody_can_write_is_a_finding() {
    let findings = judged("kubernetes-file-writable", &|facts| of_role(facts, "container_runtime_config").mode = 0o666);
    let failed: Vec<&str> =
        findings.iter().filter(|finding| finding.verdict == Verdict::Fail).map(|finding| finding.subject.as_str()).collect();
    assert_eq!(failed, ["file:/etc/containerd/config.toml"]);
}
