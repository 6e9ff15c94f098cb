//! A node of every family, judged by what this build ships.

use super::*;

fn debian_12() -> NodeFacts {
    let mut facts = machine(os("debian", "12", &[]), "6.1.0-40-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.153-1 (2025-09-20)");
    install(
        &mut facts,
        &[
            ("6.1.0-40-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.153-1 (2025-09-20)"),
            ("6.1.0-44-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.164-1 (2026-03-09)"),
        ],
    );
    runtime(
        &mut facts,
        "containerd",
        "1.6.20~ds1",
        Some(dpkg("containerd", "1.6.20~ds1-1+deb12u1", "containerd")),
        &[
            ("/usr/sbin/runc", "1.1.5+ds1", Some(dpkg("runc", "1.1.5+ds1-1+deb12u1", "runc"))),
            ("/usr/bin/crun", "1.8.1", Some(dpkg("crun", "1.8.1-1+deb12u1", "crun"))),
        ],
    );
    kubelet(&mut facts, "v1.35.3");
    facts
}

#[test]
fn debian() {
    let mut updated = machine(os("debian", "13", &[]), "6.12.104+deb13-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.12.104-1 (2026-08-20)");
    install(&mut updated, &[("6.12.104+deb13-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.12.104-1 (2026-08-20)")]);
    insta::assert_snapshot!(told("debian 12, not rebooted", debian_12(), &built_in()) + &told("debian 13, updated", updated, &built_in()));
}

#[test]
fn ubuntu() {
    let mut hwe =
        machine(os("ubuntu", "22.04", &[]), "6.8.0-51-generic", "#52~22.04.1-Ubuntu SMP PREEMPT_DYNAMIC Mon Dec  9 15:00:52 UTC 2");
    install(&mut hwe, &[("6.8.0-51-generic", ""), ("6.8.0-40-generic", "")]);
    let runc = ("/usr/sbin/runc", "1.1.7", Some(dpkg("runc", "1.1.7-0ubuntu1~22.04.2", "runc")));
    runtime(&mut hwe, "containerd", "1.7.2", Some(dpkg("containerd", "1.7.2-0ubuntu1~22.04.1", "containerd")), &[runc]);
    kubelet(&mut hwe, "v1.36.4");
    let mut signed = machine(os("ubuntu", "24.04", &[]), "6.8.0-60-generic", "#63-Ubuntu SMP PREEMPT_DYNAMIC Tue Apr 15 19:04:15 UTC 2025");
    kernel_of(&mut signed).signature = known("Ubuntu 6.8.0-60.63-generic 6.8.12".to_owned());
    sentinel(&mut signed, &["libc6"]);
    install(&mut signed, &[("6.8.0-60-generic", "#63-Ubuntu SMP PREEMPT_DYNAMIC Tue Apr 15 19:04:15 UTC 2025")]);
    insta::assert_snapshot!(told("ubuntu 22.04, hwe", hwe, &built_in()) + &told("ubuntu 24.04, signature", signed, &built_in()));
}

#[test]
fn enterprise_linux() {
    let mut alma = machine(os("almalinux", "9.7", &[]), "5.14.0-611.20.1.el9_7.x86_64", "#1 SMP PREEMPT_DYNAMIC Tue Jan 20 2026");
    install(&mut alma, &[("5.14.0-611.20.1.el9_7.x86_64", ""), ("5.14.0-687.10.1.el9_8.x86_64", "")]);
    let mut rhel = machine(os("rhel", "8.10", &[]), "4.18.0-553.121.1.el8_10.x86_64", "#1 SMP");
    install(&mut rhel, &[("4.18.0-553.121.1.el8_10.x86_64", "")]);
    let rocky = machine(os("rocky", "9.4", &[]), "5.14.0-427.13.1.el9_4.x86_64", "#1 SMP PREEMPT_DYNAMIC Wed May 1 19:11:28 UTC 2024");
    let mut stream = machine(os("centos", "9", &[("NAME", "CentOS Stream")]), "5.14.0-503.el9.x86_64", "#1 SMP");
    stream.os.value_mut().expect("known").pretty_name = "CentOS Stream 9".into();
    let uek = machine(os("ol", "9.4", &[]), "5.15.0-206.153.7.el9uek.x86_64", "#2 SMP");
    let openshift = {
        let fields = [("OPENSHIFT_VERSION", "4.18"), ("RHEL_VERSION", "9.4"), ("OSTREE_VERSION", "418.94.202602101234-0")];
        let mut facts = machine(os("rhcos", "4.18", &fields), "5.14.0-427.113.1.el9_4.x86_64", "#1 SMP");
        facts.node.profile = "openshift".into();
        runtime(&mut facts, "cri-o", "1.31.13-2.rhaos4.18.git2ed8c9c.el9", None, &[]);
        kubelet(&mut facts, "v1.31.14+a1b2c3d");
        facts
    };
    insta::assert_snapshot!(
        told("almalinux 9, a fix waits", alma, &built_in())
            + &told("rhel 8", rhel, &built_in())
            + &told("rocky 9.4", rocky, &built_in())
            + &told("centos stream 9", stream, &built_in())
            + &told("oracle, uek", uek, &built_in())
            + &told("openshift 4.18", openshift, &built_in())
    );
}

