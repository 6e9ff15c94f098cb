//! Container runtimes: real ones, recorded ones, and files made to mislead.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use holdfast_checks::derive::derive;
use holdfast_checks::facts::{DocumentRole, NodeFacts, Observed, Reason, Runtime};
use rstest::rstest;
use serde_json::{Value, json};

use super::hostile::{Tree, fifo};
use super::programs::{Layout, elf};
use super::{complete, known, options, read, recorded};

const CONTAINERD: &str = "path\tgithub.com/containerd/containerd/v2/cmd/containerd\n";
const OLD_CONTAINERD: &str = "path\tgithub.com/containerd/containerd/cmd/containerd\n";

/// A host with containerd of this version, `info` being its build information.
fn host(info: &str, version: &str, config: &str) -> Tree {
    let tree = Tree::new();
    tree.process(50, "containerd", "/usr/bin/containerd\0");
    tree.write("proc/50/cgroup", "0::/system.slice/containerd.service\n");
    tree.write("proc/50/cwd", "/");
    tree.write("host/usr/bin/containerd", elf(Layout::Inline, info, &[version]));
    tree.write("host/etc/containerd/config.toml", config);
    tree
}

fn derived(tree: &Tree) -> NodeFacts {
    let mut facts = tree.read();
    derive(&mut facts);
    facts
}

fn only(facts: &NodeFacts) -> &Runtime {
    let runtimes = complete(&facts.runtimes);
    assert_eq!(runtimes.len(), 1, "{runtimes:?}");
    &runtimes[0]
}

fn value(runtime: &Runtime, name: &str) -> Value {
    runtime.settings[name].value().map_or_else(|| panic!("{name}: {:?}", runtime.settings[name]), |setting| setting.value.clone())
}

fn values(runtime: &Runtime) -> Value {
    let text = |setting: &Observed<holdfast_checks::facts::Setting>| match setting.value() {
        Some(setting) => setting.value.clone(),
        None => json!(setting.unavailable().unwrap().detail),
    };
    // What the file says of itself is not what containerd made of it.
    runtime.settings.iter().filter(|(name, _)| *name != "config_version").map(|(name, setting)| (name.clone(), text(setting))).collect()
}

fn data(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sensors/containerd").join(name)).unwrap()
}

/// What containerd 2.1.9 itself printed as its configuration, and what is made of the file it was given.
#[rstest]
#[case("hardened", "cgroupfs")]
#[case("cgroupv2-systemd", "systemd")]
fn settings_are_those_that_containerd_2_dumped(#[case] name: &str, #[case] driver: &str) {
    let config = fs::read_to_string(recorded(name).join("host/etc/containerd/config.toml")).unwrap();
    let facts = derived(&host(CONTAINERD, "v2.1.9", &config));
    let runtime = only(&facts);
    assert_eq!(known(&runtime.version), "2.1.9");
    let dumped = derived(&host(CONTAINERD, "v2.1.9", &data(&format!("2.1.9-dump-{name}.toml"))));
    assert_eq!(values(runtime), values(only(&dumped)));
    assert_eq!(value(runtime, "cgroup_driver"), json!(driver));
    assert_eq!((value(runtime, "enable_unprivileged_ports"), value(runtime, "cdi_enabled")), (json!(true), json!(true)));
    assert_eq!(value(runtime, "nri_enabled"), json!(true));
    let handlers = complete(&runtime.handlers);
    assert_eq!(handlers.len(), 1);
    assert_eq!((handlers[0].name.as_str(), handlers[0].kind.as_str(), handlers[0].default), ("runc", "runc", true));
    assert_eq!(handlers[0].program, "/usr/local/bin/runc");
}

/// What Debian's containerd 1.6.20 prints as its default, and what is made of no file at all.
#[test]
fn defaults_are_those_that_containerd_1_printed() {
    let facts = derived(&host(OLD_CONTAINERD, "1.6.20~ds1", "version = 2\n"));
    let printed = derived(&host(OLD_CONTAINERD, "1.6.20~ds1", &data("1.6.20-default.toml")));
    assert_eq!(values(only(&facts)), values(only(&printed)));
    let runtime = only(&facts);
    assert_eq!((value(runtime, "enable_unprivileged_ports"), value(runtime, "nri_enabled")), (json!(false), json!(false)));
    let namespaces = known(&runtime.user_namespaces);
    assert!(!namespaces.capable && namespaces.because.contains("6.1.0 is older than 6.3"), "{namespaces:?}");
}

