//! The certificates in the files that the files sensor found: PEM files, bundles, and those that kubeconfigs give their users.
//!
//! Of a file with a key only its certificates are taken; nothing of a key is kept, not even until the end of the pass. Must not
//! know what a certificate is good for, nor today's date.

mod kubeconfig;
mod pem;

use std::collections::{BTreeMap, BTreeSet};

use holdfast_checks::facts::{
    Certificate, CertificateFact, FileFact, FileKind, Listing, NodeFacts, Observed, Reason, Skipped, Source, SourceKind, Unavailable,
};

use super::files::{CURRENT, Found, Named, Tree, found};
use super::now;
use crate::host::{Host, ReadError};
use crate::x509;

/// The most certificates of one file. Bundles of every public authority have fewer than two hundred.
const MAX_OF_FILE: usize = 256;
/// The most certificates of one node.
const MAX_OF_NODE: usize = 1000;
/// Authorities of one name that are tried: whoever writes a bundle could give all in it the same, and a signature takes a while.
const MAX_TRIED: usize = 16;

/// A file to look into.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    path: String,
    role: String,
}

/// The files of `facts` that may have certificates, and what of them is missing already.
///
/// # Errors
/// Why the files are not known.
pub(super) fn wanted(facts: &NodeFacts) -> Result<Listing<Wanted>, Unavailable> {
    let files = match &facts.files {
        Observed::Known { value, .. } => value,
        Observed::Unavailable(why) => return Err(why.clone()),
    };
    let has = |file: &&FileFact| match file.role.as_str() {
        "pki_certificate" | "kubelet_ca" => file.kind != FileKind::Directory,
        "pki_key" => file.path.ends_with(CURRENT),
        role => is_kubeconfig(role),
    };
    let items = files.items.iter().filter(has).map(|file| Wanted { path: file.path.clone(), role: file.role.clone() }).collect();
    Ok(Listing { items, skipped: files.skipped.clone() })
}

fn is_kubeconfig(role: &str) -> bool {
    matches!(role, "kubelet_kubeconfig" | "kubeconfig" | "kube_proxy_kubeconfig")
}

/// Every certificate of `wanted`, each with the file of the authority that signed it.
pub(super) fn read(host: &Host, wanted: Listing<Wanted>, named: Vec<Named>) -> Observed<Listing<CertificateFact>> {
    let own = Tree::new(host, host.root.clone());
    // What could not be found is skipped by the files sensor.
    let (named, _) = found(host, named);
    let mut shelf = Shelf { items: BTreeMap::new(), skipped: wanted.skipped };
    for Wanted { path, role } in wanted.items {
        let tree = named.iter().find(|named| holds(named, &path)).map_or(&own, |named| &named.tree);
        if is_kubeconfig(&role) { shelf.add_users(tree, &path, &role) } else { shelf.add_file(tree, &path, &role) }
    }
    let place = if host.recording.is_some() { SourceKind::Recorded } else { SourceKind::File };
    Observed::known(shelf.listing(), Source::new(place, "certificates"), now())
}

/// Is `path` what a process named, or in a directory that it named.
fn holds(named: &Found, path: &str) -> bool {
    let directory = named.path.trim_end_matches('/');
    path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.rfind('/') == Some(0))
}

/// A certificate and its fact; `der` is empty where it is not known.
struct Item {
    fact: CertificateFact,
    der: Vec<u8>,
}

#[derive(Default)]
struct Shelf {
    /// By subject.
    items: BTreeMap<String, Item>,
    skipped: Vec<Skipped>,
}

impl Shelf {
    fn add_file(&mut self, tree: &Tree, path: &str, role: &str) {
        let subject = format!("certificate:{path}");
        let blocks = match certificates_of(tree, path) {
            Ok(blocks) => blocks,
            Err(why) => return self.add(subject, path, role, "", Err(why)),
        };
        for (index, block) in blocks.into_iter().enumerate() {
            if index == MAX_OF_FILE {
                return self.skip(format!("further certificates of {path}"));
            }
            let subject = if index == 0 { subject.clone() } else { format!("{subject}#{}", index + 1) };
            self.add(subject, path, role, "", block);
        }
    }

    /// The client certificate of each user of a kubeconfig. One who has none is no matter of certificates.
    fn add_users(&mut self, tree: &Tree, path: &str, role: &str) {
        let whole = format!("certificate:{path}");
        let text = match read_file(tree, path) {
            Ok(text) => text,
            Err(why) => return self.add(whole, path, role, "", Err(why)),
        };
        let users = match kubeconfig::users(&text) {
            Ok(users) => users,
            Err(problem) => {
                let why = Unavailable::new(Reason::Malformed, format!("{path}: not a kubeconfig: {problem}"));
                return self.add(whole, path, role, "", Err(why));
            }
        };
        for (index, user) in users.into_iter().enumerate() {
            if index == MAX_OF_FILE {
                return self.skip(format!("further users of {path}"));
            }
            let subject = format!("{whole}#{}", user.name);
            let (file, blocks) = match user.certificate {
                kubeconfig::Place::Here(text) => {
                    let missing = tree.is_recorded() && text == kubeconfig::LEFT_OUT;
                    let blocks = if missing { Err(left_out(path)) } else { kubeconfig::decoded(&text).and_then(|pem| blocks(path, &pem)) };
                    (
                        path.to_owned(),
                        blocks.map_err(|why| Unavailable { detail: format!("{}, of the user {}", why.detail, user.name), ..why }),
                    )
                }
                kubeconfig::Place::File(file) => {
                    let file = super::config::absolute(&file, path.rsplit_once('/').map_or("", |(parent, _)| parent));
                    let blocks = certificates_of(tree, &file);
                    (file, blocks)
                }
            };
            // Those after the first lead up to the authority.
            let first = blocks.and_then(|blocks| blocks.into_iter().next().unwrap_or_else(|| Err(none_in(&file))));
            self.add(subject, &file, role, &user.name, first);
        }
    }

