//! OSV exports as distributions have them, made up: the same every time, in any size.
//!
//! Sizes and shapes are those of Ubuntu's and Debian's: most records are about packages that no node's patch chain has.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::Result;
use zip::write::SimpleFileOptions;

/// What records are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// One in ten is about a kernel or a runtime, as in a distribution's export.
    Everything,
    /// All are about kernels: the most that can be kept.
    Kernels,
}

/// Packages, the first of which make the patch chain.
const PACKAGES: [&str; 10] = ["linux", "linux-aws", "runc", "containerd", "emacs", "imagemagick", "firefox", "php8.1", "qemu", "vim"];

/// Writes an export with so many records.
pub fn write(path: &Path, records: u32, about: About) -> Result<()> {
    let mut archive = zip::ZipWriter::new(BufWriter::new(File::create(path)?));
    let options = SimpleFileOptions::default().compression_level(Some(1));
    for number in 0..records {
        let id = format!("UBUNTU-CVE-{}-{:06}", 2010 + number % 17, number);
        archive.start_file(format!("{id}.json"), options)?;
        archive.write_all(record(&id, number, about)?.as_bytes())?;
    }
    archive.finish()?.flush()?;
    Ok(())
}

/// One record.
fn record(id: &str, number: u32, about: About) -> Result<String> {
    // Spread like noise, and the same every time.
    let noise = number.wrapping_mul(2_654_435_761) >> 7;
    let place = if about == About::Kernels {
        noise % 2
    } else if number.is_multiple_of(10) {
        noise % 4
    } else {
        4 + noise % 6
    };
    let package = usize::try_from(place).ok().and_then(|place| PACKAGES.get(place)).copied().unwrap_or("linux");
    let cve = id.trim_start_matches("UBUNTU-");
    let mut text = String::with_capacity(4096);
    write!(
        text,
        r#"{{"schema_version":"1.7.0","id":"{id}","upstream":["{cve}"],"details":"An issue was discovered in {package} before {number}. "#
    )?;
    for word in 0..20 + noise % 40 {
        write!(text, "word{} ", noise.wrapping_add(word) % 997)?;
    }
    let (month, day) = (1 + number % 10, 1 + number % 28);
    write!(text, r#"","published":"2024-01-01T00:00:00Z","modified":"2026-{month:02}-{day:02}T10:00:00Z","affected":["#)?;
    for (index, release) in ["20.04:LTS", "22.04:LTS", "24.04:LTS"].iter().enumerate() {
        let base = ["5.4.0", "5.15.0", "6.8.0"].get(index).copied().unwrap_or("6.8.0");
        let abi = 20 + noise % 180;
        write!(
            text,
            r#"{}{{"package":{{"ecosystem":"Ubuntu:{release}","name":"{package}","purl":"pkg:deb/ubuntu/{package}@{base}?arch=source"}},"ranges":[{{"type":"ECOSYSTEM","events":[{{"introduced":"0"}},{{"fixed":"{base}-{abi}.{}"}}]}}],"versions":["#,
            if index == 0 { "" } else { "," },
            abi + 11
        )?;
        for version in 0..12 {
            write!(text, r#"{}"{base}-{version}.{}""#, if version == 0 { "" } else { "," }, version + 11)?;
        }
        write!(
            text,
            r#"],"ecosystem_specific":{{"binaries":[{{"binary_name":"{package}","binary_version":"{base}-{abi}.{}"}}],"availability":"No subscription required"}}}}"#,
            abi + 11
        )?;
    }
    text.push_str("]}");
    Ok(text)
}
