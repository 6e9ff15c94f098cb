//! A server certificate from a CA that is there: agents trust the CA, so replacing the certificate needs nothing of them.

use std::fmt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rcgen::{KeyPair, SanType};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{CaError, SERVER_DAYS, SERVER_FILES, san, server_params, time};
use crate::enrolment::Authority;
use crate::files::{self, FileError};

/// A server certificate that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Where to.
    pub out: PathBuf,
    /// The names it is for.
    pub names: Vec<String>,
    /// When it ends, Unix milliseconds.
    pub not_after: i64,
    /// It ends early: its CA does.
    pub with_ca: bool,
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { out, names, not_after, with_ca } = self;
        let until = Timestamp::from_millisecond(*not_after).unwrap_or_default();
        let day = until.strftime("%Y-%m-%d");
        write!(f, "wrote server.crt and server.key for {} to {}; the certificate ends on {day}", names.join(", "), out.display())?;
        if *with_ca {
            write!(f, ", as its CA does: make a new CA before that, see \"Replacing certificates\" in docs/identity.md")?;
        }
        write!(f, ". A collector that runs with these files takes them within seconds; connections stay")
    }
}

/// Writes `server.crt` and `server.key` into `out`, by the `ca.crt` and `ca.key` in `ca`, for `names`; without any, for those of the
/// certificate that is replaced. What is there stays until both are written, and keeps its owner and mode.
///
/// # Errors
/// Which file of the CA is absent, unreadable or no CA, and what else keeps it from being written. Nothing is changed then.
pub fn server(ca: &Path, out: &Path, names: &[String]) -> Result<Written, CaError> {
    let [certificate_path, key_path, server_path, secret_path] = SERVER_FILES;
    let [ca_certificate, ca_key] = [certificate_path, key_path].map(|name| ca.join(name));
    let [server_path, secret_path] = [server_path, secret_path].map(|name| out.join(name));
    let (certificate, key) = (files::read(&ca_certificate)?, files::read(&ca_key)?);
    let wrong = |source| CaError::Authority { certificate: ca_certificate.clone(), key: ca_key.clone(), source };
    let authority = Authority::from_pem(&certificate, &key).map_err(wrong)?;

    let names = if names.is_empty() { names_of(&server_path)? } else { names.to_vec() };
    let sans = names.iter().map(|name| san(name)).collect::<Result<Vec<_>, _>>()?;
    if sans.is_empty() {
        return Err(CaError::NoName);
    }
    let (params, not_after, with_ca) = params(sans, authority.not_after());
    let secret = KeyPair::generate()?;
    let signed = authority.sign(&params, &secret).map_err(wrong)?;

    std::fs::create_dir_all(out).map_err(|source| CaError::Directory { path: out.to_owned(), source })?;
    let (public, private) = (signed.pem(), secret.serialize_pem());
    files::replace_both([(&server_path, public.as_bytes(), 0o644), (&secret_path, private.as_bytes(), 0o600)])?;
    Ok(Written { out: out.to_owned(), names, not_after, with_ca })
}

/// As far as the CA reaches.
fn params(names: Vec<SanType>, ca_ends: i64) -> (rcgen::CertificateParams, i64, bool) {
    let mut params = server_params(names);
    let wanted = Timestamp::now().as_millisecond().saturating_add(SERVER_DAYS * 86_400_000);
    let not_after = wanted.min(ca_ends);
    params.not_after = time(not_after).into();
    (params, not_after, ca_ends < wanted)
}

/// The names that a certificate is for.
fn names_of(path: &Path) -> Result<Vec<String>, CaError> {
    let pem = match files::read(path) {
        Err(FileError::Absent { .. }) => return Err(CaError::NoName),
        pem => pem?,
    };
    let malformed = || CaError::Replaced { path: path.to_owned() };
    let der = CertificateDer::from_pem_slice(&pem).map_err(|_| malformed())?;
    let (_, parsed) = X509Certificate::from_der(&der).map_err(|_| malformed())?;
    let names = parsed.subject_alternative_name().ok().flatten().ok_or_else(malformed)?;
    names.value.general_names.iter().map(|name| text(name).ok_or_else(malformed)).collect()
}

