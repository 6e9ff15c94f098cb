//! The parts of an ELF file that tell a version. Must not know processes or facts but the reason why there is none.

use std::io::Read;
use std::ops::Range;

use holdfast_checks::facts::{Reason, Unavailable};
use object::elf::{FileHeader32, FileHeader64, PF_W, PT_LOAD};
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader};
use object::read::{ReadCache, ReadCacheOps, ReadRef};
use object::{Endianness, FileKind};

use super::{Wanted, crun, engines, go};
use crate::host::HostFile;

/// The largest part that is read at once. The data of the largest Kubernetes programs is 2 MiB.
const PART_CAP: u64 = 8 * 1024 * 1024;
/// The longest name of a section that is looked at.
const NAME_CAP: u64 = 64;
/// Where a program without section headers would have its build information: at the start of its data.
const START_OF_DATA: u64 = 64 * 1024;

/// Why a program does not tell its version.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    /// It cannot be read as an ELF file.
    #[error("it does not read as an ELF file: {0}")]
    Elf(#[from] object::read::Error),
    /// No Go program.
    #[error("it is no Go program, or its build information was removed")]
    NoGo,
    /// It is one, and nothing in it names a Kubernetes version.
    #[error("it carries no version that can be read without running it")]
    NoVersion,
    /// The sensor's time or bytes were used up.
    #[error("not read within the sensor's deadline and byte budget")]
    TimedOut,
}

impl Problem {
    pub(super) fn unavailable(&self, path: &str) -> Unavailable {
        let reason = match self {
            Self::Elf(_) => Reason::Malformed,
            Self::NoGo | Self::NoVersion => Reason::NotSupported,
            Self::TimedOut => Reason::TimedOut,
        };
        Unavailable::new(reason, format!("{path}: {self}"))
    }
}

/// A file as `object` reads it: each part capped.
struct Parts<'a, R: ReadCacheOps>(&'a ReadCache<R>);

impl<R: ReadCacheOps> Clone for Parts<'_, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R: ReadCacheOps> Copy for Parts<'_, R> {}

impl<'a, R: ReadCacheOps> ReadRef<'a> for Parts<'a, R> {
    fn len(self) -> Result<u64, ()> {
        self.0.len()
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'a [u8], ()> {
        if size > PART_CAP { Err(()) } else { self.0.read_bytes_at(offset, size) }
    }

    fn read_bytes_at_until(self, range: Range<u64>, delimiter: u8) -> Result<&'a [u8], ()> {
        let end = range.end.min(range.start.saturating_add(NAME_CAP));
        self.0.read_bytes_at_until(range.start..end, delimiter)
    }
}

/// The version of what is `wanted` of the program in `file`.
pub(super) fn version(mut file: HostFile, wanted: Wanted) -> Result<String, Problem> {
    let mut start = [0; 64];
    let mut filled = 0;
    while let Some(rest) = start.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match Read::read(&mut file, rest) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => return Err(Problem::TimedOut),
            Err(_) => break,
        }
    }
    let deadline = file.budget().clone();
    let found = version_of(start.get(..filled).unwrap_or_default(), file, wanted);
    // Whatever did not parse then, did so for want of time.
    if found.is_err() && deadline.used_up() { Err(Problem::TimedOut) } else { found }
}

/// `start` is how `content` starts.
fn version_of(start: &[u8], content: impl ReadCacheOps, wanted: Wanted) -> Result<String, Problem> {
    let cache = ReadCache::new(content);
    let parts = Parts(&cache);
    match FileKind::parse(start)? {
        FileKind::Elf64 => version_in::<FileHeader64<Endianness>, _>(parts, wanted),
        FileKind::Elf32 => version_in::<FileHeader32<Endianness>, _>(parts, wanted),
        _ => Err(Problem::NoGo),
    }
}

