//! Who holds a node's session, and what is said in it that is not its to say.

use std::time::Duration;

use holdfast_checks::entries::{Digest, Entry, Verdict};
use holdfast_collector::identity;
use holdfast_collector::store::nodes::Origin;
use holdfast_proto::v1;
use holdfast_proto::v1::agent_message::Message as Say;
use holdfast_proto::v1::collector_message::Message as Hear;
use tonic::Code;

use crate::rig::*;

impl Rig {
    /// Registers another node and returns its token.
    fn another(&self, name: &str) -> String {
        let token = identity::add(&self.dir.path().join("tokens.yaml"), "test", name, Origin::Agent).unwrap();
        // The file is looked at once a second.
        std::thread::sleep(Duration::from_millis(1_100));
        token
    }

    async fn client_of(&self, token: &str) -> Client {
        Client::open(self.channel().await, token).await.unwrap()
    }

    /// Everything that is kept of a node, but when sessions began and messages came.
    async fn kept(&self, name: &str) -> Vec<String> {
        let mut kept = Vec::new();
        for sql in [
            "select digest || truncated_transitions from nodes n where n.name = $1",
            "select check_id || subject || verdict || severity || f.hash || f.origin from findings f join nodes n using (node_id) \
             where n.name = $1 and f.origin = 'node' order by 1",
            "select kind || i.name || json from inventory i join nodes n using (node_id) where n.name = $1 order by 1",
            "select t.epoch || number || check_id || subject || from_verdict || to_verdict from transitions t join nodes n using (node_id) \
             where n.name = $1 and t.epoch <> 'collector' order by 1",
        ] {
            let rows: Vec<String> = sqlx::query_scalar(sql).bind(name).fetch_all(&self.raw().await).await.unwrap();
            kept.push(rows.join("\n"));
        }
        kept
    }
}

fn node(name: &str) -> Entry {
    let document = serde_json::json!({"name": name, "role": "worker", "provider": "none", "profile": "kubeadm", "profile_because": "t"});
    Entry::inventory("node", "self", &document, 1).unwrap()
}

fn transition(number: u64, check: &str, to: i32) -> v1::Transition {
    let key = Some(v1::Key { kind: 1, key: finding(check, "1", Verdict::Fail).key.as_str().into() });
    v1::Transition { number, key, from: 0, to, severity: 4, at: 1, ..v1::Transition::default() }
}

#[tokio::test]
async fn an_older_session_is_told_at_once_that_a_newer_one_took_over() {
    let rig = rig().await;
    let mut old = rig.client().await;
    old.greet(7, 0, Digest::EMPTY).await;
    let mut new = rig.client().await;
    new.greet(7, 0, Digest::EMPTY).await;
    // Not when it says something the next time, which it does not.
    assert_eq!(old.end().await.code(), Code::Aborted);
    assert_eq!(rig.text("select holder from nodes").await, "token");
    drop((old, new));
    rig.stop().await;
}

