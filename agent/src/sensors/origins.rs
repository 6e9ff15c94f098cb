//! Where a kubelet's flags were written down: systemd units and the files they read, its environment, the configuration of a
//! program it is inside of.
//!
//! Evidence only: what counts is the command line of the process. The one exception is a file of flags that the command line
//! names and the program parses in its place ([`flags_file`], MicroK8s). Of the environment only `KUBELET_*` is looked at, of
//! all these places only words that are flags are kept, and those redacted. Must not know what a flag means.

pub(super) mod unit;

use holdfast_checks::derive::last_flag;
use holdfast_checks::facts::{FlagOrigin, FlagOriginKind, Listing, Observed, Skipped, Source, SourceKind, Unavailable};
use serde_json::Value;

pub(super) use unit::DIRECTORIES as UNIT_DIRECTORIES;

use super::processes::{Role, Seen};
use super::{config, now, redact};
use crate::host::{Host, ReadError, Root};

/// More places than any kubelet has.
const MAX_ORIGINS: usize = 64;
/// Variables of the process that may name flags.
const VARIABLES: &str = "KUBELET_";

/// A file of flags that a command line names, one argument on each line.
pub(super) struct FlagsFile {
    pub(super) path: String,
    /// As a command line: `kubelet` first.
    pub(super) content: Result<Vec<String>, Unavailable>,
}

/// The file with the kubelet's flags, where `role` takes them from one: MicroK8s' kubelite.
pub(super) fn flags_file(host: &Host, seen: &Seen, role: Role) -> Option<FlagsFile> {
    if role.flavour != "kubelite" {
        return None;
    }
    let path = last_flag(&seen.argv, "kubelet-args-file").filter(|path| !path.is_empty())?;
    let read = config::with_root(host, seen, |root, cwd| -> Result<(String, Vec<String>), Unavailable> {
        let path = config::resolved(path, cwd)?;
        let text = config::text(host, root, seen, &path)?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let argv = std::iter::once("kubelet".to_owned()).chain(lines.map(|line| expanded(line, &path))).collect();
        Ok((path, argv))
    });
    let read = read.unwrap_or_else(|error| Err(error.unavailable()));
    Some(match read {
        Ok((path, argv)) => FlagsFile { path, content: Ok(argv) },
        Err(why) => FlagsFile { path: path.to_owned(), content: Err(why) },
    })
}

/// The variables of a snap in a line, by the place of the file: `/var/snap/<name>/<revision>/args/kubelet`. kubelite has them
/// replaced when it reads the file.
fn expanded(line: &str, path: &str) -> String {
    let mut parts = path.strip_prefix("/var/snap/").unwrap_or_default().split('/');
    let (Some(name), Some(revision)) = (parts.next().filter(|name| !name.is_empty()), parts.next()) else { return line.to_owned() };
    // The longer names first: `$SNAP` begins them all.
    let values = [
        ("SNAP_COMMON", format!("/var/snap/{name}/common")),
        ("SNAP_DATA", format!("/var/snap/{name}/{revision}")),
        ("SNAP_REVISION", revision.to_owned()),
        ("SNAP", format!("/snap/{name}/{revision}")),
    ];
    let mut line = line.to_owned();
    for (variable, value) in values {
        line = line.replace(&format!("${{{variable}}}"), &value).replace(&format!("${variable}"), &value);
    }
    line
}

/// Every place that names flags of the kubelet, weakest first.
pub(super) fn read(host: &Host, seen: &Seen, role: Role, flags: Option<&FlagsFile>) -> Observed<Listing<FlagOrigin>> {
    let mut found = Origins { listing: Listing::complete(Vec::new()) };
    let units = config::with_root(host, seen, |root, _| {
        if seen.unit.strip_suffix(".service").is_some() {
            for origin in unit::origins(root, &seen.unit, &mut found.listing.skipped) {
                found.add(origin);
            }
        }
        match role.flavour {
            "k3s" | "rke2" => found.of_rancher(root, role.flavour, &seen.argv),
            _ => {}
        }
    });
    if let Err(error) = units {
        return error.observed();
    }
    match flags {
        Some(FlagsFile { path, content: Ok(argv) }) => {
            let flags = argv.iter().skip(1).cloned().collect();
            found.add(FlagOrigin { place: path.clone(), kind: FlagOriginKind::File, flags });
        }
        Some(FlagsFile { path, content: Err(why) }) => found.skip(path, why),
        None => {}
    }
    match host.proc.process(seen.fact.pid).and_then(|process| process.read("environ")) {
        Ok(environment) => found.of_environment(&String::from_utf8_lossy(&environment)),
        // A recording has none, and says nothing by that.
        Err(error) if error.is_absent() && !host.live() => {}
        Err(error) => found.listing.skipped.push(error.skipped("the environment of the process")),
    }
    Observed::known(found.listing, Source::new(SourceKind::Process, "unit and environment"), now())
}

struct Origins {
    listing: Listing<FlagOrigin>,
}

