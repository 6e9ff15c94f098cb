//! Charts: SVG drawn here from the same rows as the table beside it. Must not know where rows come from.
//!
//! A mark is never told by its colour alone: each line says its numbers in words. Nothing inside is a link; links are in the table.

use std::fmt::Write as _;

use super::marks::{self, Html};

/// The longest label of a line, in characters.
const LABEL: usize = 40;
/// The longest line of text, in characters: what fits on a screen of 320 pixels.
const LINE: usize = 42;
/// Lines of text are that far apart, and a mark is that high with what is around it, in CSS pixels.
const TEXT: usize = 16;
const MARK: usize = 18;
/// Days of a timeline from today on.
pub(super) const AHEAD: i64 = 366;

/// A part of a bar.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    /// The colour, as a class of the style sheet.
    pub(super) class: &'static str,
    /// What it counts.
    pub(super) word: &'static str,
    pub(super) n: i64,
    /// The list of exactly that many.
    pub(super) href: String,
}

/// A line of bars.
#[derive(Debug, Clone)]
pub(super) struct Bar {
    pub(super) label: String,
    /// Every bar of a chart has the same ones in the same order.
    pub(super) segments: Vec<Segment>,
}

/// Lines of bars, all from zero and to one scale.
#[derive(Debug, Clone)]
pub(super) struct Bars {
    /// Its id on the page.
    pub(super) id: &'static str,
    /// What it is about.
    pub(super) title: &'static str,
    /// What a line is.
    pub(super) line: &'static str,
    pub(super) bars: Vec<Bar>,
}

impl Bar {
    fn total(&self) -> i64 {
        self.segments.iter().map(|segment| segment.n).sum()
    }

    /// `6.1.0-40-amd64`, `61 known exploited`, `2 unknown`.
    fn parts(&self) -> Vec<String> {
        let parts = self.segments.iter().filter(|segment| segment.n > 0);
        let said = |segment: &Segment| match segment.word {
            "Nodes" => marks::counted(segment.n, "node", "nodes"),
            word => format!("{} {}", marks::number(segment.n), word.to_lowercase()),
        };
        std::iter::once(cut(&self.label)).chain(parts.map(said)).collect()
    }
}

impl Bars {
    /// Is there anything to draw.
    pub(super) fn empty(&self) -> bool {
        self.bars.iter().all(|bar| bar.total() == 0)
    }

    /// The sentence a person would say.
    pub(super) fn description(&self) -> String {
        let longest = self.bars.iter().max_by_key(|bar| bar.total());
        longest.map(|bar| format!("{} lines; the longest: {}.", self.bars.len(), bar.parts().join(" · "))).unwrap_or_default()
    }

    pub(super) fn svg(&self) -> Html {
        let most = self.bars.iter().map(Bar::total).max().unwrap_or(0).max(1);
        let (mut marks, mut y) = (String::new(), 0);
        for bar in &self.bars {
            y = write(&mut marks, &bar.parts(), y);
            let mut x = 0;
            for segment in bar.segments.iter().filter(|segment| segment.n > 0) {
                // At least a sliver that can be seen: one among thousands must show.
                let width = (segment.n.saturating_mul(960) / most).max(5);
                let (class, left, length) = (segment.class, tenths(x), tenths(width));
                let _ = write!(marks, "<rect class=\"c-{class}\" x=\"{left}\" y=\"{}\" width=\"{length}\" height=\"9\"/>", y + 3);
                x += width;
            }
            y += MARK;
        }
        drawing(self.id, self.title, &self.description(), y, &marks)
    }
}

/// One day of a timeline.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    pub(super) label: String,
    /// The day, as data has it.
    pub(super) day: String,
    /// Days from today; negative when it is over.
    pub(super) days: i64,
    pub(super) n: i64,
    pub(super) href: String,
}

/// Days ahead, and those that are over at its left end.
#[derive(Debug, Clone)]
pub(super) struct Timeline {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) marks: Vec<Mark>,
    /// Months at the axis: days from today, name.
    pub(super) ticks: Vec<(i64, String)>,
}

impl Timeline {
    pub(super) fn empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// The sentence a person would say.
    pub(super) fn description(&self) -> String {
        let over = self.marks.iter().filter(|mark| mark.days < 0).count();
        let next = self.marks.iter().find(|mark| mark.days >= 0);
        let next = next.map(|mark| format!(" Next: {} in {}.", mark.label, marks::counted(mark.days, "day", "days"))).unwrap_or_default();
        format!("{over} over, {} in the next twelve months.{next}", self.marks.len() - over)
    }

