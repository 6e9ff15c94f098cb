//! Where systemd, people and kubelets keep files on every distribution, and which flags and fields name others. Data only: what
//! depends on the distribution is its profile's.

/// Where systemd looks for units of the system, the first winning (`systemd.unit(5)`). `/lib` is often a link to `/usr/lib`.
pub(super) const UNITS: [&str; 5] =
    ["/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];

/// Where people keep credentials: one for root, and below each home of this directory.
pub(super) const HOMES: &str = "/home";
/// A host of many users has them on another file system, and is no node.
pub(super) const MAX_HOMES: usize = 100;

/// The kubelet's own certificates: the usual directory, and what counts in any such directory.
pub(super) const KUBELET_PKI: &str = "/var/lib/kubelet/pki";
pub(super) const KUBELET_PKI_FILES: [(&str, &str); 3] = [
    (".crt", "pki_certificate"),
    (".key", "pki_key"),
    // Rotated certificates lie beside it under names with a date: the link leads to the one in use.
    (CURRENT, "pki_key"),
];
/// Ends the name of the file with a kubelet's certificate and its key that is in use.
pub(in crate::sensors) const CURRENT: &str = "-current.pem";

/// In the role's place: a directory (or a file) of manifests.
pub(super) const MANIFESTS: &str = "manifests";
/// In the role's place: a directory of a kubelet's certificates.
pub(super) const CERTIFICATES: &str = "certificates";
/// What a manifest's name ends with.
pub(super) const MANIFEST_ENDINGS: [&str; 3] = [".yaml", ".yml", ".json"];

/// The kubelet's settings that are paths: flag, field, role. Empty: there is none.
pub(super) const KUBELET: [(&str, &str, &str); 8] = [
    ("config", "", "kubelet_config"),
    ("kubeconfig", "", "kubelet_kubeconfig"),
    ("bootstrap-kubeconfig", "", "kubelet_kubeconfig"),
    ("client-ca-file", "/authentication/x509/clientCAFile", "kubelet_ca"),
    ("pod-manifest-path", "/staticPodPath", MANIFESTS),
    ("tls-cert-file", "/tlsCertFile", "pki_certificate"),
    ("tls-private-key-file", "/tlsPrivateKeyFile", "pki_key"),
    ("cert-dir", "", CERTIFICATES),
];

/// The other components' settings that are paths: component, flag, field, role.
pub(super) const COMPONENTS: [(&str, &str, &str, &str); 16] = [
    ("kube-proxy", "config", "", "kube_proxy_config"),
    ("kube-proxy", "kubeconfig", "/clientConnection/kubeconfig", "kube_proxy_kubeconfig"),
    ("kube-scheduler", "kubeconfig", "/clientConnection/kubeconfig", "kubeconfig"),
    ("kube-controller-manager", "kubeconfig", "", "kubeconfig"),
    ("kube-controller-manager", "service-account-private-key-file", "", "pki_key"),
    ("kube-controller-manager", "cluster-signing-key-file", "", "pki_key"),
    ("kube-apiserver", "client-ca-file", "", "pki_certificate"),
    ("kube-apiserver", "tls-cert-file", "", "pki_certificate"),
    ("kube-apiserver", "tls-private-key-file", "", "pki_key"),
    ("kube-apiserver", "etcd-keyfile", "", "pki_key"),
    ("kube-apiserver", "kubelet-client-key", "", "pki_key"),
    ("kube-apiserver", "service-account-signing-key-file", "", "pki_key"),
    ("etcd", "cert-file", "/client-transport-security/cert-file", "pki_certificate"),
    ("etcd", "key-file", "/client-transport-security/key-file", "pki_key"),
    ("etcd", "peer-key-file", "/peer-transport-security/key-file", "pki_key"),
    ("etcd", "data-dir", "/data-dir", "etcd_data"),
];
