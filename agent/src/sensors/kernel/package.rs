//! The distribution package the running kernel came from, from dpkg's database.

use std::io::{BufRead, BufReader};

use holdfast_checks::facts::{Observed, Package, Reason, Source, SourceKind};

use super::now;
use crate::host::{Host, HostFile};

const STATUS: &str = "/var/lib/dpkg/status";
/// A desktop's database has 5 MiB.
const STATUS_CAP: u64 = 64 * 1024 * 1024;
/// Longest line looked at; descriptions and file lists may be longer and do not matter.
const LINE_CAP: u64 = 64 * 1024;

pub(super) fn read(host: &Host, release: &str) -> Observed<Package> {
    match host.root.open_file(STATUS, STATUS_CAP) {
        Ok(file) => find(file, release),
        Err(error) if error.is_absent() => {
            let rpm = ["/var/lib/rpm", "/usr/lib/sysimage/rpm"].into_iter().find(|path| host.root.metadata(path).is_ok());
            match rpm {
                Some(path) => {
                    Observed::unavailable_because(Reason::NotSupported, format!("{path}: this version does not read rpm's database"))
                }
                None => error.observed(),
            }
        }
        Err(error) => error.observed(),
    }
}

/// Reads paragraph by paragraph: the database is never in memory as a whole.
fn find(file: HostFile, release: &str) -> Observed<Package> {
    let wanted = [format!("linux-image-{release}"), format!("linux-image-unsigned-{release}")];
    let mut reader = BufReader::with_capacity(64 * 1024, file);
    let mut paragraph = Paragraph::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = std::io::Read::take(&mut reader, LINE_CAP).read_until(b'\n', &mut line);
        let text = match read {
            Ok(_) => String::from_utf8_lossy(&line),
            Err(error) => return Observed::unavailable_because(Reason::TimedOut, format!("{STATUS}: {error}")),
        };
        if text.trim_end().is_empty() {
            if let Some(package) = paragraph.package(&wanted) {
                return Observed::known(package, Source::new(SourceKind::File, STATUS), now());
            }
            if line.is_empty() {
                let detail = format!("{STATUS}: no installed package brought the kernel {release}");
                return Observed::unavailable_because(Reason::NotPresent, detail);
            }
            paragraph = Paragraph::default();
        } else {
            paragraph.add(text.trim_end());
        }
    }
}

#[derive(Default)]
struct Paragraph {
    name: String,
    status: String,
    version: String,
    origin: String,
}

impl Paragraph {
    fn add(&mut self, line: &str) {
        let Some((key, value)) = line.split_once(": ") else { return };
        let field = match key {
            "Package" => &mut self.name,
            "Status" => &mut self.status,
            "Version" => &mut self.version,
            "Source" => &mut self.origin,
            _ => return,
        };
        value.clone_into(field);
    }

    fn package(&self, wanted: &[String; 2]) -> Option<Package> {
        let found = wanted.contains(&self.name) && self.status.ends_with(" installed");
        // `Source: linux-signed-amd64 (6.12.107+1)` carries the version of the source package.
        let origin = self.origin.split(' ').next().filter(|origin| !origin.is_empty()).unwrap_or(&self.name);
        found.then(|| Package {
            manager: "dpkg".to_owned(),
            name: self.name.clone(),
            version: self.version.clone(),
            origin: origin.to_owned(),
        })
    }
}
