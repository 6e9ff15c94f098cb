//! Whoever is turned away is told, and counted once, as what it was.

use std::time::Duration;

use holdfast_checks::entries::{Digest, Verdict};
use holdfast_proto::v1;
use holdfast_proto::v1::agent_message::Message as Say;
use holdfast_proto::v1::enrolment_client::EnrolmentClient;
use tokio::time::timeout;
use tonic::Code;

use crate::rig::*;

impl Rig {
    /// How often one code was counted.
    async fn refused(&self, code: &str) -> u64 {
        let begin = format!("holdfast_rejections_total{{reason=\"{code}\"}} ");
        let metrics = self.metrics().await;
        metrics.lines().find_map(|line| line.strip_prefix(&begin)).map_or(0, |n| n.parse().unwrap())
    }

    /// Until every connection has ended, penalties included.
    async fn until_nobody_is_connected(&self) {
        let waiting = async {
            while !self.metrics().await.contains("holdfast_connections 0\n") {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, waiting).await.expect("everybody leaves");
    }
}

/// Each said what it wanted in correct HTTP/2, heard the answer and left at once.
#[tokio::test]
async fn polite_clients_that_are_refused_are_not_said_to_break_the_protocol() {
    let rig = rig().await;
    for _ in 0..40 {
        let refused = Client::open(rig.channel().await, "hf_wrong").await.err().unwrap();
        assert_eq!(refused.code(), Code::Unauthenticated);
        let mut enrolling = EnrolmentClient::new(rig.channel().await);
        assert_eq!(enrolling.enrol(v1::EnrolRequest::default()).await.unwrap_err().code(), Code::Unimplemented);
    }
    rig.until_nobody_is_connected().await;
    assert_eq!((rig.refused("unknown_token").await, rig.refused("protocol").await), (40, 0));
    assert_eq!(rig.refused("no_session").await, 0);
    rig.stop().await;
}

#[tokio::test]
async fn a_second_session_in_one_connection_is_refused_and_the_first_one_lives() {
    let rig = rig().await;
    let channel = rig.channel().await;
    let mut client = Client::open(channel.clone(), &rig.token).await.unwrap();
    client.greet(7, 0, Digest::EMPTY).await;
    for n in 1..=2 {
        let refused = Client::open(channel.clone(), &rig.token).await.err().unwrap();
        assert_eq!((refused.code(), refused.message()), (Code::ResourceExhausted, "there is a session in this connection"));
        assert_eq!(rig.refused("second_session").await, n);
    }
    client.say(delta(1, &[finding("a", "1", Verdict::Fail)])).await;
    assert_eq!(client.ack().await.seq, 1);
    drop((client, channel));
    rig.stop().await;
}

#[tokio::test]
async fn whoever_says_no_hello_is_told_and_counted() {
    let rig = rig().await;
    let mut client = rig.client().await;
    let began = std::time::Instant::now();
    let status = client.end().await;
    assert_eq!((status.code(), status.message()), (Code::DeadlineExceeded, "hello did not come in time"));
    assert!(began.elapsed() >= Duration::from_secs(4), "{:?}", began.elapsed());
    assert_eq!((rig.refused("no_hello").await, rig.refused("late").await), (1, 0));
    assert_eq!(rig.number("select count(*) from nodes").await, 0);
    drop(client);
    rig.stop().await;
}

#[tokio::test]
async fn a_hello_that_is_too_long_opens_no_session() {
    let rig = rig().await;
    let mut client = rig.client().await;
    let long = v1::Hello { node_name: "n".repeat(4 * 1024), ..hello(7, 0, Digest::EMPTY) };
    client.say(Say::Hello(long)).await;
    let status = client.end().await;
    let told = "protocol error: hello is malformed: it is longer than 4 KiB";
    assert_eq!((status.code(), status.message()), (Code::InvalidArgument, told));
    assert_eq!(rig.refused("protocol").await, 1);
    assert_eq!(rig.number("select count(*) from nodes").await, 0);
    drop(client);
    rig.stop().await;
}
