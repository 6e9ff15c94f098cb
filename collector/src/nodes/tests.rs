//! States over time.

use super::{Clock, Heartbeat, Moment, NodeState, Patience, Registry};
use crate::store::nodes::{KnownNode, Offset};

const PATIENCE: Patience = Patience { grace_ms: 10_000, warm_up_ms: 60_000, back_ms: 900_000, gone_ms: 86_400_000 };

fn at(ms: u64) -> Moment {
    Moment { mono_ms: ms, wall_ms: 1_000_000 + i64::try_from(ms).unwrap() }
}

fn due(registry: &Registry, ms: u64) -> Vec<(i64, NodeState)> {
    let changes = registry.due(at(ms));
    registry.settle(&changes);
    changes.into_iter().map(|change| (change.node_id, change.state)).collect()
}

#[test]
fn a_lost_stream_is_silence_only_after_the_grace() {
    let registry = Registry::new(Vec::new(), PATIENCE, at(0));
    registry.connected(1, 1, at(0));
    registry.lost(1, 1, true, at(1_000));
    assert_eq!(due(&registry, 10_999), []);
    assert_eq!(due(&registry, 11_000), [(1, NodeState::Silent)]);
    assert_eq!(due(&registry, 11_001), [], "said once");
    assert_eq!(due(&registry, 11_000 + 86_400_000), [(1, NodeState::Gone)]);
    registry.connected(1, 2, at(99_000_000));
    assert_eq!(due(&registry, 999_000_000), [], "it came back");
}

#[test]
fn a_reconnect_within_the_grace_is_nothing() {
    let registry = Registry::new(Vec::new(), PATIENCE, at(0));
    registry.connected(1, 1, at(0));
    registry.lost(1, 1, true, at(1_000));
    registry.connected(1, 2, at(2_000));
    // The old stream's task may notice only now.
    registry.lost(1, 1, true, at(3_000));
    assert_eq!(due(&registry, 500_000), []);
    assert!(!registry.heard(1, 1, at(4_000), None, false), "the old session is told to go");
}

#[test]
fn three_missed_heartbeats_were_patience_enough() {
    let registry = Registry::new(Vec::new(), PATIENCE, at(0));
    registry.connected(1, 1, at(0));
    registry.lost(1, 1, false, at(216_000));
    assert_eq!(due(&registry, 216_000), [(1, NodeState::Silent)]);
}

#[test]
fn a_good_bye_is_not_silence() {
    let registry = Registry::new(Vec::new(), PATIENCE, at(0));
    registry.connected(1, 1, at(0));
    let change = registry.stopped(1, 1, "SIGTERM\u{1b}[31m", at(5)).unwrap();
    assert_eq!((change.state, change.reason.as_str()), (NodeState::Stopped, "SIGTERM[31m"));
    registry.lost(1, 1, true, at(6));
    assert_eq!(due(&registry, 999_000_000), []);
}

fn known(node_id: i64, state: NodeState) -> KnownNode {
    KnownNode { node_id, session: 4, state, since: 0, last_seen: 0, clock: None, listed: false, breaches: Vec::new() }
}

/// Whoever has a node's credentials could end its agent, say good-bye for it, and be missed by nobody.
#[test]
fn a_good_bye_does_not_keep_a_node_quiet_that_its_cluster_still_lists() {
    let since = at(0).wall_ms;
    let listed = KnownNode { listed: true, since, ..known(1, NodeState::Connected) };
    let other = KnownNode { since, ..known(2, NodeState::Connected) };
    let registry = Registry::new(vec![listed, other], PATIENCE, at(0));
    for node_id in [1, 2] {
        registry.connected(node_id, 5, at(1));
        registry.stopped(node_id, 5, "SIGTERM", at(1_000)).unwrap();
    }
    assert_eq!(due(&registry, 900_999), [], "an update takes a while");
    assert_eq!(due(&registry, 901_000), [(1, NodeState::Silent)], "of the other one nobody says that it is still there");
    assert_eq!(due(&registry, 999_000_000), [], "said once, and awaited for as long as it is listed");
}

