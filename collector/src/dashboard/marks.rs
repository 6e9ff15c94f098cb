//! The small parts of every page: text of strangers, verdicts, severities, states, numbers, times.
//!
//! Each writes its own HTML and escapes what it is given, so that a template cannot forget to. An icon never stands without
//! its word.

use std::fmt;

use askama::filters::HtmlSafe;
use holdfast_checks::entries::{Severity, Verdict};
use holdfast_checks::versions::{Headline, STALE_DAYS};

use super::words;
use crate::inert::hidden;
use crate::store::views::{At, Expected, Filter, MountRow, NodeState, PrivilegeKind, Root, Side, Told, encode};

/// The longest text shown whole in a table, in characters.
const CUT_ABOVE: usize = 72;

/// A value, however many references a template puts before it.
pub(crate) trait Plain<T> {
    /// The value.
    fn plain(self) -> T;
}

impl<T: Clone> Plain<T> for T {
    fn plain(self) -> T {
        self
    }
}

impl<T: Clone> Plain<T> for &T {
    fn plain(self) -> T {
        self.clone()
    }
}

impl<T: Clone> Plain<T> for &&T {
    fn plain(self) -> T {
        (*self).clone()
    }
}

/// Finished HTML.
#[derive(Debug, Clone)]
pub(crate) struct Html(String);

impl Html {
    /// What charts draw.
    pub(super) fn drawn(svg: String) -> Self {
        Self(svg)
    }

    /// Our own.
    pub(crate) fn fixed(html: &'static str) -> Self {
        Self(html.to_owned())
    }

    /// One behind the other.
    pub(crate) fn joined(parts: &[&Self]) -> Self {
        Self(parts.iter().map(|part| part.0.as_str()).collect())
    }
}

