//! The collector is killed in the middle of ingest: nothing acknowledged is missing, nothing is doubled.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use holdfast_checks::entries::{Entry, State, Verdict};
use holdfast_proto::v1;
use holdfast_proto::v1::agent_message::Message;
use holdfast_tests::peer::{Peer, delta, finding, wire};
use holdfast_tests::site::Site;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use sqlx::{Connection, SqliteConnection};

use crate::{BINARIES, rounds};

const EPOCH: u64 = 7;
/// Findings, about: a collector refuses a node with very many, and sending them all takes its time.
const MOST: usize = 4_000;

/// One message: what an acknowledgement of it promises.
struct Sent {
    seq: u64,
    entries: Vec<Entry>,
    /// Numbers of the transitions it carried.
    numbers: Vec<u64>,
}

/// What one agent has said so far.
#[derive(Default)]
struct Said {
    state: State,
    seq: u64,
    acked: u64,
    /// Transitions made so far; they count up from 1.
    number: u64,
    sent: Vec<Sent>,
}

impl Said {
    fn next(&mut self) -> Message {
        self.number += 1;
        // Half of each message is new, half flips what is there; no node has more than so many findings.
        let new = if self.state.len() < MOST { 5 } else { 0 };
        let verdict = if self.number.is_multiple_of(2) { Verdict::Fail } else { Verdict::Pass };
        let mut entries: Vec<Entry> = (0..new).map(|n| finding("kill-test", &format!("new-{}-{n}", self.number), verdict)).collect();
        entries.extend((0..5).map(|n| finding("kill-test", &format!("same-{n}"), verdict)));
        for entry in &entries {
            self.state.upsert(entry.clone());
        }
        self.delta(entries, vec![self.number])
    }

    fn delta(&mut self, entries: Vec<Entry>, numbers: Vec<u64>) -> Message {
        self.seq += 1;
        let transitions = numbers.iter().map(|number| transition(*number)).collect();
        let message = delta(self.seq, &entries, transitions, self.state.digest());
        self.sent.push(Sent { seq: self.seq, entries, numbers });
        message
    }

    /// The whole state in parts, then the history that is still owed.
    fn full(&mut self) -> Vec<Message> {
        self.sent.retain(|sent| sent.seq <= self.acked);
        let told: BTreeSet<u64> = self.sent.iter().flat_map(|sent| sent.numbers.iter().copied()).collect();
        let owed: Vec<u64> = (1..=self.number).filter(|number| !told.contains(number)).collect();
        let entries: Vec<Entry> = self.state.iter().cloned().collect();
        let snapshot = self.seq + 1;
        let mut messages = Vec::new();
        let parts = entries.chunks(20).count();
        for (part, chunk) in entries.chunks(20).enumerate() {
            self.seq += 1;
            messages.push(Message::Snapshot(v1::Snapshot {
                seq: self.seq,
                snapshot,
                part: u32::try_from(part).unwrap(),
                last: part + 1 == parts,
                entries: chunk.iter().map(wire).collect(),
                digest: self.state.digest().to_bytes().to_vec(),
            }));
            self.sent.push(Sent { seq: self.seq, entries: chunk.to_vec(), numbers: Vec::new() });
        }
        messages.push(self.delta(Vec::new(), owed));
        messages
    }

    /// What was sent and not acknowledged, again.
    fn again(&self) -> Vec<Message> {
        let message = |sent: &Sent| {
            let transitions = sent.numbers.iter().map(|number| transition(*number)).collect();
            // Only the last of them leaves the digest of today's state; a digest in between is not repeated.
            delta(sent.seq, &sent.entries, transitions, self.state.digest())
        };
        self.sent.iter().filter(|sent| sent.seq > self.acked).map(message).collect()
    }
}

fn transition(number: u64) -> v1::Transition {
    let key = v1::Key { kind: 1, key: "kill-test/same-0".to_owned() };
    v1::Transition { number, key: Some(key), from: 1, to: 2, severity: 4, at: 1, ..v1::Transition::default() }
}

