//! Texts of alerts: templates with `{placeholders}`, and names from nodes made safe to show.
//!
//! Values are put in once and never read again as a template. Must not know rules or receivers.

use std::collections::BTreeSet;

/// The longest name or evidence line kept, in characters.
const MAX_CHARACTERS: usize = 256;

/// What a template may name.
const PLACEHOLDERS: [&str; 11] =
    ["title", "rule", "severity", "cluster", "namespace", "image", "kernel", "count", "nodes", "node_names", "evidence"];

/// A text with `{placeholders}`, each of a known name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Value(&'static str),
}

impl Template {
    /// Reads a template. `{` always opens a placeholder.
    ///
    /// # Errors
    /// What is wrong, for the person who wrote it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text.trim();
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or("a `{` is not closed")?;
            let known = PLACEHOLDERS.into_iter().find(|known| *known == name);
            let known = known.ok_or_else(|| format!("`{{{}}}` is not one of {}", name.escape_debug(), PLACEHOLDERS.join(", ")))?;
            parts.extend([Part::Text(before.to_owned()), Part::Value(known)]);
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self(parts))
    }

    /// Puts values in; a name without a value gives nothing.
    pub(super) fn fill(&self, values: &[(&str, &str)]) -> String {
        let part = |part: &'_ Part| match part {
            Part::Text(text) => text.clone(),
            Part::Value(name) => values.iter().find(|(known, _)| known == name).map(|(_, value)| (*value).to_owned()).unwrap_or_default(),
        };
        let filled: String = self.0.iter().map(part).collect();
        filled.trim().to_owned()
    }
}

/// A name or line from a node, on one line, without control or direction-changing characters, and not too long.
pub(super) fn safe(text: &str) -> String {
    let shown = |character: char| if character.is_control() || reorders(character) { '\u{fffd}' } else { character };
    let mut safe: String = text.chars().take(MAX_CHARACTERS).map(shown).collect();
    if text.chars().nth(MAX_CHARACTERS).is_some() {
        safe.push('…');
    }
    safe
}

/// Characters that change the order in which others are shown, or break lines.
fn reorders(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{061c}' | '\u{feff}')
}

/// `a, b, c and 211 more`: at most `most` names.
pub(super) fn some_of(names: &BTreeSet<String>, most: usize, separator: &str) -> String {
    let shown = names.iter().take(most).map(String::as_str).collect::<Vec<_>>().join(separator);
    match names.len().saturating_sub(most) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// A path with a query, from the root: `/nodes?state=silent`.
pub(super) fn page<'a>(name: &str, query: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let url = reqwest::Url::parse_with_params(&format!("http://dashboard/{name}"), query);
    url.map(|url| format!("{}?{}", url.path(), url.query().unwrap_or_default())).unwrap_or_default()
}

/// An error with its sources in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    safe(&text)
}
