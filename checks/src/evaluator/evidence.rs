//! Evidence: the facts a verdict rests on, with their source and time.

use super::judge::Bench;
use super::tree::{Tree, source_of};
use crate::entries::Evidence;
use crate::facts::{Source, SourceKind};

/// The evidence at `path` (`it.settings.port`, `kernel.lockdown`), with `it` standing at `at`.
///
/// `None` when the path leads nowhere, as it does under something unavailable that is itself not on the path.
pub(super) fn evidence_of(bench: &Bench<'_>, path: &str, at: Option<&str>) -> Option<Evidence> {
    let absolute = match (path.strip_prefix("it"), at) {
        (Some(rest), Some(at)) => format!("{at}{rest}"),
        (Some(_), None) => return None,
        (None, _) => path.to_owned(),
    };
    let mut source = Source::new(SourceKind::Derived, "");
    let mut read_at = 0;
    // Walk down, so that the nearest observation on the way gives source and time.
    let mut walked = String::new();
    for part in absolute.split('.') {
        if !walked.is_empty() {
            walked.push('.');
        }
        walked.push_str(part);
        let outer = walked.split('[').next().unwrap_or_default();
        for step in [outer, walked.as_str()] {
            match bench.at(step)? {
                Tree::Known(_, from, at) => (source, read_at) = (from.clone(), *at),
                Tree::Unavailable(why) => {
                    return Some(Evidence {
                        path: shown(&absolute),
                        value: None,
                        source: format!("{}: {}", why.reason.name(), why.detail),
                        at: 0,
                    });
                }
                _ => {}
            }
        }
    }
    let tree = bench.at(&absolute)?;
    // An effective setting carries the source that decided it.
    let (value, source) = match (tree.member("value"), tree.member("source")) {
        (Some(value), Some(decided)) => (value.to_json(), source_of(decided).unwrap_or(source)),
        _ => (tree.to_json(), source),
    };
    Some(Evidence { path: shown(&absolute), value: Some(value), source: source.to_string(), at: read_at })
}

/// A path without list positions, which are not stable.
fn shown(path: &str) -> String {
    path.split('.').map(|part| part.split('[').next().unwrap_or_default()).collect::<Vec<_>>().join(".")
}