#[test]
fn image_based() {
    let cos = {
        let mut facts = machine(os("cos", "121", &[("BUILD_ID", "18867.90.38")]), "6.6.87+", "#1 SMP PREEMPT_DYNAMIC Sat May 10 2025");
        runtime(&mut facts, "containerd", "2.0.5", None, &[("/usr/bin/runc", "1.2.6", None)]);
        kubelet(&mut facts, "v1.33.5-gke.1080000");
        facts
    };
    let flatcar = {
        let mut facts = machine(os("flatcar", "4230.2.0", &[]), "6.6.95-flatcar", "#1 SMP");
        sentinel(&mut facts, &[]);
        facts
    };
    let talos = {
        let mut facts = machine(os("talos", "v1.11.2", &[]), "6.12.48-talos", "#1 SMP Fri Oct 3 2025");
        runtime(&mut facts, "containerd", "v2.1.4", None, &[("/bin/runc", "1.3.1", None)]);
        kubelet(&mut facts, "v1.34.1");
        facts
    };
    let bottlerocket = {
        let mut facts = machine(os("bottlerocket", "1.15.0", &[]), "5.15.122", "#1 SMP");
        runtime(&mut facts, "containerd", "1.6.23+bottlerocket", None, &[]);
        kubelet(&mut facts, "v1.24.16-eks-a483404");
        facts
    };
    insta::assert_snapshot!(
        told("container-optimized os", cos, &built_in())
            + &told("flatcar", flatcar, &built_in())
            + &told("talos", talos, &built_in())
            + &told("bottlerocket", bottlerocket, &built_in())
    );
}

#[test]
fn tracking_upstream() {
    let amazon = {
        let mut facts = machine(os("amzn", "2023", &[]), "6.1.119-129.201.amzn2023.x86_64", "#1 SMP PREEMPT_DYNAMIC Tue Dec 3 2024");
        install(&mut facts, &[("6.1.119-129.201.amzn2023.x86_64", ""), ("6.12.40-63.114.amzn2023.x86_64", "")]);
        runtime(
            &mut facts,
            "containerd",
            "1.7.27",
            Some(rpm("containerd", "1.7.27-1.amzn2023.0.3")),
            &[("/usr/sbin/runc", "1.2.4", Some(rpm("runc", "1.2.4-1.amzn2023.0.1")))],
        );
        kubelet(&mut facts, "v1.33.5-eks-abcdef0");
        facts
    };
    let vanilla = machine(os("nixos", "26.05", &[]), "6.12.104", "#1-NixOS SMP PREEMPT_DYNAMIC");
    let short = machine(os("arch", "", &[]), "7.2.4-arch1-1", "#1 SMP PREEMPT_DYNAMIC");
    let microvm = {
        let mut facts = machine(os("debian", "12", &[]), "6.18.44-fc-v669", "#1 SMP PREEMPT_DYNAMIC");
        install(&mut facts, &[]);
        facts
    };
    insta::assert_snapshot!(
        told("amazon linux 2023 on eks", amazon, &built_in())
            + &told("nixos", vanilla, &built_in())
            + &told("arch, a short-lived series", short, &built_in())
            + &told("a kernel of nobody's", microvm, &built_in())
    );
}
