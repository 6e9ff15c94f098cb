//! How a session goes on from what is stored of the node.

use std::sync::Arc;

use holdfast_checks::entries::{Digest, Verdict};
use holdfast_collector::identity::{Admitted, Holder};
use holdfast_collector::nodes::{Claim, Holders, Speaker};
use holdfast_collector::store::ingest::{Progress, Written};
use holdfast_collector::store::nodes::{NodeIdentity, NodeState, Origin, Resume, SessionStart, StateChange};
use holdfast_collector::store::retention::Retention;

use crate::rig::*;

/// An agent that crashed comes back with the file it wrote last: what it sent up to there is known to it, sure or unsure.
#[tokio::test]
async fn an_agent_that_knows_what_it_sent_resumes_by_changes_and_any_other_by_a_snapshot() {
    let rig = rig().await;
    let node = rig.open("a", 7, 0, Digest::EMPTY).await;
    let entries = vec![finding("c", "s", Verdict::Fail)];
    committed(rig.writer.write(snapshot(&node, 7, 4, entries.clone())).await.unwrap());
    let other = digest(&[finding("c", "s", Verdict::Pass)]);
    let at = |position| (Resume::Delta, position);
    assert_eq!(rig.come(7, 4, 4, other).await, at(4), "nothing was under way");
    assert_eq!(rig.come(7, 2, 4, other).await, at(4), "the acknowledgement was lost");
    assert_eq!(rig.come(7, 2, 9, other).await, at(9), "what was sent after it was lost: the position follows the agent");
    assert_eq!(rig.come(7, 2, 8, other).await, (Resume::Full, 2), "a file from before that");
    assert_eq!(rig.come(7, 2, 9, other).await, (Resume::Full, 2), "and until a snapshot is complete");

    let node = rig.open("a", 7, 2, other).await;
    committed(rig.writer.write(snapshot(&node, 7, 12, entries.clone())).await.unwrap());
    assert_eq!(rig.come(7, 13, 20, other).await.0, Resume::Full, "a store brought back from a copy: acknowledged content is missing");
}

#[tokio::test]
async fn an_agent_in_sync_is_told_a_position_above_all_that_was_sent() {
    let rig = rig().await;
    let node = rig.open("a", 7, 0, Digest::EMPTY).await;
    let entries = vec![finding("c", "s", Verdict::Fail)];
    committed(rig.writer.write(snapshot(&node, 7, 9, entries.clone())).await.unwrap());
    let same = digest(&entries);
    assert_eq!(rig.come(7, 2, 4, same).await, (Resume::InSync, 9), "an old file, and the same state again: it numbers on from here");
    assert_eq!(rig.come(7, 2, 4, digest(&[])).await, (Resume::Full, 2), "that file alone is no ground for changes");
    assert_eq!(rig.come(7, 2, 4, same).await, (Resume::InSync, 4), "while a snapshot is owed there is no position to keep");
    assert_eq!(rig.come(7, 4, 11, same).await, (Resume::InSync, 11), "sent and lost");
    assert_eq!(rig.come(8, 0, 3, same).await, (Resume::InSync, 3), "another spool has numbers of its own");
    assert_eq!(rig.number("select seq from nodes").await, 0, "which it may never hear: nothing is taken as known to it");
    assert_eq!(rig.come(8, 0, 3, digest(&[])).await, (Resume::Full, 0));
}

/// A repair within a session keeps what comes meanwhile; it once kept the position too, and a file from before the repair then met the
/// position it knew, with other content behind it.
#[tokio::test]
async fn half_a_repair_leaves_no_position_that_an_older_file_could_meet() {
    let rig = rig().await;
    let node = rig.open("a", 7, 0, Digest::EMPTY).await;
    committed(rig.writer.write(snapshot(&node, 7, 1, vec![finding("c", "s", Verdict::Fail)])).await.unwrap());
    let mut change = delta(&node, 7, 2, vec![finding("c", "s", Verdict::Pass)]);
    change.progress = Progress::Partial;
    committed(rig.writer.write(change).await.unwrap());
    assert_eq!(rig.come(7, 1, 1, digest(&[finding("c", "t", Verdict::Fail)])).await.0, Resume::Full);
}

