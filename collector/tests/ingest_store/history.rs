//! Transitions: each once, with its time, for as long as they are kept.

use holdfast_checks::entries::{Digest, Verdict};
use holdfast_collector::store::nodes::{NodeState, StateChange};
use holdfast_collector::store::retention::Retention;

use crate::rig::*;

/// A finding went and came back before the collector was told: its state did not change, its history did.
#[tokio::test]
async fn a_finding_that_went_and_came_back_unseen_has_both_in_its_history() {
    let rig = rig().await;
    let node = rig.open("a", 7, 0, Digest::EMPTY).await;
    let entry = finding_at("c", "s", Verdict::Pass, NOW - 9000);
    let mut write = delta(&node, 7, 1, vec![entry.clone()]);
    write.transitions = vec![moved(1, &entry, None, Some(Verdict::Pass), NOW - 9000)];
    committed(rig.writer.write(write).await.unwrap());
    let mut write = delta(&node, 7, 2, Vec::new());
    write.transitions = vec![moved(2, &entry, Some(Verdict::Pass), None, NOW - 500), moved(3, &entry, None, Some(Verdict::Pass), NOW)];
    committed(rig.writer.write(write).await.unwrap());
    let steps: Vec<(i64, i64)> =
        sqlx::query_as("select from_verdict, to_verdict from transitions order by number").fetch_all(&rig.raw).await.unwrap();
    assert_eq!(steps, [(0, 1), (1, 0), (0, 1)]);
}

/// After a spool was lost a finding is found again, which is not new, and moves; then both are said again, as after a crash.
#[tokio::test]
async fn what_was_not_new_is_not_new_when_it_is_said_again() {
    let rig = rig().await;
    let node = rig.open("a", 7, 0, Digest::EMPTY).await;
    let entry = finding_at("c", "s", Verdict::Pass, NOW - 9000);
    let (pass, fail) = (Some(Verdict::Pass), Some(Verdict::Fail));
    let mut write = delta(&node, 7, 1, vec![entry.clone()]);
    write.transitions = vec![moved(1, &entry, None, pass, NOW - 9000)];
    committed(rig.writer.write(write).await.unwrap());
    for seq in [1, 2] {
        let mut write = delta(&node, 8, seq, Vec::new());
        write.transitions = vec![moved(11, &entry, None, pass, NOW - 500), moved(4753, &entry, pass, fail, NOW)];
        committed(rig.writer.write(write).await.unwrap());
    }
    let steps: Vec<(i64, i64)> =
        sqlx::query_as("select from_verdict, to_verdict from transitions order by rowid").fetch_all(&rig.raw).await.unwrap();
    assert_eq!(steps, [(0, 1), (1, 2)]);
}

/// The snapshot of a new node brings what a finding came to; the history that follows begins where it began.
#[tokio::test]
async fn history_that_comes_after_its_end_is_stored_as_it_was() {
    let rig = rig().await;
    let node = rig.open("a", 7, 0, Digest::EMPTY).await;
    let entry = finding_at("c", "s", Verdict::Fail, NOW - 500);
    committed(rig.writer.write(delta(&node, 7, 1, vec![entry.clone()])).await.unwrap());
    let mut write = delta(&node, 7, 2, Vec::new());
    let (pass, fail) = (Some(Verdict::Pass), Some(Verdict::Fail));
    write.transitions = vec![moved(1, &entry, None, pass, NOW - 900), moved(2, &entry, pass, fail, NOW - 500)];
    committed(rig.writer.write(write).await.unwrap());
    let steps: Vec<(i64, i64)> =
        sqlx::query_as("select from_verdict, to_verdict from transitions order by number").fetch_all(&rig.raw).await.unwrap();
    assert_eq!(steps, [(0, 1), (1, 2)]);
}

#[tokio::test]
async fn what_happened_in_an_outage_keeps_its_time_and_a_wrong_clock_makes_no_history() {
    let rig = rig().await;
    let node = rig.open("a", 7, 0, Digest::EMPTY).await;
    let entry = finding("c", "s", Verdict::Fail);
    let mut write = delta(&node, 7, 1, Vec::new());
    let at = |number, at| moved(number, &entry, Some(Verdict::Pass), Some(Verdict::Fail), at);
    write.transitions = vec![at(1, NOW - 3 * DAY), at(2, NOW + DAY), at(3, 0)];
    committed(rig.writer.write(write).await.unwrap());
    let times: Vec<i64> = sqlx::query_scalar("select at from transitions order by number").fetch_all(&rig.raw).await.unwrap();
    assert_eq!(times, [NOW - 3 * DAY, NOW, NOW]);
}

#[tokio::test]
async fn retention_deletes_what_is_old_and_nothing_else() {
    let rig = rig().await;
    let stays = rig.open("stays", 1, 0, Digest::EMPTY).await;
    let goes = rig.open("goes", 2, 0, Digest::EMPTY).await;
    for (epoch, node) in [(1, &stays), (2, &goes)] {
        let entry = finding("c", "s", Verdict::Fail);
        let mut write = delta(node, epoch, 1, vec![entry.clone(), inventory("os", "self", 1)]);
        write.transitions = vec![moved(1, &entry, None, Some(Verdict::Fail), NOW)];
        committed(rig.writer.write(write).await.unwrap());
    }
    rig.store.roll_up(NOW).await.unwrap();
    rig.store.roll_up(NOW + 1).await.unwrap();
    assert_eq!(rig.number("select n * 100 + nodes_reporting * 10 + nodes_total from rollups").await, 222);
    let gone = StateChange { node_id: goes.node_id, session: goes.session, state: NodeState::Gone, reason: String::new(), at: NOW };
    rig.writer.write_states(vec![gone]).await.unwrap();

    let early = rig.store.sweep(Retention::default(), NOW + 29 * DAY).await.unwrap();
    assert_eq!((early.transitions, early.nodes), (0, 0));
    let later = rig.store.sweep(Retention::default(), NOW + 31 * DAY).await.unwrap();
    assert_eq!((later.transitions, later.nodes), (0, 1));
    for table in ["select count(*) from findings", "select count(*) from transitions", "select count(*) from counts"] {
        assert_eq!(rig.number(table).await, 1, "{table}");
    }
    let late = rig.store.sweep(Retention::default(), NOW + 91 * DAY).await.unwrap();
    assert_eq!(late.transitions, 1);
    assert_eq!(rig.number("select count(*) from findings").await, 1, "current findings have no age");
}
