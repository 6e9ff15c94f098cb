//! Every way to turn somebody away: one code each, counted, and logged without letting a flood fill the disk.
//!
//! The code is for the operator: metric label and log field. What the other end is told says less, and never whether a node is
//! known. Must not know how anything is refused; whoever refuses notes it here, once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::metrics::Metrics;

/// Lines of one code that are logged within [`WINDOW`]; what is beyond is counted and said with the next.
const LINES: u32 = 5;
/// See [`LINES`].
const WINDOW: Duration = Duration::from_secs(10);

macro_rules! refusals {
    ($($(#[doc = $doc:literal])+ $variant:ident = $code:literal,)+) => {
        /// Why somebody or something was turned away.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Refusal {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Refusal {
            /// Every one there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The code: in metrics (`holdfast_rejections_total{reason}`), in the log (`code`) and in `docs/refusals.md`.
            pub fn code(self) -> &'static str {
                match self {
                    $(Self::$variant => $code,)+
                }
            }
        }
    };
}

refusals! {
    /// The system gave no descriptor or memory for a connection.
    Accept = "accept",
    /// As many connections are open as may be.
    ConnectionsFull = "connections_full",
    /// A TLS handshake failed.
    Handshake = "handshake",
    /// A client certificate that its CA did not sign for this, or past its end.
    ClientCertificate = "client_certificate",
    /// A TLS handshake took too long.
    HandshakeTimeout = "handshake_timeout",
    /// A TLS handshake gave way to newer ones while as many were under way as may be.
    HandshakeDisplaced = "handshake_displaced",
    /// No agent came of too many handshakes of one address.
    HandshakeRate = "handshake_rate",
    /// Nobody opened a session in the connection in time.
    NoSession = "no_session",
    /// A connection without a session gave way to newer ones.
    NoSessionDisplaced = "no_session_displaced",
    /// A second session in one connection.
    SecondSession = "second_session",

    /// No token and no certificate.
    NoCredentials = "no_credentials",
    /// The `authorization` metadata is not a bearer token.
    MalformedCredentials = "malformed_credentials",
    /// Nobody knows the token.
    UnknownToken = "unknown_token",
    /// The API server does not authenticate the token: forged, expired, of a deleted pod.
    NotAuthenticated = "not_authenticated",
    /// The token is for somebody else.
    WrongAudience = "wrong_audience",
    /// The token is not one of our agents' service account.
    WrongAccount = "wrong_account",
    /// The token is not bound to a pod and a node.
    UnboundToken = "unbound_token",
    /// The pod is not one of our DaemonSet.
    ForeignPod = "foreign_pod",
    /// The pod is on another node than the token says.
    WrongNode = "wrong_node",
    /// The node of that name is another one by now.
    NodeReplaced = "node_replaced",
    /// The API server cannot be asked.
    ReviewUnavailable = "review_unavailable",
    /// More tokens than may wait are yet to be reviewed, most of them from the same address; or its turn did not come in time.
    ReviewBusy = "review_busy",
    /// A certificate that names no node of ours.
    MalformedCertificate = "malformed_certificate",
    /// The certificate's node is not, or not any longer, listed.
    UnlistedCertificate = "unlisted_certificate",
    /// The token or certificate is past its end.
    Expired = "expired",
    /// A token that came in a session was not accepted.
    Reauth = "reauth",
    /// A token that came in a session names another node.
    IdentityChanged = "identity_changed",
    /// The agent's pod was deleted.
    PodDeleted = "pod_deleted",
    /// The token was taken out of the tokens file.
    Revoked = "revoked",
    /// Another agent holds the node's session.
    DuplicateAgent = "duplicate_agent",
    /// The node's agent opened a newer session.
    Superseded = "superseded",

    /// An enrolment token that is not known, or expired.
    EnrolmentToken = "enrolment_token",
    /// An enrolment token that was used with another key before.
    EnrolmentReused = "enrolment_reused",
    /// A certificate from before the machine was enrolled anew.
    EnrolmentReplaced = "enrolment_replaced",
    /// A signing request that is none.
    EnrolmentRequest = "enrolment_request",
    /// The enrolment CA does not sign: it is past its end, or its files cannot be used.
    EnrolmentAuthority = "enrolment_authority",
    /// More enrolments at once than are taken.
    EnrolmentBusy = "enrolment_busy",

    /// No Hello in time.
    NoHello = "no_hello",
    /// Something else did not come in time.
    Late = "late",
    /// The contract was broken.
    Protocol = "protocol",
    /// No protocol version in common.
    Incompatible = "incompatible",
    /// The agent does not read what it is told.
    SlowReader = "slow_reader",
    /// The store cannot commit.
    Store = "store",
    /// The collector is stopping.
    Draining = "draining",
    /// Said of another node than its own.
    ForeignWrite = "foreign_write",
    /// More history than an agent may tell.
    TransitionQuota = "transition_quota",
}