#[test]
fn a_recorded_node_has_its_runtime() {
    let tree = recorded("cgroupv2-systemd");
    let mut facts = read(options(&tree.join("host"), &tree.join("proc")));
    derive(&mut facts);
    let runtime = only(&facts);
    assert_eq!((runtime.subject.as_str(), runtime.flavour.as_str()), ("containerd", ""));
    assert_eq!(runtime.version.unavailable().unwrap().reason, Reason::NotPresent, "the recording has no programs");
    assert_eq!(value(runtime, "cgroup_driver"), json!("systemd"));
    assert_eq!(value(runtime, "cdi_enabled"), json!(true), "version 3 of the format came with 2.0");
    assert_eq!(value(runtime, "restrict_oom_score_adj"), json!(false));
    assert!(*known(&runtime.used_by_kubelet));
    assert!(complete(&runtime.registries).is_empty());
}

/// containerd 1.x: a later document's section replaces an earlier one whole. 2.x merges them.
#[test]
fn imports_are_merged_as_each_release_merges_them() {
    let main = |version: u8, cri: &str| {
        format!(
            "version = {version}\nimports = [\"conf.d/*.toml\"]\ndisabled_plugins = [\"io.containerd.internal.v1.opt\"]\n[grpc]\naddress = \"/run/a.sock\"\n[plugins.\"{cri}\"]\ndisable_apparmor = true\n[plugins.\"{cri}\".containerd]\ndefault_runtime_name = \"crun\"\n"
        )
    };
    let more = |version: u8, cri: &str| {
        format!(
            "version = {version}\ndisabled_plugins = [\"x.y\"]\n[grpc]\naddress = \"\"\n[plugins.\"{cri}\".registry]\nconfig_path = \"/etc/certs\"\n"
        )
    };
    let cri = "io.containerd.grpc.v1.cri";
    for (info, version, apparmor, runtime_name) in [
        (OLD_CONTAINERD, "1.7.27", json!(false), json!("runc")),
        (CONTAINERD, "2.1.0", json!(true), json!("crun")),
        (CONTAINERD, "2.3.0", json!(true), json!("crun")),
    ] {
        let tree = host(info, version, &main(2, cri));
        tree.write("host/etc/containerd/conf.d/10-more.toml", more(2, cri));
        let facts = derived(&tree);
        let runtime = only(&facts);
        assert_eq!(value(runtime, "disable_apparmor"), apparmor, "{version}");
        assert_eq!(value(runtime, "default_runtime"), runtime_name, "{version}");
        assert_eq!(value(runtime, "address"), json!("/run/a.sock"), "{version}: what is empty replaces nothing");
        assert_eq!(value(runtime, "registry_config_path"), json!("/etc/certs"));
        assert_eq!(value(runtime, "disabled_plugins"), json!(["io.containerd.internal.v1.opt", "x.y"]));
        let documents = known(&runtime.documents);
        assert_eq!(documents.items[1].path, "/etc/containerd/conf.d/10-more.toml");
        assert_eq!(documents.items[1].role, DocumentRole::DropIn);
    }
}

/// Names of another version than the configuration's do nothing in 1.x, and 2.x migrates them.
#[rstest]
#[case::long_without_version(OLD_CONTAINERD, "1.7.27", "[plugins.\"io.containerd.grpc.v1.cri\"]\ndisable_apparmor = true\n", false)]
#[case::short_without_version(OLD_CONTAINERD, "1.7.27", "[plugins.cri]\ndisable_apparmor = true\n", true)]
#[case::short_with_version_2(OLD_CONTAINERD, "1.7.27", "version = 2\n[plugins.cri]\ndisable_apparmor = true\n", false)]
#[case::migrated(CONTAINERD, "2.0.5", "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\"]\ndisable_apparmor = true\n", true)]
#[case::old_name_in_version_3(
    CONTAINERD,
    "2.0.5",
    "version = 3\n[plugins.\"io.containerd.grpc.v1.cri\"]\ndisable_apparmor = true\n",
    false
)]
#[case::new_name(CONTAINERD, "2.0.5", "version = 3\n[plugins.\"io.containerd.cri.v1.runtime\"]\ndisable_apparmor = true\n", true)]
#[case::short_name_migrated_twice(CONTAINERD, "2.3.1", "[plugins.cri]\ndisable_apparmor = true\n", true)]
fn plugins_go_by_the_names_of_their_version(#[case] info: &str, #[case] version: &str, #[case] config: &str, #[case] off: bool) {
    let facts = derived(&host(info, version, config));
    assert_eq!(value(only(&facts), "disable_apparmor"), json!(off));
}

