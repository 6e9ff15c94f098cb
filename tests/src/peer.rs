//! A hand-driven agent on the wire: says exactly what a test tells it to, true or not.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use holdfast_agent::connect::{ConnectError, Shown, Stream, Target};
use holdfast_checks::entries::{Body, Digest, Entry, Evidence, Finding, Severity, State, Verdict};
use holdfast_proto::v1;

/// Longest wait for one message.
const ANSWER: Duration = Duration::from_mins(1);

/// One open session.
#[derive(Debug)]
pub struct Peer {
    stream: Stream,
    /// What came while something was sent.
    heard: VecDeque<Result<v1::CollectorMessage, ConnectError>>,
}

impl Peer {
    /// Connects and says Hello for a state of `digest`.
    pub async fn connect(port: u16, ca: &Path, token: &Path, epoch: u64, last_acked: u64, state: &State) -> Result<(Self, v1::Welcome)> {
        let mut peer = Self::open(port, ca, token).await?;
        peer.say(v1::agent_message::Message::Hello(hello(epoch, last_acked, state)?)).await?;
        match peer.hear().await?.message {
            Some(v1::collector_message::Message::Welcome(welcome)) => Ok((peer, welcome)),
            other => anyhow::bail!("no Welcome but {other:?}"),
        }
    }

    /// Opens the stream and says nothing.
    pub async fn open(port: u16, ca: &Path, token: &Path) -> Result<Self> {
        let target = Target {
            collector: Target::parse_collector(&format!("https://127.0.0.1:{port}")).map_err(anyhow::Error::msg)?,
            ca: ca.to_owned(),
            shown: Shown::Token(token.to_owned()),
            server_name: Some("localhost".to_owned()),
            allow_tls12: false,
        };
        Ok(Self { stream: target.dial().await?.open(), heard: VecDeque::new() })
    }

    /// Sends one message, and reads what comes meanwhile: HTTP/2 ends a connection on which a hundred small messages wait to be read.
    /// Of a stream that is over, the error is why.
    pub async fn say(&mut self, message: v1::agent_message::Message) -> Result<()> {
        let message = v1::AgentMessage { message: Some(message) };
        loop {
            tokio::select! {
                room = self.stream.outgoing.reserve() => match room {
                    Ok(room) => {
                        room.send(message);
                        return Ok(());
                    }
                    Err(_) => break,
                },
                Some(heard) = self.stream.incoming.recv() => self.heard.push_back(heard),
            }
        }
        loop {
            self.hear().await?;
        }
    }

    /// Waits for one message.
    pub async fn hear(&mut self) -> Result<v1::CollectorMessage> {
        if let Some(heard) = self.heard.pop_front() {
            return Ok(heard?);
        }
        let heard = tokio::time::timeout(ANSWER, self.stream.incoming.recv()).await.context("no message in time")?;
        Ok(heard.context("the stream ended")??)
    }

    /// Waits for an acknowledgement of at least `seq`; other messages are passed over.
    pub async fn acknowledged(&mut self, seq: u64) -> Result<v1::Ack> {
        loop {
            if let Some(v1::collector_message::Message::Ack(ack)) = self.hear().await?.message
                && ack.seq >= seq
            {
                return Ok(ack);
            }
        }
    }
}

/// What an agent of that spool says first, of a state of which it knows that so much was acknowledged.
pub fn hello(epoch: u64, last_acked: u64, state: &State) -> Result<v1::Hello> {
    Ok(v1::Hello {
        protocol_min: 1,
        protocol_max: 1,
        agent_version: "test".to_owned(),
        epoch,
        last_acked_seq: last_acked,
        state_digest: state.digest().to_bytes().to_vec(),
        entries: u32::try_from(state.len())?,
        catalogue_hash: vec![0; 16],
        boot_id: "test".to_owned(),
        ..v1::Hello::default()
    })
}

/// A finding as an agent would send it.
pub fn finding(check: &str, subject: &str, verdict: Verdict) -> Entry {
    let evidence = Evidence { path: "test.fact".to_owned(), value: Some(subject.into()), source: "file /etc/test".to_owned(), at: 1 };
    let finding = Finding {
        check: check.to_owned(),
        subject: subject.to_owned(),
        verdict,
        reason: String::new(),
        severity: Severity::High,
        title: "A test finding".to_owned(),
        evidence: vec![evidence],
        evidence_truncated: false,
    };
    Entry::finding(finding, 1)
}

/// An entry on the wire.
pub fn wire(entry: &Entry) -> v1::Entry {
    let body = match &entry.body {
        Body::Finding(finding) => v1::entry::Body::Finding(v1::Finding {
            verdict: match finding.verdict {
                Verdict::Pass => 1,
                Verdict::Fail => 2,
                Verdict::NotApplicable => 3,
                Verdict::Unknown => 4,
                Verdict::Manual => 5,
            },
            reason: finding.reason.clone(),
            severity: 4,
            title: finding.title.clone(),
            evidence: Vec::new(),
            evidence_truncated: false,
        }),
        Body::Inventory(inventory) => v1::entry::Body::Inventory(v1::Inventory { json: inventory.json.clone() }),
    };
    let key = v1::Key { kind: i32::from(entry.key.kind().number()), key: entry.key.as_str().to_owned() };
    v1::Entry { key: Some(key), hash: entry.hash.0.to_vec(), body: Some(body), changed_at: entry.changed_at }
}

/// A delta of upserts, with the digest of the state after it.
pub fn delta(seq: u64, upserts: &[Entry], transitions: Vec<v1::Transition>, digest: Digest) -> v1::agent_message::Message {
    v1::agent_message::Message::Delta(v1::Delta {
        seq,
        upserts: upserts.iter().map(wire).collect(),
        gone: Vec::new(),
        transitions,
        digest_after: digest.to_bytes().to_vec(),
        truncated_transitions: 0,
    })
}
