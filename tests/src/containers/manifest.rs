//! What a kubelet makes of a pod's specification: the runtime is told exactly what the manifest says, and what Kubernetes sets where
//! it says nothing.
//!
//! Only what our own manifests use is translated; a field that is not known here is an error and not left out.

#![allow(clippy::indexing_slicing, reason = "what a JSON value does not have is null, by name and by number")]

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::image::PROGRAM;
use super::kubelet::proto::security_profile::ProfileType;
use super::kubelet::proto::{
    Capability, ContainerConfig, ContainerMetadata, ImageSpec, Int64Value, KeyValue, LinuxContainerConfig, LinuxContainerSecurityContext,
    LinuxPodSandboxConfig, LinuxSandboxSecurityContext, Mount, MountPropagation, NamespaceMode, NamespaceOption, PodSandboxConfig,
    PodSandboxMetadata, SeLinuxOption, SecurityProfile,
};
use super::pod::uid;
use super::volumes::File;

/// What Kubernetes hides of a container's `/proc` and `/sys` unless it is privileged (`pkg/securitycontext/util.go`).
const MASKED: [&str; 10] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Fields of a container's security context that are translated.
const SECURITY: [&str; 11] = [
    "runAsUser",
    "runAsGroup",
    "runAsNonRoot",
    "privileged",
    "allowPrivilegeEscalation",
    "readOnlyRootFilesystem",
    "capabilities",
    "seccompProfile",
    "appArmorProfile",
    "seLinuxOptions",
    "procMount",
];

/// What is on the host before a container starts.
#[derive(Debug)]
pub(super) enum Placed {
    /// A file, with its content.
    File(String, Vec<u8>),
    /// An empty directory, of the pod's group where it has one.
    Directory(String, Option<u32>),
    /// A volume that the kubelet fills.
    Volume(String, Vec<File>),
}

/// The cluster that a pod is in, as far as its container is told of it.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// Where the API server's Service is: every container gets it in its environment.
    pub api: Option<SocketAddr>,
    /// Lines of `/etc/hosts`, in place of the cluster's DNS.
    pub hosts: Vec<(IpAddr, String)>,
}

/// One pod of a workload: its template, a name, and what stands in for API objects.
#[derive(Debug, Clone)]
pub struct Workload {
    /// Kubernetes namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// `spec.template.spec`.
    pub spec: Value,
    /// Content of projected volumes, config maps and secrets: by volume, file and content.
    pub content: BTreeMap<(String, String), Vec<u8>>,
    /// What the downward API says.
    pub node: String,
    /// What else there is.
    pub around: Surroundings,
}

impl Workload {
    /// The one container.
    fn only(&self) -> &Value {
        &self.spec["containers"][0]
    }

    /// What it is called as a subject of findings.
    pub fn subject(&self) -> String {
        format!("pod:{}/{}/{}", self.namespace, self.pod, text(&self.only()["name"]))
    }

    /// Where its container's output goes on the host.
    pub fn log(&self) -> String {
        format!("{}/{}/0.log", self.logs(), text(&self.only()["name"]))
    }

    fn logs(&self) -> String {
        format!("/var/log/pods/{}_{}_{}", self.namespace, self.pod, uid(&self.pod))
    }

    pub(super) fn cgroup(&self) -> String {
        format!("/kubepods/burstable/pod{}", uid(&self.pod))
    }

    fn directory(&self) -> String {
        format!("/var/lib/kubelet/pods/{}", uid(&self.pod))
    }

    fn termination_log(&self) -> String {
        format!("{}/containers/{}/termination-log", self.directory(), text(&self.only()["name"]))
    }

    fn automounts(&self) -> bool {
        self.spec["automountServiceAccountToken"] != false
    }

    /// The pod's uid.
    pub fn uid(&self) -> String {
        uid(&self.pod)
    }

    fn group(&self) -> Option<u32> {
        self.spec["securityContext"]["fsGroup"].as_u64().and_then(|group| u32::try_from(group).ok())
    }

