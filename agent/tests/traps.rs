//! Situations that other scanners judge wrongly, each as a whole scan of a tree: processes, files and modes in, the verdict
//! of the benchmark's row out. Rows of sections 1 and 2 are those that a node can tell.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may fail"
)]

use std::fmt::Write;
use std::fs;
use std::process::Command;

use rstest::rstest;
use serde_json::{Map, Value, json};

const CONFIG: &str = "/var/lib/kubelet/config.yaml";
const WITH_CONFIG: &str = "--kubeconfig=/etc/kubernetes/kubelet.conf --config=/var/lib/kubelet/config.yaml";
/// Every address, as `/proc/net/tcp` spells it.
const ALL: &str = "00000000";
const HEAD: &str = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n";

/// A node as a tree: what runs, what lies on disk, what `stat` says.
#[derive(Default)]
struct Tree {
    processes: Vec<String>,
    files: Vec<(String, String)>,
    modes: Map<String, Value>,
    /// What the first process listens on, as `/proc/net/tcp` spells it.
    sockets: Vec<(&'static str, u16)>,
    answers: Vec<Value>,
}

impl Tree {
    /// A kubelet with these flags, and no file.
    fn flags(flags: &str) -> Self {
        Self::default().runs(&format!("kubelet {flags}"))
    }

    /// A kubelet with a configuration file of these fields.
    fn config(fields: &str) -> Self {
        Self::flags(WITH_CONFIG).file(CONFIG, &format!("{HEAD}{fields}"))
    }

    fn runs(mut self, command: &str) -> Self {
        self.processes.push(command.to_owned());
        self
    }

    fn file(mut self, path: &str, content: &str) -> Self {
        self.files.push((path.to_owned(), content.to_owned()));
        self.stat(path, "0600", "file", 0)
    }

    /// The first process listens there.
    fn listens(mut self, address: &'static str, port: u16) -> Self {
        self.sockets.push((address, port));
        self
    }

    /// What a request without credentials met: a status, or an outcome.
    fn answers(mut self, port: u16, tls: bool, path: &str, met: impl Into<Value>) -> Self {
        let met = met.into();
        let what = if met.is_number() { "status" } else { "outcome" };
        self.answers.push(json!({"address": "127.0.0.1", "port": port, "path": path, "tls": tls, what: met}));
        self
    }

    fn stat(mut self, path: &str, mode: &str, kind: &str, uid: u32) -> Self {
        let mut directory = path;
        while let Some((parent, _)) = directory.rsplit_once('/') {
            directory = parent;
            let name = if parent.is_empty() { "/" } else { parent };
            self.modes.entry(name).or_insert(json!({"mode": "0755", "uid": 0, "gid": 0, "type": "directory"}));
        }
        self.modes.insert(path.to_owned(), json!({"mode": mode, "uid": uid, "gid": uid, "type": kind}));
        self
    }

    fn link(mut self, path: &str, target: &str) -> Self {
        self = self.stat(path, "0777", "symlink", 0);
        self.modes[path]["target"] = target.into();
        self
    }

