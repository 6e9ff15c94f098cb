//! A container's configuration as the runtime was given it: `config.json` of an OCI bundle.
//!
//! What the file leaves out is what the runtime specification says absence means, and nothing else: absent capabilities,
//! filters, labels and `readonly` are none (<https://github.com/opencontainers/runtime-spec>, `config.md`, "Process" and "Root"),
//! an absent namespace is the runtime's own (`config-linux.md`, "Namespaces"). Must not know where the file lies.

use std::collections::BTreeMap;

use holdfast_checks::facts::{Configured, Listing, Mount, MountKind, Observed, Reason, Skipped, Source, SourceKind, Unavailable};
use serde::Deserialize;

use super::mounts::decide;
use super::places::{Places, Whose, plain};

/// More mounts than any container is given.
const MOST_MOUNTS: usize = 64;
/// Capabilities 0 to 37, which every kernel and runtime of today has. Later ones depend on both.
const ALL_CAPABILITIES: usize = 38;

/// The parts of `config.json` that facts need. Environment and arguments are never taken.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Spec {
    #[serde(default)]
    pub(super) annotations: Option<BTreeMap<String, String>>,
    process: Option<Process>,
    root: Option<RootFileSystem>,
    mounts: Option<Vec<SpecMount>>,
    linux: Option<Linux>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Process {
    user: Option<User>,
    capabilities: Option<Capabilities>,
    #[serde(default)]
    no_new_privileges: bool,
    #[serde(default)]
    apparmor_profile: String,
    #[serde(default)]
    selinux_label: String,
}

