//! A certificate authority for one collector: a CA and a server certificate, for those who have none, and a CA apart from it for the
//! machines that enrol. What one of them signs the other does not vouch for. `server` makes the next server certificate.

mod server;

pub use server::{Written, server};

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
};

use crate::enrolment::AuthorityError;
use crate::files::{self, FileError};

/// How long the CA is valid.
const CA_DAYS: i64 = 10 * 365;
/// How long the server certificate is valid.
const SERVER_DAYS: i64 = 365;
/// How far in the past both begin, for clocks that lag.
const SLACK: Duration = Duration::from_hours(1);

/// Why there is no CA.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// A file cannot be written, or is there already.
    #[error("certificate authority")]
    File(#[from] FileError),
    /// The directory cannot be made.
    #[error("create directory {path}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: std::io::Error,
    },
    /// No name was given.
    #[error("a server certificate needs at least one name: give --dns NAME or --dns ADDRESS")]
    NoName,
    /// A name is neither a DNS name nor an address.
    #[error("`{name}` is neither a DNS name nor an IP address")]
    Name {
        /// As given.
        name: String,
    },
    /// What should be a CA is none, or none any longer.
    #[error("the CA {certificate} with its key {key}")]
    Authority {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
        /// What is wrong.
        #[source]
        source: AuthorityError,
    },
    /// The certificate that is replaced does not say what it is for.
    #[error("{path} is no certificate whose names could be taken over: give them with --dns")]
    Replaced {
        /// The file.
        path: PathBuf,
    },
    /// No randomness.
    #[error("the system has no random numbers to give: {0}")]
    Random(getrandom::Error),
    /// Making a certificate failed.
    #[error("make certificate")]
    Certificate(#[from] rcgen::Error),
}

/// The files of the server's CA, and those of the enrolment CA.
const SERVER_FILES: [&str; 4] = ["ca.crt", "ca.key", "server.crt", "server.key"];
/// See [`SERVER_FILES`].
const ENROLMENT_FILES: [&str; 2] = ["enrolment-ca.crt", "enrolment-ca.key"];

/// Writes `ca.crt`, `ca.key`, `server.crt`, `server.key`, `enrolment-ca.crt` and `enrolment-ca.key` into `out`. Overwrites nothing.
/// Where a version before this has written the first four, the other two are added; `true` then.
pub fn init(out: &Path, names: &[String]) -> Result<bool, CaError> {
    let names = names.iter().map(|name| san(name)).collect::<Result<Vec<_>, _>>()?;
    if names.is_empty() {
        return Err(CaError::NoName);
    }
    std::fs::create_dir_all(out).map_err(|source| CaError::Directory { path: out.to_owned(), source })?;
    let (files, enrolment) = (SERVER_FILES.map(|name| out.join(name)), ENROLMENT_FILES.map(|name| out.join(name)));
    let there = |path: &&PathBuf| std::fs::symlink_metadata(path).is_ok();
    // All or nothing: a new key beside an old certificate would be of no use.
    if let Some(path) = enrolment.iter().find(there) {
        return Err(FileError::Exists { path: path.clone() }.into());
    }
    let found: Vec<&PathBuf> = files.iter().filter(there).collect();
    let added = found.len() == files.len();
    match found.first() {
        None => both(&files, names)?,
        Some(_) if added => {}
        Some(path) => return Err(FileError::Exists { path: PathBuf::clone(path) }.into()),
    }
    // A name of its own: of two in one file everybody finds the right one.
    let mut own = [0; 4];
    getrandom::fill(&mut own).map_err(CaError::Random)?;
    let authority = authority(&format!("Holdfast enrolment CA {}", crate::identity::hex(&own)))?;
    let contents = [authority.pem(), authority.key().serialize_pem()];
    for (path, (text, mode)) in enrolment.iter().zip(contents.iter().zip([0o644, 0o600])) {
        files::create(path, text.as_bytes(), mode)?;
    }
    Ok(added)
}

fn authority(name: &str) -> Result<CertifiedIssuer<'static, KeyPair>, CaError> {
    let mut authority = params(name, CA_DAYS);
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?)
}

