//! dpkg's database: `status` with a paragraph for each package, and for each a list of the files it brought. Must not know whose
//! file is asked for.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};

use holdfast_checks::facts::Package;

use crate::host::{ReadError, Root, Stamp};

const STATUS: &str = "/var/lib/dpkg/status";
/// Where images without a package manager keep a paragraph each.
const APART: &str = "/var/lib/dpkg/status.d";
const INFO: &str = "/var/lib/dpkg/info";
/// Who took the place of whose file.
const DIVERSIONS: &str = "/var/lib/dpkg/diversions";
/// A desktop's database has 5 MiB.
const STATUS_CAP: u64 = 64 * 1024 * 1024;
/// Longest line looked at; descriptions and file lists may be longer and do not matter.
const LINE_CAP: u64 = 64 * 1024;
/// More packages that could matter than anybody has.
const MAX_PACKAGES: usize = 512;

/// Parts of the names of packages with programs of interest.
const PROGRAMS: [&str; 14] =
    ["containerd", "runc", "crun", "docker", "moby", "cri-o", "crio", "cri-tools", "kube", "kata", "gvisor", "runsc", "youki", "k3s"];
/// Beginnings and ends of names of packages that bring no program.
const NO_PROGRAMS: ([&str; 3], [&str; 3]) = (["golang-", "lib", "python"], ["-dev", "-doc", "-dbgsym"]);
/// Beginnings of the names of packages with kernels: Debian's and Ubuntu's, Proxmox's.
const KERNELS: [&str; 3] = ["linux-image-", "proxmox-kernel-", "pve-kernel-"];

/// An installed package.
#[derive(Debug)]
pub(super) struct Installed {
    pub(super) package: Package,
    architecture: String,
    /// Its paragraph stood apart, and its list of files stands beside that.
    apart: bool,
}

impl Installed {
    pub(super) fn is_kernel(&self) -> bool {
        KERNELS.iter().any(|start| self.package.name.starts_with(start))
    }
}

/// Where the database is.
pub(super) fn place(root: &Root) -> &'static str {
    if root.stamp(STATUS).is_err() && root.stamp(APART).is_ok() { APART } else { STATUS }
}

/// The packages of interest in the database at `place`.
pub(super) fn read(root: &Root, place: &'static str) -> Result<BTreeMap<String, Installed>, ReadError> {
    let mut found = BTreeMap::new();
    if place == STATUS {
        paragraphs(root.open_file(STATUS, STATUS_CAP)?, STATUS, false, &mut found)?;
        return Ok(found);
    }
    let names = root.list(APART)?.into_iter().map(|entry| entry.name);
    for name in names.filter(|name| !name.ends_with(".md5sums") && matters(name)).take(MAX_PACKAGES) {
        let path = format!("{APART}/{name}");
        paragraphs(root.open_file(&path, LINE_CAP)?, APART, true, &mut found)?;
    }
    Ok(found)
}

/// How many packages of interest a database has.
#[cfg(feature = "fuzzing")]
pub(in crate::sensors) fn fuzz(content: &[u8]) -> usize {
    let mut found = BTreeMap::new();
    for apart in [false, true] {
        drop(paragraphs(content, STATUS, apart, &mut found));
    }
    found.len()
}

fn matters(name: &str) -> bool {
    let (starts, ends) = NO_PROGRAMS;
    let no_program = starts.iter().any(|start| name.starts_with(start)) || ends.iter().any(|end| name.ends_with(end));
    KERNELS.iter().any(|start| name.starts_with(start)) || (!no_program && PROGRAMS.iter().any(|part| name.contains(part)))
}

/// Reads paragraph by paragraph: the database is never in memory as a whole.
fn paragraphs(file: impl Read, path: &str, apart: bool, found: &mut BTreeMap<String, Installed>) -> Result<(), ReadError> {
    let mut reader = BufReader::with_capacity(64 * 1024, file);
    let mut paragraph = Paragraph::default();
    let mut line = Vec::new();
    let mut goes_on = false;
    loop {
        line.clear();
        if (&mut reader).take(LINE_CAP).read_until(b'\n', &mut line).is_err() {
            return Err(ReadError::TimedOut { path: path.to_owned() });
        }
        // The rest of a long line is no line of its own, whatever it begins with.
        let rest = std::mem::replace(&mut goes_on, line.last().is_some_and(|byte| *byte != b'\n'));
        if rest && !line.is_empty() {
            continue;
        }
        let end = line.iter().rposition(|byte| !byte.is_ascii_whitespace()).map_or(0, |last| last + 1);
        if let Some(text) = line.get(..end).filter(|text| !text.is_empty()) {
            paragraph.add(text);
            continue;
        }
        if let Some(installed) = std::mem::take(&mut paragraph).installed(apart)
            && found.len() < MAX_PACKAGES
        {
            found.insert(installed.package.name.clone(), installed);
        }
        if line.is_empty() {
            return Ok(());
        }
    }
}

