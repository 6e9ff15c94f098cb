//! Docker's own files of a container: `config.v2.json` and `hostconfig.json`.
//!
//! Field names are Moby's (`daemon/container`, `api/types/container.HostConfig`). Environment and arguments are never taken. Where an
//! OCI bundle lies in containerd's directory, that is what was started, and these add what only Docker knows. Must not know pods.

use std::collections::BTreeMap;

use holdfast_checks::facts::{Configured, Listing, Mount, Observed, Reason, Source, SourceKind, Unavailable};
use serde::Deserialize;

use super::mounts::decide;
use super::places::{Places, Whose, plain};

/// `config.v2.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Config {
    #[serde(default)]
    pub(super) name: String,
    #[serde(rename = "Config")]
    asked: Option<Asked>,
    #[serde(default)]
    app_armor_profile: String,
    mount_points: Option<BTreeMap<String, MountPoint>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Asked {
    #[serde(default)]
    user: String,
    #[serde(default)]
    image: String,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
struct MountPoint {
    #[serde(default, rename = "Source")]
    source: String,
    #[serde(default, rename = "Destination")]
    destination: String,
    #[serde(default, rename = "RW")]
    writable: bool,
    #[serde(default, rename = "Type")]
    kind: String,
}

/// `hostconfig.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct HostConfig {
    privileged: Option<bool>,
    readonly_rootfs: Option<bool>,
    #[serde(default)]
    network_mode: String,
    pid_mode: Option<String>,
    #[serde(default)]
    ipc_mode: String,
    security_opt: Option<Vec<String>>,
    #[serde(default)]
    pub(super) runtime: String,
}

impl Config {
    pub(super) fn labels(&self) -> BTreeMap<String, String> {
        self.asked.as_ref().and_then(|asked| asked.labels.clone()).unwrap_or_default()
    }

    pub(super) fn image(&self) -> &str {
        self.asked.as_ref().map(|asked| asked.image.as_str()).unwrap_or_default()
    }

    /// What these files alone tell of how it was started. `paths`: theirs; `host`: that of the host's options, or why not.
    pub(super) fn configured(
        &self,
        paths: &Paths,
        at: i64,
        host: Result<&HostConfig, &Unavailable>,
        places: &Places,
        whose: Whose<'_>,
    ) -> Configured {
        let file = |path: &str| Source::new(SourceKind::File, path);
        let not_told = |what: &str| {
            let detail = format!("{}: {what} is not in it, but in the bundle, which was not read", paths.config);
            Unavailable::new(Reason::NotPresent, detail)
        };
        let (user, group) = self.asked.as_ref().map_or((None, None), |asked| user(&asked.user));
        let known = |id: Option<i64>, what: &str| match id {
            Some(id) => Observed::known(id, file(&paths.config), at),
            None => Observed::Unavailable(not_told(what)),
        };
        let mut configured = Configured {
            user: known(user, "the user's number"),
            group: known(group, "the group's number"),
            privileged: Observed::Unavailable(not_told("its privilege")),
            capabilities: Observed::Unavailable(not_told("its capabilities")),
            no_new_privileges: Observed::Unavailable(not_told("`no_new_privs`")),
            seccomp: Observed::Unavailable(not_told("its filter")),
            apparmor: Observed::known(self.app_armor_profile.clone(), file(&paths.config), at),
            selinux: Observed::Unavailable(not_told("its SELinux label")),
            root_read_only: Observed::Unavailable(not_told("whether its root is read-only")),
            user_namespace: Observed::Unavailable(not_told("a user namespace")),
            host_network: Observed::Unavailable(not_told("its network")),
            host_pid: Observed::Unavailable(not_told("its process namespace")),
            host_ipc: Observed::Unavailable(not_told("its IPC namespace")),
            mounts: Observed::known(self.mounts(places, whose), file(&paths.config), at),
        };
        match host {
            Ok(host) => {
                host.lay_over(&mut configured, paths, at);
                let options = host.security_opt.as_deref().unwrap_or_default();
                let option = |wanted: &[&str]| options.iter().any(|option| wanted.contains(&option.as_str()));
                if option(&["no-new-privileges", "no-new-privileges:true", "no-new-privileges=true"]) {
                    configured.no_new_privileges = Observed::known(true, file(&paths.host_config), at);
                }
                if host.privileged == Some(true) || option(&["seccomp=unconfined", "seccomp:unconfined"]) {
                    configured.seccomp = Observed::known(false, file(&paths.host_config), at);
                }
            }
            Err(why) => {
                let unread = || Unavailable::new(why.reason, why.detail.clone());
                configured.privileged = Observed::Unavailable(unread());
                configured.root_read_only = Observed::Unavailable(unread());
                configured.host_network = Observed::Unavailable(unread());
                configured.host_pid = Observed::Unavailable(unread());
                configured.host_ipc = Observed::Unavailable(unread());
            }
        }
        configured
    }

