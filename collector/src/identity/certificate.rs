//! The client certificate of an enrolled machine, from DER to the node it names. Its chain was verified in the handshake; what it may
//! say was not.
//!
//! Strict: our own CA issues exactly this form, and whatever else that CA may once have signed names no node.

use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Rejection, hex, sha256};
use crate::refusals::Refusal;

/// What the name of every node begins with.
const PREFIX: &str = "spiffe://holdfast/cluster/";
/// What is between the cluster and the uid.
const BETWEEN: &str = "/node/";
/// What makes a family of a token's hash.
const FAMILY: &[u8] = b"holdfast enrolment family";
/// The longest name taken, in bytes, before it is decoded.
const MAX_URI_BYTES: usize = 2048;

/// The certificates that go back to one enrolment, by renewals: the first half of their serial numbers. A machine that was enrolled anew
/// is of another family, and certificates of the one before count no longer. Not told by times: clocks go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Family([u8; 8]);

impl Family {
    /// Of whoever used the token with this SHA-256; says nothing of the token.
    pub fn of(token: &[u8; 32]) -> Self {
        let mut bytes = [0; 8];
        sha256([FAMILY, token].concat()).iter().zip(&mut bytes).for_each(|(byte, place)| *place = *byte);
        // A serial number that begins so is positive, and always of one length.
        if let Some(first) = bytes.first_mut() {
            *first = *first & 0x7f | 0x40;
        }
        Self(bytes)
    }

    /// What [`Family::hex`] wrote.
    pub fn from_hex(text: &str) -> Option<Self> {
        u64::from_str_radix(text, 16).ok().map(|family| Self(family.to_be_bytes())).filter(|family| family.hex() == text)
    }

    fn of_serial(serial: &[u8]) -> Option<Self> {
        let (family, own) = serial.split_first_chunk()?;
        (own.len() == 8).then_some(Self(*family))
    }

    /// What a serial number begins with.
    pub fn bytes(self) -> [u8; 8] {
        self.0
    }

    /// Hex, as it is stored.
    pub fn hex(self) -> String {
        hex(&self.0)
    }
}

/// The node a certificate names, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The cluster.
    pub cluster: String,
    /// The node's uid.
    pub uid: String,
    /// Which enrolment it goes back to.
    pub family: Family,
    /// When the certificate ends, Unix milliseconds.
    pub not_after: i64,
}

/// The name of a node in its certificate: a SPIFFE ID.
pub fn uri(cluster: &str, uid: &str) -> String {
    format!("{PREFIX}{}{BETWEEN}{}", encode(cluster), encode(uid))
}

/// The node that a certificate names.
///
/// # Errors
/// [`Refusal::MalformedCertificate`] when it is not of the form that enrolment gives.
pub fn named(der: &CertificateDer<'_>) -> Result<Named, Rejection> {
    let wrong = |reason| Rejection::new(Refusal::MalformedCertificate, reason);
    let Ok(([], certificate)) = X509Certificate::from_der(der) else { return Err(wrong("the certificate does not parse")) };
    let usage = certificate.extended_key_usage().map_err(|_| wrong("its extended key usage does not parse"))?;
    let usage = usage.ok_or_else(|| wrong("it has no extended key usage"))?.value;
    if !usage.client_auth || usage.any || usage.server_auth {
        return Err(wrong("it is not a client certificate and nothing else"));
    }
    let constraints = certificate.basic_constraints().map_err(|_| wrong("its basic constraints do not parse"))?;
    if constraints.is_some_and(|constraints| constraints.value.ca) {
        return Err(wrong("it is one of an authority"));
    }
    let names = certificate.subject_alternative_name().map_err(|_| wrong("its names do not parse"))?;
    let names = names.ok_or_else(|| wrong("it names nobody"))?;
    let [GeneralName::URI(uri)] = names.value.general_names.as_slice() else { return Err(wrong("it does not have one URI for a name")) };
    let (cluster, uid) = parse(uri).ok_or_else(|| wrong("its name is not spiffe://holdfast/cluster/…/node/…"))?;
    let family =
        Family::of_serial(certificate.raw_serial()).ok_or_else(|| wrong("its serial number is not of the form that enrolment gives"))?;
    Ok(Named { cluster, uid, family, not_after: certificate.validity().not_after.timestamp().saturating_mul(1000) })
}

fn parse(uri: &str) -> Option<(String, String)> {
    let (cluster, uid) = uri.strip_prefix(PREFIX)?.split_once(BETWEEN)?;
    let (cluster, uid) = (decode(cluster)?, decode(uid)?);
    // One name has one spelling: whatever decodes to the same is not the same.
    (uri.len() <= MAX_URI_BYTES && self::uri(&cluster, &uid) == uri).then_some((cluster, uid))
}

/// Cluster and uid that a name names: for tests/fuzzing.
#[cfg(feature = "fuzzing")]
pub fn fuzz(uri: &str) -> Option<(String, String)> {
    parse(uri)
}

