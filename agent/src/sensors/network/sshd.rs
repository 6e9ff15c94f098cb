//! `sshd_config` with what it includes, read as OpenSSH reads it: the first value of a keyword holds, `Include` is followed where
//! it stands, and a `Match` block is noted and not applied, because whom it meets depends on the connection.
//!
//! Only what is written is given; derivation adds the defaults. A file that cannot be read leaves every keyword unknown that was
//! not decided before it. A server that was started with options or a file of its own goes by those: nothing is said of it.

pub(in crate::sensors) mod glob;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use holdfast_checks::facts::{Declared, Observed, Reason, Setting, Settings, Source, SourceKind, Unavailable};
use serde_json::{Value, json};

use super::super::now;
use crate::host::Host;

/// Where it is, the first that is there. Some distributions ship theirs below /usr.
const PLACES: [&str; 2] = ["/etc/ssh/sshd_config", "/usr/etc/ssh/sshd_config"];
/// Relative includes start here, whatever file they stand in.
const HERE: &str = "/etc/ssh";
/// OpenSSH gives up at this depth.
const MAX_DEPTH: usize = 16;
/// Files read in all: two that include each other twice would be read 65,536 times.
const MAX_FILES: usize = 128;
/// `Match` blocks noted.
const MAX_BLOCKS: usize = 64;
/// The longest text kept of a `Match` block.
const MAX_TEXT: usize = 256;

/// Why the usual file says nothing: a server runs with `-o` or `-f`. It shows its command line behind `sshd: `, in one piece.
pub(super) fn overridden(host: &Host, servers: &[i64]) -> Option<Observed<Settings>> {
    let started = |pid: &i64| {
        let line = host.proc.process(*pid).ok()?.read("cmdline").ok()?;
        let line = String::from_utf8_lossy(&line).into_owned();
        line.split(['\0', ' ']).any(own_options).then_some(())
    };
    servers.iter().find_map(started)?;
    let why = "sshd was started with options (-o) or a configuration file (-f) of its own, which its files do not show";
    Some(Observed::unavailable_because(Reason::NotSupported, why))
}

/// Is `word` an `-o` or `-f` of sshd, alone or behind flags without a value (`-Df`).
fn own_options(word: &str) -> bool {
    let Some(letters) = word.strip_prefix('-') else { return false };
    letters.trim_start_matches(['4', '6', 'D', 'd', 'e', 'i', 'q', 'R', 'r', 'T', 't']).starts_with(['o', 'f'])
}

/// How a keyword's arguments are read.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Flag,
    Number,
    /// One of these words; the second of a pair is what the first means.
    Word(&'static [(&'static str, &'static str)]),
    /// Numbers of every line.
    Numbers,
    /// Arguments of every line.
    Texts,
}

const ROOT_LOGIN: &[(&str, &str)] = &[
    ("yes", "yes"),
    ("no", "no"),
    ("prohibit-password", "prohibit-password"),
    ("without-password", "prohibit-password"),
    ("forced-commands-only", "forced-commands-only"),
];
const FORWARDING: &[(&str, &str)] = &[("yes", "yes"), ("all", "yes"), ("no", "no"), ("local", "local"), ("remote", "remote")];

/// The keywords read. An older name of one follows with its new name.
const KEYWORDS: [(&str, &str, Kind); 13] = [
    ("PermitRootLogin", "PermitRootLogin", Kind::Word(ROOT_LOGIN)),
    ("PasswordAuthentication", "PasswordAuthentication", Kind::Flag),
    ("KbdInteractiveAuthentication", "KbdInteractiveAuthentication", Kind::Flag),
    ("ChallengeResponseAuthentication", "KbdInteractiveAuthentication", Kind::Flag),
    ("SkeyAuthentication", "KbdInteractiveAuthentication", Kind::Flag),
    ("PermitEmptyPasswords", "PermitEmptyPasswords", Kind::Flag),
    ("X11Forwarding", "X11Forwarding", Kind::Flag),
    ("AllowTcpForwarding", "AllowTcpForwarding", Kind::Word(FORWARDING)),
    ("MaxAuthTries", "MaxAuthTries", Kind::Number),
    ("Port", "Port", Kind::Numbers),
    ("ListenAddress", "ListenAddress", Kind::Texts),
    ("AllowUsers", "AllowUsers", Kind::Texts),
    ("AllowGroups", "AllowGroups", Kind::Texts),
];

