//! The host as a server: on trees, on recordings, on this host.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use holdfast_agent::sensors::{KnownBinaries, SensorOptions, Sensors};
use holdfast_checks::facts::{Group, LogShipper, NodeFacts, Observed, Reason, ServiceSeen, Settings, System};
use rstest::rstest;
use serde_json::{Value, json};

use super::hostile::{Tree, fifo};
use super::{complete, known, options, read, recorded};

fn system(tree: &Tree) -> System {
    known(&tree.read().system).clone()
}

fn shippers(tree: &Tree) -> BTreeMap<String, LogShipper> {
    let system = system(tree);
    complete(&system.shippers).iter().map(|shipper| (shipper.name.clone(), shipper.clone())).collect()
}

/// What a shipper with this command line and these files sends to, encrypted, buffered.
fn sends(program: &str, cmdline: &str, files: &[(&str, &str)]) -> Vec<(String, String, String)> {
    let tree = Tree::new();
    tree.process(20, program, cmdline);
    for (path, text) in files {
        tree.write(&format!("host{path}"), text);
    }
    shippers(&tree).into_values().map(|shipper| (shipper.destination, shipper.encrypted, shipper.buffered)).collect()
}

fn says(destination: &str, encrypted: &str, buffered: &str) -> Vec<(String, String, String)> {
    vec![(destination.to_owned(), encrypted.to_owned(), buffered.to_owned())]
}

fn values(settings: &Observed<Settings>) -> BTreeMap<String, (Value, String)> {
    let row = |(name, setting): (&String, &Observed<holdfast_checks::facts::Setting>)| {
        let setting = known(setting);
        (name.clone(), (setting.value.clone(), setting.source.to_string()))
    };
    known(settings).iter().map(row).collect()
}

#[test]
fn journald_goes_by_the_strongest_file_of_a_name_and_the_last_name() {
    let tree = Tree::new();
    tree.process(20, "systemd-journald", "/usr/lib/systemd/systemd-journald\0");
    tree.write("host/usr/lib/systemd/journald.conf", "[Journal]\nStorage=none\nRateLimitBurst=5\n");
    tree.write("host/etc/systemd/journald.conf", "[Journal]\n#Storage=auto\nStorage=persistent\nSystemMaxUse=500M\nBad=1\n");
    tree.write("host/usr/lib/systemd/journald.conf.d/10-vendor.conf", "[Journal]\nStorage=volatile\nForwardToSyslog=yes\n");
    tree.write("host/etc/systemd/journald.conf.d/10-vendor.conf", "[Journal]\nForwardToSyslog=no\n");
    tree.write("host/run/systemd/journald.conf.d/20.conf", "[Journal]\nSystemMaxUse=\nRateLimitIntervalSec=1min\nSystemMaxFiles=x\n");
    tree.write("host/etc/systemd/journald.conf.d/90.txt", "[Journal]\nStorage=none\n");
    tree.write("host/var/log/syslog", "");
    let facts = system(&tree);
    let expected = BTreeMap::from([
        ("ForwardToSyslog".to_owned(), (json!(false), "drop-in /etc/systemd/journald.conf.d/10-vendor.conf".to_owned())),
        ("RateLimitIntervalSec".to_owned(), (json!(60), "drop-in /run/systemd/journald.conf.d/20.conf".to_owned())),
        ("Storage".to_owned(), (json!("persistent"), "file /etc/systemd/journald.conf".to_owned())),
    ]);
    assert_eq!(values(&facts.journald), expected);
    assert!(!*known(&facts.journal_persistent), "/var/log is there and no journal in it");
    tree.write("host/var/log/journal/abc/system.journal", "");
    assert!(*known(&system(&tree).journal_persistent));
}

#[test]
fn where_no_journald_runs_nothing_is_said_of_it() {
    let facts = system(&Tree::new());
    assert_eq!(facts.journald.unavailable().unwrap().reason, Reason::NotPresent);
    assert_eq!(facts.journal_persistent.unavailable().unwrap().reason, Reason::NotPresent);
}

#[test]
fn a_drop_in_that_cannot_be_read_leaves_every_setting_unknown() {
    let tree = Tree::new();
    tree.process(20, "systemd-journald", "/usr/lib/systemd/systemd-journald\0");
    tree.write("host/etc/systemd/journald.conf", "[Journal]\nStorage=persistent\n");
    fs::create_dir_all(tree.path("host/etc/systemd/journald.conf.d")).unwrap();
    fs::File::create(tree.path("host/etc/systemd/journald.conf.d/50.conf")).unwrap().set_len(2 << 30).unwrap();
    let facts = system(&tree);
    assert_eq!(known(&facts.journald)["Storage"].unavailable().unwrap().reason, Reason::TooLarge);
}

