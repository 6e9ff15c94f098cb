//! One waiver, and which one covers a finding.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::glob;

/// Something that is known to fail and accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waiver {
    /// Its name, to refer to: lower-case words joined by hyphens.
    pub id: String,
    /// The checks it is about, by id; `*` stands for any run of characters.
    pub checks: Vec<String>,
    /// The subjects it is about: `pod:kube-system/kube-proxy-*/kube-proxy`. `*` stands for any run of characters but `/`.
    pub subjects: Vec<String>,
    /// Why that is accepted, in a sentence.
    pub reason: String,
    /// Who accepts it.
    pub by: WaivedBy,
    /// The last day it holds, in UTC; without one it holds until it is taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Date>,
}

/// Who accepts what a waiver is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaivedBy {
    /// This version of Holdfast: what system workloads are built to need.
    BuiltIn,
    /// A person, by name.
    Person(String),
}

impl Waiver {
    /// Is it about this check and subject. Whether it still holds is [`Waiver::holds_on`].
    pub fn covers(&self, check: &str, subject: &str) -> bool {
        self.checks.iter().any(|pattern| glob::matches(pattern, check))
            && self.subjects.iter().any(|pattern| glob::matches(pattern, subject))
    }

    /// Does it still hold on `today`.
    pub fn holds_on(&self, today: Date) -> bool {
        self.until.is_none_or(|until| today <= until)
    }
}

/// The first of `waivers` that is about this check and subject. An expectation marks a verdict, it never changes it.
pub fn expected<'a>(waivers: &'a [Waiver], check: &str, subject: &str) -> Option<&'a Waiver> {
    waivers.iter().find(|waiver| waiver.covers(check, subject))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiver() -> Waiver {
        Waiver {
            id: "proxy".to_owned(),
            checks: vec!["container-root".to_owned(), "pod-host-*".to_owned()],
            subjects: vec!["pod:kube-system/kube-proxy-*/kube-proxy".to_owned()],
            reason: "it writes the node's packet filter".to_owned(),
            by: WaivedBy::BuiltIn,
            until: Some("2026-12-31".parse().unwrap()),
        }
    }

    #[test]
    fn a_waiver_is_about_its_checks_and_subjects_and_nothing_else() {
        let subject = "pod:kube-system/kube-proxy-x7k2p/kube-proxy";
        let waiver = waiver();
        assert!(waiver.covers("container-root", subject) && waiver.covers("pod-host-network", subject));
        for (check, subject) in [
            ("container-root-group", subject),
            ("container-root", "pod:default/kube-proxy-x7k2p/kube-proxy"),
            ("container-root", "pod:kube-system/kube-proxy-x7k2p/sidecar"),
            ("container-root", "pod:kube-system/kube-proxy-a/b/kube-proxy"),
            ("container-root", "container:pod:kube-system/kube-proxy-a/kube-proxy"),
        ] {
            assert!(!waiver.covers(check, subject), "{check} {subject}");
        }
        assert_eq!(expected(std::slice::from_ref(&waiver), "container-root", subject).map(|found| found.id.as_str()), Some("proxy"));
    }

    #[test]
    fn it_holds_until_the_end_of_its_day() {
        let on = |day: &str| waiver().holds_on(day.parse().unwrap());
        assert_eq!((on("2026-12-30"), on("2026-12-31"), on("2027-01-01")), (true, true, false));
        assert!(Waiver { until: None, ..waiver() }.holds_on("2099-01-01".parse().unwrap()));
    }

    #[test]
    fn it_is_stored_as_it_is_written() {
        let text = r#"{"id":"a","checks":["c"],"subjects":["s"],"reason":"r","by":{"person":"ada"},"until":"2026-12-31"}"#;
        let waiver: Waiver = serde_json::from_str(text).unwrap();
        assert_eq!(waiver.by, WaivedBy::Person("ada".to_owned()));
        assert_eq!(serde_json::to_string(&waiver).unwrap(), text);
    }
}
