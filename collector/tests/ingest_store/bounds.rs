//! What is refused, and that the rest is stored.

use holdfast_checks::entries::{Digest, Entry, Verdict};
use holdfast_collector::store::ingest::{Refusal, RefusalCode, Written};

use crate::rig::*;

#[tokio::test]
async fn beyond_the_quota_entries_are_refused_and_the_rest_is_stored() {
    let rig = rig().await;
    let node = rig.open("a", 7, 0, Digest::EMPTY).await;
    let many: Vec<Entry> = (0..20_003).map(|n| finding("c", &format!("s{n:05}"), Verdict::Pass)).collect();
    let write = delta(&node, 7, 1, many.clone());
    let (refused, stored) = committed(rig.writer.write(write.clone()).await.unwrap());
    assert_eq!(refused.len(), 3);
    assert!(refused.iter().all(|refusal| refusal.code == RefusalCode::Quota));
    assert_eq!(stored, digest(&many[..20_000]));
    let (again, _) = committed(rig.writer.write(write).await.unwrap());
    assert_eq!(again, refused, "a repeated message hears the same refusals");
    assert_eq!(rig.number("select count(*) from refused").await, 3);
    // Room again: accepted, and no longer noted as refused.
    let mut write = delta(&node, 7, 2, many[20_000..].to_vec());
    write.gone = many[..3].iter().map(|entry| entry.key.clone()).collect();
    let (refused, _) = committed(rig.writer.write(write).await.unwrap());
    assert_eq!(refused.len(), 0);
    assert_eq!(rig.number("select count(*) from refused").await, 0);
    rig.consistent(node.node_id).await;
}

#[tokio::test]
async fn inventory_that_grows_is_held_to_the_quota_like_inventory_that_comes() {
    let rig = rig().await;
    let node = rig.open("a", 7, 0, Digest::EMPTY).await;
    let sized =
        |n: usize, bytes: usize| Entry::inventory("container", &format!("c{n:04}"), &serde_json::json!("x".repeat(bytes)), NOW).unwrap();
    let small: Vec<Entry> = (0..400).map(|n| sized(n, 1)).collect();
    assert_eq!(committed(rig.writer.write(delta(&node, 7, 1, small)).await.unwrap()).0.len(), 0);
    let grown: Vec<Entry> = (0..400).map(|n| sized(n, 2_000)).collect();
    let (refused, stored) = committed(rig.writer.write(delta(&node, 7, 2, grown.clone())).await.unwrap());
    assert!(!refused.is_empty() && refused.iter().all(|refusal| refusal.code == RefusalCode::Quota), "{}", refused.len());
    let bytes = rig.number("select sum(octet_length(json)) from inventory").await;
    assert!(bytes <= 512 * 1024, "{bytes}");
    let kept: Vec<Entry> = grown.into_iter().filter(|entry| refused.iter().all(|refusal| refusal.key != entry.key.as_str())).collect();
    assert_eq!(stored, digest(&kept), "what outgrew the quota is not there in its old shape either");
    assert_eq!(rig.consistent(node.node_id).await, stored);
}

#[tokio::test]
async fn history_beyond_the_quota_is_counted_and_the_findings_are_what_was_said_last() {
    let rig = rig().await;
    let node = rig.open("a", 7, 0, Digest::EMPTY).await;
    let verdict = |n: u64| if n.is_multiple_of(2) { Verdict::Pass } else { Verdict::Fail };
    let mut at = NOW;
    let tell = async |seq: u64, numbers: std::ops::Range<u64>, at: i64| {
        let last = finding("c", "s", verdict(numbers.end - 1));
        let mut write = delta(&node, 7, seq, vec![last.clone()]);
        write.at = at;
        write.transitions = numbers.map(|n| moved(n, &last, Some(verdict(n + 1)), Some(verdict(n)), at)).collect();
        committed(rig.writer.write(write).await.unwrap())
    };
    for seq in 1..=120 {
        let (refused, _) = tell(seq, seq * 100..(seq + 1) * 100, at).await;
        assert!(refused.is_empty(), "never an error to the agent");
    }
    assert_eq!(rig.number("select count(*) from transitions").await, 10_001, "and one for the finding there is");
    assert_eq!(rig.number("select collapsed_transitions from nodes").await, 1_999);
    assert_eq!(rig.number("select verdict from findings").await, 2, "the last verdict, whatever became of its history");
    // The same message again is not counted again, and after an hour there is room.
    tell(120, 12_000..12_100, at).await;
    assert_eq!(rig.number("select collapsed_transitions from nodes").await, 1_999);
    at += 60 * 60 * 1000;
    tell(121, 12_100..12_200, at).await;
    assert_eq!(rig.number("select count(*) from transitions").await, 10_101);
    rig.consistent(node.node_id).await;
}

