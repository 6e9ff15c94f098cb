//! What an API server answers about a token, and about nodes and pods.

use holdfast_collector::fuzzing;
use serde_json::Value;

const NAMESPACE: &str = "holdfast-system";

/// Documents separated by a NUL: a token's review, its pod, its node, our DaemonSet; and the token itself. Whoever is let in is whom
/// all four name.
pub(crate) fn reviews(data: &[u8]) {
    let mut parts = data.splitn(5, |byte| *byte == 0);
    let answers: [&[u8]; 4] = std::array::from_fn(|_| parts.next().unwrap_or_default());
    answers.into_iter().for_each(fuzzing::followed);
    if let Some(end) = fuzzing::end(&String::from_utf8_lossy(parts.next().unwrap_or_default())) {
        assert_eq!(end % 1_000, 0, "a token ends on a second");
    }
    match fuzzing::review(answers, NAMESPACE) {
        Ok(names) => {
            assert!(names.iter().all(|name| !name.is_empty() && name.len() <= 253), "{names:?}");
            let answers = answers.map(|answer| serde_json::from_slice(answer).unwrap_or(Value::Null));
            assert!(is_told(&answers, &names), "{names:?} is let in by {answers:?}");
        }
        Err(rejection) => assert!(rejection.reason.chars().count() <= 3_000, "a reason is a line: {}", rejection.reason),
    }
}

/// The same question, asked of the documents without any of the product's types.
fn is_told([review, pod, node, daemon_set]: &[Value; 4], [node_name, node_uid, pod_name, pod_uid]: &[String; 4]) -> bool {
    let status = &review["status"];
    let claims = &status["user"]["extra"];
    let claim = |name: &str, value: &str| claims[format!("authentication.kubernetes.io/{name}")][0] == value;
    let ours = &daemon_set["metadata"]["uid"];
    let owners = pod["metadata"]["ownerReferences"].as_array();
    status["authenticated"] == true
        && status["audiences"].as_array().is_some_and(|audiences| audiences.iter().any(|audience| audience == "holdfast-collector"))
        && status["user"]["username"] == "system:serviceaccount:holdfast-system:holdfast-agent"
        && claim("node-name", node_name)
        && claim("node-uid", node_uid)
        && claim("pod-name", pod_name)
        && claim("pod-uid", pod_uid)
        && pod["metadata"]["uid"] == pod_uid.as_str()
        && pod["spec"]["nodeName"] == node_name.as_str()
        && !matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
        && ours.is_string()
        && owners.is_some_and(|owners| owners.iter().any(|owner| owner["controller"] == true && owner["uid"] == *ours))
        && node["metadata"]["uid"] == node_uid.as_str()
}
