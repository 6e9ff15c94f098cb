//! Entries of the boot loader specification: one file for each in `loader/entries`. Must not know where loaders keep them.

use holdfast_checks::versions::compare::rpm;

use super::Choice;
use super::grub::Environment;
use crate::host::{ReadError, Root};

/// More entries than any menu has.
const MAX_ENTRIES: usize = 128;

/// The entries of one directory, the one that is offered first in front.
pub(super) struct Entries(Vec<(String, Choice)>);

impl Entries {
    /// Reads those of `directory`. One that cannot be read is an error: it could be the one that is started.
    pub(super) fn read(root: &Root, directory: &str) -> Result<Self, ReadError> {
        let names = root.list(directory)?.into_iter().map(|entry| entry.name);
        let mut names: Vec<String> = names.filter(|name| name.strip_suffix(".conf").is_some() && name.len() <= 255).collect();
        // GRUB and systemd-boot both offer the highest version first, and the name carries it.
        names.sort_by(|a, b| rpm(b, a).then_with(|| b.cmp(a)));
        names.truncate(MAX_ENTRIES);
        let entry = |name: String| {
            let path = format!("{directory}/{name}");
            let id = name.strip_suffix(".conf").unwrap_or(&name).to_owned();
            let text = root.read_text(&path)?;
            let field = |wanted: &str| {
                let value = text.lines().find_map(|line| line.trim_start().split_once([' ', '\t']).filter(|(name, _)| *name == wanted));
                value.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
            };
            let title = Some(field("title")).filter(|title| !title.is_empty()).unwrap_or_else(|| id.clone());
            Ok((id, Choice { title, image: field("linux"), version: field("version"), options: field("options"), chosen_by: path }))
        };
        names.into_iter().map(entry).collect::<Result<_, _>>().map(Self)
    }

    /// What GRUB starts: what its environment names, by name or place, else the first.
    pub(super) fn of_grub(&self, environment: &Environment) -> Option<Choice> {
        let named = environment.wanted().and_then(|wanted| {
            let by_place = || self.0.get(wanted.parse::<usize>().ok()?);
            let found = self.0.iter().find(|(id, choice)| id == wanted || choice.title == wanted).or_else(by_place);
            found.map(|(_, choice)| Choice { chosen_by: environment.path.clone(), ..choice.clone() })
        });
        named.or_else(|| self.0.first().map(|(_, choice)| choice.clone()))
    }

    /// What systemd-boot starts: what `loader.conf` (its text, and where it is) names, else the first.
    pub(super) fn of_systemd(&self, text: &str, path: &str) -> Option<Choice> {
        let line = text.lines().filter_map(|line| line.trim().split_once([' ', '\t'])).rfind(|(name, _)| *name == "default");
        let Some(wanted) = line.map(|(_, value)| value.trim()) else {
            return self.0.first().map(|(_, choice)| choice.clone());
        };
        // `@saved` is a variable of the firmware.
        let wanted = Some(wanted).filter(|wanted| !wanted.starts_with('@'))?;
        let wanted = wanted.strip_suffix(".conf").unwrap_or(wanted);
        let found = self.0.iter().find(|(id, _)| fits(wanted, id));
        found.map(|(_, choice)| Choice { chosen_by: path.to_owned(), ..choice.clone() })
    }
}

/// Does `name` fit a pattern with stars.
fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part).and_then(|at| rest.get(at + part.len()..)) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[rstest::rstest]
    #[case("arch", "arch", true)]
    #[case("arch", "arch-lts", false)]
    #[case("arch-*", "arch-lts", true)]
    #[case("*-lts", "arch-lts", true)]
    #[case("a*h*s", "arch-lts", true)]
    #[case("a*x*s", "arch-lts", false)]
    #[case("*", "", true)]
    fn stars_stand_for_anything(#[case] pattern: &str, #[case] name: &str, #[case] expected: bool) {
        assert_eq!(fits(pattern, name), expected);
    }
}
