//! Reads documents of a runtime: bounded, parsed, without secrets. Must not know which runtime reads what.

use holdfast_checks::facts::{DocumentRole, Listing, Observed, Reason, RuntimeDocument, Skipped, Source, SourceKind, Unavailable};
use serde_json::{Map, Value};

use crate::host::{Host, Root};
use crate::sensors::processes::Seen;
use crate::sensors::{config, now, redact};

/// More documents than any runtime has: one `hosts.toml` per registry is the most of them.
const MAX_DOCUMENTS: usize = 256;
/// Bytes of all documents of one runtime.
const MAX_TEXT: usize = 4 * 1024 * 1024;

/// In what a document is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Toml,
    Json,
}

/// The documents of one runtime as they are read.
pub(super) struct Documents<'a> {
    pub(super) host: &'a Host,
    /// The runtime's own root.
    pub(super) root: &'a Root,
    pub(super) seen: &'a Seen,
    /// Its working directory; empty where that is not known.
    pub(super) cwd: &'a str,
    pub(super) listing: Listing<RuntimeDocument>,
    spare: usize,
}

impl<'a> Documents<'a> {
    pub(super) fn new(host: &'a Host, root: &'a Root, seen: &'a Seen, cwd: &'a str) -> Self {
        Self { host, root, seen, cwd, listing: Listing::complete(Vec::new()), spare: MAX_TEXT }
    }

    /// Reads the document at `path`, and hands back what it says. Of its members at the top only those in `keep` are kept, where
    /// any are named: what a runtime was made to import by mistake stays where it is.
    pub(super) fn read(&mut self, path: &str, role: DocumentRole, format: Format, keep: &[&str]) -> Option<Value> {
        if self.listing.items.iter().any(|document| document.path == path && document.role == role) {
            return None;
        }
        if self.listing.items.len() >= MAX_DOCUMENTS {
            self.skip(Skipped { what: path.to_owned(), reason: Reason::TooLarge });
            return None;
        }
        let content = self.content(path, format, keep);
        let kind = if role == DocumentRole::DropIn { SourceKind::DropIn } else { SourceKind::File };
        let observed = match content {
            Ok(value) => Observed::known(value, Source::new(kind, path), now()),
            Err(why) => Observed::Unavailable(why),
        };
        let value = observed.value().cloned();
        self.listing.items.push(RuntimeDocument { path: path.to_owned(), role, content: observed });
        value
    }

    /// Says that something is missing; a long list of such is cut.
    pub(super) fn skip(&mut self, skipped: Skipped) {
        if self.listing.skipped.len() < MAX_DOCUMENTS {
            self.listing.skipped.push(skipped);
        }
    }

    /// Every regular file in a directory and below, as Go's `filepath.Walk` comes by them.
    pub(super) fn walk(&mut self, directory: &str) -> Vec<String> {
        let mut files = Vec::new();
        self.enter(directory, 0, &mut files);
        files
    }

    fn enter(&mut self, directory: &str, depth: usize, files: &mut Vec<String>) {
        let entries = match self.root.list(directory) {
            Ok(entries) => entries,
            Err(error) if error.is_absent() && depth == 0 => return,
            Err(error) => return self.skip(error.skipped(directory)),
        };
        for entry in entries {
            let path = format!("{}/{}", directory.trim_end_matches('/'), entry.name);
            if files.len() >= MAX_DOCUMENTS {
                return self.skip(Skipped { what: path, reason: Reason::TooLarge });
            }
            match entry.kind {
                Some(crate::host::NodeKind::Directory) if depth < 8 => self.enter(&path, depth + 1, files),
                Some(crate::host::NodeKind::Directory) => self.skip(Skipped { what: path, reason: Reason::TooLarge }),
                _ => files.push(path),
            }
        }
    }

    fn content(&mut self, path: &str, format: Format, keep: &[&str]) -> Result<Value, Unavailable> {
        let path = config::resolved(path, self.cwd)?;
        let text = config::text(self.host, self.root, self.seen, &path)?;
        self.spare = self
            .spare
            .checked_sub(text.len())
            .ok_or_else(|| Unavailable::new(Reason::TooLarge, format!("{path}: the documents of this runtime are larger than any's")))?;
        let parsed = match format {
            Format::Toml => toml(&text).map_err(|problem| format!("not TOML: {problem}")),
            Format::Json => json(&text).map_err(|problem| format!("not JSON: {problem}")),
        };
        let mut value = parsed.map_err(|problem| Unavailable::new(Reason::Malformed, format!("{path}: {problem}")))?;
        if let Some(members) = value.as_object_mut().filter(|_| !keep.is_empty()) {
            members.retain(|name, _| keep.contains(&name.as_str()));
        }
        Ok(cleaned(value))
    }
}

/// What may be kept of a document.
pub(super) fn cleaned(value: Value) -> Value {
    without_secrets(redact::document(value))
}

/// TOML as JSON. What does not parse is told by its line: the parser's own words quote the file.
pub(super) fn toml(text: &str) -> Result<Value, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let table: ::toml::Table = ::toml::from_str(text).map_err(|error: ::toml::de::Error| {
        let start = error.span().map_or(0, |span| span.start);
        let line = text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1;
        format!("line {line}")
    })?;
    Ok(Value::Object(table.into_iter().map(|(name, value)| (name, of_toml(value))).collect()))
}

