//! Stepping down, tried in a process of its own: what is left is reading.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test may fail, and re-runs itself to step down in a process of its own"
)]

use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use holdfast_agent::privileges::{self, DEFAULT_UID};
use holdfast_agent::watch::{Pending, Watch, WatchOptions};

const DIRECTORY: &str = "HOLDFAST_TEST_SPOOL";

fn is_root() -> bool {
    nix::unistd::Uid::effective().is_root()
}

/// One child at a time: another one of the same uid is what an agent looks for.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs one of the ignored tests below in a child of one thread.
fn child(name: &str, spool: &Path) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, spool)
        .output()
        .expect("this test binary runs");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn root_steps_down_to_a_reader() {
    if !is_root() {
        return println!("skipped: needs root");
    }
    let directory = tempfile::tempdir().unwrap();
    // The parent must be passable for the new uid.
    std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    child("stepped_down", &directory.path().join("spool"));
}

#[test]
fn a_directory_in_use_is_not_taken_over() {
    if !is_root() {
        return println!("skipped: needs root");
    }
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("precious"), b"x").unwrap();
    child("spool_in_use", directory.path());
    let status = std::fs::metadata(directory.path()).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&status), 0);
}

/// Agents ran as 65532 before they had a uid of their own.
const FORMER: u32 = 65_532;

fn owned(path: &Path, uid: u32) {
    std::os::unix::fs::lchown(path, Some(uid), Some(uid)).unwrap();
}

fn owner(path: &Path) -> u32 {
    std::os::unix::fs::MetadataExt::uid(&std::fs::symlink_metadata(path).unwrap())
}

#[test]
fn the_spool_of_an_agent_that_ran_as_the_former_uid_is_taken_over() {
    if !is_root() {
        return println!("skipped: needs root");
    }
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let (spool, outside) = (directory.path().join("spool"), directory.path().join("outside"));
    std::fs::create_dir_all(spool.join("below")).unwrap();
    let mut former = vec![outside.clone(), directory.path().join("elsewhere"), spool.join("below/deep")];
    former.extend(["spool.redb", "spool.redb.broken"].map(|name| spool.join(name)));
    for file in former.iter().chain([&spool.join("roots")]) {
        std::fs::write(file, b"x").unwrap();
    }
    std::os::unix::fs::symlink(&outside, spool.join("link")).unwrap();
    std::fs::hard_link(directory.path().join("elsewhere"), spool.join("other-name")).unwrap();
    former.extend([spool.join("link"), spool.join("below"), spool.clone()]);
    for path in &former {
        owned(path, FORMER);
    }
    child("spool_taken_over", &spool);
    for taken in ["", "spool.redb", "spool.redb.broken"] {
        assert_eq!(owner(&spool.join(taken)), DEFAULT_UID, "{taken}");
    }
    for left in ["link", "other-name", "below", "below/deep", "../outside", "../elsewhere"] {
        assert_eq!(owner(&spool.join(left)), FORMER, "{left}");
    }
    assert_eq!(owner(&spool.join("roots")), 0);
}

#[test]
#[ignore = "run by the_spool_of_an_agent_that_ran_as_the_former_uid_is_taken_over in a child"]
fn spool_taken_over() {
    let spool = std::path::PathBuf::from(std::env::var_os(DIRECTORY).expect("run by its parent"));
    let down = privileges::step_down(Some(DEFAULT_UID), Some(&spool), &[]).expect("steps down");
    assert!(down.spool.is_none(), "{down:?}");
    std::fs::OpenOptions::new().write(true).open(spool.join("spool.redb")).expect("what it had is writable for it");
}

#[test]
fn what_the_former_uid_has_and_is_no_agents_is_not_taken_over() {
    if !is_root() {
        return println!("skipped: needs root");
    }
    // Such as the collector's data, whose uid it is still.
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("holdfast.sqlite"), b"x").unwrap();
    owned(directory.path(), FORMER);
    child("spool_in_use", directory.path());
    assert_eq!(owner(directory.path()), FORMER);
}

/// Many pods run as 65532, and so did the agent: with `SYS_PTRACE` it could write their memory.
#[test]
fn an_agent_that_shares_its_uid_finds_that_it_could_write_the_others_memory() {
    if !is_root() {
        return println!("skipped: needs root");
    }
    let uid = 65_000 + std::process::id() % 500;
    let mut other = std::os::unix::process::CommandExt::uid(Command::new("sleep").arg("600"), uid).spawn().unwrap();
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("uid"), uid.to_string()).unwrap();
    child("shares_its_uid", &place.path().join("uid"));
    other.kill().unwrap();
    other.wait().unwrap();
    child("shares_no_uid", &place.path().join("uid"));
}

/// What the self-test says of it, as the uid in the file.
fn write_own_uid() -> privileges::Attempt {
    let file = std::env::var_os(DIRECTORY).expect("run by its parent");
    let uid = std::fs::read_to_string(file).unwrap().parse().unwrap();
    privileges::step_down(Some(uid), None, &[]).expect("steps down");
    let test = privileges::self_test(Path::new("/proc"), Path::new("/"));
    let attempt = test.attempts.into_iter().find(|attempt| attempt.what == "write the memory of another process of its own uid");
    attempt.expect("it is tried")
}

