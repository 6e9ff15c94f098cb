//! What deriving costs.

use std::time::Instant;

use holdfast_checks::derive::derive;
use serde_json::{Value, json};

use crate::fixture::{drop_in, kubelet, main_file, node, words};

#[test]
#[ignore = "prints a measurement"]
fn cost_of_the_settings_of_one_kubelet() {
    let main: Value = serde_saphyr::from_str(include_str!("../data/configz/hardened/config.yaml")).expect("YAML");
    let documents = vec![
        main_file("KubeletConfiguration", "/var/lib/kubelet/config.yaml", main),
        drop_in("10-a.conf", json!({"readOnlyPort": 0, "evictionHard": {"memory.available": "1Gi"}})),
        drop_in("20-b.conf", json!({"featureGates": {"A": true}, "systemReserved": {"cpu": "200m"}})),
    ];
    let argv = "kubelet --config=/var/lib/kubelet/config.yaml --config-dir=/etc/kubernetes/kubelet.conf.d --node-ip=192.0.2.2 \
                --kubeconfig=/etc/kubernetes/kubelet.conf --feature-gates=B=false --v=2";
    let mut facts = node(vec![kubelet("v1.36.2", words(argv), documents)], vec![]);
    derive(&mut facts);
    let mut took: Vec<_> = (0..100)
        .map(|_| {
            let started = Instant::now();
            derive(&mut facts);
            started.elapsed()
        })
        .collect();
    took.sort();
    println!("a kubelet with a file, two drop-ins and flags: p50 {:?}, p99 {:?}", took[50], took[98]);
}