/// Whoever recorded all that an agent said and says it again changes nothing: not with the node's own token, and of no other node
/// with another's.
#[tokio::test]
async fn a_conversation_that_is_replayed_changes_nothing_and_with_another_token_only_that_ones_node() {
    for capabilities in [0, holdfast_proto::NUMBERS_FROM_WELCOME] {
        let rig = rig().await;
        let entries = [finding("a", "1", Verdict::Fail), finding("b", "1", Verdict::Pass), node("node-1")];
        let after = [finding("a", "1", Verdict::Pass), entries[1].clone(), entries[2].clone()];
        let recorded = vec![
            Say::Hello(v1::Hello { capabilities, ..hello(7, 0, digest(&entries)) }),
            part(1, 0, &entries[..2], None),
            part(2, 1, &entries[2..], Some(digest(&entries))),
            heartbeat(digest(&entries)),
            Say::Delta(v1::Delta {
                seq: 3,
                upserts: vec![wire(&after[0])],
                transitions: vec![transition(1, "a", 2), transition(2, "a", 1)],
                digest_after: digest(&after).to_bytes().to_vec(),
                ..v1::Delta::default()
            }),
            heartbeat(digest(&after)),
        ];
        let play = async |token: &str| {
            let mut client = rig.client_of(token).await;
            for message in &recorded {
                client.say(message.clone()).await;
                if matches!(message, Say::Hello(_)) {
                    assert!(matches!(client.hear().await.unwrap(), Some(Hear::Welcome(_))));
                }
            }
            client.say(Say::Bye(v1::Bye::default())).await;
            while let Ok(Some(_)) = client.hear().await {}
        };
        play(&rig.token.clone()).await;
        let kept = rig.kept("node-1").await;
        assert!(kept.iter().all(|rows| !rows.is_empty()), "{kept:#?}");
        for _ in 0..3 {
            play(&rig.token.clone()).await;
            assert_eq!(rig.kept("node-1").await, kept, "said again");
        }
        // Some of it, in a session that began otherwise.
        let mut client = rig.client().await;
        client.greet(7, 3, digest(&after)).await;
        for message in &recorded[1..] {
            client.say(message.clone()).await;
        }
        client.say(recorded[0].clone()).await;
        assert_eq!(client.end().await.code(), Code::InvalidArgument, "a second Hello");
        assert_eq!(rig.kept("node-1").await, kept, "an older session's messages in a newer one");

        let other = rig.another("node-2");
        play(&other).await;
        assert_eq!(rig.kept("node-1").await, kept, "said with another node's token");
        let theirs = rig.kept("node-2").await;
        assert!(theirs[1].contains('a') && !theirs[2].contains("node-1"), "its own, but not another's name: {theirs:#?}");
        rig.until("select kind from breaches", "foreign_write").await;
        drop(client);
        rig.stop().await;
    }
}

#[tokio::test]
async fn what_only_the_collector_judges_is_not_an_agents_to_say() {
    let rig = rig().await;
    let mut client = rig.client().await;
    client.greet(7, 0, Digest::EMPTY).await;
    let own = finding("a", "1", Verdict::Fail);
    let (foreign, unknown) = (finding("node-clock-skew", "node", Verdict::Pass), finding("of-a-later-version", "1", Verdict::Pass));
    let upserts = vec![wire(&own), wire(&foreign), wire(&unknown)];
    let transitions = vec![transition(1, "a", 2), transition(2, "agent-is-alone", 1)];
    client.say(Say::Delta(v1::Delta { seq: 1, upserts, transitions, ..v1::Delta::default() })).await;
    let ack = client.ack().await;
    assert_eq!(ack.refused.len(), 1);
    assert_eq!((ack.refused[0].key.clone(), ack.refused[0].code()), (wire(&foreign).key, v1::refused::Code::Foreign));
    assert_eq!(rig.number("select count(*) from findings where origin = 'node'").await, 2);
    assert_eq!(rig.number("select count(*) from transitions where epoch <> 'collector'").await, 1);
    rig.until(
        "select kind || n || detail from breaches",
        "foreign_write1its agent sent findings of agent-is-alone, which the collector judges",
    )
    .await;
    let metrics = rig.metrics().await;
    assert!(metrics.contains("holdfast_rejections_total{reason=\"foreign_write\"} 1"), "{metrics}");
    // Both sides leave it out of the digest.
    client.say(heartbeat(digest(&[own.clone(), unknown.clone()]))).await;
    client.say(heartbeat(digest(&[own, unknown]))).await;
    client.say(delta(2, &[finding("a", "2", Verdict::Pass)])).await;
    assert_eq!(client.ack().await.seq, 2, "nothing is asked for again");
    drop(client);
    rig.stop().await;
}

