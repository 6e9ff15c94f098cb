//! One node per profile, and what is to be found on it.

use holdfast_checks::entries::Verdict;
use serde_json::{Value, json};

use crate::tree::Tree;

/// What is known of a node in advance.
pub(crate) struct Expected {
    pub(crate) profile: &'static str,
    pub(crate) because: &'static str,
    pub(crate) provider: &'static str,
    /// The kubelet runs inside another program, which may keep its settings to itself.
    pub(crate) embedded: bool,
    /// Effective settings.
    pub(crate) settings: Vec<(&'static str, Value)>,
    /// Files and their roles.
    pub(crate) files: &'static [(&'static str, &'static str)],
    /// Checks on the kubelet and their verdicts.
    pub(crate) verdicts: Vec<(&'static str, Verdict)>,
}

/// What every distribution here has: nobody anonymous, the API server asked, no port without either.
fn closed(client_ca: &str) -> Vec<(&'static str, Value)> {
    vec![
        ("anonymousAuth", json!(false)),
        ("authorizationMode", json!("Webhook")),
        ("readOnlyPort", json!(0)),
        ("clientCAFile", json!(client_ca)),
    ]
}

fn passes() -> Vec<(&'static str, Verdict)> {
    ["kubelet-anonymous-auth", "kubelet-authorization-mode", "kubelet-read-only-port", "kubelet-client-ca"]
        .map(|check| (check, Verdict::Pass))
        .into()
}

fn kubelet_config(rest: &str) -> String {
    format!("kind: KubeletConfiguration\napiVersion: kubelet.config.k8s.io/v1beta1\n{rest}")
}

const AUTHENTICATION: &str = "authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: ";

/// `kubeadm init`: the kubelet's configuration as its ConfigMap has it.
pub(crate) fn kubeadm() -> (Tree, Expected) {
    let tree = Tree::new("ID=debian\nVERSION_ID=\"13\"\n");
    tree.service(
        10,
        "/usr/bin/kubelet",
        "/usr/bin/kubelet --bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf \
         --config=/var/lib/kubelet/config.yaml",
    );
    let config = kubelet_config(&format!(
        "{AUTHENTICATION}/etc/kubernetes/pki/ca.crt}}}}\nauthorization: {{mode: Webhook}}\nrotateCertificates: true\n\
         staticPodPath: /etc/kubernetes/manifests\n"
    ));
    tree.file("/var/lib/kubelet/config.yaml", &config);
    tree.file("/var/lib/kubelet/kubeadm-flags.env", "KUBELET_KUBEADM_ARGS=\"\"\n");
    tree.file("/etc/kubernetes/kubelet.conf", "");
    tree.file("/etc/kubernetes/pki/ca.crt", "");
    tree.file("/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf", "[Service]\n");
    tree.describe();
    let mut settings = closed("/etc/kubernetes/pki/ca.crt");
    settings.push(("rotateCertificates", json!(true)));
    let expected = Expected {
        profile: "kubeadm",
        because: "/var/lib/kubelet/kubeadm-flags.env is there",
        provider: "none",
        embedded: false,
        settings,
        files: &[
            ("/var/lib/kubelet/config.yaml", "kubelet_config"),
            ("/etc/kubernetes/kubelet.conf", "kubelet_kubeconfig"),
            ("/etc/kubernetes/pki/ca.crt", "kubelet_ca"),
            ("/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf", "kubelet_unit"),
            ("/var/lib/kubelet/kubeadm-flags.env", "kubelet_environment"),
        ],
        verdicts: passes(),
    };
    (tree, expected)
}

/// nodeadm: `defaultKubeletSubConfig`, and what the user gave as a drop-in, here a read-only port closed once more.
pub(crate) fn eks_al2023() -> (Tree, Expected) {
    let tree = Tree::new("ID=\"amzn\"\nVERSION_ID=\"2023\"\n");
    tree.service(
        10,
        "/usr/bin/kubelet",
        "/usr/bin/kubelet --cloud-provider=external --hostname-override=ip-10-0-0-1.eu-west-1.compute.internal \
         --config=/etc/kubernetes/kubelet/config.json --config-dir=/etc/kubernetes/kubelet/config.json.d \
         --kubeconfig=/var/lib/kubelet/kubeconfig --node-ip=10.0.0.1",
    );
    let config = json!({
        "kind": "KubeletConfiguration", "apiVersion": "kubelet.config.k8s.io/v1beta1", "address": "0.0.0.0",
        "authentication": {
            "anonymous": {"enabled": false}, "webhook": {"enabled": true, "cacheTTL": "2m0s"},
            "x509": {"clientCAFile": "/etc/kubernetes/pki/ca.crt"}
        },
        "authorization": {"mode": "Webhook"}, "featureGates": {"RotateKubeletServerCertificate": true},
        "protectKernelDefaults": true, "readOnlyPort": 0, "serializeImagePulls": false, "serverTLSBootstrap": true,
    });
    tree.file("/etc/kubernetes/kubelet/config.json", &config.to_string());
    let drop_in = json!({"kind": "KubeletConfiguration", "apiVersion": "kubelet.config.k8s.io/v1beta1", "podPidsLimit": 1024});
    tree.file("/etc/kubernetes/kubelet/config.json.d/40-nodeadm.conf", &drop_in.to_string());
    tree.file("/var/lib/kubelet/kubeconfig", "");
    tree.file("/etc/kubernetes/pki/ca.crt", "");
    tree.file("/etc/eks/kubelet/environment", "NODEADM_KUBELET_ARGS=\n");
    tree.file("/etc/systemd/system/kubelet.service", "[Service]\n");
    tree.describe();
    let mut settings = closed("/etc/kubernetes/pki/ca.crt");
    settings.extend([("serverTLSBootstrap", json!(true)), ("podPidsLimit", json!(1024))]);
    let expected = Expected {
        profile: "eks-al2023",
        because: "/etc/kubernetes/kubelet/config.json is there and os-release says amzn 2023",
        provider: "aws",
        embedded: false,
        settings,
        files: &[
            ("/etc/kubernetes/kubelet/config.json", "kubelet_config"),
            ("/etc/kubernetes/kubelet/config.json.d/40-nodeadm.conf", "kubelet_config"),
            ("/var/lib/kubelet/kubeconfig", "kubelet_kubeconfig"),
            ("/etc/eks/kubelet/environment", "kubelet_environment"),
        ],
        verdicts: passes(),
    };
    (tree, expected)
}

/// The settings API's template `kubelet-config`, not standalone.
pub(crate) fn bottlerocket() -> (Tree, Expected) {
    let tree = Tree::new("ID=bottlerocket\nVERSION_ID=1.47.0\nVARIANT_ID=aws-k8s-1.34\n");
    tree.service(
        10,
        "/usr/bin/kubelet",
        "/usr/bin/kubelet --cloud-provider external --kubeconfig /etc/kubernetes/kubelet/kubeconfig --config \
         /etc/kubernetes/kubelet/config --container-runtime-endpoint=unix:///run/containerd/containerd.sock --root-dir /var/lib/kubelet \
         --cert-dir /var/lib/kubelet/pki",
    );
    let config = kubelet_config(&format!(
        "address: 0.0.0.0\n{AUTHENTICATION}\"/etc/kubernetes/pki/ca.crt\"}}}}\nauthorization: {{mode: Webhook}}\npodPidsLimit: 1048576\n\
         readOnlyPort: 0\nprotectKernelDefaults: true\nserverTLSBootstrap: true\nstaticPodPath: /etc/kubernetes/static-pods/\n\
         enableDebuggingHandlers: false\n"
    ));
    tree.file("/etc/kubernetes/kubelet/config", &config);
    tree.file("/etc/kubernetes/kubelet/kubeconfig", "");
    tree.file("/etc/kubernetes/static-pods/p.yaml", "");
    tree.file("/etc/kubernetes/pki/ca.crt", "");
    tree.file("/etc/kubernetes/pki/private/kubelet-server.key", "");
    tree.describe();
    let mut settings = closed("/etc/kubernetes/pki/ca.crt");
    settings.extend([("enableDebuggingHandlers", json!(false)), ("serverTLSBootstrap", json!(true))]);
    let expected = Expected {
        profile: "bottlerocket",
        because: "os-release says bottlerocket aws-k8s-1.34",
        provider: "aws",
        embedded: false,
        settings,
        files: &[
            ("/etc/kubernetes/kubelet/config", "kubelet_config"),
            ("/etc/kubernetes/kubelet/kubeconfig", "kubelet_kubeconfig"),
            ("/etc/kubernetes/static-pods/p.yaml", "manifest"),
            ("/etc/kubernetes/pki/private/kubelet-server.key", "pki_key"),
        ],
        verdicts: passes(),
    };
    (tree, expected)
}

const AKS_FILES: [&str; 5] = [
    "/etc/kubernetes/azure.json",
    "/var/lib/kubelet/kubeconfig",
    "/etc/kubernetes/certs/ca.crt",
    "/etc/kubernetes/certs/kubeletserver.key",
    "/etc/systemd/system/kubelet.service",
];

/// `AgentBaker`'s `kubelet.service` without a configuration file: everything stands in `/etc/default/kubelet`.
pub(crate) fn aks_with_flags() -> (Tree, Expected) {
    let tree = Tree::new("ID=ubuntu\nVERSION_ID=\"24.04\"\n");
    tree.service(
        10,
        "/usr/local/bin/kubelet",
        "/usr/local/bin/kubelet --enable-server --node-labels=agentpool=a --v=2 --kubeconfig /var/lib/kubelet/kubeconfig \
         --bootstrap-kubeconfig /var/lib/kubelet/bootstrap-kubeconfig --address=0.0.0.0 --anonymous-auth=false \
         --authentication-token-webhook=true --authorization-mode=Webhook --client-ca-file=/etc/kubernetes/certs/ca.crt \
         --read-only-port=0 --rotate-certificates=true --streaming-connection-idle-timeout=4h --protect-kernel-defaults=true \
         --tls-cert-file=/etc/kubernetes/certs/kubeletserver.crt --tls-private-key-file=/etc/kubernetes/certs/kubeletserver.key",
    );
    for path in AKS_FILES {
        tree.file(path, "");
    }
    tree.file("/etc/default/kubelet", "KUBELET_FLAGS=--anonymous-auth=false\n");
    tree.describe();
    let mut settings = closed("/etc/kubernetes/certs/ca.crt");
    settings.extend([("rotateCertificates", json!(true)), ("streamingConnectionIdleTimeout", json!(14_400))]);
    let expected = Expected {
        profile: "aks",
        because: "--client-ca-file is /etc/kubernetes/certs/ca.crt and --kubeconfig is /var/lib/kubelet/kubeconfig and \
                  /etc/kubernetes/azure.json is there",
        provider: "azure",
        embedded: false,
        settings,
        files: &[
            ("/etc/default/kubelet", "kubelet_environment"),
            ("/var/lib/kubelet/kubeconfig", "kubelet_kubeconfig"),
            ("/etc/kubernetes/certs/ca.crt", "kubelet_ca"),
            ("/etc/kubernetes/certs/kubeletserver.key", "pki_key"),
        ],
        verdicts: passes(),
    };
    (tree, expected)
}

/// The same with `10-componentconfig.conf`, which names a configuration file.
pub(crate) fn aks_with_a_file() -> (Tree, Expected) {
    let tree = Tree::new("ID=azurelinux\nVERSION_ID=\"3.0\"\n");
    tree.service(
        10,
        "/usr/local/bin/kubelet",
        "/usr/local/bin/kubelet --enable-server --config /etc/default/kubeletconfig.json --kubeconfig /var/lib/kubelet/kubeconfig \
         --bootstrap-kubeconfig /var/lib/kubelet/bootstrap-kubeconfig --node-labels=agentpool=a",
    );
    for path in AKS_FILES {
        tree.file(path, "");
    }
    let config = json!({
        "kind": "KubeletConfiguration", "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "authentication": {
            "x509": {"clientCAFile": "/etc/kubernetes/certs/ca.crt"}, "webhook": {"enabled": true}, "anonymous": {}
        },
        "authorization": {"mode": "Webhook", "webhook": {}}, "rotateCertificates": true, "protectKernelDefaults": true,
    });
    tree.file("/etc/default/kubeletconfig.json", &config.to_string());
    tree.describe();
    let expected = Expected {
        profile: "aks",
        because: "--config is /etc/default/kubeletconfig.json",
        provider: "azure",
        embedded: false,
        settings: closed("/etc/kubernetes/certs/ca.crt"),
        files: &[
            ("/etc/default/kubeletconfig.json", "kubelet_config"),
            ("/var/lib/kubelet/kubeconfig", "kubelet_kubeconfig"),
            ("/etc/kubernetes/certs/ca.crt", "kubelet_ca"),
        ],
        verdicts: passes(),
    };
    (tree, expected)
}

/// Container-Optimized OS: `configure-helper.sh` writes the file, the flags in `/etc/default/kubelet` name it. GKE leaves the
/// read-only port open on older node pools: that must not pass.
pub(crate) fn gke_cos() -> (Tree, Expected) {
    let tree = Tree::new("ID=cos\nVERSION_ID=121\n");
    tree.service(
        10,
        "/home/kubernetes/bin/kubelet",
        "/home/kubernetes/bin/kubelet --v=2 --cloud-provider=external --cert-dir=/var/lib/kubelet/pki/ \
         --kubeconfig=/var/lib/kubelet/kubeconfig --bootstrap-kubeconfig=/var/lib/kubelet/bootstrap-kubeconfig --max-pods=110 --config \
         /home/kubernetes/kubelet-config.yaml",
    );
    let config = kubelet_config(&format!(
        "{AUTHENTICATION}/etc/srv/kubernetes/pki/ca-certificates.crt}}}}\nauthorization: {{mode: Webhook}}\nreadOnlyPort: 10255\n\
         staticPodPath: /etc/kubernetes/manifests\n"
    ));
    tree.file("/home/kubernetes/kubelet-config.yaml", &config);
    tree.file("/var/lib/kubelet/kubeconfig", "");
    tree.file("/var/lib/kube-proxy/kubeconfig", "");
    tree.file("/etc/srv/kubernetes/pki/ca-certificates.crt", "");
    tree.file("/etc/kubernetes/manifests/kube-proxy.manifest", "");
    tree.file("/etc/default/kubelet", "KUBELET_OPTS=\n");
    tree.describe();
    let expected = Expected {
        profile: "gke-cos",
        because: "--config is /home/kubernetes/kubelet-config.yaml and os-release says cos",
        provider: "gcp",
        embedded: false,
        settings: vec![
            ("anonymousAuth", json!(false)),
            ("authorizationMode", json!("Webhook")),
            ("readOnlyPort", json!(10255)),
            ("clientCAFile", json!("/etc/srv/kubernetes/pki/ca-certificates.crt")),
        ],
        files: &[
            ("/home/kubernetes/kubelet-config.yaml", "kubelet_config"),
            ("/var/lib/kubelet/kubeconfig", "kubelet_kubeconfig"),
            ("/var/lib/kube-proxy/kubeconfig", "kube_proxy_kubeconfig"),
            ("/etc/kubernetes/manifests/kube-proxy.manifest", "manifest"),
        ],
        verdicts: vec![("kubelet-anonymous-auth", Verdict::Pass), ("kubelet-read-only-port", Verdict::Fail)],
    };
    (tree, expected)
}

/// k3s 1.32 and later: `00-k3s-defaults.conf` in the drop-in directory; flags inside the process.
pub(crate) fn k3s() -> (Tree, Expected) {
    let tree = Tree::new("ID=alpine\n");
    tree.service(10, "/var/lib/rancher/k3s/data/current/bin/k3s", "/usr/local/bin/k3s server");
    let config =
        kubelet_config(&format!("{AUTHENTICATION}/var/lib/rancher/k3s/agent/client-ca.crt}}}}\nauthorization: {{mode: Webhook}}\n"));
    tree.file("/var/lib/rancher/k3s/agent/etc/kubelet.conf.d/00-k3s-defaults.conf", &config);
    tree.file("/var/lib/rancher/k3s/agent/kubelet.kubeconfig", "");
    tree.file("/var/lib/rancher/k3s/agent/kubeproxy.kubeconfig", "");
    tree.file("/var/lib/rancher/k3s/agent/client-ca.crt", "");
    tree.file("/var/lib/rancher/k3s/agent/serving-kubelet.key", "");
    tree.file("/var/lib/rancher/k3s/server/cred/admin.kubeconfig", "");
    tree.file("/etc/rancher/k3s/k3s.yaml", "");
    tree.file("/etc/rancher/k3s/config.yaml", "");
    tree.describe();
    let expected = Expected {
        profile: "k3s",
        because: "the kubelet runs as k3s",
        provider: "none",
        embedded: true,
        settings: closed("/var/lib/rancher/k3s/agent/client-ca.crt"),
        files: &[
            ("/var/lib/rancher/k3s/agent/etc/kubelet.conf.d/00-k3s-defaults.conf", "kubelet_config"),
            ("/etc/rancher/k3s/config.yaml", "kubelet_config"),
            ("/var/lib/rancher/k3s/agent/kubelet.kubeconfig", "kubelet_kubeconfig"),
            ("/var/lib/rancher/k3s/agent/kubeproxy.kubeconfig", "kube_proxy_kubeconfig"),
            ("/var/lib/rancher/k3s/agent/client-ca.crt", "kubelet_ca"),
            ("/var/lib/rancher/k3s/agent/serving-kubelet.key", "pki_key"),
            ("/var/lib/rancher/k3s/server/cred/admin.kubeconfig", "kubeconfig"),
            ("/etc/rancher/k3s/k3s.yaml", "kubeconfig"),
        ],
        verdicts: passes(),
    };
    (tree, expected)
}

/// RKE2 1.32 and later: a kubelet of its own, with a drop-in directory and no `--config`.
pub(crate) fn rke2() -> (Tree, Expected) {
    let tree = Tree::new("ID=\"sles\"\nVERSION_ID=\"15.6\"\n");
    tree.service(
        10,
        "/var/lib/rancher/rke2/data/v1.34.4-rke2r1-0d52262ea640/bin/kubelet",
        "kubelet --volume-plugin-dir=/var/lib/kubelet/volumeplugins --cloud-provider=external \
         --config-dir=/var/lib/rancher/rke2/agent/etc/kubelet.conf.d --containerd=/run/k3s/containerd/containerd.sock \
         --kubeconfig=/var/lib/rancher/rke2/agent/kubelet.kubeconfig --node-labels= --read-only-port=0",
    );
    let config = kubelet_config(&format!(
        "address: 0.0.0.0\n{AUTHENTICATION}/var/lib/rancher/rke2/agent/client-ca.crt}}}}\nauthorization: {{mode: Webhook}}\n\
         staticPodPath: /var/lib/rancher/rke2/agent/pod-manifests\ntlsCertFile: /var/lib/rancher/rke2/agent/serving-kubelet.crt\n\
         tlsPrivateKeyFile: /var/lib/rancher/rke2/agent/serving-kubelet.key\n"
    ));
    tree.file("/var/lib/rancher/rke2/agent/etc/kubelet.conf.d/00-rke2-defaults.conf", &config);
    tree.file("/var/lib/rancher/rke2/agent/kubelet.kubeconfig", "");
    tree.file("/var/lib/rancher/rke2/agent/kubeproxy.kubeconfig", "");
    tree.file("/var/lib/rancher/rke2/agent/client-ca.crt", "");
    tree.file("/var/lib/rancher/rke2/agent/pod-manifests/etcd.yaml", "");
    tree.file("/etc/rancher/rke2/rke2.yaml", "");
    tree.describe();
    let expected = Expected {
        profile: "rke2",
        because: "the kubelet runs as rke2",
        provider: "none",
        embedded: false,
        settings: closed("/var/lib/rancher/rke2/agent/client-ca.crt"),
        files: &[
            ("/var/lib/rancher/rke2/agent/etc/kubelet.conf.d/00-rke2-defaults.conf", "kubelet_config"),
            ("/var/lib/rancher/rke2/agent/kubelet.kubeconfig", "kubelet_kubeconfig"),
            ("/var/lib/rancher/rke2/agent/client-ca.crt", "kubelet_ca"),
            ("/var/lib/rancher/rke2/agent/pod-manifests/etcd.yaml", "manifest"),
            ("/etc/rancher/rke2/rke2.yaml", "kubeconfig"),
        ],
        verdicts: passes(),
    };
    (tree, expected)
}

/// MicroK8s: `default-args/kubelite` and `default-args/kubelet`.
pub(crate) fn microk8s() -> (Tree, Expected) {
    let tree = Tree::new("ID=ubuntu\nVERSION_ID=\"24.04\"\n");
    tree.service(
        10,
        "/snap/microk8s/7589/kubelite",
        "/snap/microk8s/7589/kubelite --scheduler-args-file=/var/snap/microk8s/7589/args/kube-scheduler \
         --kubelet-args-file=/var/snap/microk8s/7589/args/kubelet --kubeconfig-file=/var/snap/microk8s/7589/credentials/client.config \
         --start-control-plane=true",
    );
    let arguments = "--kubeconfig=${SNAP_DATA}/credentials/kubelet.config\n--cert-dir=${SNAP_DATA}/certs\n\
                     --client-ca-file=${SNAP_DATA}/certs/ca.crt\n--anonymous-auth=false\n--authentication-token-webhook=true\n\
                     --read-only-port=0\n";
    tree.file("/var/snap/microk8s/current/args/kubelet", arguments);
    tree.file("/var/snap/microk8s/7589/args/kubelet", arguments);
    tree.file("/var/snap/microk8s/current/credentials/kubelet.config", "");
    tree.file("/var/snap/microk8s/current/credentials/client.config", "");
    tree.file("/var/snap/microk8s/current/certs/ca.crt", "");
    tree.file("/var/snap/microk8s/current/certs/ca.key", "");
    tree.describe();
    let expected = Expected {
        profile: "microk8s",
        because: "the kubelet runs as kubelite",
        provider: "none",
        embedded: true,
        settings: vec![("anonymousAuth", json!(false)), ("readOnlyPort", json!(0))],
        files: &[
            ("/var/snap/microk8s/current/args/kubelet", "kubelet_config"),
            ("/var/snap/microk8s/current/credentials/kubelet.config", "kubelet_kubeconfig"),
            ("/var/snap/microk8s/current/credentials/client.config", "kubeconfig"),
            ("/var/snap/microk8s/current/certs/ca.crt", "kubelet_ca"),
            ("/var/snap/microk8s/current/certs/ca.key", "pki_key"),
        ],
        verdicts: vec![("kubelet-anonymous-auth", Verdict::Pass), ("kubelet-read-only-port", Verdict::Pass)],
    };
    (tree, expected)
}

/// The machine-config-operator's worker templates.
pub(crate) fn openshift() -> (Tree, Expected) {
    let tree = Tree::new("ID=\"rhcos\"\nVERSION_ID=\"4.19\"\n");
    tree.service(
        10,
        "/usr/bin/kubelet",
        "/usr/bin/kubelet --config=/etc/kubernetes/kubelet.conf --bootstrap-kubeconfig=/etc/kubernetes/kubeconfig \
         --kubeconfig=/var/lib/kubelet/kubeconfig --container-runtime-endpoint=/var/run/crio/crio.sock --cloud-provider=external",
    );
    let config = kubelet_config(
        "authentication: {x509: {clientCAFile: /etc/kubernetes/kubelet-ca.crt}, anonymous: {enabled: false}}\nrotateCertificates: true\n\
         serverTLSBootstrap: true\nstaticPodPath: /etc/kubernetes/manifests\nfeatureGates: {RotateKubeletServerCertificate: true}\n",
    );
    tree.file("/etc/kubernetes/kubelet.conf", &config);
    tree.file("/etc/kubernetes/kubeconfig", "");
    tree.file("/var/lib/kubelet/kubeconfig", "");
    tree.file("/etc/kubernetes/kubelet-ca.crt", "");
    tree.file("/etc/systemd/system/kubelet.service", "[Service]\n");
    tree.file("/etc/crio/crio.conf.d/00-default", "");
    tree.describe();
    let mut settings = closed("/etc/kubernetes/kubelet-ca.crt");
    settings.extend([("rotateCertificates", json!(true)), ("serverTLSBootstrap", json!(true))]);
    let expected = Expected {
        profile: "openshift",
        because: "os-release says rhcos",
        provider: "none",
        embedded: false,
        settings,
        files: &[
            ("/etc/kubernetes/kubelet.conf", "kubelet_config"),
            ("/var/lib/kubelet/kubeconfig", "kubelet_kubeconfig"),
            ("/etc/kubernetes/kubeconfig", "kubelet_kubeconfig"),
            ("/etc/kubernetes/kubelet-ca.crt", "kubelet_ca"),
            ("/etc/crio/crio.conf.d/00-default", "container_runtime_config"),
        ],
        verdicts: passes(),
    };
    (tree, expected)
}

/// machined's `KubeletSpecController`: TLS 1.3 only, an idle timeout of five minutes.
pub(crate) fn talos() -> (Tree, Expected) {
    let tree = Tree::new("ID=talos\nVERSION_ID=v1.11.0\n");
    tree.service(
        10,
        "/usr/local/bin/kubelet",
        "/usr/local/bin/kubelet --bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubeconfig --cert-dir=/var/lib/kubelet/pki \
         --config=/etc/kubernetes/kubelet.yaml --kubeconfig=/etc/kubernetes/kubeconfig-kubelet --hostname-override=n1 --node-ip=10.0.0.2",
    );
    let config = kubelet_config(&format!(
        "staticPodPath: /etc/kubernetes/manifests\naddress: 0.0.0.0\nport: 10250\nrotateCertificates: true\n\
         {AUTHENTICATION}/etc/kubernetes/pki/ca.crt}}}}\nauthorization: {{mode: Webhook}}\ntlsMinVersion: VersionTLS13\n\
         streamingConnectionIdleTimeout: 5m0s\n"
    ));
    tree.file("/etc/kubernetes/kubelet.yaml", &config);
    tree.file("/etc/kubernetes/kubeconfig-kubelet", "");
    tree.file("/etc/kubernetes/bootstrap-kubeconfig", "");
    tree.file("/etc/kubernetes/pki/ca.crt", "");
    tree.file("/system/secrets/etcd/server.key", "");
    tree.file("/etc/cri/conf.d/cri.toml", "");
    tree.describe();
    let mut settings = closed("/etc/kubernetes/pki/ca.crt");
    settings.extend([("tlsMinVersion", json!("VersionTLS13")), ("streamingConnectionIdleTimeout", json!(300))]);
    let expected = Expected {
        profile: "talos",
        because: "os-release says talos",
        provider: "none",
        embedded: false,
        settings,
        files: &[
            ("/etc/kubernetes/kubelet.yaml", "kubelet_config"),
            ("/etc/kubernetes/kubeconfig-kubelet", "kubelet_kubeconfig"),
            ("/etc/kubernetes/bootstrap-kubeconfig", "kubelet_kubeconfig"),
            ("/system/secrets/etcd/server.key", "pki_key"),
            ("/etc/cri/conf.d/cri.toml", "container_runtime_config"),
        ],
        verdicts: passes(),
    };
    (tree, expected)
}

/// A kubelet somebody set up by hand, on a machine of Amazon's, with nothing but flags: upstream's defaults of flags hold, which are
/// open.
pub(crate) fn plain() -> (Tree, Expected) {
    let tree = Tree::new("ID=debian\nVERSION_ID=\"13\"\n");
    tree.service(10, "/opt/kubernetes/bin/kubelet", "/opt/kubernetes/bin/kubelet --kubeconfig=/opt/kubernetes/kubelet.kubeconfig");
    tree.plain("host/sys/class/dmi/id/sys_vendor", "Amazon EC2\n");
    tree.file("/opt/kubernetes/kubelet.kubeconfig", "");
    tree.describe();
    let expected = Expected {
        profile: "plain",
        because: "a kubelet runs here, and no file of a known distribution was found",
        provider: "aws",
        embedded: false,
        settings: vec![("anonymousAuth", json!(true)), ("authorizationMode", json!("AlwaysAllow")), ("readOnlyPort", json!(10255))],
        files: &[("/opt/kubernetes/kubelet.kubeconfig", "kubelet_kubeconfig")],
        verdicts: vec![
            ("kubelet-anonymous-auth", Verdict::Fail),
            ("kubelet-authorization-mode", Verdict::Fail),
            ("kubelet-read-only-port", Verdict::Fail),
        ],
    };
    (tree, expected)
}
