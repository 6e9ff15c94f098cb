//! The network group through the sensors: what a node's files say, and what bad ones leave unknown.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use holdfast_agent::sensors::{CriEndpoint, SensorOptions, Sensors};
use holdfast_checks::facts::{BindScope, Group, Network, Reason};
use holdfast_checks::inventory::{NetworkDocument, entries};
use rstest::rstest;

use crate::facts;
use crate::tree::Tree;

const TRIE: &str = "Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 10.1.2.3
        /32 host LOCAL
     |-- 10.1.255.255
        /32 link BROADCAST
     |-- 8.8.4.4
        /32 host LOCAL
     |-- 127.0.0.1
        /32 host LOCAL
";
const SIX: &str = "00000000000000000000000000000001 01 80 10 80       lo
fe80000000000000a00000fffe000001 02 40 20 80     eth0
";
static DEEP: [u8; 100_000] = [b'['; 100_000];
static HUGE: [u8; 2_000_000] = [b' '; 2_000_000];
const CALICO: &str = r#"{"name": "k8s-pod-network", "plugins": [{"type": "calico"}, {"type": "portmap"}]}"#;

/// A kubeadm node with Calico, ufw that is switched on, firewalld that runs, and an SSH server.
fn node() -> Tree {
    let (tree, _) = crate::nodes::kubeadm();
    for (table, content) in [("fib_trie", TRIE), ("if_inet6", SIX), ("ip_tables_names", "filter\nnat\n"), ("ip6_tables_names", "filter\n")]
    {
        tree.plain(&format!("proc/1/net/{table}"), content);
    }
    tree.plain("host/etc/systemd/system/multi-user.target.wants/ufw.service", "");
    tree.plain("host/etc/ufw/ufw.conf", "# c\nENABLED=yes\nLOGLEVEL=low\n");
    tree.plain("host/etc/cni/net.d/10-calico.conflist", CALICO);
    tree.plain("host/etc/cni/net.d/99-loopback.conf", r#"{"type": "loopback"}"#);
    tree.plain("host/etc/cni/net.d/calico-kubeconfig", "");
    tree.plain("host/etc/ssh/sshd_config", "Include /etc/ssh/sshd_config.d/*.conf\nPermitRootLogin yes\n");
    tree.plain("host/etc/ssh/sshd_config.d/10-ours.conf", "PermitRootLogin no\n");
    tree.service(20, "/usr/sbin/firewalld", "/usr/sbin/firewalld --nofork");
    tree.pod(21, "/usr/bin/calico-node");
    tree
}

fn network(tree: &Tree) -> Network {
    facts(tree).network.value().unwrap().clone()
}

#[test]
fn a_nodes_network_is_what_its_files_say() {
    let network = network(&node());
    let addresses = &network.addresses.value().unwrap().items;
    let shown: Vec<String> =
        addresses.iter().map(|address| format!("{} {} {:?}", address.address, address.interface, address.scope)).collect();
    let expected = ["8.8.4.4  Public", "10.1.2.3  Node", "127.0.0.1 lo Loopback", "::1 lo Loopback", "fe80::a000:ff:fe00:1 eth0 Node"];
    assert_eq!(shown, expected);
    let firewall = network.firewall.value().unwrap();
    assert_eq!((firewall.legacy_tables.join(" "), firewall.services.join(" ")), ("filter nat".to_owned(), "firewalld ufw".to_owned()));
    let cni = network.cni.value().unwrap();
    assert_eq!((cni.path.as_str(), cni.name.as_str()), ("/etc/cni/net.d/10-calico.conflist", "k8s-pod-network"));
    assert_eq!((cni.enforces_policies.as_str(), cni.because.as_str()), ("yes", "calico-node runs on this node"));
    let sshd = network.sshd.value().unwrap();
    let setting = |name: &str| {
        let setting = sshd[name].value().unwrap();
        format!("{} {}", setting.value, setting.source)
    };
    assert_eq!(setting("PermitRootLogin"), "\"no\" drop-in /etc/ssh/sshd_config.d/10-ours.conf");
    assert_eq!(setting("PasswordAuthentication"), "true default OpenSSH");
}

/// It stands there in one piece, as the server shows itself.
#[test]
fn an_ssh_server_started_with_options_is_not_judged_by_its_file() {
    let tree = node();
    tree.service(22, "/usr/sbin/sshd", "sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups");
    assert!(network(&tree).sshd.value().is_some());
    tree.service(22, "/usr/sbin/sshd", "sshd: /usr/sbin/sshd -D -o PermitRootLogin=yes [listener] 0 of 10-100 startups");
    let why = network(&tree).sshd.unavailable().cloned().unwrap();
    assert!(why.detail.contains("-o"), "{}", why.detail);
}

#[test]
fn the_inventory_has_the_addresses_by_which_others_reach_the_node() {
    let inventory = entries(&facts(&node()), 0);
    let entry = inventory.entries.iter().find(|entry| entry.key.as_str() == "network/self").unwrap();
    let holdfast_checks::entries::Body::Inventory(body) = &entry.body else { panic!("no inventory") };
    let document: NetworkDocument = serde_json::from_str(&body.json).unwrap();
    let addresses = document.addresses.unwrap();
    let shown: Vec<(&str, BindScope)> = addresses.iter().map(|address| (address.address.as_str(), address.scope)).collect();
    assert_eq!(shown, [("8.8.4.4", BindScope::Public), ("10.1.2.3", BindScope::Node)]);
    assert_eq!(document.cni.unwrap().enforces_policies, "yes");
    assert_eq!(document.firewall.unwrap().services, ["firewalld", "ufw"]);
}

#[test]
fn ufw_that_is_installed_and_switched_off_filters_nothing() {
    let tree = node();
    tree.plain("host/etc/ufw/ufw.conf", "ENABLED=yes\nENABLED=no\n");
    assert_eq!(network(&tree).firewall.value().unwrap().services, ["firewalld"]);
}

#[test]
fn what_a_recording_lacks_is_not_known_and_never_none() {
    let (tree, _) = crate::nodes::kubeadm();
    let network = network(&tree);
    for why in [network.addresses.unavailable(), network.firewall.unavailable(), network.cni.unavailable(), network.sshd.unavailable()] {
        assert_eq!(why.unwrap().reason, Reason::NotPresent);
    }
}

#[test]
fn the_pod_network_is_looked_for_where_the_profile_says() {
    let (tree, _) = crate::nodes::k3s();
    tree.plain("host/etc/cni/net.d/10-calico.conflist", CALICO);
    let flannel = r#"{"name": "cbr0", "plugins": [{"type": "flannel"}, {"type": "portmap"}]}"#;
    tree.plain("host/var/lib/rancher/k3s/agent/etc/cni/net.d/10-flannel.conflist", flannel);
    let network = network(&tree);
    let cni = network.cni.value().unwrap();
    assert_eq!((cni.plugins[0].as_str(), cni.enforces_policies.as_str()), ("flannel", "unknown"), "{}", cni.because);
}

#[rstest]
#[case::truncated(b"{\"plugins\": [".as_slice(), Reason::Malformed, "not JSON")]
#[case::no_plugin(b"{}".as_slice(), Reason::Malformed, "names no plug-in")]
#[case::bytes(b"\xff\xfe\x00".as_slice(), Reason::Malformed, "not JSON")]
#[case::deep(&DEEP, Reason::Malformed, "not JSON")]
#[case::huge(&HUGE, Reason::TooLarge, "larger than")]
fn a_bad_pod_network_configuration_is_unknown_with_the_reason(#[case] content: &[u8], #[case] reason: Reason, #[case] words: &str) {
    let tree = node();
    tree.plain("host/etc/cni/net.d/05-first.conflist", content);
    let started = Instant::now();
    let network = network(&tree);
    let why = network.cni.unavailable().unwrap();
    assert_eq!(why.reason, reason, "{}", why.detail);
    assert!(why.detail.contains(words) && why.detail.contains("05-first.conflist"), "{}", why.detail);
    assert!(started.elapsed() < Duration::from_mins(2));
    assert!(network.sshd.value().is_some(), "everything else is known");
}

#[test]
fn links_that_lead_nowhere_and_directories_in_the_place_of_files_are_survived() {
    let tree = node();
    symlink("05-loop.conf", tree.path("host/etc/cni/net.d/05-loop.conf")).unwrap();
    std::fs::remove_file(tree.path("host/etc/ufw/ufw.conf")).unwrap();
    std::fs::create_dir(tree.path("host/etc/ufw/ufw.conf")).unwrap();
    tree.plain("proc/1/net/fib_trie", b"|-- \xff\n/32 host LOCAL\n".as_slice());
    let network = network(&tree);
    assert_eq!(network.cni.unavailable().unwrap().reason, Reason::Malformed);
    assert_eq!(network.firewall.unavailable().unwrap().reason, Reason::Malformed);
    assert_eq!(network.addresses.value().unwrap().items.len(), 2, "those of the other table");
}

#[test]
fn this_hosts_own_addresses_are_found() {
    let host = Path::new("/");
    let options = SensorOptions {
        host_root: host.to_owned(),
        proc: host.join("proc"),
        probe: false,
        node_name: None,
        cluster: String::new(),
        configz: None,
        known_binaries: None,
        cri: CriEndpoint::Off,
    };
    let facts = Sensors::open(options).unwrap().read_all(&mut |_| {});
    let network = facts.network.value().unwrap();
    match network.addresses.value() {
        Some(addresses) => {
            let loopback = addresses.items.iter().find(|address| address.address == "127.0.0.1").unwrap();
            assert_eq!((loopback.interface.as_str(), loopback.scope), ("lo", BindScope::Loopback));
        }
        // Process 1 of somebody else's.
        None => assert_eq!(network.addresses.unavailable().unwrap().reason, Reason::PermissionDenied),
    }
}

#[test]
fn the_directories_that_decide_the_network_and_the_profiles_are_watched() {
    let (tree, _) = crate::nodes::k3s();
    let options = SensorOptions {
        host_root: tree.path("host"),
        proc: tree.path("proc"),
        probe: false,
        configz: None,
        known_binaries: None,
        cri: CriEndpoint::Off,
        node_name: None,
        cluster: String::new(),
    };
    let mut sensors = Sensors::open(options).unwrap();
    let facts = sensors.read_all(&mut |_| {});
    let watched = sensors.watched(&facts).unwrap();
    let groups = |path: &str| {
        let path = tree.path("host").join(path);
        watched.iter().find(|(watched, _)| *watched == path).map(|(_, groups)| groups.clone()).unwrap_or_default()
    };
    for path in ["etc/ssh", "etc/ssh/sshd_config.d", "etc/cni/net.d", "var/lib/rancher/k3s/agent/etc/cni/net.d"] {
        assert!(groups(path).contains(&Group::Network), "{path}");
    }
    assert!(groups("var/lib/rancher/k3s/server/tls").contains(&Group::Files));
}
