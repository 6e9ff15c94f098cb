//! Node objects and nodes, by the time.

use super::*;

const WAITING: Waiting = Waiting { agent_ms: 300, object_ms: 120, tick: Duration::from_secs(1), pace: Duration::ZERO };

fn object(name: &str) -> NodeObject {
    let uid = format!("uid-{name}");
    NodeObject { name: name.into(), uid, addresses: Vec::new(), zone: String::new(), unwatchable: None, created_at: 0 }
}

fn member(node_id: i64, name: &str, state: NodeState, membership: Membership) -> Member {
    let spoke = state != NodeState::Unwatched;
    Member { node_id, uid: format!("uid-{name}"), session: 7, state, since: 0, spoke, membership, unwatchable: String::new() }
}

fn at(ms: u64) -> Moment {
    Moment { mono_ms: ms, wall_ms: i64::try_from(ms).unwrap() }
}

fn moved(difference: &Difference) -> Vec<(i64, Membership)> {
    difference.moved.iter().map(|moved| (moved.node_id, moved.membership)).collect()
}

fn states(difference: &Difference) -> Vec<(i64, NodeState)> {
    difference.states.iter().map(|change| (change.node_id, change.state)).collect()
}

#[test]
fn a_node_object_is_given_time_for_its_agent() {
    let mut watch = Watch::new(WAITING);
    let objects = [object("a"), object("b")];
    assert!(watch.compare(&objects, &[], at(1000)).is_empty());
    assert!(watch.compare(&objects, &[], at(1299)).is_empty());
    let connected = member(1, "a", NodeState::Connected, Membership::Listed);
    let difference = watch.compare(&objects, std::slice::from_ref(&connected), at(1300));
    assert_eq!(difference.arrived.iter().map(|arrived| arrived.name.as_str()).collect::<Vec<_>>(), ["b"]);
    assert_eq!((difference.moved, difference.states), (vec![], vec![]));
    let known = [connected, member(2, "b", NodeState::Unwatched, Membership::Listed)];
    assert!(watch.compare(&objects, &known, at(9999)).is_empty(), "said once");
}

#[test]
fn where_no_agent_can_run_nobody_is_waited_for() {
    let mut watch = Watch::new(WAITING);
    let windows = NodeObject { unwatchable: Some("Windows"), ..object("w") };
    let difference = watch.compare(std::slice::from_ref(&windows), &[], at(1000));
    let [arrived] = difference.arrived.as_slice() else { panic!("{difference:?}") };
    assert_eq!((arrived.membership, arrived.unwatchable.as_str()), (Membership::Unwatchable, "Windows"));
    assert_eq!(arrived.reason, "no agent can run here: Windows");
    // It turned out otherwise.
    let stored = Member { unwatchable: "Windows".into(), ..member(1, "w", NodeState::Unwatched, Membership::Unwatchable) };
    assert_eq!(moved(&watch.compare(&[object("w")], std::slice::from_ref(&stored), at(1001))), [(1, Membership::Listed)]);
    assert!(watch.compare(&[windows], &[stored], at(1002)).is_empty());
}

#[test]
fn while_the_api_server_is_away_the_wait_starts_anew() {
    let mut watch = Watch::new(WAITING);
    let (objects, lost) = ([object("a")], [member(1, "x", NodeState::Connected, Membership::Unknown)]);
    watch.compare(&objects, &lost, at(0));
    watch.pause();
    assert!(watch.compare(&objects, &lost, at(5000)).is_empty());
    assert!(watch.compare(&objects, &lost, at(5119)).is_empty());
    assert_eq!(moved(&watch.compare(&objects, &lost, at(5120))), [(1, Membership::Absent)]);
    assert_eq!(watch.compare(&objects, &lost, at(5300)).arrived.len(), 1);
}