#[derive(Debug)]
struct Said {
    since: Instant,
    lines: u32,
    untold: u64,
}

/// Notes refusals. Cloned freely.
#[derive(Debug, Clone, Default)]
pub struct Refusals(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    metrics: Metrics,
    said: Mutex<BTreeMap<Refusal, Said>>,
}

impl Refusals {
    /// Counts in `metrics`.
    pub fn new(metrics: Metrics) -> Self {
        Self(Arc::new(Inner { metrics, said: Mutex::default() }))
    }

    /// Counts a refusal and logs it, unless the same was logged often just now. `node` is whose credentials were accepted before.
    pub fn note(&self, refusal: Refusal, peer: Option<SocketAddr>, node: Option<&str>, reason: &dyn std::fmt::Display) {
        self.0.metrics.rejected(refusal.code());
        let Some(untold) = self.may_say(refusal) else { return };
        let peer = peer.map(tracing::field::display);
        // Debug escapes: what the other end sent may be in the reason.
        let reason = format!("{reason}");
        tracing::warn!(code = refusal.code(), peer, node, reason = ?reason, untold = NonZeroU64::new(untold), "refused");
    }

    /// How many were not logged since the last line, or `None` when this one is not to be logged either.
    fn may_say(&self, refusal: Refusal) -> Option<u64> {
        let mut said = self.0.said.lock().unwrap_or_else(PoisonError::into_inner);
        let said = said.entry(refusal).or_insert_with(|| Said { since: Instant::now(), lines: 0, untold: 0 });
        if said.since.elapsed() >= WINDOW {
            (said.since, said.lines) = (Instant::now(), 0);
        }
        if said.lines >= LINES {
            said.untold = said.untold.saturating_add(1);
            return None;
        }
        said.lines += 1;
        Some(std::mem::take(&mut said.untold))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::{LINES, Refusal, Refusals};

    /// Where a test's lines go.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(line)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_refusal_has_a_code_of_its_own_for_a_metric() {
        let codes: BTreeSet<&str> = Refusal::ALL.iter().map(|refusal| refusal.code()).collect();
        assert_eq!(codes.len(), Refusal::ALL.len());
        assert!(codes.iter().all(|code| code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')));
    }

    #[test]
    fn every_code_has_its_row_in_the_docs_and_no_other_has() {
        let rows = include_str!("../../docs/refusals.md").lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        let documented: Vec<&str> = rows.collect();
        let codes: BTreeSet<&str> = Refusal::ALL.iter().map(|refusal| refusal.code()).collect();
        assert_eq!(documented.iter().copied().collect::<BTreeSet<_>>(), codes);
        assert_eq!(documented.len(), codes.len(), "one row each");
    }

    #[test]
    fn a_flood_is_counted_and_not_logged_line_by_line() {
        let refusals = Refusals::default();
        let said: Vec<Option<u64>> = (0..100).map(|_| refusals.may_say(Refusal::Handshake)).collect();
        assert_eq!(said.iter().flatten().count(), usize::try_from(LINES).unwrap());
        assert_eq!(refusals.may_say(Refusal::Protocol), Some(0), "another code is heard all the same");
    }

    /// Every line once said `untold=0`.
    #[test]
    fn a_line_says_how_many_were_not_logged_only_where_some_were_not() {
        let (lines, refusals) = (Lines::default(), Refusals::default());
        let writer = lines.clone();
        let log = tracing_subscriber::fmt().without_time().with_ansi(false).with_target(false).with_writer(move || writer.clone());
        let note = || refusals.note(Refusal::UnknownToken, None, Some("node-a"), &"the token is not known");
        tracing::subscriber::with_default(log.finish(), || {
            note();
            refusals.0.said.lock().unwrap().get_mut(&Refusal::UnknownToken).unwrap().untold = 7;
            note();
        });
        let said = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let line = " WARN refused code=\"unknown_token\" node=\"node-a\" reason=\"the token is not known\"";
        assert_eq!(said, format!("{line}\n{line} untold=7\n"));
    }
}
