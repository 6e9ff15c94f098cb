//! X.509 certificates: DER to the fact, and who signed whom. Certificates come from files and from strangers: all is hostile.
//!
//! Must not know where a certificate was found. Trusts nothing: [`signed_by`] says whose key signed, not whether to believe it.

use std::net::{Ipv4Addr, Ipv6Addr};

use aws_lc_rs::digest;
use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use holdfast_checks::facts::Certificate;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::objects::{oid_registry, oid2abbrev, oid2sn};
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_NIST_EC_P521, OID_PKCS1_RSAENCRYPTION, OID_PKCS1_SHA256WITHRSA,
    OID_PKCS1_SHA512WITHRSA, OID_SIG_ECDSA_WITH_SHA512, OID_SIG_ED25519,
};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::{AttributeTypeAndValue, SubjectPublicKeyInfo, X509Name};

/// The longest certificate that is read, in bytes. Real ones have one or two thousand.
pub const MAX_BYTES: usize = 64 * 1024;

/// Why bytes are no certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Longer than [`MAX_BYTES`].
    #[error("larger than {MAX_BYTES} bytes")]
    TooLarge,
    /// Not one certificate in DER.
    #[error("does not parse as a certificate")]
    Malformed,
}

/// What the certificate says.
///
/// # Errors
/// [`CertificateError`] when `der` is not exactly one certificate, or is too large.
pub fn certificate(der: &[u8]) -> Result<Certificate, CertificateError> {
    let parsed = parse(der)?;
    let subject = parsed.subject();
    let validity = parsed.validity();
    let (not_before, not_after) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    let (key, key_bits) = key(parsed.public_key());
    let authority = parsed.basic_constraints().map_err(|_| CertificateError::Malformed)?.is_some_and(|constraints| constraints.value.ca);
    let alternatives = parsed.subject_alternative_name().map_err(|_| CertificateError::Malformed)?;
    Ok(Certificate {
        name: name(subject),
        common_name: subject.iter_common_name().next().map(text).unwrap_or_default(),
        organizations: subject.iter_organization().map(text).collect(),
        issuer: name(parsed.issuer()),
        self_signed: issued(&parsed, &parsed),
        authority,
        not_before,
        not_after,
        lifetime_days: not_after.saturating_sub(not_before).div_euclid(24 * 60 * 60),
        key,
        key_bits,
        signature: algorithm(&parsed.signature_algorithm.algorithm),
        names: alternatives.iter().flat_map(|extension| &extension.value.general_names).filter_map(alternative).collect(),
        fingerprint: sha256(der),
        key_fingerprint: sha256(parsed.public_key().raw),
    })
}

/// Did the authority's key sign the certificate, which also names it as its issuer. `false` where either does not parse, and for
/// signatures that are not known here.
pub fn signed_by(certificate_der: &[u8], authority_der: &[u8]) -> bool {
    match (parse(certificate_der), parse(authority_der)) {
        (Ok(certificate), Ok(authority)) => issued(&certificate, &authority),
        _ => false,
    }
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, CertificateError> {
    if der.len() > MAX_BYTES {
        return Err(CertificateError::TooLarge);
    }
    match X509Certificate::from_der(der) {
        Ok(([], parsed)) => Ok(parsed),
        _ => Err(CertificateError::Malformed),
    }
}

/// Names are compared first: they cost nothing, and a bundle may have hundreds of authorities.
fn issued(certificate: &X509Certificate<'_>, authority: &X509Certificate<'_>) -> bool {
    certificate.issuer().as_raw() == authority.subject().as_raw() && verifies(certificate, authority.public_key())
}

fn verifies(certificate: &X509Certificate<'_>, key: &SubjectPublicKeyInfo<'_>) -> bool {
    if certificate.verify_signature(Some(key)).is_ok() {
        return true;
    }
    // What the library leaves out: short RSA keys, which are weak and still signed this, and P-521.
    let used = &certificate.signature_algorithm.algorithm;
    let algorithm: &dyn VerificationAlgorithm = if *used == OID_PKCS1_SHA256WITHRSA {
        &signature::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY
    } else if *used == OID_PKCS1_SHA512WITHRSA {
        &signature::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY
    } else if *used == OID_SIG_ECDSA_WITH_SHA512 && curve_bits(key) == Some(521) {
        &signature::ECDSA_P521_SHA512_ASN1
    } else {
        return false;
    };
    let key = UnparsedPublicKey::new(algorithm, &key.subject_public_key.data);
    key.verify(certificate.tbs_certificate.as_ref(), &certificate.signature_value.data).is_ok()
}

/// `O=system:nodes, CN=system:node:n1`, in the certificate's order.
fn name(name: &X509Name<'_>) -> String {
    let attribute = |attribute: &AttributeTypeAndValue<'_>| {
        let kind = attribute.attr_type();
        let kind = oid2abbrev(kind, oid_registry()).map_or_else(|_| kind.to_id_string(), str::to_owned);
        format!("{kind}={}", text(attribute))
    };
    name.iter_attributes().map(attribute).collect::<Vec<_>>().join(", ")
}

