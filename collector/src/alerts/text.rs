//! Texts of alerts: templates with `{placeholders}`, and names from nodes made safe to show.
//!
//! Values are put in once and never read again as a template. Must not know rules or receivers.

use std::collections::BTreeSet;

use crate::inert::hidden;

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

/// A name or line from a node, on one line, without control or direction-changing characters, and not too long; and no markup of
/// those who show alerts: Slack's `<!channel>` and `<https://…|text>`, Markdown's `[text](https://…)`, HTML.
pub(super) fn safe(text: &str) -> String {
    let shown = |character: char| match character {
        '<' => '‹',
        '>' => '›',
        _ if hidden(character) => '\u{fffd}',
        _ => character,
    };
    let mut safe: String = text.chars().take(MAX_CHARACTERS).map(shown).collect::<String>().replace("](", "] (");
    if text.chars().nth(MAX_CHARACTERS).is_some() {
        safe.push('…');
    }
    safe
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

#[cfg(test)]
mod tests {
    use super::safe;

    #[test]
    fn a_node_cannot_mention_a_channel_or_hide_a_link_in_an_alert() {
        assert_eq!(safe("<!channel> <http://evil|here>"), "‹!channel› ‹http://evil|here›");
        assert_eq!(safe("[here](http://evil)"), "[here] (http://evil)");
        assert_eq!(safe("a\u{200b}b\u{2060}c\u{ad}d\u{1b}[31m"), "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}[31m");
    }
}
