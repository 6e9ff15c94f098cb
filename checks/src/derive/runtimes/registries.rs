//! Registries that a runtime's documents say something of: where their images are asked for, and how safely.
//!
//! Registries of which nothing is said are asked over TLS, with verification. Sources: containerd's docs/hosts.md and
//! `core/remotes/docker/config/hosts.go` (v2.1.0), docs/cri/registry.md; containers-registries.conf(5); Docker's reference.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Product;
use super::layers::{Layers, Said, about_registries};
use super::release::{Release, Running};
use crate::facts::{DocumentRole, Listing, Observed, Registry, Runtime, RuntimeDocument, Skipped, Source, SourceKind, Unavailable};

/// More registries than anybody says something of.
const MAX_REGISTRIES: usize = 256;

pub(super) fn of(runtime: &Runtime, product: Product, layers: &Layers, release: Running, at: i64) -> Observed<Listing<Registry>> {
    let documents = match &runtime.documents {
        Observed::Unavailable(why) => return Observed::Unavailable(why.clone()),
        Observed::Known { value, .. } => value,
    };
    let mut found = Found { listing: Listing::complete(Vec::new()) };
    let read = match product {
        Product::Containerd => found.containerd(runtime, documents, layers, release),
        Product::Crio => found.crio(documents, layers),
        Product::Docker => found.docker(layers),
    };
    match read {
        Ok(()) => Observed::known(found.listing, Source::new(SourceKind::Derived, "its configuration"), at),
        Err(why) => Observed::Unavailable(why),
    }
}

struct Found {
    listing: Listing<Registry>,
}

/// One address images are asked for at: as written, with its scheme, host and port.
struct Endpoint<'a> {
    written: String,
    tls: bool,
    host: &'a str,
}

/// An address without a scheme is one over TLS.
fn endpoint(address: &str) -> Endpoint<'_> {
    let (scheme, rest) = address.split_once("://").unwrap_or(("https", address));
    let host = rest.split('/').next().unwrap_or_default();
    let host = host.rsplit('@').next().unwrap_or_default();
    Endpoint { written: format!("{scheme}://{host}"), tls: scheme != "http", host }
}

impl Found {
    fn add(&mut self, host: &str, endpoint: &str, tls: bool, verified: bool, source: &str) {
        if self.listing.items.len() >= MAX_REGISTRIES {
            if self.listing.skipped.is_empty() {
                self.listing.skipped.push(Skipped { what: "more registries".to_owned(), reason: crate::facts::Reason::TooLarge });
            }
            return;
        }
        let registry = Registry {
            subject: format!("registry:{host}"),
            host: host.to_owned(),
            endpoint: endpoint.to_owned(),
            tls,
            verified: tls && verified,
            source: source.to_owned(),
        };
        if !self.listing.items.contains(&registry) {
            self.listing.items.push(registry);
        }
    }

    fn containerd(
        &mut self,
        runtime: &Runtime,
        documents: &Listing<RuntimeDocument>,
        layers: &Layers,
        release: Running,
    ) -> Result<(), Unavailable> {
        let path = match runtime.settings.get("registry_config_path") {
            Some(Observed::Known { value, .. }) => value.value.as_str().unwrap_or_default(),
            // Which directories are the default depends on the release; where there is nothing in any, that makes no difference.
            Some(Observed::Unavailable(_)) if layers.unread().is_none() && nothing_in(documents) => "",
            Some(Observed::Unavailable(why)) => return Err(why.clone()),
            None => "",
        };
        if path.is_empty() {
            return self.mirrors(layers, release);
        }
        let mut taken = BTreeSet::new();
        for root in path.split(':').filter(|root| !root.is_empty()) {
            let root = format!("{}/", root.trim_end_matches('/'));
            let within = |document: &&RuntimeDocument| document.role == DocumentRole::RegistryHosts && document.path.starts_with(&root);
            for document in documents.items.iter().filter(within) {
                let directory = document.path.trim_start_matches(&root).trim_end_matches("/hosts.toml");
                // The first directory that has one for the host.
                if !taken.insert(directory.to_owned()) {
                    continue;
                }
                match &document.content {
                    Observed::Known { value, .. } => self.hosts(&host_of(directory), value, &document.path),
                    Observed::Unavailable(why) => self.listing.skipped.push(Skipped::because(document.path.clone(), why)),
                }
            }
        }
        self.listing.skipped.extend(documents.skipped.iter().filter(|skipped| about_registries(&skipped.what)).cloned());
        Ok(())
    }

    /// A `hosts.toml`: mirrors by name, and the registry itself, `server` or the host the file is for.
    fn hosts(&mut self, host: &str, document: &Value, source: &str) {
        let unverified = |table: &Value| table.get("skip_verify").and_then(Value::as_bool) == Some(true);
        for (address, table) in document.get("host").and_then(Value::as_object).into_iter().flatten() {
            let endpoint = endpoint(address);
            self.add(host, &endpoint.written, endpoint.tls, !unverified(table), source);
        }
        let server = document.get("server").and_then(Value::as_str).filter(|server| !server.is_empty());
        match server {
            Some(server) => {
                let endpoint = endpoint(server);
                self.add(host, &endpoint.written, endpoint.tls, !unverified(document), source);
            }
            None if host == "*" => self.add(host, "*", true, !unverified(document), source),
            None => self.add(host, &format!("https://{host}"), true, !unverified(document), source),
        }
    }

