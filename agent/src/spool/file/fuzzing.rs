//! A spool's file that something else wrote to, for tests/fuzzing: no product is built with it.
//!
//! It panics where the file's reader does (but for what the reader takes of its library), and where what was read is not what was
//! saved.

use std::io;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use holdfast_checks::entries::{Entry, Evidence, Finding, Severity, Transition, Verdict};
use redb::StorageBackend;

use super::backend::Capped;
use super::tables::{Tables, TablesError};
use super::{Image, MAX_FILE_BYTES, Save, close, guarded, stored};
use crate::spool::{Position, Remote, Row};

/// A page of the library's, in bytes.
const PAGE: usize = 4096;
/// Where most of the meaning is.
const HEADER: usize = 320;

/// Takes bytes as changes of a good file, or as content of its values.
pub(super) fn fuzz(content: &[u8]) {
    match content.split_first() {
        Some((kind, changes)) if kind.is_multiple_of(2) => damaged(changes),
        Some((_, values)) => stored::fuzz(values),
        None => {}
    }
}

/// What was read is what was saved at one time, or is refused; what is saved over it is read again.
fn damaged(changes: &[u8]) {
    let good = &*GOOD;
    let mut bytes = good.bytes.clone();
    changes.chunks_exact(6).take(64).for_each(|change| apply(&mut bytes, change));
    let disk = Memory(Arc::new(Mutex::new(bytes)));
    let (mut tables, image) = match disk.open() {
        Ok(opened) => opened,
        Err(error) => {
            let because = match error.stands_in_the_way(Path::new("spool.redb"), "open") {
                Ok(error) => unreachable!("a damaged file would be left in the way for ever: {error:?}"),
                Err(because) => because,
            };
            assert!(because.len() <= 1_000, "a reason is a line: {because}");
            return;
        }
    };
    assert!(image.as_ref().is_none_or(|image| good.images.contains(image)), "what was never saved is read: {image:?}");
    let (mut expected, next) = (image.unwrap_or_default(), save(99));
    expected.apply(next.clone());
    let written = guarded(|| tables.write(&next));
    close(tables);
    if written.is_ok() {
        let read = disk.open().map(|(_, image)| image);
        assert!(matches!(&read, Ok(Some(image)) if *image == expected), "what was saved is not read again: {read:?}");
    }
}

/// One change: six bytes are what, where (three), and two more for how.
fn apply(bytes: &mut Vec<u8>, change: &[u8]) {
    let &[what, low, middle, high, more, value] = change else { return };
    let place = usize::try_from(u32::from_le_bytes([low, middle, high, 0])).unwrap_or_default();
    let within = if what & 0x80 == 0 { bytes.len() } else { HEADER.min(bytes.len()) };
    let Some(at) = place.checked_rem(within) else { return };
    match what % 5 {
        0 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= value),
        1 => bytes.iter_mut().skip(at).take(usize::from(more)).for_each(|byte| *byte = value),
        // A page of another time or place.
        2 => {
            let from: Vec<u8> = bytes.iter().skip(usize::from(more) * PAGE).take(PAGE).copied().collect();
            bytes.iter_mut().skip(at / PAGE * PAGE).zip(from).for_each(|(to, from)| *to = from);
        }
        3 => bytes.truncate(at),
        _ => bytes.resize(bytes.len() + usize::from(more) * PAGE, value),
    }
}

/// A file with a past, and what was in it at each time.
struct Good {
    bytes: Vec<u8>,
    images: Vec<Image>,
}

static GOOD: LazyLock<Good> = LazyLock::new(|| {
    let made = || -> Result<Good, TablesError> {
        let disk = Memory(Arc::default());
        let mut tables = Tables::create(disk.capped(), None)?;
        let mut images = vec![Image::default()];
        for n in 0..6 {
            let (mut image, save) = (images.last().cloned().unwrap_or_default(), save(n));
            tables.write(&save)?;
            image.apply(save);
            images.push(image);
        }
        close(tables);
        let bytes = disk.lock().clone();
        Ok(Good { bytes, images })
    };
    made().unwrap_or_else(|error| unreachable!("a spool in memory: {error:?}"))
});

fn save(n: u64) -> Save {
    let rows = (0..12).map(|row| {
        let at = i64::try_from(n * 7 + row).unwrap_or_default();
        let value = serde_json::json!({"port": at, "hosts": ["a", "b"], "none": null});
        let evidence = vec![Evidence { path: "kubelets.settings".into(), value: Some(value), source: "flag".into(), at }];
        let entry = Entry::finding(
            Finding {
                check: format!("check-{}", row % 5),
                subject: format!("file:/etc/{}", (n + row) % 17),
                verdict: if row % 2 == 0 { Verdict::Fail } else { Verdict::Pass },
                reason: "r".repeat(usize::try_from(row * 30).unwrap_or_default()),
                severity: Severity::High,
                title: "A title".into(),
                evidence,
                evidence_truncated: false,
            },
            at,
        );
        let (key, remote) = (entry.key.clone(), (row % 3 == 0).then_some(Remote::Holds(entry.hash)));
        (key, (!(row + n).is_multiple_of(6)).then_some(Row { entry: Some(entry), remote, refused: row == 5 }))
    });
    let rows: Vec<_> = rows.collect();
    let transition = |number| Transition {
        number,
        key: rows.first().map_or_else(|| unreachable!("a save has rows"), |(key, _)| key.clone()),
        from: None,
        to: Some(Verdict::Fail),
        reason: String::new(),
        severity: Severity::High,
        because: "readOnlyPort = 10255 (flag)".into(),
        at: 9,
    };
    let transitions = (n * 4 + 1..=n * 4 + 4).map(transition).collect();
    let position = Position { epoch: 3, seq: n * 2, last_acked: n, next_transition: n * 4 + 5, truncated: 1, policy: vec![1, 2] };
    Save { replace: n == 3, transitions, transitions_from: (n * 4).saturating_sub(10), rows, position }
}

/// A disk in memory, which several can open one after another.
#[derive(Debug, Clone)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Memory {
    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn capped(&self) -> Capped<Self> {
        Capped::new(self.clone(), MAX_FILE_BYTES)
    }

    fn open(&self) -> Result<(Tables, Option<Image>), TablesError> {
        guarded(|| Tables::open(self.capped()))
    }
}

/// Bytes from `offset` on, as many as `length`.
fn range(offset: u64, length: usize) -> io::Result<std::ops::Range<usize>> {
    let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
    Ok(start..start.checked_add(length).ok_or(io::ErrorKind::UnexpectedEof)?)
}

impl StorageBackend for Memory {
    fn len(&self) -> io::Result<u64> {
        Ok(u64::try_from(self.lock().len()).unwrap_or(u64::MAX))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let bytes = self.lock();
        out.copy_from_slice(bytes.get(range(offset, out.len())?).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.lock().resize(range(length, 0)?.start, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let (mut bytes, range) = (self.lock(), range(offset, data.len())?);
        let end = range.end.max(bytes.len());
        bytes.resize(end, 0);
        bytes.get_mut(range).ok_or(io::ErrorKind::UnexpectedEof)?.copy_from_slice(data);
        Ok(())
    }
}
