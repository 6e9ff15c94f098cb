//! The gRPC service: who asks, whether they may, and the answer. Strangers hear the same whatever is wrong.
//!
//! A connection that only enrols is never accepted as an agent's: it ends by itself, or a little later.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holdfast_proto::v1::{EnrolRequest, Enrolled, RenewRequest, enrolment_server};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tonic::{Request, Response, Status};

use super::authority::{AuthorityError, Issued};
use super::list::Enrolments;
use super::pace::{Pace, Rate};
use super::request::{self, Key};
use crate::accept::{Certificate, Peer};
use crate::identity::certificate::{self, Family};
use crate::identity::{Rejection, hex, sha256};
use crate::logs::cause;
use crate::metrics::Metrics;
use crate::refusals::{Refusal, Refusals};
use crate::store::enrolled::{Claim, Claimed, Renewal};
use crate::store::nodes::NodeIdentity;
use crate::store::{Store, StoreError};

/// Enrolments and renewals under way at once: each costs signatures and a write.
const AT_ONCE: usize = 4;
/// How long one may wait for its turn.
const TURN: Duration = Duration::from_secs(5);
/// How fast everybody together, and each address or node, is answered. Strangers and machines that renew are two: a flood of strangers
/// from many addresses must not cost an enrolled machine its certificate.
const ALL: Rate = Rate { per_second: 100, burst: 500 };
/// See [`ALL`]. Many machines may be behind one address.
const EACH: Rate = Rate { per_second: 5, burst: 50 };
/// Addresses remembered, and nodes.
const REMEMBERED: usize = 4096;
/// The longest token taken, in bytes.
const MAX_TOKEN_BYTES: usize = 256;
/// What whoever is not accepted is told, whatever the reason.
const NOT_ACCEPTED: &str = "not accepted";
/// What is said when it is worth coming back.
const LATER: &str = "come back later";

/// See the module.
#[derive(Debug)]
pub struct Enroller {
    list: Arc<Enrolments>,
    certificate: Arc<Certificate>,
    store: Store,
    refusals: Refusals,
    lifetime: Duration,
    strangers: Mutex<Pace<Option<IpAddr>>>,
    nodes: Mutex<Pace<(String, String)>>,
    turns: Semaphore,
    started: Instant,
}

