//! GRUB's menu as `grub-mkconfig` writes it, and its environment. A script is not run: entries are counted as they stand.

use super::Choice;
use crate::host::{ReadError, Root};

/// More entries, and deeper menus, than anybody has.
const MAX_ENTRIES: usize = 1_024;
const MAX_DEPTH: usize = 8;

/// Variables that outlive a boot, `grubenv`.
#[derive(Debug, Default)]
pub(super) struct Environment {
    pub(super) path: String,
    saved: Option<String>,
    next: Option<String>,
}

impl Environment {
    /// Reads the one at `path`; one that is not there has no variable.
    pub(super) fn read(root: &Root, path: &str) -> Result<Self, ReadError> {
        let text = match root.read_text(path) {
            Ok(text) => text,
            Err(error) if error.is_absent() => String::new(),
            Err(error) => return Err(error),
        };
        let value = |name: &str| {
            let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            found.map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned)
        };
        Ok(Self { path: path.to_owned(), saved: value("saved_entry"), next: value("next_entry") })
    }

    /// The entry it names: for the next boot only, else for every one.
    pub(super) fn wanted(&self) -> Option<&str> {
        self.next.as_deref().or(self.saved.as_deref())
    }
}

/// One thing of a menu.
#[derive(Debug, Default)]
struct Item {
    title: String,
    id: String,
    image: String,
    options: String,
    /// A menu inside of the menu.
    items: Option<Vec<Item>>,
}

/// The menu of a `grub.cfg`.
#[derive(Debug, Default)]
pub(super) struct Menu {
    items: Vec<Item>,
    /// What its text says to start; `None` where it says nothing.
    default: Option<String>,
}

/// What a `{` of the script opened.
enum Open {
    Item(Item),
    Other,
}

impl Menu {
    pub(super) fn of(text: &str) -> Self {
        let mut menu = Self::default();
        let mut open: Vec<Open> = Vec::new();
        let (mut count, mut deeper) = (0, 0_usize);
        for line in text.lines().map(str::trim) {
            if let Some(value) = line.strip_prefix("set default=") {
                let value = value.trim_matches(['"', '\'']);
                if !value.contains("next_entry") {
                    menu.default = Some(value.to_owned());
                }
            } else if line == "}" && deeper > 0 {
                deeper -= 1;
            } else if line == "}" {
                if let Some(Open::Item(item)) = open.pop()
                    && count < MAX_ENTRIES
                {
                    count += 1;
                    let above = open.iter_mut().rev().find_map(|open| match open {
                        Open::Item(Item { items: Some(items), .. }) => Some(items),
                        _ => None,
                    });
                    above.unwrap_or(&mut menu.items).push(item);
                }
            } else if line.ends_with('{') {
                if deeper == 0 && open.len() < MAX_DEPTH {
                    open.push(item(line).map_or(Open::Other, Open::Item));
                } else {
                    // What closes these closes nothing above them.
                    deeper += 1;
                }
            } else if deeper > 0 {
            } else if let Some(Open::Item(item)) = open.last_mut()
                && item.image.is_empty()
            {
                let mut words = line.split_ascii_whitespace();
                let starts = matches!(words.next(), Some("linux" | "linuxefi" | "linux16" | "module" | "module2"));
                if let Some(image) = words.next().filter(|image| starts && !image.starts_with("--")) {
                    image.clone_into(&mut item.image);
                    item.options = words.take(256).collect::<Vec<_>>().join(" ");
                }
            }
        }
        menu
    }

    /// The entry that is started: what the environment names where the menu asks it, else what the menu itself says, else the first.
    pub(super) fn chosen(&self, environment: &Environment, path: &str) -> Option<Choice> {
        let own = self.default.as_deref().unwrap_or("0");
        let asked = own.contains("saved_entry");
        let (wanted, chosen_by) = match (&environment.next, &environment.saved) {
            (Some(next), _) => (next.as_str(), environment.path.as_str()),
            (None, Some(saved)) if asked => (saved.as_str(), environment.path.as_str()),
            _ if asked => ("0", path),
            _ => (own, path),
        };
        // One that is not there starts the first.
        let item = find(&self.items, wanted).or_else(|| find(&self.items, "0"))?;
        let Item { title, image, options, .. } = item;
        (!image.is_empty()).then(|| Choice {
            title: title.clone(),
            image: image.clone(),
            version: String::new(),
            options: options.clone(),
            chosen_by: chosen_by.to_owned(),
        })
    }
}

/// The title and id of `menuentry 'Debian GNU/Linux' --class … --id 'gnulinux-simple-…' {`.
fn item(line: &str) -> Option<Item> {
    let (rest, items) = match line.strip_prefix("menuentry ") {
        Some(rest) => (rest, None),
        None => (line.strip_prefix("submenu ")?, Some(Vec::new())),
    };
    let words = words(rest.strip_suffix('{')?);
    let mut words = words.into_iter();
    let title = words.next()?;
    let id = words.skip_while(|word| word != "--id" && word != "$menuentry_id_option" && word != "${menuentry_id_option}").nth(1);
    Some(Item { title, id: id.unwrap_or_default(), items, ..Item::default() })
}

/// Words as a shell splits them, quotes taken off.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in text.chars().take(4_096) {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_ascii_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// The entry at a way of numbers, titles or ids: `1>2`, `Advanced options for Ubuntu>Ubuntu, with Linux 5.4.0-1067-azure`.
fn find<'a>(items: &'a [Item], wanted: &str) -> Option<&'a Item> {
    let named = |item: &&Item| item.title == wanted || (!item.id.is_empty() && item.id == wanted);
    // A title may contain the sign that separates steps.
    if let Some(item) = items.iter().find(named).or_else(|| items.get(wanted.parse::<usize>().ok()?)) {
        // A menu is opened, and its first entry starts.
        return match &item.items {
            Some(items) => items.first().filter(|item| item.items.is_none()),
            None => Some(item),
        };
    }
    wanted.match_indices('>').find_map(|(at, _)| {
        let (first, rest) = (wanted.get(..at)?, wanted.get(at + 1..)?);
        let first = |item: &&Item| item.title == first || (!item.id.is_empty() && item.id == first);
        let by_place = || items.get(wanted.get(..at)?.parse::<usize>().ok()?);
        find(items.iter().find(first).or_else(by_place)?.items.as_deref()?, rest)
    })
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
