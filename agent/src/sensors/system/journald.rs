//! What journald is told by its files, and whether a journal lies on disk. Defaults are derived.

use holdfast_checks::facts::{Declared, Observed, Reason, Setting, Settings, Source, SourceKind, Unavailable};
use serde_json::Value;

use super::super::now;
use super::ini::{self, Line};
use super::programs::{Cast, Part};
use crate::host::Host;

const ON_DISK: &str = "/var/log/journal";
const FILE: &str = "journald.conf";

/// How a key's value is read.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Word,
    Flag,
    Bytes,
    Seconds,
    Number,
}

const KEYS: [(&str, Kind); 11] = [
    ("Storage", Kind::Word),
    ("Seal", Kind::Flag),
    ("ForwardToSyslog", Kind::Flag),
    ("SystemMaxUse", Kind::Bytes),
    ("SystemKeepFree", Kind::Bytes),
    ("SystemMaxFiles", Kind::Number),
    ("RuntimeMaxUse", Kind::Bytes),
    ("MaxRetentionSec", Kind::Seconds),
    ("RateLimitIntervalSec", Kind::Seconds),
    ("RateLimitBurst", Kind::Number),
    ("MaxLevelStore", Kind::Word),
];

/// Why there is nothing to say of journald.
fn absent(cast: &Cast) -> Option<Unavailable> {
    if cast.runs(Part::Journal, "systemd-journald") {
        return None;
    }
    Some(cast.hidden().unwrap_or_else(|| Unavailable::new(Reason::NotPresent, "systemd-journald does not run here")))
}

/// What the files say; keys that they leave out are missing.
pub(super) fn settings(host: &Host, cast: &Cast) -> Observed<Settings> {
    if let Some(why) = absent(cast) {
        return Observed::Unavailable(why);
    }
    let (lines, unread) = ini::read(host, FILE, "Journal");
    let settings = KEYS.into_iter().filter_map(|(key, kind)| {
        let setting = match &unread {
            Some(why) => Observed::Unavailable(why.clone()),
            None => setting(&lines, key, kind)?,
        };
        Some((key.to_owned(), setting))
    });
    Observed::known(settings.collect(), Source::new(SourceKind::File, format!("/etc/systemd/{FILE}")), now())
}

/// The last line with the key decides; an empty value stands for the default again, and one that is none is passed over.
fn setting(lines: &[Line], key: &str, kind: Kind) -> Option<Observed<Setting>> {
    let (mut declared, mut decided): (Vec<Declared>, Option<Declared>) = (Vec::new(), None);
    for line in lines.iter().filter(|line| line.key == key) {
        if line.value.is_empty() {
            decided = None;
        } else if let Some(value) = value(kind, &line.value) {
            let said = Declared { value, source: line.source.clone() };
            declared.push(said.clone());
            decided = Some(said);
        }
    }
    let Declared { value, source } = decided?;
    Some(Observed::known(Setting { value, source: source.clone(), declared }, source, now()))
}

fn value(kind: Kind, text: &str) -> Option<Value> {
    match kind {
        Kind::Word if text.len() <= 32 => Some(text.to_ascii_lowercase().into()),
        Kind::Word => None,
        Kind::Flag => ini::boolean(text).map(Value::from),
        Kind::Bytes => ini::bytes(text).map(Value::from),
        Kind::Seconds => ini::seconds(text).map(Value::from),
        Kind::Number => text.parse::<i64>().ok().map(Value::from),
    }
}

/// Is the directory there that journald writes to when it keeps its journal. Whether it still does is derived.
pub(super) fn on_disk(host: &Host, cast: &Cast) -> Observed<bool> {
    if let Some(why) = absent(cast) {
        return Observed::Unavailable(why);
    }
    match host.root.list(ON_DISK) {
        Ok(_) => Observed::known(true, Source::new(SourceKind::File, ON_DISK), now()),
        // That it is not there is seen only where its parent is.
        Err(error) if error.is_absent() && host.root.list("/var/log").is_ok() => {
            Observed::known(false, Source::new(SourceKind::File, ON_DISK), now())
        }
        Err(error) => error.observed(),
    }
}
