//! Which package brought a runtime and its programs, and what runs after a restart.

use std::fs;
use std::os::unix::fs::symlink;

use holdfast_agent::sensors::Sensors;
use holdfast_checks::facts::{Observed, Package, Reason, Runtime};

use super::hostile::Tree;
use super::{complete, known, options};

/// A node with a containerd, of which dpkg knows these packages.
fn node(status: &str) -> Tree {
    let tree = Tree::new();
    tree.process(20, "containerd", "/usr/bin/containerd\0");
    tree.write("host/usr/bin/containerd", "");
    tree.write("host/usr/sbin/runc", "");
    tree.write("host/var/lib/dpkg/status", status);
    tree
}

fn paragraph(name: &str, version: &str, more: &str) -> String {
    format!("Package: {name}\nStatus: install ok installed\nArchitecture: amd64\n{more}Version: {version}\n\n")
}

fn list(tree: &Tree, package: &str, files: &str) {
    tree.write(&format!("host/var/lib/dpkg/info/{package}.list"), files);
}

fn runtime(tree: &Tree) -> Runtime {
    complete(&tree.read().runtimes)[0].clone()
}

fn runc(runtime: &Runtime) -> &Observed<Package> {
    let programs = complete(&runtime.programs);
    &programs.iter().find(|program| program.path.ends_with("/runc")).expect("in the search path").package
}

fn said(package: &Observed<Package>) -> String {
    match package {
        Observed::Known { value, .. } => format!("{} {} of {}", value.name, value.version, value.origin),
        Observed::Unavailable(why) => format!("{}: {}", why.reason.name(), why.detail),
    }
}

#[test]
fn the_package_that_lists_the_file_brought_it() {
    let status = paragraph("containerd", "1.7.24~ds1-4", "") + &paragraph("runc", "1.1.15+ds1-2", "Source: runc-app (1.1.15+ds1-1)\n");
    let tree = node(&status);
    list(&tree, "containerd", "/.\n/usr\n/usr/bin\n/usr/bin/containerd\n/usr/bin/ctr\n");
    // As before programs moved to /usr, and for one of several architectures.
    list(&tree, "runc:amd64", "/.\n/sbin/runc\n");
    let read = runtime(&tree);
    assert_eq!(said(&read.package), "containerd 1.7.24~ds1-4 of containerd");
    assert_eq!(said(runc(&read)), "runc 1.1.15+ds1-2 of runc-app");
}

#[test]
fn a_link_is_its_targets_packages() {
    let tree = node(&paragraph("docker-ce-runc", "1.2.3-1", ""));
    fs::remove_file(tree.path("host/usr/sbin/runc")).unwrap();
    tree.write("host/opt/docker/bin/runc", "");
    symlink("../../etc/alternatives/runc", tree.path("host/usr/sbin/runc")).unwrap();
    fs::create_dir_all(tree.path("host/etc/alternatives")).unwrap();
    symlink("/opt/docker/bin/runc", tree.path("host/etc/alternatives/runc")).unwrap();
    list(&tree, "docker-ce-runc", "/opt/docker/bin/runc\n");
    assert_eq!(said(runc(&runtime(&tree))), "docker-ce-runc 1.2.3-1 of docker-ce-runc");
}

#[test]
fn what_no_package_brought_has_none() {
    let removed = "Package: runc\nStatus: deinstall ok config-files\nVersion: 1.1.5\n\n";
    let tree =
        node(&format!("{}{removed}{}", paragraph("containerd", "1.7.24", ""), paragraph("golang-github-opencontainers-runc-dev", "1", "")));
    list(&tree, "containerd", "/usr/bin/containerd-shim\n/usr/bin/containerd2\n");
    list(&tree, "runc", "/usr/sbin/runc\n");
    let read = runtime(&tree);
    assert_eq!(
        said(&read.package),
        "not_present: /var/lib/dpkg/status: no installed package that could have brought /usr/bin/containerd lists it"
    );
    assert!(said(runc(&read)).starts_with("not_present: "), "it was removed");
}

#[test]
fn a_file_that_was_diverted_is_not_its_packages() {
    let tree = node(&(paragraph("runc", "1.1.5", "") + &paragraph("my-runc", "1.2.0", "")));
    list(&tree, "runc", "/usr/sbin/runc\n");
    list(&tree, "my-runc", "/usr/sbin/runc\n");
    tree.write("host/var/lib/dpkg/diversions", "/usr/share/x\n/usr/share/y\ndash\n/usr/sbin/runc\n/usr/sbin/runc.distrib\nmy-runc\n");
    assert_eq!(said(runc(&runtime(&tree))), "my-runc 1.2.0 of my-runc");
    tree.write("host/var/lib/dpkg/diversions", "/usr/sbin/runc\n/usr/sbin/runc.distrib\n:\n");
    assert!(said(runc(&runtime(&tree))).starts_with("not_present: "), "somebody put it there by hand");
}

