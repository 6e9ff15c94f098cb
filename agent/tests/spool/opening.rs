//! The protocol of opening: absent is new, in the way is an error that touches nothing, malformed is set aside.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use holdfast_agent::spool::Image;
use holdfast_agent::spool::file::{FILE_NAME, FileError, MAX_FILE_BYTES, SpoolFile};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use crate::samples::{bytes_of, image, names, whole, works_anew};

#[test]
fn an_absent_spool_is_begun_and_is_the_agents_alone() {
    let dir = tempfile::tempdir().unwrap();
    let opened = SpoolFile::open(dir.path()).unwrap();
    assert!(opened.image.is_none() && opened.set_aside.is_none());
    let mode = std::fs::metadata(dir.path().join(FILE_NAME)).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    assert_eq!(names(dir.path()), [FILE_NAME]);
    drop(opened);
    // Begun and never saved to is still new.
    let opened = SpoolFile::open(dir.path()).unwrap();
    assert!(opened.image.is_none() && opened.set_aside.is_none());
    works_anew(opened.file, dir.path());
}

#[test]
fn a_spool_that_others_could_read_is_the_agents_alone_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    std::fs::write(&path, bytes_of(&image(3, 1))).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(SpoolFile::open(dir.path()).unwrap().image, Some(image(3, 1)));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
}

#[test]
fn a_spool_in_use_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = SpoolFile::open(dir.path()).unwrap().file;
    first.write(&whole(&image(5, 5))).unwrap();
    let error = SpoolFile::open(dir.path()).unwrap_err();
    assert!(matches!(error, FileError::InUse { .. }), "{error:?}");
    assert_eq!(error.reason(), "in_use");
    let said = error.to_string().replace(dir.path().to_str().unwrap(), "DIR");
    insta::assert_snapshot!(said, @"the spool DIR/spool.redb is in use by another agent: run one agent per node, or give this one another directory with --spool");
    assert_eq!(names(dir.path()), [FILE_NAME]);
    first.write(&whole(&image(6, 6))).unwrap();
    drop(first);
    assert_eq!(SpoolFile::open(dir.path()).unwrap().image, Some(image(6, 6)));
}

#[test]
fn a_spool_that_another_agent_is_beginning_is_left_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let beginning = std::fs::File::create(dir.path().join("spool.redb.new")).unwrap();
    beginning.lock().unwrap();
    assert_eq!(SpoolFile::open(dir.path()).unwrap_err().reason(), "in_use");
    drop(beginning);
    // What a crash left half made is in nobody's way.
    std::fs::write(dir.path().join("spool.redb.new"), b"half made").unwrap();
    works_anew(SpoolFile::open(dir.path()).unwrap().file, dir.path());
    assert_eq!(names(dir.path()), [FILE_NAME]);
}

#[test]
fn a_directory_that_is_none_is_an_error_with_words() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, b"").unwrap();
    for wrong in [file, dir.path().join("absent")] {
        let error = SpoolFile::open(&wrong).unwrap_err();
        assert_eq!(error.reason(), "io");
        assert!(error.to_string().contains("--spool") && std::error::Error::source(&error).is_some(), "{error}");
    }
}