#[test]
fn what_is_switched_off_by_its_old_name_is_off() {
    for (info, version) in [(OLD_CONTAINERD, "1.7.27"), (CONTAINERD, "2.1.0")] {
        let facts = derived(&host(info, version, "disabled_plugins = [\"cri\"]\n"));
        assert_eq!(value(only(&facts), "cri_enabled"), json!(false), "{version}");
    }
}

#[test]
fn registries_are_read_from_the_directory_that_is_configured() {
    let tree = host(CONTAINERD, "2.1.0", "version = 3\n[plugins.\"io.containerd.cri.v1.images\".registry]\nconfig_path = \"/etc/c\"\n");
    tree.write("host/etc/c/r.example_5000_/hosts.toml", "server = \"http://r.example:5000\"\n");
    tree.write(
        "host/etc/c/docker.io/hosts.toml",
        "[host.\"https://u:geheim@m.example\"]\nskip_verify = true\n[host.\"https://backup.example\".header]\nx = \"geheim\"\n",
    );
    tree.write("host/etc/c/_default/hosts.toml", "skip_verify = true\n");
    tree.write("host/etc/c/certs.only/ca.crt", "");
    tree.write("host/etc/containerd/certs.d/other/hosts.toml", "server = \"http://other\"\n");
    let facts = derived(&tree);
    let found: Vec<_> = complete(&only(&facts).registries)
        .iter()
        .map(|registry| (registry.host.as_str(), registry.endpoint.as_str(), registry.tls, registry.verified))
        .collect();
    assert_eq!(
        found,
        [
            ("*", "*", true, false),
            ("docker.io", "https://m.example", true, false),
            ("docker.io", "https://backup.example", true, true),
            ("docker.io", "https://docker.io", true, true),
            ("r.example:5000", "http://r.example:5000", false, false),
        ]
    );
    assert!(!serde_json::to_string(&facts).unwrap().contains("geheim"));
}

#[test]
fn the_old_way_of_registries_still_counts_in_1_and_without_tls_settings_in_2() {
    let config = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors.\"docker.io\"]\nendpoint = [\"http://mirror:5000\", \"https://ok\"]\n[plugins.\"io.containerd.grpc.v1.cri\".registry.configs.\"r.example\".tls]\ninsecure_skip_verify = true\n[plugins.\"io.containerd.grpc.v1.cri\".registry.configs.\"r.example\".auth]\npassword = \"geheim\"\n";
    let old = derived(&host(OLD_CONTAINERD, "1.7.27", config));
    let new = derived(&host(CONTAINERD, "2.2.1", config));
    let insecure = |facts: &NodeFacts| {
        let registries = complete(&only(facts).registries);
        registries.iter().filter(|registry| !(registry.tls && registry.verified)).map(|registry| registry.host.clone()).collect::<Vec<_>>()
    };
    assert_eq!(insecure(&old), ["docker.io", "r.example"]);
    assert_eq!(insecure(&new), ["docker.io"]);
    assert!(!serde_json::to_string(&old).unwrap().contains("geheim"));
}

fn cycle(tree: &Tree) {
    tree.write("host/etc/containerd/config.toml", "version = 2\nimports = [\"b.toml\"]\n");
    tree.write("host/etc/containerd/b.toml", "version = 2\nimports = [\"config.toml\", \"b.toml\", \"./../containerd/b.toml\"]\n");
}

#[test]
fn an_import_cycle_ends() {
    let tree = host(CONTAINERD, "2.1.0", "");
    cycle(&tree);
    let facts = derived(&tree);
    assert_eq!(complete(&only(&facts).documents).len(), 2);
    assert_eq!(value(only(&facts), "disable_apparmor"), json!(false));
}

