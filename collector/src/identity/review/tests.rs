//! Decisions, asked of a stand-in API server over HTTP. All of them together over TLS are in `tests/tests/e2e/identity.rs`.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio::time::timeout;
use wiremock::matchers::{body_partial_json, method, path, path_regex};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::claims::{Claims, Place, expiry};
use super::*;
use crate::cluster::{AgentPod, Cluster, NodeObject};

const USER: &str = "system:serviceaccount:holdfast-system:holdfast-agent";

fn pod(uid: &str, node: &str, controller: &str) -> AgentPod {
    AgentPod { uid: uid.into(), name: "agent-a".into(), node: node.into(), controller: controller.into(), ended: false }
}

fn node(name: &str, uid: &str) -> NodeObject {
    let (addresses, zone) = (Vec::new(), String::new());
    NodeObject { name: name.into(), uid: uid.into(), addresses, zone, unwatchable: None, created_at: 0 }
}

fn extra(names: &[(&str, &str)]) -> Value {
    Value::Object(names.iter().map(|(name, value)| (format!("authentication.kubernetes.io/{name}"), json!([value]))).collect())
}

fn status(user: &str, audience: &str, extra: &Value) -> Value {
    json!({"authenticated": true, "audiences": [audience], "user": {"username": user, "extra": extra}})
}

const BOUND: [(&str, &str); 4] = [("node-name", "a"), ("node-uid", "uid-a"), ("pod-name", "agent-a"), ("pod-uid", "pod-a")];

fn good() -> Value {
    status(USER, AUDIENCE, &extra(&BOUND))
}

/// One that may be ours, by its own word.
fn token(id: &str) -> String {
    let payload = json!({"aud": [AUDIENCE], "jti": id});
    format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(payload.to_string()))
}

struct Rig {
    server: MockServer,
    cluster: Arc<Cluster>,
    review: TokenReview,
}

/// An API server that answers every review with `status`, and knows node `a` and its agent.
async fn rig(answer: ResponseTemplate) -> Rig {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/apis/authentication.k8s.io/v1/tokenreviews"))
        .and(body_partial_json(json!({"kind": "TokenReview", "spec": {"audiences": ["holdfast-collector"]}})))
        .respond_with(answer)
        .mount(&server)
        .await;
    let cluster = Cluster::new("prod");
    let api = ApiServer::plain(&server.uri(), "holdfast-system", Arc::clone(&cluster));
    Rig { review: TokenReview::new(api, Metrics::default()), server, cluster }
}

fn answers(status: &Value) -> ResponseTemplate {
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "metadata": {}, "spec": {}, "status": status});
    ResponseTemplate::new(201).set_body_json(review)
}

impl Rig {
    fn knows_a(&self) {
        self.cluster.replace(vec![node("a", "uid-a")], vec![pod("pod-a", "a", "ours")], Some("ours".to_owned()));
    }

    async fn reviews(&self) -> usize {
        let requests = self.server.received_requests().await.unwrap();
        requests.iter().filter(|request| request.method.as_str() == "POST").count()
    }

    async fn admit(&self, id: &str) -> Result<Admitted, Rejection> {
        self.review.admit(&token(id), None).await
    }

    async fn object(&self, at: &str, object: Value) {
        let answer = ResponseTemplate::new(200).set_body_json(object);
        Mock::given(method("GET")).and(path(at)).respond_with(answer).mount(&self.server).await;
    }
}

#[tokio::test]
async fn a_token_of_our_agent_names_its_node_and_is_asked_about_once_by_however_many() {
    let rig = rig(answers(&good()).set_delay(Duration::from_millis(100))).await;
    rig.knows_a();
    let all = futures_util::future::join_all((0..50).map(|_| rig.admit("pod"))).await;
    let node = all.into_iter().map(|admitted| admitted.unwrap().node).next().unwrap();
    assert_eq!((node.cluster.as_str(), node.uid.as_str(), node.name.as_str()), ("prod", "uid-a", "a"));
    rig.admit("pod").await.unwrap();
    assert_eq!(rig.reviews().await, 1);
    assert!(rig.review.pending.lock().unwrap().is_empty());
}

