//! The client certificates of a kubeconfig's users. Tokens, passwords and keys are not even parsed.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use holdfast_checks::facts::{Reason, Unavailable};
use serde::Deserialize;
use serde_saphyr::options::DuplicateKeyPolicy;

/// Go pads, and people copy.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));
/// What stands in a recording for data that it left out.
pub(super) const LEFT_OUT: &str = "REDACTED";

/// A user with a client certificate.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) certificate: Place,
}

/// Where the certificate is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the kubeconfig, in base64.
    Here(String),
    /// In a file; the path may be relative to the kubeconfig.
    File(String),
}

#[derive(Deserialize)]
struct Document {
    users: Option<Vec<NamedUser>>,
}

#[derive(Deserialize)]
struct NamedUser {
    #[serde(default)]
    name: String,
    user: Option<Credentials>,
}

#[derive(Deserialize)]
struct Credentials {
    #[serde(rename = "client-certificate-data")]
    data: Option<String>,
    #[serde(rename = "client-certificate")]
    file: Option<String>,
}

/// The users with a client certificate, in the file's order. As in upstream's client the data wins over the file.
///
/// # Errors
/// Where the document does not parse. Nothing of it is quoted: it is full of secrets.
pub(super) fn users(content: &[u8]) -> Result<Vec<User>, String> {
    let text = std::str::from_utf8(content).map_err(|_| "not UTF-8".to_owned())?;
    let options = serde_saphyr::options! { legacy_octal_numbers: true, duplicate_keys: DuplicateKeyPolicy::LastWins };
    let document: Option<Document> = serde_saphyr::from_str_with_options(text, options).map_err(|error| match error.location() {
        Some(at) => format!("line {}, column {}", at.line(), at.column()),
        None => "not YAML".to_owned(),
    })?;
    let of = |NamedUser { name, user }: NamedUser| {
        let Credentials { data, file } = user?;
        let filled = |text: &String| !text.is_empty();
        let certificate = data.filter(filled).map(Place::Here).or_else(|| file.filter(filled).map(Place::File))?;
        Some(User { name, certificate })
    };
    Ok(document.and_then(|document| document.users).into_iter().flatten().filter_map(of).collect())
}

/// The PEM behind `client-certificate-data`.
pub(super) fn decoded(data: &str) -> Result<Vec<u8>, Unavailable> {
    let text: String = data.split_ascii_whitespace().collect();
    BASE64.decode(text).map_err(|_| Unavailable::new(Reason::Malformed, "client-certificate-data is not base64"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_with_a_certificate_are_found_and_data_wins_over_a_file() {
        let text = b"kind: Config\nusers:\n- name: a\n  user: {client-certificate-data: QQ==, client-certificate: /x, client-key-data: c2VjcmV0}\n- name: b\n  user: {client-certificate: pki/b.pem}\n- name: t\n  user: {token: secret}\n- name: none\n";
        let user = |name: &str, certificate| User { name: name.to_owned(), certificate };
        let expected = [user("a", Place::Here("QQ==".to_owned())), user("b", Place::File("pki/b.pem".to_owned()))];
        assert_eq!(users(text).as_deref(), Ok(expected.as_slice()));
        assert_eq!(users(b""), Ok(Vec::new()));
        assert_eq!(users(b"users: null"), Ok(Vec::new()));
    }

    #[test]
    fn a_document_that_does_not_parse_is_not_quoted() {
        for text in [&b"users: sup3rsecret"[..], b"users: [{name: a, user: sup3rsecret}]", b"token: sup3rsecret\n\t{", b"[sup3rsecret]"] {
            let problem = users(text).unwrap_err();
            assert!(!problem.contains("sup3r"), "{problem}");
        }
        assert!(users(b"\xff\xfe").is_err());
        assert!(decoded("!").is_err());
        assert_eq!(decoded("QU\n JD"), Ok(b"ABC".to_vec()));
    }
}
