//! Configuration documents a component names on its command line, read through the component's own root.

use holdfast_checks::derive::last_flag;
use holdfast_checks::facts::{
    ConfigDocument, DocumentKind, Listing, Observed, Placement, Reason, Skipped, Source, SourceKind, Unavailable,
};
use serde_json::Value;
use serde_saphyr::options::DuplicateKeyPolicy;

use super::processes::Seen;
use super::programs::inside;
use super::{now, redact};
use crate::host::{Host, NodeKind, ReadError, Root};

/// Drop-in files are small and few; these bounds are far above what anyone writes.
const MAX_DROP_INS: usize = 256;
const MAX_DEPTH: usize = 16;
/// Bytes of all documents of one process, which stay in memory as facts, a multiple of that. A kubelet's have some thousand.
const MAX_TEXT: usize = 2 * 1024 * 1024;
/// The same of a process in a container or not root's: anybody may start a kubelet there with as many files as they like.
const MAX_TEXT_OF_OTHERS: usize = 64 * 1024;

/// The value of `--<name>` in a command line: the last one, as the flag parser has it.
pub(super) fn flag<'a>(argv: &'a [String], name: &str) -> Option<&'a str> {
    // etcd takes one hyphen as well as two, and all it is started with are flags with values behind `=`, or next to them.
    let etcd = argv.first().and_then(|program| program.rsplit('/').next()) == Some("etcd");
    let single = |(index, argument): (usize, &'a String)| {
        let rest = argument.strip_prefix('-').filter(|rest| !rest.starts_with('-'))?.strip_prefix(name)?;
        match rest.strip_prefix('=') {
            Some(value) => Some(value),
            None if rest.is_empty() => argv.get(index + 1).map(String::as_str),
            None => None,
        }
    };
    let with_one = || argv.iter().enumerate().rev().find_map(single);
    if etcd { with_one().or_else(|| last_flag(argv, name)) } else { last_flag(argv, name) }
}

/// The flags by which a component is given its documents.
fn main_flags(component: &str) -> &'static [&'static str] {
    match component {
        "etcd" => &["config-file"],
        // Keys in the last one are taken out before it is a fact.
        "kube-apiserver" => &["authentication-config", "authorization-config", "encryption-provider-config"],
        _ => &["config"],
    }
}

/// The documents of a process with the flags `argv`: those it is given by name, then what lies under its `--config-dir`, in the
/// order they are merged.
pub(super) fn documents(host: &Host, seen: &Seen, argv: &[String]) -> Observed<Listing<ConfigDocument>> {
    let source = Source::new(SourceKind::Process, "command line");
    let component = seen.role.map(|role| role.name).unwrap_or_default();
    let given = main_flags(component).iter().filter_map(|name| flag(argv, name));
    let main: Vec<&str> = given.filter(|path| !path.is_empty()).collect();
    let directory = flag(argv, "config-dir").filter(|path| component == "kubelet" && !path.is_empty());
    let mut listing = Listing::complete(Vec::new());
    if main.is_empty() && directory.is_none() {
        return Observed::known(listing, source, now());
    }
    let of_host = seen.fact.uid == 0 && !matches!(seen.fact.placement, Placement::Pod | Placement::Machine);
    let mut spare = if of_host { MAX_TEXT } else { MAX_TEXT_OF_OTHERS };
    let read = with_root(host, seen, |root, cwd| {
        for path in main {
            listing.items.push(match resolved(path, cwd) {
                Ok(path) => document(host, root, seen, &path, DocumentKind::Main, &mut spare),
                Err(why) => ConfigDocument { path: path.to_owned(), kind: DocumentKind::Main, content: Observed::Unavailable(why) },
            });
        }
        if let Some(directory) = directory {
            match resolved(directory, cwd) {
                Ok(path) => Walk { host, root, seen, listing: &mut listing, spare: &mut spare }.start(&path),
                Err(why) => listing.skipped.push(Skipped { what: directory.to_owned(), reason: why.reason }),
            }
        }
        listing
    });
    match read {
        Ok(listing) => Observed::known(listing, source, now()),
        Err(error) => error.observed(),
    }
}

/// Calls `read` with the process's root and working directory (empty where that is not known), and makes sure that it was the
/// same process to the end.
pub(super) fn with_root<T>(host: &Host, seen: &Seen, read: impl FnOnce(&Root, &str) -> T) -> Result<T, ReadError> {
    let process = host.proc.process(seen.fact.pid)?;
    let root = host.proc.root_of(&process)?;
    let cwd = process.link("cwd").map(|link| inside(&process, &link)).unwrap_or_default();
    let result = read(&root, &cwd);
    if seen.still_runs(&process) { Ok(result) } else { Err(ReadError::Absent { path: format!("the process {}", seen.fact.name) }) }
}