fn shadow(tree: &Tree) {
    tree.write("host/etc/shadow", "root:$6$geheim:19000:0:99999:7:::\n");
    tree.write("host/etc/containerd/config.toml", "version = 2\nimports = [\"/etc/shadow\"]\n");
}

fn pipe(tree: &Tree) {
    fs::create_dir_all(tree.path("host/etc/containerd")).unwrap();
    fifo(&tree.path("host/etc/containerd/pipe.toml"));
    tree.write("host/etc/containerd/config.toml", "version = 2\nimports = [\"/etc/containerd/*.toml\"]\n");
}

fn nesting(tree: &Tree) {
    tree.write("host/etc/containerd/config.toml", format!("version = 2\nx = {}", "[".repeat(1_000_000)));
}

fn not_utf8(tree: &Tree) {
    tree.write("host/etc/containerd/config.toml", b"version = 2\n# \xff\xfe\n");
}

fn huge(tree: &Tree) {
    fs::File::create(tree.path("host/etc/containerd/config.toml")).unwrap().set_len(2 << 30).unwrap();
}

fn missing(tree: &Tree) {
    tree.write("host/etc/containerd/config.toml", "version = 2\nimports = [\"/nowhere.toml\"]\n");
}

fn chain(tree: &Tree) {
    tree.write("host/etc/containerd/config.toml", "version = 2\nimports = [\"0.toml\"]\n");
    for number in 0..40 {
        tree.write(&format!("host/etc/containerd/{number}.toml"), format!("version = 2\nimports = [\"{}.toml\"]\n", number + 1));
    }
}

fn looped(tree: &Tree) {
    fs::remove_file(tree.path("host/etc/containerd/config.toml")).unwrap();
    symlink("config.toml", tree.path("host/etc/containerd/config.toml")).unwrap();
}

/// A document that is not known might say anything: no setting it could decide is a default.
#[rstest]
#[case::import_of_passwords(shadow, Reason::Malformed)]
#[case::fifo(pipe, Reason::Malformed)]
#[case::a_mebibyte_of_nesting(nesting, Reason::Malformed)]
#[case::not_utf8(not_utf8, Reason::Malformed)]
#[case::two_gibibytes(huge, Reason::TooLarge)]
#[case::import_that_is_not_there(missing, Reason::NotPresent)]
#[case::imports_without_end(chain, Reason::TooLarge)]
#[case::link_to_itself(looped, Reason::Malformed)]
fn a_bad_document_makes_its_settings_unknown(#[case] make: fn(&Tree), #[case] reason: Reason) {
    let tree = host(CONTAINERD, "2.1.0", "");
    make(&tree);
    let started = Instant::now();
    let facts = derived(&tree);
    assert!(started.elapsed() < Duration::from_mins(2), "{:?}", started.elapsed());
    let runtime = &facts.runtimes.value().unwrap().items[0];
    for name in ["disable_apparmor", "stream_server_address", "cgroup_driver", "cri_enabled"] {
        assert_eq!(runtime.settings[name].unavailable().map(|why| why.reason), Some(reason), "{name}: {:?}", runtime.settings[name]);
    }
    assert!(runtime.handlers.unavailable().is_some());
    assert!(!serde_json::to_string(&facts).unwrap().contains("geheim"));
}