#[rstest]
#[case::local("*.info /var/log/messages\naction(type=\"omfile\" file=\"/var/log/x\")\n", vec![])]
#[case::udp("*.* @logs.example:514\n", says("udp://logs.example:514", "no", "no"))]
#[case::tcp("*.* @@(o)logs.example:6514;RSYSLOG_ForwardFormat\n", says("tcp://logs.example:6514", "no", "no"))]
#[case::legacy_tls(
    "$DefaultNetstreamDriver gtls\n$ActionSendStreamDriverMode 1\n$ActionQueueType LinkedList\n$ActionQueueFileName fwd\n*.* @@h:6514\n",
    says("tls://h:6514", "yes", "yes")
)]
#[case::object(
    "# action(type=\"omfwd\" target=\"no\")\nif $prifilt(\"*.*\") then {\n  action(type=\"omfwd\"\n    Target=\"h\" port=\"6514\" protocol=\"tcp\" # tls\n    StreamDriver=\"gtls\" StreamDriverMode=\"1\"\n    queue.type=\"LinkedList\" queue.filename=\"q\")\n}\n",
    says("tls://h:6514", "yes", "yes")
)]
#[case::two(
    "action(type=\"omfwd\" target=\"a\" port=\"1\" protocol=\"tcp\" StreamDriverMode=\"1\") action(type=\"omfwd\" target=\"b\")\n",
    says("tls://a:1, udp://b", "no", "no")
)]
#[case::relp("action(type=\"omrelp\" target=\"h\" port=\"20514\" tls=\"on\")\n", says("tls://h:20514", "yes", "no"))]
fn rsyslog_is_a_shipper_when_it_forwards(#[case] text: &str, #[case] expected: Vec<(String, String, String)>) {
    assert_eq!(sends("rsyslogd", "/usr/sbin/rsyslogd\0-n\0", &[("/etc/rsyslog.conf", text)]), expected);
}

#[test]
fn rsyslog_follows_what_it_includes_and_ends_where_that_is_a_circle() {
    let files = [
        ("/etc/rsyslog.conf", "$IncludeConfig /etc/rsyslog.d/*.conf\n"),
        ("/etc/rsyslog.d/10.conf", "include(file=\"/etc/more.conf\")\n"),
        ("/etc/more.conf", "*.* @@h\n"),
    ];
    assert_eq!(sends("rsyslogd", "rsyslogd\0", &files), says("tcp://h", "no", "no"));
    let circle = [("/etc/rsyslog.conf", "$IncludeConfig /etc/rsyslog.conf\n$IncludeConfig /etc/rsyslog.conf\n")];
    assert_eq!(sends("rsyslogd", "rsyslogd\0", &circle), says("unknown", "unknown", "unknown"));
    let endless = [("/etc/rsyslog.conf", "action(type=\"omfwd\" target=\"a\" StreamDriverMode=\"1\" protocol=\"tcp\")\naction(\n")];
    assert_eq!(sends("rsyslogd", "rsyslogd\0", &endless), says("tls://a", "unknown", "no"), "something was not understood");
}

#[test]
fn fluent_bit_is_read_in_both_of_its_languages() {
    let main = "[SERVICE]\n    storage.path /var/spool\n@INCLUDE conf.d/*.conf\n[OUTPUT]\n    Name stdout\n    Match *\n";
    let part = "[INPUT]\n    Name tail\n    storage.type filesystem\n[OUTPUT]\n    Name forward\n    Host logs.example\n    Port 24224\n    tls On\n    Shared_Key geheim\n";
    let files = [("/etc/fluent-bit/fluent-bit.conf", main), ("/etc/fluent-bit/conf.d/a.conf", part)];
    assert_eq!(
        sends("fluent-bit", "/usr/bin/fluent-bit\0-c\0/etc/fluent-bit/fluent-bit.conf\0", &files),
        says("tls://logs.example:24224", "yes", "yes")
    );
    let yaml = "pipeline:\n  inputs:\n    - {name: tail}\n  outputs:\n    - {name: es, host: es.example, port: 9200, http_passwd: geheim}\n    - {name: stackdriver}\n";
    let cmdline = "/usr/bin/fluent-bit\0--config=/etc/f.yaml\0";
    assert_eq!(sends("fluent-bit", cmdline, &[("/etc/f.yaml", yaml)]), says("stackdriver, tcp://es.example:9200", "no", "no"));
    let variable = "[OUTPUT]\n    Name http\n    Host ${HOST}\n    tls ${TLS}\n";
    assert_eq!(
        sends("fluent-bit", "fluent-bit\0-c\0/etc/x.conf\0", &[("/etc/x.conf", variable)]),
        says("http://${HOST}", "unknown", "no"),
        "what the environment decides is not known"
    );
    assert_eq!(sends("fluent-bit", "fluent-bit\0-c\0/gone.conf\0", &[]), says("unknown", "unknown", "unknown"));
}