fn text(attribute: &AttributeTypeAndValue<'_>) -> String {
    attribute.as_str().map_or_else(|_| String::from_utf8_lossy(attribute.as_slice()).into_owned(), str::to_owned)
}

fn alternative(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) | GeneralName::URI(name) | GeneralName::RFC822Name(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(|octets| Ipv4Addr::from(octets).to_string());
            v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(|octets| Ipv6Addr::from(octets).to_string())).ok()
        }
        _ => None,
    }
}

/// The key's kind and size. The curve says an elliptic key's size: its point is padded to whole bytes.
fn key(key: &SubjectPublicKeyInfo<'_>) -> (String, i64) {
    let kind = &key.algorithm.algorithm;
    if *kind == OID_PKCS1_RSAENCRYPTION {
        let bits = match key.parsed() {
            Ok(PublicKey::RSA(key)) => modulus_bits(key.modulus),
            _ => 0,
        };
        ("rsa".to_owned(), bits)
    } else if *kind == OID_KEY_TYPE_EC_PUBLIC_KEY {
        ("ec".to_owned(), curve_bits(key).unwrap_or(0))
    } else if *kind == OID_SIG_ED25519 {
        ("ed25519".to_owned(), 256)
    } else {
        (kind.to_id_string(), 0)
    }
}

fn modulus_bits(modulus: &[u8]) -> i64 {
    let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    let first = modulus.get(zeros).map_or(0, |byte| i64::from(byte.leading_zeros()));
    i64::try_from(modulus.len() - zeros).unwrap_or(0).saturating_mul(8) - first
}

fn curve_bits(key: &SubjectPublicKeyInfo<'_>) -> Option<i64> {
    let curve = key.algorithm.parameters.as_ref()?.as_oid().ok()?;
    [(OID_EC_P256, 256), (OID_NIST_EC_P384, 384), (OID_NIST_EC_P521, 521)].into_iter().find(|(oid, _)| *oid == curve).map(|(_, bits)| bits)
}

fn algorithm(oid: &x509_parser::der_parser::Oid<'_>) -> String {
    oid2sn(oid, oid_registry()).map_or_else(|_| oid.to_id_string(), str::to_owned)
}

