use std::collections::BTreeMap;

use rstest::rstest;

use super::*;

#[derive(Default)]
struct Node {
    flavour: &'static str,
    exe: &'static str,
    flags: &'static [(&'static str, &'static str)],
    os: &'static [(&'static str, &'static str)],
    vendor: &'static str,
    files: &'static [&'static str],
    version: Option<&'static str>,
}

impl Node {
    fn choose(&self) -> Chosen {
        let field = |key: &str| self.os.iter().find(|(name, _)| *name == key).map_or("", |(_, value)| value).to_owned();
        let fields: BTreeMap<String, String> = self.os.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let os = Os { id: field("ID"), id_like: Vec::new(), version_id: field("VERSION_ID"), pretty_name: String::new(), fields };
        let machine = Machine { vendor: self.vendor.to_owned(), ..Machine::default() };
        let clues = Clues {
            flavour: self.flavour,
            exe: self.exe,
            flag: &|wanted| self.flags.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).to_owned()),
            os: (!self.os.is_empty()).then_some(&os),
            machine: &machine,
            present: &|path| self.files.contains(&path),
            version: self.version,
        };
        Profiles::built_in().unwrap().choose(&clues)
    }
}

const KUBEADM: &[(&str, &str)] = &[("config", "/var/lib/kubelet/config.yaml"), ("kubeconfig", "/etc/kubernetes/kubelet.conf")];
const KUBELET: Node = Node { flavour: "kubelet", exe: "/usr/bin/kubelet", flags: &[], os: &[], vendor: "", files: &[], version: None };

#[rstest]
#[case::k3s_on_bottlerocket(Node { flavour: "k3s", os: &[("ID", "bottlerocket")], ..KUBELET }, "bottlerocket", "k3s would fit too")]
#[case::kubeadm_files_left_on_rke2(Node { flavour: "rke2", files: &["/var/lib/kubelet/kubeadm-flags.env"], ..KUBELET }, "rke2", "the kubelet runs as rke2; kubeadm would fit too, and rke2 is more specific")]
#[case::kubeadm_on_amazon_linux(Node { flags: KUBEADM, os: &[("ID", "amzn"), ("VERSION_ID", "2023")], ..KUBELET }, "kubeadm", "--config is")]
#[case::nodeadm_before_kubeadm(
    Node { flags: KUBEADM, os: &[("ID", "amzn"), ("VERSION_ID", "2023.6")], files: &["/etc/kubernetes/kubelet/config.json"], ..KUBELET },
    "eks-al2023",
    "/etc/kubernetes/kubelet/config.json is there and os-release says amzn 2023.6"
)]
#[case::the_same_path_with_another_provider(
    Node { flags: &[("config", "/home/kubernetes/kubelet-config.yaml")], os: &[("ID", "ubuntu")], ..KUBELET },
    "plain",
    "no file of a known distribution"
)]
#[case::azure_json_of_a_kubeadm_node(
    Node { flags: KUBEADM, files: &["/etc/kubernetes/azure.json"], ..KUBELET }, "kubeadm", "--config is /var/lib/kubelet/config.yaml"
)]
#[case::os_release_not_read(KUBELET, "plain", "os-release could not be read")]
fn of_several_the_most_specific_is_chosen(#[case] node: Node, #[case] name: &str, #[case] words: &str) {
    let chosen = node.choose();
    assert_eq!(chosen.name, name, "{}", chosen.because);
    assert!(chosen.because.contains(words), "{}", chosen.because);
}

#[rstest]
#[case("v1.38.0-alpha.1+k3s2", Some("; written for up to 1.36; this node runs 1.38"))]
#[case("v1.23.17", Some("; written for 1.24 and later; this node runs 1.23"))]
#[case("v1.36.9-eks-1", None)]
#[case("v9", None)]
#[case("unknown", None)]
fn another_version_takes_the_profile_and_says_so(#[case] version: &'static str, #[case] words: Option<&str>) {
    let chosen = Node { flavour: "k3s", version: Some(version), ..KUBELET }.choose();
    assert_eq!(chosen.name, "k3s");
    assert_eq!(chosen.because, format!("the kubelet runs as k3s{}", words.unwrap_or_default()));
}

#[test]
fn the_provider_is_the_profiles_else_the_firmwares() {
    let provider = |node: Node| node.choose().provider;
    assert_eq!(provider(Node { flavour: "k3s", vendor: "Amazon EC2", ..KUBELET }), Provider::Aws);
    assert_eq!(provider(Node { flavour: "k3s", ..KUBELET }), Provider::None);
    let bottlerocket = |variant| Node { os: variant, ..KUBELET };
    assert_eq!(provider(bottlerocket(&[("ID", "bottlerocket"), ("VARIANT_ID", "aws-k8s-1.34")])), Provider::Aws);
    assert_eq!(provider(bottlerocket(&[("ID", "bottlerocket"), ("VARIANT_ID", "vmware-k8s-1.34")])), Provider::None);
}