#[test]
fn shippers_with_documents_say_where_they_send() {
    let vector = "sinks:\n  out:\n    type: loki\n    endpoint: https://u:geheim@loki.example/push?token=geheim\n    buffer: {type: disk, max_size: 268435488}\n  dbg: {type: console}\n";
    assert_eq!(sends("vector", "vector\0", &[("/etc/vector/vector.yaml", vector)]), says("https://loki.example", "yes", "yes"));
    let toml = "[sinks.k]\ntype = \"kafka\"\nbootstrap_servers = \"k1:9092\"\n";
    assert_eq!(sends("vector", "vector\0-c\0/v.toml\0", &[("/v.toml", toml)]), says("tcp://k1:9092", "no", "no"));
    let directory =
        [("/cfg/a.yaml", "sinks: {s: {type: vector, address: 'v:6000', tls: {enabled: true}}}\n"), ("/cfg/b.yaml", "sources: {}\n")];
    assert_eq!(sends("vector", "vector\0--config-dir\0/cfg/\0", &directory), says("tls://v:6000", "yes", "no"));
    let promtail = "clients:\n  - url: http://loki:3100/loki/api/v1/push\n    basic_auth: {password: geheim}\n";
    assert_eq!(sends("promtail", "promtail\0-config.file=/p.yaml\0", &[("/p.yaml", promtail)]), says("http://loki:3100", "no", "no"));
    for filebeat in [
        "output.logstash:\n  hosts: ['ls:5044']\n  ssl.certificate_authorities: ['/ca']\nqueue.disk:\n  max_size: 10GB\n",
        "output: {logstash: {hosts: ['ls:5044'], ssl: {enabled: true}}}\nqueue: {disk: {max_size: 10GB}}\n",
        "output.logstash.hosts: ['ls:5044']\noutput.logstash.ssl.enabled: true\nqueue.disk.max_size: 10GB\n",
    ] {
        let found = sends("filebeat", "filebeat\0-c\0/etc/filebeat/filebeat.yml\0", &[("/etc/filebeat/filebeat.yml", filebeat)]);
        assert_eq!(found, says("tls://ls:5044", "yes", "yes"), "{filebeat}");
    }
    let clear = "output.elasticsearch:\n  hosts: ['es:9200']\n  password: geheim\n";
    assert_eq!(
        sends("filebeat", "filebeat\0-c\0/etc/filebeat/filebeat.yml\0", &[("/etc/filebeat/filebeat.yml", clear)]),
        says("http://es:9200", "no", "unknown")
    );
    let upload = [("/etc/systemd/journal-upload.conf", "[Upload]\nURL=https://journal.example:19532\n")];
    assert_eq!(sends("systemd-journal-upload", "x\0", &upload), says("https://journal.example:19532", "yes", "yes"));
    assert_eq!(sends("otelcol", "otelcol\0", &[]), says("unknown", "unknown", "unknown"));
}

#[test]
fn no_credential_of_a_shipper_becomes_a_fact() {
    let tree = Tree::new();
    tree.process(20, "vector", "vector\0");
    tree.write(
        "host/etc/vector/vector.yaml",
        "sinks:\n  a: {type: http, uri: 'https://user:geheim@h/x?key=geheim'}\n  b: {type: socket, address: 'geheim@h:1/geheim'}\n",
    );
    tree.process(21, "rsyslogd", "rsyslogd\0");
    tree.write("host/etc/rsyslog.conf", "action(type=\"omfwd\" target=\"user:geheim@h\" template=\"geheim\")\n");
    let text = serde_json::to_string(&tree.read().system).unwrap();
    assert!(text.contains("https://h") && !text.contains("geheim"), "{text}");
}

