//! The kernels that could be booted: their modules, their images, when these were written and what build they say to be.

use std::collections::BTreeMap;

use holdfast_checks::facts::{InstalledKernel, Listing, Observed, Reason, Skipped, Source, SourceKind};

use super::{image, now};
use crate::host::{Entry, Host, NodeKind, ReadError, Root};

/// Directories of modules; on most systems one by two names.
const MODULES: [&str; 2] = ["/lib/modules", "/usr/lib/modules"];
const BOOT: &str = "/boot";
/// What stands before the release in the names of images: the usual one, and those of arm64 and s390x.
pub(super) const IMAGES: [&str; 3] = ["vmlinuz-", "Image-", "image-"];
/// Ends of names of images that no boot loader offers.
const LEFT_OVER: [&str; 6] = [".old", ".bak", ".dpkg-old", ".dpkg-bak", ".rpmsave", ".gz"];
/// More kernels than fit on any disk for them.
const MAX_KERNELS: usize = 256;
/// A release has at most 64 bytes.
const MAX_RELEASE: usize = 64;

/// Where a kernel was seen.
#[derive(Default)]
struct Places {
    modules: Option<String>,
    image: Option<String>,
}

/// Kernels with modules or an image, the running `release` always among those that are looked at.
pub(super) fn read(host: &Host, running: &str) -> Observed<Listing<InstalledKernel>> {
    let root = &host.root;
    let mut found: BTreeMap<String, Places> = BTreeMap::new();
    let mut skipped = Vec::new();
    let mut absent = None;
    let mut known = false;
    for directory in module_directories(root) {
        let Some(entries) = list(root, directory, &mut skipped, &mut absent) else { continue };
        known = true;
        let entries = entries.into_iter().filter(|entry| !matches!(entry.kind, Some(NodeKind::File | NodeKind::Special)));
        for name in some(entries.map(|entry| entry.name).collect(), running, directory, &mut skipped) {
            let path = format!("{directory}/{name}");
            if bootable(root, &path) {
                let places = found.entry(name).or_default();
                places.image = places.image.take().or_else(|| image_in(root, &path));
                places.modules = Some(path);
            }
        }
    }
    if let Some(entries) = list(root, BOOT, &mut skipped, &mut absent) {
        known = true;
        let release = |entry: Entry| {
            let release = IMAGES.iter().find_map(|start| entry.name.strip_prefix(start))?;
            Some((release.to_owned(), entry.name.clone()))
        };
        let images: BTreeMap<String, String> = entries.into_iter().filter_map(release).filter(|(release, _)| is_release(release)).collect();
        for release in some(images.keys().cloned().collect(), running, BOOT, &mut skipped) {
            let image = images.get(&release).map(|name| format!("{BOOT}/{name}"));
            found.entry(release).or_default().image = image;
        }
    }
    match absent.filter(|_| !known) {
        Some(error) => error.observed(),
        None if !known => Observed::unavailable_because(Reason::PermissionDenied, "neither /lib/modules nor /boot could be listed"),
        None => {
            if !found.contains_key(running) {
                // Then others may be elsewhere, too.
                let what = format!("the running kernel {running}, of which nothing is in /lib/modules or /boot");
                skipped.push(Skipped { what, reason: Reason::NotPresent });
            }
            let items = found.into_iter().map(|(release, places)| kernel(root, release, places, running)).collect();
            Observed::known(Listing { items, skipped }, Source::new(SourceKind::File, MODULES[0]), now())
        }
    }
}

/// Where modules are, each place once: `/lib` is a link to `/usr/lib` on most systems.
fn module_directories(root: &Root) -> Vec<&'static str> {
    let [first, second] = MODULES;
    match (root.stamp(first), root.stamp(second)) {
        (Ok(one), Ok(other)) if one.same_file(&other) => vec![first],
        (Err(_), Ok(_)) => vec![second],
        (Ok(_), Err(error)) if error.is_absent() => vec![first],
        _ => vec![first, second],
    }
}

fn list(root: &Root, directory: &str, skipped: &mut Vec<Skipped>, absent: &mut Option<ReadError>) -> Option<Vec<Entry>> {
    match root.list(directory) {
        Ok(entries) => Some(entries),
        Err(error) if error.is_absent() => {
            absent.get_or_insert(error);
            None
        }
        Err(error) => {
            skipped.push(error.skipped(directory));
            None
        }
    }
}

/// At most so many of the names, the running release first.
fn some(names: Vec<String>, running: &str, directory: &str, skipped: &mut Vec<Skipped>) -> Vec<String> {
    let mut names: Vec<String> =
        names.into_iter().filter(|name| name.len() <= MAX_RELEASE && !name.chars().any(char::is_control)).collect();
    if names.len() > MAX_KERNELS {
        names.sort_by_key(|name| name != running);
        let what = format!("{} further names in {directory}", names.len() - MAX_KERNELS);
        skipped.push(Skipped { what, reason: Reason::TooLarge });
        names.truncate(MAX_KERNELS);
    }
    names
}

/// `vmlinuz-linux` names a package, `vmlinuz-0-rescue-…` a copy of some kernel for emergencies.
fn is_release(release: &str) -> bool {
    release.starts_with(|first: char| first.is_ascii_digit())
        && !release.starts_with("0-rescue")
        && !LEFT_OVER.iter().any(|end| release.ends_with(end))
}

/// A directory left behind by a removed package has none of these, though modules built for it (DKMS) and their list may be there.
fn bootable(root: &Root, path: &str) -> bool {
    ["vmlinuz", "kernel", "modules.builtin"].iter().any(|name| root.stamp(&format!("{path}/{name}")).is_ok())
}

/// The image that Red Hat's and SUSE's packages keep beside the modules.
fn image_in(root: &Root, modules: &str) -> Option<String> {
    ["vmlinuz", "Image", "image"].iter().map(|name| format!("{modules}/{name}")).find(|path| root.stamp(path).is_ok())
}

fn kernel(root: &Root, release: String, Places { modules, image }: Places, running: &str) -> InstalledKernel {
    let build = match &image {
        Some(path) => match image::build(root, path, &release) {
            Ok(build) => Observed::known(build, Source::new(SourceKind::File, path.as_str()), now()),
            Err(why) => Observed::Unavailable(why),
        },
        None => Observed::unavailable_because(Reason::NotPresent, format!("no image of {release} in {BOOT} or beside its modules")),
    };
    let modified = modified(root, image.as_deref(), modules.as_deref(), release == running);
    let path = modules.or(image).unwrap_or_default();
    InstalledKernel { build, modified, ..InstalledKernel::unread(release, path) }
}

/// When it was written. Packages keep the time at which an image was built; the list of modules is made when it is installed, and
/// again whenever a module is built for it: for the running kernel that says nothing of another image.
fn modified(root: &Root, image: Option<&str>, modules: Option<&str>, running: bool) -> Observed<i64> {
    let list = modules.map(|path| format!("{path}/modules.dep")).filter(|_| !running || image.is_none());
    let mut newest: Option<(i64, String)> = None;
    let mut failed = None;
    for path in image.map(str::to_owned).into_iter().chain(list) {
        match root.stamp(&path) {
            Ok(stamp) => newest = newest.max(Some((stamp.modified.0, path))),
            Err(error) => failed = Some(error),
        }
    }
    match (newest, failed) {
        (Some((time, path)), _) => Observed::known(time, Source::new(SourceKind::File, path), now()),
        (None, Some(error)) => error.observed(),
        (None, None) => Observed::unavailable_because(Reason::NotPresent, "it has neither an image nor a list of modules"),
    }
}
