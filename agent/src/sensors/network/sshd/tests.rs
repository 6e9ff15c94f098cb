#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may fail"
)]

use std::fs;
use std::path::Path;

use rstest::rstest;

use super::*;

/// A host with these files.
fn host(files: &[(&str, &[u8])]) -> (tempfile::TempDir, Host) {
    let tree = tempfile::tempdir().unwrap();
    fs::create_dir_all(tree.path().join("proc")).unwrap();
    for (path, content) in files {
        let path = tree.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let host = Host::open(tree.path(), &tree.path().join("proc")).unwrap();
    (tree, host)
}

fn settings(files: &[(&str, &[u8])]) -> Settings {
    read(&host(files).1).value().unwrap().clone()
}

fn value<'a>(settings: &'a Settings, name: &str) -> &'a Value {
    &settings.get(name).unwrap_or_else(|| panic!("{name} is not there")).value().unwrap().value
}

fn unknown(settings: &Settings, name: &str) -> (Reason, String) {
    let why = settings.get(name).unwrap_or_else(|| panic!("{name} is not there")).unavailable().unwrap();
    (why.reason, why.detail.clone())
}

/// The same host with another main file.
fn settings_of(tree: &tempfile::TempDir, main: &str) -> Settings {
    fs::write(tree.path().join("etc/ssh/sshd_config"), main).unwrap();
    let host = Host::open(tree.path(), &tree.path().join("proc")).unwrap();
    read(&host).value().unwrap().clone()
}

static HUGE: [u8; 2_000_000] = [b'#'; 2_000_000];
const MAIN: &str = "/etc/ssh/sshd_config";

#[test]
fn the_first_value_holds_and_an_include_is_read_where_it_stands() {
    let settings = settings(&[
        (MAIN, b"Include sshd_config.d/*.conf\nPermitRootLogin yes\nPort 22\nport=2222\nPermitRootLogin no # late\nX11Forwarding yes\n"),
        ("/etc/ssh/sshd_config.d/50-cloud.conf", b"passwordauthentication no\n"),
        ("/etc/ssh/sshd_config.d/60-ours.conf", b"PasswordAuthentication yes\nPermitRootLogin without-password\n"),
        ("/etc/ssh/sshd_config.d/README", b"X11Forwarding no\n"),
    ]);
    assert_eq!(value(&settings, "PermitRootLogin"), "prohibit-password");
    assert_eq!(value(&settings, "PasswordAuthentication"), false);
    assert_eq!(value(&settings, "X11Forwarding"), true);
    assert_eq!(value(&settings, "Port"), &json!([22, 2222]));
    assert!(!settings.contains_key("MaxAuthTries"), "defaults are derived");
    let setting = settings["PermitRootLogin"].value().unwrap();
    assert_eq!(setting.source.to_string(), "drop-in /etc/ssh/sshd_config.d/60-ours.conf");
    let declared: Vec<String> = setting.declared.iter().map(|said| format!("{} {}", said.value, said.source.kind.name())).collect();
    assert_eq!(declared, ["\"no\" file", "\"yes\" file", "\"prohibit-password\" drop-in"], "weakest first");
}

#[test]
fn a_match_block_is_noted_not_applied_and_ends_with_its_file() {
    let settings = settings(&[
        (MAIN, b"Include /etc/ssh/a\nPermitRootLogin no\nMatch User backup\n PasswordAuthentication yes\n Nonsense 1\nMatch all\nMaxAuthTries 3\n"),
        ("/etc/ssh/a", b"Match Address 10.0.0.0/8\nPermitRootLogin yes\n"),
    ]);
    assert_eq!(value(&settings, "PermitRootLogin"), "no");
    assert_eq!(value(&settings, "MaxAuthTries"), 3);
    assert!(!settings.contains_key("PasswordAuthentication"));
    let blocks = json!([
        {"criteria": "Address 10.0.0.0/8", "settings": {"PermitRootLogin": "yes"}},
        {"criteria": "User backup", "settings": {"PasswordAuthentication": "yes"}},
    ]);
    assert_eq!(value(&settings, "Match"), &blocks);
}

