//! The enrolment CA: signs the certificates of nodes, and is whom the handshake trusts to have signed one.
//!
//! Its file may hold several certificates: the one that the key belongs to signs, all are trusted, so that a CA is replaced without a
//! machine that has to enrol again. Must not know who may enrol.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    Certificate, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PublicKeyData, SanType, SerialNumber, SubjectPublicKeyInfo,
};
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::identity::certificate::{self, Family};
use crate::store::nodes::NodeIdentity;

/// How far in the past a certificate begins, for clocks that lag.
pub(super) const SLACK: Duration = Duration::from_mins(5);
/// The longest common name of X.509, in characters.
const MAX_COMMON_NAME: usize = 64;

/// Why there is no authority, or it does not sign.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// No certificate in PEM.
    #[error("the file holds no certificate in PEM")]
    NoCertificate,
    /// The key is none.
    #[error("the key cannot be used")]
    Key(#[source] rcgen::Error),
    /// They do not belong together.
    #[error("none of the certificates belongs to the key")]
    Mismatch,
    /// Not an authority's certificate.
    #[error("the certificate that belongs to the key is not one of an authority that may sign")]
    NoAuthority,
    /// One of them cannot be trusted by anybody.
    #[error("a certificate of the file cannot be used")]
    Root(#[source] rustls::Error),
    /// Past its end.
    #[error("the CA is past its end: make a new one")]
    Ended,
    /// The system gives no random numbers.
    #[error("the system has no random numbers to give: {0}")]
    Random(getrandom::Error),
    /// Signing failed.
    #[error("the certificate cannot be made")]
    Sign(#[source] rcgen::Error),
}

/// A certificate that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The node's certificate.
    pub certificate: CertificateDer<'static>,
    /// Its serial number, hex: its family, and 64 random bits.
    pub serial: String,
    /// When it begins, Unix milliseconds.
    pub not_before: i64,
    /// When it ends, Unix milliseconds.
    pub not_after: i64,
    /// When to ask for the next one, Unix milliseconds.
    pub renew_after: i64,
}

/// See the module.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    roots: Vec<CertificateDer<'static>>,
    not_after: i64,
}

impl Authority {
    /// Of the content of its files.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, AuthorityError> {
        let roots: Vec<_> =
            CertificateDer::pem_slice_iter(certificates).collect::<Result<_, _>>().map_err(|_| AuthorityError::NoCertificate)?;
        if roots.is_empty() {
            return Err(AuthorityError::NoCertificate);
        }
        let key = KeyPair::from_pem(&String::from_utf8_lossy(key)).map_err(AuthorityError::Key)?;
        let belongs = |der: &&CertificateDer<'static>| {
            X509Certificate::from_der(der).is_ok_and(|(_, own)| own.public_key().subject_public_key.data == key.der_bytes())
        };
        let own = roots.iter().find(belongs).ok_or(AuthorityError::Mismatch)?;
        let not_after = {
            let (_, parsed) = X509Certificate::from_der(own).map_err(|_| AuthorityError::NoAuthority)?;
            let signs = parsed.key_usage().ok().flatten().is_none_or(|usage| usage.value.key_cert_sign());
            if !parsed.is_ca() || !signs {
                return Err(AuthorityError::NoAuthority);
            }
            parsed.validity().not_after.timestamp().saturating_mul(1000)
        };
        let issuer = Issuer::from_ca_cert_der(own, key).map_err(|_| AuthorityError::NoAuthority)?;
        let authority = Self { issuer, roots, not_after };
        // Now, and not in the first handshake.
        authority.roots()?;
        Ok(authority)
    }

    /// Whom the handshake trusts.
    pub fn roots(&self) -> Result<RootCertStore, AuthorityError> {
        let mut roots = RootCertStore::empty();
        self.roots.iter().try_for_each(|root| roots.add(root.clone())).map_err(AuthorityError::Root)?;
        Ok(roots)
    }

    /// When the certificate that signs ends, Unix milliseconds.
    pub fn not_after(&self) -> i64 {
        self.not_after
    }

    /// Signs, unless the CA is past its end.
    pub fn sign(&self, params: &CertificateParams, key: &impl PublicKeyData) -> Result<Certificate, AuthorityError> {
        if self.not_after <= jiff::Timestamp::now().as_millisecond() {
            return Err(AuthorityError::Ended);
        }
        params.clone().signed_by(key, &self.issuer).map_err(AuthorityError::Sign)
    }

    /// A certificate for a node's key, of a family, from `now` (Unix milliseconds) for `lifetime`, as far as the authority's own reaches.
    pub fn issue(
        &self,
        node: &NodeIdentity,
        family: Family,
        key: &SubjectPublicKeyInfo,
        now: i64,
        lifetime: Duration,
    ) -> Result<Issued, AuthorityError> {
        let lifetime = i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX);
        let now = now.max(0) / 1000 * 1000;
        let not_after = now.saturating_add(lifetime / 1000 * 1000).min(self.not_after);
        if not_after <= now {
            return Err(AuthorityError::Ended);
        }
        let not_before = now.saturating_sub(i64::try_from(SLACK.as_millis()).unwrap_or(0)).max(0);
        let renew_after = now.saturating_add(not_after.saturating_sub(now) / 3 * 2);
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, node.name.chars().take(MAX_COMMON_NAME).collect::<String>());
        let name = certificate::uri(&node.cluster, &node.uid);
        params.subject_alt_names = vec![SanType::URI(name.try_into().map_err(AuthorityError::Sign)?)];
        (params.not_before, params.not_after) = (time(not_before).into(), time(not_after).into());
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let mut own = [0; 8];
        getrandom::fill(&mut own).map_err(AuthorityError::Random)?;
        let serial = [family.bytes(), own].concat();
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        let certificate = self.sign(&params, key)?.der().clone();
        Ok(Issued { certificate, serial: crate::identity::hex(&serial), not_before, not_after, renew_after })
    }
}

