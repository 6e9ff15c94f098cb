//! A data directory, files to import, and the command as people run it.

use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};

use holdfast_collector::feeds::{self, Feeds, Output, Terminal};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

pub(crate) struct Rig {
    pub(crate) dir: tempfile::TempDir,
}

/// 2026-11-20, noon.
pub(crate) fn now() -> i64 {
    "2026-11-20T12:00:00Z".parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

impl Rig {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("data")).unwrap();
        Self { dir }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub(crate) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn run(&self, command: Feeds) -> (u8, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut terminal = Terminal { out: &mut out, err: &mut err, person: false, now: now() };
        let code = feeds::command(command, &mut terminal);
        let mut text = String::from_utf8(out).unwrap() + &String::from_utf8(err).unwrap();
        let code = code.unwrap_or_else(|(code, error)| {
            writeln!(text, "{error:#}").unwrap();
            code
        });
        (code, text.replace(&self.dir.path().display().to_string(), "[dir]"))
    }

    pub(crate) fn import(&self, files: &[&Path]) -> (u8, String) {
        let files = files.iter().map(|path| path.to_path_buf()).collect();
        self.run(Feeds::Import { data: self.data(), older: false, files })
    }

    pub(crate) fn import_older(&self, file: &Path) -> (u8, String) {
        self.run(Feeds::Import { data: self.data(), older: true, files: vec![file.to_owned()] })
    }

    pub(crate) fn status(&self, output: Output) -> (u8, String) {
        self.run(Feeds::Status { data: self.data(), output })
    }

    pub(crate) fn remove(&self, name: &str) -> (u8, String) {
        self.run(Feeds::Remove { data: self.data(), name: name.to_owned() })
    }

    pub(crate) fn library(&self) -> feeds::Library {
        feeds::Library::open(&self.data(), now()).unwrap()
    }
}

/// CISA's catalogue with these CVEs.
pub(crate) fn kev(day: &str, ids: &[&str]) -> String {
    let entry = |id: &&str| {
        serde_json::json!({
            "cveID": id, "vendorProject": "Linux", "product": "Kernel", "vulnerabilityName": "Linux Kernel Vulnerability",
            "dateAdded": "2026-05-01", "shortDescription": "", "requiredAction": "", "dueDate": "2026-05-15",
            "knownRansomwareCampaignUse": "Unknown", "notes": "", "cwes": []
        })
    };
    let list: Vec<_> = ids.iter().map(entry).collect();
    let text = serde_json::json!({
        "title": "CISA Catalog of Known Exploited Vulnerabilities", "catalogVersion": day.replace('-', "."),
        "dateReleased": format!("{day}T15:00:00.0000Z"), "count": list.len(), "vulnerabilities": list
    });
    text.to_string()
}

/// An OSV record of Debian about `linux`.
pub(crate) fn osv(id: &str, modified: &str, fixed: &str) -> String {
    osv_of("Debian:12", id, modified, fixed)
}

pub(crate) fn osv_of(ecosystem: &str, id: &str, modified: &str, fixed: &str) -> String {
    let cve = id.trim_start_matches("DEBIAN-").trim_start_matches("UBUNTU-");
    let text = serde_json::json!({
        "schema_version": "1.7.0", "id": id, "upstream": [cve], "published": "2026-01-01T00:00:00Z",
        "modified": format!("{modified}T00:00:00Z"),
        "affected": [{
            "package": {"ecosystem": ecosystem, "name": "linux"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": fixed}]}]
        }]
    });
    text.to_string()
}

/// A zip archive of these entries.
pub(crate) fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    for (name, bytes) in entries {
        writer.start_file(*name, options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// Debian's export with these records.
pub(crate) fn debian(records: &[(&str, &str, &str)]) -> Vec<u8> {
    let files: Vec<(String, String)> =
        records.iter().map(|(id, modified, fixed)| (format!("{id}.json"), osv(id, modified, fixed))).collect();
    let entries: Vec<(&str, &[u8])> = files.iter().map(|(name, text)| (name.as_str(), text.as_bytes())).collect();
    archive(&entries)
}
