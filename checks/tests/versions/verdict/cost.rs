//! What judging a node costs. Printed, not asserted.

use super::*;

#[test]
#[ignore = "prints a measurement"]
fn cost_of_one_node() {
    let mut facts = machine(os("debian", "12", &[]), "6.1.0-40-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.153-1 (2025-09-20)");
    install(&mut facts, &[("6.1.0-40-amd64", ""), ("6.1.0-44-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.164-1 (2026-03-09)")]);
    let runc = ("/usr/sbin/runc", "1.1.5+ds1", Some(dpkg("runc", "1.1.5+ds1-1+deb12u1", "runc")));
    runtime(&mut facts, "containerd", "1.6.20~ds1", Some(dpkg("containerd", "1.6.20~ds1-1+deb12u1", "containerd")), &[runc]);
    kubelet(&mut facts, "v1.35.3");
    component(&mut facts, "kube-proxy", "v1.35.3");
    let knowledge = built_in();
    let mut taken: Vec<u128> = (0..100)
        .map(|_| {
            let mut node = facts.clone();
            let start = std::time::Instant::now();
            judge(&mut node, &knowledge, TODAY);
            start.elapsed().as_micros()
        })
        .collect();
    taken.sort_unstable();
    println!("one node: p50 {} µs, p99 {} µs", taken[49], taken[98]);
}
