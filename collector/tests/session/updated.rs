//! A collector that takes the place of another one, with the same database: of another version, or with another catalogue.

use holdfast_checks::entries::{Entry, Verdict};
use holdfast_proto::v1;
use holdfast_proto::v1::refused::Code;
use holdfast_proto::v1::welcome::Resume;

use crate::rig::*;

/// A check that this collector judges itself, and so refuses to hear from agents.
const CATALOGUE: &str = "
- id: said-by-agents
  title: Agents say it
  severity: low
  area: agent
  judged_by: collector
  pass: node.admission.foreign_writes == 0
  evidence: [node.admission.foreign_writes]
  why: It is said.
  fix: Say it.
";

impl Rig {
    /// How a session of the agent begins that has `entries`, less what was refused.
    async fn resumes(&self, last_acked: u64, entries: &[Entry]) -> (Client, Resume) {
        let mut client = self.client().await;
        let welcome = client.greet(7, last_acked, digest(entries)).await;
        (client, welcome.resume())
    }
}

/// Refused entries are in neither side's digest, so equal digests said for ever that nothing was missing.
#[tokio::test]
async fn what_another_collector_refused_is_asked_for_although_the_digests_are_equal() {
    let dir = tempfile::tempdir().unwrap();
    let catalogue = dir.path().join("catalogue");
    std::fs::create_dir(&catalogue).unwrap();
    std::fs::write(catalogue.join("mine.yaml"), CATALOGUE).unwrap();
    let (kept, refused) = (finding("a", "1", Verdict::Fail), finding("said-by-agents", "1", Verdict::Fail));
    let (kept, all) = ([kept.clone()], [kept, refused]);

    let rig = start(dir).await;
    let (mut client, _) = rig.resumes(0, &[]).await;
    client.say(delta(1, &all)).await;
    assert_eq!(client.ack().await.refused.iter().map(v1::Refused::code).collect::<Vec<_>>(), [Code::Foreign]);
    drop(client);
    let rig = start(rig.stop().await).await;
    assert_eq!(rig.resumes(1, &kept).await.1, Resume::InSync, "the same collector would refuse it again");

    std::fs::remove_dir_all(catalogue).unwrap();
    let rig = start(rig.stop().await).await;
    assert_eq!(rig.resumes(1, &kept).await.1, Resume::Full, "it judges by another catalogue");
    let rig = start(rig.stop().await).await;
    let (mut client, resume) = rig.resumes(1, &kept).await;
    assert_eq!(resume, Resume::Full, "until all of it is there");
    client.say(part(2, 0, &all, Some(digest(&all)))).await;
    assert_eq!(client.ack().await.refused, []);
    assert_eq!(rig.number("select (select count(*) from findings where origin = 'node') * 10 + (select count(*) from refused)").await, 20);
    drop(client);
    assert_eq!(rig.resumes(2, &all).await.1, Resume::InSync);
    let rig = start(rig.stop().await).await;
    assert_eq!(rig.resumes(2, &all).await.1, Resume::InSync, "once");
    rig.stop().await;
}

#[tokio::test]
async fn what_another_version_refused_is_asked_for_once() {
    let rig = rig().await;
    let (kept, refused) = (finding("a", "1", Verdict::Fail), finding("not an id yet", "1", Verdict::Fail));
    let (kept, all) = ([kept.clone()], [kept, refused]);
    let (mut client, _) = rig.resumes(0, &[]).await;
    client.say(delta(1, &all)).await;
    assert_eq!(client.ack().await.refused.iter().map(v1::Refused::code).collect::<Vec<_>>(), [Code::Malformed]);
    drop(client);
    let updated = "update derived set version = '0.0.0 ' || version where name = 'refused'";
    assert_eq!(sqlx::query(updated).execute(&rig.raw().await).await.unwrap().rows_affected(), 1);

    let rig = start(rig.stop().await).await;
    let (mut client, resume) = rig.resumes(1, &kept).await;
    assert_eq!(resume, Resume::Full);
    client.say(part(2, 0, &all, Some(digest(&all)))).await;
    assert_eq!(client.ack().await.refused.len(), 1, "no more is known of it here");
    drop(client);
    let rig = start(rig.stop().await).await;
    assert_eq!(rig.resumes(2, &kept).await.1, Resume::InSync, "this version has refused it itself");
    rig.stop().await;
}

#[tokio::test]
async fn nobody_is_asked_of_whom_nothing_was_refused() {
    let rig = rig().await;
    let kept = [finding("a", "1", Verdict::Fail)];
    let (mut client, _) = rig.resumes(0, &[]).await;
    client.say(delta(1, &kept)).await;
    client.ack().await;
    drop(client);
    sqlx::query("delete from derived where name = 'refused'").execute(&rig.raw().await).await.unwrap();
    let rig = start(rig.stop().await).await;
    assert_eq!(rig.resumes(1, &kept).await.1, Resume::InSync);
    rig.stop().await;
}