#[tokio::test]
async fn how_a_session_resumes() {
    let rig = rig().await;
    let node = rig.open("a", 7, 0, Digest::EMPTY).await;
    let entries = vec![finding("c", "s", Verdict::Fail)];
    committed(rig.writer.write(snapshot(&node, 7, 4, entries.clone())).await.unwrap());
    let other = digest(&[finding("c", "s", Verdict::Pass)]);
    assert_eq!(rig.open("a", 7, 4, other).await.resume, Resume::Delta, "same epoch, same position");
    assert_eq!(rig.open("a", 9, 0, digest(&entries)).await.resume, Resume::InSync, "same digest, whatever the epoch");
    assert_eq!(rig.open("a", 9, 0, other).await.resume, Resume::Full, "it may not have heard that it was in sync");
    assert_eq!(rig.open("a", 9, 3, other).await.resume, Resume::Full, "another position");
    let owed = rig.open("a", 9, 3, other).await;
    assert_eq!(owed.resume, Resume::Full, "a snapshot is owed until one is complete");
    let mut part = delta(&owed, 9, 4, Vec::new());
    part.progress = Progress::Partial;
    committed(rig.writer.write(part).await.unwrap());
    assert_eq!(rig.open("a", 9, 4, other).await.resume, Resume::Full, "an acknowledged part is not a snapshot");
}

#[tokio::test]
async fn an_agent_that_lost_its_spool_does_not_repeat_history() {
    let rig = rig().await;
    let node = rig.open("a", 7, 0, Digest::EMPTY).await;
    let old = finding_at("c", "same", Verdict::Pass, NOW - 9000);
    let mut write = delta(&node, 7, 1, vec![old.clone()]);
    write.transitions = vec![moved(1, &old, None, Some(Verdict::Pass), NOW - 9000)];
    committed(rig.writer.write(write).await.unwrap());
    let (same, new) = (finding_at("c", "same", Verdict::Pass, NOW), finding_at("c", "new", Verdict::Fail, NOW));
    let mut write = delta(&node, 8, 1, vec![same.clone(), new.clone()]);
    write.transitions = vec![moved(1, &same, None, Some(Verdict::Pass), NOW), moved(2, &new, None, Some(Verdict::Fail), NOW)];
    committed(rig.writer.write(write).await.unwrap());
    let subjects: Vec<String> = sqlx::query_scalar("select subject from transitions order by at").fetch_all(&rig.raw).await.unwrap();
    assert_eq!(subjects, ["same", "new"]);
}

#[tokio::test]
async fn a_number_used_again_after_retention_has_a_higher_fence() {
    let rig = rig().await;
    let old = rig.open("old", 1, 0, Digest::EMPTY).await;
    let gone = StateChange { node_id: old.node_id, session: old.session, state: NodeState::Gone, reason: String::new(), at: NOW - 1 };
    rig.writer.write_states(vec![gone]).await.unwrap();
    rig.store.sweep(Retention { gone_nodes: 0, ..Retention::default() }, NOW).await.unwrap();
    let identity = NodeIdentity { cluster: "c".into(), uid: "new".into(), name: "new".into(), origin: Origin::Agent };
    let (agent_version, catalogue_hash, boot_id) = (String::new(), String::new(), String::new());
    let at = NOW + DAY;
    let start = SessionStart {
        identity,
        epoch: 1,
        last_acked: 0,
        sent: None,
        digest: Digest::EMPTY,
        agent_version,
        catalogue_hash,
        boot_id,
        holder: "token".into(),
        at,
    };
    let new = rig.writer.open_session(start).await.unwrap();
    assert_eq!(new.node_id, old.node_id);
    assert!(new.session > old.session, "the registry may still know the old one");
}

/// The store took the fence of the one that had lost the node. The other one had it, and if it said nothing that was to be stored, nothing
/// that it said of itself was, nor was it told.
#[tokio::test]
async fn of_two_that_open_the_later_claim_has_the_fence_whichever_comes_to_the_store_first() {
    let rig = rig().await;
    let holders = Holders::default();
    let node = start("a", 7, (0, None), Digest::EMPTY).identity;
    let admitted = Arc::new(Admitted { node, holder: Holder::Token, expires_at: None, token_hash: None });
    let claim = |at| holders.claim(&admitted, Speaker::new("boot", 7), at, |_| true).unwrap();
    for _ in 0..2 {
        let (first, second) = (claim(1), claim(2));
        let open =
            async |claim: &Claim| rig.writer.open_unless(start("a", 7, (0, None), Digest::EMPTY), claim.taken_over.clone()).await.unwrap();
        let opened = open(&second).await.expect("it has the node");
        assert_eq!(open(&first).await, None);
        assert_eq!(rig.number("select session from nodes").await, opened.session);
        let written = rig.writer.write(delta(&opened, 7, 1, vec![finding("c", "s", Verdict::Pass)])).await.unwrap();
        assert!(matches!(written, Written::Committed { .. }), "{written:?}");
    }
}