#[test]
fn an_image_without_a_package_manager_keeps_paragraphs_apart_and_rpm_is_said() {
    let tree = node("");
    fs::remove_file(tree.path("host/var/lib/dpkg/status")).unwrap();
    tree.write("host/var/lib/dpkg/status.d/containerd", "Package: containerd\nVersion: 1.7.1-1\n");
    tree.write("host/var/lib/dpkg/status.d/containerd.md5sums", "d41d8cd98f00b204e9800998ecf8427e  usr/bin/containerd\n");
    assert_eq!(said(&runtime(&tree).package), "containerd 1.7.1-1 of containerd");
    fs::remove_dir_all(tree.path("host/var/lib/dpkg")).unwrap();
    fs::create_dir_all(tree.path("host/usr/lib/sysimage/rpm")).unwrap();
    assert_eq!(said(&runtime(&tree).package), "not_supported: /usr/lib/sysimage/rpm: this version does not read rpm's database");
}

#[test]
fn a_database_made_to_mislead_is_read_within_its_bounds() {
    // A line without an end, and more packages than anybody has.
    let long = format!("Package: containerd\nStatus: install ok installed\nDescription: {}\n", "x".repeat(20 << 20));
    let many: String = (0..100_000).map(|number| paragraph(&format!("kube{number}"), "1", "")).collect();
    let tree = node(&format!("{long}\n{many}"));
    list(&tree, "../../../../../etc/passwd", "");
    let read = runtime(&tree);
    assert_eq!(read.package.unavailable().map(|why| why.reason), Some(Reason::NotPresent));
    tree.write("host/var/lib/dpkg/status", "\0\0\n\n\u{1}Package: x\n");
    assert_eq!(runtime(&tree).package.unavailable().map(|why| why.reason), Some(Reason::NotPresent));
    assert!(known(&tree.read().runtimes).items.len() == 1);
}

#[test]
fn the_rest_of_a_long_line_is_no_line() {
    // Each piece that is read of it ends where the next begins like a field, or is nothing but blanks.
    for (rest, at) in [("Version: 9.9.9", 64 << 10), ("\t", 64 << 10)] {
        let blanks = " ".repeat(64 << 10);
        let mut line = format!("Description: {}", "x".repeat(at - "Description: ".len()));
        line.push_str(if rest == "\t" { &blanks } else { rest });
        let tree = node(&format!("Package: containerd\nStatus: install ok installed\nVersion: 1.7.24\n{line}\nSource: containerd-app\n\n"));
        list(&tree, "containerd", "/usr/bin/containerd\n");
        assert_eq!(said(&runtime(&tree).package), "containerd 1.7.24 of containerd-app");
    }
}

#[test]
fn links_and_diversions_that_change_later_are_seen() {
    let tree = node(&(paragraph("runc", "1.1.5", "") + &paragraph("my-runc", "1.2.0", "")));
    list(&tree, "runc", "/usr/sbin/runc\n");
    list(&tree, "my-runc", "/opt/my/runc\n");
    let mut sensors = Sensors::open(options(&tree.path("host"), &tree.path("proc"))).unwrap();
    let mut now = || said(runc(&complete(&sensors.read_all(&mut |_| {}).runtimes)[0]));
    assert_eq!(now(), "runc 1.1.5 of runc");
    tree.write("host/var/lib/dpkg/diversions", "/usr/sbin/runc\n/usr/sbin/runc.distrib\n:\n");
    assert!(now().starts_with("not_present: "), "somebody put it there by hand");
    tree.write("host/opt/my/runc", "");
    fs::remove_file(tree.path("host/usr/sbin/runc")).unwrap();
    symlink("/opt/my/runc", tree.path("host/usr/sbin/runc")).unwrap();
    assert_eq!(now(), "my-runc 1.2.0 of my-runc");
}

#[test]
fn a_list_that_leads_elsewhere_shows_nothing_of_what_is_there() {
    let tree = node(&paragraph("containerd", "1.7.24", ""));
    tree.write("host/etc/shadow", "root:$y$secret:19000:0:99999:7:::\n/usr/bin/containerdx\n");
    fs::create_dir_all(tree.path("host/var/lib/dpkg/info")).unwrap();
    symlink("/etc/shadow", tree.path("host/var/lib/dpkg/info/containerd.list")).unwrap();
    let facts = tree.read();
    assert_eq!(complete(&facts.runtimes)[0].package.unavailable().map(|why| why.reason), Some(Reason::NotPresent));
    assert!(!serde_json::to_string(&facts).unwrap().contains("$y$secret"));
    fs::remove_file(tree.path("host/var/lib/dpkg/info/containerd.list")).unwrap();
    super::hostile::fifo(&tree.path("host/var/lib/dpkg/info/containerd.list"));
    assert_eq!(runtime(&tree).package.unavailable().map(|why| why.reason), Some(Reason::Malformed));
}
