//! No secret of a node is in its capture, wherever it was put.

use std::fs;
use std::path::Path;

use super::capture;

/// Every secret planted below contains this.
const MARK: &str = "hunter2";

fn put(tree: &Path, path: &str, content: impl AsRef<[u8]>) {
    let path = tree.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// A node with a secret everywhere a node has some.
fn planted(tree: &Path) {
    let put = |path: &str, content: &str| put(tree, path, content);
    put("host/holdfast-tree.json", r#"{"uname": {"release": "6.1.0"}}"#);
    put("host/etc/hostname", "n1\n");
    put(
        "host/var/lib/kubelet/config.yaml",
        "kind: KubeletConfiguration\nclusterDomain: kept.local\nstaticPodURL: https://u:hunter2url@h/x\n\
         staticPodURLHeader: {Authorization: [Bearer hunter2header]}\nextra: {clientSecret: hunter2nested, token: hunter2token}\n",
    );
    put("host/etc/kubelet.d/10.conf", "staticPodURLHeader: {X-Key: [hunter2dropin]}\n");
    let kubeconfig = "apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: 'https://10.0.0.1:6443'}}]\n\
         users:\n- name: kept-user\n  user:\n    token: hunter2kubeconfig\n    password: hunter2password\n    client-key-data: aHVudGVyMgo=hunter2key\n\
         \x20   exec: {command: x, env: [{name: AWS_SECRET_ACCESS_KEY, value: hunter2exec}]}\n";
    for path in ["kubelet.conf", "admin.conf", "controller-manager.conf", "scheduler.conf", "bootstrap-kubelet.conf"] {
        put(&format!("host/etc/kubernetes/{path}"), kubeconfig);
    }
    put("host/var/lib/kubelet/kubeconfig", kubeconfig);
    let key = "-----BEGIN RSA PRIVATE KEY-----\nhunter2privatekey\n-----END RSA PRIVATE KEY-----\n";
    for path in [
        "etc/kubernetes/pki/ca.key",
        "etc/kubernetes/pki/sa.key",
        "etc/ssh/ssh_host_ed25519_key",
        "var/lib/kubelet/pki/kubelet-client-current.pem",
    ] {
        put(&format!("host/{path}"), key);
    }
    put("host/root/.ssh/id_ed25519", key);
    put("host/etc/ssh/sshd_config", "PermitRootLogin no\nBanner hunter2banner\n# hunter2comment\n");
    put("host/etc/kubernetes/tokens.csv", "hunter2csv,admin,1,system:masters\n");
    put("host/var/lib/kubelet/kubeadm-flags.env", "KUBELET_KUBEADM_ARGS=\"--token=hunter2env --node-labels=kept=1\"\n");
    put("host/etc/default/kubelet", "KUBELET_EXTRA_ARGS=--static-pod-url-header=X:hunter2default\nHTTP_PROXY=http://u:hunter2proxy@p\n");
    put(
        "host/etc/systemd/system/kubelet.service",
        "[Service]\nEnvironment=\"AWS_SECRET_ACCESS_KEY=hunter2unit\"\nExecStart=/usr/bin/kubelet --token hunter2exec $KUBELET_EXTRA_ARGS\n",
    );
    put(
        "host/etc/systemd/system/kubelet.service.d/10-kubeadm.conf",
        "[Service]\nEnvironment=\"KUBELET_AUTH=--token=hunter2conf --bootstrap-token=hunter2boot\"\nEnvironmentFile=-/etc/default/kubelet\n",
    );
    put(
        "host/etc/kubernetes/manifests/kube-apiserver.yaml",
        "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - name: a\n    command: [kube-apiserver, --service-account-key-file=/sa.pub]\n    env: [{name: DB_PASSWORD, value: hunter2pod}]\n",
    );
    put(
        "host/etc/cni/net.d/10-x.conflist",
        r#"{"name": "net", "plugins": [{"type": "calico", "etcd_key": "hunter2cni", "token": "hunter2cnitoken"}]}"#,
    );
    put("proc/1/net/tcp", "  sl\n");
    put("proc/1/net/udp", "  sl\n");
    put("proc/cmdline", "BOOT_IMAGE=/vmlinuz quiet\n");
    let processes = [
        (
            "10",
            "kubelet",
            "kubelet\0--config=/var/lib/kubelet/config.yaml\0--config-dir=/etc/kubelet.d\0--kubeconfig=/etc/kubernetes/kubelet.conf\0--token=hunter2flag\0--static-pod-url-header\0X:hunter2split\0--node-labels=kept=1\0",
        ),
        (
            "11",
            "kube-apiserver",
            "kube-apiserver\0--token-auth-file=/etc/kubernetes/tokens.csv\0--etcd-servers=https://root:hunter2etcd@10.0.0.1:2379\0--oidc-client-secret=hunter2oidc\0",
        ),
        (
            "12",
            "k3s",
            "k3s\0server\0--token=hunter2k3s\0--datastore-endpoint=postgres://u:hunter2pg@db/x\0--kubelet-arg=token=hunter2arg\0",
        ),
        ("13", "app", "app\0--db-password=hunter2app\0"),
    ];
    for (pid, name, cmdline) in processes {
        put(&format!("proc/{pid}/stat"), &format!("{pid} ({name}) S 1 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 100 0 0\n"));
        put(&format!("proc/{pid}/status"), "Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nCapEff:\t0000000000000000\n");
        put(&format!("proc/{pid}/cmdline"), cmdline);
        put(&format!("proc/{pid}/environ"), "KUBELET_EXTRA_ARGS=--token=hunter2environ --v=2\0AWS_SECRET_ACCESS_KEY=hunter2aws\0");
        put(&format!("proc/{pid}/cgroup"), "0::/system.slice/kubelet.service\n");
        put(&format!("proc/{pid}/uid_map"), "0 0 4294967295\n");
        put(&format!("proc/{pid}/root"), "/");
        put(&format!("proc/{pid}/cwd"), "/");
        put(&format!("proc/{pid}/exe"), &format!("/usr/bin/{name}"));
        for namespace in ["net", "mnt", "user"] {
            put(&format!("proc/{pid}/ns/{namespace}"), &format!("{namespace}:[4026531840]"));
        }
    }
}

#[test]
fn no_secret_is_in_a_capture() {
    let tree = tempfile::tempdir().unwrap();
    planted(tree.path());
    let archive = tree.path().join("node.tar.zst");
    capture(tree.path(), &archive);
    let packed = fs::read(&archive).unwrap();
    let unpacked = zstd::decode_all(&*packed).unwrap();
    for bytes in [&packed, &unpacked] {
        let found = bytes.windows(MARK.len()).position(|window| window.eq_ignore_ascii_case(MARK.as_bytes()));
        if let Some(at) = found {
            panic!("{}", String::from_utf8_lossy(&bytes[at.saturating_sub(200)..(at + 60).min(bytes.len())]));
        }
    }
    let text = String::from_utf8_lossy(&unpacked);
    // What it is for is in it.
    for kept in ["kept.local", "kept=1", "(redacted)", "/etc/kubernetes/tokens.csv", "10.0.0.1:2379"] {
        assert!(text.contains(kept), "{kept}");
    }
}