fn text(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let four = <[u8; 4]>::try_from(*bytes).map(|bytes| std::net::IpAddr::from(bytes).to_string());
            four.or_else(|_| <[u8; 16]>::try_from(*bytes).map(|bytes| std::net::IpAddr::from(bytes).to_string())).ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyUsagePurpose};
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier;
    use rustls_pki_types::{ServerName, UnixTime};

    use super::*;

    fn init() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("certs");
        super::super::init(&path, &["collector.example".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()]).unwrap();
        (dir, path)
    }

    fn certificate(path: &Path) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(&files::read(path).unwrap()).unwrap()
    }

    /// As an agent would.
    fn trusts(ca: &Path, server: &Path, name: &'static str) -> bool {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate(ca)).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        verifier.verify_server_cert(&certificate(server), &[], &ServerName::try_from(name).unwrap(), &[], UnixTime::now()).is_ok()
    }

    /// A CA of `days` in a directory of its own.
    fn short(directory: &Path, days: i64, is_ca: bool) {
        std::fs::create_dir_all(directory).unwrap();
        let mut params = CertificateParams::default();
        if is_ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        }
        params.not_after = time(Timestamp::now().as_millisecond() + days * 86_400_000).into();
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        files::replace(&directory.join("ca.crt"), issuer.pem().as_bytes()).unwrap();
        files::replace(&directory.join("ca.key"), issuer.key().serialize_pem().as_bytes()).unwrap();
    }

    #[test]
    fn agents_that_trust_the_ca_trust_the_new_certificate_and_nothing_else_changes() {
        let (_dir, path) = init();
        let read = |name: &str| files::read(&path.join(name)).unwrap();
        let before = SERVER_FILES.map(read);
        std::fs::set_permissions(path.join("server.key"), std::fs::Permissions::from_mode(0o640)).unwrap();
        let written = server(&path, &path, &[]).unwrap();
        assert_eq!(written.names, ["collector.example", "127.0.0.1", "::1"], "those of the one that is replaced");
        let after = SERVER_FILES.map(read);
        let changed: Vec<bool> = before.iter().zip(&after).map(|(before, after)| before != after).collect();
        assert_eq!(changed, [false, false, true, true]);
        for name in ["collector.example", "127.0.0.1", "::1"] {
            assert!(trusts(&path.join("ca.crt"), &path.join("server.crt"), name), "{name}");
        }
        crate::accept::Certificate::load(&path.join("server.crt"), &path.join("server.key")).unwrap();
        let mode = |name: &str| std::fs::metadata(path.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("server.crt"), mode("server.key")), (0o644, 0o640), "whoever could read it still can");
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 6, "nothing is left behind");

        // Elsewhere, for another name, private.
        let out = path.join("new/certs");
        let written = server(&path, &out, &["other.example".to_owned()]).unwrap();
        assert!((364 * 86_400_000..=365 * 86_400_000).contains(&(written.not_after - Timestamp::now().as_millisecond())));
        assert!(trusts(&path.join("ca.crt"), &out.join("server.crt"), "other.example"));
        assert!(!trusts(&path.join("ca.crt"), &out.join("server.crt"), "collector.example"));
        assert_eq!(std::fs::metadata(out.join("server.key")).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_certificate_does_not_outlive_its_ca() {
        let (_dir, path) = init();
        short(&path, 3, true);
        let written = server(&path, &path, &[]).unwrap();
        assert!(written.with_ca && written.not_after - Timestamp::now().as_millisecond() < 3 * 86_400_000 + 1);
        assert!(trusts(&path.join("ca.crt"), &path.join("server.crt"), "collector.example"));
    }

    /// Each says what it is and which file; the certificate in use stays.
    #[test]
    fn a_ca_that_cannot_be_used_says_why_and_nothing_is_written() {
        let (dir, path) = init();
        let (_other, strange) = init();
        let before = files::read(&path.join("server.crt")).unwrap();
        let mut said = Vec::new();
        let mut tried = |what: &str, ca: &Path, names: &[&str]| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            let error = anyhow::Error::from(server(ca, &path, &names).unwrap_err());
            said.push(format!("{what}: {error:#}").replace(&dir.path().display().to_string(), "DIR"));
            assert_eq!(files::read(&path.join("server.crt")).unwrap(), before);
        };
        let ca = dir.path().join("ca");
        tried("absent", &ca, &[]);
        std::fs::create_dir_all(ca.join("ca.crt")).unwrap();
        tried("unreadable", &ca, &[]);
        std::fs::remove_dir(ca.join("ca.crt")).unwrap();
        let copy = |from: &Path, name: &str| files::replace(&ca.join(name), &files::read(&from.join(name)).unwrap()).unwrap();
        copy(&path, "ca.crt");
        tried("key absent", &ca, &[]);
        copy(&strange, "ca.key");
        tried("mismatched key", &ca, &[]);
        files::replace(&ca.join("ca.key"), b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").unwrap();
        tried("malformed key", &ca, &[]);
        files::replace(&ca.join("ca.crt"), b"nothing").unwrap();
        tried("malformed certificate", &ca, &[]);
        short(&ca, 10, false);
        tried("no CA", &ca, &[]);
        short(&ca, -1, true);
        tried("ended", &ca, &[]);
        tried("no name", &path, &["a b"]);
        insta::assert_snapshot!(said.join("\n"));
        let none = server(&path, &dir.path().join("empty"), &[]).unwrap_err();
        assert!(matches!(none, CaError::NoName) && std::fs::read_dir(dir.path().join("empty")).is_err());
    }

    #[test]
    fn what_was_written_is_said_with_its_end() {
        let names = vec!["collector.example".to_owned(), "127.0.0.1".to_owned()];
        let written = Written { out: "certs".into(), names, not_after: 1_800_000_000_000, with_ca: false };
        insta::assert_snapshot!(format!("{written}\n\n{}", Written { with_ca: true, ..written.clone() }));
    }
}
