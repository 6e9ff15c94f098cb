//! X.509 certificates: those in files and kubeconfigs, and those a socket served.

use serde::{Deserialize, Serialize};

use super::Observed;

/// One certificate in a file of this node. A bundle gives several.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CertificateFact {
    /// `certificate:` and the path; `#<position>` behind it for all but the first of a bundle, `#<user>` for a kubeconfig's user.
    pub subject: String,
    /// The file it was read from.
    pub path: String,
    /// The file's role, see [`super::FileFact::role`].
    pub role: String,
    /// Name of the kubeconfig's user it is the client certificate of; empty elsewhere.
    pub user: String,
    /// The certificate, or why it is not known. The private key beside it is never read.
    pub certificate: Observed<Certificate>,
    /// The path of the file of this node with the authority whose key signed it; its own where it signed itself; empty when none was found.
    pub issued_by: String,
    /// Derived with today's date: whole days until it expires, negative afterwards. Unavailable on the agent's stream, where no date is judged.
    pub days_left: Observed<i64>,
}

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Whom it names, as text: `O=system:nodes, CN=system:node:n1`.
    pub name: String,
    /// The common name; empty when there is none.
    pub common_name: String,
    /// Organisations: to Kubernetes, groups.
    pub organizations: Vec<String>,
    /// Who issued it, as text.
    pub issuer: String,
    /// Its own key signed it.
    pub self_signed: bool,
    /// May issue others (`basicConstraints` CA).
    pub authority: bool,
    /// Valid from: Unix seconds.
    pub not_before: i64,
    /// Valid until: Unix seconds.
    pub not_after: i64,
    /// How long it is valid in all, in whole days.
    pub lifetime_days: i64,
    /// `rsa`, `ec`, `ed25519`; the algorithm's object identifier where none of these.
    pub key: String,
    /// The key's size in bits; 0 where that says nothing.
    pub key_bits: i64,
    /// The signature algorithm by its usual name: `sha256WithRSAEncryption`.
    pub signature: String,
    /// Subject alternative names: host names and addresses.
    pub names: Vec<String>,
    /// SHA-256 of the whole certificate, hexadecimal.
    pub fingerprint: String,
    /// SHA-256 of its public key (`SubjectPublicKeyInfo`), hexadecimal: the same for a renewed certificate of one key.
    pub key_fingerprint: String,
}