#[tokio::test]
async fn whoever_leaves_does_not_take_the_decision_along() {
    let rig = rig(answers(&good()).set_delay(Duration::from_secs(2))).await;
    rig.knows_a();
    let impatient = timeout(Duration::from_millis(50), rig.admit("pod"));
    let (gone, admitted) = tokio::join!(impatient, rig.admit("pod"));
    assert!(gone.is_err() && admitted.is_ok());
    assert!(timeout(Duration::from_millis(1), rig.admit("other")).await.is_err());
    assert!(rig.review.pending.lock().unwrap().is_empty());
}

#[tokio::test]
async fn bad_tokens_are_asked_about_once_in_five_seconds_and_push_out_no_good_one() {
    let rig = rig(answers(&json!({"error": "[invalid bearer token]", "user": {}}))).await;
    for _ in 0..20 {
        assert_eq!(rig.admit("forged").await.unwrap_err().refusal, Refusal::NotAuthenticated);
    }
    assert_eq!(rig.reviews().await, 1);
}

#[tokio::test]
async fn an_api_server_that_fails_is_not_a_no_and_is_asked_again() {
    let rig = rig(ResponseTemplate::new(500).set_body_json(json!({"kind": "Status", "message": "etcd is gone"}))).await;
    for _ in 0..2 {
        let rejection = rig.admit("pod").await.unwrap_err();
        assert_eq!(rejection.refusal, Refusal::ReviewUnavailable);
        assert!(rejection.reason.contains("500 etcd is gone"), "{rejection}");
    }
    assert_eq!(rig.reviews().await, 2);
    assert!(rig.cluster.away().unwrap().0.contains("etcd is gone"));
}

#[tokio::test]
async fn a_flood_of_forged_tokens_keeps_nobody_of_another_address_out() {
    // Long enough that all of them have come before the first is answered.
    const SLOW: Duration = Duration::from_secs(2);
    let rig = Arc::new(rig(answers(&good()).set_delay(SLOW)).await);
    rig.knows_a();
    let flooded = Instant::now();
    let flood = |n: usize| {
        let rig = Arc::clone(&rig);
        tokio::spawn(async move { rig.review.admit(&token(&n.to_string()), Some([192, 0, 2, 1].into())).await })
    };
    let mut flooding: Vec<_> = (0..LIMITS.of_one + LIMITS.waiting + 50).map(flood).collect();
    let mut busy = 0;
    // Those that are too many hear so at once.
    for told in flooding.split_off(LIMITS.of_one + LIMITS.waiting) {
        busy += usize::from(told.await.unwrap().is_err_and(|rejection| rejection.refusal == Refusal::ReviewBusy));
    }
    assert_eq!(busy, 50);
    let began = Instant::now();
    rig.review.admit(&token("agent"), Some([192, 0, 2, 2].into())).await.unwrap();
    // Behind all of them it would be two minutes, on a machine that does nothing else.
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    let rounds = 2 + usize::try_from(flooded.elapsed().as_secs() / SLOW.as_secs()).unwrap();
    assert!(rig.reviews().await <= rounds * LIMITS.of_one, "{}", rig.reviews().await);
    flooding.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn what_cannot_be_ours_by_its_own_word_costs_no_review() {
    let rig = rig(answers(&good())).await;
    let of = |payload: Value| format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(payload.to_string()));
    let ours = json!([AUDIENCE]);
    for (token, refusal) in [
        ("opaque".to_owned(), Refusal::NotAuthenticated),
        ("a.b.c".to_owned(), Refusal::NotAuthenticated),
        (token("x").replace(".c2ln", "."), Refusal::NotAuthenticated),
        (token("x") + ".c2ln", Refusal::NotAuthenticated),
        (of(json!([AUDIENCE])), Refusal::NotAuthenticated),
        (of(json!({})), Refusal::WrongAudience),
        (of(json!({"aud": ["https://kubernetes.default.svc"]})), Refusal::WrongAudience),
        (of(json!({"aud": {"a": AUDIENCE}})), Refusal::WrongAudience),
        (of(json!({"aud": ours, "exp": 1_700_000_000})), Refusal::Expired),
    ] {
        assert_eq!(rig.review.admit(&token, None).await.unwrap_err().refusal, refusal, "{token}");
    }
    assert_eq!(rig.reviews().await, 0);
    rig.knows_a();
    for one in [
        of(json!({"aud": AUDIENCE})),
        of(json!({"aud": ["x", AUDIENCE], "exp": 99_999_999_999_i64})),
        of(json!({"aud": ours, "exp": 1e99})),
    ] {
        rig.review.admit(&one, None).await.unwrap();
    }
    assert_eq!(rig.reviews().await, 3, "anything else is for the API server to say");
}