#[test]
fn crio_and_docker_are_read_with_their_flags() {
    let tree = Tree::new();
    tree.process(51, "crio", "/usr/bin/crio\0--stream-address=0.0.0.0\0--insecure-registry\0lab.example,old.example\0");
    tree.process(52, "dockerd", "/usr/bin/dockerd\0-H\0tcp://0.0.0.0:2376\0--tlsverify\0--add-runtime\0runsc=/usr/bin/runsc\0");
    for pid in [51, 52] {
        tree.write(&format!("proc/{pid}/cwd"), "/");
    }
    tree.write("host/run/crio/version", "\"1.30.4\"\n");
    tree.write("host/etc/crio/crio.conf", "[crio.runtime]\ndefault_runtime = \"runc\"\nseccomp_profile = \"unconfined\"\n");
    tree.write("host/etc/crio/crio.conf.d/10-crun.conf", "[crio.runtime]\ndefault_runtime = \"crun\"\n[crio.runtime.runtimes.crun]\nruntime_path = \"/usr/bin/crun\"\n[crio.metrics]\nenable_metrics = true\n");
    tree.write("host/etc/containers/registries.conf", "[[registry]]\nprefix = \"a.example\"\nlocation = \"b.example\"\ninsecure = true\n[[registry]]\nlocation = \"c.example\"\nblocked = true\ninsecure = true\n");
    tree.write(
        "host/etc/containers/registries.conf.d/1.conf",
        "[[registry]]\nlocation = \"d.example\"\n[[registry.mirror]]\nlocation = \"e.example\"\ninsecure = true\n",
    );
    tree.write("host/etc/containers/policy.json", r#"{"default": [{"type": "insecureAcceptAnything"}]}"#);
    tree.write(
        "host/etc/docker/daemon.json",
        r#"{"insecure-registries": ["10.0.0.0/8"], "icc": false, "log-opts": {"splunk-token": "geheim"}}"#,
    );
    let facts = derived(&tree);
    let runtimes = complete(&facts.runtimes);
    let [crio, docker] = runtimes else { panic!("{runtimes:?}") };
    assert_eq!((crio.subject.as_str(), known(&crio.version).as_str()), ("cri-o", "1.30.4"));
    for (name, expected) in [
        ("default_runtime", json!("crun")),
        ("seccomp_profile", json!("unconfined")),
        ("stream_server_address", json!("0.0.0.0")),
        ("metrics_address", json!("127.0.0.1:9090")),
        ("nri_enabled", json!(true)),
        ("cgroup_driver", json!("systemd")),
        ("signature_policy", json!("accept_anything")),
    ] {
        assert_eq!(value(crio, name), expected, "{name}");
    }
    let hosts = |runtime: &Runtime| complete(&runtime.registries).iter().map(|one| (one.host.clone(), one.tls)).collect::<Vec<_>>();
    assert_eq!(
        hosts(crio),
        [("lab.example", false), ("old.example", false), ("a.example", false), ("d.example", false), ("d.example", true)]
            .map(|(host, tls)| (host.to_owned(), tls))
    );
    let handlers: Vec<&str> = complete(&crio.handlers).iter().map(|handler| handler.name.as_str()).collect();
    assert_eq!(handlers, ["crun"]);
    for (name, expected) in [
        ("tcp_address", json!("0.0.0.0:2376")),
        ("tcp_tls", json!(true)),
        ("tcp_tls_verify", json!(true)),
        ("icc", json!(false)),
        ("live_restore", json!(false)),
    ] {
        assert_eq!(value(docker, name), expected, "{name}");
    }
    assert_eq!(hosts(docker), [("10.0.0.0/8".to_owned(), false), ("127.0.0.0/8".to_owned(), false)]);
    let kinds: Vec<_> = complete(&docker.handlers).iter().map(|handler| (handler.name.as_str(), handler.kind.as_str())).collect();
    assert_eq!(kinds, [("runc", "runc"), ("runsc", "gvisor")]);
    assert!(!serde_json::to_string(&facts).unwrap().contains("geheim"));
}

#[test]
fn runtimes_in_pods_and_of_other_users_are_not_the_nodes() {
    let tree = host(CONTAINERD, "2.1.0", "");
    tree.process(60, "dockerd", "dockerd\0");
    tree.write("proc/60/cgroup", "0::/kubepods.slice/kubepods-pod00000000_0000_0000_0000_000000000000.slice/cri-containerd-80482ab85e8bbd84bc05126aa36ab4e46ae9ee806de9197c614896296fee9537.scope\n");
    tree.process(61, "containerd", "containerd\0--config\0/var/run/docker/containerd/containerd.toml\0");
    tree.write("proc/61/cgroup", "0::/system.slice/docker.service\n");
    tree.process(62, "containerd", "containerd\0config\0dump\0");
    let facts = derived(&tree);
    let subjects: Vec<&str> = complete(&facts.runtimes).iter().map(|runtime| runtime.subject.as_str()).collect();
    assert_eq!(subjects, ["containerd", "containerd:docker"]);
}

/// A process of ours, ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The version of the package, as dpkg itself says; `None` where it did not install it.
fn packaged(name: &str) -> Option<String> {
    let asked = Command::new("dpkg-query").args(["-W", "-f", "${Version}", name]).output().ok()?;
    String::from_utf8(asked.stdout).ok().filter(|version| !version.is_empty())
}

/// Debian's containerd 1.6 and runc 1.1, running here. Where they are not installed, or the test is not root's, there is nothing to see.
#[test]
fn a_running_containerd_is_read() {
    if !Path::new("/usr/bin/containerd").exists() || !nix::unistd::geteuid().is_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    fs::create_dir_all(at("conf.d")).unwrap();
    fs::create_dir_all(at("certs.d/r.example_5000_")).unwrap();
    fs::write(at("certs.d/r.example_5000_/hosts.toml"), "server = \"http://r.example:5000\"\n").unwrap();
    fs::write(at("conf.d/a.toml"), "version = 2\n[metrics]\naddress = \"127.0.0.1:0\"\n").unwrap();
    let config = format!(
        "version = 2\nroot = \"{}\"\nstate = \"{}\"\nimports = [\"{}\"]\n[grpc]\naddress = \"{}\"\n[plugins.\"io.containerd.grpc.v1.cri\"]\nenable_unprivileged_ports = true\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"{}\"\n",
        at("root"),
        at("state"),
        at("conf.d/*.toml"),
        at("c.sock"),
        at("certs.d")
    );
    fs::write(at("config.toml"), config).unwrap();
    let child =
        Command::new("/usr/bin/containerd").args(["--config", &at("config.toml")]).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let child = Running(child.unwrap());
    let deadline = Instant::now() + Duration::from_mins(1);
    while !Path::new(&at("c.sock")).exists() {
        assert!(Instant::now() < deadline, "it does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut facts = read(options(Path::new("/"), Path::new("/proc")));
    derive(&mut facts);
    let runtimes = &known(&facts.runtimes).items;
    let runtime = runtimes.iter().find(|runtime| runtime.pid == i64::from(child.0.id())).expect("it is found");
    let asked = Command::new("/usr/bin/containerd").arg("--version").output().unwrap();
    let asked = String::from_utf8(asked.stdout).unwrap();
    assert_eq!(asked.split_whitespace().nth(2), Some(known(&runtime.version).as_str()), "{asked}");
    assert!(!known(&runtime.executable).replaced);
    assert_eq!(runtime.installed.value(), runtime.version.value());
    if let Some(version) = packaged("containerd") {
        let package = known(&runtime.package);
        assert_eq!((package.manager.as_str(), package.version.as_str()), ("dpkg", version.as_str()));
    }
    for (name, expected) in [
        ("enable_unprivileged_ports", json!(true)),
        ("metrics_address", json!("127.0.0.1:0")),
        ("address", json!(at("c.sock"))),
        ("registry_config_path", json!(at("certs.d"))),
        ("default_runtime", json!("runc")),
    ] {
        assert_eq!(value(runtime, name), expected, "{name}");
    }
    let sockets = complete(&runtime.sockets);
    let socket = sockets.iter().find(|socket| socket.path == at("c.sock")).expect("it is there");
    assert_eq!((socket.mode, socket.uid, socket.gid), (0o660, 0, 0));
    assert_eq!(complete(&runtime.registries)[0].endpoint, "http://r.example:5000");
    let listeners = known(&runtime.listeners);
    assert!(
        listeners.items.iter().all(|listener| listener.scope == holdfast_checks::facts::BindScope::Loopback) && !listeners.items.is_empty()
    );
    for name in ["runc", "crun"] {
        let Ok(asked) = Command::new(name).arg("--version").output() else { continue };
        let asked = String::from_utf8(asked.stdout).unwrap();
        let programs = complete(&runtime.programs);
        let program = programs.iter().find(|program| program.path.ends_with(&format!("/{name}"))).expect("it is in the search path");
        assert_eq!(asked.split_whitespace().nth(2), Some(known(&program.version).as_str()), "{asked}");
        if let Some(version) = packaged(name) {
            assert_eq!(known(&program.package).version, version);
        }
    }
    assert_eq!(known(&complete(&runtime.handlers)[0].version), known(&complete(&runtime.programs)[0].version));
}