#[derive(Debug, Deserialize)]
struct User {
    uid: Option<u32>,
    gid: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct Capabilities {
    bounding: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
struct RootFileSystem {
    #[serde(default)]
    readonly: bool,
}

#[derive(Debug, Deserialize)]
struct SpecMount {
    destination: String,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    source: Option<String>,
    options: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Linux {
    namespaces: Option<Vec<Namespace>>,
    uid_mappings: Option<Vec<Mapping>>,
    seccomp: Option<serde::de::IgnoredAny>,
    resources: Option<Resources>,
    pub(super) cgroups_path: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Namespace {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    path: String,
}

#[derive(Debug, Deserialize)]
struct Mapping {
    #[serde(default, rename = "containerID")]
    inside: u32,
    #[serde(default, rename = "hostID")]
    outside: u32,
}

#[derive(Debug, Deserialize)]
struct Resources {
    devices: Option<Vec<DeviceRule>>,
}

#[derive(Debug, Deserialize)]
struct DeviceRule {
    #[serde(default)]
    allow: bool,
    #[serde(rename = "type")]
    kind: Option<String>,
    major: Option<i64>,
    minor: Option<i64>,
}

/// What a container's namespaces of one kind are.
enum Joins {
    Host,
    Own,
    /// That of another process, by a path that only its sandbox can explain.
    Another(String),
}

/// What is known of the sandbox whose namespaces a container joins.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sandbox<'a> {
    /// It joins nobody's: it is a sandbox itself, or stands alone.
    Itself,
    Told(&'a Spec),
    Unread(&'a Unavailable),
}

impl Spec {
    /// Where the runtime put it in the tree of control groups.
    pub(super) fn cgroups_path(&self) -> &str {
        self.linux.as_ref().and_then(|linux| linux.cgroups_path.as_deref()).unwrap_or_default()
    }

    /// As facts. `place` is the file's path.
    pub(super) fn configured(&self, place: &str, at: i64, sandbox: Sandbox<'_>, places: &Places, whose: Whose<'_>) -> Configured {
        let source = || Source::new(SourceKind::File, place);
        let missing = |what: &str| Unavailable::new(Reason::NotPresent, format!("{place}: it says nothing of {what}"));
        let process = self.process.as_ref();
        let user = process.and_then(|process| process.user.as_ref());
        let id = |id: Option<u32>| of(id.map(i64::from), &source, at, || missing("a user"));
        let capabilities = process.and_then(|process| process.capabilities.as_ref()).map(names);
        let linux = self.linux.as_ref();
        let namespace = |kind: &str| match self.namespace(kind, sandbox) {
            Ok(host) => Observed::known(host, source(), at),
            Err(why) => Observed::Unavailable(Unavailable::new(why.reason, format!("{place}: {}", why.detail))),
        };
        let host_ipc = match (self.namespace("ipc", sandbox), self.shared_memory_of_host()) {
            // containerd and CRI-O give a container the host's shared memory exactly when it has the host's IPC.
            (Err(_), Some(host)) => Observed::known(host, source(), at),
            _ => namespace("ipc"),
        };
        Configured {
            user: id(user.and_then(|user| user.uid)),
            group: id(user.and_then(|user| user.gid)),
            privileged: of(self.privileged(), &source, at, || missing("capabilities")),
            capabilities: of(capabilities, &source, at, || missing("capabilities")),
            no_new_privileges: of(process.map(|process| process.no_new_privileges), &source, at, || missing("a process")),
            seccomp: of(linux.map(|linux| linux.seccomp.is_some()), &source, at, || missing("Linux")),
            apparmor: of(process.map(|process| process.apparmor_profile.clone()), &source, at, || missing("a process")),
            selinux: of(process.map(|process| process.selinux_label.clone()), &source, at, || missing("a process")),
            root_read_only: of(self.root.as_ref().map(|root| root.readonly), &source, at, || missing("a root")),
            user_namespace: match (self.namespace("user", sandbox), self.maps_users()) {
                // Ids are mapped only where there is a namespace for it, whoever holds that.
                (Err(_), true) => Observed::known(true, source(), at),
                _ => namespace("user").map(|host| !host),
            },
            host_network: namespace("network"),
            host_pid: namespace("pid"),
            host_ipc,
            mounts: Observed::known(self.mounts(places, whose), source(), at),
        }
    }

    /// Is its namespace of `kind` the host's.
    fn namespace(&self, kind: &str, sandbox: Sandbox<'_>) -> Result<bool, Unavailable> {
        let Some(linux) = &self.linux else { return Err(Unavailable::new(Reason::NotPresent, "it says nothing of Linux")) };
        let joins = |linux: &Linux| {
            let listed = linux.namespaces.iter().flatten().find(|namespace| namespace.kind == kind);
            match listed.map(|namespace| namespace.path.as_str()) {
                None => Joins::Host,
                Some("") => Joins::Own,
                Some(path) if plain(path).starts_with(&format!("/proc/1/ns/{}", short(kind))) => Joins::Host,
                // Made for the sandbox, and given a name to outlive the process that made it.
                Some(path) if ["/run/netns/", "/run/utsns/", "/run/ipcns/", "/run/userns/"].iter().any(|pins| pinned(path, pins)) => {
                    Joins::Own
                }
                Some(path) => Joins::Another(path.to_owned()),
            }
        };
        let unknown = |path: &str| {
            let detail = format!("it joins the {kind} namespace at {path}, and nothing tells whose that is");
            Unavailable::new(Reason::NotSupported, detail)
        };
        match (joins(linux), sandbox) {
            (Joins::Host, _) => Ok(true),
            (Joins::Own, _) => Ok(false),
            // The number in the path may be another's by now. What the sandbox was given does not change.
            (Joins::Another(path), Sandbox::Told(sandbox)) => match sandbox.linux.as_ref().map(joins) {
                Some(Joins::Host) => Ok(true),
                Some(Joins::Own) => Ok(false),
                Some(Joins::Another(path)) => Err(unknown(&path)),
                None => Err(unknown(&path)),
            },
            (Joins::Another(path), Sandbox::Unread(why)) => {
                let detail = format!("it joins the {kind} namespace at {path} of its sandbox, and that was not read: {}", why.detail);
                Err(Unavailable::new(why.reason, detail))
            }
            (Joins::Another(path), Sandbox::Itself) => Err(unknown(&path)),
        }
    }

    /// Does a uid inside mean another outside.
    fn maps_users(&self) -> bool {
        let mappings = self.linux.iter().flat_map(|linux| linux.uid_mappings.iter().flatten());
        mappings.into_iter().any(|mapping| mapping.inside != mapping.outside)
    }

    /// Is the host's `/dev/shm` mounted at `/dev/shm`, or a sandbox's.
    fn shared_memory_of_host(&self) -> Option<bool> {
        let mount = self.mounts.iter().flatten().rfind(|mount| mount.destination == "/dev/shm")?;
        match plain(mount.source.as_deref()?).as_str() {
            "/dev/shm" => Some(true),
            source => (source.ends_with("/shm") && (source.contains("/sandboxes/") || source.ends_with("/userdata/shm"))).then_some(false),
        }
    }

    /// Every capability, no filter and all devices at once.
    fn privileged(&self) -> Option<bool> {
        let (process, linux) = (self.process.as_ref()?, self.linux.as_ref()?);
        let capabilities = names(process.capabilities.as_ref()?);
        let everything = |rule: &DeviceRule| {
            let all = |number: Option<i64>| number.is_none_or(|number| number < 0);
            rule.allow && rule.kind.as_deref().is_none_or(|kind| matches!(kind, "a" | "")) && all(rule.major) && all(rule.minor)
        };
        let rules = linux.resources.as_ref().and_then(|resources| resources.devices.as_deref()).unwrap_or_default();
        Some(capabilities.len() >= ALL_CAPABILITIES && linux.seccomp.is_none() && rules.iter().any(everything))
    }

    /// What of the host is to be mounted. The last one at a place is on top.
    fn mounts(&self, places: &Places, whose: Whose<'_>) -> Listing<Mount> {
        let mut items: Vec<Mount> = Vec::new();
        let mut skipped = Vec::new();
        let host_ipc = self.shared_memory_of_host() == Some(true);
        for mount in self.mounts.iter().flatten() {
            let target = plain_target(&mount.destination);
            items.retain(|before| before.target != target);
            let options = mount.options.as_deref().unwrap_or_default();
            let is = |wanted: &[&str]| options.iter().any(|option| wanted.contains(&option.as_str()));
            let bind = mount.kind.as_deref() == Some("bind") || is(&["bind", "rbind"]);
            let Some(source) = mount.source.as_deref().filter(|source| bind && source.starts_with('/')) else { continue };
            if host_ipc && target == "/dev/shm" {
                continue;
            }
            let Some((source, kind)) = decide(vec![plain(source)], &target, places, whose) else { continue };
            if items.len() == MOST_MOUNTS {
                skipped.push(Skipped { what: format!("mounts after the first {MOST_MOUNTS}"), reason: Reason::TooLarge });
                break;
            }
            items.push(Mount { source, target, kind, writable: !is(&["ro", "rro"]) });
        }
        items.sort_by(|a, b| (a.kind == MountKind::Token, &a.target).cmp(&(b.kind == MountKind::Token, &b.target)));
        Listing { items, skipped }
    }
}

/// `destination` is a path of the container: there `/var/run` is what its image makes of it.
fn plain_target(path: &str) -> String {
    let trimmed = path.trim_end_matches('/');
    if trimmed.is_empty() { "/".to_owned() } else { trimmed.to_owned() }
}

fn pinned(path: &str, pins: &str) -> bool {
    plain(path).strip_prefix(pins).is_some_and(|name| !name.is_empty())
}

fn short(kind: &str) -> &str {
    match kind {
        "network" => "net",
        "mount" => "mnt",
        kind => kind,
    }
}

fn of<T>(value: Option<T>, source: &impl Fn() -> Source, at: i64, missing: impl Fn() -> Unavailable) -> Observed<T> {
    value.map_or_else(|| Observed::Unavailable(missing()), |value| Observed::known(value, source(), at))
}

fn names(capabilities: &Capabilities) -> Vec<String> {
    let name = |name: &String| name.strip_prefix("CAP_").unwrap_or(name).to_owned();
    let mut names: Vec<String> = capabilities.bounding.iter().flatten().map(name).take(64).collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    fn spec(text: &serde_json::Value) -> Spec {
        serde_json::from_value(text.clone()).unwrap()
    }

    fn told(spec: &Spec, sandbox: Sandbox<'_>) -> Configured {
        spec.configured("/c.json", 7, sandbox, &Places::usual(""), Whose::default())
    }

    #[rstest]
    #[case::missing_is_the_runtimes_own(json!([]), json!([]), Some(true))]
    #[case::its_own(json!([{"type": "network"}]), json!([]), Some(false))]
    #[case::process_1(json!([{"type": "network", "path": "/proc/1/ns/net"}]), json!([{"type": "network"}]), Some(true))]
    #[case::the_sandboxes_which_is_the_hosts(json!([{"type": "network", "path": "/proc/77/ns/net"}]), json!([{"type": "pid"}]), Some(true))]
    #[case::the_sandboxes(json!([{"type": "network", "path": "/proc/77/ns/net"}]), json!([{"type": "network", "path": "/var/run/netns/cni-1"}]), Some(false))]
    #[case::pinned(json!([{"type": "network", "path": "/var/run/netns/cni-1"}]), json!([]), Some(false))]
    #[case::by_a_number_twice(json!([{"type": "network", "path": "/proc/77/ns/net"}]), json!([{"type": "network", "path": "/proc/9/ns/net"}]), None)]
    fn a_joined_namespace_is_what_the_sandbox_was_given(
        #[case] own: serde_json::Value,
        #[case] sandbox: serde_json::Value,
        #[case] host: Option<bool>,
    ) {
        let (own, sandbox) = (json!({"linux": {"namespaces": own}}), json!({"linux": {"namespaces": sandbox}}));
        let told = told(&spec(&own), Sandbox::Told(&spec(&sandbox)));
        assert_eq!(told.host_network.value().copied(), host);
        assert_eq!(told.host_network.unavailable().map(|why| why.reason), host.is_none().then_some(Reason::NotSupported));
    }

    #[test]
    fn a_number_is_never_trusted_where_the_sandbox_is_not_known() {
        let joined = spec(
            &json!({"linux": {"namespaces": [{"type": "pid", "path": "/proc/77/ns/pid"}, {"type": "user", "path": "/proc/77/ns/user"}]}}),
        );
        let why = Unavailable::new(Reason::PermissionDenied, "/run/x/config.json: permission denied");
        let told = told(&joined, Sandbox::Unread(&why));
        let pid = told.host_pid.unavailable().unwrap();
        assert_eq!(pid.reason, Reason::PermissionDenied);
        assert_eq!(
            pid.detail,
            "/c.json: it joins the pid namespace at /proc/77/ns/pid of its sandbox, and that was not read: /run/x/config.json: permission denied"
        );
        assert!(told.user_namespace.unavailable().is_some());
        assert_eq!(told.host_network.value(), Some(&true));
    }

    #[test]
    fn mapped_users_have_a_namespace_whoever_holds_it() {
        let mapped = spec(&json!({"linux": {
            "namespaces": [{"type": "user", "path": "/proc/77/ns/user"}],
            "uidMappings": [{"containerID": 0, "hostID": 100_000, "size": 65536}],
        }}));
        let why = Unavailable::new(Reason::NotPresent, "not there");
        assert_eq!(told(&mapped, Sandbox::Unread(&why)).user_namespace.value(), Some(&true));
    }

    #[test]
    fn what_a_bundle_does_not_say_is_unavailable_never_a_default() {
        let told = told(&spec(&json!({})), Sandbox::Itself);
        for unknown in [
            told.user.unavailable(),
            told.group.unavailable(),
            told.privileged.unavailable(),
            told.capabilities.unavailable(),
            told.no_new_privileges.unavailable(),
            told.seccomp.unavailable(),
            told.apparmor.unavailable(),
            told.root_read_only.unavailable(),
            told.user_namespace.unavailable(),
            told.host_network.unavailable(),
            told.host_pid.unavailable(),
            told.host_ipc.unavailable(),
        ] {
            assert_eq!(unknown.unwrap().reason, Reason::NotPresent);
        }
    }

    #[rstest]
    #[case::as_the_runtime_makes_it(41, json!(null), json!([{"allow": true, "access": "rwm"}]), true)]
    #[case::with_a_filter(41, json!({"defaultAction": "SCMP_ACT_ERRNO"}), json!([{"allow": true, "access": "rwm"}]), false)]
    #[case::without_devices(41, json!(null), json!([{"allow": false, "access": "rwm"}]), false)]
    #[case::one_device(41, json!(null), json!([{"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"}]), false)]
    #[case::few_capabilities(14, json!(null), json!([{"allow": true, "access": "rwm"}]), false)]
    fn privileged_is_everything_at_once(
        #[case] capabilities: usize,
        #[case] seccomp: serde_json::Value,
        #[case] devices: serde_json::Value,
        #[case] expected: bool,
    ) {
        let bounding: Vec<String> = (0..capabilities).map(|number| format!("CAP_{number}")).collect();
        let told = told(
            &spec(
                &json!({"process": {"capabilities": {"bounding": bounding}}, "linux": {"seccomp": seccomp, "resources": {"devices": devices}}}),
            ),
            Sandbox::Itself,
        );
        assert_eq!(told.privileged.value(), Some(&expected));
    }

    #[test]
    fn the_last_mount_at_a_place_is_the_one() {
        let mounts = json!({"mounts": [
            {"destination": "/x", "type": "bind", "source": "/etc", "options": ["rbind"]},
            {"destination": "/x/", "type": "tmpfs", "source": "tmpfs"},
            {"destination": "/y", "source": "/home/a/../b", "options": ["bind", "ro"]},
            {"destination": "/z", "type": "bind", "source": "relative"},
        ]});
        let told = told(&spec(&mounts), Sandbox::Itself);
        let expected = Mount { source: "/home/b".to_owned(), target: "/y".to_owned(), kind: MountKind::Home, writable: false };
        assert_eq!(told.mounts.value().unwrap().items, [expected]);
    }

    proptest::proptest! {
        #[test]
        fn nothing_a_bundle_may_say_makes_it_panic(text: String, path: String, destination: String, source: String, id: u32) {
            let _any = serde_json::from_str::<Spec>(&text);
            let hostile = json!({
                "annotations": {"io.kubernetes.cri.sandbox-name": text, "io.kubernetes.cri.container-type": path},
                "process": {"user": {"uid": id}, "capabilities": {"bounding": [text, source]}, "apparmorProfile": path},
                "mounts": [{"destination": destination, "source": source, "type": "bind"}, {"destination": "/dev/shm", "source": format!("/{source}/shm")}],
                "linux": {"namespaces": [{"type": "network", "path": path}, {"type": "user"}], "cgroupsPath": text, "uidMappings": [{"containerID": id}]},
            });
            let spec = spec(&hostile);
            let whose = Whose { id: &text, sandbox: &path, pod_uid: &source };
            let _told = spec.configured(&path, 0, Sandbox::Told(&spec), &Places::usual(&destination), whose);
            let annotations = spec.annotations.unwrap();
            let named = super::super::names::containerd(&annotations).pod.into_iter().chain(super::super::names::crio(&annotations).pod);
            for names in named {
                proptest::prop_assert!(!names.pod.contains('/'));
            }
        }
    }
}