/// Everything that is no spool, as it would be found, and the words it is set aside with.
#[test]
#[allow(clippy::too_many_lines, reason = "one list")]
fn what_is_no_spool_is_set_aside_with_words() {
    let mut said = Vec::new();
    let mut check = |name: &str, put: &dyn Fn(&Path)| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        put(&path);
        let opened = SpoolFile::open(dir.path()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(opened.image.is_none(), "{name}");
        let aside = opened.set_aside.unwrap_or_else(|| panic!("{name}: not set aside"));
        assert!(std::fs::symlink_metadata(&aside.path).is_ok(), "{name}");
        assert_eq!(names(dir.path()), [FILE_NAME.to_owned(), format!("{FILE_NAME}.bad-N")], "{name}");
        works_anew(opened.file, dir.path());
        said.push(format!("{name}: {}", aside.because));
    };
    let good = bytes_of(&image(40, 20));
    check("empty", &|path| std::fs::write(path, b"").unwrap());
    check("one byte", &|path| std::fs::write(path, b"r").unwrap());
    let random: Vec<u8> = (0_u32..50_000).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    check("random bytes", &|path| std::fs::write(path, &random).unwrap());
    check("text", &|path| std::fs::write(path, "[agent]\nspool = true\n".repeat(500)).unwrap());
    check("wrong magic", &|path| std::fs::write(path, [b"r\0db".as_slice(), &good[4..]].concat()).unwrap());
    check("zeros", &|path| std::fs::write(path, vec![0; good.len()]).unwrap());
    check("too large", &|path| {
        let file = std::fs::File::create(path).unwrap();
        file.set_len(MAX_FILE_BYTES + 1).unwrap();
    });
    check("huge", &|path| std::fs::File::create(path).unwrap().set_len(1 << 40).unwrap());
    check("a directory", &|path| std::fs::create_dir(path).unwrap());
    check("a pipe", &|path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap());
    check("a dangling link", &|path| symlink("/nowhere/at/all", path).unwrap());
    // The version is the first byte of both commit slots.
    let library = |version: u8| {
        let mut bytes = good.clone();
        (bytes[64], bytes[192]) = (version, version);
        bytes
    };
    check("an earlier library", &|path| std::fs::write(path, library(2)).unwrap());
    check("a later library", &|path| std::fs::write(path, library(4)).unwrap());
    // A length that would have the reader allocate gigabytes.
    let mut geometry = good.clone();
    geometry[12..24].copy_from_slice(&[0xff; 12]);
    check("a page size of gigabytes", &|path| std::fs::write(path, &geometry).unwrap());
    let edited = |edit: &'static dyn Fn(&Database)| {
        let good = good.clone();
        move |path: &Path| {
            std::fs::write(path, &good).unwrap();
            edit(&Database::open(path).unwrap());
        }
    };
    check("another program's database", &|path| {
        let database = Database::create(path).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(TableDefinition::<u64, u64>::new("theirs")).unwrap();
        transaction.commit().unwrap();
    });
    check("a later format", &edited(&|database| set_format(database, 2)));
    check("an earlier format", &edited(&|database| set_format(database, 0)));
    check("no rows", &edited(&|database| delete(database, "rows")));
    check("no transitions", &edited(&|database| delete(database, "transitions")));
    check(
        "no position",
        &edited(&|database| {
            let transaction = database.begin_write().unwrap();
            transaction.open_table(TableDefinition::<&str, &[u8]>::new("about")).unwrap().remove("position").unwrap();
            transaction.commit().unwrap();
        }),
    );
    check(
        "another type of table",
        &edited(&|database| {
            let transaction = database.begin_write().unwrap();
            transaction.delete_table(TableDefinition::<&[u8], &[u8]>::new("rows")).unwrap();
            transaction.open_table(TableDefinition::<u64, u64>::new("rows")).unwrap();
            transaction.commit().unwrap();
        }),
    );
    check("a row lost", &edited(&|database| edit(database, "rows", |table| drop(table.pop_first().unwrap()))));
    check(
        "a transition lost",
        &edited(&|database| {
            let transaction = database.begin_write().unwrap();
            transaction.open_table(TableDefinition::<u64, &[u8]>::new("transitions")).unwrap().remove(12).unwrap();
            transaction.commit().unwrap();
        }),
    );
    check(
        "two rows swapped",
        &edited(&|database| {
            edit(database, "rows", |table| {
                let two: Vec<(Vec<u8>, Vec<u8>)> = table
                    .iter()
                    .unwrap()
                    .take(2)
                    .map(|item| item.unwrap())
                    .map(|(k, v)| (k.value().to_vec(), v.value().to_vec()))
                    .collect();
                table.insert(two[0].0.as_slice(), two[1].1.as_slice()).unwrap();
                table.insert(two[1].0.as_slice(), two[0].1.as_slice()).unwrap();
            });
        }),
    );
    check(
        "a row cut",
        &edited(&|database| {
            edit(database, "rows", |table| {
                let key = table.first().unwrap().unwrap().0.value().to_vec();
                table.insert(key.as_slice(), &b"short"[..]).unwrap();
            });
        }),
    );
    insta::assert_snapshot!(said.join("\n"));
}

/// A row of an earlier time under its own seal is a good row by itself: only the whole shows that it is not of now.
#[test]
fn a_row_of_another_time_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    let mut file = SpoolFile::open(dir.path()).unwrap().file;
    file.write(&whole(&image(9, 2))).unwrap();
    drop(file);
    let (key, old) = first_row(&path);
    let mut file = SpoolFile::open(dir.path()).unwrap().file;
    let mut save = whole(&image(9, 2));
    for (_, row) in &mut save.rows {
        row.as_mut().unwrap().remote = None;
    }
    save.rows.retain(|(_, row)| row.as_ref().unwrap().entry.is_some());
    file.write(&save).unwrap();
    drop(file);
    edit(&Database::open(&path).unwrap(), "rows", |table| drop(table.insert(key.as_slice(), old.as_slice()).unwrap()));
    let opened = SpoolFile::open(dir.path()).unwrap();
    assert_eq!(opened.set_aside.unwrap().because, "rows are missing, or of another time");
}

