//! An image as `ctr images import` takes it: an OCI layout in a tar archive, with one layer, of our own program.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

/// The program in the image.
const INMATE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/inmate"));
/// The repository it is of.
pub const REPOSITORY: &str = "registry.example/inmate";
/// Its tag.
pub const TAG: &str = "v1";
/// Where the program is.
pub const PROGRAM: &str = "/inmate";
/// The same program, setuid root.
pub const SETUID: &str = "/become-root";

/// Writes the archive and returns the digest of the image's manifest.
pub fn write(path: &Path) -> Result<String> {
    archive(path, &layer()?, PROGRAM)
}

/// The same of an image that holds another program, with the libraries it loads: path in the image, content.
pub fn write_program(path: &Path, program: &str, files: &BTreeMap<String, Vec<u8>>) -> Result<String> {
    let mut archive_of = Builder::new(Vec::new());
    // Where mounts go must be there, in an image with a root that cannot be written.
    for name in ["etc/", "proc/", "sys/", "dev/", "run/", "host/", "var/", "var/lib/", "var/lib/holdfast/", "usr/", "usr/bin/", "sbin/"] {
        directory(&mut archive_of, name, 0o755)?;
    }
    directory(&mut archive_of, "tmp/", 0o1777)?;
    for (name, content) in files {
        file(&mut archive_of, name.trim_start_matches('/'), 0o755, content)?;
    }
    archive(path, &archive_of.into_inner()?, program)
}

fn archive(path: &Path, layer: &[u8], program: &str) -> Result<String> {
    let config = json!({
        "architecture": architecture(), "os": "linux", "config": {"Entrypoint": [program]},
        "rootfs": {"type": "layers", "diff_ids": [sha256(layer)]},
    })
    .to_string();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", config.as_bytes()),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", layer)],
    })
    .to_string();
    let listed = json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": sha256(manifest.as_bytes()), "size": manifest.len(),
        "annotations": {"org.opencontainers.image.ref.name": TAG},
    });
    let index = json!({"schemaVersion": 2, "manifests": [listed]}).to_string();

    let mut archive = Builder::new(std::fs::File::create(path)?);
    for blob in [layer, config.as_bytes(), manifest.as_bytes()] {
        let name = format!("blobs/{}", sha256(blob).replace(':', "/"));
        file(&mut archive, &name, 0o644, blob)?;
    }
    file(&mut archive, "index.json", 0o644, index.as_bytes())?;
    file(&mut archive, "oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    archive.into_inner()?;
    Ok(sha256(manifest.as_bytes()))
}

/// The same files as a directory, for a runtime that knows no images.
pub fn unpack(root: &Path) -> Result<()> {
    std::fs::create_dir(root)?;
    let layer = layer()?;
    let mut archive = tar::Archive::new(layer.as_slice());
    archive.set_preserve_permissions(true);
    archive.unpack(root)?;
    Ok(())
}

fn layer() -> Result<Vec<u8>> {
    let mut archive = Builder::new(Vec::new());
    for name in ["etc/", "proc/", "sys/", "dev/", "run/"] {
        directory(&mut archive, name, 0o755)?;
    }
    directory(&mut archive, "tmp/", 0o1777)?;
    file(&mut archive, "etc/passwd", 0o644, b"root:x:0:0:root:/:/inmate\nguest:x:1000:1000::/:/inmate\n")?;
    file(&mut archive, PROGRAM.trim_start_matches('/'), 0o755, INMATE)?;
    file(&mut archive, SETUID.trim_start_matches('/'), 0o4755, INMATE)?;
    Ok(archive.into_inner()?)
}

fn file<W: std::io::Write>(archive: &mut Builder<W>, name: &str, mode: u32, content: &[u8]) -> Result<()> {
    let mut header = Header::new_gnu();
    header.set_mode(mode);
    header.set_size(u64::try_from(content.len())?);
    Ok(archive.append_data(&mut header, name, content)?)
}

fn directory<W: std::io::Write>(archive: &mut Builder<W>, name: &str, mode: u32) -> Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Directory);
    header.set_mode(mode);
    header.set_size(0);
    Ok(archive.append_data(&mut header, name, std::io::empty())?)
}

fn descriptor(kind: &str, content: &[u8]) -> Value {
    json!({"mediaType": kind, "digest": sha256(content), "size": content.len()})
}

fn sha256(content: &[u8]) -> String {
    use std::fmt::Write as _;
    digest(&SHA256, content).as_ref().iter().fold("sha256:".to_owned(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _written = write!(text, "{byte:02x}");
        text
    })
}

/// This machine, as Go calls it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
