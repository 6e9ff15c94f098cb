//! What the agent trusts and what it shows: the CA file, the token file, the certificate.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tonic::metadata::AsciiMetadataValue;

use super::ConnectError;
use crate::identity::Identity;

/// The most of a CA or token file that is read.
const MAX_BYTES: u64 = 256 * 1024;
/// The protocol asked for, and required.
pub(super) const HTTP2: &[u8] = b"h2";

/// Trusts the authorities in `ca`, and shows `identity`. TLS 1.3 alone, unless 1.2 is allowed.
pub(super) fn client_config(ca: &Path, allow_tls12: bool, identity: Option<&Identity>) -> Result<Arc<ClientConfig>, ConnectError> {
    let pem = own_file(ca).map_err(|source| ConnectError::CaFile { path: ca.to_owned(), source })?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok) {
        // A bundle may hold one that this build cannot use; the count decides.
        drop(roots.add(certificate));
    }
    if roots.is_empty() {
        return Err(ConnectError::CaEmpty { path: ca.to_owned() });
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions: &[_] = if allow_tls12 { &[&rustls::version::TLS13, &rustls::version::TLS12] } else { &[&rustls::version::TLS13] };
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions);
    let builder = builder.map_err(ConnectError::TlsSettings)?.with_root_certificates(roots);
    let mut config = match identity {
        Some(identity) => builder.with_client_auth_cert(identity.chain(), identity.key()).map_err(ConnectError::TlsSettings)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![HTTP2.to_vec()];
    config.enable_early_data = false;
    // A resumed session would show the old certificate and skip checking the new one.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

pub(super) fn token(path: &Path) -> Result<AsciiMetadataValue, ConnectError> {
    bearer(&plain_token(path)?).ok_or_else(|| ConnectError::TokenUnusable { path: path.to_owned() })
}

/// The token itself, which is one that can be shown.
pub(super) fn plain_token(path: &Path) -> Result<String, ConnectError> {
    let bytes = own_file(path).map_err(|source| ConnectError::TokenFile { path: path.to_owned(), source })?;
    let text = String::from_utf8(bytes).unwrap_or_default();
    let usable = bearer(&text).is_some();
    if usable { Ok(text.trim().to_owned()) } else { Err(ConnectError::TokenUnusable { path: path.to_owned() }) }
}

/// A token as it is shown.
pub(super) fn bearer(token: &str) -> Option<AsciiMetadataValue> {
    let token = token.trim();
    if token.is_empty() {
        return None;
    }
    let mut value = AsciiMetadataValue::try_from(format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// One of the agent's own files, capped. Never one of the host's.
pub(crate) fn own_file(path: &Path) -> io::Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {MAX_BYTES} bytes")));
    }
    Ok(bytes)
}
