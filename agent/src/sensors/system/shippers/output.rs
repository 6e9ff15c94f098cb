//! One place that logs are sent to.

use super::super::super::redact;

/// The longest text of destinations kept.
const MAX: usize = 200;
/// Schemes over TLS, and those in the clear.
const ENCRYPTED: [&str; 7] = ["https", "tls", "ssl", "wss", "grpcs", "tcps", "relps"];
const PLAIN: [&str; 7] = ["http", "tcp", "udp", "ws", "relp", "syslog", "gelf"];

/// An answer that may be open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Yes,
    No,
    Unknown,
}

impl Answer {
    pub(super) fn of(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::No }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Unknown => "unknown",
        }
    }
}

/// Yes when all are, no as soon as one is not; of none it is unknown.
pub(super) fn all(answers: impl Iterator<Item = Answer>) -> Answer {
    let worst = |a, b| match (a, b) {
        (Answer::No, _) | (_, Answer::No) => Answer::No,
        (Answer::Unknown, _) | (_, Answer::Unknown) => Answer::Unknown,
        _ => Answer::Yes,
    };
    answers.reduce(worst).unwrap_or(Answer::Unknown)
}

/// Where, over what, and whether it is kept when it cannot be sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Output {
    pub(super) place: String,
    pub(super) encrypted: Answer,
    pub(super) buffered: Answer,
}

impl Output {
    /// An address whose scheme says whether it is encrypted.
    pub(super) fn of_url(url: &str, buffered: Answer) -> Self {
        let encrypted = match url.split_once("://") {
            _ if is_variable(url.split_once("://").map_or(url, |(scheme, _)| scheme)) => Answer::Unknown,
            Some((scheme, _)) if ENCRYPTED.iter().any(|known| scheme.eq_ignore_ascii_case(known)) => Answer::Yes,
            Some((scheme, _)) if PLAIN.iter().any(|known| scheme.eq_ignore_ascii_case(known)) => Answer::No,
            _ => Answer::Unknown,
        };
        Self { place: place(url), encrypted, buffered }
    }

    /// Host and port, and what is said of TLS beside them.
    pub(super) fn of_host(transport: &str, host: &str, port: &str, encrypted: Answer, buffered: Answer) -> Self {
        let scheme = if encrypted == Answer::Yes { "tls" } else { transport };
        let port = if port.is_empty() { String::new() } else { format!(":{port}") };
        Self { place: place(&format!("{scheme}://{host}{port}")), encrypted, buffered }
    }
}

/// Put in by whoever starts it: what stands in the file is not what holds.
pub(super) fn is_variable(text: &str) -> bool {
    text.contains("${") || text.contains("$(") || text.contains("{{")
}

/// Scheme, host and port: paths and queries carry keys, and what stands before an `@` is a password.
fn place(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let authority = rest.split(['/', '?', '#', ' ']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let address = if scheme.is_empty() { host.to_owned() } else { format!("{scheme}://{host}") };
    short(&redact::text(&address))
}

pub(super) fn short(text: &str) -> String {
    text.chars().take(MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_loses_all_that_may_be_secret() {
        let shown = |url| Output::of_url(url, Answer::No);
        assert_eq!(shown("https://u:p@logs.example:8088/services?token=abc").place, "https://logs.example:8088");
        assert_eq!(shown("https://u:p@w@logs.example").place, "https://logs.example");
        assert_eq!(shown("http://logs.example/key").encrypted, Answer::No);
        assert_eq!(shown("${URL}").encrypted, Answer::Unknown);
        assert_eq!(shown("https://${HOST}/x").encrypted, Answer::Yes);
        assert_eq!(shown("logs.example:24224").encrypted, Answer::Unknown);
        assert_eq!(shown(&format!("https://{}", "x".repeat(9000))).place.len(), 200);
    }

    #[test]
    fn one_output_in_the_clear_is_enough() {
        use Answer::{No, Unknown, Yes};
        assert_eq!(all([Yes, Unknown, No].into_iter()), No);
        assert_eq!(all([Yes, Unknown].into_iter()), Unknown);
        assert_eq!(all([Yes, Yes].into_iter()), Yes);
        assert_eq!(all([].into_iter()), Unknown);
    }
}
