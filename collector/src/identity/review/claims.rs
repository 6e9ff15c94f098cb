//! Every condition a reviewed token has to meet, on its own and beside pod, node and DaemonSet. Pure.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use k8s_openapi::api::authentication::v1::TokenReviewStatus;
use serde_json::{Map, Value};

use crate::cluster::{AgentPod, NodeObject};
use crate::identity::Rejection;
use crate::refusals::Refusal;

/// The agents' service account.
const ACCOUNT: &str = "holdfast-agent";
/// The longest text of the API server's that is repeated, in characters.
const MAX_SAID: usize = 300;
/// The longest claim taken, in bytes.
const MAX_CLAIM_BYTES: usize = 253;

/// What a token says of itself, and the API server vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claims {
    pub(super) node_name: String,
    pub(super) node_uid: String,
    pub(super) pod_name: String,
    pub(super) pod_uid: String,
}

impl Claims {
    /// The claims of a token that is authentic, for us, of our agents, and bound.
    pub(super) fn of(status: TokenReviewStatus, audience: &str, namespace: &str) -> Result<Self, Rejection> {
        if status.authenticated != Some(true) {
            return Err(not_authenticated(&status.error.unwrap_or_default()));
        }
        if !status.audiences.unwrap_or_default().iter().any(|echoed| echoed == audience) {
            return Err(Rejection::new(Refusal::WrongAudience, format!("not for the audience {audience}")));
        }
        let user = status.user.unwrap_or_default();
        let (account, whose) = (format!("system:serviceaccount:{namespace}:{ACCOUNT}"), user.username.unwrap_or_default());
        if whose != account {
            return Err(Rejection::new(Refusal::WrongAccount, format!("the token of `{}`, expected `{account}`", short(&whose))));
        }
        let extra = user.extra.unwrap_or_default();
        let (pod_name, pod_uid) = (claim(&extra, "pod-name"), claim(&extra, "pod-uid"));
        let (Some(pod_name), Some(pod_uid)) = (pod_name, pod_uid) else {
            let why = "the token is not bound to a pod: agents present the one that is projected into their pod";
            return Err(Rejection::new(Refusal::UnboundToken, why));
        };
        let (Some(node_name), Some(node_uid)) = (claim(&extra, "node-name"), claim(&extra, "node-uid")) else {
            let why = "the token names no node: Kubernetes 1.30 or newer is needed, whose tokens do";
            return Err(Rejection::new(Refusal::UnboundToken, why));
        };
        Ok(Self { node_name, node_uid, pod_name, pod_uid })
    }
}

fn not_authenticated(error: &str) -> Rejection {
    let refusal = if error.contains("invalid for the target audiences") {
        Refusal::WrongAudience
    } else if error.contains("has expired") {
        Refusal::Expired
    } else {
        Refusal::NotAuthenticated
    };
    Rejection::new(refusal, if error.is_empty() { "not authenticated".to_owned() } else { short(error) })
}

/// A claim that is there once: of two values nobody could say which one is meant.
fn claim(extra: &BTreeMap<String, Vec<String>>, name: &str) -> Option<String> {
    let [value] = extra.get(&format!("authentication.kubernetes.io/{name}"))?.as_slice() else { return None };
    (!value.is_empty() && value.len() <= MAX_CLAIM_BYTES).then(|| value.clone())
}

fn short(text: &str) -> String {
    text.chars().take(MAX_SAID).collect()
}

/// Pod, node and DaemonSet of a token, as far as they are there.
#[derive(Debug)]
pub(super) struct Place {
    /// The pod of the token's uid.
    pub(super) pod: Option<AgentPod>,
    /// The Node object of the token's node name.
    pub(super) node: Option<NodeObject>,
    /// The uid of our DaemonSet.
    pub(super) daemon_set: Option<String>,
}

impl Place {
    /// Is the pod one of ours, where the token says, and the node the one that the token names.
    pub(super) fn holds(&self, claims: &Claims) -> Result<(), Rejection> {
        let Claims { node_name, node_uid, pod_name, pod_uid } = claims;
        let Some(pod) = &self.pod else {
            return Err(Rejection::new(Refusal::PodDeleted, format!("there is no pod {pod_name} with the uid {pod_uid}")));
        };
        let Some(daemon_set) = &self.daemon_set else {
            let why = format!("there is no DaemonSet {ACCOUNT} in the agents' namespace that the pod {pod_name} could belong to");
            return Err(Rejection::new(Refusal::ForeignPod, why));
        };
        if pod.controller != *daemon_set {
            let why = format!("the pod {pod_name} is not controlled by the DaemonSet {ACCOUNT}");
            return Err(Rejection::new(Refusal::ForeignPod, why));
        }
        if pod.ended {
            return Err(Rejection::new(Refusal::PodDeleted, format!("the pod {pod_name} has ended")));
        }
        if pod.node != *node_name {
            let why = format!("the pod {pod_name} is on the node `{}`, the token says `{node_name}`", pod.node);
            return Err(Rejection::new(Refusal::WrongNode, why));
        }
        match &self.node {
            Some(node) if node.uid == *node_uid => Ok(()),
            Some(node) => Err(replaced(node_name, node_uid, &node.uid)),
            None => Err(Rejection::new(Refusal::NodeReplaced, format!("there is no Node object `{node_name}`"))),
        }
    }
}

/// The node of a name is not the one that a token names.
pub(super) fn replaced(name: &str, said: &str, now: &str) -> Rejection {
    Rejection::new(Refusal::NodeReplaced, format!("the node `{name}` was replaced: its uid is {now}, the token says {said}"))
}

/// What a token says of itself, believed by nobody: its signature is not looked at.
fn said(token: &str) -> Option<Map<String, Value>> {
    let mut parts = token.split('.');
    let (header, payload, signature) = (parts.next()?, parts.next()?, parts.next()?);
    let object = |part: &str| serde_json::from_slice::<Map<String, Value>>(&URL_SAFE_NO_PAD.decode(part).ok()?).ok();
    object(header)?;
    let signed = URL_SAFE_NO_PAD.decode(signature).is_ok_and(|signature| !signature.is_empty());
    object(payload).filter(|_| signed && parts.next().is_none())
}

/// Can a token be one of our agents' by its own word: a review would refuse it otherwise, and need not be asked for. Lets nobody in.
pub(super) fn hopeful(token: &str, audience: &str, now: i64) -> Result<(), Rejection> {
    let none = || Rejection::new(Refusal::NotAuthenticated, "not a service account's token: it is no signed JWT");
    let said = said(token).ok_or_else(none)?;
    let ours = match said.get("aud") {
        Some(Value::Array(audiences)) => audiences.iter().any(|named| named == audience),
        Some(named) => named == audience,
        None => false,
    };
    if !ours {
        return Err(Rejection::new(Refusal::WrongAudience, format!("by its own word not for the audience {audience}")));
    }
    if said.get("exp").and_then(Value::as_i64).is_some_and(|end| end.saturating_mul(1_000) <= now) {
        return Err(Rejection::new(Refusal::Expired, "by its own word past its end"));
    }
    Ok(())
}

/// When a token ends by its own word, Unix milliseconds. Only for one that the API server has just authenticated.
pub(super) fn expiry(token: &str) -> Option<i64> {
    said(token)?.get("exp")?.as_i64()?.checked_mul(1_000)
}