fn time(ms: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertifiedIssuer};

    use super::*;
    use crate::store::nodes::Origin;

    fn authority(days: u64) -> (String, String) {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.not_after = (SystemTime::now() + Duration::from_hours(24 * days)).into();
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        (issuer.pem(), issuer.key().serialize_pem())
    }

    fn node() -> NodeIdentity {
        NodeIdentity { cluster: "c".into(), uid: "u".into(), name: "n".repeat(100), origin: Origin::Agent }
    }

    fn key() -> SubjectPublicKeyInfo {
        SubjectPublicKeyInfo::from_pem(&KeyPair::generate().unwrap().public_key_pem()).unwrap()
    }

    #[test]
    fn a_certificate_names_its_node_and_begins_a_little_earlier() {
        let (certificate, secret) = authority(10);
        let authority = Authority::from_pem(certificate.as_bytes(), secret.as_bytes()).unwrap();
        let family = Family::of(&[7; 32]);
        let now = 1_900_000_000_999_i64.min(jiff::Timestamp::now().as_millisecond());
        let issued = authority.issue(&node(), family, &key(), now, Duration::from_hours(24)).unwrap();
        let start = now / 1000 * 1000;
        assert_eq!(issued.not_before, start - 300_000);
        assert_eq!((issued.not_after, issued.renew_after), (start + 86_400_000, start + 57_600_000));
        let named = certificate::named(&issued.certificate).unwrap();
        assert_eq!((named.cluster.as_str(), named.uid.as_str(), named.not_after), ("c", "u", issued.not_after));
        assert_eq!(named.family, family);
        let (_, parsed) = X509Certificate::from_der(&issued.certificate).unwrap();
        assert_eq!(parsed.raw_serial_as_string().replace(':', ""), issued.serial);
        assert_eq!(parsed.subject().iter_common_name().next().unwrap().as_str().unwrap().len(), MAX_COMMON_NAME);
        assert_ne!(authority.issue(&node(), family, &key(), now, Duration::from_hours(24)).unwrap().serial, issued.serial);

        // Never longer than the authority itself; not at all after its end.
        let issued = authority.issue(&node(), family, &key(), now, Duration::from_hours(24 * 100)).unwrap();
        assert_eq!(issued.not_after, authority.not_after());
        let late = authority.issue(&node(), family, &key(), authority.not_after(), Duration::from_hours(1));
        assert!(matches!(late, Err(AuthorityError::Ended)));
    }

    #[test]
    fn of_several_certificates_the_one_of_the_key_signs_and_all_are_trusted() {
        let ((old, old_key), (new, new_key)) = (authority(1), authority(20));
        let bundle = format!("{old}{new}");
        let authority = Authority::from_pem(bundle.as_bytes(), new_key.as_bytes()).unwrap();
        assert_eq!(authority.roots().unwrap().len(), 2);
        let only = Authority::from_pem(new.as_bytes(), new_key.as_bytes()).unwrap();
        assert_eq!(authority.not_after(), only.not_after());
        assert!(matches!(Authority::from_pem(new.as_bytes(), old_key.as_bytes()), Err(AuthorityError::Mismatch)));
        assert!(matches!(Authority::from_pem(b"", old_key.as_bytes()), Err(AuthorityError::NoCertificate)));
        assert!(matches!(Authority::from_pem(old.as_bytes(), b"no key"), Err(AuthorityError::Key(_))));
        let leaf = KeyPair::generate().unwrap();
        let certificate = CertificateParams::default().self_signed(&leaf).unwrap().pem();
        let refused = Authority::from_pem(certificate.as_bytes(), leaf.serialize_pem().as_bytes());
        assert!(matches!(refused, Err(AuthorityError::NoAuthority)));
    }
}
