//! Which package brought a kernel or a program: from the package database's own files, never by asking its tools.
//!
//! dpkg's database is read once, as a stream, for all packages that could matter, and again only when it has changed; what it says
//! of a file is checked against the version that the file itself tells. Must not know what a version is for.

pub(super) mod dpkg;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use holdfast_checks::facts::{Observed, Package, Reason, Source, SourceKind, Unavailable};

use super::now;
use crate::host::{ReadError, Root, Stamp};

/// Databases that this version knows by their place only.
const OTHERS: [(&str, &str); 4] =
    [("/var/lib/rpm", "rpm"), ("/usr/lib/sysimage/rpm", "rpm"), ("/lib/apk/db/installed", "apk"), ("/var/lib/pacman/local", "pacman")];
/// The host's own database, and those that runtimes with roots of their own see.
const MAX_KEPT: usize = 4;
/// More paths than runtimes have programs.
const MAX_OWNERS: usize = 256;
/// Links between a path and the file that a package brought.
const MAX_LINKS: usize = 8;

/// What earlier passes read of package databases.
#[derive(Debug, Default)]
pub(super) struct Packages(Mutex<HashMap<State, Arc<Database>>>);

/// A state of a database: its packages, and whose files were diverted, which is kept apart.
type State = (Stamp, Option<Stamp>);

/// One state of a database: what matters of it.
#[derive(Debug)]
struct Database {
    /// The file it was read from.
    place: &'static str,
    /// Installed packages that could have brought a kernel or a program of interest, by name.
    packages: BTreeMap<String, dpkg::Installed>,
    /// Which of them brought a file, of those that were asked for by all its paths: links between these may change.
    owners: Mutex<BTreeMap<Vec<String>, Option<Package>>>,
}

impl Packages {
    /// The installed package of the first of `names` that is there.
    pub(super) fn named(&self, root: &Root, names: &[String], what: &str) -> Observed<Package> {
        let database = match self.database(root) {
            Ok(database) => database,
            Err(why) => return Observed::Unavailable(why),
        };
        if let Some(found) = names.iter().find_map(|name| database.packages.get(name)) {
            return Observed::known(found.package.clone(), Source::new(SourceKind::File, database.place), now());
        }
        Observed::unavailable_because(Reason::NotPresent, format!("{}: no installed package brought {what}", database.place))
    }

    /// The package that brought the file at `path`, which says of itself that it is of `version`.
    pub(super) fn owner(&self, root: &Root, path: &str, version: Option<&str>) -> Observed<Package> {
        let database = match self.database(root) {
            Ok(database) => database,
            Err(why) => return Observed::Unavailable(why),
        };
        let owner = match database.owner(root, path) {
            Ok(owner) => owner,
            Err(error) => return error.observed(),
        };
        match owner {
            Some(package) if version.is_some_and(|version| !same_release(&package.version, version)) => {
                let detail = format!(
                    "{path} is of version {}, and {} {}, which brought a file there, is not: it was replaced by hand",
                    version.unwrap_or_default(),
                    package.name,
                    package.version
                );
                Observed::unavailable_because(Reason::NotPresent, detail)
            }
            Some(package) => Observed::known(package, Source::new(SourceKind::File, database.place), now()),
            None => {
                let detail = format!("{}: no installed package that could have brought {path} lists it", database.place);
                Observed::unavailable_because(Reason::NotPresent, detail)
            }
        }
    }