/// The gRPC service.
#[derive(Debug, Clone)]
pub struct Service(pub Arc<Enroller>);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Rejected(#[from] Rejection),
    #[error("the store cannot note it")]
    Store(#[from] StoreError),
    #[error("the enrolment CA does not sign")]
    Authority(#[from] AuthorityError),
}

impl Enroller {
    /// Certificates live for `lifetime`, and are signed by the authority that `certificate` has read last.
    pub fn new(
        list: Arc<Enrolments>,
        certificate: Arc<Certificate>,
        store: Store,
        refusals: Refusals,
        metrics: &Metrics,
        lifetime: Duration,
    ) -> Self {
        // An alert on the first one needs to have seen that there was none.
        metrics.rejection_known(Refusal::EnrolmentReused.code());
        let (strangers, nodes) = (Mutex::new(Pace::new(ALL, EACH, REMEMBERED)), Mutex::new(Pace::new(ALL, EACH, REMEMBERED)));
        let (turns, started) = (Semaphore::new(AT_ONCE), Instant::now());
        Self { list, certificate, store, refusals, lifetime, strangers, nodes, turns, started }
    }

    fn in_pace<K: Ord + Clone>(&self, pace: &Mutex<Pace<K>>, asker: &K) -> Result<(), Rejection> {
        let now_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        if pace.lock().unwrap_or_else(PoisonError::into_inner).allows(asker, now_ms) {
            return Ok(());
        }
        Err(Rejection::new(Refusal::EnrolmentBusy, "faster than enrolments are taken"))
    }

    async fn turn(&self) -> Result<tokio::sync::SemaphorePermit<'_>, Rejection> {
        let turn = timeout(TURN, self.turns.acquire()).await.ok().and_then(Result::ok);
        turn.ok_or_else(|| Rejection::new(Refusal::EnrolmentBusy, "too many enrolments at once"))
    }

    async fn enrol(&self, peer: Option<&Peer>, asked: EnrolRequest) -> Result<Enrolled, Refused> {
        // Before anything is looked up, so that being told to wait tells nothing.
        self.in_pace(&self.strangers, &peer.map(Peer::origin))?;
        let now = now();
        let unknown = |reason| Rejection::new(Refusal::EnrolmentToken, reason);
        if asked.token.is_empty() || asked.token.len() > MAX_TOKEN_BYTES {
            return Err(unknown("what was sent is no enrolment token").into());
        }
        let hash = sha256(asked.token.as_bytes());
        let listed = self.list.by_token(&hash).await.ok_or_else(|| unknown("the enrolment token is not known"))?;
        // Not before: a token that is not known may wait for a look at the file, and would keep machines that renew from their turn.
        let _turn = self.turn().await?;
        let name = &listed.node.name;
        if listed.expires.is_none_or(|end| now >= end) {
            return Err(unknown(&format!("the enrolment token of {name:?} is past its end")).into());
        }
        let key = Self::key(&asked.request, name)?;
        let family = Family::of(&hash);
        let issued = self.issue(&listed.node, family, &key, now)?;
        let claim = Claim {
            cluster: &listed.node.cluster,
            uid: &listed.node.uid,
            token: &hex(&hash),
            key: &key.sha256,
            family: &family.hex(),
            serial: &issued.serial,
            not_after: issued.not_after,
            at: now,
        };
        let writing = self.list.families.writing().await;
        let claimed = self.store.claim_enrolment(&claim).await?;
        if claimed != Claimed::Reused {
            // From here on nobody else's certificate counts for this node.
            self.list.families.take(&listed.node.cluster, &listed.node.uid, family);
        }
        drop(writing);
        match claimed {
            Claimed::Reused => {
                let reason = format!(
                    "the enrolment token of {name:?} was used with another key before: it was stolen, or the machine was set up anew; take the \
                     node's line out of the enrolments file if you do not know which, or give a new token with `enrolment renew`"
                );
                Err(Rejection::new(Refusal::EnrolmentReused, reason).into())
            }
            claimed => {
                let again = claimed == Claimed::Again;
                tracing::info!(node = name, cluster = listed.node.cluster, serial = issued.serial, again, "enrolled");
                Ok(answer(&issued))
            }
        }
    }

    async fn renew(&self, peer: Option<&Peer>, asked: RenewRequest) -> Result<Enrolled, Refused> {
        let shown = peer.and_then(Peer::certificate);
        let shown = shown.ok_or_else(|| Rejection::new(Refusal::NoCredentials, "a renewal without a client certificate"))?;
        let named = certificate::named(shown)?;
        let now = now();
        // The handshake has checked that; the connection may be old.
        if now >= named.not_after {
            return Err(Rejection::new(Refusal::Expired, "a renewal with a certificate past its end").into());
        }
        let node = self.list.find(&named.cluster, &named.uid).await;
        let node = node.ok_or_else(|| Rejection::new(Refusal::UnlistedCertificate, "a renewal of a node that is not listed"))?;
        self.list.current(&node, named.family)?;
        self.in_pace(&self.nodes, &(node.cluster.clone(), node.uid.clone()))?;
        let _turn = self.turn().await?;
        let key = Self::key(&asked.request, &node.name)?;
        let issued = self.issue(&node, named.family, &key, now)?;
        let renewal = Renewal {
            cluster: &node.cluster,
            uid: &node.uid,
            serial: &issued.serial,
            not_after: issued.not_after,
            at: now,
            family: &named.family.hex(),
        };
        let writing = self.list.families.writing().await;
        if !self.store.renew_enrolment(&renewal).await? {
            // The store knows of a family that memory does not: another process has written to it.
            return Err(Rejection::new(Refusal::EnrolmentReplaced, format!("{:?} was enrolled anew", node.name)).into());
        }
        self.list.families.take(&node.cluster, &node.uid, named.family);
        drop(writing);
        tracing::debug!(node = node.name, cluster = node.cluster, serial = issued.serial, "renewed");
        Ok(answer(&issued))
    }

    fn key(request: &[u8], name: &str) -> Result<Key, Rejection> {
        request::key(request).map_err(|wrong| Rejection::new(Refusal::EnrolmentRequest, format!("{name:?}: {wrong}")))
    }

    fn issue(&self, node: &NodeIdentity, family: Family, key: &Key, now: i64) -> Result<Issued, Refused> {
        let authority = self.certificate.authority().ok_or(AuthorityError::NoCertificate)?;
        Ok(authority.issue(node, family, &key.public, now, self.lifetime)?)
    }

    /// What the other end is told. One that was answered has its time to go, as after a session, and no longer.
    fn told(&self, answer: Result<Enrolled, Refused>, peer: Option<&Peer>) -> Result<Response<Enrolled>, Status> {
        let enrolled = answer.map_err(|refused| self.refused(&refused, peer))?;
        drop(peer.and_then(Peer::begin_session));
        Ok(Response::new(enrolled))
    }

    /// Notes the refusal, once, and what the other end hears of it.
    fn refused(&self, refused: &Refused, peer: Option<&Peer>) -> Status {
        let address = peer.map(|peer| peer.address);
        match refused {
            Refused::Rejected(rejection) => {
                self.refusals.note(rejection.refusal, address, None, rejection);
                match rejection.refusal {
                    Refusal::EnrolmentBusy => Status::resource_exhausted(LATER),
                    _ => Status::unauthenticated(NOT_ACCEPTED),
                }
            }
            Refused::Store(error) => {
                self.refusals.note(Refusal::Store, address, None, error);
                Status::unavailable(LATER)
            }
            Refused::Authority(error) => {
                tracing::error!(error = cause(error), "no certificate can be given to a machine");
                self.refusals.note(Refusal::EnrolmentAuthority, address, None, error);
                Status::unavailable(LATER)
            }
        }
    }
}

/// Whoever asked may go away while it is written; what is in memory is then what is in the store all the same. How many wait is bounded by
/// the pace, and how long by [`TURN`].
async fn to_the_end<T: Send + 'static>(answering: impl Future<Output = Result<T, Status>> + Send + 'static) -> Result<T, Status> {
    tokio::spawn(answering).await.unwrap_or_else(|_| Err(Status::unavailable(LATER)))
}

