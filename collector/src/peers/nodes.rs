//! Node objects of the cluster, as targets of peer probes.
//!
//! A kubelet writes the addresses of its own Node object: what is listed here is where agents are sent, so that each agent's
//! own networks still decide.

use super::targets::{ListedNode, MOST_ADDRESSES, MOST_NODES};
use crate::cluster::{Cluster, NodeObject};

/// Every node with at least one literal address of its own.
pub(super) fn listed(cluster: &Cluster) -> Vec<ListedNode> {
    let nodes = cluster.nodes();
    if nodes.len() > MOST_NODES {
        tracing::warn!(nodes = nodes.len(), "the cluster has more nodes than peer probes take: the rest is not asked about");
    }
    let with_addresses = nodes.into_iter().filter(|node| !node.addresses.is_empty());
    with_addresses.take(MOST_NODES).map(|node| listed_one(cluster.name(), node)).collect()
}

fn listed_one(cluster: &str, node: NodeObject) -> ListedNode {
    let NodeObject { name, mut addresses, zone, .. } = node;
    addresses.truncate(MOST_ADDRESSES);
    ListedNode { cluster: cluster.to_owned(), name, addresses, pool: zone, probe: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_objects_with_an_address_are_targets_in_their_zone() {
        let cluster = Cluster::new("prod");
        let node = |name: &str, addresses: &[&str]| NodeObject {
            name: name.to_owned(),
            uid: format!("uid-{name}"),
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            zone: "a".to_owned(),
            unwatchable: None,
            created_at: 0,
        };
        let many = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"];
        cluster.replace(vec![node("n1", &many), node("n2", &[]), node("n3", &["fd00::3"])], Vec::new(), None);
        let shown: Vec<String> =
            listed(&cluster).iter().map(|node| format!("{} {} {:?} {}", node.cluster, node.name, node.addresses, node.pool)).collect();
        assert_eq!(shown, ["prod n1 [10.0.0.1, 10.0.0.2, 10.0.0.3, 10.0.0.4] a", "prod n3 [fd00::3] a"]);
    }
}