#[test]
fn a_link_in_the_spools_place_is_not_followed() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let foreign = elsewhere.path().join("foreign.redb");
    let bytes = bytes_of(&image(5, 5));
    std::fs::write(&foreign, &bytes).unwrap();
    symlink(&foreign, dir.path().join(FILE_NAME)).unwrap();
    let opened = SpoolFile::open(dir.path()).unwrap();
    assert!(opened.image.is_none());
    assert_eq!(opened.set_aside.unwrap().because, "it is a symbolic link, not a file");
    works_anew(opened.file, dir.path());
    assert_eq!(std::fs::read(&foreign).unwrap(), bytes, "the foreign file was touched");
    // The same for the name that a new one is begun under.
    let dir = tempfile::tempdir().unwrap();
    symlink(&foreign, dir.path().join("spool.redb.new")).unwrap();
    assert_eq!(SpoolFile::open(dir.path()).unwrap_err().reason(), "io");
    assert_eq!(std::fs::read(&foreign).unwrap(), bytes, "the foreign file was touched");
}

#[test]
fn a_file_that_has_another_name_elsewhere_is_not_written_to() {
    let outer = tempfile::tempdir().unwrap();
    let foreign = outer.path().join("foreign");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    for name in [FILE_NAME, "spool.redb.new"] {
        let dir = outer.path().join(format!("of-{name}"));
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(&foreign, b"something of value").unwrap();
        std::fs::set_permissions(&foreign, std::fs::Permissions::from_mode(0o644)).unwrap();
        std::fs::hard_link(&foreign, dir.join(name)).unwrap();
        let opened = SpoolFile::open(&dir).unwrap();
        assert!(opened.image.is_none());
        assert_eq!(opened.set_aside.is_some(), name == FILE_NAME);
        works_anew(opened.file, &dir);
        assert_eq!((std::fs::read(&foreign).unwrap().as_slice(), mode(&foreign)), (b"something of value".as_slice(), 0o644), "{name}");
        std::fs::remove_file(&foreign).unwrap();
    }
}

#[test]
fn numbers_that_no_agent_comes_to_are_no_spool() {
    for edge in [u64::MAX, u64::MAX >> 1] {
        let with = |edit: &dyn Fn(&mut Image)| {
            let mut image = image(2, 2);
            edit(&mut image);
            image
        };
        let numbered = |image: &mut Image| {
            let mut last = image.transitions.pop_last().unwrap().1;
            last.number = edge;
            image.transitions.insert(edge, last);
        };
        for image in [
            with(&|image| image.position.seq = edge),
            with(&|image| image.position.last_acked = edge),
            with(&|image| image.position.next_transition = edge),
            with(&numbered),
        ] {
            let dir = tempfile::tempdir().unwrap();
            SpoolFile::open(dir.path()).unwrap().file.write(&whole(&image)).unwrap();
            let opened = SpoolFile::open(dir.path()).unwrap();
            assert!(opened.image.is_none() && opened.set_aside.is_some(), "{:?}", image.position);
        }
    }
}

#[test]
fn one_bad_spool_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    std::fs::write(dir.path().join("spool.redb.bad-1000"), b"earlier").unwrap();
    std::fs::write(dir.path().join("notes"), b"of somebody").unwrap();
    std::fs::write(&path, b"bad").unwrap();
    let aside = SpoolFile::open(dir.path()).unwrap().set_aside.unwrap();
    assert_eq!(std::fs::read(&aside.path).unwrap(), b"bad");
    assert_eq!(names(dir.path()), ["notes", FILE_NAME, "spool.redb.bad-N"]);
}

fn set_format(database: &Database, version: u32) {
    let content = version.to_le_bytes();
    let seal = holdfast_checks::entries::Hash::of_fields([&b"about"[..], b"format", &content]);
    let transaction = database.begin_write().unwrap();
    let definition = TableDefinition::<&str, &[u8]>::new("about");
    transaction.open_table(definition).unwrap().insert("format", [&seal.0[..], &content].concat().as_slice()).unwrap();
    transaction.commit().unwrap();
}

fn delete(database: &Database, table: &str) {
    let transaction = database.begin_write().unwrap();
    transaction.delete_table(TableDefinition::<&[u8], &[u8]>::new(table)).ok();
    transaction.delete_table(TableDefinition::<u64, &[u8]>::new(table)).ok();
    transaction.commit().unwrap();
}

fn edit(database: &Database, table: &str, change: impl FnOnce(&mut redb::Table<'_, &[u8], &[u8]>)) {
    let transaction = database.begin_write().unwrap();
    change(&mut transaction.open_table(TableDefinition::<&[u8], &[u8]>::new(table)).unwrap());
    transaction.commit().unwrap();
}

fn first_row(path: &Path) -> (Vec<u8>, Vec<u8>) {
    let database = Database::open(path).unwrap();
    let table = database.begin_read().unwrap().open_table(TableDefinition::<&[u8], &[u8]>::new("rows")).unwrap();
    let (key, value) = table.first().unwrap().unwrap();
    (key.value().to_vec(), value.value().to_vec())
}