    /// The findings that answer `row`, or are of the check called that, as `check subject verdict`, from the program's own output.
    fn verdicts(&self, row: &str) -> Vec<(String, String)> {
        let directory = tempfile::tempdir().unwrap();
        let write = |path: &str, content: &[u8]| {
            let path = directory.path().join(path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        let mut recording = json!({"files": self.modes, "uname": {"release": "6.12.0", "version": "#1 SMP"}});
        if !self.answers.is_empty() {
            recording["probes"] = self.answers.clone().into();
        }
        write("host/holdfast-tree.json", recording.to_string().as_bytes());
        for (path, content) in &self.files {
            write(&format!("host{path}"), content.as_bytes());
        }
        for table in ["tcp", "tcp6", "udp", "udp6"] {
            let mut lines = "  sl  local_address rem_address   st\n".to_owned();
            for (inode, (address, port)) in (5000..).zip(&self.sockets).filter(|_| table == "tcp") {
                let idle = "00000000:00000000 00:00000000 00000000     0        0";
                writeln!(lines, "   0: {address}:{port:04X} 00000000:0000 0A {idle} {inode} 2 0 100 0 0 10 0").unwrap();
                write(&format!("proc/100/fd/{inode}"), format!("socket:[{inode}]").as_bytes());
            }
            write(&format!("proc/1/net/{table}"), lines.as_bytes());
        }
        write("proc/1/ns/net", b"net:[1]");
        write("proc/1/ns/mnt", b"mnt:[1]");
        for (pid, command) in (100..).zip(&self.processes) {
            let argv: Vec<&str> = command.split(' ').filter(|word| !word.is_empty()).collect();
            let name: String = argv[0].chars().take(15).collect();
            let process = format!("proc/{pid}");
            write(&format!("{process}/stat"), format!("{pid} ({name}) S 1 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 100 0 0\n").as_bytes());
            write(&format!("{process}/status"), b"Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nCapEff:\t0000000000000000\n");
            write(&format!("{process}/cmdline"), format!("{}\0", argv.join("\0")).as_bytes());
            write(&format!("{process}/cgroup"), format!("0::/system.slice/{name}.service\n").as_bytes());
            write(&format!("{process}/uid_map"), b"0 0 4294967295\n");
            write(&format!("{process}/ns/net"), b"net:[1]");
            write(&format!("{process}/ns/mnt"), b"mnt:[1]");
            write(&format!("{process}/root"), b"/");
            write(&format!("{process}/cwd"), b"/");
            write(&format!("{process}/exe"), format!("/usr/bin/{}", argv[0]).as_bytes());
        }
        let (root, proc) = (directory.path().join("host"), directory.path().join("proc"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast-agent"));
        command.env_clear().args(["scan", "-o", "json"]);
        let output = command.arg("--host-root").arg(root).arg("--proc").arg(proc).output().unwrap();
        let report: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        let of_row = |finding: &Value| finding["frameworks"]["cis-1.12"].as_array().is_some_and(|rows| rows.contains(&row.into()));
        let answers = |finding: &&Value| finding["check"] == row || of_row(finding);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let findings = report["findings"].as_array().unwrap().iter().filter(answers);
        findings
            .map(|found| {
                (format!("{} {} {}", text(&found["check"]), text(&found["subject"]), text(&found["reason"])), text(&found["verdict"]))
            })
            .collect()
    }
}

fn drop_in(path: &str, fields: &str, tree: Tree) -> Tree {
    tree.file(path, &format!("{HEAD}{fields}"))
}

#[rstest]
// What the file shows.
#[case::anonymous_unset_in_a_file("4.2.1", Tree::config(""), "pass")]
#[case::authorization_unset_in_a_file("4.2.2", Tree::config(""), "pass")]
#[case::always_allow_behind_a_space("4.2.2", Tree::flags("--authorization-mode AlwaysAllow"), "fail")]
#[case::legacy_read_only_port("4.2.4", Tree::flags("--kubeconfig=/k"), "fail")]
#[case::read_only_port_behind_a_space("4.2.4", Tree::flags("--read-only-port 0"), "pass")]
#[case::idle_timeout_of_zero_seconds("4.2.5", Tree::flags("--streaming-connection-idle-timeout=0s"), "fail")]
#[case::serving_certificate_by_bootstrap("4.2.9", Tree::config("serverTLSBootstrap: true\n"), "pass")]
#[case::self_signed_serving_certificate("4.2.11", Tree::config("serverTLSBootstrap: false\n"), "fail")]
#[case::gos_own_suites("4.2.12", Tree::config(""), "fail")]
#[case::unlimited_process_ids("4.2.13", Tree::config("podPidsLimit: -1\n"), "fail")]
#[case::no_seccomp_default("4.2.14", Tree::config("seccompDefault: false\n"), "fail")]
#[case::unlimited_events("4.2.8", Tree::config("eventRecordQPS: 0\n"), "pass")]
#[case::metrics_for_everybody(
    "4.3.1",
    Tree::default().runs("kubelet").runs("kube-proxy --config=/var/lib/kube-proxy/config.conf").file(
        "/var/lib/kube-proxy/config.conf",
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nmetricsBindAddress: 0.0.0.0\n"
    ),
    "fail"
)]
#[case::no_unit_file("4.1.1", Tree::config(""), "not_applicable")]
#[case::no_unit_file_and_no_owner("4.1.2", Tree::config(""), "not_applicable")]
#[case::no_proxy_kubeconfig("4.1.3", Tree::config(""), "not_applicable")]
#[case::a_link_to_a_closed_file(
    "4.1.5",
    Tree::config("").stat("/etc/kubernetes/real.conf", "0600", "file", 0).link("/etc/kubernetes/kubelet.conf", "/etc/kubernetes/real.conf"),
    "pass"
)]
#[case::an_open_file_in_a_closed_directory(
    "4.1.9",
    Tree::config("").stat(CONFIG, "0644", "file", 0).stat("/var/lib/kubelet", "0700", "directory", 0),
    "pass"
)]
#[case::aks_flags("4.2.2", Tree::flags("--anonymous-auth=false --authorization-mode=AlwaysAllow"), "fail")]
#[case::a_finite_idle_timeout("4.2.5", Tree::flags("--streaming-connection-idle-timeout=4h"), "pass")]
#[case::a_drop_in_opens_the_port(
    "4.2.4",
    drop_in(
        "/etc/kubernetes/kubelet.conf.d/20.conf",
        "readOnlyPort: 10255\n",
        Tree::flags(&format!("{WITH_CONFIG} --config-dir=/etc/kubernetes/kubelet.conf.d")).file(CONFIG, &format!("{HEAD}readOnlyPort: 0\n"))
    ),
    "fail"
)]
#[case::etcd_data_of_root(
    "1.1.12",
    Tree::default().runs("etcd --data-dir=/var/lib/etcd").stat("/var/lib/etcd", "0700", "directory", 0),
    "fail"
)]
#[case::structured_authorization_has_nodes("1.2.7", structured("Node, RBAC"), "pass")]
#[case::structured_authorization_has_rbac("1.2.8", structured("Node, RBAC"), "pass")]
#[case::structured_authorization_never_allows_all("1.2.6", structured("Node, RBAC"), "pass")]
#[case::always_admit_behind_a_space(
    "1.2.10",
    Tree::default().runs("kube-apiserver --enable-admission-plugins NodeRestriction,AlwaysAdmit"),
    "fail"
)]
#[case::shared_credentials("1.3.3", Tree::default().runs("kube-controller-manager --profiling=false"), "fail")]
#[case::another_programs_words(
    "1.2.2",
    Tree::default().runs("vim --token-auth-file kube-apiserver").runs("kube-apiserver --profiling=false"),
    "pass"
)]
#[case::controller_manager_on_all_addresses("1.3.7", Tree::default().runs("kube-controller-manager --profiling=false"), "fail")]
#[case::scheduler_on_all_addresses("1.4.2", Tree::default().runs("kube-scheduler --profiling=false"), "fail")]
#[case::etcd_by_its_file(
    "2.2",
    Tree::default().runs("etcd --config-file=/etc/etcd.yaml").file(
        "/etc/etcd.yaml",
        "client-transport-security:\n  client-cert-auth: true\n  trusted-ca-file: /ca.crt\n  cert-file: /s.crt\n  key-file: /s.key\n"
    ),
    "pass"
)]
#[case::audit_to_nowhere("1.2.16", Tree::default().runs("kube-apiserver --audit-log-path=/dev/null --audit-policy-file=/p"), "fail")]
#[case::suites_do_not_matter_to_tls_13("1.2.29", Tree::default().runs("kube-apiserver --tls-min-version=VersionTLS13"), "pass")]
// Of the same kind.
#[case::the_last_flag_wins("4.2.1", Tree::flags("--anonymous-auth=false --anonymous-auth"), "fail")]
#[case::underscores_are_hyphens("4.2.4", Tree::flags("--read_only_port=0"), "pass")]
#[case::a_flag_wins_over_the_file("4.2.1", Tree::config("authentication: {anonymous: {enabled: false}}\n").runs_with("--anonymous-auth=true"), "fail")]
#[case::no_file_means_anonymous("4.2.1", Tree::flags(""), "fail")]
#[case::no_file_means_always_allow("4.2.2", Tree::flags(""), "fail")]
#[case::only_drop_ins_keep_the_legacy_base("4.2.2", drop_in("/d/10.conf", "readOnlyPort: 0\n", Tree::flags("--config-dir=/d")), "fail")]
#[case::only_drop_ins_that_close_the_port("4.2.4", drop_in("/d/10.conf", "readOnlyPort: 0\n", Tree::flags("--config-dir=/d")), "pass")]
#[case::a_drop_in_that_is_no_conf(
    "4.2.4",
    drop_in("/d/20.yaml", "readOnlyPort: 10255\n", Tree::flags(&format!("{WITH_CONFIG} --config-dir=/d")).file(CONFIG, HEAD)),
    "pass"
)]
#[case::the_later_drop_in_wins(
    "4.2.4",
    drop_in(
        "/d/20.conf",
        "readOnlyPort: 0\n",
        drop_in("/d/10.conf", "readOnlyPort: 10255\n", Tree::flags(&format!("{WITH_CONFIG} --config-dir=/d")).file(CONFIG, HEAD))
    ),
    "pass"
)]
#[case::null_takes_the_field_back(
    "4.2.4",
    drop_in(
        "/d/20.conf",
        "readOnlyPort: null\n",
        Tree::flags(&format!("{WITH_CONFIG} --config-dir=/d")).file(CONFIG, &format!("{HEAD}readOnlyPort: 10255\n"))
    ),
    "pass"
)]
#[case::a_file_that_is_not_there("4.2.1", Tree::flags(WITH_CONFIG), "unknown")]
#[case::a_file_that_does_not_parse("4.2.4", Tree::config("readOnlyPort: [\n"), "unknown")]
#[case::a_port_that_is_no_number("4.2.4", Tree::config("readOnlyPort: open\n"), "unknown")]
#[case::a_file_of_another_kind(
    "4.2.4",
    Tree::flags(WITH_CONFIG).file(CONFIG, "apiVersion: v1\nkind: ConfigMap\nreadOnlyPort: 0\n"),
    "unknown"
)]
#[case::json_is_yaml(
    "4.2.4",
    Tree::flags(WITH_CONFIG).file(CONFIG, r#"{"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", "readOnlyPort": 10255}"#),
    "fail"
)]
#[case::zero_in_a_file_is_four_hours("4.2.5", Tree::config("streamingConnectionIdleTimeout: 0s\n"), "pass")]
#[case::rotation_is_off_by_default("4.2.10", Tree::config("").stat("/var/lib/kubelet/pki/kubelet-client-current.pem", "0600", "file", 0), "fail")]
#[case::the_gate_by_flag("4.2.11", Tree::config("serverTLSBootstrap: true\n").runs_with("--feature-gates=A=true,RotateKubeletServerCertificate=false"), "fail")]
#[case::tls_13_needs_no_suites("4.2.12", Tree::config("tlsMinVersion: VersionTLS13\n"), "pass")]
#[case::no_kubelet_at_all("4.2.1", Tree::default().runs("sshd"), "not_applicable")]
#[case::a_world_readable_config("4.1.9", Tree::config("").stat(CONFIG, "0644", "file", 0), "fail")]
#[case::a_config_of_somebody_elses("4.1.10", Tree::config("").stat(CONFIG, "0600", "file", 1000), "fail")]
#[case::asked_about_itself("4.2.1", Tree::default().runs("kubelet --version"), "not_applicable")]
// Values as upstream reads them.
#[case::the_last_of_two_keys("4.2.4", Tree::config("readOnlyPort: 0\nreadOnlyPort: 10255\n"), "fail")]
#[case::a_port_in_quotes("4.2.4", Tree::config("readOnlyPort: \"0\"\n"), "unknown")]
#[case::a_port_in_hexadecimal("4.2.4", Tree::config("readOnlyPort: 0x280F\n"), "fail")]
#[case::yes_is_true("4.2.1", Tree::config("authentication: {anonymous: {enabled: yes}}\n"), "fail")]
#[case::false_in_quotes("4.2.1", Tree::config("authentication: {anonymous: {enabled: \"false\"}}\n"), "unknown")]
#[case::an_alias("4.2.1", Tree::config("x: &a {anonymous: {enabled: true}}\nauthentication: *a\n"), "fail")]
#[case::a_merge_key("4.2.1", Tree::config("x: &a {anonymous: {enabled: true}}\nauthentication:\n  <<: *a\n"), "fail")]
#[case::the_first_of_two_documents("4.2.4", Tree::config("readOnlyPort: 0\n---\nreadOnlyPort: 10255\n"), "pass")]
#[case::an_empty_file("4.2.1", Tree::flags(WITH_CONFIG).file(CONFIG, ""), "unknown")]
#[case::carriage_returns("4.2.4", Tree::config("readOnlyPort: 10255\r\n"), "fail")]
#[case::an_empty_config_flag_is_none("4.2.2", Tree::flags("--config= --anonymous-auth=false"), "fail")]
#[case::the_last_config_flag_counts(
    "4.2.4",
    Tree::flags(&format!("--config=/a {WITH_CONFIG}")).file(CONFIG, HEAD).file("/a", &format!("{HEAD}readOnlyPort: 10255\n")),
    "pass"
)]
#[case::one_is_true("4.2.1", Tree::config("").runs_with("--anonymous-auth=1"), "fail")]
#[case::a_switch_takes_no_next_word("4.2.1", Tree::config("").runs_with("--anonymous-auth false"), "fail")]
#[case::a_switch_that_is_neither("4.2.1", Tree::config("").runs_with("--anonymous-auth=nope"), "unknown")]
#[case::two_hyphens_end_the_flags("4.2.4", Tree::flags("--read-only-port=0 -- --read-only-port=10255"), "pass")]
#[case::modes_in_another_case("4.2.2", Tree::config("authorization: {mode: webhook}\n"), "unknown")]
#[case::a_negative_idle_timeout("4.2.5", Tree::flags("--streaming-connection-idle-timeout=-1s"), "fail")]
#[case::the_default_event_rate_of_any_release("4.2.8", Tree::config(""), "pass")]
#[case::a_certificate_without_its_key("4.2.9", Tree::config("tlsCertFile: /a.crt\n"), "fail")]
#[case::bootstrap_by_flag("4.2.11", Tree::config("").runs_with("--rotate-server-certificates"), "pass")]
#[case::all_beta_gates_off("4.2.11", Tree::config("serverTLSBootstrap: true\nfeatureGates: {AllBeta: false}\n"), "unknown")]
#[case::a_bootstrapped_certificate_is_one("4.2.10", Tree::config("").runs_with("--bootstrap-kubeconfig=/b"), "fail")]
#[case::a_weak_suite_among_strong_ones(
    "4.2.12",
    Tree::config("tlsCipherSuites: [TLS_AES_128_GCM_SHA256, TLS_RSA_WITH_AES_128_GCM_SHA256]\n"),
    "fail"
)]
#[case::either_turns_seccomp_on("4.2.14", Tree::config("seccompDefault: true\n").runs_with("--seccomp-default=false"), "pass")]
#[case::a_drop_in_without_its_kind(
    "4.2.4",
    Tree::flags(&format!("{WITH_CONFIG} --config-dir=/d")).file(CONFIG, HEAD).file("/d/10.conf", "readOnlyPort: 10255\n"),
    "unknown"
)]
#[case::a_drop_in_further_down(
    "4.2.4",
    drop_in("/d/sub/10.conf", "readOnlyPort: 10255\n", Tree::flags(&format!("{WITH_CONFIG} --config-dir=/d")).file(CONFIG, HEAD)),
    "fail"
)]
#[case::drop_ins_that_are_not_there("4.2.4", Tree::flags(&format!("{WITH_CONFIG} --config-dir=/d")).file(CONFIG, HEAD), "unknown")]
#[case::null_further_out(
    "4.2.1",
    drop_in(
        "/d/10.conf",
        "authentication: null\n",
        Tree::flags(&format!("{WITH_CONFIG} --config-dir=/d")).file(CONFIG, &format!("{HEAD}authentication: {{anonymous: {{enabled: true}}}}\n"))
    ),
    "pass"
)]
#[case::hyperkube("4.2.4", Tree::default().runs("hyperkube kubelet --read-only-port 0"), "pass")]
#[case::inside_k3s("4.2.1", Tree::default().runs("k3s server"), "unknown")]
#[case::half_a_percent_of_nothing(
    "kubelet-eviction-thresholds",
    Tree::config("evictionHard: {memory.available: 0.00%, nodefs.available: 10%}\n"),
    "fail"
)]
#[case::a_hundred_percent_is_off(
    "kubelet-eviction-thresholds",
    Tree::config("evictionHard: {memory.available: 100%, nodefs.available: 10%}\n"),
    "fail"
)]
#[case::the_default_thresholds_of_any_release("kubelet-eviction-thresholds", Tree::config(""), "pass")]
#[case::no_default_threshold_for_process_ids("kubelet-pid-reservation", Tree::config(""), "fail")]
#[case::logs_of_no_size("kubelet-log-rotation", Tree::config("containerLogMaxSize: \"0\"\n"), "fail")]
// What is written and what its sockets do.
#[case::a_silent_port_beside_a_refused_one(
    "kubelet-read-only-port-answers",
    Tree::config("readOnlyPort: 20255\n").listens(ALL, 20255).answers(20255, false, "/pods", "timed_out").answers(10255, false, "/pods", "refused"),
    "unknown"
)]
#[case::an_unknown_path_tells_nothing("kubelet-answers-anonymous", Tree::config("").listens(ALL, 10250).answers(10250, true, "/pods", 404), "unknown")]
#[case::refused_by_name("kubelet-answers-anonymous", Tree::config("").listens(ALL, 10250).answers(10250, true, "/pods", 403), "pass")]
#[case::refused_by_name_is_anonymous("kubelet-anonymous-contradiction", Tree::config("").listens(ALL, 10250).answers(10250, true, "/pods", 403), "fail")]
#[case::answered("kubelet-answers-anonymous", Tree::config("").listens(ALL, 10250).answers(10250, true, "/pods", 200), "fail")]
#[case::silence_is_no_refusal("kubelet-answers-anonymous", Tree::config("").listens(ALL, 10250).answers(10250, true, "/pods", "timed_out"), "unknown")]
#[case::a_broken_handler_tells_nothing("kubelet-answers-anonymous", Tree::config("").listens(ALL, 10250).answers(10250, true, "/pods", 500), "unknown")]
#[case::open_against_the_file(
    "kubelet-read-only-port-contradiction",
    Tree::config("readOnlyPort: 0\n").listens(ALL, 10255).answers(10255, false, "/pods", 200),
    "fail"
)]
#[case::open_on_loopback_against_the_file(
    "kubelet-read-only-port-answers",
    Tree::config("readOnlyPort: 0\n").listens("0100007F", 10255).answers(10255, false, "/pods", 200),
    "fail"
)]
// kube-proxy, the API server and etcd.
#[case::metrics_on_loopback_of_the_other_family("4.3.1", proxy("metricsBindAddress: ::1\n"), "pass")]
#[case::metrics_on_every_address_of_the_other_family("4.3.1", proxy("metricsBindAddress: \"[::]:10249\"\n"), "fail")]
#[case::metrics_of_no_address_are_on_loopback("4.3.1", proxy("metricsBindAddress: \"\"\n"), "pass")]
#[case::metrics_of_a_number("4.3.1", proxy("metricsBindAddress: 10249\n"), "unknown")]
#[case::metrics_behind_a_space("4.3.1", Tree::flags("").runs("kube-proxy --metrics-bind-address 0.0.0.0"), "fail")]
#[case::a_proxy_whose_file_is_not_there("4.3.1", Tree::flags("").runs("kube-proxy --config=/p.conf"), "unknown")]
#[case::always_allow_of_a_file_leaves_anonymous_access_on("1.2.1", structured("AlwaysAllow"), "fail")]
#[case::modes_given_twice("1.2.7", Tree::default().runs("kube-apiserver --authorization-mode=RBAC --authorization-mode=Node"), "pass")]
#[case::in_clear_in_capitals("2.1", Tree::default().runs("etcd --cert-file=/c --key-file=/k --listen-client-urls=HTTP://192.0.2.2:2379"), "fail")]
#[case::in_clear_beside_tls(
    "2.1",
    Tree::default().runs("etcd --cert-file=/c --key-file=/k --listen-client-urls=https://192.0.2.2:2379,http://192.0.2.2:2379"),
    "fail"
)]
// SSH.
#[case::root_logs_in_from_somewhere(
    "ssh-root-login",
    sshd("permitrootlogin no\nMatch Address 192.0.2.0/24\n  permitrootlogin yEs\n"),
    "fail"
)]
#[case::the_first_word_counts("ssh-root-login", sshd("PermitRootLogin no\nPermitRootLogin yes\n"), "pass")]
#[case::passwords_for_somebody(
    "ssh-password-authentication",
    sshd("PasswordAuthentication no\nKbdInteractiveAuthentication no\nMatch User a\n  passwordauthentication YeS\n"),
    "fail"
)]
#[case::asked_by_pam_for_somebody(
    "ssh-password-authentication",
    sshd("PasswordAuthentication no\nKbdInteractiveAuthentication no\nMatch User a\n  ChallengeResponseAuthentication yes\n"),
    "unknown"
)]
#[case::keys_only("ssh-password-authentication", sshd("PasswordAuthentication=no\nChallengeResponseAuthentication \"no\"\n"), "pass")]
// Files.
#[case::the_group_is_not_roots("4.1.10", Tree::config("").stat(CONFIG, "0640", "file", 1000), "fail")]
#[case::a_mode_beside_the_benchmarks("4.1.9", Tree::config("").stat(CONFIG, "0604", "file", 0), "fail")]
#[case::a_directory_that_everybody_writes(
    "kubernetes-file-writable",
    Tree::config("").stat("/var/lib/kubelet", "0777", "directory", 0),
    "fail"
)]
#[case::a_sticky_directory_protects(
    "kubernetes-file-writable",
    Tree::config("").stat("/var/lib/kubelet", "1777", "directory", 0),
    "pass"
)]
#[case::an_open_drop_in("4.1.9", drop_in("/d/10.conf", "", Tree::config("").runs_with("--config-dir=/d")).stat("/d/10.conf", "0644", "file", 0).stat(CONFIG, "0640", "file", 0), "fail")]
#[case::a_link_to_an_open_file(
    "4.1.5",
    Tree::config("").stat("/etc/kubernetes/real.conf", "0644", "file", 0).link("/etc/kubernetes/kubelet.conf", "/etc/kubernetes/real.conf"),
    "fail"
)]
#[case::a_link_to_itself("4.1.5", Tree::config("").link("/etc/kubernetes/kubelet.conf", "/etc/kubernetes/kubelet.conf"), "unknown")]
#[case::an_authority_that_its_group_writes(
    "4.1.7",
    Tree::config("").runs_with("--client-ca-file=/ca.crt").stat("/ca.crt", "0664", "file", 1000),
    "fail"
)]
fn the_row_has_its_verdict(#[case] row: &str, #[case] tree: Tree, #[case] verdict: &str) {
    let found = tree.verdicts(row);
    assert!(!found.is_empty(), "nothing answers {row}");
    let wrong: Vec<_> = found.iter().filter(|(_, found)| found != verdict).collect();
    // A check that does not apply beside one that does takes nothing away.
    let beside = |(_, found): &&(String, String)| found == "not_applicable";
    let decided = found.iter().any(|(_, found)| found == verdict);
    assert!(decided && wrong.iter().all(beside), "{row} is not {verdict}: {found:#?}");
}

impl Tree {
    /// The same kubelet with more flags.
    fn runs_with(mut self, flags: &str) -> Self {
        self.processes[0].push(' ');
        self.processes[0].push_str(flags);
        self
    }
}

/// An API server with a structured authorization file.
fn structured(types: &str) -> Tree {
    let mut authorizers = String::new();
    for one in types.split(", ") {
        writeln!(authorizers, "- type: {one}\n  name: {}", one.to_lowercase()).unwrap();
    }
    Tree::default().runs("kube-apiserver --authorization-config=/etc/kubernetes/authz.yaml --profiling=false").file(
        "/etc/kubernetes/authz.yaml",
        &format!("apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers:\n{authorizers}"),
    )
}

/// A kube-proxy with a configuration file of these fields.
fn proxy(fields: &str) -> Tree {
    let head = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n";
    Tree::flags("").runs("kube-proxy --config=/p.conf").file("/p.conf", &format!("{head}{fields}"))
}

/// An SSH server with this configuration.
fn sshd(config: &str) -> Tree {
    Tree::default().runs("sshd -D").listens(ALL, 22).file("/etc/ssh/sshd_config", config)
}
