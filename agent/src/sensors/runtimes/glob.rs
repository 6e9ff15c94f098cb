//! Paths that match a pattern, as Go's `filepath.Glob` finds them: wildcards in any name, results in order. Must not know whose.

use holdfast_checks::facts::{Reason, Skipped};

use crate::host::Root;

/// More files than anybody imports.
const MAX_MATCHES: usize = 256;
/// More names than a pattern may have with wildcards in them.
const MAX_WILD: usize = 4;

/// The paths below `root` that match `pattern`, and what could not be looked at.
pub(super) fn glob(root: &Root, pattern: &str) -> (Vec<String>, Vec<Skipped>) {
    let parts: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty()).collect();
    let wild = parts.iter().filter(|part| part.contains(['*', '?'])).count();
    if pattern.contains(['[', '\\']) || wild > MAX_WILD {
        return (Vec::new(), vec![Skipped { what: pattern.to_owned(), reason: Reason::NotSupported }]);
    }
    let (mut found, mut skipped) = (vec![String::new()], Vec::new());
    for part in parts {
        let mut next = Vec::new();
        for directory in found {
            if !part.contains(['*', '?']) {
                next.push(format!("{directory}/{part}"));
                continue;
            }
            let place = if directory.is_empty() { "/" } else { &directory };
            match root.list(place) {
                Ok(entries) => {
                    let names = entries.into_iter().map(|entry| entry.name).filter(|name| matches(part.as_bytes(), name.as_bytes()));
                    next.extend(names.map(|name| format!("{directory}/{name}")));
                }
                // A pattern is about what is there.
                Err(error) if error.is_absent() => {}
                Err(error) => skipped.push(error.skipped(place.to_owned())),
            }
            if next.len() > MAX_MATCHES {
                next.truncate(MAX_MATCHES);
                skipped.push(Skipped { what: format!("more files that match {pattern}"), reason: Reason::TooLarge });
                break;
            }
        }
        found = next;
    }
    // Where the last name is a plain one, nobody has looked yet whether it is there.
    found.retain(|path| root.metadata(path).map_or_else(|error| !error.is_absent(), |_| true));
    found.sort();
    (found, skipped)
}

/// `*` is any text without a slash, `?` any one byte.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = name.get(n) {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(wanted) if wanted == b"?".first().unwrap_or(&0) || wanted == byte => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    n = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).is_none_or(|rest| rest.iter().all(|byte| *byte == b'*'))
}

#[cfg(test)]
mod tests {
    use super::matches;
    use rstest::rstest;

    #[rstest]
    #[case("*.toml", "a.toml", true)]
    #[case("*.toml", ".toml", true)]
    #[case("*.toml", "a.toml.bak", false)]
    #[case("runtime_*", "runtime_", true)]
    #[case("a?c", "abc", true)]
    #[case("a?c", "ac", false)]
    #[case("*a*b*", "xxaxxbxx", true)]
    #[case("*a*b*", "xxbxxaxx", false)]
    #[case("", "", true)]
    fn wildcards(#[case] pattern: &str, #[case] name: &str, #[case] expected: bool) {
        assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected);
    }

    #[test]
    fn many_stars_do_not_take_for_ever() {
        assert!(!matches("*a".repeat(100).as_bytes(), "b".repeat(10_000).as_bytes()));
    }
}
