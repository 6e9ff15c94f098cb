//! What a kernel's image says of itself, without unpacking it: the few bytes that the x86 boot protocol gives to a boot loader.
//!
//! `Documentation/arch/x86/boot.rst`: `HdrS` at 0x202, and at 0x20e where, counted from 0x200, the kernel's version is as text:
//! `<uname -r> (<builder>) <uname -v>`. Other architectures' images are compressed whole and say nothing.

use std::io::{Read, Seek, SeekFrom};

use holdfast_checks::facts::{Reason, Unavailable};

use crate::host::{HostFile, ReadError, Root};

const HEADER: usize = 0x210;
const MAGIC: &[u8] = b"HdrS";
const MAGIC_AT: usize = 0x202;
const VERSION_AT: usize = 0x20e;
/// Longer than any version with its builder: `uname` has 64 bytes for each of its two parts.
const TEXT_CAP: usize = 512;

/// The build string in the image of the kernel `release` at `path`, as `uname -v` would print it.
pub(super) fn build(root: &Root, path: &str, release: &str) -> Result<String, Unavailable> {
    let cap = u64::try_from(HEADER + TEXT_CAP).unwrap_or(u64::MAX);
    let file = root.open_file(path, u64::MAX).map_err(|error| error.unavailable())?.limited(cap);
    let text = match version_text(file) {
        Ok(Some(text)) => text,
        Ok(None) => {
            let detail = format!("{path}: no image of the x86 boot protocol, which alone says its build without being unpacked");
            return Err(Unavailable::new(Reason::NotSupported, detail));
        }
        Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {
            return Err(ReadError::TimedOut { path: path.to_owned() }.unavailable());
        }
        Err(error) => return Err(Unavailable::new(Reason::Malformed, format!("{path}: its header ends early: {error}"))),
    };
    let built = text.split_once(' ').and_then(|(of, rest)| {
        let at = rest.find(") #")?;
        (of == release).then(|| rest.get(at + 2..)).flatten()
    });
    built.map(|build| build.trim().to_owned()).ok_or_else(|| {
        let detail = format!("{path}: says to be {:?}, which is no build of {release}", text.chars().take(64).collect::<String>());
        Unavailable::new(Reason::Malformed, detail)
    })
}

fn version_text(mut file: HostFile) -> std::io::Result<Option<String>> {
    let mut header = [0; HEADER];
    let filled = fill(&mut file, &mut header)?;
    let header = header.get(..filled).unwrap_or_default();
    if header.get(MAGIC_AT..MAGIC_AT + MAGIC.len()) != Some(MAGIC) {
        return Ok(None);
    }
    let offset = match header.get(VERSION_AT..VERSION_AT + 2) {
        Some([low, high]) => u64::from(u16::from_le_bytes([*low, *high])),
        _ => 0,
    };
    if offset == 0 {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(0x200 + offset))?;
    let mut text = [0; TEXT_CAP];
    let filled = fill(&mut file, &mut text)?;
    let text = text.get(..filled).unwrap_or_default();
    let end = text.iter().position(|byte| *byte == 0).ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let text = String::from_utf8_lossy(text.get(..end).unwrap_or_default());
    Ok(Some(text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()))
}

/// As many bytes as there are, up to the buffer's size.
fn fill(file: &mut HostFile, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest)? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}