#[derive(Default)]
struct Paragraph {
    name: String,
    status: String,
    version: String,
    origin: String,
    architecture: String,
}

impl Paragraph {
    fn add(&mut self, line: &[u8]) {
        // Most lines are descriptions and dependencies.
        let wanted = |start: &[u8]| line.strip_prefix(start).map(|value| String::from_utf8_lossy(value).trim().to_owned());
        let field = match line.first() {
            Some(b'P') => (wanted(b"Package: "), &mut self.name),
            Some(b'S') => match wanted(b"Status: ") {
                Some(status) => (Some(status), &mut self.status),
                None => (wanted(b"Source: "), &mut self.origin),
            },
            Some(b'V') => (wanted(b"Version: "), &mut self.version),
            Some(b'A') => (wanted(b"Architecture: "), &mut self.architecture),
            _ => return,
        };
        if let (Some(value), field) = field {
            *field = value;
        }
    }

    fn installed(self, apart: bool) -> Option<Installed> {
        let installed = self.status.ends_with(" installed") || (apart && self.status.is_empty());
        if !installed || self.version.is_empty() || !matters(&self.name) || self.name.contains('/') {
            return None;
        }
        // `Source: linux-signed-amd64 (6.12.107+1)` carries the version of the source package.
        let origin = self.origin.split(' ').next().filter(|origin| !origin.is_empty()).unwrap_or(&self.name).to_owned();
        let package = Package { manager: "dpkg".to_owned(), name: self.name, version: self.version, origin };
        Some(Installed { package, architecture: self.architecture, apart })
    }
}

/// Did the package bring a file that is known by any of these paths, and is it still its.
pub(super) fn brought(root: &Root, installed: &Installed, paths: &[String]) -> Result<bool, ReadError> {
    let name = &installed.package.name;
    let lists = if installed.apart {
        vec![format!("{APART}/{name}.md5sums")]
    } else {
        vec![format!("{INFO}/{name}.list"), format!("{INFO}/{name}:{}.list", installed.architecture)]
    };
    for list in lists {
        let text = match root.read_text(&list) {
            Ok(text) => text,
            Err(error) if error.is_absent() => continue,
            Err(error) => return Err(error),
        };
        let listed = text.lines().find_map(|line| match line.split_once("  ").filter(|_| installed.apart) {
            Some((_, path)) => paths.iter().find(|wanted| wanted.strip_prefix('/') == Some(path)),
            None => paths.iter().find(|wanted| *wanted == line),
        });
        if let Some(path) = listed {
            return diverted(root, name, path).map(|diverted| !diverted);
        }
    }
    Ok(false)
}

/// The state of the list of diversions, which changes without the packages; `None` where there is none.
pub(super) fn diversions(root: &Root) -> Option<Stamp> {
    root.stamp(DIVERSIONS).ok()
}

/// Has another than `name` put its own file at `path`: `dpkg-divert` renames a package's file and lets it keep the name in its list.
/// A link elsewhere that leads here may be whose it wants.
fn diverted(root: &Root, name: &str, path: &str) -> Result<bool, ReadError> {
    let text = match root.read_text(DIVERSIONS) {
        Ok(text) => text,
        Err(error) if error.is_absent() => return Ok(false),
        Err(error) => return Err(error),
    };
    let lines: Vec<&str> = text.lines().collect();
    let theirs = |rule: &[&str]| match rule {
        [from, _, by] => *by != name && without_usr(from) == without_usr(path),
        _ => false,
    };
    Ok(lines.chunks(3).any(theirs))
}

/// Programs moved there, and are named by either path.
fn without_usr(path: &str) -> &str {
    path.strip_prefix("/usr").filter(|rest| rest.starts_with('/')).unwrap_or(path)
}