/// What the SSH server is configured to do.
pub(super) fn read(host: &Host) -> Observed<Settings> {
    let main = PLACES.into_iter().find(|path| !host.root.metadata(path).is_err_and(|error| error.is_absent()));
    let Some(main) = main else {
        return Observed::unavailable_because(Reason::NotPresent, format!("{} is not there", PLACES.join(" or ")));
    };
    let text = match host.root.read_text(main) {
        Ok(text) => text,
        Err(error) => return error.observed(),
    };
    let mut reader = Reader { host, files: 1, said: BTreeMap::new(), blocks: Vec::new(), unread: None };
    let mut block = Block::Everyone;
    reader.text(&text, &Source::new(SourceKind::File, main), 0, &mut block);
    Observed::known(reader.settings(), Source::new(SourceKind::File, main), now())
}

/// What one line says of a keyword.
#[derive(Debug)]
struct Said {
    source: Source,
    value: Result<Value, Unavailable>,
}

/// Whom the lines that follow are for.
#[derive(Debug, Clone)]
enum Block {
    Everyone,
    /// Connections that meet the criteria: a place in `blocks`, or none when there are too many.
    Some(Option<usize>),
}

struct Reader<'a> {
    host: &'a Host,
    files: usize,
    /// In the order of reading.
    said: BTreeMap<&'static str, Vec<Said>>,
    blocks: Vec<(String, serde_json::Map<String, Value>)>,
    /// Why something before the lines that follow was not read.
    unread: Option<Unavailable>,
}

impl Reader<'_> {
    fn text(&mut self, text: &str, source: &Source, depth: usize, block: &mut Block) {
        for line in text.lines() {
            let Some((keyword, arguments)) = words::split(line) else { continue };
            if keyword.eq_ignore_ascii_case("include") {
                for pattern in &arguments {
                    self.include(pattern, depth, block);
                }
            } else if keyword.eq_ignore_ascii_case("match") {
                *block = self.block(&arguments);
            } else if let Some((_, name, kind)) = KEYWORDS.iter().find(|(known, _, _)| known.eq_ignore_ascii_case(&keyword)) {
                self.keyword(name, *kind, &arguments, source, block);
            }
        }
    }

    fn block(&mut self, criteria: &[String]) -> Block {
        if let [all] = criteria
            && all.eq_ignore_ascii_case("all")
        {
            return Block::Everyone;
        }
        if self.blocks.len() == MAX_BLOCKS {
            return Block::Some(None);
        }
        self.blocks.push((short(&criteria.join(" ")), serde_json::Map::new()));
        Block::Some(Some(self.blocks.len() - 1))
    }

    fn keyword(&mut self, name: &'static str, kind: Kind, arguments: &[String], source: &Source, block: &Block) {
        if let Block::Some(index) = block {
            if let Some((_, settings)) = index.and_then(|index| self.blocks.get_mut(index)) {
                settings.entry(name).or_insert_with(|| short(&arguments.join(" ")).into());
            }
            return;
        }
        let read = value(kind, arguments).map_err(|problem| {
            let detail = format!("{}: {name}: {problem}", source.place);
            Unavailable::new(Reason::Malformed, detail)
        });
        // What could not be read before this line may have decided it already.
        let value = match &self.unread {
            Some(why) => Err(why.clone()),
            None => read,
        };
        self.said.entry(name).or_default().push(Said { source: source.clone(), value });
    }

    fn include(&mut self, pattern: &str, depth: usize, block: &Block) {
        let pattern = if pattern.starts_with('/') { pattern.to_owned() } else { format!("{HERE}/{pattern}") };
        if depth == MAX_DEPTH {
            let detail = format!("{pattern}: included {MAX_DEPTH} times deep, which OpenSSH refuses");
            return self.not_read(block, Unavailable::new(Reason::Malformed, detail));
        }
        let paths = match glob::expand(&self.host.root, &pattern) {
            Ok(paths) => paths,
            Err(why) => return self.not_read(block, why),
        };
        for path in paths {
            if self.files == MAX_FILES {
                let detail = format!("{path}: more than {MAX_FILES} files are included");
                return self.not_read(block, Unavailable::new(Reason::TooLarge, detail));
            }
            self.files += 1;
            match self.host.root.read_text(&path) {
                // A block opened in there ends with the file.
                Ok(text) => self.text(&text, &Source::new(SourceKind::DropIn, path), depth + 1, &mut block.clone()),
                Err(error) if error.is_absent() => {}
                Err(error) => self.not_read(block, error.unavailable()),
            }
        }
    }

    /// What follows may be decided already; not so by a file for some connections alone.
    fn not_read(&mut self, block: &Block, why: Unavailable) {
        if matches!(block, Block::Everyone) {
            self.unread.get_or_insert(why);
        }
    }

    fn settings(self) -> Settings {
        let mut settings = Settings::new();
        let names: BTreeSet<(&str, bool)> =
            KEYWORDS.iter().map(|(_, name, kind)| (*name, matches!(kind, Kind::Numbers | Kind::Texts))).collect();
        let mut said = self.said;
        for (name, adds_up) in names {
            let setting = match said.remove(name) {
                Some(said) if adds_up => added_up(&said, self.unread.as_ref()),
                Some(said) => first(&said),
                None => match &self.unread {
                    Some(why) => Observed::Unavailable(why.clone()),
                    None => continue,
                },
            };
            settings.insert(name.to_owned(), setting);
        }
        if !self.blocks.is_empty() {
            let blocks = self.blocks.into_iter().map(|(criteria, settings)| json!({"criteria": criteria, "settings": settings}));
            let source = Source::new(SourceKind::File, "Match blocks");
            settings.insert("Match".to_owned(), known(blocks.collect(), source, Vec::new()));
        }
        settings
    }
}

