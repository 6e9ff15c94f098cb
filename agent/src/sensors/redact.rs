//! Takes secrets out of command lines and configuration before they become facts.

use serde_json::Value;

/// What stands where a secret stood.
const REDACTED: &str = "(redacted)";

/// Flags and keys that carry a secret itself; those that name a file (`--token-auth-file`) are kept.
fn secret(name: &str) -> bool {
    let name = name.trim_start_matches('-').to_ascii_lowercase().replace(['-', '_'], "");
    ["token", "password", "passwd", "secret", "secretkey", "accesskey", "urlheader", "datastoreendpoint", "apikey"]
        .iter()
        .any(|word| name.ends_with(word))
}

/// A command line without secrets: values of secret flags, headers, and passwords in URLs.
pub(super) fn arguments(argv: &[String]) -> Vec<String> {
    let mut next_is_secret = false;
    let redact = |argument: &String| {
        if std::mem::take(&mut next_is_secret) && !argument.starts_with("--") {
            return REDACTED.to_owned();
        }
        match argument.split_once('=') {
            Some((name, value)) if name.starts_with('-') && value_is_flag(value) => format!("{name}={}", nested(value)),
            Some((name, _)) if secret(name) => format!("{name}={REDACTED}"),
            Some((name, value)) => format!("{name}={}", text(value)),
            None => {
                next_is_secret = argument.starts_with("--") && secret(argument);
                text(argument)
            }
        }
    };
    argv.iter().map(redact).collect()
}

/// `--kubelet-arg=static-pod-url-header=…` hands a flag on to another component.
fn value_is_flag(value: &str) -> bool {
    value.split_once('=').is_some_and(|(name, _)| secret(name))
}

fn nested(value: &str) -> String {
    value.split_once('=').map_or_else(|| value.to_owned(), |(name, _)| format!("{name}={REDACTED}"))
}

/// A document without secrets, at any depth.
pub(super) fn document(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let redact = |(key, value): (String, Value)| {
                let value = if secret(&key) && !value.is_boolean() && !value.is_null() { REDACTED.into() } else { document(value) };
                (key, value)
            };
            Value::Object(members.into_iter().map(redact).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(document).collect()),
        Value::String(value) => Value::String(text(&value)),
        other => other,
    }
}

/// `scheme://user:password@host` without user and password.
fn text(value: &str) -> String {
    let Some((scheme, rest)) = value.split_once("://") else { return value.to_owned() };
    let authority = rest.split('/').next().unwrap_or_default();
    match authority.rsplit_once('@') {
        Some((user, _)) => format!("{scheme}://{REDACTED}{}", rest.strip_prefix(user).unwrap_or_default()),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_that_carry_secrets_lose_them_and_paths_stay() {
        let argv = [
            "kubelet",
            "--token=abc",
            "--static-pod-url-header",
            "X: y",
            "--token-auth-file=/etc/t.csv",
            "--kubelet-arg=manifest-url-header=Authorization:Bearer z",
            "--datastore-endpoint=postgres://u:p@db/x",
            "--etcd-servers=https://u:p@10.0.0.1:2379",
            "--bootstrap-kubeconfig=/etc/k",
            "--use-service-account-credentials=true",
        ];
        insta::assert_debug_snapshot!(arguments(&argv.map(str::to_owned)), @r#"
        [
            "kubelet",
            "--token=(redacted)",
            "--static-pod-url-header",
            "(redacted)",
            "--token-auth-file=/etc/t.csv",
            "--kubelet-arg=manifest-url-header=(redacted)",
            "--datastore-endpoint=(redacted)",
            "--etcd-servers=https://(redacted)@10.0.0.1:2379",
            "--bootstrap-kubeconfig=/etc/k",
            "--use-service-account-credentials=true",
        ]
        "#);
    }

    #[test]
    fn documents_lose_secrets_at_any_depth() {
        let value = serde_json::json!({
            "staticPodURLHeader": {"Authorization": ["Bearer x"]},
            "a": [{"clientSecret": "s", "tokenFile": "/t"}],
            "staticPodURL": "https://u:p@h/x",
            "webhook": {"cacheTTL": "2m"},
        });
        let expected = serde_json::json!({
            "staticPodURLHeader": "(redacted)",
            "a": [{"clientSecret": "(redacted)", "tokenFile": "/t"}],
            "staticPodURL": "https://(redacted)@h/x",
            "webhook": {"cacheTTL": "2m"},
        });
        assert_eq!(document(value), expected);
    }
}
