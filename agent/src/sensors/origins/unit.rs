//! A systemd service as its files describe it: the unit, its drop-ins, the environment files they name.
//!
//! Only what can name flags is read: `ExecStart=`, `Environment=`, `EnvironmentFile=`. Must not know the kubelet.

use std::collections::BTreeMap;

use holdfast_checks::facts::{FlagOrigin, FlagOriginKind, Reason, Skipped};

use super::words;
use crate::host::Root;

/// Where units and their drop-ins lie; the first counts most.
pub(in crate::sensors) const DIRECTORIES: [&str; 6] = [
    "/run/systemd/transient",
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
/// More files than any unit has.
const MAX_FILES: usize = 64;

/// Places that give the unit's process flags, weakest first.
pub(super) fn origins(root: &Root, unit: &str, skipped: &mut Vec<Skipped>) -> Vec<FlagOrigin> {
    // `name@instance.service` is described by `name@.service`.
    let template = unit.split_once('@').map(|(name, _)| format!("{name}@.service"));
    let names: Vec<&str> = std::iter::once(unit).chain(template.as_deref()).collect();
    let mut command: Vec<FlagOrigin> = Vec::new();
    let mut found: Vec<FlagOrigin> = Vec::new();
    for path in files(root, &names, skipped) {
        let text = match root.read_text(&path) {
            Ok(text) => text,
            Err(error) => {
                // `/dev/null` in place of a unit switches it off.
                skipped.push(error.skipped(path));
                continue;
            }
        };
        for (key, value) in assignments(&text) {
            let origin = |flags| FlagOrigin { place: path.clone(), kind: FlagOriginKind::Unit, flags };
            match key {
                "ExecStart" if value.is_empty() => command.clear(),
                "ExecStart" => command.push(origin(words(&value))),
                "Environment" => {
                    let values = words(&value).into_iter().filter_map(|word| word.split_once('=').map(|(_, value)| words(value)));
                    found.push(origin(values.flatten().collect()));
                }
                "EnvironmentFile" => found.extend(environment_file(root, &value, skipped)),
                _ => {}
            }
        }
    }
    command.extend(found);
    command
}

/// The unit's own file, then its drop-ins in the order of their names. A name in a stronger directory hides it in a weaker one.
fn files(root: &Root, names: &[&str], skipped: &mut Vec<Skipped>) -> Vec<String> {
    let own = names.iter().find_map(|name| {
        let paths = DIRECTORIES.iter().map(|directory| format!("{directory}/{name}"));
        paths.into_iter().find(|path| root.stamp(path).is_ok())
    });
    let mut drop_ins: BTreeMap<String, String> = BTreeMap::new();
    for name in names {
        for directory in DIRECTORIES {
            let directory = format!("{directory}/{name}.d");
            match root.list(&directory) {
                Ok(entries) => {
                    let names = entries.into_iter().map(|entry| entry.name).filter(|name| name.strip_suffix(".conf").is_some());
                    for name in names.take(MAX_FILES) {
                        let path = format!("{directory}/{name}");
                        drop_ins.entry(name).or_insert(path);
                    }
                }
                Err(error) if error.is_absent() => {}
                Err(error) => skipped.push(error.skipped(directory)),
            }
        }
    }
    own.into_iter().chain(drop_ins.into_values()).take(MAX_FILES).collect()
}

/// The assignments of `[Service]`, lines that go on joined.
fn assignments(text: &str) -> Vec<(&str, String)> {
    let mut found: Vec<(&str, String)> = Vec::new();
    let (mut in_service, mut goes_on) = (false, false);
    for line in text.lines() {
        let line = line.trim();
        if line.starts_with(['#', ';']) {
            continue;
        }
        let (line, more) = line.strip_suffix('\\').map_or((line, false), |line| (line, true));
        if std::mem::replace(&mut goes_on, more) {
            if let Some((_, value)) = found.last_mut().filter(|_| in_service) {
                value.push(' ');
                value.push_str(line);
            }
        } else if line.starts_with('[') {
            in_service = line == "[Service]";
        } else if let Some((key, value)) = line.split_once('=').filter(|_| in_service) {
            found.push((key.trim(), value.trim().to_owned()));
        }
    }
    found
}

/// What a file of variables gives. A leading hyphen says that it need not be there.
fn environment_file(root: &Root, value: &str, skipped: &mut Vec<Skipped>) -> Option<FlagOrigin> {
    let path = value.trim_matches('"').trim_start_matches('-');
    if path.contains(['*', '?', '[', '%']) {
        skipped.push(Skipped { what: path.to_owned(), reason: Reason::NotSupported });
        return None;
    }
    match root.read_text(path) {
        Ok(text) => {
            let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';']));
            let values = lines.filter_map(|line| line.split_once('=')).map(|(_, value)| words(value).join(" "));
            let flags = values.flat_map(|value| words(&value)).collect();
            Some(FlagOrigin { place: path.to_owned(), kind: FlagOriginKind::EnvironmentFile, flags })
        }
        Err(error) if error.is_absent() => None,
        Err(error) => {
            skipped.push(error.skipped(path));
            None
        }
    }
}

/// The assignments of a unit, and their words.
#[cfg(feature = "fuzzing")]
pub(in crate::sensors) fn fuzz(text: &str) {
    for (_, value) in assignments(text) {
        drop(words(&value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_read_as_systemd_reads_it() {
        let text = "[Unit]\nEnvironment=no\n[Service]\n# x\nExecStart=/usr/bin/kubelet \\\n  --a=1 \\\n; in between\n  --b\nEnvironment = \"A=--c\" B=d\n[Install]\nExecStart=/no\n";
        let expected = [("ExecStart", "/usr/bin/kubelet    --a=1    --b".to_owned()), ("Environment", "\"A=--c\" B=d".to_owned())];
        let found: Vec<(&str, Vec<String>)> = assignments(text).into_iter().map(|(key, value)| (key, words(&value))).collect();
        let expected: Vec<(&str, Vec<String>)> = expected.into_iter().map(|(key, value)| (key, words(&value))).collect();
        assert_eq!(found, expected);
    }
}
