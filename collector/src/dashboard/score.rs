//! A percentage with everything that belongs beside it. There is no other way to show one.

use holdfast_checks::entries::Verdict;

use crate::store::views::Tally;

/// Results of a scope, complete enough to speak of a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Score {
    pub(crate) pass: i64,
    pub(crate) fail: i64,
    pub(crate) unknown: i64,
    pub(crate) last_known: i64,
    pub(crate) manual: i64,
    pub(crate) nodes_counted: i64,
    pub(crate) nodes: i64,
}

/// One segment of the coverage bar, in thousandths.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Segment {
    pub(crate) class: &'static str,
    pub(crate) x: i64,
    pub(crate) width: i64,
}

impl Score {
    /// The score of `tally` on `nodes_counted` of `nodes` nodes.
    pub(crate) fn new(tally: &Tally, nodes_counted: i64, nodes: i64) -> Self {
        Self {
            pass: tally.current(Verdict::Pass),
            fail: tally.current(Verdict::Fail),
            unknown: tally.current(Verdict::Unknown),
            manual: tally.current(Verdict::Manual),
            last_known: tally.last_known(),
            nodes_counted,
            nodes,
        }
    }

    /// Pass and fail on nodes that report.
    pub(crate) fn decided(&self) -> i64 {
        self.pass + self.fail
    }

    /// Everything that should have an answer.
    pub(crate) fn applicable(&self) -> i64 {
        self.decided() + self.unknown + self.last_known + self.manual
    }

    /// Is there anything to speak of.
    pub(crate) fn assessed(&self) -> bool {
        self.decided() > 0
    }

    /// Decided of applicable.
    pub(crate) fn coverage(&self) -> String {
        percent(self.decided(), self.applicable())
    }

    /// Passing of decided. 100 % only when coverage is complete too.
    pub(crate) fn passing(&self) -> String {
        if self.fail == 0 && self.decided() < self.applicable() && self.decided() > 0 {
            return "all that is decided".to_owned();
        }
        percent(self.pass, self.decided())
    }

    /// The bar: pass, fail, unknown, last known, manual.
    pub(crate) fn bar(&self) -> Vec<Segment> {
        let total = self.applicable().max(1);
        let parts =
            [("pass", self.pass), ("fail", self.fail), ("unknown", self.unknown), ("last", self.last_known), ("manual", self.manual)];
        let mut x = 0;
        let mut segments = Vec::new();
        for (class, n) in parts.into_iter().filter(|(_, n)| *n > 0) {
            // At least a visible sliver: a single unknown must show.
            let width = (n * 1000 / total).max(6);
            segments.push(Segment { class, x, width: (width - 3).max(3) });
            x += width;
        }
        segments
    }
}

/// One decimal, rounded down; never 100 % unless exact, never 0 % above zero.
fn percent(part: i64, whole: i64) -> String {
    if whole <= 0 {
        return "Nothing assessed".to_owned();
    }
    let tenths = part * 1000 / whole;
    match tenths {
        0 if part > 0 => "< 0.1 %".to_owned(),
        1000 => "100 %".to_owned(),
        _ => format!("{}.{} %", tenths / 10, tenths % 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_rounded_down_and_zero_of_zero_is_no_share() {
        assert_eq!(percent(9996, 10_000), "99.9 %");
        assert_eq!(percent(1, 100_000), "< 0.1 %");
        assert_eq!(percent(7, 7), "100 %");
        assert_eq!(percent(0, 7), "0.0 %");
        assert_eq!(percent(0, 0), "Nothing assessed");
    }

    #[test]
    fn one_unknown_among_a_thousand_passes_is_not_a_hundred_percent() {
        let score = Score { pass: 1000, fail: 0, unknown: 1, last_known: 0, manual: 0, nodes_counted: 1, nodes: 1 };
        assert!(!score.passing().contains("100") && !score.coverage().contains("100"), "{} {}", score.passing(), score.coverage());
        assert_eq!(score.bar().len(), 2);
    }
}