    pub(super) fn svg(&self) -> Html {
        let (mut drawn, mut y) = (String::new(), 0);
        for mark in &self.marks {
            let (class, word) = if mark.days < 0 { ("over", "over since") } else { ("ahead", "ends") };
            y = write(&mut drawn, &[cut(&mark.label), format!("{word} {}", mark.day), marks::counted(mark.n, "node", "nodes")], y);
            let _ = write!(drawn, "<circle class=\"c-{class}\" cx=\"{}\" cy=\"{}\" r=\"5\"/>", tenths(place(mark.days)), y + 8);
            y += MARK;
        }
        let mut axis = String::new();
        for (days, name) in &self.ticks {
            let x = tenths(place(*days));
            let anchor = if *days >= AHEAD { " text-anchor=\"end\"" } else { "" };
            let _ = write!(axis, "<line class=\"c-axis\" x1=\"{x}\" x2=\"{x}\" y1=\"0\" y2=\"{}\"/>", y + 4);
            let _ = write!(axis, "<text class=\"c-tick\" x=\"{x}\" y=\"{}\"{anchor}>{}</text>", y + TEXT, marks::escape(name));
        }
        drawing(self.id, self.title, &self.description(), y + TEXT + 4, &(axis + &drawn))
    }
}

/// Writes parts from `y` down, as many on a line as fit; gives where the next thing stands.
fn write(drawn: &mut String, parts: &[String], mut y: usize) -> usize {
    let mut lines: Vec<String> = Vec::new();
    for part in parts {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 3 + part.chars().count() <= LINE => {
                line.push_str(" · ");
                line.push_str(part);
            }
            _ => lines.push(part.clone()),
        }
    }
    for line in lines {
        y += TEXT;
        let _ = write!(drawn, "<text x=\"0\" y=\"{}\">{}</text>", y - 3, marks::escape(&line));
    }
    y
}

/// Where a day is, in thousandths of the width; what is over stands at the left end.
fn place(days: i64) -> i64 {
    if days < 0 { 20 } else { 100 + days.min(AHEAD) * 870 / AHEAD }
}

fn tenths(thousandths: i64) -> String {
    format!("{}.{}%", thousandths / 10, thousandths % 10)
}

/// A label of strangers, short enough for a line.
fn cut(label: &str) -> String {
    let shown = marks::visible(label);
    let length = shown.chars().count();
    if length <= LABEL {
        return shown;
    }
    let head: String = shown.chars().take(LABEL / 2).collect();
    let tail: String = shown.chars().skip(length - LABEL / 2).collect();
    format!("{head}…{tail}")
}

/// Widths are shares of the page's, heights are pixels, so that text keeps its size on every screen.
fn drawing(id: &str, title: &str, description: &str, height: usize, marks: &str) -> Html {
    Html::drawn(format!(
        "<svg class=\"chart\" width=\"100%\" height=\"{height}\" role=\"img\" aria-labelledby=\"{id}-title {id}-desc\">\
         <title id=\"{id}-title\">{}</title><desc id=\"{id}-desc\">{}</desc>{marks}</svg>",
        marks::escape(title),
        marks::escape(description),
    ))
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a test may fail")]
mod tests {
    use super::*;

    fn bars(numbers: &[(&str, i64, i64)]) -> Bars {
        let segment = |word, n| Segment { class: "unknown", word, n, href: String::new() };
        let bar = |(label, one, two): &(&str, i64, i64)| Bar {
            label: (*label).to_owned(),
            segments: vec![segment("One", *one), segment("Two", *two)],
        };
        Bars { id: "x", title: "Nodes", line: "Release", bars: numbers.iter().map(bar).collect() }
    }

    #[test]
    fn nothing_one_and_many_are_drawn_without_a_wrong_number() {
        for numbers in [vec![], vec![("a", 0, 0)], vec![("a", 1, 0)], vec![("a", i64::MAX / 1000, 1), ("b", 0, 3)]] {
            let chart = bars(&numbers);
            let svg = chart.svg().to_string();
            assert!(!svg.contains("NaN") && !svg.contains("inf") && !svg.contains("=\"-"), "{svg}");
            assert!(svg.contains("role=\"img\"") && svg.contains("<title ") && svg.contains("<desc "), "{svg}");
        }
        assert!(bars(&[]).empty() && bars(&[("a", 0, 0)]).empty() && !bars(&[("a", 0, 1)]).empty());
    }

    #[test]
    fn the_longest_bars_of_strangers_stay_small_and_inert() {
        let hostile = "<script>\u{202e}\"'&".repeat(40);
        let svg = bars(&[(hostile.as_str(), 3, 1_000_000); 13]).svg().to_string();
        assert!(!svg.contains("<script>") && svg.len() <= 8 * 1024, "{} bytes", svg.len());
    }

    #[test]
    fn days_stand_in_their_order() {
        let places: Vec<i64> = [-400, -1, 0, 1, 30, 365, 366, 9999].map(place).to_vec();
        assert!(places.is_sorted() && places.iter().all(|place| (0..1000).contains(place)), "{places:?}");
        let empty = Timeline { id: "x", title: "Ends", marks: Vec::new(), ticks: vec![(0, "today".to_owned())] };
        assert!(empty.empty() && empty.svg().to_string().contains("today"));
    }
}
