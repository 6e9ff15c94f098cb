//! The collector is killed in the middle of ingest: nothing acknowledged is missing, nothing is doubled.

use std::path::Path;
use std::time::Duration;

use holdfast_checks::entries::{Entry, State, Verdict};
use holdfast_proto::v1;
use holdfast_proto::v1::agent_message::Message;
use holdfast_tests::peer::{Peer, delta, finding, wire};
use holdfast_tests::site::Site;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use sqlx::{Connection, SqliteConnection};

use crate::BINARIES;

const ROUNDS: u64 = 4;
const EPOCH: u64 = 7;

/// What one agent has said so far.
#[derive(Default)]
struct Said {
    state: State,
    seq: u64,
    acked: u64,
    /// Per sequence number: its entries. Its transition carries the same number.
    sent: Vec<(u64, Vec<Entry>)>,
}

impl Said {
    fn next(&mut self) -> Message {
        self.seq += 1;
        let seq = self.seq;
        // Half of each message is new, half flips what is there.
        let verdict = if seq % 2 == 0 { Verdict::Fail } else { Verdict::Pass };
        let mut entries: Vec<Entry> = (0..5).map(|n| finding("kill-test", &format!("new-{seq}-{n}"), verdict)).collect();
        entries.extend((0..5).map(|n| finding("kill-test", &format!("same-{n}"), verdict)));
        for entry in &entries {
            self.state.upsert(entry.clone());
        }
        self.sent.push((seq, entries.clone()));
        delta(seq, &entries, vec![transition(seq)], self.state.digest())
    }
}

fn transition(number: u64) -> v1::Transition {
    let key = v1::Key { kind: 1, key: "kill-test/same-0".to_owned() };
    v1::Transition { number, key: Some(key), from: 1, to: 2, severity: 4, at: 1, ..v1::Transition::default() }
}

/// Resumes as the collector asks, then sends until it goes away. Acknowledgements are counted as they come.
async fn talk(site: &Site, token: &Path, said: &mut Said, for_: Duration) {
    let ca = site.path("tls/ca.crt");
    let Ok((mut peer, welcome)) = Peer::connect(site.grpc, Path::new(&ca), token, EPOCH, said.acked, &said.state).await else { return };
    let resume = welcome.resume();
    let unacked: Vec<u64> = said.sent.iter().map(|(seq, _)| *seq).filter(|seq| *seq > said.acked).collect();
    match resume {
        v1::welcome::Resume::InSync => said.acked = said.seq,
        v1::welcome::Resume::Delta => {
            for (seq, entries) in said.sent.iter().filter(|(seq, _)| *seq > said.acked) {
                // Only the last one leaves the digest of today's state.
                let message = delta(*seq, entries, vec![transition(*seq)], said.state.digest());
                if peer.say(message).await.is_err() {
                    return;
                }
            }
        }
        v1::welcome::Resume::Full => {
            said.seq += 1;
            let entries: Vec<&Entry> = said.state.iter().collect();
            let parts: Vec<&[&Entry]> = entries.chunks(20).collect();
            for (part, chunk) in parts.iter().enumerate() {
                let snapshot = v1::Snapshot {
                    seq: said.seq,
                    snapshot: said.seq,
                    part: u32::try_from(part).unwrap(),
                    last: part + 1 == parts.len(),
                    entries: chunk.iter().map(|entry| wire(entry)).collect(),
                    digest: said.state.digest().to_bytes().to_vec(),
                };
                if peer.say(Message::Snapshot(snapshot)).await.is_err() {
                    return;
                }
            }
            let full = said.seq;
            said.sent.push((full, Vec::new()));
            said.seq += 1;
            let history = unacked.iter().map(|seq| transition(*seq)).collect();
            said.sent.push((said.seq, Vec::new()));
            if peer.say(delta(said.seq, &[], history, said.state.digest())).await.is_err() {
                return;
            }
        }
        other => panic!("unexpected resume {other:?}"),
    }
    let deadline = tokio::time::Instant::now() + for_;
    while tokio::time::Instant::now() < deadline {
        // Two in flight, so that a kill meets a message on its way.
        for _ in 0..2 {
            let message = said.next();
            if peer.say(message).await.is_err() {
                return;
            }
        }
        match peer.acknowledged(said.seq - 1).await {
            Ok(ack) => said.acked = said.acked.max(ack.seq),
            Err(_) => return,
        }
    }
    if let Ok(ack) = peer.acknowledged(said.seq).await {
        said.acked = said.acked.max(ack.seq);
    }
}

async fn database(site: &Site) -> SqlitePool {
    SqlitePool::connect_with(SqliteConnectOptions::new().filename(site.database()).read_only(true)).await.expect("open the database")
}

async fn number(pool: &SqlitePool, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(pool).await.expect(sql)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_killed_in_the_middle_of_ingest_loses_nothing_acked_and_doubles_nothing() {
    let site = Site::new(BINARIES).unwrap();
    let token = site.token("n1").unwrap();
    let mut said = Said::default();
    for round in 0..ROUNDS {
        let collector = site.collector(&[]).unwrap();
        let sending = talk(&site, &token, &mut said, Duration::from_secs(30));
        let killed = tokio::time::sleep(Duration::from_millis(250 + 150 * round));
        tokio::select! { () = sending => {}, () = killed => {} }
        collector.kill().unwrap();

        let pool = database(&site).await;
        let stored: Vec<i64> = sqlx::query_scalar("select number from transitions order by number").fetch_all(&pool).await.unwrap();
        let stored: std::collections::BTreeSet<u64> = stored.into_iter().map(|number| u64::try_from(number).unwrap()).collect();
        for (seq, entries) in said.sent.iter().filter(|(seq, entries)| *seq <= said.acked && !entries.is_empty()) {
            assert!(stored.contains(seq), "round {round}: transition {seq} was acknowledged and is gone");
            for entry in entries {
                let found: i64 = sqlx::query_scalar("select count(*) from findings where check_id = 'kill-test' and subject = $1")
                    .bind(entry.key.parts().1)
                    .fetch_one(&pool)
                    .await
                    .unwrap();
                assert_eq!(found, 1, "round {round}: {:?} was acknowledged with {seq}", entry.key);
            }
        }
        pool.close().await;
    }
    assert!(said.acked > 10, "the test did send something: {}", said.acked);

    let _collector = site.collector(&[]).unwrap();
    talk(&site, &token, &mut said, Duration::from_millis(300)).await;
    assert_eq!(said.acked, said.seq, "after the last restart everything is acknowledged");
    let pool = database(&site).await;
    assert_eq!(number(&pool, "select count(*) from findings").await, i64::try_from(said.state.len()).unwrap());
    let flips = said.sent.iter().filter(|(_, entries)| !entries.is_empty()).count();
    assert_eq!(number(&pool, "select count(*) from transitions").await, i64::try_from(flips).unwrap());
    assert_eq!(number(&pool, "select coalesce(sum(n), 0) from counts").await, i64::try_from(said.state.len()).unwrap());
    let digest: String = sqlx::query_scalar("select digest from nodes").fetch_one(&pool).await.unwrap();
    let bytes: String = said.state.digest().to_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(digest == bytes || digest == said.state.digest().to_string(), "{digest} against {bytes}");
    pool.close().await;
    // The file itself is sound.
    let mut connection = SqliteConnection::connect(&format!("sqlite://{}", site.database().display())).await.unwrap();
    let check: String = sqlx::query_scalar("pragma integrity_check").fetch_one(&mut connection).await.unwrap();
    assert_eq!(check, "ok");
}
