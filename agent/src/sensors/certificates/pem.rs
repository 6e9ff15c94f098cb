//! The `CERTIFICATE` sections of a PEM file. Of every other section, a private key first of all, nothing is kept.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// The DER of each certificate; what cannot be decoded is a problem in words, and ends the file.
pub(super) fn certificates(content: &[u8]) -> impl Iterator<Item = Result<Vec<u8>, &'static str>> {
    let mut broken = false;
    CertificateDer::pem_slice_iter(content).map_while(move |section| {
        if broken {
            return None;
        }
        // The library's words may quote the file.
        broken = section.is_err();
        Some(section.map(|der| der.to_vec()).map_err(|_| "a section that is not PEM"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";
    const KEY: &str = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";

    fn of(text: &str) -> Vec<Result<Vec<u8>, &'static str>> {
        certificates(text.as_bytes()).collect()
    }

    #[test]
    fn only_certificates_are_taken_wherever_the_key_stands() {
        assert_eq!(of(&format!("{KEY}{CERTIFICATE}")), [Ok(vec![1, 2, 3])]);
        assert_eq!(of(&format!("words\n{CERTIFICATE}{KEY}{CERTIFICATE}")), [Ok(vec![1, 2, 3]), Ok(vec![1, 2, 3])]);
        assert_eq!(of(KEY), []);
        assert_eq!(of(""), []);
    }

    #[test]
    fn a_section_without_an_end_or_of_something_else_is_a_problem() {
        assert!(of("-----BEGIN CERTIFICATE-----\nAQID\n").iter().all(Result::is_err));
        assert!(of("-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n").iter().all(Result::is_err));
        assert_eq!(of(&format!("{CERTIFICATE}-----BEGIN CERTIFICATE-----\n")).first(), Some(&Ok(vec![1, 2, 3])));
    }
}