#[tokio::test]
async fn a_node_may_have_a_name_of_its_own_but_not_another_nodes() {
    let rig = rig().await;
    let other = rig.another("node-2");
    let mut second = rig.client_of(&other).await;
    second.greet(7, 0, Digest::EMPTY).await;
    let mut client = rig.client().await;
    client.greet(7, 0, Digest::EMPTY).await;
    let stored = "select json ->> 'name' from inventory where kind = 'node' order by node_id limit 1";
    for (seq, name) in [(1, "node-1"), (2, "host-of-node-1"), (3, "node-3")] {
        client.say(delta(seq, &[node(name)])).await;
        assert_eq!(client.ack().await.refused.len(), 0, "{name}");
        assert_eq!(rig.text(stored).await, name);
    }
    // It hears the same of a name that is another node's as of one that is nobody's.
    for seq in [4, 4] {
        client.say(delta(seq, &[node("node-2"), finding("a", "1", Verdict::Fail)])).await;
        assert_eq!(client.ack().await, v1::Ack { seq: 4, refused: Vec::new() });
    }
    assert_eq!(rig.text(stored).await, "", "nothing is shown under another's name");
    assert_eq!(rig.text("select json ->> 'role' from inventory").await, "worker", "and what it says of itself is kept");
    let held = [node("node-2"), finding("a", "1", Verdict::Fail)];
    client.say(heartbeat(digest(&held))).await;
    client.say(heartbeat(digest(&held))).await;
    client.say(delta(5, &[finding("a", "2", Verdict::Pass)])).await;
    assert_eq!(client.ack().await.seq, 5, "nothing is asked for again");
    assert_eq!(
        rig.text("select digest from nodes order by node_id desc limit 1").await,
        digest(&[held[0].clone(), held[1].clone(), finding("a", "2", Verdict::Pass)]).to_string()
    );
    rig.until("select n.name || b.kind from breaches b join nodes n using (node_id)", "node-1foreign_write").await;
    drop((client, second));
    rig.stop().await;
}

#[tokio::test]
async fn a_copied_token_is_noticed_by_its_turns_and_is_a_finding() {
    let rig = rig().await;
    for epoch in [1, 2, 1, 2] {
        assert_eq!(rig.number("select count(*) from breaches").await, 0, "an agent that restarts is one");
        let mut client = rig.client().await;
        client.greet(epoch, 0, Digest::EMPTY).await;
        if epoch == 1 {
            client.say(delta(1, &[node("node-1")])).await;
            client.ack().await;
        }
    }
    rig.until("select kind || n from breaches", "alternation1").await;
    rig.until("select coalesce(max(case when check_id = 'agent-is-alone' then verdict else 0 end), 0) || '' from findings", "2").await;
    let dir = rig.stop().await;
    // A restart of the collector forgets nothing of it.
    let rig = start(dir).await;
    rig.until("select coalesce(max(case when check_id = 'agent-is-alone' then verdict else 0 end), 0) || '' from findings", "2").await;
    rig.stop().await;
}

#[tokio::test]
async fn a_rotated_token_is_the_nodes_own_or_ends_the_session() {
    let rig = rig().await;
    let other = rig.another("node-2");
    let mut client = rig.client().await;
    client.greet(7, 0, Digest::EMPTY).await;
    for _ in 0..10 {
        client.say(Say::Reauth(v1::Reauth { token: rig.token.clone() })).await;
    }
    client.say(delta(1, &[finding("a", "1", Verdict::Fail)])).await;
    assert_eq!(client.ack().await.seq, 1, "its own, as often as it likes; few are looked at");
    let metrics = rig.metrics().await;
    assert!(metrics.contains("holdfast_refused_entries_total{reason=\"reauth\"} 6"), "{metrics}");
    drop(client);
    for (token, code) in [(other.as_str(), "identity_changed"), ("hf_forged", "reauth")] {
        let mut client = rig.client().await;
        client.greet(7, 0, Digest::EMPTY).await;
        client.say(Say::Reauth(v1::Reauth { token: token.to_owned() })).await;
        let status = client.end().await;
        assert_eq!((status.code(), status.message()), (Code::Unauthenticated, "credentials not accepted"));
        let metrics = rig.metrics().await;
        assert!(metrics.contains(&format!("holdfast_rejections_total{{reason=\"{code}\"}} 1")), "{metrics}");
    }
    rig.stop().await;
}
