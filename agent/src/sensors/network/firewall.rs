//! What filters packets, by what can be seen without asking for the rules.

use std::collections::BTreeSet;

use holdfast_checks::facts::{Firewall, Observed, Reason, Source, SourceKind, Unavailable};

use super::super::now;
use crate::host::{Host, ReadError};

/// Services that filter, as their units are called.
const SERVICES: [&str; 3] = ["firewalld", "nftables", "ufw"];
/// Where enabling a unit leaves a link, in directories whose names end so.
const UNITS: &str = "/etc/systemd/system";
const WANTED_BY: [&str; 2] = [".wants", ".requires"];

/// The old tables and the services.
pub(super) fn read(host: &Host, running: &Result<Vec<String>, Unavailable>) -> Observed<Firewall> {
    let running = match running {
        Ok(running) => running,
        Err(why) => return Observed::Unavailable(why.clone()),
    };
    let facts = || -> Result<Firewall, ReadError> {
        Ok(Firewall { legacy_tables: tables(host)?.into_iter().collect(), services: services(host, running)?.into_iter().collect() })
    };
    match facts() {
        Ok(firewall) => Observed::known(firewall, Source::new(SourceKind::Kernel, "/proc/1/net and units"), now()),
        Err(error) => error.observed(),
    }
}

/// Never asked for: whoever may see them may change them.
pub(super) fn rules() -> Observed<i64> {
    let why = "nftables shows its rules to CAP_NET_ADMIN only, which could change them too and which the agent does not have";
    Observed::unavailable_because(Reason::PermissionDenied, why)
}

/// The tables of either family.
fn tables(host: &Host) -> Result<BTreeSet<String>, ReadError> {
    let mut tables = BTreeSet::new();
    for path in ["1/net/ip_tables_names", "1/net/ip6_tables_names"] {
        match host.proc.root().read_text(path) {
            Ok(text) => tables.extend(text.lines().filter(|line| !line.is_empty() && line.len() < 32).map(str::to_owned)),
            // The kernel makes the file with the old tables' first use.
            Err(error) if error.is_absent() && host.live() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(tables)
}

/// Services that run, or that a unit starts.
fn services(host: &Host, running: &[String]) -> Result<BTreeSet<String>, ReadError> {
    let mut services: BTreeSet<String> =
        SERVICES.into_iter().filter(|service| running.iter().any(|name| name == service)).map(str::to_owned).collect();
    for unit in enabled(host)? {
        services.extend(SERVICES.into_iter().filter(|service| unit.strip_suffix(".service") == Some(service)).map(str::to_owned));
    }
    // Its unit is enabled wherever it is installed; whether it filters stands in its own file.
    if services.contains("ufw") && !ufw_is_on(host)? {
        services.remove("ufw");
    }
    Ok(services)
}

/// The names of units that something wants.
fn enabled(host: &Host) -> Result<Vec<String>, ReadError> {
    let list = |path: &str| match host.root.list(path) {
        Err(error) if error.is_absent() => Ok(Vec::new()),
        listed => listed,
    };
    let mut units = Vec::new();
    for entry in list(UNITS)? {
        if WANTED_BY.iter().any(|ending| entry.name.ends_with(ending)) {
            units.extend(list(&format!("{UNITS}/{}", entry.name))?.into_iter().map(|entry| entry.name));
        }
    }
    Ok(units)
}

fn ufw_is_on(host: &Host) -> Result<bool, ReadError> {
    match host.root.read_text("/etc/ufw/ufw.conf") {
        Ok(text) => Ok(text.lines().filter_map(|line| line.trim().strip_prefix("ENABLED=")).next_back().is_some_and(|value| {
            let value = value.trim_matches(['"', '\'']);
            value.eq_ignore_ascii_case("yes")
        })),
        Err(error) if error.is_absent() => Ok(false),
        Err(error) => Err(error),
    }
}
