//! A rotated token on its way to be accepted, beside the session that goes on meanwhile.
//!
//! One at a time: a newer token takes the place of one that is still looked at. While it cannot be decided whether it is accepted, it is
//! tried again until the session's old credentials end. Must not know messages.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep_until};

use crate::identity::{Admitted, Identities, Presented, Rejection};
use crate::refusals::Refusal;

/// How soon one that could not be decided is tried again; doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// See the module.
#[derive(Default)]
pub(super) struct Reauth(Option<Box<Pending>>);

struct Pending {
    token: Arc<str>,
    pause: Duration,
    at: Instant,
    asked: Option<BoxFuture<'static, Result<Admitted, Rejection>>>,
}

impl Reauth {
    /// A token came.
    pub(super) fn take(&mut self, token: &str) {
        self.0 = Some(Box::new(Pending { token: token.into(), pause: FIRST_PAUSE, at: Instant::now(), asked: None }));
    }

    /// What came of it, once that is decided. May be dropped and called again.
    pub(super) async fn decided(&mut self, identities: &Arc<Identities>) -> Result<Admitted, Rejection> {
        let Some(waiting) = &mut self.0 else { return pending().await };
        let decided = loop {
            if waiting.asked.is_none() {
                sleep_until(waiting.at).await;
            }
            let asked = waiting.asked.get_or_insert_with(|| {
                let (identities, token) = (Arc::clone(identities), Arc::clone(&waiting.token));
                Box::pin(async move {
                    let authorization = format!("Bearer {token}");
                    let presented = Presented { authorization: Some(authorization.as_bytes()), certificate: None, from: None };
                    identities.admit(presented).await
                })
            });
            let decided = asked.await;
            waiting.asked = None;
            match decided {
                Err(rejection) if rejection.undecided() => {
                    tracing::debug!(%rejection, "a rotated token cannot be looked at now: trying again");
                    waiting.at = Instant::now() + waiting.pause;
                    waiting.pause = waiting.pause.saturating_mul(2).min(LONGEST_PAUSE);
                }
                decided => break decided,
            }
        };
        self.0 = None;
        decided
    }
}

/// Fresh credentials in place of `before`: of the same node and of the same holder, or of nobody.
pub(super) fn replaces(before: &Admitted, fresh: Result<Admitted, Rejection>) -> Result<Admitted, Rejection> {
    let fresh = fresh.map_err(|rejection| Rejection::new(Refusal::Reauth, format!("{}: {rejection}", rejection.refusal.code())))?;
    if (&fresh.node.cluster, &fresh.node.uid) != (&before.node.cluster, &before.node.uid) {
        return Err(Rejection::new(Refusal::IdentityChanged, format!("a rotated token is of node {}", fresh.node.name)));
    }
    if fresh.holder != before.holder {
        let (was, is) = (before.holder.text(), fresh.holder.text());
        return Err(Rejection::new(Refusal::IdentityChanged, format!("a session of {was} was shown a token of {is}")));
    }
    Ok(fresh)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use super::*;
    use crate::identity::Holder;
    use crate::store::nodes::{NodeIdentity, Origin};

    fn admitted(uid: &str, holder: Holder) -> Admitted {
        let node = NodeIdentity { cluster: "c".into(), uid: uid.into(), name: "n".into(), origin: Origin::Agent };
        Admitted { node, holder, expires_at: Some(1), token_hash: None }
    }

    #[test]
    fn a_rotated_token_changes_when_the_session_ends_and_never_whose_it_is() {
        let before = admitted("u", Holder::Pod("a".into()));
        let fresh = Admitted { expires_at: Some(2), ..before.clone() };
        assert_eq!(replaces(&before, Ok(fresh.clone())), Ok(fresh));
        for other in [admitted("v", Holder::Pod("a".into())), admitted("u", Holder::Pod("b".into())), admitted("u", Holder::Token)] {
            assert_eq!(replaces(&before, Ok(other)).unwrap_err().refusal, Refusal::IdentityChanged);
        }
        let unknown = Rejection::new(Refusal::NotAuthenticated, "expired");
        let refused = replaces(&before, Err(unknown)).unwrap_err();
        assert_eq!((refused.refusal, refused.reason.as_str()), (Refusal::Reauth, "not_authenticated: expired"));
    }
}