#[test]
fn an_agent_nobody_lists_is_said_after_a_while_and_taken_back_when_its_node_object_comes() {
    let mut watch = Watch::new(WAITING);
    let stranger = [member(1, "x", NodeState::Connected, Membership::Unknown)];
    assert!(watch.compare(&[], &stranger, at(0)).is_empty());
    assert!(watch.compare(&[], &stranger, at(119)).is_empty());
    let difference = watch.compare(&[], &stranger, at(120));
    assert_eq!((moved(&difference), states(&difference)), (vec![(1, Membership::Absent)], vec![]));
    let absent = [member(1, "x", NodeState::Silent, Membership::Absent)];
    assert!(watch.compare(&[], &absent, at(9999)).is_empty(), "it was never listed: its silence stays an alert");
    assert_eq!(moved(&watch.compare(&[object("x")], &absent, at(10_000))), [(1, Membership::Listed)]);
}

#[test]
fn a_node_of_the_same_name_is_another_one() {
    let mut watch = Watch::new(WAITING);
    let old = [member(1, "a", NodeState::Silent, Membership::Listed)];
    let new = [NodeObject { uid: "uid-other".into(), ..object("a") }];
    let difference = watch.compare(&new, &old, at(0));
    assert_eq!((moved(&difference), states(&difference)), (vec![(1, Membership::Deleted)], vec![(1, NodeState::Gone)]));
}

#[test]
fn a_deleted_node_is_gone_unless_it_still_has_a_session() {
    let mut watch = Watch::new(WAITING);
    for state in [NodeState::Silent, NodeState::Stopped, NodeState::Unwatched] {
        let difference = watch.compare(&[], &[member(1, "a", state, Membership::Listed)], at(0));
        assert_eq!((moved(&difference), states(&difference)), (vec![(1, Membership::Deleted)], vec![(1, NodeState::Gone)]), "{state:?}");
    }
    let mut watch = Watch::new(WAITING);
    let speaking = [member(1, "a", NodeState::Connected, Membership::Listed)];
    assert!(watch.compare(&[], &speaking, at(0)).is_empty(), "the watch may be behind");
    let difference = watch.compare(&[], &speaking, at(120));
    assert_eq!((moved(&difference), states(&difference)), (vec![(1, Membership::Deleted)], vec![]));
    let ended = [member(1, "a", NodeState::Silent, Membership::Deleted)];
    assert_eq!(states(&watch.compare(&[], &ended, at(130))), [(1, NodeState::Gone)]);
    assert!(watch.compare(&[], &[member(1, "a", NodeState::Gone, Membership::Deleted)], at(140)).is_empty());
}

#[test]
fn a_node_that_is_gone_and_listed_again_is_awaited_again() {
    let mut watch = Watch::new(WAITING);
    let spoke = member(1, "a", NodeState::Gone, Membership::Listed);
    let never = Member { spoke: false, ..member(2, "b", NodeState::Gone, Membership::Deleted) };
    let difference = watch.compare(&[object("a"), object("b")], &[spoke, never], at(0));
    assert_eq!(states(&difference), [(1, NodeState::Silent), (2, NodeState::Unwatched)]);
    assert_eq!(moved(&difference), [(2, Membership::Listed)]);
}

/// An hour forward made every new node one without an agent, and deleted those whose Node object a watch had not told of yet.
#[test]
fn a_clock_that_is_set_shortens_no_wait() {
    let mut watch = Watch::new(WAITING);
    let (objects, missing) = ([object("a")], [member(1, "x", NodeState::Connected, Membership::Listed)]);
    let hour = 60 * 60 * 1000;
    assert!(watch.compare(&objects, &missing, Moment { mono_ms: 0, wall_ms: hour }).is_empty());
    assert!(watch.compare(&objects, &missing, Moment { mono_ms: 119, wall_ms: 2 * hour }).is_empty(), "forward");
    let difference = watch.compare(&objects, &missing, Moment { mono_ms: 120, wall_ms: 0 });
    assert_eq!(moved(&difference), [(1, Membership::Deleted)], "back");
    let difference = watch.compare(&objects, &missing, Moment { mono_ms: 300, wall_ms: -hour });
    assert_eq!(difference.arrived.len(), 1);
}
