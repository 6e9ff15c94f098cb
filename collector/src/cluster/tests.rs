//! What is known of a cluster, entry by entry.

use super::*;

fn node(name: &str, uid: &str) -> NodeObject {
    let (addresses, zone) = (Vec::new(), String::new());
    NodeObject { name: name.into(), uid: uid.into(), addresses, zone, unwatchable: None, created_at: 0 }
}

fn pod(uid: &str) -> AgentPod {
    AgentPod { uid: uid.into(), name: uid.into(), node: "a".into(), controller: "ours".into(), ended: false }
}

#[test]
fn an_event_that_changes_nothing_wakes_nobody() {
    let cluster = Cluster::new("c");
    cluster.replace(vec![node("a", "1")], vec![pod("p")], Some("ours".into()));
    let mut told = cluster.follow();
    told.mark_unchanged();
    cluster.upsert_node(node("a", "1"));
    cluster.upsert_pod(pod("p"));
    cluster.set_daemon_set(Some("ours".into()));
    cluster.replace_nodes(vec![node("a", "1")]);
    cluster.remove_pod("unheard of");
    cluster.answering(Resource::Nodes);
    assert!(!told.has_changed().unwrap());
    cluster.upsert_node(node("a", "2"));
    assert!(told.has_changed().unwrap());
}

#[test]
fn a_node_that_was_made_again_survives_the_end_of_the_first() {
    let cluster = Cluster::new("c");
    cluster.upsert_node(node("a", "1"));
    cluster.upsert_node(node("a", "2"));
    cluster.remove_node(&node("a", "1"));
    assert_eq!(cluster.node("a").unwrap().uid, "2");
    cluster.remove_node(&node("a", "2"));
    assert_eq!(cluster.node("a"), None);
}

#[test]
fn everything_is_listed_once_all_that_is_awaited_came() {
    let cluster = Cluster::new("c");
    assert!(!cluster.listed());
    cluster.awaits(&[Resource::Nodes, Resource::Pods, Resource::DaemonSets]);
    cluster.replace_nodes(Vec::new());
    cluster.set_daemon_set(None);
    assert!(!cluster.listed());
    let mut told = cluster.follow();
    told.mark_unchanged();
    cluster.replace_pods(Vec::new());
    assert!(cluster.listed() && told.has_changed().unwrap());
}

#[test]
fn away_is_since_the_first_trouble_until_the_last_one_ends() {
    let cluster = Cluster::new("c");
    cluster.troubled(Resource::Pods, "refused", 10);
    cluster.troubled(Resource::Nodes, "refused", 20);
    cluster.troubled(Resource::Pods, "timed out", 30);
    assert_eq!(cluster.away(), Some(("timed out".into(), 10)));
    cluster.answering(Resource::Pods);
    assert_eq!(cluster.away(), Some(("refused".into(), 20)));
    cluster.answering(Resource::Nodes);
    assert_eq!(cluster.away(), None);
}

#[test]
fn no_more_than_so_many_are_kept() {
    let cluster = Cluster::new("c");
    cluster.replace_pods((0..MOST + 5).map(|n| pod(&n.to_string())).collect());
    cluster.upsert_pod(pod("one more"));
    assert_eq!(cluster.lock().pods.len(), MOST);
    cluster.awaits(&[]);
    assert!(!cluster.lacks_pod("one more"), "what is not kept is not known to be gone");
}
