//! rsyslog's configuration: `omfwd` and `omrelp` actions, and the older lines with `@`.
//!
//! Files are local: one without a forwarding action is a logger, and no shipper.

use super::output::{Answer, Output};
use super::{Files, Said};

/// More actions in one statement, and more parameters of one action, than anybody writes.
const MAX_ACTIONS: usize = 64;
const MAX_PARAMETERS: usize = 256;

/// What holds for the older lines that follow.
#[derive(Debug, Default)]
struct Legacy {
    driver_mode: String,
    queue_type: String,
    queue_file: String,
}

pub(super) fn read(files: &mut Files<'_>, main: &str) -> Said {
    let mut said = Said { local: true, ..Said::default() };
    let mut legacy = Legacy::default();
    file(files, main, &mut said, &mut legacy, 0);
    said
}

fn file(files: &mut Files<'_>, path: &str, said: &mut Said, legacy: &mut Legacy, depth: u8) {
    let text = match files.text(path) {
        Some(text) if depth < 8 => text,
        _ => {
            said.incomplete = true;
            return;
        }
    };
    let (statements, whole) = statements(&text);
    for whole in statements {
        let before = said.outputs.len();
        if let Some(pattern) = included(&whole) {
            match files.expand(&pattern) {
                Some(paths) => paths.iter().for_each(|path| file(files, path, said, legacy, depth + 1)),
                None => said.incomplete = true,
            }
        } else {
            one(&whole, said, legacy);
        }
        if said.source.is_empty() && said.outputs.len() > before {
            path.clone_into(&mut said.source);
        }
    }
    said.incomplete |= !whole;
}

/// The statements of a file, and whether the last one ends.
fn statements(text: &str) -> (Vec<String>, bool) {
    let mut all = Vec::new();
    let (mut statement, mut opened, mut closed) = (String::new(), 0, 0);
    for line in text.lines() {
        let line = uncommented(line).trim();
        statement.push_str(line);
        opened += line.matches('(').count();
        closed += line.matches(')').count();
        // An object goes on over lines until its parenthesis closes.
        if opened > closed && statement.len() < 64 * 1024 {
            statement.push(' ');
            continue;
        }
        all.push(std::mem::take(&mut statement));
        (opened, closed) = (0, 0);
    }
    (all, statement.is_empty())
}

/// Every statement of a file without those it includes.
#[cfg(feature = "fuzzing")]
pub(super) fn fuzz(text: &str) {
    let (mut said, mut legacy) = (Said::default(), Legacy::default());
    for statement in statements(text).0 {
        drop(included(&statement));
        one(&statement, &mut said, &mut legacy);
    }
}

/// The line without what follows a `#` outside quotes.
fn uncommented(line: &str) -> &str {
    let mut quote = None;
    for (at, character) in line.char_indices() {
        match (quote, character) {
            (None, '#') => return line.split_at_checked(at).map_or(line, |(before, _)| before),
            (None, '"' | '\'') => quote = Some(character),
            (Some(open), _) if open == character => quote = None,
            _ => {}
        }
    }
    line
}

fn included(statement: &str) -> Option<String> {
    if let Some(pattern) = strip_prefix_ignoring_case(statement, "$IncludeConfig") {
        return Some(pattern.trim().to_owned());
    }
    let parameters = strip_prefix_ignoring_case(statement, "include")?.trim_start().strip_prefix('(')?;
    parameter(parameters, "file")
}

fn one(statement: &str, said: &mut Said, legacy: &mut Legacy) {
    for (key, value) in [
        ("$ActionSendStreamDriverMode", &mut legacy.driver_mode),
        ("$ActionQueueType", &mut legacy.queue_type),
        ("$ActionQueueFileName", &mut legacy.queue_file),
    ] {
        if let Some(rest) = strip_prefix_ignoring_case(statement, key) {
            rest.trim().clone_into(value);
            return;
        }
    }
    let lower_case = statement.to_ascii_lowercase();
    let mut actions = lower_case.match_indices("action(").peekable();
    if actions.peek().is_none() {
        said.outputs.extend(older(statement, legacy));
    }
    for (at, start) in actions.by_ref().take(MAX_ACTIONS) {
        said.outputs.extend(statement.split_at_checked(at + start.len()).and_then(|(_, parameters)| action(parameters)));
    }
    said.incomplete |= actions.next().is_some();
}

