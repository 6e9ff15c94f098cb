//! A decision by what an API server answers: for tests/fuzzing, no product is built with it.

use k8s_openapi::api::authentication::v1::TokenReview;

use super::claims::{Claims, Place, expiry};
use super::{AUDIENCE, Rejection, unavailable};
use crate::cluster::fuzzing::{daemon_set, node, pod};

/// Names whom a token is of, by its review, its pod, its node and our DaemonSet: node name, node uid, pod name, pod uid.
pub(in crate::identity) fn decide(answers: [&[u8]; 4], namespace: &str) -> Result<[String; 4], Rejection> {
    let [review, its_pod, its_node, ours] = answers;
    let status = serde_json::from_slice::<TokenReview>(review).ok().and_then(|review| review.status);
    let claims = Claims::of(status.ok_or_else(|| unavailable("no status"))?, AUDIENCE, namespace)?;
    // As the client does: what was asked for by its name may be of another uid.
    let pod = pod(its_pod).filter(|pod| pod.uid == claims.pod_uid);
    Place { pod, node: node(its_node), daemon_set: daemon_set(ours) }.holds(&claims)?;
    Ok([claims.node_name, claims.node_uid, claims.pod_name, claims.pod_uid])
}

/// When a token ends, Unix milliseconds.
pub(in crate::identity) fn end(token: &str) -> Option<i64> {
    expiry(token)
}