    /// What the kubelet puts on the host before it starts the container.
    pub(super) fn files(&self) -> Result<Vec<Placed>> {
        let named = self.around.hosts.iter().map(|(address, name)| format!("{address} {name}\n"));
        let hosts: String = std::iter::once("127.0.0.1 localhost\n".to_owned()).chain(named).collect();
        let mut files = vec![
            Placed::File(format!("{}/etc-hosts", self.directory()), hosts.into_bytes()),
            Placed::File(self.termination_log(), Vec::new()),
        ];
        if self.automounts() {
            files.push(Placed::File(format!("{}/{TOKEN}/token", self.directory()), b"not a token".to_vec()));
        }
        for volume in self.spec["volumes"].as_array().context("volumes")? {
            let (place, host) = self.place(volume)?;
            let filled = ["projected", "configMap", "secret"].iter().any(|kind| volume.get(kind).is_some());
            if filled {
                files.push(Placed::Volume(place, self.filled(volume)?));
            } else if !host {
                files.push(Placed::Directory(format!("{place}/"), self.group()));
            } else if volume["hostPath"]["type"] == "DirectoryOrCreate" {
                files.push(Placed::Directory(place, None));
            }
        }
        Ok(files)
    }

    /// The volume of that name: where it is on the host, and what is in it.
    pub(super) fn volume(&self, name: &str) -> Result<(String, Vec<File>)> {
        let volumes = self.spec["volumes"].as_array().context("volumes")?;
        let volume = volumes.iter().find(|volume| volume["name"] == name).with_context(|| format!("a volume {name}"))?;
        Ok((self.place(volume)?.0, self.filled(volume)?))
    }

    /// What is in a config map's, a secret's or a projected volume. A token is its user's own; the rest is root's, and readable by the
    /// pod's group (`pkg/volume/projected`, `pkg/volume/volume_linux.go`).
    fn filled(&self, volume: &Value) -> Result<Vec<File>> {
        let (name, group) = (text(&volume["name"]), self.group());
        let kind = ["projected", "configMap", "secret"].into_iter().find_map(|kind| volume.get(kind)).context("a volume that is filled")?;
        let mode = u32::try_from(kind["defaultMode"].as_u64().unwrap_or(0o644))?;
        let user = u32::try_from(self.security("runAsUser").as_u64().unwrap_or_default())?;
        let sources = || kind["sources"].as_array().into_iter().flatten();
        let is_token = |file: &str| sources().any(|source| source["serviceAccountToken"]["path"] == file);
        let file = |file: &str, content: &[u8]| {
            let (mode, owner) = if is_token(file) { (0o600, user) } else { (mode, 0) };
            let mode = if group.is_some() { mode | 0o440 } else { mode };
            File { name: file.to_owned(), content: content.to_vec(), mode, owner, group }
        };
        let given = self.content.iter().filter(|((of, _), _)| *of == name);
        let mut files: Vec<File> = given.map(|((_, path), content)| file(path, content)).collect();
        for item in sources().flat_map(|source| source["downwardAPI"]["items"].as_array().into_iter().flatten()) {
            let said = match item["fieldRef"]["fieldPath"].as_str() {
                Some("metadata.namespace") => self.namespace.as_bytes(),
                _ => bail!("a field of the downward API that is not known here: {item}"),
            };
            files.push(file(&text(&item["path"]), said));
        }
        Ok(files)
    }

    /// Where a volume is on the host, and whether the manifest itself names the place.
    fn place(&self, volume: &Value) -> Result<(String, bool)> {
        let name = text(&volume["name"]);
        if let Some(path) = volume["hostPath"]["path"].as_str() {
            return Ok((path.to_owned(), true));
        }
        let kinds = [
            ("projected", "projected"),
            ("configMap", "configmap"),
            ("secret", "secret"),
            ("emptyDir", "empty-dir"),
            ("persistentVolumeClaim", "local-volume"),
        ];
        let kind = kinds.into_iter().find(|(field, _)| volume.get(field).is_some());
        let (_, kind) = kind.with_context(|| format!("a volume of a kind that is not known here: {volume}"))?;
        Ok((format!("{}/volumes/kubernetes.io~{kind}/{name}", self.directory()), false))
    }