/// A CA and a server certificate from it.
fn both(files: &[PathBuf], names: Vec<SanType>) -> Result<(), CaError> {
    let authority = authority("Holdfast CA")?;
    let key = KeyPair::generate()?;
    let server = server_params(names).signed_by(&key, &authority)?;

    let contents = [authority.pem(), authority.key().serialize_pem(), server.pem(), key.serialize_pem()];
    for (path, (text, mode)) in files.iter().zip(contents.iter().zip([0o644, 0o600, 0o644, 0o600])) {
        files::create(path, text.as_bytes(), mode)?;
    }
    Ok(())
}

fn server_params(names: Vec<SanType>) -> CertificateParams {
    let mut server = params("Holdfast collector", SERVER_DAYS);
    server.subject_alt_names = names;
    server.use_authority_key_identifier_extension = true;
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server
}

/// Of Unix milliseconds.
fn time(ms: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

fn params(name: &str, days: i64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    let now = SystemTime::now();
    let days = Duration::from_secs(u64::try_from(days).unwrap_or(0).saturating_mul(86_400));
    params.not_before = (now - SLACK).into();
    params.not_after = (now + days).into();
    params
}

fn san(name: &str) -> Result<SanType, CaError> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let wrong = || CaError::Name { name: name.to_owned() };
    let label = |label: &str| {
        !label.is_empty() && label.len() <= 63 && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'*')
    };
    if name.len() > 253 || !name.split('.').all(label) {
        return Err(wrong());
    }
    Ok(SanType::DnsName(name.try_into().map_err(|_| wrong())?))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::{CaError, init};

    #[test]
    fn the_certificate_is_usable_the_keys_are_private_and_nothing_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let names = ["collector.example".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        init(dir.path(), &names).unwrap();
        for (file, mode) in [("ca.key", 0o600), ("server.key", 0o600), ("ca.crt", 0o644), ("server.crt", 0o644)] {
            assert_eq!(std::fs::metadata(dir.path().join(file)).unwrap().permissions().mode() & 0o777, mode, "{file}");
        }
        crate::accept::Certificate::load(&dir.path().join("server.crt"), &dir.path().join("server.key")).unwrap();
        let again = init(dir.path(), &names).unwrap_err();
        assert!(matches!(again, CaError::File(_)));
    }

    #[test]
    fn a_directory_of_a_version_without_enrolment_gets_the_enrolment_ca_and_keeps_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let names = ["localhost".to_owned()];
        assert!(!init(dir.path(), &names).unwrap());
        let read = |name: &str| crate::files::read(&dir.path().join(name)).unwrap();
        let [certificate, key] = ["enrolment-ca.crt", "enrolment-ca.key"].map(read);
        crate::enrolment::Authority::from_pem(&certificate, &key).unwrap();
        assert_eq!(std::fs::metadata(dir.path().join("enrolment-ca.key")).unwrap().permissions().mode() & 0o777, 0o600);
        assert_ne!(read("ca.key"), key, "what one signs the other does not vouch for");
        let server = read("server.key");
        std::fs::remove_file(dir.path().join("enrolment-ca.crt")).unwrap();
        assert!(init(dir.path(), &names).is_err(), "half a CA is nobody's to complete");
        std::fs::remove_file(dir.path().join("enrolment-ca.key")).unwrap();
        assert!(init(dir.path(), &names).unwrap());
        assert_eq!(read("server.key"), server);
        assert_ne!(read("enrolment-ca.key"), key);
        std::fs::remove_file(dir.path().join("ca.key")).unwrap();
        for name in ["enrolment-ca.crt", "enrolment-ca.key"] {
            std::fs::remove_file(dir.path().join(name)).unwrap();
        }
        assert!(init(dir.path(), &names).is_err());
    }

    #[test]
    fn a_name_that_is_none_is_refused_before_anything_is_written() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(init(dir.path(), &["a b".to_owned()]), Err(CaError::Name { .. })));
        assert!(matches!(init(dir.path(), &[]), Err(CaError::NoName)));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
