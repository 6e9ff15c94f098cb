//! The patterns of `Include`, here and in other daemons' configuration: `*` and `?` in any part of a path.

use holdfast_checks::facts::{Reason, Unavailable};

use crate::host::Root;

/// More files than these are not expanded.
const MAX: usize = 256;

/// The paths that match, in order. What is not there matches nothing.
pub(in crate::sensors) fn expand(root: &Root, pattern: &str) -> Result<Vec<String>, Unavailable> {
    if pattern.contains(['[', '\\']) {
        return Err(Unavailable::new(Reason::NotSupported, format!("{pattern}: this kind of pattern is not expanded")));
    }
    let mut paths = vec![String::new()];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        let mut next = Vec::new();
        for path in paths {
            if part.contains(['*', '?']) {
                let directory = if path.is_empty() { "/" } else { &path };
                let entries = match root.list(directory) {
                    Ok(entries) => entries,
                    Err(error) if error.is_absent() => continue,
                    Err(error) => return Err(error.unavailable()),
                };
                let names = entries.into_iter().map(|entry| entry.name);
                next.extend(names.filter(|name| matches(part, name)).map(|name| format!("{path}/{name}")));
            } else {
                next.push(format!("{path}/{part}"));
            }
            if next.len() > MAX {
                return Err(Unavailable::new(Reason::TooLarge, format!("{pattern}: more than {MAX} files match")));
            }
        }
        paths = next;
    }
    Ok(paths)
}

/// Does `name` match; a dot at its beginning is matched by a dot alone.
fn matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut here) = (0, 0);
    // Where the last star stands and how much of the name it takes so far.
    let mut star: Option<(usize, usize)> = None;
    while let Some(character) = name.get(here) {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, here));
                at += 1;
            }
            Some(wanted) if *wanted == '?' || wanted == character => {
                at += 1;
                here += 1;
            }
            _ => {
                let Some((place, taken)) = star else { return false };
                star = Some((place, taken + 1));
                at = place + 1;
                here = taken + 1;
            }
        }
    }
    pattern.iter().skip(at).all(|character| *character == '*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("*.conf", "50-cloud.conf", true)]
    #[case("*.conf", ".hidden.conf", false)]
    #[case(".*", ".hidden", true)]
    #[case("*.conf", "a.conf.bak", false)]
    #[case("a?c*", "abcd", true)]
    #[case("a*b*c", "axxbyyc", true)]
    #[case("a*b*c", "axxbyy", false)]
    #[case("*", "", true)]
    fn stars_and_question_marks(#[case] pattern: &str, #[case] name: &str, #[case] expected: bool) {
        assert_eq!(matches(pattern, name), expected);
    }
}