/// Clusters that make a new node every few minutes had the collector remember each of them until it was restarted.
#[test]
fn a_node_that_was_deleted_is_forgotten_and_one_that_is_not_gone_never() {
    let nodes = [(1, NodeState::Gone), (2, NodeState::Gone), (3, NodeState::Silent), (4, NodeState::Connected)];
    let registry = Registry::new(nodes.map(|(node_id, state)| known(node_id, state)).to_vec(), PATIENCE, at(0));
    registry.forget_gone(&[2].into());
    let (states, _) = registry.totals();
    assert_eq!(states.iter().map(|(_, n)| n).sum::<usize>(), 3, "3 and 4 were opened after the list was read");
    assert!(registry.heard(4, 4, at(1), None, false) && !registry.heard(1, 4, at(1), None, false));
}

#[test]
fn after_a_restart_nodes_have_time_to_come_back() {
    let nodes = vec![known(1, NodeState::Connected), known(2, NodeState::Stopped), known(3, NodeState::Connected)];
    let registry = Registry::new(nodes, PATIENCE, at(0));
    registry.connected(3, 5, at(100));
    assert_eq!(due(&registry, 59_999), []);
    assert_eq!(due(&registry, 60_000), [(1, NodeState::Silent)]);
}

#[test]
fn heartbeats_are_flushed_once_and_added_up() {
    let registry = Registry::new(Vec::new(), PATIENCE, at(0));
    for node in 1..=2 {
        registry.connected(node, 1, at(0));
        let heartbeat = Heartbeat { rss: 10 * node, cpu_ms: 5, queued: 0, dropped: 1, skew_ms: Some(-2) };
        assert!(registry.heard(node, 1, at(60_000), Some(heartbeat), node == 1));
    }
    let vitals = registry.take_vitals();
    assert_eq!(vitals.len(), 2);
    assert_eq!((vitals[0].confirmed_at, vitals[1].confirmed_at), (1_060_000, 0));
    assert_eq!(registry.take_vitals(), []);
    let (states, totals) = registry.totals();
    assert_eq!(states[0], (NodeState::Connected, 2));
    assert_eq!((totals.rss_bytes, totals.rss_max_bytes, totals.dropped), (30, 20, 2));
}

#[test]
fn a_clock_is_judged_while_its_node_is_heard() {
    let clock = Some(Offset { ahead_ms: 400_000, at: 7 });
    let known = KnownNode {
        node_id: 1,
        session: 4,
        state: NodeState::Connected,
        since: 0,
        last_seen: 0,
        clock,
        listed: false,
        breaches: Vec::new(),
    };
    let registry = Registry::new(vec![known], PATIENCE, at(0));
    let before = Clock::Measured(Offset { ahead_ms: 400_000, at: 7 });
    assert_eq!(registry.clock(1), before, "a restart of the collector changes no verdict");
    registry.connected(2, 1, at(0));
    assert_eq!((registry.clock(2), registry.clock(3)), (Clock::NotMeasured, Clock::NotHeard));
    let beat = |ms, ahead_ms| {
        let heartbeat = Heartbeat { skew_ms: Some(ahead_ms), ..Heartbeat::default() };
        assert!(registry.heard(2, 1, at(ms), Some(heartbeat), false));
    };
    beat(1_000, 20);
    beat(2_000, 900_000);
    assert_eq!((registry.clock(2), registry.take_vitals()[0].skew_at), (Clock::NotMeasured, 0));
    beat(3_000, 22);
    let measured = Offset { ahead_ms: 22, at: 1_003_000 };
    assert_eq!(registry.clocks(), [(1, before), (2, Clock::Measured(measured))].into());
    let vitals = registry.take_vitals();
    assert_eq!((vitals[0].skew_ms, vitals[0].skew_at), (22, 1_003_000));
    assert_eq!(due(&registry, 60_000), [(1, NodeState::Silent)]);
    assert_eq!(registry.clock(1), Clock::NotHeard);
    assert!(registry.heard(2, 1, at(61_000), Some(Heartbeat::default()), false), "an agent that says no time");
    assert_eq!(registry.clock(2), Clock::Measured(measured));
}

/// A node whose Node object is there is not given up: its silence stays an alert until it is deleted or its agent is back.
#[test]
fn a_silent_node_that_is_listed_is_awaited_for_as_long_as_it_is() {
    let known = |node_id, listed| KnownNode {
        node_id,
        session: 4,
        state: NodeState::Silent,
        since: 0,
        last_seen: 0,
        clock: None,
        breaches: Vec::new(),
        listed,
    };
    let registry = Registry::new(vec![known(1, true), known(2, false)], PATIENCE, at(0));
    assert_eq!(due(&registry, 90_000_000), [(2, NodeState::Gone)]);
}