/// Percent-encoding of everything but RFC 3986's unreserved characters.
fn encode(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |encoded, byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded + char::from(byte).encode_utf8(&mut [0; 4]),
        other => encoded + &format!("%{other:02X}"),
    })
}

fn decode(text: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.bytes());
    while let Some(byte) = rest.next() {
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        bytes.push(if byte == b'%' { digit(rest.next()?)? * 16 + digit(rest.next()?)? } else { byte });
    }
    String::from_utf8(bytes).ok().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose as Usage, IsCa, KeyPair, SanType, SerialNumber,
    };

    use super::*;

    fn params(names: &[SanType], usages: &[Usage]) -> CertificateParams {
        let mut params = CertificateParams::default();
        (params.subject_alt_names, params.extended_key_usages) = (names.to_vec(), usages.to_vec());
        params.not_after = rcgen::date_time_ymd(2030, 1, 1);
        params.serial_number = Some(SerialNumber::from_slice(&[0x41; 16]));
        params
    }

    fn reason(params: &CertificateParams) -> String {
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let rejection = named(certificate.der()).unwrap_err();
        assert_eq!(rejection.refusal, Refusal::MalformedCertificate);
        rejection.reason
    }

    fn name(text: &str) -> SanType {
        SanType::URI(text.try_into().unwrap())
    }

    #[test]
    fn a_name_is_read_as_it_was_written_whatever_is_in_it() {
        for (cluster, uid) in [("prod", "u-1"), ("a/node/b", "../x"), ("Größe %41", "a\nb")] {
            let uri = uri(cluster, uid);
            assert!(uri.is_ascii() && uri.matches('/').count() == 6, "{uri}");
            let certificate = params(&[name(&uri)], &[Usage::ClientAuth]).self_signed(&KeyPair::generate().unwrap()).unwrap();
            let named = named(certificate.der()).unwrap();
            assert_eq!((named.cluster.as_str(), named.uid.as_str(), named.not_after), (cluster, uid, 1_893_456_000_000));
        }
    }

    #[test]
    fn certificates_of_one_token_are_one_family_and_of_another_token_another() {
        let family = Family::of(&[1; 32]);
        assert_eq!(family, Family::of(&[1; 32]));
        assert_ne!(family, Family::of(&[2; 32]));
        assert_eq!(family.bytes()[0] & 0xc0, 0x40);
        assert_eq!(Family::of_serial(&[family.bytes(), [0xff; 8]].concat()), Some(family));
        assert_eq!(Family::from_hex(&family.hex()), Some(family));
        assert_eq!(["", "+", "4141", "+141414141414141", "41414141414141414", "414141414141414G"].map(Family::from_hex), [None; 6]);
        assert_eq!((Family::of_serial(&[1; 15]), Family::of_serial(&[1; 17]), Family::of_serial(&[])), (None, None, None));
    }

    #[test]
    fn whatever_else_the_authority_signed_names_no_node() {
        let good = name(&uri("c", "u"));
        let client = [Usage::ClientAuth];
        assert!(reason(&params(&[], &client)).contains("names nobody"));
        assert!(reason(&params(&[good.clone(), good.clone()], &client)).contains("one URI"));
        assert!(reason(&params(&[good.clone(), SanType::DnsName("localhost".try_into().unwrap())], &client)).contains("one URI"));
        assert!(reason(&params(&[SanType::DnsName("localhost".try_into().unwrap())], &client)).contains("one URI"));
        assert!(reason(&params(std::slice::from_ref(&good), &[])).contains("no extended key usage"));
        for usages in [&[Usage::ServerAuth][..], &[Usage::ClientAuth, Usage::ServerAuth], &[Usage::ClientAuth, Usage::Any]] {
            assert!(reason(&params(std::slice::from_ref(&good), usages)).contains("client certificate"));
        }
        let mut authority = params(std::slice::from_ref(&good), &client);
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        assert!(reason(&authority).contains("authority"));
        let mut twice = params(std::slice::from_ref(&good), &client);
        twice.custom_extensions = vec![CustomExtension::from_oid_content(&[2, 5, 29, 17], vec![0x30, 0x00])];
        assert!(reason(&twice).contains("do not parse"));
        for wrong in [
            "spiffe://elsewhere/cluster/c/node/u",
            "spiffe://holdfast/cluster/c/node/",
            "spiffe://holdfast/cluster//node/u",
            "spiffe://holdfast/cluster/c/node/u/more",
            "spiffe://holdfast/cluster/c/node/u?x",
            "spiffe://holdfast/cluster/%63/node/u",
            "spiffe://holdfast/cluster/c/node/%2",
            "spiffe://holdfast/cluster/c/node/%ff",
            "SPIFFE://holdfast/cluster/c/node/u",
            "https://holdfast/cluster/c/node/u",
        ] {
            assert!(reason(&params(&[name(wrong)], &client)).contains("spiffe://"), "{wrong}");
        }
        let mut short = params(&[good], &client);
        short.serial_number = Some(SerialNumber::from_slice(&[0x41; 15]));
        assert!(reason(&short).contains("serial number"));
        assert!(named(&CertificateDer::from(vec![0x30, 0x00])).is_err());
    }
}