impl Origins {
    /// Keeps a place that names flags. They are redacted here, and nowhere earlier.
    fn add(&mut self, origin: FlagOrigin) {
        let flags = joined(&redact::arguments(&origin.flags));
        if !flags.is_empty() && self.listing.items.len() < MAX_ORIGINS {
            self.listing.items.push(FlagOrigin { flags, ..origin });
        }
    }

    fn skip(&mut self, place: &str, why: &Unavailable) {
        self.listing.skipped.push(Skipped { what: place.to_owned(), reason: why.reason });
    }

    fn of_environment(&mut self, environment: &str) {
        let variables = environment.split('\0').filter_map(|variable| variable.split_once('='));
        for (name, value) in variables.filter(|(name, _)| name.starts_with(VARIABLES)) {
            let flags = words(value);
            self.add(FlagOrigin { place: name.to_owned(), kind: FlagOriginKind::Environment, flags });
        }
    }

    /// `kubelet-arg` in the configuration files of k3s and RKE2, in the order they are read.
    fn of_rancher(&mut self, root: &Root, flavour: &str, argv: &[String]) {
        let usual = format!("/etc/rancher/{flavour}/config.yaml");
        let given = (flavour == "k3s").then(|| last_flag(argv, "config")).flatten().filter(|path| path.starts_with('/'));
        let main = given.map_or(usual, str::to_owned);
        let directory = format!("{main}.d");
        let mut paths = vec![main];
        match root.list(&directory) {
            Ok(entries) => {
                let names = entries.into_iter().map(|entry| entry.name);
                let documents = names.filter(|name| name.strip_suffix(".yaml").or_else(|| name.strip_suffix(".yml")).is_some());
                paths.extend(documents.take(MAX_ORIGINS).map(|name| format!("{directory}/{name}")));
            }
            Err(error) if error.is_absent() => {}
            Err(error) => self.listing.skipped.push(error.skipped(directory)),
        }
        for path in paths {
            match root.read_text(&path).map(|text| config::parse(&text)) {
                Ok(Ok(document)) => {
                    let flags = ["kubelet-arg", "kubelet-arg+"].iter().filter_map(|key| document.get(*key)).flat_map(arguments).collect();
                    self.add(FlagOrigin { place: path, kind: FlagOriginKind::File, flags });
                }
                Ok(Err(_)) => self.listing.skipped.push(ReadError::content(&path, "YAML").skipped(path.as_str())),
                Err(error) if error.is_absent() => {}
                Err(error) => self.listing.skipped.push(error.skipped(path)),
            }
        }
    }
}

/// `max-pods=20` or a list of such, as flags.
fn arguments(value: &Value) -> Vec<String> {
    let flag = |text: &str| format!("--{}", text.trim_start_matches('-'));
    match value {
        Value::String(text) => vec![flag(text)],
        Value::Array(items) => items.iter().filter_map(Value::as_str).map(flag).collect(),
        _ => Vec::new(),
    }
}

/// Words as a shell or systemd splits them: at spaces outside quotes, which go.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut begun, mut quote) = (String::new(), false, None);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, quote) {
            ('\\', None | Some('"')) => word.extend(characters.next()),
            (mark, Some(open)) if mark == open => quote = None,
            ('\'' | '"', None) => quote = Some(character),
            (space, None) if space.is_whitespace() => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
                continue;
            }
            _ => word.push(character),
        }
        begun = true;
    }
    if begun {
        words.push(word);
    }
    words
}

/// The flags among words, each with the value that stands behind it as a word of its own.
fn joined(words: &[String]) -> Vec<String> {
    let mut flags: Vec<String> = Vec::new();
    let mut takes = false;
    for word in words {
        if word.starts_with("--") && word.len() > 2 {
            takes = !word.contains('=');
            flags.push(word.clone());
        } else if std::mem::take(&mut takes)
            && !word.starts_with(['-', '$'])
            && let Some(last) = flags.last_mut()
        {
            last.push(' ');
            last.push_str(word);
        }
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_outside_quotes() {
        assert_eq!(words(r#" a "b c"  'd e'f "" g\ h "#), ["a", "b c", "d ef", "", "g h"]);
        assert_eq!(words("\"open"), ["open"]);
        assert!(words("  ").is_empty());
    }

    #[test]
    fn only_flags_are_kept_with_their_values() {
        let given = ["/usr/bin/kubelet", "$ARGS", "--config", "/etc/k", "--v=2", "stray", "--a", "--b", "$C"].map(str::to_owned);
        assert_eq!(joined(&given), ["--config /etc/k", "--v=2", "--a", "--b"]);
    }

    #[test]
    fn variables_of_a_snap_follow_from_where_the_file_lies() {
        let path = "/var/snap/microk8s/8612/args/kubelet";
        assert_eq!(expanded("--root-dir=${SNAP_COMMON}/var/lib/kubelet", path), "--root-dir=/var/snap/microk8s/common/var/lib/kubelet");
        assert_eq!(expanded("--client-ca-file=$SNAP_DATA/certs/ca.crt", path), "--client-ca-file=/var/snap/microk8s/8612/certs/ca.crt");
        assert_eq!(expanded("--x=$SNAP/y", "/etc/kubelet"), "--x=$SNAP/y");
    }
}
