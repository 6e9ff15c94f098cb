//! Systems that are updated as one image, by what they say of themselves. Must not know which image is good.

use holdfast_checks::facts::{Deployment, Observed, Os, Reason, Source, SourceKind, Unavailable};

use super::boot::STAGED;
use super::loader::Choice;
use super::now;
use crate::host::Host;

/// What a member of the command line, or of an entry, says of the deployment it starts.
const OSTREE: &str = "ostree=";
/// Written by SUSE's transactional updates when a new snapshot waits.
const NEEDED: &str = "/run/reboot-needed";
/// Written by Flatcar's update engine when the other partition waits.
const REQUIRED: &str = "/run/reboot-required";
/// What Elemental mounts its running image by.
const ELEMENTAL: [&str; 2] = ["/run/elemental/active_mode", "/run/cos/active_mode"];

pub(super) fn read(
    host: &Host,
    os: &Observed<Os>,
    command_line: &Observed<Vec<String>>,
    next: &Result<Choice, Unavailable>,
) -> Observed<Deployment> {
    let booted_by = command_line.value().into_iter().flatten().find_map(|word| word.strip_prefix(OSTREE));
    let Some(os) = os.value() else {
        return Observed::unavailable_because(Reason::NotPresent, "which system this is is not known: its os-release was not read");
    };
    let there = |path: &str| host.root.stamp(path).is_ok();
    let field = |name: &str| os.fields.get(name).cloned().unwrap_or_default();
    let version = os.version_id.clone();
    let waits = |path: &str| there(path).then(String::new);
    let (kind, booted, staged) = match os.id.as_str() {
        _ if booted_by.is_some() => {
            let booted_by = booted_by.unwrap_or_default();
            let own = field("OSTREE_VERSION");
            let booted = if own.is_empty() { checksum(host, booted_by) } else { own };
            ("ostree", booted, ostree(host, booted_by, next))
        }
        "bottlerocket" => ("bottlerocket", with(&version, &field("BUILD_ID")), None),
        "talos" => ("talos", version, None),
        "cos" => ("cos", cos(&version, &field("BUILD_ID")), None),
        "flatcar" | "coreos" => ("flatcar", version, waits(REQUIRED)),
        _ if os.id_like.iter().any(|like| like == "flatcar" || like == "coreos") => ("flatcar-like", version, waits(REQUIRED)),
        _ if ELEMENTAL.iter().any(|path| there(path)) => ("elemental", with(&version, &field("IMAGE_TAG")), None),
        // Packages of the running snapshot are all that can be seen: those of the one that waits lie in another.
        "sle-micro" | "sl-micro" | "opensuse-microos" => ("transactional", version, waits(NEEDED)),
        _ => {
            let detail = format!("{} is made of packages", if os.pretty_name.is_empty() { "the system" } else { &os.pretty_name });
            return Observed::unavailable_because(Reason::NotSupported, detail);
        }
    };
    let source =
        if kind == "ostree" { Source::new(SourceKind::Kernel, "/proc/cmdline") } else { Source::new(SourceKind::File, "os-release") };
    Observed::known(Deployment { kind: kind.to_owned(), booted, staged }, source, now())
}

/// `1.20.0 (12ab34cd)`.
fn with(version: &str, build: &str) -> String {
    if build.is_empty() { version.to_owned() } else { format!("{version} ({build})") }
}

/// As Google names images: `cos-125-19216-532-123`.
fn cos(version: &str, build: &str) -> String {
    if build.is_empty() { format!("cos-{version}") } else { format!("cos-{version}-{}", build.replace('.', "-")) }
}

/// `ostree=` names a link to the deployment, whose name begins with its checksum.
fn checksum(host: &Host, booted_by: &str) -> String {
    let target = host.root.link_at(booted_by).ok().flatten();
    let of_link = target.as_deref().and_then(|target| target.rsplit('/').next()).and_then(|name| name.split('.').next());
    let of_path = booted_by.rsplit('/').nth(1);
    of_link.or(of_path).unwrap_or_default().to_owned()
}

/// What waits beside the running deployment: one that is written when the system goes down, or one that is already in the menu.
fn ostree(host: &Host, booted_by: &str, next: &Result<Choice, Unavailable>) -> Option<String> {
    if host.root.stamp(STAGED).is_ok() {
        return Some(String::new());
    }
    let choice = next.as_ref().ok()?;
    let other = choice.options.split_ascii_whitespace().find_map(|word| word.strip_prefix(OSTREE))?;
    // Which of the two directories of boot links is used changes with every deployment; what follows names it.
    let deployed = |path: &str| path.split('/').skip(3).collect::<Vec<_>>().join("/");
    (deployed(other) != deployed(booted_by)).then(|| choice.title.clone())
}