#[test]
fn files_that_are_none_and_endless_ones_end() {
    let tree = Tree::new();
    tree.process(20, "rsyslogd", "rsyslogd\0");
    fifo(&tree.path("host/etc/rsyslog.conf"));
    tree.process(21, "vector", "vector\0-c\0/v.yaml\0");
    tree.write("host/v.yaml", "a: [".repeat(100_000));
    tree.process(22, "fluent-bit", "fluent-bit\0-c\0/f.conf\0");
    tree.write("host/f.conf", "[OUTPUT]\n".repeat(100_000));
    let shippers = shippers(&tree);
    assert_eq!(shippers.len(), 3);
    for shipper in shippers.values() {
        assert_ne!(shipper.encrypted, "yes", "{shipper:?}");
        assert!(shipper.destination.len() <= 800, "{}", shipper.destination.len());
    }
}

fn names(services: &Observed<holdfast_checks::facts::Listing<ServiceSeen>>) -> Vec<String> {
    complete(services).iter().map(|seen| format!("{} by {}", seen.name, seen.by)).collect()
}

#[test]
fn clock_updates_and_protection_are_known_by_what_runs_and_what_is_enabled() {
    let tree = Tree::new();
    let nothing = system(&tree);
    assert_eq!((names(&nothing.time_services).len(), names(&nothing.updates).len(), names(&nothing.protection).len()), (0, 0, 0));
    assert_eq!(nothing.clock_synchronised.unavailable().unwrap().reason, Reason::NotSupported);
    tree.process(20, "systemd-timesyncd", "x\0");
    tree.process(21, "falco", "x\0");
    tree.process(22, "kured", "x\0");
    tree.write("host/run/systemd/x", "");
    tree.write("host/usr/bin/unattended-upgrade", "");
    tree.write("host/etc/apt/apt.conf.d/10periodic", "APT::Periodic::Unattended-Upgrade \"0\";\n");
    tree.write("host/etc/apt/apt.conf.d/20auto-upgrades", "APT::Periodic::Unattended-Upgrade \"1\";\n");
    tree.write("host/etc/apt/apt.conf.d/99.bak", "APT::Periodic::Unattended-Upgrade \"0\";\n");
    tree.write("host/etc/systemd/system/timers.target.wants/dnf-automatic.timer", "");
    tree.write("host/etc/dnf/automatic.conf", "[commands]\napply_updates = yes\n");
    let facts = system(&tree);
    assert_eq!(names(&facts.time_services), ["systemd-timesyncd by process"]);
    assert!(!*known(&facts.clock_synchronised), "nobody has answered since boot");
    assert_eq!(names(&facts.updates), ["dnf-automatic by unit", "kured by process", "unattended-upgrades by file"]);
    assert_eq!(names(&facts.protection), ["falco by process"]);
    tree.write("host/run/systemd/timesync/synchronized", "");
    assert!(*known(&system(&tree).clock_synchronised));
}

#[test]
fn programs_are_compared_with_the_operators_list() {
    let tree = Tree::new();
    tree.process(20, "containerd", "containerd\0");
    tree.write("host/usr/bin/kubelet", "a kubelet");
    tree.write("host/usr/bin/containerd", "a containerd");
    tree.write("host/usr/sbin/runc", "a runc");
    assert_eq!(system(&tree).binaries.unavailable().unwrap().detail, "no list was given: --known-binaries");
    let list = tree.path("list");
    fs::write(&list, format!("{}  kubelet\n{}  runc\n", sha256("a kubelet"), sha256("a runc"))).unwrap();
    let known_binaries = Some(KnownBinaries::load(list.to_str().unwrap()).unwrap());
    let options = || SensorOptions { known_binaries: known_binaries.clone(), ..options(&tree.path("host"), &tree.path("proc")) };
    let judged = || -> BTreeMap<String, bool> {
        let facts = read(options());
        let system = known(&facts.system);
        complete(&system.binaries).iter().map(|binary| (binary.path.clone(), *known(&binary.listed))).collect()
    };
    let expected = |kubelet| {
        BTreeMap::from([
            ("/usr/bin/containerd".to_owned(), false),
            ("/usr/bin/kubelet".to_owned(), kubelet),
            ("/usr/sbin/runc".to_owned(), true),
        ])
    };
    assert_eq!(judged(), expected(true));
    tree.write("host/usr/bin/kubelet", "another kubelet");
    assert_eq!(judged(), expected(false));
}

fn sha256(text: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    let digits = digest.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from_digit(digit.into(), 16).unwrap()).collect()
}