#[tokio::test]
async fn a_refused_entry_takes_what_was_stored_under_its_key_with_it() {
    let rig = rig().await;
    let node = rig.open("a", 7, 0, Digest::EMPTY).await;
    let entry = finding("c", "s", Verdict::Pass);
    committed(rig.writer.write(delta(&node, 7, 1, vec![entry.clone()])).await.unwrap());
    let mut write = delta(&node, 7, 2, Vec::new());
    let refusal = Refusal { kind: 1, key: entry.key.as_str().into(), hash: vec![1; 16], code: RefusalCode::Malformed };
    write.refused = vec![refusal.clone()];
    assert_eq!(committed(rig.writer.write(write).await.unwrap()), (vec![refusal], Digest::EMPTY));
    assert_eq!(rig.number("select count(*) from refused").await, 1);
    rig.consistent(node.node_id).await;
}

/// An agent could ask which nodes there are: its document was refused under a name that was another node's, and took up no room.
#[tokio::test]
async fn what_an_agent_hears_of_the_name_it_gives_itself_does_not_depend_on_other_nodes() {
    let rig = rig().await;
    rig.open("there", 7, 0, Digest::EMPTY).await;
    let calls = |name: &str| {
        let document = serde_json::json!({"role": "worker", "name": name, "provider": "none", "profile": "ä", "profile_because": "t"});
        Entry::inventory("node", "self", &document, NOW).unwrap()
    };
    let filling = |n: usize| Entry::inventory("container", &format!("c{n:04}"), &serde_json::json!("x".repeat(1_000)), NOW).unwrap();
    let mut heard = Vec::new();
    for (own, name) in [("a", "there"), ("b", "other")] {
        let node = rig.open(own, 7, 0, Digest::EMPTY).await;
        let mut said = Vec::new();
        for (seq, entries) in [(1, vec![calls(name)]), (2, (0..600).map(filling).collect()), (3, vec![calls(name), filling(600)])] {
            let (refused, digest) = committed(rig.writer.write(delta(&node, 7, seq, entries)).await.unwrap());
            assert_eq!(rig.consistent(node.node_id).await, digest);
            said.push(refused.into_iter().map(|refusal| (refusal.key, refusal.code)).collect::<Vec<_>>());
        }
        assert!(said[0].is_empty() && !said[1].is_empty());
        heard.push(said);
    }
    assert_eq!(heard[0], heard[1]);
    let names = "select group_concat(coalesce(json ->> 'name', 'nothing')) from inventory where kind = 'node' order by node_id";
    assert_eq!(sqlx::query_scalar::<_, String>(names).fetch_one(&rig.raw).await.unwrap(), ",other");
}

#[tokio::test]
async fn a_name_that_another_node_has_not_any_longer_is_stored_when_it_is_said_again() {
    let rig = rig().await;
    let there = rig.open("there", 7, 0, Digest::EMPTY).await;
    let node = rig.open("a", 7, 0, Digest::EMPTY).await;
    let calls = Entry::inventory("node", "self", &serde_json::json!({"name": "there"}), NOW).unwrap();
    let name = async || {
        let query = sqlx::query_scalar::<_, String>("select json ->> 'name' from inventory where kind = 'node'");
        query.fetch_one(&rig.raw).await.unwrap()
    };
    let misnamed = async |seq| match rig.writer.write(snapshot(&node, 7, seq, vec![calls.clone()])).await.unwrap() {
        Written::Committed { misnamed, .. } => misnamed,
        Written::Fenced => panic!("fenced"),
    };
    assert!(misnamed(1).await);
    assert_eq!(name().await, "");
    assert!(misnamed(2).await, "each time it is said");
    sqlx::query("update nodes set state = 'gone' where node_id = $1").bind(there.node_id).execute(&rig.raw).await.unwrap();
    assert!(!misnamed(3).await);
    assert_eq!(name().await, "there");
    rig.consistent(node.node_id).await;
}