/// The parser bounds how deep this goes.
fn of_toml(value: ::toml::Value) -> Value {
    match value {
        ::toml::Value::String(text) => text.into(),
        ::toml::Value::Integer(number) => number.into(),
        ::toml::Value::Float(number) => number.into(),
        ::toml::Value::Boolean(truth) => truth.into(),
        ::toml::Value::Datetime(date) => date.to_string().into(),
        ::toml::Value::Array(items) => items.into_iter().map(of_toml).collect(),
        ::toml::Value::Table(members) => Value::Object(members.into_iter().map(|(name, value)| (name, of_toml(value))).collect()),
    }
}

/// JSON that is an object. An empty file is one.
pub(super) fn json(text: &str) -> Result<Value, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    match serde_json::from_str(text) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err("no object".to_owned()),
        Err(error) => Err(format!("line {}", error.line())),
    }
}

/// What runtimes call credentials: of registries (`auth`, `auths`, `username`), in requests to them (`header`, `headers`), and in
/// the environment of what they start.
const SECRETS: [&str; 8] = ["auth", "auths", "username", "header", "headers", "env", "conmon_env", "log-opts"];

/// A document without registry credentials; what is credentials by any component's words is gone already.
fn without_secrets(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let redact = |(name, value): (String, Value)| {
                let empty = matches!(&value, Value::Null | Value::Bool(_))
                    || value.as_str().is_some_and(str::is_empty)
                    || value.as_object().is_some_and(Map::is_empty)
                    || value.as_array().is_some_and(Vec::is_empty);
                let secret = SECRETS.contains(&name.to_ascii_lowercase().as_str());
                let value = if secret && !empty { "(redacted)".into() } else { without_secrets(value) };
                // An address may be the name: `[host."https://user:password@mirror"]`.
                (redact::text(&name), value)
            };
            Value::Object(members.into_iter().map(redact).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_secrets).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn toml_is_read_as_json() {
        let read = toml("a = 1\nb = 1979-05-27\n[c.\"d.e\"]\nf = [true, 1.5, nan]\n");
        assert_eq!(read, Ok(json!({"a": 1, "b": "1979-05-27", "c": {"d.e": {"f": [true, 1.5, null]}}})));
        assert_eq!(toml(""), Ok(json!({})));
    }

    #[test]
    fn what_does_not_parse_is_not_quoted() {
        for text in
            ["root:$6$sup3rsecret:19000:0:::\n", "a = sup3rsecret", "[sup3rsecret", "a = 1\na = \"sup3rsecret\"\n", "a = \"sup3rsecret\n"]
        {
            let problem = toml(text).expect_err("it is not TOML");
            assert!(!problem.contains("sup3r") && problem.starts_with("line "), "{text}: {problem}");
        }
        assert_eq!(toml("a = 1\n\nb = ?"), Err("line 3".to_owned()));
        assert_eq!(json("{\n\"a\": sup3rsecret}"), Err("line 2".to_owned()));
        assert_eq!(json("[]"), Err("no object".to_owned()));
    }

    #[test]
    fn a_mebibyte_of_nesting_is_refused_in_time() {
        for text in
            ["[".repeat(1 << 20), format!("a = {}", "[".repeat(1 << 20)), format!("a = {}", "{b=".repeat(1 << 18)), "a.".repeat(1 << 19)]
        {
            assert!(toml(&text).is_err());
        }
        drop(toml(&format!("[{}a]\n", "a.".repeat(1 << 16))));
        assert!(json(&"[".repeat(1 << 20)).is_err());
    }

    #[test]
    fn registry_credentials_are_taken_out() {
        let text = r#"
            [plugins."io.containerd.grpc.v1.cri".registry.configs."r.example".auth]
            username = "geheim1"
            password = "geheim2"
            auth = "geheim3"
            identitytoken = "geheim4"
            [plugins."io.containerd.grpc.v1.cri".registry.auths."https://r.example"]
            username = "geheim5"
            [plugins."io.containerd.grpc.v1.cri".registry.headers]
            Authorization = ["Bearer geheim6"]
            [host."https://u:geheim7@mirror.example"]
            skip_verify = true
            [host."https://u:geheim7@mirror.example".header]
            x-api = "geheim8"
            [stream_processors.x]
            env = ["KEY=geheim9"]
        "#;
        let value = without_secrets(redact::document(toml(text).expect("it is TOML")));
        assert!(!value.to_string().contains("geheim"), "{value}");
        let kept = without_secrets(json!({"headers": {}, "env": [], "auth": "", "http_secret": 1}));
        assert_eq!(kept, json!({"headers": {}, "env": [], "auth": "", "http_secret": 1}), "nothing there is no secret");
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}") {
            drop((toml(&text), json(&text)));
        }

        #[test]
        fn no_toml_makes_it_panic(parts in proptest::collection::vec("[\\[\\]{}=\"'.,a1#\\n -]{0,8}", 0..40)) {
            drop(toml(&parts.concat()));
        }
    }
}
