//! Disks that are full, read-only or somebody else's: said in words, survived, and recovered from.
//!
//! Each test mounts a small file system in a namespace of its own, where the system lets us have one, and runs itself there.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use holdfast_agent::spool::file::{FILE_NAME, FileError, SpoolFile};
use holdfast_agent::spool::writer::{Event, Retry, Writer};

use crate::samples::{image, names, whole};

const QUICK: Retry = Retry { first: Duration::from_millis(20), most: Duration::from_millis(100) };

/// Runs the ignored test `inner` as root of a namespace with `mount` done; its directory is in `HOLDFAST_DISK`.
fn in_a_namespace(inner: &str, dir: &Path, mount: &str) {
    let possible = Command::new("unshare").args(["--user", "--map-root-user", "--mount", "true"]).status();
    if !possible.is_ok_and(|status| status.success()) {
        eprintln!("not tested: this system gives no user namespace to mount a small file system in");
        return;
    }
    let script = format!("{mount} && HOLDFAST_DISK=\"$0\" exec \"$1\" --exact --ignored --nocapture disks::{inner}");
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]).arg(dir).arg(std::env::current_exe().unwrap());
    let output = command.output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

fn disk() -> PathBuf {
    PathBuf::from(std::env::var("HOLDFAST_DISK").expect("the directory of a small file system"))
}

fn said(error: &FileError) -> String {
    let source = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    format!("{error}: {source}").replace(disk().to_str().unwrap(), "DIR")
}

async fn next(writer: &mut Writer) -> Event {
    tokio::time::timeout(Duration::from_mins(1), writer.next()).await.expect("something comes of it")
}

#[test]
fn a_full_disk_is_said_and_recovered_from() {
    let dir = tempfile::tempdir().unwrap();
    in_a_namespace("on_a_full_disk", dir.path(), "mount -t tmpfs -o size=3m none \"$0\"");
}

#[tokio::test]
#[ignore = "started by a_full_disk_is_said_and_recovered_from on a small file system"]
async fn on_a_full_disk() {
    let dir = disk();
    let mut file = SpoolFile::open(&dir).unwrap().file;
    file.write(&whole(&image(50, 20))).unwrap();
    let filler = dir.join("filler");
    std::fs::write(&filler, vec![1; 8 << 20]).unwrap_err();
    let mut writer = Writer::start(dir.clone(), Some(file), QUICK).unwrap();
    let large = image(900, 300);
    // Whatever the file still has room for: in the end a save fails, and so does each that follows.
    for _ in 0..3 {
        writer.submit(whole(&large)).unwrap();
        let Event::Failed(error) = next(&mut writer).await else { panic!("the disk is full") };
        assert_eq!(error.reason(), "disk_full", "{error}");
        insta::allow_duplicates! {
            insta::assert_snapshot!(said(&error), @"cannot write the spool DIR/spool.redb: make room on its disk: No space left on device (os error 28)");
        }
        assert!(writer.submit(whole(&large)).is_err(), "there is no file to save in");
        // A full disk may even keep the old file from being opened.
        let ready = tokio::time::timeout(Duration::from_millis(500), writer.next()).await;
        if ready.is_err() {
            break;
        }
        assert!(matches!(ready, Ok(Event::Ready { set_aside: None })), "{ready:?}");
    }
    std::fs::remove_file(&filler).unwrap();
    if !writer.is_ready() {
        assert!(matches!(next(&mut writer).await, Event::Ready { set_aside: None }));
    }
    writer.submit(whole(&large)).unwrap();
    assert!(matches!(next(&mut writer).await, Event::Saved));
    writer.finish(None, Duration::from_mins(1)).await.unwrap();
    let opened = SpoolFile::open(&dir).unwrap();
    assert_eq!((opened.image, opened.set_aside), (Some(large), None));
}

#[test]
fn a_disk_that_is_full_from_the_start_is_said_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    in_a_namespace("on_a_disk_full_from_the_start", dir.path(), "mount -t tmpfs -o size=64k none \"$0\"");
}

#[test]
#[ignore = "started by a_disk_that_is_full_from_the_start_is_said_and_leaves_nothing_behind on a small file system"]
fn on_a_disk_full_from_the_start() {
    let dir = disk();
    std::fs::write(dir.join("filler"), vec![1; 1 << 20]).unwrap_err();
    let error = SpoolFile::open(&dir).unwrap_err();
    assert_eq!(error.reason(), "disk_full", "{error}");
    assert_eq!(names(&dir), ["filler"]);
}