/// The watches are a moment behind: pod, node and DaemonSet are looked at before anybody is refused.
#[tokio::test]
async fn a_pod_that_the_watch_does_not_know_yet_is_looked_up() {
    let rig = rig(answers(&good())).await;
    rig.cluster.replace(vec![node("a", "the one before")], Vec::new(), None);
    let owner = json!([{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "holdfast-agent", "uid": "ours", "controller": true}]);
    let metadata = json!({"name": "agent-a", "uid": "pod-a", "ownerReferences": owner});
    let namespaced = "namespaces/holdfast-system";
    rig.object(&format!("/api/v1/{namespaced}/pods/agent-a"), json!({"metadata": metadata, "spec": {"nodeName": "a"}})).await;
    rig.object("/api/v1/nodes/a", json!({"metadata": {"name": "a", "uid": "uid-a"}})).await;
    rig.object(
        &format!("/apis/apps/v1/{namespaced}/daemonsets/holdfast-agent"),
        json!({"metadata": {"name": "holdfast-agent", "uid": "ours"}}),
    )
    .await;
    let admitted = rig.admit("pod").await.unwrap();
    assert_eq!(rig.review.standing(&admitted), Ok(()), "and it is known from then on");
}

#[tokio::test]
async fn a_pod_that_is_nowhere_is_refused() {
    let rig = rig(answers(&good())).await;
    rig.cluster.replace(vec![node("a", "uid-a")], Vec::new(), Some("ours".to_owned()));
    Mock::given(method("GET")).and(path_regex("^/api")).respond_with(ResponseTemplate::new(404)).mount(&rig.server).await;
    assert_eq!(rig.admit("pod").await.unwrap_err().refusal, Refusal::PodDeleted);
}

#[tokio::test]
async fn what_was_accepted_stands_until_the_pod_is_gone_or_the_node_replaced() {
    let rig = rig(answers(&good())).await;
    rig.knows_a();
    let admitted = rig.admit("pod").await.unwrap();
    let code = || rig.review.standing(&admitted).map_err(|rejection| rejection.refusal);
    assert_eq!(code(), Ok(()));
    rig.cluster.answers(Some(("gone".to_owned(), 1)));
    assert_eq!(code(), Ok(()), "an API server that is away ends no session");
    rig.cluster.upsert_node(node("a", "another"));
    assert_eq!(code(), Err(Refusal::NodeReplaced));
    rig.cluster.upsert_node(node("a", "uid-a"));
    rig.cluster.upsert_pod(AgentPod { ended: true, ..pod("pod-a", "a", "ours") });
    assert_eq!(code(), Err(Refusal::PodDeleted));
    rig.cluster.remove_pod("pod-a");
    assert_eq!(code(), Err(Refusal::PodDeleted));
    rig.cluster.upsert_pod(pod("pod-a", "a", "ours"));
    assert_eq!(code(), Err(Refusal::PodDeleted), "an answer from before its end brings no pod back");
    assert_eq!(rig.admit("pod").await.unwrap_err().refusal, Refusal::PodDeleted, "what is remembered is no way around");
}

#[test]
fn absence_says_nothing_before_everything_was_listed() {
    let cluster = Cluster::new("prod");
    assert!(!cluster.lacks_pod("pod-a"));
    cluster.replace(Vec::new(), Vec::new(), None);
    assert!(cluster.lacks_pod("pod-a"));
}

