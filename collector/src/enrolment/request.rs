//! A signing request, PKCS #10, from somebody who is not known yet: its key, if it is one, and proof that the sender has it. What else
//! it asks for is not looked at.

use rcgen::SubjectPublicKeyInfo;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::oid_registry::{OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_SIG_ED25519};
use x509_parser::prelude::FromDer;
use x509_parser::x509;

/// The largest request, in bytes.
pub(super) const MAX_BYTES: usize = 4 * 1024;

/// A key whose owner asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    /// For the certificate.
    pub(super) public: SubjectPublicKeyInfo,
    /// SHA-256 of the `SubjectPublicKeyInfo`, hex.
    pub(super) sha256: String,
}

/// The key of a request; else what is wrong with it.
pub(super) fn key(der: &[u8]) -> Result<Key, &'static str> {
    if der.len() > MAX_BYTES {
        return Err("the signing request is larger than 4 KiB");
    }
    let Ok(([], request)) = X509CertificationRequest::from_der(der) else { return Err("the signing request does not parse") };
    let public = &request.certification_request_info.subject_pki;
    // Before anything is computed with it.
    if !is_taken(public) {
        return Err("the key is neither ECDSA P-256, P-384 nor Ed25519");
    }
    request.verify_signature().map_err(|_| "the signing request is not signed by its own key")?;
    let key = SubjectPublicKeyInfo::from_der(public.raw).map_err(|_| "the key does not parse")?;
    Ok(Key { public: key, sha256: crate::identity::hex(&crate::identity::sha256(public.raw)) })
}

fn is_taken(key: &x509::SubjectPublicKeyInfo<'_>) -> bool {
    let algorithm = &key.algorithm.algorithm;
    if *algorithm == OID_SIG_ED25519 {
        return true;
    }
    let curve = key.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
    *algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY && curve.is_some_and(|curve| curve == OID_EC_P256 || curve == OID_NIST_EC_P384)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    fn request(key: &KeyPair, params: &CertificateParams) -> Vec<u8> {
        params.serialize_request(key).unwrap().der().to_vec()
    }

    #[test]
    fn the_key_is_taken_and_nothing_else() {
        for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
            let pair = KeyPair::generate_for(algorithm).unwrap();
            let mut params = CertificateParams::default();
            params.subject_alt_names = vec![SanType::URI("spiffe://holdfast/cluster/c/node/other".try_into().unwrap())];
            let (plain, wanting) = (key(&request(&pair, &CertificateParams::default())).unwrap(), key(&request(&pair, &params)).unwrap());
            assert_eq!(plain, wanting);
            assert_eq!(rcgen::PublicKeyData::der_bytes(&plain.public), rcgen::PublicKeyData::der_bytes(&pair));
        }
    }

    #[test]
    fn whatever_is_no_request_of_the_key_s_owner_is_refused() {
        let pair = KeyPair::generate().unwrap();
        let good = request(&pair, &CertificateParams::default());
        let mut forged = good.clone();
        *forged.last_mut().unwrap() ^= 1;
        assert_eq!(key(&forged), Err("the signing request is not signed by its own key"));
        // Somebody else's key in a request that was signed with another.
        let other = request(&KeyPair::generate().unwrap(), &CertificateParams::default());
        let (ours, theirs) = (pair.public_key_raw().to_vec(), key(&other).unwrap());
        let theirs = rcgen::PublicKeyData::der_bytes(&theirs.public).to_vec();
        let at = other.windows(theirs.len()).position(|window| window == theirs).unwrap();
        let mut stolen = other.clone();
        stolen.splice(at..at + theirs.len(), ours);
        assert_eq!(key(&stolen), Err("the signing request is not signed by its own key"));

        let long: Vec<u8> = good.iter().copied().chain(vec![0; MAX_BYTES]).collect();
        assert!(key(&long).unwrap_err().contains("4 KiB"));
        let trailing: Vec<u8> = good.iter().copied().chain([0]).collect();
        for wrong in [&b""[..], b"nothing", &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], &trailing] {
            assert_eq!(key(wrong), Err("the signing request does not parse"));
        }
        let p521 = request(&KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap(), &CertificateParams::default());
        let rsa = request(&KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap(), &CertificateParams::default());
        for kind in [p521, rsa] {
            assert_eq!(key(&kind), Err("the key is neither ECDSA P-256, P-384 nor Ed25519"));
        }
        for cut in 0..good.len() {
            assert!(key(&good[..cut]).is_err());
        }
    }
}
