//! How full the file systems are that a node cannot do without.

use std::collections::BTreeMap;

use holdfast_checks::facts::{Disk, Listing, Observed, Source, SourceKind};

use super::super::now;
use super::mounts::{Mounts, real};
use super::recorded;
use crate::host::{Host, Usage};

/// What lies on them: the system, its logs, pods, images, and what the control plane stores.
const PLACES: [&str; 11] = [
    "/",
    "/boot",
    "/tmp",
    "/var",
    "/var/lib/containerd",
    "/var/lib/containers",
    "/var/lib/docker",
    "/var/lib/etcd",
    "/var/lib/kubelet",
    "/var/lib/rancher",
    "/var/log",
];
/// File systems of this machine. Others may not answer, and what is never written to is always full.
const LOCAL: [&str; 12] = ["bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "reiserfs", "tmpfs", "xfs", "zfs"];
const STEP: u128 = 5;

/// One per file system, however often it is mounted.
pub(super) fn read(host: &Host, mounts: &Mounts) -> Observed<Listing<Disk>> {
    if !host.live() || host.recording.is_some() {
        return Observed::Unavailable(recorded());
    }
    if let Some(why) = mounts.why_not() {
        return Observed::Unavailable(why.clone());
    }
    let mut listing = Listing::complete(Vec::new());
    let mut disks: BTreeMap<String, Disk> = BTreeMap::new();
    for place in PLACES {
        // Before it is looked at: what lies on the network may not answer.
        if mounts.covering(place).is_some_and(|mount| !LOCAL.contains(&mount.kind.as_str())) {
            continue;
        }
        match host.root.metadata(place) {
            Ok(_) => {}
            Err(error) if error.is_absent() => continue,
            Err(error) => {
                listing.skipped.push(error.skipped(place));
                continue;
            }
        }
        let Some(mount) = real(host, place).and_then(|at| mounts.covering(&at)) else { continue };
        if !LOCAL.contains(&mount.kind.as_str()) || mount.options.iter().any(|option| option == "ro") {
            continue;
        }
        if let Some(disk) = disks.get_mut(&mount.device) {
            disk.holds.push(place.to_owned());
            continue;
        }
        match host.root.usage(place) {
            Ok(usage) => {
                let path = mounts.first_of(mount);
                let (used_percent, inodes_percent) = percents(&usage);
                let holds = vec![place.to_owned()];
                let disk = Disk { subject: format!("disk:{path}"), path: path.to_owned(), holds, used_percent, inodes_percent };
                disks.insert(mount.device.clone(), disk);
            }
            Err(error) => listing.skipped.push(error.skipped(place)),
        }
    }
    listing.items = disks.into_values().collect();
    listing.items.sort_by(|a, b| a.path.cmp(&b.path));
    Observed::known(listing, Source::new(SourceKind::Kernel, "statvfs"), now())
}

/// Used space as `df` counts it, which is of what users may have, and used inodes; both rounded up.
fn percents(usage: &Usage) -> (i64, i64) {
    let used = usage.blocks.saturating_sub(usage.free);
    let inodes = usage.inodes.saturating_sub(usage.inodes_free);
    (percent(used, used.saturating_add(usage.available)), percent(inodes, usage.inodes))
}

fn percent(part: u64, whole: u64) -> i64 {
    let (part, step) = (u128::from(part).saturating_mul(100), u128::from(whole).saturating_mul(STEP));
    if step == 0 {
        return 0;
    }
    i64::try_from(part.div_ceil(step).saturating_mul(STEP).min(100)).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percents_are_rounded_up_to_a_multiple_of_five() {
        for (part, whole, expected) in [
            (0, 100, 0),
            (0, 0, 0),
            (1, 1_000_000, 5),
            (5, 100, 5),
            (501, 10_000, 10),
            (80, 100, 80),
            (8001, 10_000, 85),
            (85, 100, 85),
            (8501, 10_000, 90),
            (100, 100, 100),
            (u64::MAX, u64::MAX, 100),
            (u64::MAX, 1, 100),
        ] {
            assert_eq!(percent(part, whole), expected, "{part} of {whole}");
        }
    }

    #[test]
    fn what_is_kept_for_root_is_full_to_everybody_else() {
        let usage = Usage { blocks: 100, free: 5, available: 0, inodes: 0, inodes_free: 0 };
        assert_eq!(percents(&usage), (100, 0));
    }
}