    fn mounts(&self, places: &Places, whose: Whose<'_>) -> Listing<Mount> {
        let bind = |mount: &&MountPoint| mount.kind == "bind" && mount.source.starts_with('/');
        let mount = |mount: &MountPoint| {
            let (source, kind) = decide(vec![plain(&mount.source)], &mount.destination, places, whose)?;
            Some(Mount { source, target: mount.destination.clone(), kind, writable: mount.writable })
        };
        Listing::complete(self.mount_points.iter().flat_map(BTreeMap::values).filter(bind).filter_map(mount).take(64).collect())
    }
}

/// Where Docker's files of one container are.
#[derive(Debug, Clone)]
pub(super) struct Paths {
    pub(super) config: String,
    pub(super) host_config: String,
}

impl HostConfig {
    /// What only Docker's options tell: in a bundle a shared network is a path that says nothing.
    pub(super) fn lay_over(&self, configured: &mut Configured, paths: &Paths, at: i64) {
        let known = |value: bool| Observed::known(value, Source::new(SourceKind::File, &*paths.host_config), at);
        if let Some(privileged) = self.privileged {
            configured.privileged = known(privileged);
        }
        if let Some(read_only) = self.readonly_rootfs {
            configured.root_read_only = known(read_only);
        }
        // With `container:<id>` it is as that one has it.
        let decided = |mode: &str| (!mode.starts_with("container:")).then(|| known(mode == "host"));
        if let Some(network) = decided(&self.network_mode).filter(|_| !self.network_mode.is_empty()) {
            configured.host_network = network;
        }
        if let Some(pid) = self.pid_mode.as_deref().and_then(decided) {
            configured.host_pid = pid;
        }
        if let Some(ipc) = decided(&self.ipc_mode).filter(|_| !self.ipc_mode.is_empty()) {
            configured.host_ipc = ipc;
        }
    }

    /// Are its network, process and IPC namespaces the host's; `None` where it is as another container has it.
    pub(super) fn is_host(&self) -> [Option<bool>; 3] {
        let modes = [self.network_mode.as_str(), self.pid_mode.as_deref().unwrap_or_default(), self.ipc_mode.as_str()];
        modes.map(|mode| (!mode.starts_with("container:")).then_some(mode == "host"))
    }

    /// Whose network, process and IPC namespaces it joins, by container id.
    pub(super) fn joins(&self) -> [Option<&str>; 3] {
        let modes = [self.network_mode.as_str(), self.pid_mode.as_deref().unwrap_or_default(), self.ipc_mode.as_str()];
        modes.map(|mode| mode.strip_prefix("container:"))
    }
}

/// `1000`, `1000:1000`; empty is root (Dockerfile reference, `USER`). A name is looked up inside the container: not known here.
fn user(text: &str) -> (Option<i64>, Option<i64>) {
    let number = |text: &str| text.parse::<u32>().ok().map(i64::from);
    match text.split_once(':') {
        None if text.is_empty() => (Some(0), Some(0)),
        None => (number(text), None),
        Some((user, group)) => (number(user), number(group)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("", Some(0), Some(0))]
    #[case("1000", Some(1000), None)]
    #[case("1000:3000", Some(1000), Some(3000))]
    #[case("nginx", None, None)]
    #[case("-1", None, None)]
    fn users_are_numbers_or_unknown(#[case] text: &str, #[case] uid: Option<i64>, #[case] gid: Option<i64>) {
        assert_eq!(user(text), (uid, gid));
    }
}