/// A path as the process means it.
pub(super) fn absolute(path: &str, cwd: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("{}/{path}", cwd.trim_end_matches('/')) }
}

/// As [`absolute`], or why that cannot be told.
pub(super) fn resolved(path: &str, cwd: &str) -> Result<String, Unavailable> {
    if path.contains(char::REPLACEMENT_CHARACTER) {
        return Err(Unavailable::new(Reason::NotSupported, format!("{path}: a name that is no UTF-8")));
    }
    if cwd.is_empty() && !path.starts_with('/') {
        let detail = format!("{path}: in the working directory of the process, which is not readable: needs CAP_SYS_PTRACE");
        return Err(Unavailable::new(Reason::PermissionDenied, detail));
    }
    Ok(absolute(path, cwd))
}

/// `spare` is what is left for the process's documents, in bytes.
fn document(host: &Host, root: &Root, seen: &Seen, path: &str, kind: DocumentKind, spare: &mut usize) -> ConfigDocument {
    let source_kind = match kind {
        DocumentKind::Main => SourceKind::File,
        DocumentKind::DropIn => SourceKind::DropIn,
    };
    let fits = |text: String| match spare.checked_sub(text.len()) {
        Some(left) => {
            *spare = left;
            Ok(text)
        }
        None => Err(Unavailable::new(Reason::TooLarge, format!("{path}: the documents of this process are larger than any kubelet's"))),
    };
    let content = match text(host, root, seen, path).and_then(fits) {
        Ok(text) => match parse(&text) {
            Ok(value) => Observed::known(redact::document(value), Source::new(source_kind, path), now()),
            Err(problem) => Observed::unavailable_because(Reason::Malformed, format!("{path}: not YAML: {problem}")),
        },
        Err(why) => Observed::Unavailable(why),
    };
    ConfigDocument { path: path.to_owned(), kind, content }
}

/// The text of a file that a process was told to read, if the process can: the agent's own rights are not lent to whoever
/// starts a program of this name with somebody else's file.
pub(super) fn text(host: &Host, root: &Root, seen: &Seen, path: &str) -> Result<String, Unavailable> {
    let file = root.read_settled(path).map_err(|error| error.unavailable())?;
    let (uid, gid) = (seen.fact.uid, seen.fact.gid);
    let allowed = uid == 0
        || if i64::from(file.uid) == uid {
            file.mode & 0o400 != 0
        } else {
            file.mode & 0o004 != 0 || i64::from(file.gid) == gid && file.mode & 0o040 != 0
        };
    if host.live() && !allowed {
        let detail = format!("{path}: the process runs as uid {uid}, which may not read it");
        return Err(Unavailable::new(Reason::PermissionDenied, detail));
    }
    let malformed = |error: std::string::FromUtf8Error| {
        Unavailable::new(Reason::Malformed, format!("{path}: not UTF-8 at byte {}", error.utf8_error().valid_up_to()))
    };
    String::from_utf8(file.content).map_err(malformed)
}

/// YAML as Kubernetes reads it: the first document, the last of a key given twice, YAML 1.1's words for booleans. JSON is
/// YAML. An empty document is an empty map.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let options = serde_saphyr::options! {
        legacy_octal_numbers: true,
        duplicate_keys: DuplicateKeyPolicy::LastWins,
        // Far above every configuration, far below what takes noticeable time.
        budget: serde_saphyr::budget! {
            max_events: 200_000,
            max_nodes: 100_000,
            max_depth: 64,
            max_anchors: 1_000,
            max_aliases: 1_000,
            max_merge_keys: 1_000,
            max_documents: 16,
            max_recorded_anchor_events: 100_000,
            max_recorded_anchor_bytes: 4 * 1024 * 1024,
            max_total_scalar_bytes: 4 * 1024 * 1024,
        },
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match serde_saphyr::from_multiple_with_options::<Value>(text, options).map(|documents| documents.into_iter().next()) {
        Ok(None | Some(Value::Null)) => Ok(Value::Object(serde_json::Map::new())),
        Ok(Some(value @ Value::Object(_))) => Ok(value),
        Ok(Some(_)) => Err("the document is not a map".to_owned()),
        // The first line says where and what; the lines after it quote the file.
        Err(error) => Err(error.to_string().lines().next().unwrap_or_default().chars().take(200).collect()),
    }
}

/// The drop-ins of a kubelet, as Go's `filepath.WalkDir` goes through them: directories in the order of their names among the
/// files, links to directories not entered, links to files read.
struct Walk<'a> {
    host: &'a Host,
    root: &'a Root,
    seen: &'a Seen,
    listing: &'a mut Listing<ConfigDocument>,
    spare: &'a mut usize,
}

