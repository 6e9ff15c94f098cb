//! The identity on disk: one private file with the key and its certificate, replaced in one step, so that they always belong together.
//!
//! Beside it, before there is a certificate, the key of the first request: a token is good for one key, and an answer may be lost.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base64::Engine;
use jiff::Timestamp;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{IdentityError, IdentityFileError};
use crate::connect::{ConnectError, own_file};
use crate::x509;

/// Key and certificate.
pub(crate) const IDENTITY: &str = "identity.pem";
/// The key of a request that was not answered yet.
pub(crate) const REQUEST: &str = "request.key";
/// Lines before the PEM blocks that say when to renew, and by which token the machine was enrolled (SHA-256).
const RENEW_AFTER: &str = "renew-after: ";
/// See [`RENEW_AFTER`].
const ENROLLED_BY: &str = "enrolled-by: ";

/// A key and the certificate that names its node.
#[derive(Debug)]
pub struct Identity {
    key: PrivateKeyDer<'static>,
    chain: Vec<CertificateDer<'static>>,
    /// The node's name, for people.
    pub name: String,
    /// When the certificate ends, Unix milliseconds.
    pub not_after: i64,
    /// When the collector wants to be asked for the next one, Unix milliseconds.
    pub renew_after: i64,
    /// SHA-256 of the token that enrolled this machine, hex.
    pub enrolled_by: String,
}

impl Identity {
    /// Puts together what belongs together; `None` where it does not parse.
    pub(super) fn new(
        key: PrivateKeyDer<'static>,
        chain: Vec<CertificateDer<'static>>,
        renew_after: Option<i64>,
        enrolled_by: &str,
    ) -> Option<Self> {
        let leaf = x509::certificate(chain.first()?).ok()?;
        let (start, not_after) = (leaf.not_before.saturating_mul(1000), leaf.not_after.saturating_mul(1000));
        let renew_after = renew_after.unwrap_or_else(|| start.saturating_add(not_after.saturating_sub(start) / 3 * 2));
        Some(Self { key, chain, name: leaf.common_name, not_after, renew_after, enrolled_by: enrolled_by.to_owned() })
    }

    /// As TLS wants it.
    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.chain.clone()
    }

    /// As TLS wants it.
    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        self.key.clone_key()
    }

    fn text(&self) -> String {
        let at = Timestamp::from_millisecond(self.renew_after).unwrap_or_default();
        let mut text = format!(
            "The identity of a machine to its Holdfast collector. The key speaks for {:?}: keep it private, and copy it to no other machine.\n\
             {RENEW_AFTER}{at}\n{ENROLLED_BY}{}\n",
            self.name, self.enrolled_by
        );
        text += &block("PRIVATE KEY", self.key.secret_der());
        self.chain.iter().fold(text, |text, certificate| text + &block("CERTIFICATE", certificate))
    }
}

/// The identity a connection shows now.
///
/// # Errors
/// There is none yet, it cannot be used, or its certificate is past its end.
pub fn current(directory: &Path) -> Result<Identity, ConnectError> {
    let identity = read(directory).map_err(ConnectError::Identity)?.ok_or(ConnectError::NotEnrolled)?;
    if Timestamp::now().as_millisecond() < identity.not_after {
        return Ok(identity);
    }
    let at = Timestamp::from_millisecond(identity.not_after).unwrap_or_default();
    Err(ConnectError::CertificateEnded { path: directory.join(IDENTITY), name: identity.name, at: at.to_string() })
}

/// The identity in a directory; `None` before the machine is enrolled.
pub(super) fn read(directory: &Path) -> Result<Option<Identity>, IdentityFileError> {
    let path = directory.join(IDENTITY);
    let bytes = match own_file(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(IdentityFileError::Failed { operation: "read", path, source }),
    };
    match parse(&bytes) {
        Some(identity) => Ok(Some(identity)),
        None => Err(IdentityFileError::Malformed { path }),
    }
}

fn parse(bytes: &[u8]) -> Option<Identity> {
    let text = std::str::from_utf8(bytes).ok()?;
    let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let key = PrivateKeyDer::from_pem_slice(bytes).ok()?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(bytes).collect::<Result<_, _>>().ok()?;
    let renew_after = line(RENEW_AFTER).and_then(|at| at.parse().ok()).map(Timestamp::as_millisecond);
    Identity::new(key, chain, renew_after, line(ENROLLED_BY).unwrap_or_default())
}