impl fmt::Display for Html {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl HtmlSafe for Html {}

/// Escapes HTML, and shows control and direction characters as `\u202e`.
pub(crate) fn escape(text: &str) -> String {
    visible(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

/// Control and direction characters as `\u202e`, so that text cannot pretend to be other text.
pub(crate) fn visible(text: &str) -> String {
    let shown = |character: char| if hidden(character) { format!("\\u{:04x}", u32::from(character)) } else { character.to_string() };
    if text.chars().any(hidden) { text.chars().map(shown).collect() } else { text.to_owned() }
}

/// Text of a stranger in a table: cut in the middle when long, whole in its title.
pub(crate) fn text(value: impl AsRef<str>) -> Html {
    let whole = visible(value.as_ref());
    let length = whole.chars().count();
    if length <= CUT_ABOVE {
        return Html(escape(&whole));
    }
    let half = CUT_ABOVE / 2;
    let head: String = whole.chars().take(half).collect();
    let tail: String = whole.chars().skip(length - half).collect();
    let title: String = whole.chars().take(2000).collect();
    Html(format!("<span class=\"cut\" tabindex=\"0\" title=\"{}\">{}…{}</span>", escape(&title), escape(&head), escape(&tail)))
}

/// Text of a stranger on its own page: whole, broken where it must.
pub(crate) fn whole(value: impl AsRef<str>) -> Html {
    Html(format!("<span class=\"whole\">{}</span>", escape(value.as_ref())))
}

/// What a row is told apart by over updates: nothing a reader sees.
pub(crate) fn key(value: impl AsRef<str>) -> String {
    encode(value.as_ref())
}

/// A verdict: icon and word.
pub(crate) fn verdict(of: impl Plain<Verdict>) -> Html {
    let (class, icon, word) = words::verdict(of.plain());
    Html(format!("<span class=\"v v-{class}\"><span class=\"i\" aria-hidden=\"true\">{icon}</span> {word}</span>"))
}

/// The word before a count of results: without its icon when there are none, so that no tick stands where nothing passed.
pub(crate) fn verdict_counted(of: impl Plain<Verdict>, n: impl Plain<i64>) -> Html {
    if n.plain() > 0 { verdict(of) } else { Html(format!("<span class=\"v v-na\">{}</span>", words::verdict(of.plain()).2)) }
}

/// A verdict of a node in `state`: one that does not report has only a last known verdict.
pub(crate) fn verdict_on(of: impl Plain<Verdict>, state: impl Plain<NodeState>) -> Html {
    let mark = verdict(of);
    if state.plain().current() { mark } else { Html(format!("<span class=\"was\">last known</span> {mark}")) }
}

/// What an expectation lays over a verdict: beside it, never instead.
pub(crate) fn expected(of: impl Plain<Expected>) -> Html {
    let Expected { id, reason } = of.plain();
    let title: String = visible(&reason).chars().take(500).collect();
    Html(format!(
        "<a class=\"v v-waived\" href=\"/expectations#{}\" title=\"{}\"><span class=\"i\" aria-hidden=\"true\">‖</span> Expected</a>",
        encode(&id),
        escape(&title)
    ))
}

/// A verdict or its absence, in a history.
pub(crate) fn end(of: impl Plain<Option<Verdict>>) -> Html {
    of.plain().map_or_else(|| Html("<span class=\"v v-na\">Not present</span>".to_owned()), verdict)
}

/// A severity: coloured only where something fails.
pub(crate) fn severity(of: impl Plain<Severity>, failing: impl Plain<bool>) -> Html {
    let (class, icon, word) = words::severity(of.plain());
    let colour = if failing.plain() { format!(" s-{class}") } else { String::new() };
    Html(format!("<span class=\"s{colour}\"><span class=\"i\" aria-hidden=\"true\">{icon}</span> {word}</span>"))
}

/// A severity beside its verdict: coloured only on a fail.
pub(crate) fn severity_of(of: impl Plain<Severity>, verdict: impl Plain<Verdict>) -> Html {
    severity(of, verdict.plain() == Verdict::Fail)
}

/// A node's state: icon and word.
pub(crate) fn state(of: impl Plain<NodeState>) -> Html {
    let (class, icon, word) = words::state(of.plain());
    Html(format!("<span class=\"st st-{class}\"><span class=\"i\" aria-hidden=\"true\">{icon}</span> {word}</span>"))
}

/// A whole number with separated thousands.
pub(crate) fn number(of: impl Plain<i64>) -> String {
    let n = of.plain();
    let digits = n.unsigned_abs().to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if n < 0 { format!("−{out}") } else { out }
}

/// A number with the word for one and for many.
pub(crate) fn counted(of: impl Plain<i64>, one: &str, many: &str) -> String {
    let n = of.plain();
    format!("{} {}", number(n), if n == 1 { one } else { many })
}

/// A share of something of which nothing is judged, such as a disk.
pub(crate) fn percent(of: impl Plain<i64>) -> String {
    format!("{} %", number(of))
}

/// A list of names: what it holds, `none seen`, or that it is not known.
pub(crate) fn told(list: &Told<String>) -> Html {
    match (list.known, list.items.is_empty(), list.left_out) {
        (false, _, _) | (true, true, 1..) => verdict(Verdict::Unknown),
        (true, true, _) => Html::fixed("none seen"),
        (true, false, 0) => whole(list.items.join(", ")),
        (true, false, more) => whole(format!("{} and {} more", list.items.join(", "), number(more))),
    }
}

/// A number that is a link to the list with exactly that many rows.
pub(crate) fn count(of: impl Plain<i64>, path: &str, filter: impl Plain<Filter>) -> Html {
    let n = of.plain();
    let zero = if n == 0 { " zero" } else { "" };
    Html(format!("<a class=\"n{zero}\" data-n=\"{n}\" href=\"{}\">{}</a>", escape(&filter.plain().link(path)), number(n)))
}

/// A number that is a link to any list with exactly that many rows; without an address it is only a number.
pub(crate) fn count_at(of: impl Plain<i64>, href: impl AsRef<str>) -> Html {
    let n = of.plain();
    if href.as_ref().is_empty() {
        return Html(number(n));
    }
    let zero = if n == 0 { " zero" } else { "" };
    Html(format!("<a class=\"n{zero}\" data-n=\"{n}\" href=\"{}\">{}</a>", escape(href.as_ref()), number(n)))
}

/// How much root something is: icon and word.
pub(crate) fn root(of: impl Plain<Root>) -> Html {
    let (class, icon, word) = words::root(of.plain());
    Html(format!("<span class=\"{class}\"><span class=\"i\" aria-hidden=\"true\">{icon}</span> {word}</span>"))
}

/// Something a container may do: icon and word.
pub(crate) fn privilege(of: impl Plain<PrivilegeKind>) -> Html {
    let (class, icon, word) = words::privilege(of.plain());
    Html(format!("<span class=\"{class}\"><span class=\"i\" aria-hidden=\"true\">{icon}</span> {word}</span>"))
}

/// The same where it ends with the container's user namespace.
pub(crate) fn privilege_inside(of: impl Plain<PrivilegeKind>) -> Html {
    let (_, _, word) = words::privilege(of.plain());
    Html(format!("<span class=\"quiet\"><span class=\"i\" aria-hidden=\"true\">◇</span> {word}</span>, in its user namespace only"))
}

/// A piece of the host in a container: `writable /etc (etc) at /host/etc`; without the second path where it is the first.
pub(crate) fn mount(of: impl Plain<MountRow>) -> Html {
    let MountRow { source, target, kind, writable } = of.plain();
    let how = match (writable, kind.as_str()) {
        (_, "token") => return Html(format!("<span class=\"quiet\">service account token</span> at {}", text(target))),
        // Who may connect to it may do anything, and a read-only mount keeps nobody from connecting.
        (Some(false), "runtime_socket") => "<span class=\"s s-high\"><span class=\"i\" aria-hidden=\"true\">▲</span> read-only</span>",
        (Some(true), "other") => "<span class=\"s s-medium\"><span class=\"i\" aria-hidden=\"true\">◆</span> writable</span>",
        (Some(true), _) => "<span class=\"s s-high\"><span class=\"i\" aria-hidden=\"true\">▲</span> writable</span>",
        (Some(false), _) => "read-only",
        (None, _) => "writable or not: unknown,",
    };
    let place = if source == target { String::new() } else { format!(" at {}", text(target)) };
    Html(format!("{how} {} <span class=\"quiet\">({})</span>{place}", text(source), text(kind.replace('_', " "))))
}

/// Where a link of the patch chain stands: icon and word.
pub(crate) fn headline(of: impl Plain<Headline>) -> Html {
    let (class, icon, word) = words::headline(of);
    Html(format!("<span class=\"{class}\"><span class=\"i\" aria-hidden=\"true\">{icon}</span> {word}</span>"))
}

/// The same before a count: without icon and colour when there are none.
pub(crate) fn headline_counted(of: impl Plain<Headline>, n: impl Plain<i64>) -> Html {
    if n.plain() > 0 { headline(of) } else { Html(format!("<span class=\"quiet\">{}</span>", words::headline(of).2)) }
}

/// The same by data of a day: what was supported then is only known to have been supported then once the data is old.
pub(crate) fn headline_by(of: impl Plain<Headline>, data_date: Option<&str>, now: impl Plain<i64>) -> Html {
    let (of, age) = (of.plain(), data_date.and_then(|day| age_days(day, now.plain())));
    match (of, data_date) {
        (Headline::Supported, Some(date)) if age.is_some_and(|age| age > STALE_DAYS) => {
            Html::joined(&[&headline(of), &Html::fixed(" <span class=\"was\">as of "), &day(date), &Html::fixed("</span>")])
        }
        _ => headline(of),
    }
}

/// Days from a date as data has it, `2026-11-18`, to now.
pub(crate) fn age_days(day: &str, now: i64) -> Option<i64> {
    let day: jiff::civil::Date = day.parse().ok()?;
    let today = timestamp(At(now)).to_zoned(jiff::tz::TimeZone::UTC).date();
    Some(i64::from(today.since(day).ok()?.get_days()))
}

/// A date as data has it, for a person.
pub(crate) fn day(text: impl AsRef<str>) -> Html {
    match text.as_ref().parse::<jiff::civil::Date>() {
        Ok(day) => Html(format!("<time datetime=\"{day}\">{}</time>", day.strftime("%-d %b %Y"))),
        Err(_) => Html(escape(text.as_ref())),
    }
}

/// The word before a count of that much root: without colour when there are none.
pub(crate) fn root_counted(of: impl Plain<Root>, n: impl Plain<i64>) -> Html {
    if n.plain() > 0 { root(of) } else { Html(format!("<span class=\"quiet\">{}</span>", words::root(of.plain()).2)) }
}

/// The number of rows a list has: what a [`count`] elsewhere promised.
pub(crate) fn total(of: impl Plain<i64>) -> Html {
    let n = of.plain();
    Html(format!("<strong data-total=\"{n}\">{}</strong>", number(n)))
}

/// A span of milliseconds: `14 s`, `12 min`, `2 h 28 min`, `3 d`.
pub(crate) fn span(millis: i64) -> String {
    let seconds = millis.max(0) / 1000;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 if seconds % 3600 < 60 => format!("{} h", seconds / 3600),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d", seconds / 86_400),
    }
}

fn timestamp(at: At) -> jiff::Timestamp {
    jiff::Timestamp::from_millisecond(at.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
}

fn stamp(at: At) -> String {
    timestamp(at).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A time in a list: relative for a day, then a date.
pub(crate) fn ago(at: impl Plain<At>, now: impl Plain<i64>) -> Html {
    let (at, now) = (at.plain(), now.plain());
    if at.0 <= 0 {
        return Html("<span class=\"quiet\">never</span>".to_owned());
    }
    let age = now - at.0;
    let day = 86_400_000;
    let (shown, live) = match age {
        _ if age < -2000 => (format!("in {} (node clock ahead)", span(-age)), false),
        _ if age < day => (span(age), true),
        _ if age < 300 * day => (timestamp(at).strftime("%-d %b %H:%M").to_string(), false),
        _ => (timestamp(at).strftime("%-d %b %Y").to_string(), false),
    };
    let class = if live { " class=\"rel\"" } else { "" };
    Html(format!("<time{class} datetime=\"{}\" title=\"{}\">{shown}</time>", stamp(at), words::utc(at)))
}

/// A time on a detail page: absolute, with zone and seconds.
pub(crate) fn moment(at: impl Plain<At>) -> Html {
    let at = at.plain();
    if at.0 <= 0 {
        return Html("<span class=\"quiet\">time not known</span>".to_owned());
    }
    Html(format!("<time datetime=\"{}\">{}</time>", stamp(at), words::utc(at)))
}

/// A JSON value as code; an empty one in words, because nothing cannot be seen.
pub(crate) fn value(of: impl Plain<serde_json::Value>) -> Html {
    let shown = match of.plain() {
        serde_json::Value::String(text) if text.is_empty() => return Html::fixed("<span class=\"quiet\">empty</span>"),
        serde_json::Value::Array(list) if list.is_empty() => return Html::fixed("<span class=\"quiet\">empty list</span>"),
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    Html(format!("<code class=\"whole\">{}</code>", escape(&shown)))
}

/// One truth about a setting: value and source, why it is not known, or that nobody asked.
pub(crate) fn side(of: impl Plain<Side>) -> Html {
    match of.plain() {
        Side::Known { value: serde_json::Value::Null, source } => Html(format!("not set <span class=\"from\">{}</span>", text(source))),
        Side::Known { value: known, source } => Html(format!("{} <span class=\"from\">{}</span>", value(known), text(source))),
        Side::Unknown { reason } => Html(format!("{}: {}", verdict(Verdict::Unknown), whole(words::reasoned(&reason)))),
        Side::NotAsked => Html("<span class=\"quiet\">not asked</span>".to_owned()),
    }
}

/// Text of a stranger inside an attribute.
pub(crate) fn attribute(value: impl AsRef<str>) -> Html {
    Html(escape(value.as_ref()))
}

/// Prose that holds commands or settings between backticks.
pub(crate) fn prose(text: impl AsRef<str>) -> Html {
    let part = |(index, part): (usize, &str)| if index % 2 == 1 { format!("<code>{}</code>", escape(part)) } else { escape(part) };
    Html(text.as_ref().split('`').enumerate().map(part).collect())
}

/// Did a request without credentials get what it asked for.
pub(crate) fn served(answer: impl AsRef<str>) -> bool {
    answer.as_ref().starts_with('2')
}

/// What to do, one step a sentence, and apart from it how to undo that.
pub(crate) fn steps(text: impl AsRef<str>) -> Html {
    let sentences = sentences(text.as_ref());
    let undo = sentences.iter().position(|sentence| sentence.starts_with("To undo")).unwrap_or(sentences.len());
    let (steps, undo) = sentences.split_at(undo);
    let items = |steps: &[String]| steps.iter().map(|step| ["<li>", &prose(step).to_string(), "</li>"].concat()).collect::<String>();
    let todo = match steps {
        [] => String::new(),
        [only] => format!("<p>{}</p>", prose(only)),
        steps => format!("<ol class=\"steps\">{}</ol>", items(steps)),
    };
    let undo = undo.join(" ");
    let how = undo.trim_start_matches("To undo").trim_start_matches([',', ':', ' ']);
    let undo = if how.is_empty() { String::new() } else { format!("<p class=\"undo\"><strong>To undo:</strong> {}</p>", prose(how)) };
    Html(todo + &undo)
}

/// The sentences of a text; a full stop inside code or before a small letter ends none.
fn sentences(text: &str) -> Vec<String> {
    let mut sentences = vec![String::new()];
    let mut code = false;
    let mut rest = text.split_whitespace().peekable();
    while let Some(word) = rest.next() {
        code ^= word.matches('`').count() % 2 == 1;
        let Some(sentence) = sentences.last_mut() else { break };
        if !sentence.is_empty() {
            sentence.push(' ');
        }
        sentence.push_str(word);
        let starts = rest.peek().is_some_and(|next| next.starts_with(|c: char| c.is_uppercase() || c == '`'));
        if !code && word.ends_with('.') && starts {
            sentences.push(String::new());
        }
    }
    sentences.retain(|sentence| !sentence.is_empty());
    sentences
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fix_is_told_in_steps_and_undo_stands_apart() {
        let fix = "Set `a: b. C` in the file, e.g. by hand. Restart the kubelet. To undo, put the old value back. Restart again.";
        let html = steps(fix).to_string();
        let wanted = "<ol class=\"steps\"><li>Set <code>a: b. C</code> in the file, e.g. by hand.</li><li>Restart the kubelet.</li></ol>\
                      <p class=\"undo\"><strong>To undo:</strong> put the old value back. Restart again.</p>";
        assert_eq!(html, wanted);
        assert_eq!(steps("Do one thing.").to_string(), "<p>Do one thing.</p>");
    }

    #[test]
    fn strangers_cannot_write_html_or_turn_text_around() {
        let shown = text("<script>\u{202e}\n\"").to_string();
        assert_eq!(shown, "&lt;script&gt;\\u202e\\u000a&quot;");
        let long = text("x".repeat(4096)).to_string();
        assert!(long.len() < 2300 && long.contains('…'), "{long}");
    }

    #[test]
    fn numbers_and_spans_read_well() {
        assert_eq!([number(0), number(999), number(1_204), number(-1_234_567)], ["0", "999", "1,204", "−1,234,567"]);
        assert_eq!(
            [span(14_000), span(720_000), span(8_880_000), span(7_200_000), span(200_000_000)],
            ["14 s", "12 min", "2 h 28 min", "2 h", "2 d"]
        );
    }

    #[test]
    fn a_time_in_the_future_is_worded() {
        assert!(ago(At(1_000_000), 1_000).to_string().contains("node clock ahead"));
    }
}
