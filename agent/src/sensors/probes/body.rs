//! What an HTTP answer is, by its first bytes: its status, and the kind of its body. Nothing of the body is kept.

/// The status of `HTTP/1.1 401 Unauthorized`.
pub(super) fn status(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|byte| *byte == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?;
    line.strip_prefix("HTTP/")?.split(' ').nth(1)?.trim().parse().ok().filter(|status| (100..600).contains(status))
}

/// Is it what Go's HTTP server answers in clear to who does not speak TLS. That is no HTTP of the component's.
pub(super) fn wants_tls(answer: &[u8]) -> bool {
    status(answer) == Some(400) && split(answer).1.trim() == "Client sent an HTTP request to an HTTPS server."
}

/// What the body is, see [`holdfast_checks::facts::Probe::body`].
pub(super) fn classify(answer: &[u8]) -> &'static str {
    let (head, body) = split(answer);
    let chunked = head.to_ascii_lowercase().lines().any(|line| line.starts_with("transfer-encoding:") && line.contains("chunked"));
    let body = if chunked { body.split_once('\n').map_or("", |(_, rest)| rest) } else { &body }.trim();
    if body.is_empty() || chunked && body == "0" {
        return "";
    }
    if body.starts_with('{') {
        let compact: String = body.chars().filter(|letter| !letter.is_whitespace()).collect();
        let has = |members: &[&str]| members.iter().any(|member| compact.contains(member));
        return if has(&[r#""kind":"PodList""#, r#""kind":"Pod""#]) {
            "pods"
        } else if has(&[r#""kind":"Status""#]) {
            "status"
        } else if has(&[r#""gitVersion":"#, r#""etcdserver":"#]) {
            "version"
        } else if has(&[r#""health":"#, r#""healthy":"#, r#""lastUpdated":"#]) {
            "health"
        } else {
            "text"
        };
    }
    if body.lines().any(|line| line.starts_with("# HELP ") || line.starts_with("# TYPE ")) {
        return "metrics";
    }
    let first = body.lines().next().unwrap_or_default().trim();
    if first == "ok" || first.starts_with("[+]") { "health" } else { "text" }
}

/// Head and body, as text.
fn split(answer: &[u8]) -> (String, String) {
    let text = String::from_utf8_lossy(answer);
    match text.split_once("\r\n\r\n").or_else(|| text.split_once("\n\n")) {
        Some((head, body)) => (head.to_owned(), body.to_owned()),
        None => (text.into_owned(), String::new()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    // The bodies are what the components of Kubernetes 1.36 and etcd 3.5 answer.
    #[rstest]
    #[case(
        "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1f40\r\n{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{},\"items\":[{\"metadata\":{\"name\":\"web\"",
        "pods"
    )]
    #[case("\r\n{\n  \"kind\": \"PodList\",\n  \"items\": null\n}\n", "pods")]
    #[case(
        "Transfer-Encoding: chunked\r\n\r\n2000\r\n# HELP aggregator_discovery_aggregation_count_total [ALPHA] Counter\n# TYPE x counter\n",
        "metrics"
    )]
    #[case("Content-Length: 2\r\n\r\nok", "health")]
    #[case("\r\n[+]ping ok\n[+]log ok\nhealthz check passed\n", "health")]
    #[case("\r\n{\"health\":\"true\",\"reason\":\"\"}", "health")]
    #[case(
        "\r\n{\"lastUpdated\":\"2026-11-20T22:17:41Z\",\"currentTime\":\"2026-11-20T22:17:41Z\",\"nodeEligible\":true,\"healthy\":true}",
        "health"
    )]
    #[case("\r\n{\n  \"major\": \"1\",\n  \"minor\": \"36\",\n  \"gitVersion\": \"v1.36.2\"\n}", "version")]
    #[case("\r\n{\"etcdserver\":\"3.5.16\",\"etcdcluster\":\"3.5.0\"}", "version")]
    #[case("\r\n{\n  \"kind\": \"Status\",\n  \"status\": \"Failure\",\n  \"code\": 403\n}", "status")]
    #[case("Content-Length: 12\r\n\r\nUnauthorized", "text")]
    #[case("\r\n{\"a\": 1}", "text")]
    #[case("Content-Length: 0\r\n\r\n", "")]
    #[case("Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "")]
    fn bodies_are_told_apart(#[case] rest: &str, #[case] expected: &str) {
        assert_eq!(classify(format!("HTTP/1.1 200 OK\r\n{rest}").as_bytes()), expected);
    }

    #[test]
    fn the_answer_of_a_tls_server_to_plain_http_is_known() {
        let answer = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
        assert!(wants_tls(answer));
        assert!(!wants_tls(b"HTTP/1.1 400 Bad Request\r\n\r\nno"));
    }

    proptest! {
        #[test]
        fn anything_is_classified(answer: Vec<u8>) {
            prop_assert!(status(&answer).is_none_or(|status| status < 600));
            prop_assert!(classify(&answer).len() < 10);
            prop_assert!(!wants_tls(&answer) || status(&answer) == Some(400));
        }
    }
}