fn sha256(bytes: &[u8]) -> String {
    digest::digest(&digest::SHA256, bytes).as_ref().iter().fold(String::with_capacity(64), |mut hex, byte| {
        hex.extend([byte >> 4, byte & 15].map(|nibble| char::from_digit(u32::from(nibble), 16).unwrap_or('?')));
        hex
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{
        BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384,
        PKCS_ECDSA_P521_SHA512, PKCS_ED25519, PKCS_RSA_SHA256, SignatureAlgorithm,
    };

    use super::*;

    fn params(name: &str, authority: bool) -> CertificateParams {
        let mut params = CertificateParams::new(vec!["n1.example".to_owned(), "10.0.0.1".to_owned(), "fd00::1".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2027, 1, 1);
        params.is_ca = if authority { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::NoCa };
        params
    }

    fn authority(name: &str, key: &'static SignatureAlgorithm) -> (Vec<u8>, Issuer<'static, KeyPair>) {
        let key = KeyPair::generate_for(key).unwrap();
        let params = params(name, true);
        (params.self_signed(&key).unwrap().der().to_vec(), Issuer::new(params, key))
    }

    fn leaf(issuer: &Issuer<'static, KeyPair>) -> Vec<u8> {
        let key = KeyPair::generate().unwrap();
        params("system:node:n1", false).signed_by(&key, issuer).unwrap().der().to_vec()
    }

    #[test]
    fn a_certificate_says_who_until_when_and_with_which_key() {
        let (ca, issuer) = authority("ca", &PKCS_ECDSA_P384_SHA384);
        let leaf = certificate(&leaf(&issuer)).unwrap();
        assert_eq!(
            leaf,
            Certificate {
                name: "O=system:nodes, CN=system:node:n1".to_owned(),
                common_name: "system:node:n1".to_owned(),
                organizations: vec!["system:nodes".to_owned()],
                issuer: "O=system:nodes, CN=ca".to_owned(),
                self_signed: false,
                authority: false,
                not_before: 1_767_225_600,
                not_after: 1_798_761_600,
                lifetime_days: 365,
                key: "ec".to_owned(),
                key_bits: 256,
                signature: "ecdsa-with-SHA384".to_owned(),
                names: vec!["n1.example".to_owned(), "10.0.0.1".to_owned(), "fd00::1".to_owned()],
                fingerprint: leaf.fingerprint.clone(),
                key_fingerprint: leaf.key_fingerprint.clone(),
            }
        );
        assert_eq!((leaf.fingerprint.len(), leaf.key_fingerprint.len()), (64, 64));
        let ca = certificate(&ca).unwrap();
        assert!(ca.self_signed && ca.authority);
    }

    #[rstest::rstest]
    #[case(&PKCS_RSA_SHA256, "rsa", 2048)]
    #[case(&PKCS_ECDSA_P256_SHA256, "ec", 256)]
    #[case(&PKCS_ECDSA_P384_SHA384, "ec", 384)]
    #[case(&PKCS_ECDSA_P521_SHA512, "ec", 521)]
    #[case(&PKCS_ED25519, "ed25519", 256)]
    fn whoever_signed_is_found_with_every_kind_of_key(#[case] kind: &'static SignatureAlgorithm, #[case] key: &str, #[case] bits: i64) {
        let (ca, issuer) = authority("ca", kind);
        let (namesake, _) = authority("ca", kind);
        let leaf = leaf(&issuer);
        assert!(signed_by(&leaf, &ca));
        assert!(signed_by(&ca, &ca));
        assert!(!signed_by(&leaf, &namesake), "the name alone is no signature");
        assert!(!signed_by(&ca, &leaf));
        let ca = certificate(&ca).unwrap();
        assert_eq!((ca.key.as_str(), ca.key_bits), (key, bits));
    }

    #[test]
    fn fingerprints_are_those_of_everyone_else() {
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let key = KeyPair::generate().unwrap();
        let [first, renewed] = ["a", "b"].map(|name| certificate(params(name, false).self_signed(&key).unwrap().der()).unwrap());
        assert_ne!(first.fingerprint, renewed.fingerprint);
        assert_eq!(first.key_fingerprint, renewed.key_fingerprint);
    }

    #[test]
    fn what_is_not_one_certificate_is_refused() {
        let (ca, _) = authority("ca", &PKCS_ED25519);
        assert_eq!(certificate(&[ca.clone(), vec![0]].concat()), Err(CertificateError::Malformed));
        assert_eq!(certificate(&ca[..ca.len() - 1]), Err(CertificateError::Malformed));
        assert_eq!(certificate(&[]), Err(CertificateError::Malformed));
        assert_eq!(certificate(&vec![0x30; MAX_BYTES + 1]), Err(CertificateError::TooLarge));
        assert!(!signed_by(&[], &ca));
    }

    proptest! {
        #[test]
        fn damage_never_panics(at in 0_usize..300, byte: u8, garbage in proptest::collection::vec(any::<u8>(), 0..200)) {
            let (mut ca, _) = authority("ca", &PKCS_ED25519);
            if let Some(place) = ca.get_mut(at) {
                *place = byte;
            }
            drop(certificate(&ca));
            signed_by(&ca, &ca);
            drop(certificate(&garbage));
        }
    }
}