/// `action(type="omfwd" target="h" port="514" protocol="tcp" StreamDriverMode="1" queue.filename="q")`.
fn action(parameters: &str) -> Option<Output> {
    let given = self::parameters(parameters);
    let of = |name: &str| given.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| *value).unwrap_or_default();
    let buffered = Answer::of(!of("queue.filename").is_empty() && !of("queue.type").eq_ignore_ascii_case("direct"));
    match of("type").to_ascii_lowercase().as_str() {
        "omfwd" => {
            let udp = !of("protocol").eq_ignore_ascii_case("tcp");
            let encrypted = Answer::of(!udp && of("streamdrivermode") == "1");
            Some(Output::of_host(if udp { "udp" } else { "tcp" }, of("target"), of("port"), encrypted, buffered))
        }
        "omrelp" => Some(Output::of_host("relp", of("target"), of("port"), Answer::of(of("tls").eq_ignore_ascii_case("on")), buffered)),
        "omhttp" | "omelasticsearch" => {
            let clear = of("usehttps").eq_ignore_ascii_case("off");
            Some(Output::of_host("http", of("server"), of("serverport"), if clear { Answer::No } else { Answer::Unknown }, buffered))
        }
        "omkafka" | "omgssapi" => Some(Output { place: "kafka".to_owned(), encrypted: Answer::Unknown, buffered }),
        _ => None,
    }
}

/// `*.* @host:514`, with two `@` over TCP; options in parentheses and a template behind `;` are of no concern.
fn older(statement: &str, legacy: &Legacy) -> Option<Output> {
    let (_, action) = statement.split_once(char::is_whitespace)?;
    let target = action.trim_start().strip_prefix('@')?;
    let (tcp, target) = target.strip_prefix('@').map_or((false, target), |target| (true, target));
    let target = target.trim_start_matches(|c| c != ')').strip_prefix(')').filter(|_| target.starts_with('(')).unwrap_or(target);
    let target = target.split([';', ' ']).next().unwrap_or_default();
    let encrypted = Answer::of(tcp && legacy.driver_mode == "1");
    let buffered = Answer::of(!legacy.queue_file.is_empty() && !legacy.queue_type.is_empty());
    Some(Output::of_host(if tcp { "tcp" } else { "udp" }, target, "", encrypted, buffered))
}

/// The value of `name="…"`, names in any case.
fn parameter(text: &str, name: &str) -> Option<String> {
    parameters(text).into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
}

/// Every `name="…"` up to the parenthesis that closes, or to what is none.
fn parameters(text: &str) -> Vec<(&str, &str)> {
    let mut all = Vec::new();
    let mut rest = text;
    while let Some((before, tail)) = rest.split_once('=').filter(|_| all.len() < MAX_PARAMETERS) {
        let key = before.trim_end().rsplit(|c: char| c.is_whitespace() || c == '(').next().unwrap_or_default();
        let Some((value, tail)) = tail.trim_start().strip_prefix('"').and_then(|value| value.split_once('"')) else { return all };
        all.push((key, value));
        // The next action's are its own.
        if tail.trim_start().starts_with(')') {
            return all;
        }
        rest = tail;
    }
    all
}

fn strip_prefix_ignoring_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Said {
        let (mut said, mut legacy) = (Said::default(), Legacy::default());
        statements(text).0.iter().for_each(|statement| one(statement, &mut said, &mut legacy));
        said
    }

    #[test]
    fn a_line_full_of_actions_costs_its_length_and_not_the_square_of_it() {
        // Minutes each, when every action lower-cased and searched all that follows it.
        let large = |text: &str| read(&text.repeat(1_000_000 / text.len()));
        let began = std::time::Instant::now();
        for text in ["action(", "action(a=\"b\" ", "(\n", "action(type=\"omfwd\" target=\"h\") "] {
            let said = large(text);
            assert!(said.outputs.len() <= MAX_ACTIONS);
            assert_eq!(said.incomplete, text.starts_with("action("), "{text}");
        }
        assert!(began.elapsed() < std::time::Duration::from_mins(2), "{:?}", began.elapsed());
    }

    #[test]
    fn actions_of_one_line_have_parameters_of_their_own() {
        let said =
            read("action(type=\"omfwd\" target=\"a\" port=\"514\") action(type=\"omrelp\" target=\"b\"\n tls=\"on\")\n*.* @@c:514;fmt\n");
        let places: Vec<&str> = said.outputs.iter().map(|output| output.place.as_str()).collect();
        assert_eq!(places, ["udp://a:514", "tls://b", "tcp://c:514"]);
        assert!(!said.incomplete);
    }
}
