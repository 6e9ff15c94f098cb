//! Entries of a kind that this version does not know.

use holdfast_checks::entries::{Digest, Hash, Key, Kind, Verdict};
use holdfast_collector::store::Store;
use holdfast_collector::store::ingest::{MAX_OPAQUE, Opaque, Progress, RefusalCode};
use holdfast_collector::store::nodes::Resume;

use crate::rig::*;

fn opaque(number: u8, key: &str, hash: u8) -> Opaque {
    Opaque { key: Key::parse(Kind::Other(number), key).unwrap(), hash: Hash([hash; 16]) }
}

#[tokio::test]
async fn entries_of_an_unknown_kind_are_kept_counted_in_the_digest_and_gone_like_others() {
    let rig = rig().await;
    let node = rig.open("a", 7, 0, Digest::EMPTY).await;
    let keys = "select kind || ' ' || key || ' ' || substr(hash, 1, 2) from opaque order by 1";
    let kept = async || sqlx::query_scalar::<_, String>(keys).fetch_all(&rig.raw).await.unwrap();
    let mut write = delta(&node, 7, 1, vec![finding("c", "s", Verdict::Fail)]);
    write.opaque = vec![opaque(3, "future", 1), opaque(3, "future/2", 1), opaque(200, "future", 1)];
    committed(rig.writer.write(write.clone()).await.unwrap());
    assert_eq!(kept().await, ["200 future 01", "3 future 01", "3 future/2 01"]);
    rig.consistent(node.node_id).await;
    assert_eq!(rig.number("select count(*) from findings").await, 1, "none of them is a finding");
    committed(rig.writer.write(write).await.unwrap());

    let mut write = delta(&node, 7, 2, Vec::new());
    (write.opaque, write.gone) = (vec![opaque(3, "future", 2)], vec![opaque(200, "future", 0).key, opaque(9, "never was", 0).key]);
    committed(rig.writer.write(write).await.unwrap());
    assert_eq!(kept().await, ["3 future 02", "3 future/2 01"]);
    rig.consistent(node.node_id).await;

    // A snapshot keeps what is in it and nothing else.
    let mut write = snapshot(&node, 7, 3, vec![finding("c", "s", Verdict::Fail)]);
    write.opaque = vec![opaque(4, "x", 1)];
    let Progress::Snapshot { keep } = &mut write.progress else { panic!("a snapshot") };
    keep.extend([opaque(3, "future", 2).key, opaque(4, "x", 1).key]);
    committed(rig.writer.write(write).await.unwrap());
    assert_eq!(kept().await, ["3 future 02", "4 x 01"]);
    rig.consistent(node.node_id).await;

    let many = |from: usize| (from..from + MAX_OPAQUE).map(|n| opaque(5, &n.to_string(), 1)).collect::<Vec<_>>();
    let mut write = delta(&node, 7, 4, Vec::new());
    write.opaque = many(0);
    let (refused, _) = committed(rig.writer.write(write.clone()).await.unwrap());
    assert_eq!((refused.len(), refused[0].code, refused[0].kind), (2, RefusalCode::Quota, 5));
    assert_eq!(committed(rig.writer.write(write).await.unwrap()).0, refused, "told again");
    rig.consistent(node.node_id).await;
}

#[tokio::test]
async fn a_known_kind_with_an_unknown_body_takes_the_place_of_what_was_known_and_back() {
    let rig = rig().await;
    let node = rig.open("a", 7, 0, Digest::EMPTY).await;
    let known = [finding("c", "s", Verdict::Fail), inventory("kernel", "self", 1)];
    committed(rig.writer.write(delta(&node, 7, 1, known.to_vec())).await.unwrap());
    let mut write = delta(&node, 7, 2, Vec::new());
    write.opaque = known.iter().map(|entry| Opaque { key: entry.key.clone(), hash: Hash([9; 16]) }).collect();
    committed(rig.writer.write(write).await.unwrap());
    rig.consistent(node.node_id).await;
    let counts = "select (select count(*) from findings) * 100 + (select count(*) from inventory) * 10 + (select count(*) from opaque)";
    assert_eq!(rig.number(counts).await, 2);
    committed(rig.writer.write(delta(&node, 7, 3, known.to_vec())).await.unwrap());
    assert_eq!(rig.consistent(node.node_id).await, digest(&known));
    assert_eq!(rig.number(counts).await, 110);
}

#[tokio::test]
async fn a_version_that_may_know_more_forgets_what_was_opaque_and_asks_for_a_snapshot() {
    let rig = rig().await;
    let known = finding("c", "s", Verdict::Fail);
    let node = rig.open("a", 7, 0, Digest::EMPTY).await;
    let mut write = delta(&node, 7, 1, vec![known.clone()]);
    write.opaque = vec![opaque(3, "future", 1)];
    let (_, stored) = committed(rig.writer.write(write).await.unwrap());
    let other = rig.open("b", 1, 0, Digest::EMPTY).await;
    committed(rig.writer.write(delta(&other, 1, 1, vec![known.clone()])).await.unwrap());

    let path = rig.dir.path().join("holdfast.db");
    Store::open(&path).await.unwrap().close().await;
    assert_eq!(rig.open("a", 7, 1, stored).await.resume, Resume::InSync, "the same version knows no more");
    sqlx::query("update derived set version = '0.0.0' where name = 'opaque'").execute(&rig.raw).await.unwrap();
    Store::open(&path).await.unwrap().close().await;
    assert_eq!(rig.number("select count(*) from opaque").await, 0);
    rig.consistent(node.node_id).await;
    assert_eq!(rig.open("a", 7, 1, stored).await.resume, Resume::Full);
    assert_eq!(rig.open("b", 1, 1, digest(&[known])).await.resume, Resume::InSync, "nobody else is asked");
}
