//! What a kubelet makes of a pod's specification: the runtime is told exactly what the manifest says, and what Kubernetes sets where
//! it says nothing.
//!
//! Only what our own manifests use is translated; a field that is not known here is an error and not left out.

#![allow(clippy::indexing_slicing, reason = "what a JSON value does not have is null, by name and by number")]

use std::collections::{BTreeMap, HashMap};

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

/// A file on the host: path, content, group. A path that ends with a slash is an empty directory's.
pub(super) type Placed = (String, Vec<u8>, Option<u32>);

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

    /// What the kubelet puts on the host before it starts the container: path, content, group.
    pub(super) fn files(&self) -> Result<Vec<Placed>> {
        let group = self.spec["securityContext"]["fsGroup"].as_u64().map(u32::try_from).transpose()?;
        let mut files = vec![
            (format!("{}/etc-hosts", self.directory()), b"127.0.0.1 localhost\n".to_vec(), None),
            (self.termination_log(), Vec::new(), None),
        ];
        if self.automounts() {
            files.push((format!("{}/{TOKEN}/token", self.directory()), b"not a token".to_vec(), group));
        }
        for volume in self.spec["volumes"].as_array().context("volumes")? {
            let name = text(&volume["name"]);
            let (place, host) = self.place(volume)?;
            if host {
                continue;
            }
            let of_this = self.content.iter().filter(|((of, _), _)| *of == name);
            let mut written: Vec<_> = of_this.map(|((_, file), content)| (format!("{place}/{file}"), content.clone(), group)).collect();
            // An empty directory.
            if written.is_empty() {
                written.push((format!("{place}/"), Vec::new(), group));
            }
            files.extend(written);
        }
        // `DirectoryOrCreate`.
        let created =
            self.spec["volumes"].as_array().into_iter().flatten().filter(|volume| volume["hostPath"]["type"] == "DirectoryOrCreate");
        files.extend(created.map(|volume| (format!("{}/", text(&volume["hostPath"]["path"])), Vec::new(), None)));
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
        self.only()["env"].as_array().into_iter().flatten().map(variable).collect()
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
