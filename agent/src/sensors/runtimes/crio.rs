//! The documents of CRI-O: its configuration and drop-ins, `registries.conf`, and the image signature policy.
//!
//! CRI-O 1.24 to 1.36, `internal/criocli` and `pkg/config`: `crio.conf`, then every file under `crio.conf.d` in the order of names,
//! then flags. containers-registries.conf(5), containers-policy.json(5).

use holdfast_checks::derive::last_argument;
use holdfast_checks::facts::DocumentRole;
use serde_json::Value;

use super::documents::{Documents, Format};

const MAIN: &str = "/etc/crio/crio.conf";
const DROP_INS: &str = "/etc/crio/crio.conf.d";
const REGISTRIES: [&str; 2] = ["/etc/containers/registries.conf", "/usr/share/containers/registries.conf"];
const REGISTRIES_DROP_INS: &str = "/etc/containers/registries.conf.d";
const POLICY: &str = "/etc/containers/policy.json";

pub(super) fn read(documents: &mut Documents<'_>, argv: &[String]) {
    let given = |name: &str| last_argument(argv, &[name]).filter(|path| !path.is_empty());
    let main = given("--config").or_else(|| last_argument(argv, &["-c"]).filter(|path| !path.is_empty())).unwrap_or(MAIN);
    let mut policy = POLICY.to_owned();
    let mut says = |value: Option<Value>| {
        let named = value.and_then(|value| Some(value.get("crio")?.get("image")?.get("signature_policy")?.as_str()?.to_owned()));
        if let Some(path) = named.filter(|path| !path.is_empty()) {
            policy = path;
        }
    };
    says(documents.read(main, DocumentRole::Main, Format::Toml, &["crio"]));
    for path in documents.walk(given("--config-dir").or_else(|| last_argument(argv, &["-d"])).unwrap_or(DROP_INS)) {
        says(documents.read(&path, DocumentRole::DropIn, Format::Toml, &["crio"]));
    }
    if let Some(path) = given("--signature-policy") {
        path.clone_into(&mut policy);
    }
    // The one of the vendor holds where the administrator has none.
    let registries = given("--registries-conf");
    let there = |path: &&&str| documents.root.look(path).is_ok();
    let usual = REGISTRIES.iter().find(there).or(REGISTRIES.first()).copied().unwrap_or_default();
    documents.read(registries.unwrap_or(usual), DocumentRole::Registries, Format::Toml, &[]);
    for path in documents.walk(given("--registries-conf-dir").unwrap_or(REGISTRIES_DROP_INS)) {
        if path.strip_suffix(".conf").is_some() {
            documents.read(&path, DocumentRole::Registries, Format::Toml, &[]);
        }
    }
    documents.read(&policy, DocumentRole::SignaturePolicy, Format::Json, &["default", "transports"]);
}