    fn add(&mut self, subject: String, path: &str, role: &str, user: &str, block: Result<Vec<u8>, Unavailable>) {
        if self.items.len() == MAX_OF_NODE {
            return self.skip("further certificates".to_owned());
        }
        // A recording lacks the content of many files, for one reason: told once, and not for every file and check.
        if let Err(why) = &block
            && why.reason == Reason::NotSupported
        {
            return self.skip_because(why.detail.clone(), why.reason);
        }
        let parsed = block.and_then(|der| match x509::certificate(&der) {
            Ok(certificate) => Ok((certificate, der)),
            Err(error @ x509::CertificateError::TooLarge) => Err(Unavailable::new(Reason::TooLarge, format!("{path}: {error}"))),
            Err(error) => Err(Unavailable::new(Reason::Malformed, format!("{path}: {error}"))),
        });
        let (certificate, der) = match parsed {
            Ok((certificate, der)) => (Observed::known(certificate, Source::new(SourceKind::File, path), now()), der),
            Err(why) => (Observed::Unavailable(why), Vec::new()),
        };
        let fact = CertificateFact {
            subject: subject.clone(),
            path: path.to_owned(),
            role: role.to_owned(),
            user: user.to_owned(),
            certificate,
            issued_by: String::new(),
            days_left: Observed::unavailable_because(Reason::NotSupported, "the node judges no date"),
        };
        self.items.entry(subject).or_insert(Item { fact, der });
    }

    fn skip(&mut self, what: String) {
        self.skip_because(what, Reason::TooLarge);
    }

    fn skip_because(&mut self, what: String, reason: Reason) {
        if self.skipped.iter().all(|skipped| skipped.what != what) {
            self.skipped.push(Skipped { what, reason });
        }
    }

    /// Everything, with who issued what.
    fn listing(self) -> Listing<CertificateFact> {
        let issuers: Vec<String> = self.items.values().map(|item| self.issuer(item)).collect();
        let facts = self.items.into_values().zip(issuers).map(|(item, issued_by)| CertificateFact { issued_by, ..item.fact });
        Listing { items: facts.collect(), skipped: self.skipped }
    }

    /// Where the authority of `item` is. One that opens its file comes before one at the end of somebody's chain.
    fn issuer(&self, item: &Item) -> String {
        let Some(certificate) = item.fact.certificate.value() else { return String::new() };
        if certificate.self_signed {
            return item.fact.path.clone();
        }
        let may_issue = |by: &Certificate| (by.authority || by.self_signed) && by.name == certificate.issuer;
        let mut candidates: Vec<&Item> =
            self.items.values().filter(|by| by.fact.user.is_empty() && by.fact.certificate.value().is_some_and(may_issue)).collect();
        candidates.sort_by_key(|by| by.fact.subject.contains('#'));
        let mut tried: BTreeSet<&[u8]> = BTreeSet::new();
        // The same authority is often in several files.
        candidates.retain(|by| tried.insert(&by.der));
        let found = candidates.into_iter().take(MAX_TRIED).find(|by| x509::signed_by(&item.der, &by.der));
        found.map(|by| by.fact.path.clone()).unwrap_or_default()
    }
}

fn read_file(tree: &Tree, path: &str) -> Result<Vec<u8>, Unavailable> {
    tree.read(path).map_err(|error| match error {
        ReadError::Absent { .. } if tree.is_recorded() => left_out(path),
        error => error.unavailable(),
    })
}

/// The certificates of a file in PEM, and of each that cannot be decoded the reason.
fn certificates_of(tree: &Tree, path: &str) -> Result<Vec<Result<Vec<u8>, Unavailable>>, Unavailable> {
    read_file(tree, path).and_then(|content| blocks(path, &content))
}

fn blocks(path: &str, content: &[u8]) -> Result<Vec<Result<Vec<u8>, Unavailable>>, Unavailable> {
    let malformed = |problem| Unavailable::new(Reason::Malformed, format!("{path}: {problem}"));
    // One more than is taken tells that there are more.
    let blocks: Vec<_> = pem::certificates(content).take(MAX_OF_FILE + 1).map(|block| block.map_err(malformed)).collect();
    if blocks.is_empty() { Err(none_in(path)) } else { Ok(blocks) }
}

/// A PEM file and a kubeconfig, out of the same bytes, and what their certificates say.
#[cfg(feature = "fuzzing")]
pub(super) fn fuzz(content: &[u8]) {
    let read = |content: &[u8]| {
        for der in pem::certificates(content).take(MAX_OF_FILE).flatten() {
            drop(x509::certificate(&der));
        }
    };
    read(content);
    for user in kubeconfig::users(content).unwrap_or_default() {
        if let kubeconfig::Place::Here(data) = user.certificate {
            drop(kubeconfig::decoded(&data).map(|pem| read(&pem)));
        }
    }
}

fn none_in(path: &str) -> Unavailable {
    Unavailable::new(Reason::Malformed, format!("{path}: no certificate in PEM"))
}

fn left_out(path: &str) -> Unavailable {
    Unavailable::new(Reason::NotSupported, format!("{path}, whose content the recording does not hold"))
}