/// Takes a new identity into use. The key of the first request is not needed any more.
pub(super) fn write(directory: &Path, identity: &Identity) -> Result<(), IdentityFileError> {
    replace(directory, IDENTITY, identity.text().as_bytes())?;
    match std::fs::remove_file(directory.join(REQUEST)) {
        Err(source) if source.kind() != ErrorKind::NotFound => {
            Err(IdentityFileError::Failed { operation: "remove", path: directory.join(REQUEST), source })
        }
        _ => Ok(()),
    }
}

/// The key to enrol with, PEM: the one that was asked with before, or what `fresh` makes, on disk before anybody is asked.
pub(super) fn request_key(directory: &Path, fresh: impl FnOnce() -> Result<String, IdentityError>) -> Result<String, IdentityError> {
    let path = directory.join(REQUEST);
    match own_file(&path) {
        Ok(bytes) => String::from_utf8(bytes).map_err(|_| IdentityFileError::Malformed { path }.into()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let pem = fresh()?;
            replace(directory, REQUEST, pem.as_bytes())?;
            Ok(pem)
        }
        Err(source) => Err(IdentityFileError::Failed { operation: "read", path, source }.into()),
    }
}

/// A reader, also after a power cut, sees the old file or the new one. Mode 0600.
fn replace(directory: &Path, name: &str, bytes: &[u8]) -> Result<(), IdentityFileError> {
    let (path, fresh) = (directory.join(name), directory.join(format!("{name}.new")));
    let done = written(&fresh, bytes).and_then(|()| std::fs::rename(&fresh, &path)).and_then(|()| synced(directory));
    done.map_err(|source| IdentityFileError::Failed { operation: "write", path: path.clone(), source })
}

fn written(fresh: &Path, bytes: &[u8]) -> io::Result<()> {
    // What a crash left behind.
    match std::fs::remove_file(fresh) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(fresh)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn synced(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn block(label: &str, der: &[u8]) -> String {
    let encoded = base64::engine::general_purpose::STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in encoded.as_bytes().chunks(64) {
        text += &String::from_utf8_lossy(line);
        text.push('\n');
    }
    text + &format!("-----END {label}-----\n")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    fn identity(days: i64, by: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "node \"1\"");
        let now = std::time::SystemTime::now();
        params.not_before = (now - std::time::Duration::from_hours(48)).into();
        let by_days = std::time::Duration::from_hours(24 * days.unsigned_abs());
        params.not_after = if days < 0 { (now - by_days).into() } else { (now + by_days).into() };
        let certificate = params.self_signed(&key).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        Identity::new(key, vec![certificate.der().clone()], None, by).unwrap()
    }

    #[test]
    fn what_is_written_is_read_again_private_and_whole() {
        let directory = tempfile::tempdir().unwrap();
        assert!(read(directory.path()).unwrap().is_none());
        assert!(matches!(current(directory.path()), Err(ConnectError::NotEnrolled)));
        let pem = request_key(directory.path(), || Ok("key".to_owned())).unwrap();
        let again = request_key(directory.path(), || Ok("another".to_owned())).unwrap();
        assert_eq!((pem.as_str(), again.as_str()), ("key", "key"), "one token is good for one key");
        // What a crash left behind is in nobody's way.
        std::fs::write(directory.path().join("identity.pem.new"), "half").unwrap();
        let mut one = identity(1, "ab");
        one.renew_after = 1_700_000_000_000;
        write(directory.path(), &one).unwrap();
        let read = current(directory.path()).unwrap();
        assert_eq!((read.name.as_str(), read.not_after, read.renew_after), ("node \"1\"", one.not_after, one.renew_after));
        assert_eq!((read.enrolled_by.as_str(), read.chain(), read.key().secret_der()), ("ab", one.chain(), one.key().secret_der()));
        let mode = std::fs::metadata(directory.path().join(IDENTITY)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let names: Vec<_> = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, [IDENTITY], "neither the key of the request nor a temporary file stays");
    }

    #[test]
    fn a_file_that_is_none_and_a_certificate_past_its_end_say_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(IDENTITY), "nothing").unwrap();
        assert!(matches!(read(directory.path()), Err(IdentityFileError::Malformed { .. })));
        write(directory.path(), &identity(-1, "")).unwrap();
        let text = current(directory.path()).unwrap_err().to_string();
        assert!(text.contains("holdfast-collector enrolment renew --name 'node \"1\"'"), "{text}");
    }
}
