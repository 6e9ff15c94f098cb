//! What the pods of the tests are asked to be, and how a kubelet would say so.

use std::collections::HashMap;

use super::image::{PROGRAM, REPOSITORY, SETUID, TAG};
use super::kubelet::proto::security_profile::ProfileType;
use super::kubelet::proto::{
    Capability, ContainerConfig, ContainerMetadata, ImageSpec, Int64Value, LinuxContainerConfig, LinuxContainerSecurityContext,
    LinuxPodSandboxConfig, LinuxSandboxSecurityContext, Mount, NamespaceMode, NamespaceOption, PodSandboxConfig, PodSandboxMetadata,
    SecurityProfile,
};

/// The Kubernetes namespace of them all.
pub const NAMESPACE: &str = "tests";
/// Where the kubelet keeps a pod's token, below the pod's directory.
const TOKEN_VOLUME: &str = "volumes/kubernetes.io~projected/kube-api-access-tests";
/// The one container of each.
pub const CONTAINER: &str = "main";

/// A pod with one container. [`Pod::named`] is what a pod is that says nothing: root, with the runtime's default capabilities.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "one per field of a pod's security context")]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Runs as this uid and gid.
    pub user: Option<i64>,
    /// `privileged: true`.
    pub privileged: bool,
    /// `hostNetwork: true`.
    pub host_network: bool,
    /// `hostPID: true`.
    pub host_pid: bool,
    /// Capabilities beyond the runtime's default.
    pub add: Vec<&'static str>,
    /// Capabilities taken away; `ALL` too.
    pub drop: Vec<&'static str>,
    /// `allowPrivilegeEscalation: false`.
    pub no_new_privileges: bool,
    /// The runtime's seccomp profile; otherwise none.
    pub seccomp: bool,
    /// `readOnlyRootFilesystem: true`.
    pub read_only: bool,
    /// `hostPath` volumes: path on the host, read-only.
    pub mounts: Vec<(&'static str, bool)>,
    /// Gets a service account token, as every pod does that does not refuse it.
    pub token: bool,
    /// Starts the setuid program in it.
    pub becomes_root: bool,
}

impl Pod {
    /// One that asks for nothing, with the runtime's seccomp profile.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), seccomp: true, ..Self::default() }
    }

    /// Its uid.
    pub fn uid(&self) -> String {
        uid(&self.name)
    }

    /// The cgroup that the kubelet makes for it, as its cgroupfs driver names it.
    pub fn cgroup(&self) -> String {
        format!("/kubepods/besteffort/pod{}", self.uid())
    }

    /// What it is called as a subject of findings.
    pub fn subject(&self) -> String {
        format!("pod:{NAMESPACE}/{}/{CONTAINER}", self.name)
    }

    /// What the kubelet keeps for it on the host: path and content.
    pub(super) fn files(&self) -> Vec<(String, &'static str)> {
        let mut files = vec![(format!("{}/etc-hosts", self.directory()), "127.0.0.1 localhost\n")];
        if self.token {
            files.push((format!("{}/{TOKEN_VOLUME}/token", self.directory()), "not a token"));
        }
        files
    }

    fn directory(&self) -> String {
        format!("/var/lib/kubelet/pods/{}", self.uid())
    }

    fn mounts(&self) -> Vec<Mount> {
        let mount = |host_path: String, container_path: &str, readonly| Mount {
            container_path: container_path.to_owned(),
            host_path,
            readonly,
            ..Mount::default()
        };
        let mut mounts = vec![mount(format!("{}/etc-hosts", self.directory()), "/etc/hosts", false)];
        if self.token {
            let volume = format!("{}/{TOKEN_VOLUME}", self.directory());
            mounts.push(mount(volume, "/var/run/secrets/kubernetes.io/serviceaccount", true));
        }
        mounts.extend(self.mounts.iter().map(|(path, readonly)| mount((*path).to_owned(), &format!("/host{path}"), *readonly)));
        mounts
    }

    pub(super) fn sandbox(&self) -> PodSandboxConfig {
        let context = LinuxSandboxSecurityContext {
            namespace_options: Some(self.namespaces()),
            privileged: self.privileged,
            seccomp: Some(SecurityProfile { profile_type: ProfileType::RuntimeDefault.into() }),
            ..LinuxSandboxSecurityContext::default()
        };
        PodSandboxConfig {
            metadata: Some(PodSandboxMetadata { name: self.name.clone(), uid: self.uid(), namespace: NAMESPACE.to_owned() }),
            hostname: if self.host_network { String::new() } else { self.name.clone() },
            log_directory: format!("/var/log/pods/{NAMESPACE}_{}_{}", self.name, self.uid()),
            labels: self.labels(),
            linux: Some(LinuxPodSandboxConfig { cgroup_parent: self.cgroup(), security_context: Some(context) }),
        }
    }

    pub(super) fn container(&self, image_id: &str) -> ContainerConfig {
        let number = |value: Option<i64>| value.map(|value| Int64Value { value });
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let filter = if self.seccomp && !self.privileged { ProfileType::RuntimeDefault } else { ProfileType::Unconfined };
        let context = LinuxContainerSecurityContext {
            capabilities: Some(Capability { add_capabilities: words(&self.add), drop_capabilities: words(&self.drop) }),
            privileged: self.privileged,
            namespace_options: Some(self.namespaces()),
            run_as_user: number(self.user),
            run_as_group: number(self.user),
            readonly_rootfs: self.read_only,
            no_new_privs: self.no_new_privileges,
            seccomp: Some(SecurityProfile { profile_type: filter.into() }),
            ..LinuxContainerSecurityContext::default()
        };
        let mut labels = self.labels();
        labels.insert("io.kubernetes.container.name".to_owned(), CONTAINER.to_owned());
        ContainerConfig {
            metadata: Some(ContainerMetadata { name: CONTAINER.to_owned() }),
            // By the time a kubelet makes a container it knows the image by its id.
            image: Some(ImageSpec { image: image_id.to_owned(), user_specified_image: format!("{REPOSITORY}:{TAG}") }),
            command: if self.becomes_root { words(&[PROGRAM, "start", SETUID]) } else { words(&[PROGRAM]) },
            mounts: self.mounts(),
            labels,
            log_path: format!("{CONTAINER}/0.log"),
            linux: Some(LinuxContainerConfig { security_context: Some(context) }),
            ..ContainerConfig::default()
        }
    }

    fn namespaces(&self) -> NamespaceOption {
        let of = |host: bool, own: NamespaceMode| i32::from(if host { NamespaceMode::Node } else { own });
        NamespaceOption {
            network: of(self.host_network, NamespaceMode::Pod),
            pid: of(self.host_pid, NamespaceMode::Container),
            ipc: NamespaceMode::Pod.into(),
        }
    }

    fn labels(&self) -> HashMap<String, String> {
        let label = |name: &str, value: &str| (format!("io.kubernetes.pod.{name}"), value.to_owned());
        HashMap::from([label("name", &self.name), label("namespace", NAMESPACE), label("uid", &self.uid())])
    }
}

/// A pod's uid: of the shape that Kubernetes gives, and the same for the same name.
pub(super) fn uid(name: &str) -> String {
    let sum = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{:08x}-5e57-4000-8000-{:012x}", sum >> 32, sum & 0xffff_ffff_ffff)
}