fn known(value: Value, source: Source, declared: Vec<Declared>) -> Observed<Setting> {
    Observed::known(Setting { value, source: source.clone(), declared }, source, now())
}

/// The first line decides; those after it are told as the weaker ones they are.
fn first(said: &[Said]) -> Observed<Setting> {
    let Some(Said { source, value }) = said.first() else {
        return Observed::unavailable_because(Reason::NotPresent, "no line");
    };
    match value {
        Err(why) => Observed::Unavailable(why.clone()),
        Ok(value) => known(value.clone(), source.clone(), declared(said.iter().rev())),
    }
}

/// Every line counts.
fn added_up(said: &[Said], unread: Option<&Unavailable>) -> Observed<Setting> {
    let mut all = Vec::new();
    for Said { value, .. } in said {
        match (value, unread) {
            (Err(why), _) | (_, Some(why)) => return Observed::Unavailable(why.clone()),
            (Ok(value), None) => all.extend(value.as_array().cloned().unwrap_or_default()),
        }
    }
    let source = said.first().map_or_else(|| Source::new(SourceKind::File, ""), |said| said.source.clone());
    known(all.into(), source, declared(said.iter()))
}

fn declared<'a>(said: impl Iterator<Item = &'a Said>) -> Vec<Declared> {
    said.filter_map(|said| Some(Declared { value: said.value.as_ref().ok()?.clone(), source: said.source.clone() })).collect()
}

/// The value of one line, or what is wrong with it.
fn value(kind: Kind, arguments: &[String]) -> Result<Value, String> {
    let argument = arguments.first().ok_or("no value")?;
    let number = |text: &str| text.parse::<i64>().map_err(|_| format!("`{}` is not a number", short(text)));
    match kind {
        Kind::Flag if argument.eq_ignore_ascii_case("yes") => Ok(true.into()),
        Kind::Flag if argument.eq_ignore_ascii_case("no") => Ok(false.into()),
        Kind::Flag => Err(format!("`{}` is neither yes nor no", short(argument))),
        Kind::Number => number(argument).map(Value::from),
        Kind::Numbers => number(argument).map(|number| json!([number])),
        Kind::Texts => Ok(arguments.iter().map(|text| short(text)).collect()),
        Kind::Word(words) => {
            let word = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(argument));
            word.map(|(_, meaning)| (*meaning).into()).ok_or_else(|| format!("`{}` is not one of its values", short(argument)))
        }
    }
}

fn short(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}

/// Every line of a configuration.
#[cfg(feature = "fuzzing")]
pub(in crate::sensors) fn fuzz(text: &str) {
    for (_, arguments) in text.lines().filter_map(words::split) {
        for kind in [Kind::Flag, Kind::Number, Kind::Numbers, Kind::Texts] {
            drop(value(kind, &arguments));
        }
    }
}

#[cfg(test)]
mod tests;
