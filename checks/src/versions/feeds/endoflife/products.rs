//! Products whose lifecycle counts for a node, by the names endoflife.date gives them.

/// The kernel's name in records.
pub(super) const KERNEL: &str = "linux-kernel";

/// Names in records, and the other names that endoflife.date has for the same.
const PRODUCTS: [(&str, &[&str]); 25] = [
    (KERNEL, &["linux", "linuxkernel"]),
    ("alpine-linux", &["alpine", "alpinelinux"]),
    ("almalinux", &["alma", "alma-linux"]),
    ("amazon-eks", &["eks", "amazon-elastic-kubernetes-service"]),
    ("amazon-linux", &["amazonlinux"]),
    ("azure-kubernetes-service", &["aks"]),
    ("centos", &[]),
    ("centos-stream", &["centosstream"]),
    ("containerd", &[]),
    ("cos", &["google-cos", "container-optimized-os"]),
    ("debian", &[]),
    ("docker-engine", &[]),
    ("etcd", &[]),
    ("fedora", &["fedora-linux"]),
    ("google-kubernetes-engine", &["gke"]),
    ("kubernetes", &["k8s"]),
    ("opensuse", &["opensuseleap"]),
    ("oracle-linux", &["oraclelinux"]),
    ("red-hat-openshift", &["openshift", "rh-openshift"]),
    ("rhel", &["redhat", "redhatlinux"]),
    ("rocky-linux", &["rocky", "rockylinux"]),
    ("sles", &["suseenterpriseserver", "suseserver", "suselinuxenterpriseserver"]),
    ("suse-linux-micro", &["sl-micro"]),
    ("ubuntu", &["ubuntu-linux"]),
    ("vmware-photon", &["photon", "vmwarephoton"]),
];

/// The name in records; `None` for products that no node is judged by.
pub(super) fn by_name(name: &str) -> Option<&'static str> {
    PRODUCTS.iter().find(|(product, others)| *product == name || others.contains(&name)).map(|(product, _)| *product)
}