impl Walk<'_> {
    /// A directory that is itself a link holds nothing for the kubelet, unless the path ends with a slash.
    fn start(&mut self, directory: &str) {
        match self.root.link_at(directory) {
            Ok(Some(_)) if !directory.ends_with('/') => {}
            Ok(_) => self.enter(directory, 0),
            Err(error) => self.listing.skipped.push(error.skipped(directory)),
        }
    }

    fn enter(&mut self, directory: &str, depth: usize) {
        let entries = match self.root.list(directory) {
            Ok(entries) => entries,
            Err(error) => return self.listing.skipped.push(error.skipped(directory)),
        };
        for entry in entries {
            // It is incomplete already; whoever makes more of it does not make it longer.
            if self.listing.skipped.len() > MAX_DROP_INS {
                return;
            }
            let path = format!("{}/{}", directory.trim_end_matches('/'), entry.name);
            // Some file systems do not say what an entry is.
            let unlisted = || self.root.metadata(&path).is_ok_and(|there| there.kind == NodeKind::Directory && there.target.is_none());
            let is_directory = entry.kind.map_or_else(unlisted, |kind| kind == NodeKind::Directory);
            let too_many = Skipped { what: path.clone(), reason: Reason::TooLarge };
            if is_directory && depth == MAX_DEPTH {
                self.listing.skipped.push(too_many);
            } else if is_directory {
                self.enter(&path, depth + 1);
            } else if entry.name.strip_suffix(".conf").is_some() {
                if self.listing.items.len() > MAX_DROP_INS {
                    return self.listing.skipped.push(too_many);
                }
                self.listing.items.push(document(self.host, self.root, self.seen, &path, DocumentKind::DropIn, self.spare));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_a_repeated_flag_counts() {
        let argv = ["kubelet", "--config=/a", "--config-dir", "/d", "--config", "/b"].map(str::to_owned);
        assert_eq!(flag(&argv, "config"), Some("/b"));
        assert_eq!(flag(&argv, "config-dir"), Some("/d"));
        assert_eq!(flag(&argv, "conf"), None);
    }

    #[test]
    fn flags_are_read_as_the_components_read_them() {
        let argv = ["kubelet", "--config_dir=/u", "--config", "--odd", "--", "--config=/no"].map(str::to_owned);
        assert_eq!(flag(&argv, "config-dir"), Some("/u"), "an underscore is a hyphen");
        assert_eq!(flag(&argv, "config"), Some("--odd"), "a value may look like a flag, and nothing counts behind the end");
        let argv = ["/usr/bin/etcd", "-config-file=/a"].map(str::to_owned);
        assert_eq!(flag(&argv, "config-file"), Some("/a"), "etcd takes one hyphen");
        let argv = ["kubelet", "-config=/a"].map(str::to_owned);
        assert_eq!(flag(&argv, "config"), None);
    }

    #[test]
    fn yaml_is_read_as_kubernetes_reads_it() {
        let json = |text: &str| parse(text);
        assert_eq!(json("{\"a\": 1}"), Ok(serde_json::json!({"a": 1})));
        assert_eq!(json(""), Ok(serde_json::json!({})));
        assert_eq!(json("\u{feff}a: 1\n"), Ok(serde_json::json!({"a": 1})));
        assert_eq!(json("a: 1\n---\na: 2\n"), Ok(serde_json::json!({"a": 1})), "the first document");
        assert_eq!(json("a: 1\na: 2\n"), Ok(serde_json::json!({"a": 2})), "the last of a key");
        assert_eq!(json("a: 010\n"), Ok(serde_json::json!({"a": 8})));
        assert!(parse("a: [1,").is_err());
        assert!(parse("- a").is_err());
        let words = "a: [yes, Yes, on, y, true]\nb: [no, NO, off, n, False]\nc: ['yes', \"no\", nope]\n";
        let expected = serde_json::json!({
            "a": [true, true, true, true, true],
            "b": [false, false, false, false, false],
            "c": ["yes", "no", "nope"],
        });
        assert_eq!(json(words), Ok(expected), "YAML 1.1's words are booleans to Kubernetes, unless quoted");
        let merged = "x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}\n";
        assert_eq!(json(merged).map(|value| value["y"].clone()), Ok(serde_json::json!({"a": 1, "b": 3})));
    }

    /// The words of a parser are shown, and so must not quote what it read.
    #[test]
    fn what_does_not_parse_is_not_quoted() {
        for text in [
            "staticPodURLHeader: {X: [sup3rsecret}",
            "token: sup3rsecret: x",
            "token: \"sup3rsecret",
            "token: !!int sup3rsecret",
            "token: !!binary sup3r!secret",
            "sup3rsecret",
            "- sup3rsecret",
            "token:\n\tsup3rsecret",
            "a: {sup3rsecret: 1",
            "? [sup3rsecret]\n: 1",
            "? {sup3rsecret: 1}\n: 1",
        ] {
            let problem = parse(text).err().unwrap_or_default();
            assert!(!problem.contains("sup3r"), "{text}: {problem}");
        }
    }
}