    fn database(&self, root: &Root) -> Result<Arc<Database>, Unavailable> {
        let place = dpkg::place(root);
        let stamp = match root.stamp(place) {
            Ok(stamp) => stamp,
            Err(error) if error.is_absent() => return Err(other(root).unwrap_or_else(|| error.unavailable())),
            Err(error) => return Err(error.unavailable()),
        };
        let state = (stamp, dpkg::diversions(root));
        if let Some(known) = self.kept().get(&state) {
            return Ok(Arc::clone(known));
        }
        let packages = dpkg::read(root, place).map_err(|error| error.unavailable())?;
        let database = Arc::new(Database { place, packages, owners: Mutex::default() });
        let mut kept = self.kept();
        // An older state of the same file is of no more use.
        kept.retain(|(other, _), _| !other.same_file(&stamp));
        if kept.len() >= MAX_KEPT {
            kept.clear();
        }
        kept.insert(state, Arc::clone(&database));
        Ok(database)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<State, Arc<Database>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Database {
    fn owner(&self, root: &Root, path: &str) -> Result<Option<Package>, ReadError> {
        let spellings = spellings(root, path);
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = owners.get(&spellings) {
            return Ok(known.clone());
        }
        let (mut owner, mut trouble) = (None, None);
        for found in self.packages.values().filter(|found| !found.is_kernel()) {
            match dpkg::brought(root, found, &spellings) {
                Ok(true) => owner = Some(found.package.clone()),
                Ok(false) => {}
                Err(error) => trouble = Some(error),
            }
            if owner.is_some() {
                break;
            }
        }
        if let (None, Some(error)) = (&owner, trouble) {
            return Err(error);
        }
        if owners.len() < MAX_OWNERS {
            owners.insert(spellings, owner.clone());
        }
        Ok(owner)
    }
}

/// A system with another kind of database.
fn other(root: &Root) -> Option<Unavailable> {
    let (path, name) = OTHERS.into_iter().find(|(path, _)| root.stamp(path).is_ok())?;
    Some(Unavailable::new(Reason::NotSupported, format!("{path}: this version does not read {name}'s database")))
}

/// The paths under which a package may list the file at `path`: itself, what its links lead to, and each with and without the
/// `/usr` that systems moved their programs to.
fn spellings(root: &Root, path: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        match path.strip_prefix("/usr").filter(|rest| rest.starts_with('/')) {
            Some(rest) => all.push(rest.to_owned()),
            None => all.push(format!("/usr{path}")),
        }
        all.push(path.clone());
        match root.link_at(&path) {
            Ok(Some(target)) => path = led_to(&path, &target),
            _ => break,
        }
    }
    all
}

/// Where a link at `path` leads, as a path without `..`.
fn led_to(path: &str, target: &str) -> String {
    let mut names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
    names.pop();
    if target.starts_with('/') {
        names.clear();
    }
    for name in target.split('/').filter(|name| !matches!(*name, "" | ".")) {
        if name == ".." {
            names.pop();
        } else {
            names.push(name);
        }
    }
    format!("/{}", names.join("/"))
}

/// Are a package's version and a program's own of the same release: `1.6.20~ds1-1+deb12u1` and `1.6.20~ds1`.
fn same_release(package: &str, own: &str) -> bool {
    fn numbers(version: &str) -> Vec<u64> {
        let plain = version.split_once(':').map_or(version, |(_, rest)| rest);
        let end = plain.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(plain.len());
        let mut numbers: Vec<u64> = plain.get(..end).unwrap_or_default().split('.').filter_map(|part| part.parse().ok()).collect();
        while numbers.last() == Some(&0) {
            numbers.pop();
        }
        numbers
    }
    numbers(package) == numbers(own.trim_start_matches('v'))
}

#[cfg(test)]
mod tests {
    use super::{led_to, same_release};

    #[rstest::rstest]
    #[case("1.6.20~ds1-1+deb12u1", "1.6.20~ds1", true)]
    #[case("5:27.3.1-1~ubuntu.22.04~jammy", "27.3.1", true)]
    #[case("1.7.22+azure-ubuntu22.04u1", "v1.7.22", true)]
    #[case("1.21-1", "1.21.0", true)]
    #[case("1.6.20~ds1-1+deb12u1", "1.7.27", false)]
    #[case("1.1.5+ds1-1", "1.1.12", false)]
    fn a_package_and_its_program_are_of_one_release(#[case] package: &str, #[case] own: &str, #[case] expected: bool) {
        assert_eq!(same_release(package, own), expected);
    }

    #[rstest::rstest]
    #[case("/usr/bin/runc", "../sbin/runc", "/usr/sbin/runc")]
    #[case("/usr/bin/docker-runc", "/etc/alternatives/runc", "/etc/alternatives/runc")]
    #[case("/usr/bin/runc", "../../../../../sbin/./runc", "/sbin/runc")]
    fn a_link_leads_to_a_path_without_steps_up(#[case] path: &str, #[case] target: &str, #[case] expected: &str) {
        assert_eq!(led_to(path, target), expected);
    }
}