    fn mounts(&self) -> Result<Vec<Mount>> {
        let plain = |host_path: String, container_path: &str, readonly| Mount {
            container_path: container_path.to_owned(),
            host_path,
            readonly,
            ..Mount::default()
        };
        let mut mounts = vec![
            plain(format!("{}/etc-hosts", self.directory()), "/etc/hosts", false),
            plain(self.termination_log(), "/dev/termination-log", false),
        ];
        if self.automounts() {
            mounts.push(plain(format!("{}/{TOKEN}", self.directory()), "/var/run/secrets/kubernetes.io/serviceaccount", true));
        }
        for mount in self.only()["volumeMounts"].as_array().context("volumeMounts")? {
            let volumes = self.spec["volumes"].as_array().context("volumes")?;
            let volume = volumes.iter().find(|volume| volume["name"] == mount["name"]).context("a mount of a volume")?;
            let propagation = match mount["mountPropagation"].as_str() {
                None | Some("None") => MountPropagation::PropagationPrivate,
                Some("HostToContainer") => MountPropagation::PropagationHostToContainer,
                Some("Bidirectional") => MountPropagation::PropagationBidirectional,
                Some(other) => bail!("mountPropagation: {other}"),
            };
            mounts.push(Mount {
                container_path: text(&mount["mountPath"]),
                host_path: self.place(volume)?.0,
                readonly: mount["readOnly"] == true,
                propagation: propagation.into(),
            });
        }
        Ok(mounts)
    }

    fn namespaces(&self) -> NamespaceOption {
        let of = |host: bool, own: NamespaceMode| i32::from(if host { NamespaceMode::Node } else { own });
        NamespaceOption {
            network: of(self.spec["hostNetwork"] == true, NamespaceMode::Pod),
            pid: of(self.spec["hostPID"] == true, NamespaceMode::Container),
            ipc: of(self.spec["hostIPC"] == true, NamespaceMode::Pod),
        }
    }

    /// A field of the container's security context, else of the pod's.
    fn security(&self, field: &str) -> &Value {
        let own = &self.only()["securityContext"][field];
        if own.is_null() { &self.spec["securityContext"][field] } else { own }
    }

    fn number(&self, field: &str) -> Option<Int64Value> {
        self.security(field).as_i64().map(|value| Int64Value { value })
    }

    fn groups(&self) -> Vec<i64> {
        self.spec["securityContext"]["fsGroup"].as_i64().into_iter().collect()
    }

