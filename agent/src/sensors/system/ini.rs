//! systemd's configuration files: a main file and drop-ins, in directories of which the first has the last word.

use std::collections::BTreeMap;

use holdfast_checks::facts::{Source, SourceKind, Unavailable};

use crate::host::{Host, ReadError};

/// The strongest first.
const DIRECTORIES: [&str; 4] = ["/etc/systemd", "/run/systemd", "/usr/local/lib/systemd", "/usr/lib/systemd"];
const MAX_DROP_INS: usize = 128;

/// A line `key=value`, and where it stands. Before the first of them that can hold: weakest first.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) key: String,
    pub(super) value: String,
    pub(super) source: Source,
}

/// What the files of `name` (`journald.conf`) say in `section`, weakest first, and why not all of them were read.
pub(super) fn read(host: &Host, name: &str, section: &str) -> (Vec<Line>, Option<Unavailable>) {
    let (mut lines, mut unread) = (Vec::new(), None);
    let mut take = |path: &str, kind: SourceKind, text: Result<String, ReadError>| match text {
        Ok(text) => {
            lines.extend(parse(&text, section).map(|(key, value)| Line { key, value, source: Source::new(kind, path) }));
            true
        }
        Err(error) if error.is_absent() => false,
        Err(error) => {
            unread.get_or_insert(error.unavailable());
            true
        }
    };
    for directory in DIRECTORIES {
        let path = format!("{directory}/{name}");
        if take(&path, SourceKind::File, host.root.read_text(&path)) {
            break;
        }
    }
    // By name: one of the same name in a stronger directory stands in its place.
    let mut drop_ins: BTreeMap<String, String> = BTreeMap::new();
    for directory in DIRECTORIES.iter().rev() {
        let directory = format!("{directory}/{name}.d");
        match host.root.list(&directory) {
            Ok(entries) => {
                let names = entries.into_iter().map(|entry| entry.name).filter(|name| name.strip_suffix(".conf").is_some());
                drop_ins.extend(names.map(|name| (name.clone(), format!("{directory}/{name}"))));
            }
            Err(error) => {
                take(&directory, SourceKind::DropIn, Err(error));
            }
        }
    }
    for path in drop_ins.into_values().take(MAX_DROP_INS) {
        let text = host.root.read_text(&path);
        // A link to /dev/null switches the drop-in off.
        if !matches!(&text, Err(ReadError::Malformed { .. })) {
            take(&path, SourceKind::DropIn, text);
        }
    }
    (lines, unread)
}

fn parse<'a>(text: &'a str, wanted: &'a str) -> impl Iterator<Item = (String, String)> + 'a {
    let mut here = false;
    text.lines().filter_map(move |line| {
        let line = line.trim();
        if let Some(section) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            here = section == wanted;
            return None;
        }
        let (key, value) = line.split_once('=').filter(|_| here && !line.starts_with(['#', ';']))?;
        Some((key.trim().to_owned(), value.trim().to_owned()))
    })
}

/// systemd's words for booleans.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "yes" | "y" | "true" | "t" | "on" => Some(true),
        "0" | "no" | "n" | "false" | "f" | "off" => Some(false),
        _ => None,
    }
}

/// Bytes: a number with `K`, `M`, `G` or `T` behind it, each 1024 times the one before.
pub(super) fn bytes(text: &str) -> Option<i64> {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(at)?;
    let power = match unit.trim() {
        "" | "B" => 0,
        "K" => 1,
        "M" => 2,
        "G" => 3,
        "T" => 4,
        _ => return None,
    };
    digits.parse::<i64>().ok()?.checked_mul(1024_i64.checked_pow(power)?)
}

/// Whole seconds, rounded up: `30s`, `5min`, `1month 2days`, or seconds alone.
pub(super) fn seconds(text: &str) -> Option<i64> {
    let mut rest = text.trim();
    let mut sum: i64 = 0;
    while !rest.is_empty() {
        let (digits, after) = rest.split_at_checked(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()))?;
        let after = after.trim_start();
        let (unit, after) = after.split_at_checked(after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len()))?;
        let number = digits.parse::<i64>().ok()?;
        let value = match unit {
            "" | "s" | "sec" | "second" | "seconds" => number,
            "us" | "usec" => number.saturating_add(999_999) / 1_000_000,
            "ms" | "msec" => number.saturating_add(999) / 1000,
            "m" | "min" | "minute" | "minutes" => number.checked_mul(60)?,
            "h" | "hr" | "hour" | "hours" => number.checked_mul(3600)?,
            "d" | "day" | "days" => number.checked_mul(86_400)?,
            "w" | "week" | "weeks" => number.checked_mul(604_800)?,
            "M" | "month" | "months" => number.checked_mul(2_629_800)?,
            "y" | "year" | "years" => number.checked_mul(31_557_600)?,
            _ => return None,
        };
        sum = sum.checked_add(value)?;
        rest = after.trim_start();
    }
    (!text.trim().is_empty()).then_some(sum)
}

/// A file, and each of its values as every kind of value.
#[cfg(feature = "fuzzing")]
pub(super) fn fuzz(text: &str) {
    for (_, value) in parse(text, "Journal") {
        std::hint::black_box((boolean(&value), bytes(&value), seconds(&value)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_systemd_reads_them() {
        assert_eq!(
            [bytes("500M"), bytes("1024"), bytes("4G"), bytes("1X"), bytes(""), bytes("-1")],
            [Some(500 << 20), Some(1024), Some(4 << 30), None, None, None]
        );
        assert_eq!(bytes("9223372036854775807T"), None);
        assert_eq!(
            [seconds("30s"), seconds("5min 1"), seconds("0"), seconds("1month"), seconds("500ms"), seconds("x"), seconds("")],
            [Some(30), Some(301), Some(0), Some(2_629_800), Some(1), None, None]
        );
        assert_eq!([boolean("Yes"), boolean("off"), boolean("maybe")], [Some(true), Some(false), None]);
    }

    #[test]
    fn only_the_section_counts_and_comments_do_not() {
        let text = "Storage=none\n[Other]\nStorage=none\n[Journal]\n#Storage=volatile\n Storage = persistent \n;x=y\nbroken\n";
        assert_eq!(parse(text, "Journal").collect::<Vec<_>>(), [("Storage".to_owned(), "persistent".to_owned())]);
    }
}