#[test]
fn every_claim_is_needed() {
    let claims = |value: Value| Claims::of(serde_json::from_value(value).unwrap(), AUDIENCE, "holdfast-system");
    assert_eq!(claims(good()).unwrap().node_uid, "uid-a");
    let without = |name: &str| extra(&BOUND.into_iter().filter(|(claim, _)| *claim != name).collect::<Vec<_>>());
    let twice = |name: &str, values: &Value| {
        let mut extra = extra(&BOUND);
        extra[format!("authentication.kubernetes.io/{name}")] = values.clone();
        status(USER, AUDIENCE, &extra)
    };
    for (value, refusal, said) in [
        (json!({"user": {}}), Refusal::NotAuthenticated, "not authenticated"),
        (
            json!({"user": {}, "error": "[invalid bearer token, service account token has been invalidated]"}),
            Refusal::NotAuthenticated,
            "invalidated",
        ),
        (json!({"user": {}, "error": "[invalid bearer token, service account token has expired]"}), Refusal::Expired, "expired"),
        (
            json!({"user": {}, "error": "[invalid bearer token, token audiences [\"x\"] is invalid for the target audiences [\"holdfast-collector\"]]"}),
            Refusal::WrongAudience,
            "audiences",
        ),
        (status(USER, "x", &extra(&BOUND)), Refusal::WrongAudience, "holdfast-collector"),
        (status("system:serviceaccount:x:y", AUDIENCE, &extra(&BOUND)), Refusal::WrongAccount, "expected"),
        (status(USER, AUDIENCE, &json!({})), Refusal::UnboundToken, "not bound to a pod"),
        (status(USER, AUDIENCE, &without("pod-uid")), Refusal::UnboundToken, "not bound to a pod"),
        (status(USER, AUDIENCE, &without("pod-name")), Refusal::UnboundToken, "not bound to a pod"),
        (status(USER, AUDIENCE, &without("node-name")), Refusal::UnboundToken, "1.30"),
        (status(USER, AUDIENCE, &without("node-uid")), Refusal::UnboundToken, "1.30"),
        (twice("node-name", &json!(["a", "b"])), Refusal::UnboundToken, "1.30"),
        (twice("node-uid", &json!(["uid-b", "uid-a"])), Refusal::UnboundToken, "1.30"),
        (twice("pod-uid", &json!([])), Refusal::UnboundToken, "not bound to a pod"),
        (twice("pod-uid", &json!([""])), Refusal::UnboundToken, "not bound to a pod"),
    ] {
        let rejection = claims(value.clone()).unwrap_err();
        assert_eq!(rejection.refusal, refusal, "{value}");
        assert!(rejection.reason.contains(said), "{rejection}");
    }
}

#[test]
fn pod_node_and_daemon_set_have_to_fit() {
    let claims = Claims { node_name: "a".into(), node_uid: "uid-a".into(), pod_name: "agent-a".into(), pod_uid: "pod-a".into() };
    let ours = Some("ours".to_owned());
    let (right, there) = (pod("pod-a", "a", "ours"), node("a", "uid-a"));
    let ended = AgentPod { ended: true, ..right.clone() };
    for (pod, node, daemon_set, expected) in [
        (Some(right.clone()), Some(there.clone()), ours.clone(), Ok(())),
        (None, Some(there.clone()), ours.clone(), Err(Refusal::PodDeleted)),
        (Some(ended), Some(there.clone()), ours.clone(), Err(Refusal::PodDeleted)),
        (Some(right.clone()), Some(there.clone()), None, Err(Refusal::ForeignPod)),
        (Some(pod("pod-a", "a", "theirs")), Some(there.clone()), ours.clone(), Err(Refusal::ForeignPod)),
        (Some(pod("pod-a", "a", "")), Some(there.clone()), ours.clone(), Err(Refusal::ForeignPod)),
        (Some(pod("pod-a", "b", "ours")), Some(there), ours.clone(), Err(Refusal::WrongNode)),
        (Some(right.clone()), Some(node("a", "uid-b")), ours.clone(), Err(Refusal::NodeReplaced)),
        (Some(right), None, ours, Err(Refusal::NodeReplaced)),
    ] {
        let place = Place { pod, node, daemon_set };
        assert_eq!(place.holds(&claims).map_err(|rejection| rejection.refusal), expected, "{place:?}");
    }
}

#[test]
fn a_token_says_when_it_ends_or_not() {
    let token = |payload: &str| format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(payload));
    assert_eq!(expiry(&token("{\"exp\":1700000000,\"iat\":1}")), Some(1_700_000_000_000));
    for without in
        [token("{}"), token("{\"exp\":\"soon\"}"), token("{\"exp\":9223372036854775807}"), token("["), "a.%.c".into(), "opaque".into()]
    {
        assert_eq!(expiry(&without), None, "{without}");
    }
}
