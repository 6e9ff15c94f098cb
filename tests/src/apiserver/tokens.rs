//! Service-account tokens, shaped as upstream's. Their signature is random: this server knows what it minted.

#![allow(clippy::indexing_slicing, reason = "of a JSON value, which is null where there is nothing")]

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::{AGENT, AUDIENCE, NAMESPACE};

/// What a token says.
#[derive(Debug, Clone)]
pub struct Claims {
    /// `system:serviceaccount:<namespace>:<name>`
    pub user: String,
    /// Whom it is for.
    pub audience: String,
    /// Unix seconds; absent in the payload when it is `None`.
    pub expires: Option<i64>,
    /// Name and uid of the pod it is bound to.
    pub pod: Option<(String, String)>,
    /// Name and uid of that pod's node.
    pub node: Option<(String, String)>,
}

impl Claims {
    /// Of our agent on a node, for an hour.
    pub fn of(node: &str) -> Self {
        Self {
            user: format!("system:serviceaccount:{NAMESPACE}:{AGENT}"),
            audience: AUDIENCE.to_owned(),
            expires: Some(now() + 3_600),
            pod: Some((format!("agent-{node}"), format!("pod-{node}"))),
            node: Some((node.to_owned(), format!("uid-{node}"))),
        }
    }

    /// Ends in so many seconds, or has ended.
    #[must_use]
    pub fn ending_in(mut self, seconds: i64) -> Self {
        self.expires = Some(now() + seconds);
        self
    }

    pub(super) fn node_uid(&self) -> String {
        self.node.as_ref().map(|(_, uid)| uid.clone()).unwrap_or_default()
    }

    pub(super) fn expired(&self) -> bool {
        self.expires.is_some_and(|end| end <= now())
    }

    /// The token itself. A server that has not minted it knows nothing of it: that is a forged one.
    pub fn token(&self) -> String {
        let header = json!({"alg": "RS256", "kid": "test"});
        let mut kubernetes = json!({"namespace": NAMESPACE, "serviceaccount": {"name": AGENT, "uid": "uid-serviceaccount"}});
        for (what, named) in [("pod", &self.pod), ("node", &self.node)] {
            if let Some((name, uid)) = named {
                kubernetes[what] = json!({"name": name, "uid": uid});
            }
        }
        let mut payload = json!({
            "aud": [self.audience], "iat": now(), "nbf": now(), "iss": "https://kubernetes.default.svc", "jti": opaque(),
            "kubernetes.io": kubernetes, "sub": self.user,
        });
        if let Some(end) = self.expires {
            payload["exp"] = json!(end);
        }
        let part = |value: &Value| base64url(value.to_string().as_bytes());
        format!("{}.{}.{}", part(&header), part(&payload), base64url(opaque().as_bytes()))
    }

    /// `status.user` as a review answers it.
    pub(super) fn user(&self) -> Value {
        let mut extra = json!({"authentication.kubernetes.io/credential-id": ["JTI=7ee52be0-9045-4653-aa5e-0da57b8dccdc"]});
        for (what, named) in [("pod", &self.pod), ("node", &self.node)] {
            if let Some((name, uid)) = named {
                extra[format!("authentication.kubernetes.io/{what}-name")] = json!([name]);
                extra[format!("authentication.kubernetes.io/{what}-uid")] = json!([uid]);
            }
        }
        let groups =
            ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{NAMESPACE}"), "system:authenticated".to_owned()];
        json!({"username": self.user, "uid": "uid-serviceaccount", "groups": groups, "extra": extra})
    }
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// Text that nobody guesses.
pub(super) fn opaque() -> String {
    let mut bytes = [0; 24];
    // Without randomness a test has nothing to test.
    assert!(aws_lc_rs::rand::fill(&mut bytes).is_ok(), "no random numbers");
    bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

/// RFC 4648 §5, without padding.
fn base64url(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}