#[test]
fn what_a_file_that_cannot_be_read_may_decide_is_unknown_and_what_stood_before_is_known() {
    let (tree, host) = host(&[(MAIN, b"PermitRootLogin no\nAllowUsers a\nInclude /etc/ssh/d/*\nPasswordAuthentication no\n")]);
    fs::create_dir_all(tree.path().join("etc/ssh/d")).unwrap();
    nix::unistd::mkfifo(&tree.path().join("etc/ssh/d/pipe"), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let settings = read(&host).value().unwrap().clone();
    assert_eq!(value(&settings, "PermitRootLogin"), "no");
    let conditional = settings_of(&tree, "Match User x\nInclude /etc/ssh/d/*\nMatch all\nPasswordAuthentication no\n");
    assert_eq!(value(&conditional, "PasswordAuthentication"), false, "what is for some connections decides nothing for all");
    for name in ["PasswordAuthentication", "X11Forwarding", "AllowUsers", "Port"] {
        let (reason, detail) = unknown(&settings, name);
        assert_eq!(reason, Reason::Malformed);
        assert!(detail.contains("/etc/ssh/d/pipe"), "{detail}");
    }
}

#[rstest]
#[case::itself(&[(MAIN, b"Include sshd_config\n".as_slice())], Reason::Malformed, "16 times deep")]
#[case::itself_twice(&[(MAIN, b"Include sshd_config sshd_config\n".as_slice())], Reason::Malformed, "deep")]
#[case::each_other(&[(MAIN, b"Include a*\n".as_slice()), ("/etc/ssh/a1", b"Include a*\n"), ("/etc/ssh/a2", b"Include a*\n")], Reason::Malformed, "deep")]
#[case::brackets(&[(MAIN, b"Include [ab].conf\n".as_slice())], Reason::NotSupported, "[ab]")]
#[case::huge(&[(MAIN, b"Include big\n".as_slice()), ("/etc/ssh/big", &HUGE)], Reason::TooLarge, "big")]
#[case::bad_value(&[(MAIN, b"PermitRootLogin \xff\xfe\n".as_slice())], Reason::Malformed, "PermitRootLogin")]
#[case::no_value(&[(MAIN, b"PermitRootLogin\n".as_slice())], Reason::Malformed, "no value")]
fn bad_input_leaves_it_unknown_with_the_reason(#[case] files: &[(&str, &[u8])], #[case] reason: Reason, #[case] words: &str) {
    let started = std::time::Instant::now();
    let (found, detail) = unknown(&settings(files), "PermitRootLogin");
    assert_eq!(found, reason, "{detail}");
    assert!(detail.contains(words), "{detail}");
    assert!(started.elapsed() < std::time::Duration::from_mins(2), "{:?}", started.elapsed());
}

#[test]
fn an_include_of_nothing_decides_nothing() {
    let settings = settings(&[(MAIN, b"Include /etc/none/*.conf absent\nAllowTcpForwarding ALL\nAllowGroups wheel \"ssh users\"\n")]);
    assert_eq!(value(&settings, "AllowTcpForwarding"), "yes");
    assert_eq!(value(&settings, "AllowGroups"), &json!(["wheel", "ssh users"]));
    assert!(!settings.contains_key("PermitRootLogin"));
}

#[test]
fn no_configuration_is_not_present_and_the_vendors_own_is_read() {
    assert_eq!(read(&host(&[]).1).unavailable().unwrap().reason, Reason::NotPresent);
    let settings = settings(&[("/usr/etc/ssh/sshd_config", b"PermitRootLogin no\n")]);
    assert_eq!(value(&settings, "PermitRootLogin"), "no");
    let (tree, host) = host(&[]);
    fs::create_dir_all(tree.path().join("etc/ssh/sshd_config")).unwrap();
    assert_eq!(read(&host).unavailable().unwrap().reason, Reason::Malformed);
    assert!(Path::new(tree.path()).exists());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 48, ..Default::default() })]

    #[test]
    fn no_bytes_make_it_panic_or_hang(
        lines in proptest::collection::vec("(Include|Match|Port|PermitRootLogin|AllowUsers|x)[ =]{0,2}[\\x00-\\x7f\u{fffd}\"\\\\*?/.a-z]{0,12}", 0..12),
        tail in proptest::collection::vec(proptest::num::u8::ANY, 0..64),
    ) {
        let main = [lines.join("\n").into_bytes(), tail].concat();
        let settings = settings(&[(MAIN, &main), ("/etc/ssh/a", &main)]);
        proptest::prop_assert!(settings.len() <= 12);
    }
}

#[test]
fn a_server_with_options_of_its_own_does_not_go_by_the_usual_file() {
    for word in ["-o", "-oPermitRootLogin=yes", "-f", "-f/etc/other", "-Df", "-Deo"] {
        assert!(own_options(word), "{word}");
    }
    for word in ["-D", "-De", "-p2222", "/usr/sbin/sshd", "sshd:", "[listener]", "0", "of", "-", ""] {
        assert!(!own_options(word), "{word}");
    }
}