    fn selinux(&self) -> Option<SeLinuxOption> {
        let options = self.security("seLinuxOptions");
        options["type"].as_str().map(|kind| SeLinuxOption { r#type: kind.to_owned(), ..SeLinuxOption::default() })
    }

    pub(super) fn sandbox(&self) -> PodSandboxConfig {
        let context = LinuxSandboxSecurityContext {
            namespace_options: Some(self.namespaces()),
            selinux_options: self.selinux(),
            run_as_user: self.spec["securityContext"]["runAsUser"].as_i64().map(|value| Int64Value { value }),
            run_as_group: self.spec["securityContext"]["runAsGroup"].as_i64().map(|value| Int64Value { value }),
            supplemental_groups: self.groups(),
            privileged: self.only()["securityContext"]["privileged"] == true,
            seccomp: Some(SecurityProfile { profile_type: ProfileType::RuntimeDefault.into() }),
        };
        PodSandboxConfig {
            metadata: Some(PodSandboxMetadata { name: self.pod.clone(), uid: uid(&self.pod), namespace: self.namespace.clone() }),
            hostname: if self.spec["hostNetwork"] == true { String::new() } else { self.pod.clone() },
            log_directory: self.logs(),
            labels: self.labels(),
            linux: Some(LinuxPodSandboxConfig { cgroup_parent: self.cgroup(), security_context: Some(context) }),
        }
    }

    /// `sleeps`: with the tests' own program, which takes no arguments, in place of the workload's.
    pub(super) fn container(&self, image_id: &str, sleeps: bool) -> Result<ContainerConfig> {
        let container = self.only();
        for field in container["securityContext"].as_object().context("a security context")?.keys() {
            ensure!(SECURITY.contains(&field.as_str()), "securityContext.{field} is not known here");
        }
        let words = |list: &Value| list.as_array().into_iter().flatten().map(text).collect::<Vec<_>>();
        let privileged = self.security("privileged") == true;
        let hidden = |paths: &[&str]| if privileged { Vec::new() } else { paths.iter().map(|path| (*path).to_owned()).collect() };
        let capabilities = self.security("capabilities");
        let context = LinuxContainerSecurityContext {
            capabilities: Some(Capability {
                add_capabilities: words(&capabilities["add"]),
                drop_capabilities: words(&capabilities["drop"]),
            }),
            privileged,
            namespace_options: Some(self.namespaces()),
            selinux_options: self.selinux(),
            run_as_user: self.number("runAsUser"),
            run_as_group: self.number("runAsGroup"),
            readonly_rootfs: self.security("readOnlyRootFilesystem") == true,
            supplemental_groups: self.groups(),
            no_new_privs: self.security("allowPrivilegeEscalation") == false,
            masked_paths: hidden(&MASKED),
            readonly_paths: hidden(&READ_ONLY),
            seccomp: Some(self.profile("seccompProfile", privileged)?),
            apparmor: Some(self.profile("appArmorProfile", true)?),
        };
        let name = text(&container["name"]);
        let mut labels = self.labels();
        labels.insert("io.kubernetes.container.name".to_owned(), name.clone());
        Ok(ContainerConfig {
            metadata: Some(ContainerMetadata { name: name.clone() }),
            image: Some(ImageSpec { image: image_id.to_owned(), user_specified_image: text(&container["image"]) }),
            command: if sleeps { vec![PROGRAM.to_owned()] } else { words(&container["command"]) },
            args: if sleeps { Vec::new() } else { words(&container["args"]) },
            envs: self.environment()?,
            mounts: self.mounts()?,
            labels,
            log_path: format!("{name}/0.log"),
            linux: Some(LinuxContainerConfig { security_context: Some(context) }),
        })
    }

    /// A runtime without AppArmor accepts no profile of it but none at all: what a manifest leaves to the default is none then.
    fn profile(&self, field: &str, none: bool) -> Result<SecurityProfile> {
        let kind = match self.security(field)["type"].as_str() {
            Some("RuntimeDefault") => ProfileType::RuntimeDefault,
            // Without a word, as Kubernetes does without the kubelet's `seccompDefault`.
            Some("Unconfined") | None => ProfileType::Unconfined,
            Some(other) => bail!("{field}: {other}"),
        };
        Ok(SecurityProfile { profile_type: if none { ProfileType::Unconfined } else { kind }.into() })
    }

    fn environment(&self) -> Result<Vec<KeyValue>> {
        let variable = |variable: &Value| {
            let value = match (variable["value"].as_str(), variable["valueFrom"]["fieldRef"]["fieldPath"].as_str()) {
                (Some(value), _) => value.to_owned(),
                (None, Some("spec.nodeName")) => self.node.clone(),
                _ => bail!("an environment variable that is not known here: {variable}"),
            };
            Ok(KeyValue { key: text(&variable["name"]), value })
        };
        let service = self.around.api.into_iter().flat_map(|api| {
            let pairs = [("HOST", api.ip().to_string()), ("PORT", api.port().to_string()), ("PORT_HTTPS", api.port().to_string())];
            pairs.map(|(name, value)| Ok(KeyValue { key: format!("KUBERNETES_SERVICE_{name}"), value }))
        });
        self.only()["env"].as_array().into_iter().flatten().map(variable).chain(service).collect()
    }

    fn labels(&self) -> HashMap<String, String> {
        let label = |name: &str, value: &str| (format!("io.kubernetes.pod.{name}"), value.to_owned());
        HashMap::from([label("name", &self.pod), label("namespace", &self.namespace), label("uid", &uid(&self.pod))])
    }
}

/// Where the kubelet keeps a pod's token for the API server.
const TOKEN: &str = "volumes/kubernetes.io~projected/kube-api-access-tests";

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