#[test]
fn mounts_are_those_of_process_1() {
    let tree = Tree::new();
    assert_eq!(system(&tree).mounts.unavailable().unwrap().reason, Reason::NotPresent);
    tree.write("host/tmp/x", "");
    tree.write("host/proc/x", "");
    tree.write("proc/1/mountinfo", "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n23 22 0:5 / /proc rw,nosuid - proc proc rw,hidepid=invisible\n");
    let facts = system(&tree);
    let rows: Vec<String> = complete(&facts.mounts)
        .iter()
        .map(|mount| format!("{} on {}: {}", mount.path, mount.mounted_at, mount.options.join(",")))
        .collect();
    assert_eq!(rows, ["/tmp on /: rw", "/proc on /proc: hidepid=invisible,nosuid,rw"]);
    assert_eq!(facts.disks.unavailable().unwrap().reason, Reason::NotSupported, "a tree's disks are those of whoever looks at it");
    tree.write("proc/1/mountinfo", "no table\n");
    assert_eq!(system(&tree).mounts.unavailable().unwrap().reason, Reason::Malformed);
}

/// 100,000 mounts are read within the sensor's time, and more than it takes are said to be too many.
#[test]
fn endless_mounts_end() {
    let tree = Tree::new();
    tree.write("host/tmp/x", "");
    tree.write("proc/1/mountinfo", "22 1 8:1 / /mnt rw - ext4 /dev/sda1 rw\n".repeat(100_000));
    assert!(complete(&system(&tree).mounts).is_empty(), "nothing covers /tmp");
    tree.write("proc/1/mountinfo", "22 1 8:1 / /mnt rw - ext4 /dev/sda1 rw\n".repeat(300_000));
    assert_eq!(system(&tree).mounts.unavailable().unwrap().reason, Reason::TooLarge);
}

/// The recordings have no settings of the host, and but one has mounts: each is unknown with its reason, and nothing is made up.
#[rstest]
#[case("hardened")]
#[case("misconfigured")]
#[case("static-controlplane")]
#[case("cgroupv2-systemd")]
fn a_recording_says_what_it_lacks(#[case] name: &str) {
    let tree = recorded(name);
    let facts = read(options(&tree.join("host"), &tree.join("proc")));
    let system = known(&facts.system);
    let why = |reason: Option<&holdfast_checks::facts::Unavailable>| reason.map(|why| why.reason);
    let mountinfo = tree.join("proc/1/mountinfo").exists();
    assert_eq!(why(system.mounts.unavailable()), (!mountinfo).then_some(Reason::NotPresent));
    assert_eq!(why(system.disks.unavailable()), Some(Reason::NotSupported));
    assert_eq!(why(system.core_pattern.unavailable()), Some(Reason::NotPresent));
    assert_eq!(why(system.binaries.unavailable()), Some(Reason::NotPresent));
    assert_eq!(why(system.clock_synchronised.unavailable()), Some(Reason::NotSupported));
    assert!(complete(&system.shippers).is_empty());
    let kernel = known(&facts.kernel);
    assert_eq!(why(kernel.sysctls.pid_max.unavailable()), Some(Reason::NotPresent));
    assert_eq!(why(kernel.module_signatures.unavailable()), Some(Reason::NotPresent));
}

#[test]
fn this_host_has_disks_and_what_it_does_with_core_dumps() {
    let facts = read(options(Path::new("/"), Path::new("/proc")));
    let system = known(&facts.system);
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    assert_eq!(known(&system.core_pattern), pattern.trim_end());
    for disk in &known(&system.disks).items {
        assert!((0..=100).contains(&disk.used_percent) && disk.used_percent % 5 == 0, "{disk:?}");
        assert!((0..=100).contains(&disk.inodes_percent) && disk.inodes_percent % 5 == 0, "{disk:?}");
    }
    assert!(known(&system.mounts).items.iter().any(|mount| mount.path == "/proc"));
}

#[test]
fn a_program_that_matters_and_comes_or_goes_is_seen_with_the_next_look_at_processes() {
    let tree = Tree::new();
    let mut sensors = Sensors::open(options(&tree.path("host"), &tree.path("proc"))).unwrap();
    let mut facts = sensors.read_all(&mut |_| {});
    let mut look = |facts: &mut NodeFacts| sensors.refresh(facts, &[Group::Processes].into()).contains(&Group::System);
    assert!(!look(&mut facts), "nothing has changed");
    tree.process(30, "falco", "falco\0");
    assert!(look(&mut facts));
    assert_eq!(names(&known(&facts.system).protection), ["falco by process"]);
    assert!(!look(&mut facts));
    tree.process(31, "sleep", "sleep\0");
    assert!(!look(&mut facts), "of no concern");
    fs::remove_dir_all(tree.path("proc/30")).unwrap();
    assert!(look(&mut facts));
    assert!(names(&known(&facts.system).protection).is_empty());
}
