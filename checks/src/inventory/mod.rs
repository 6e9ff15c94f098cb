//! The inventory: the parts of the facts that views, fleet rules and version matching need.
//!
//! One entry per thing, keyed `kind/name`, with a small JSON document. Never pids, never whole files, never secrets.
//! Must not know the wire or the store. What does not fit is left out, counted, and said in `group/<name>`.
//!
//! | kind | name | document |
//! |---|---|---|
//! | `node` | `self` | `{name, role, provider, profile, profile_because, process_events?, process_events_unknown?}` |
//! | `agent` | `self` | `{spool: "file" \| "memory", path?, reason?, detail?, recreated?{set_aside, because, at}, flapping, truncated_transitions}`; of an agent that delivers |
//! | `os` | `self` | [`crate::facts::Os`] |
//! | `kernel` | `self` | [`KernelDocument`]: `{release, version, signature?, package?{manager, name, version, origin}, boot_time?, lsms?, lockdown?, taint?, livepatches?, installed?[{release, build?, modified?, newer?}], reboot_sentinels?, boot_default?, deployment?, features?{name: state}, unprivileged_user_namespaces?, unprivileged_bpf_disabled?, route_localnet?, cgroup?, unknown?{member: reason}, skipped?{member: [reason]}}`: `?` is absent when not known |
//! | `component` | subject (`kubelet`, `kube-proxy`, …) | `{name, flavour, version?, installed?, executable?{path, replaced}, host_network?, unknown?{member: reason}}` |
//! | `setting` | `<subject>/<setting>` | `{value, source, declared?, observed?, unobserved?, reported?}`, or `{unknown}` with the reason; `source` is text for a person |
//! | `listener` | `<protocol>/<address>/<port>` | `{protocol, address, port, scope, owner?{name, exe, component, unit}, owner_unknown?}` |
//! | `probe` | `<vantage>/<address>/<port><path>` | [`crate::facts::Probe`] |
//! | `certificate` | subject | [`crate::facts::CertificateFact`], flat: `{path, role, user?, issued_by?, name, common_name?, organizations?, issuer, self_signed?, authority?, not_before, not_after, key, key_bits, signature}` or `{path, role, user?, unknown}` |
//! | `handshake` | `<vantage>/<address>/<port>` | `{versions?{name: taken}, suites?, asks_certificate?, certificate?{name, issuer, self_signed, not_before, not_after, key, key_bits, fingerprint}, issued_by?}` |
//! | `network` | `self` | `{addresses?[{interface, address, scope}], firewall?{legacy_tables, services}, cni?{name, plugins, enforces_policies, because}}`: `addresses` without loopback and link-local ones, public ones first |
//! | `container` | subject | [`ContainerDocument`]: who it is, `host_root?` and `inside_root?` (programs), `capabilities?`, `shares`, `mounts?`, `configured_user?`, … |
//! | `runtime` | subject | [`RuntimeDocument`]: `{name, flavour?, version?, installed?, executable?, package?, programs?[{path, version?, package?, unknown?}], used_by_kubelet?, handlers?, registries?, sockets?, user_namespaces?, unknown?{member: reason}}`; its settings are `setting` |
//! | `system` | `self` | [`SystemDocument`]: `{disks?, shippers?, journal_persistent?, time_services?, updates?, protection?}` |
//! | `root-process` | subject | `{exe?, placement, user_namespace?, inside_uid?, no_new_privileges, seccomp, count}`: processes with host uid 0 outside containers, or all where containers are not known |
//! | `group` | fact group | `{state: "known" \| "unavailable", reason?, detail?, items?, skipped?, left_out?}` |

mod chain;
mod collect;
mod document;
mod restore;
mod workloads;

pub use collect::{Inventory, MAX_NODE_BYTES, entries};
pub use document::{
    AgentDocument, CertificateDocument, CertificateSaid, ComponentDocument, ContainerDocument, GroupDocument, GroupState, HandlerDocument,
    HandshakeDocument, InstalledDocument, KernelDocument, ListenerDocument, NetworkDocument, NodeDocument, OwnerDocument,
    PodNetworkDocument, PrivilegesDocument, ProgramDocument, RootProcessDocument, RuntimeDocument, SaidDocument, SettingDocument,
    ShownCertificateDocument, SystemDocument,
};
pub use restore::facts_for_collector;

pub mod kinds {
    //! Names of the inventory kinds.

    /// Who the node is.
    pub const NODE: &str = "node";
    /// The agent's account of its own delivery.
    pub const AGENT: &str = "agent";
    /// Operating system.
    pub const OS: &str = "os";
    /// Kernel.
    pub const KERNEL: &str = "kernel";
    /// A kubelet or other component.
    pub const COMPONENT: &str = "component";
    /// One effective setting of a component.
    pub const SETTING: &str = "setting";
    /// One listening socket.
    pub const LISTENER: &str = "listener";
    /// One probe answer.
    pub const PROBE: &str = "probe";
    /// One certificate in a file.
    pub const CERTIFICATE: &str = "certificate";
    /// TLS as one socket speaks it.
    pub const HANDSHAKE: &str = "handshake";
    /// Addresses, firewall, pod network.
    pub const NETWORK: &str = "network";
    /// A running container.
    pub const CONTAINER: &str = "container";
    /// A container runtime.
    pub const RUNTIME: &str = "runtime";
    /// The host as a server.
    pub const SYSTEM: &str = "system";
    /// Processes with host uid 0 outside containers, by subject.
    pub const ROOT_PROCESS: &str = "root-process";
    /// State of one fact group.
    pub const GROUP: &str = "group";
}