#[tonic::async_trait]
impl enrolment_server::Enrolment for Service {
    async fn enrol(&self, request: Request<EnrolRequest>) -> Result<Response<Enrolled>, Status> {
        let peer = request.extensions().get::<Peer>().cloned();
        let enroller = Arc::clone(&self.0);
        let answering = async move {
            let answer = enroller.enrol(peer.as_ref(), request.into_inner()).await;
            enroller.told(answer, peer.as_ref())
        };
        to_the_end(answering).await
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<Enrolled>, Status> {
        let peer = request.extensions().get::<Peer>().cloned();
        let enroller = Arc::clone(&self.0);
        let answering = async move {
            let answer = enroller.renew(peer.as_ref(), request.into_inner()).await;
            enroller.told(answer, peer.as_ref())
        };
        to_the_end(answering).await
    }
}

fn answer(issued: &Issued) -> Enrolled {
    Enrolled {
        // The authority's own certificate is what the collector trusts already.
        chain: vec![issued.certificate.to_vec()],
        not_before_ms: issued.not_before,
        not_after_ms: issued.not_after,
        renew_after_ms: issued.renew_after,
    }
}

fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_flood_of_strangers_costs_no_enrolled_machine_its_renewal() {
        let dir = tempfile::tempdir().unwrap();
        crate::ca::init(dir.path(), &["localhost".to_owned()]).unwrap();
        let certificate = Certificate::load(&dir.path().join("server.crt"), &dir.path().join("server.key")).unwrap();
        let list = Arc::new(Enrolments::load(&dir.path().join("enrolments.yaml")).unwrap());
        let store = Store::open(&dir.path().join("holdfast.db")).await.unwrap();
        let metrics = Metrics::default();
        let enroller = Enroller::new(list, Arc::new(certificate), store, Refusals::default(), &metrics, Duration::from_hours(1));
        let strangers = (0..10_000_u32).map(|n| Some(IpAddr::from(n.to_be_bytes())));
        let answered = strangers.filter(|stranger| enroller.in_pace(&enroller.strangers, stranger).is_ok()).count();
        assert!(answered < 5_000, "{answered}");
        enroller.in_pace(&enroller.nodes, &("c".to_owned(), "u".to_owned())).unwrap();
    }
}
