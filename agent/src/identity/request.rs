//! Keys, signing requests, and the two questions to the collector. A request carries the key and nothing else: who it is for is the
//! collector's to say.

use std::path::Path;
use std::time::Duration;

use holdfast_proto::v1::enrolment_client::EnrolmentClient;
use holdfast_proto::v1::{EnrolRequest, Enrolled, RenewRequest};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls::pki_types::CertificateDer;
use tonic::{Code, Status};

use super::file::{self, Identity};
use super::{IdentityError, fingerprint};
use crate::connect::{Alert, ConnectError, Credentials, Target};

/// How long the collector may take to answer.
const ANSWER: Duration = Duration::from_secs(20);
/// The soonest a new certificate is renewed, in milliseconds: no collector makes an agent spin.
const SOONEST_MS: i64 = 5_000;
/// The largest answer, in bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Enrols by a token, with the key that was tried before if there was one.
pub(super) async fn enrol(target: &Target, directory: &Path, token: &str) -> Result<Identity, IdentityError> {
    let pem = file::request_key(directory, || Ok(KeyPair::generate().map_err(IdentityError::Key)?.serialize_pem()))?;
    let key = KeyPair::from_pem(&pem).map_err(IdentityError::Key)?;
    let (mut client, address, alert) = client(target, Credentials::of_nobody(target)?).await?;
    let question = EnrolRequest { token: token.to_owned(), request: request(&key)? };
    let answer = answered(&address, client.enrol(question)).await?;
    let enrolled = answer.map_err(|status| match status.code() {
        Code::Unauthenticated => IdentityError::EnrolmentRefused { address: address.clone() },
        _ => failed(&address, &alert, &status),
    })?;
    identity(key, enrolled.into_inner(), &fingerprint(token), &address)
}

/// Renews with a new key, over a connection that shows the present certificate.
pub(super) async fn renew(target: &Target, held: &Identity) -> Result<Identity, IdentityError> {
    let key = KeyPair::generate().map_err(IdentityError::Key)?;
    let (mut client, address, alert) = client(target, Credentials::of_identity(target, held)?).await?;
    let answer = answered(&address, client.renew(RenewRequest { request: request(&key)? })).await?;
    let enrolled = answer.map_err(|status| match status.code() {
        Code::Unauthenticated => IdentityError::RenewalRefused { address: address.clone() },
        _ => failed(&address, &alert, &status),
    })?;
    identity(key, enrolled.into_inner(), &held.enrolled_by, &address)
}

/// To ask with, what to call the other end, and what its TLS hears.
type Client = (EnrolmentClient<tonic::transport::Channel>, String, Alert);

async fn client(target: &Target, credentials: Credentials) -> Result<Client, IdentityError> {
    let (channel, address, alert) = Box::pin(target.dial_with(credentials, |tcp| tcp)).await?.into_channel();
    Ok((EnrolmentClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES), address, alert))
}

async fn answered<T>(address: &str, answer: impl Future<Output = T>) -> Result<T, ConnectError> {
    let late = |_| ConnectError::Timeout { address: address.to_owned(), what: "answer about this node's certificate" };
    tokio::time::timeout(ANSWER, answer).await.map_err(late)
}

fn failed(address: &str, alert: &Alert, status: &Status) -> IdentityError {
    match status.code() {
        Code::Unimplemented => IdentityError::NoEnrolment { address: address.to_owned() },
        _ => ConnectError::of_status(address, alert, status).into(),
    }
}

fn request(key: &KeyPair) -> Result<Vec<u8>, IdentityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    Ok(params.serialize_request(key).map_err(IdentityError::Key)?.der().to_vec())
}

/// When to renew, as the collector said: but not at once, and not after the end, whatever it said.
fn sensible(renew_after: i64, now: i64, not_after: i64) -> i64 {
    let earliest = now.saturating_add((not_after.saturating_sub(now) / 3).max(SOONEST_MS));
    renew_after.max(earliest).min(not_after.max(earliest))
}

/// The answer must be about our key: anything else could not be shown, and would only be noticed at the next connection.
fn identity(key: KeyPair, enrolled: Enrolled, by: &str, address: &str) -> Result<Identity, IdentityError> {
    let wrong = |what| IdentityError::Answer { address: address.to_owned(), what };
    let chain: Vec<_> = enrolled.chain.into_iter().map(CertificateDer::from).collect();
    let public = chain.first().and_then(|leaf| x509_parser::parse_x509_certificate(leaf).ok());
    let ours = public.is_some_and(|(_, leaf)| leaf.public_key().subject_public_key.data == key.public_key_raw());
    if !ours {
        return Err(wrong("a certificate that is not for this machine's key"));
    }
    let now = jiff::Timestamp::now().as_millisecond();
    let mut identity = Identity::new(key.into(), chain, None, by).ok_or_else(|| wrong("no certificate"))?;
    identity.renew_after = sensible(enrolled.renew_after_ms, now, identity.not_after);
    if identity.not_after <= now {
        return Err(wrong("a certificate that has ended by this machine's clock: set the clock of one of the two"));
    }
    Ok(identity)
}

#[cfg(test)]
mod tests {
    use super::sensible;

    #[test]
    fn what_a_collector_says_of_renewing_is_held_to_what_makes_sense() {
        let day = 86_400_000;
        assert_eq!(sensible(day / 3 * 2, 0, day), day / 3 * 2);
        assert_eq!(sensible(0, 0, day), day / 3, "not at once");
        assert_eq!(sensible(i64::MIN, 0, 1_000), 5_000, "however short it holds");
        assert_eq!(sensible(i64::MAX, 0, day), day, "not after the end");
    }
}