    /// `registry.mirrors` and `registry.configs` of the CRI plugin. 2.0 dropped `configs.*.tls`.
    fn mirrors(&mut self, layers: &Layers, release: Running) -> Result<(), Unavailable> {
        if let Some(why) = layers.unread() {
            return Err(why.clone());
        }
        let unverified: Vec<(String, String)> = layers
            .names(&["images", "registry", "configs"])
            .into_iter()
            .filter(|_| release.is_at_least(Release(2, 0, 0)) != Some(true))
            .filter_map(|host| match layers.last(&["images", "registry", "configs", &host, "tls", "insecure_skip_verify"], false) {
                Said::Value(Value::Bool(true), source, _) => Some((host, source.place.clone())),
                _ => None,
            })
            .collect();
        let skips = |host: &str| unverified.iter().any(|(unverified, _)| unverified == host);
        for host in layers.names(&["images", "registry", "mirrors"]) {
            let Said::Value(Value::Array(endpoints), source, _) = layers.last(&["images", "registry", "mirrors", &host, "endpoint"], false)
            else {
                continue;
            };
            for address in endpoints.iter().filter_map(Value::as_str) {
                let endpoint = endpoint(address);
                self.add(&host, &endpoint.written, endpoint.tls, !skips(endpoint.host), &source.place);
            }
        }
        for (host, source) in &unverified {
            self.add(host, &format!("https://{host}"), true, false, source);
        }
        Ok(())
    }

    fn crio(&mut self, documents: &Listing<RuntimeDocument>, layers: &Layers) -> Result<(), Unavailable> {
        match layers.last(&["crio", "image", "insecure_registries"], false) {
            Said::Unknown(why) => return Err(why),
            Said::Value(Value::Array(hosts), source, _) => {
                for host in hosts.iter().filter_map(Value::as_str) {
                    self.add(host, &format!("http://{host}"), false, false, &source.place);
                }
            }
            Said::Value(..) | Said::Nothing => {}
        }
        let files = documents.items.iter().filter(|document| document.role == DocumentRole::Registries);
        let mut tables: Vec<(String, &Value, &str)> = Vec::new();
        for document in files {
            let value = match &document.content {
                Observed::Known { value, .. } => value,
                Observed::Unavailable(why) if why.reason == crate::facts::Reason::NotPresent => continue,
                Observed::Unavailable(why) => {
                    self.listing.skipped.push(Skipped::because(document.path.clone(), why));
                    continue;
                }
            };
            // Version 1 of the format.
            let insecure = value.pointer("/registries/insecure/registries").and_then(Value::as_array).into_iter().flatten();
            for host in insecure.filter_map(Value::as_str) {
                self.add(host, &format!("http://{host}"), false, false, &document.path);
            }
            for table in value.get("registry").and_then(Value::as_array).into_iter().flatten() {
                let text = |name: &str| table.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
                let Some(prefix) = text("prefix").or_else(|| text("location")) else { continue };
                // A drop-in's table replaces the one for the same prefix.
                tables.retain(|(before, ..)| before != prefix);
                tables.push((prefix.to_owned(), table, &document.path));
            }
        }
        for (prefix, table, source) in tables {
            self.registry(&prefix, table, source);
        }
        self.listing.skipped.extend(documents.skipped.iter().filter(|skipped| about_registries(&skipped.what)).cloned());
        Ok(())
    }

    fn registry(&mut self, prefix: &str, table: &Value, source: &str) {
        let truth = |table: &Value, name: &str| table.get(name).and_then(Value::as_bool) == Some(true);
        if truth(table, "blocked") {
            return;
        }
        let mirrors = table.get("mirror").and_then(Value::as_array).into_iter().flatten();
        for place in mirrors.chain([table]) {
            let location = place.get("location").and_then(Value::as_str).filter(|text| !text.is_empty()).unwrap_or(prefix);
            // Insecure is both: without TLS, or with a certificate that nobody looks at.
            let insecure = truth(place, "insecure");
            self.add(prefix, &format!("{}://{location}", if insecure { "http" } else { "https" }), !insecure, true, source);
        }
    }

    fn docker(&mut self, layers: &Layers) -> Result<(), Unavailable> {
        for (key, mirrors) in [("insecure-registries", false), ("registry-mirrors", true)] {
            match layers.last(&[key], false) {
                Said::Unknown(why) => return Err(why),
                Said::Value(Value::Array(hosts), source, _) => {
                    for host in hosts.iter().filter_map(Value::as_str) {
                        let endpoint = endpoint(host);
                        if mirrors {
                            self.add("docker.io", &endpoint.written, endpoint.tls, true, &source.place);
                        } else {
                            self.add(host, &format!("http://{host}"), false, false, &source.place);
                        }
                    }
                }
                Said::Value(..) | Said::Nothing => {}
            }
        }
        // Always insecure (`registry/config.go`): nobody is on that way.
        self.add("127.0.0.0/8", "http://127.0.0.0/8", false, false, "default");
        Ok(())
    }
}

/// Is no file of a registry's in any directory that was looked at, and each could be.
fn nothing_in(documents: &Listing<RuntimeDocument>) -> bool {
    documents.items.iter().all(|document| document.role != DocumentRole::RegistryHosts)
        && !documents.skipped.iter().any(|skipped| about_registries(&skipped.what))
}

/// `r.example_5000_` and `r.example:5000` are one host; `_default` is every other.
fn host_of(directory: &str) -> String {
    if directory == "_default" {
        return "*".to_owned();
    }
    let inner = directory.strip_suffix('_').and_then(|rest| rest.rsplit_once('_'));
    inner.map_or_else(|| directory.to_owned(), |(host, port)| format!("{host}:{port}"))
}
