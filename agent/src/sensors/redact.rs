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

/// `scheme://user:password@host` without user and password, wherever it stands: etcd's addresses are a list with commas.
pub(super) fn text(value: &str) -> String {
    let mut shown = String::with_capacity(value.len());
    let mut rest = value;
    while let Some((scheme, tail)) = rest.split_once("://") {
        let (until_slash, behind) = tail.split_at(tail.find('/').unwrap_or(tail.len()));
        // `host,https:` before `//`: the scheme of the next one belongs to that. A comma may stand in a password too.
        let next = behind.starts_with("//") && until_slash.ends_with(':');
        let end = until_slash.rfind(',').filter(|_| next).unwrap_or(until_slash.len());
        let (authority, _) = until_slash.split_at(end);
        shown.extend([scheme, "://"]);
        match authority.rsplit_once('@') {
            Some((_, host)) => shown.extend([REDACTED, "@", host]),
            None => shown.push_str(authority),
        }
        rest = tail.split_at(end).1;
    }
    shown.push_str(rest);
    shown
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
            "--etcd-servers=https://u:p@10.0.0.1:2379,https://v:q@10.0.0.2:2379",
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
            "--etcd-servers=https://(redacted)@10.0.0.1:2379,https://(redacted)@10.0.0.2:2379",
            "--bootstrap-kubeconfig=/etc/k",
            "--use-service-account-credentials=true",
        ]
        "#);
    }

    #[test]
    fn credentials_are_taken_out_of_every_address() {
        for (given, expected) in [
            ("https://u:p,w@h/x", "https://(redacted)@h/x"),
            ("a=https://u:p@h1,http://h2,https://v:q@h3/y", "a=https://(redacted)@h1,http://h2,https://(redacted)@h3/y"),
            ("https://h/path@with", "https://h/path@with"),
            ("unix:///run/x.sock", "unix:///run/x.sock"),
            ("no address", "no address"),
        ] {
            assert_eq!(text(given), expected);
        }
        // Does not recurse: arguments are as long as their writer likes.
        assert!(text(&"a://,".repeat(500_000)).len() >= 2_500_000);
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
