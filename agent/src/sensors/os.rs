//! `os-release`.

use std::collections::BTreeMap;

use holdfast_checks::facts::{Observed, Os, Source, SourceKind};

use super::now;
use crate::host::Host;

/// Most keys kept, and the longest value: the file is a dozen short lines.
const MAX_FIELDS: usize = 64;
const MAX_VALUE: usize = 256;

pub(super) fn read(host: &Host) -> Observed<Os> {
    let mut path = "/etc/os-release";
    let mut content = host.root.read_text(path);
    if content.as_ref().is_err_and(crate::host::ReadError::is_absent) {
        path = "/usr/lib/os-release";
        content = host.root.read_text(path);
    }
    match content {
        Ok(content) => Observed::known(parse(&content), Source::new(SourceKind::File, path), now()),
        Err(error) => error.observed(),
    }
}

fn parse(content: &str) -> Os {
    let fields: BTreeMap<String, String> = content.lines().filter_map(field).take(MAX_FIELDS).collect();
    let get = |key: &str| fields.get(key).cloned().unwrap_or_default();
    Os {
        id: get("ID").to_lowercase(),
        id_like: get("ID_LIKE").split_ascii_whitespace().map(str::to_owned).collect(),
        version_id: get("VERSION_ID"),
        pretty_name: get("PRETTY_NAME"),
        fields,
    }
}

/// `KEY=value` as a shell would read it: quotes around the value, backslashes inside double quotes.
fn field(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    let (key, value) = line.split_once('=').filter(|(key, _)| !key.starts_with('#') && !key.is_empty())?;
    let single = value.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    let double = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let value = match (single, double) {
        (Some(literal), _) => literal.to_owned(),
        (None, Some(quoted)) => unescape(quoted),
        (None, None) => unescape(value),
    };
    Some((key.to_owned(), value.chars().take(MAX_VALUE).collect()))
}

fn unescape(text: &str) -> String {
    let mut escaped = false;
    text.chars()
        .filter(|character| {
            escaped = *character == '\\' && !escaped;
            !escaped
        })
        .collect()
}

/// An `os-release`.
#[cfg(feature = "fuzzing")]
pub(super) fn fuzz(content: &str) {
    let os = parse(content);
    assert!(os.fields.len() <= MAX_FIELDS && os.fields.values().all(|value| value.chars().count() <= MAX_VALUE));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_comments_and_escapes_are_read_as_a_shell_would() {
        let os =
            parse("# c\nID=Debian\nVERSION_ID=\"13\"\nPRETTY_NAME='Debian GNU/Linux 13'\nX=\"a\\\"b\\\\c\"\nID_LIKE=\"a b\"\nbroken\n");
        assert_eq!((os.id.as_str(), os.version_id.as_str(), os.pretty_name.as_str()), ("debian", "13", "Debian GNU/Linux 13"));
        assert_eq!(os.fields["X"], "a\"b\\c");
        assert_eq!(os.id_like, ["a", "b"]);
    }
}
