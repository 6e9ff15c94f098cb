//! What a kubelet puts into the volumes of a pod, and how it replaces it: files in a directory of their own, reached by links through
//! `..data`, which is swapped in one step (`pkg/volume/util/atomic_writer.go`). Must not know what a file is for.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use anyhow::{Context, Result};

/// A file of a volume.
#[derive(Debug, Clone)]
pub struct File {
    /// Its name in the volume.
    pub name: String,
    /// What is in it.
    pub content: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    /// Whose it is.
    pub owner: u32,
    /// The pod's `fsGroup`.
    pub group: Option<u32>,
}

/// Makes the volume's directory, or replaces what is in it.
pub fn publish(volume: &Path, files: &[File]) -> Result<()> {
    std::fs::create_dir_all(volume).with_context(|| format!("make {}", volume.display()))?;
    let group = files.iter().find_map(|file| file.group);
    directory(volume, group)?;
    let before = std::fs::read_link(volume.join("..data")).ok();
    let version = tempfile::Builder::new().prefix("..2026_").tempdir_in(volume)?.keep();
    directory(&version, group)?;
    for file in files {
        let path = version.join(&file.name);
        std::fs::write(&path, &file.content)?;
        chown(&path, Some(file.owner), file.group)?;
        std::fs::set_permissions(&path, Permissions::from_mode(file.mode))?;
    }
    let fresh = volume.join("..data_tmp");
    symlink(version.file_name().context("a name")?, &fresh)?;
    std::fs::rename(fresh, volume.join("..data"))?;
    for file in files {
        let link = volume.join(&file.name);
        if std::fs::symlink_metadata(&link).is_err() {
            symlink(format!("..data/{}", file.name), link)?;
        }
    }
    before.map_or(Ok(()), |before| Ok(std::fs::remove_dir_all(volume.join(before))?))
}

/// One that everybody may enter, and whose files become the group's.
fn directory(path: &Path, group: Option<u32>) -> Result<()> {
    chown(path, None, group)?;
    let mode = if group.is_some() { 0o2775 } else { 0o755 };
    Ok(std::fs::set_permissions(path, Permissions::from_mode(mode))?)
}