#[test]
#[ignore = "run by an_agent_that_shares_its_uid_finds_that_it_could_write_the_others_memory in a child"]
fn shares_its_uid() {
    let attempt = write_own_uid();
    assert!(!attempt.refused && attempt.answer.ends_with(": it worked"), "{attempt:?}");
}

#[test]
#[ignore = "run by an_agent_that_shares_its_uid_finds_that_it_could_write_the_others_memory in a child"]
fn shares_no_uid() {
    let attempt = write_own_uid();
    assert!(attempt.refused && attempt.answer == "no other process has this uid", "{attempt:?}");
}

#[test]
#[ignore = "run by a_directory_in_use_is_not_taken_over in a child"]
fn spool_in_use() {
    let spool = std::path::PathBuf::from(std::env::var_os(DIRECTORY).expect("run by its parent"));
    let down = privileges::step_down(Some(DEFAULT_UID), Some(&spool), &[]).expect("steps down all the same");
    assert_eq!(down.spool.expect("and says so").operation, "take over");
}

#[test]
fn without_a_uid_the_doors_close_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    child("doors_only", &directory.path().join("spool"));
}

#[test]
fn an_unprivileged_uid_is_needed() {
    let refused = privileges::step_down(Some(0), None, &[]).expect_err("0 is root");
    assert_eq!(refused.to_string(), "--run-as 0 is root: name an unprivileged uid such as 65523, or leave out --run-as");
}

#[test]
#[ignore = "run by root_steps_down_to_a_reader in a child"]
fn stepped_down() {
    let spool = std::path::PathBuf::from(std::env::var_os(DIRECTORY).expect("run by its parent"));
    let down = privileges::step_down(Some(DEFAULT_UID), Some(&spool), &[]).expect("steps down");
    assert!(down.spool.is_none(), "{down:?}");
    let test = privileges::self_test(Path::new("/proc"), Path::new("/"));
    assert_eq!(test.violations().collect::<Vec<_>>(), Vec::<&privileges::Attempt>::new(), "{test:#?}");
    assert_eq!(test.uid, DEFAULT_UID);
    assert!(test.no_new_privileges && !test.dumpable, "{test:#?}");
    let kept = test.capabilities.iter().all(|name| ["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"].contains(&name.as_str()));
    assert!(kept, "{test:#?}");
    if test.lacks.is_empty() {
        assert_eq!(test.sees_other_processes, Some(true), "{test:#?}");
        std::fs::File::open("/etc/shadow").expect("it reads what belongs to root");
    }
    std::fs::write(spool.join("state"), b"x").expect("the spool is the agent's own");
    let large = std::fs::File::create(spool.join("large")).unwrap();
    let refused = large.set_len(1 << 30).expect_err("a file over the limit is refused and the agent lives");
    assert_eq!(refused.kind(), std::io::ErrorKind::FileTooLarge);
    works_still();
}

#[test]
#[ignore = "run by without_a_uid_the_doors_close_all_the_same in a child"]
fn doors_only() {
    let down = privileges::step_down(None, Some(Path::new("/proc/no/spool")), &[]).expect("needs no privilege");
    assert!(down.spool.is_some_and(|error| error.operation == "create"), "no disk is no reason to stop");
    let test = privileges::self_test(Path::new("/proc"), Path::new("/"));
    let open: Vec<&str> = test.violations().map(|attempt| attempt.what).collect();
    assert!(
        open.iter().all(|what| what.starts_with("write") || what.starts_with("create") || what.starts_with("set")),
        "root without --run-as still owns files: {open:?}"
    );
    works_still();
}

/// Threads, sockets and the socket dump must survive the filter.
fn works_still() {
    std::thread::spawn(|| std::net::TcpListener::bind("127.0.0.1:0").expect("binds")).join().expect("threads start");
    let mut listening = holdfast_agent::watch::Listening::open(Path::new("/proc")).expect("netlink opens");
    listening.sample(holdfast_agent::watch::Transport::Tcp).expect("and dumps");
    let pending = Pending::default();
    let options = WatchOptions { proc: "/proc".into(), recorded: false, full_pass: Duration::from_hours(1) };
    drop(Watch::open(options, &pending));
    let told = pending.take_process_events().expect("it says how it hears of processes");
    assert!(told.value() == Some(&true) || !tells_everybody(), "{told:?}");
}

/// Does this kernel tell a process such as this one of others: from 6.6 on, in the host's own namespaces.
fn tells_everybody() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap(), numbers.next().unwrap());
    // The inode numbers of the first namespaces are fixed.
    let first = |name: &str, number: &str| {
        std::fs::read_link(format!("/proc/thread-self/ns/{name}")).is_ok_and(|link| link.to_string_lossy().contains(number))
    };
    let net = if version >= (6, 17) { "4026531833" } else { "4026531840" };
    version >= (6, 6) && first("pid", "4026531836") && first("user", "4026531837") && first("net", net)
}