/// Resumes as the collector asks, then sends until it goes away or the time is over. Acknowledgements are counted as they come.
async fn talk(site: &Site, token: &Path, said: &mut Said, for_: Duration) -> Result<()> {
    let ca = site.path("tls/ca.crt");
    let (mut peer, welcome) = Peer::connect(site.grpc, Path::new(&ca), token, EPOCH, said.acked, &said.state).await?;
    let resumed = match welcome.resume() {
        // The digest says that all of it is stored; what was not acknowledged is said again all the same.
        v1::welcome::Resume::InSync | v1::welcome::Resume::Delta => said.again(),
        v1::welcome::Resume::Full => said.full(),
        other => panic!("unexpected resume {other:?}"),
    };
    for message in resumed {
        peer.say(message).await?;
    }
    let deadline = tokio::time::Instant::now() + for_;
    while tokio::time::Instant::now() < deadline {
        // Two in flight, so that a kill meets a message on its way.
        for _ in 0..2 {
            let message = said.next();
            peer.say(message).await?;
        }
        said.acked = said.acked.max(peer.acknowledged(said.seq - 1).await?.seq);
    }
    said.acked = said.acked.max(peer.acknowledged(said.seq).await?.seq);
    Ok(())
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
    // Grows where this machine is so busy that nothing was said in a round.
    let mut slow = 1;
    for round in 0..rounds() {
        let before = said.acked;
        let collector = site.collector(&[]).unwrap();
        let sending = talk(&site, &token, &mut said, Duration::from_secs(30));
        let killed = tokio::time::sleep(slow * Duration::from_millis(250 + 137 * round % 900));
        tokio::select! { ended = sending => ended.unwrap_or_else(|error| panic!("round {round}: {error:#}\n{}", site.log("collector.log"))), () = killed => {} }
        collector.kill().unwrap();
        slow = if said.acked == before { (slow * 2).min(32) } else { slow };

        let pool = database(&site).await;
        let stored: Vec<i64> = sqlx::query_scalar("select number from transitions order by number").fetch_all(&pool).await.unwrap();
        let stored: BTreeSet<u64> = stored.into_iter().map(|number| u64::try_from(number).unwrap()).collect();
        let findings: Vec<String> =
            sqlx::query_scalar("select subject from findings where check_id = 'kill-test'").fetch_all(&pool).await.unwrap();
        let findings: BTreeSet<String> = findings.into_iter().collect();
        for sent in said.sent.iter().filter(|sent| sent.seq <= said.acked) {
            for number in &sent.numbers {
                assert!(stored.contains(number), "round {round}: transition {number} was acknowledged with {} and is gone", sent.seq);
            }
            for entry in &sent.entries {
                assert!(
                    findings.contains(entry.key.parts().1),
                    "round {round}: {:?} was acknowledged with {} and is gone",
                    entry.key,
                    sent.seq
                );
            }
        }
        pool.close().await;
    }
    assert!(said.acked > 10, "the test did send something: {}", said.acked);

    let _collector = site.collector(&[]).unwrap();
    let ended = talk(&site, &token, &mut said, Duration::from_millis(300)).await;
    ended.unwrap_or_else(|error| panic!("after the last restart everything is acknowledged: {error:#}\n{}", site.log("collector.log")));
    assert_eq!(said.acked, said.seq);
    let pool = database(&site).await;
    assert_eq!(number(&pool, "select count(*) from findings").await, i64::try_from(said.state.len()).unwrap());
    assert_eq!(number(&pool, "select count(*) from transitions").await, i64::try_from(said.number).unwrap());
    assert_eq!(number(&pool, "select coalesce(sum(n), 0) from counts").await, i64::try_from(said.state.len()).unwrap());
    let digest: String = sqlx::query_scalar("select digest from nodes").fetch_one(&pool).await.unwrap();
    assert_eq!(digest, said.state.digest().to_string());
    pool.close().await;
    // The file itself is sound.
    let mut connection = SqliteConnection::connect(&format!("sqlite://{}", site.database().display())).await.unwrap();
    let check: String = sqlx::query_scalar("pragma integrity_check").fetch_one(&mut connection).await.unwrap();
    assert_eq!(check, "ok");
}