/// Everything that a program may be asked.
#[cfg(feature = "fuzzing")]
pub(in crate::sensors) fn fuzz(content: &[u8]) {
    for wanted in [Wanted::Kubernetes, Wanted::Containerd, Wanted::Crio, Wanted::Docker, Wanted::OciRuntime] {
        let start = content.get(..content.len().min(64)).unwrap_or_default();
        if let Ok(version) = version_of(start, std::io::Cursor::new(content), wanted) {
            assert!(version.len() <= 256, "a version is short: {version:.300}");
        }
    }
}

fn version_in<Elf: FileHeader<Endian = Endianness>, R: ReadCacheOps>(parts: Parts<'_, R>, wanted: Wanted) -> Result<String, Problem> {
    let header = Elf::parse(parts)?;
    let endian = header.endian()?;
    let image = Image::<Elf, R> { parts, endian, segments: header.program_headers(endian, parts)? };
    let sections = header.sections(endian, parts)?;
    let section = |name: &[u8]| sections.section_by_name(endian, name).map(|(_, section)| section.data(endian, parts));
    let written = match section(b".go.buildinfo") {
        Some(data) => data?,
        // The one OCI runtime that is written in C.
        None if wanted == Wanted::OciRuntime => {
            let texts = section(b".rodata").transpose()?.ok_or(Problem::NoGo)?;
            return crun::version(texts).ok_or(Problem::NoVersion);
        }
        None => image.start_of_data().ok_or(Problem::NoGo)?,
    };
    let info = go::build_information(written, &image).ok_or(Problem::NoGo)?;
    if wanted != Wanted::Kubernetes {
        let data = section(b".data").transpose()?;
        return engines::version(&info, wanted, data, &image).ok_or(Problem::NoVersion);
    }
    if let Some(version) = go::linked_version(&info) {
        return Ok(version);
    }
    if let Some(data) = section(b".data").transpose()?
        && let Some(version) = go::stamped_version(data, &image)
    {
        return Ok(version);
    }
    go::module_version(&info).ok_or(Problem::NoVersion)
}

/// A program as it is laid out in memory.
struct Image<'a, Elf: FileHeader<Endian = Endianness>, R: ReadCacheOps> {
    parts: Parts<'a, R>,
    endian: Endianness,
    segments: &'a [Elf::ProgramHeader],
}

impl<'a, Elf: FileHeader<Endian = Endianness>, R: ReadCacheOps> Image<'a, Elf, R> {
    fn loaded(&self) -> impl Iterator<Item = &'a Elf::ProgramHeader> {
        let endian = self.endian;
        self.segments.iter().filter(move |segment| segment.p_type(endian) == PT_LOAD)
    }

    fn start_of_data(&self) -> Option<&'a [u8]> {
        let data = self.loaded().find(|segment| segment.p_flags(self.endian).0 & PF_W.0 != 0)?;
        let (offset, size) = data.file_range(self.endian);
        self.parts.read_bytes_at(offset, size.min(START_OF_DATA)).ok()
    }
}

impl<'a, Elf: FileHeader<Endian = Endianness>, R: ReadCacheOps> go::Memory<'a> for Image<'a, Elf, R> {
    fn bytes(&self, address: u64, size: u64) -> Option<&'a [u8]> {
        let end = address.checked_add(size)?;
        let segment = self.loaded().find(|segment| {
            let start: u64 = segment.p_vaddr(self.endian).into();
            let size: u64 = segment.p_filesz(self.endian).into();
            start <= address && start.checked_add(size).is_some_and(|last| end <= last)
        })?;
        let start: u64 = segment.p_vaddr(self.endian).into();
        let offset: u64 = segment.p_offset(self.endian).into();
        self.parts.read_bytes_at(offset.checked_add(address.checked_sub(start)?)?, size).ok()
    }

    fn pointer_size(&self) -> usize {
        if Elf::is_type_64_sized() { 8 } else { 4 }
    }

    fn big_endian(&self) -> bool {
        self.endian == Endianness::Big
    }
}