#[test]
fn a_read_only_disk_is_said_left_alone_and_recovered_from() {
    let dir = tempfile::tempdir().unwrap();
    in_a_namespace("on_a_read_only_disk", dir.path(), "mount -t tmpfs -o size=8m none \"$0\"");
}

#[tokio::test]
#[ignore = "started by a_read_only_disk_is_said_left_alone_and_recovered_from on a file system of its own"]
async fn on_a_read_only_disk() {
    let dir = disk();
    let remount = |how: &str| assert!(Command::new("mount").args(["-o", how]).arg(&dir).status().unwrap().success());
    remount("remount,ro");
    let error = SpoolFile::open(&dir).unwrap_err();
    assert_eq!(error.reason(), "read_only", "{error}");
    remount("remount,rw");
    let mut file = SpoolFile::open(&dir).unwrap().file;
    file.write(&whole(&image(5, 5))).unwrap();
    drop(file);
    for bad in [false, true] {
        let path = dir.join(FILE_NAME);
        if bad {
            std::fs::write(&path, b"malformed").unwrap();
        }
        let before = std::fs::read(&path).unwrap();
        remount("remount,ro");
        let error = SpoolFile::open(&dir).unwrap_err();
        assert_eq!(error.reason(), "read_only", "{error}");
        insta::allow_duplicates! {
            insta::assert_snapshot!(said(&error), @"cannot open the spool DIR/spool.redb: mount its directory writable, or name another with --spool: Read-only file system (os error 30)");
        }
        assert_eq!(std::fs::read(&path).unwrap(), before, "the file was touched");
        assert_eq!(names(&dir), [FILE_NAME]);
        // The agent started in memory; somebody makes the disk writable.
        let mut writer = Writer::start(dir.clone(), None, QUICK).unwrap();
        let Event::Failed(error) = next(&mut writer).await else { panic!("it is read-only") };
        assert_eq!(error.reason(), "read_only", "{error}");
        assert!(tokio::time::timeout(Duration::from_millis(200), writer.next()).await.is_err(), "the same reason is told once");
        remount("remount,rw");
        let mut event = next(&mut writer).await;
        assert_eq!(matches!(event, Event::Unread { .. }), !bad, "{event:?}");
        if !bad {
            event = next(&mut writer).await;
        }
        let Event::Ready { set_aside } = event else { panic!("there is a disk again") };
        assert_eq!(set_aside.is_some(), bad);
        writer.finish(Some(whole(&image(6, 6))), Duration::from_mins(1)).await.unwrap();
        assert_eq!(SpoolFile::open(&dir).unwrap().image, Some(image(6, 6)));
    }
}

/// After an upgrade the agent may run as another user than the one that made the spool.
#[test]
fn a_spool_of_another_user_is_an_error_with_words() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = SpoolFile::open(dir.path()).unwrap().file;
    file.write(&whole(&image(5, 5))).unwrap();
    drop(file);
    let path = dir.path().join(FILE_NAME);
    if nix::unistd::geteuid().is_root() {
        // Root of the namespace is nobody to a user that is not of it.
        nix::unistd::chown(&path, Some(12345.into()), Some(12345.into())).unwrap();
        in_a_namespace("on_a_spool_of_another_user", dir.path(), "true");
    }
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    assert_eq!(names(dir.path()), [FILE_NAME]);
}

#[test]
#[ignore = "started by a_spool_of_another_user_is_an_error_with_words as root of a namespace"]
fn on_a_spool_of_another_user() {
    let error = SpoolFile::open(&disk()).unwrap_err();
    assert_eq!(error.reason(), "permission_denied");
    insta::assert_snapshot!(said(&error), @"cannot open the spool DIR/spool.redb: it belongs to uid 65534 and this agent runs as uid 0. Remove it, or give it to uid 0 with its directory: Permission denied (os error 13)");
}

#[test]
fn a_directory_of_another_user_is_an_error_with_words() {
    let dir = tempfile::tempdir().unwrap();
    if nix::unistd::geteuid().is_root() {
        nix::unistd::chown(dir.path(), Some(12345.into()), Some(12345.into())).unwrap();
        in_a_namespace("in_a_directory_of_another_user", dir.path(), "true");
    }
}

#[test]
#[ignore = "started by a_directory_of_another_user_is_an_error_with_words as root of a namespace"]
fn in_a_directory_of_another_user() {
    let error = SpoolFile::open(&disk()).unwrap_err();
    assert_eq!(error.reason(), "permission_denied");
    insta::assert_snapshot!(said(&error), @"cannot begin the spool DIR/spool.redb.new: make its directory writable for the agent, or name another with --spool: Permission denied (os error 13)");
}
