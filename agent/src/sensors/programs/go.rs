//! What the Go linker leaves in a program: build information, and the variables that `-X` sets.
//!
//! Builds with `-trimpath`, as Kubernetes' own are, keep the linker's flags to themselves, and only Go 1.24 and newer write the
//! version of the main module. What always remains is the effect of `-X`: string variables in the data section, whose text ends
//! with a NUL that no other Go string has, in the order `k8s.io/component-base/version` declares them: version, commit, state of
//! the tree, date. All of these together are taken for the version; where a program carries two that differ, neither is.

/// A program's memory before it ran.
pub(super) trait Memory<'a> {
    /// `size` bytes at an address; `None` where the file has none for it.
    fn bytes(&self, address: u64, size: u64) -> Option<&'a [u8]>;
    /// Bytes of a pointer.
    fn pointer_size(&self) -> usize;
    /// Most significant byte first.
    fn big_endian(&self) -> bool;
}

const MAGIC: &[u8] = b"\xff Go buildinf:";
/// The linker aligns the magic so.
const ALIGNMENT: usize = 16;
/// Where the strings start when they are written inline.
const HEADER: usize = 32;
/// A module list of the largest programs is 100 KiB.
const INFO_CAP: u64 = 2 * 1024 * 1024;
/// Variables whose text is looked at.
const MAX_LOOKED_AT: usize = 4096;
const COMMIT: u64 = 40;
const DATE: u64 = 20;

/// The build information in `written`: lines of tab-separated fields. `None` where there is none, or it makes no sense.
pub(super) fn build_information<'a>(written: &'a [u8], memory: &impl Memory<'a>) -> Option<String> {
    let at = written.chunks(ALIGNMENT).position(|chunk| chunk.starts_with(MAGIC))?.checked_mul(ALIGNMENT)?;
    let written = written.get(at..)?;
    let (pointer_size, flags) = (usize::from(*written.get(14)?), *written.get(15)?);
    let info = if flags & 2 == 0 {
        // Up to Go 1.17: pointers to the headers of two strings.
        let big = flags & 1 != 0;
        let second = ALIGNMENT.checked_add(pointer_size)?;
        let header = number(written.get(second..second.checked_add(pointer_size)?)?, big)?;
        let size = u64::try_from(pointer_size).ok()?;
        let address = number(memory.bytes(header, size)?, big)?;
        let length = number(memory.bytes(header.checked_add(size)?, size)?, big)?;
        if length > INFO_CAP {
            return None;
        }
        memory.bytes(address, length)?
    } else {
        let (_, rest) = counted(written.get(HEADER..)?)?;
        counted(rest)?.0
    };
    // Sixteen bytes before and after mark the text for debuggers.
    let text = info.get(16..info.len().checked_sub(16)?).filter(|text| text.ends_with(b"\n")).unwrap_or_default();
    Some(String::from_utf8_lossy(text).into_owned())
}

/// A string behind its length as a varint, and what follows it.
fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut length: usize = 0;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        length |= usize::from(byte & 0x7f).checked_shl(u32::try_from(index).ok()?.checked_mul(7)?)?;
        if byte & 0x80 == 0 {
            return bytes.get(index + 1..)?.split_at_checked(length);
        }
    }
    None
}

pub(super) fn number(bytes: &[u8], big: bool) -> Option<u64> {
    if !matches!(bytes.len(), 4 | 8) {
        return None;
    }
    let join = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
    Some(if big { bytes.iter().fold(0, join) } else { bytes.iter().rev().fold(0, join) })
}

/// The version that `-ldflags` gave, where the build did not trim them.
pub(super) fn linked_version(info: &str) -> Option<String> {
    let flags = info.lines().find_map(|line| line.strip_prefix("build\t-ldflags="))?;
    let (_, rest) = flags.split_once("k8s.io/component-base/version.gitVersion=")?;
    let version = rest.split(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c))).next()?;
    release(version).then(|| version.to_owned())
}

/// The version of the main module, where it is Kubernetes or etcd itself and was built from a tag.
pub(super) fn module_version(info: &str) -> Option<String> {
    let mut fields = info.lines().find_map(|line| line.strip_prefix("mod\t"))?.split('\t');
    let (path, version) = (fields.next()?, fields.next()?);
    let ours = path == "k8s.io/kubernetes" || path.starts_with("go.etcd.io/etcd/");
    let version = version.strip_suffix("+dirty").unwrap_or(version);
    (ours && release(version) && !pseudo(version)).then(|| version.to_owned())
}

/// `v0.0.0-20250515082733-8adc0f041b8e`: a commit, not a release.
pub(super) fn pseudo(version: &str) -> bool {
    version.split(['-', '.', '+']).any(|part| part.len() == 14 && part.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The version that the linker put into the variables of `k8s.io/component-base/version`.
pub(super) fn stamped_version<'a>(data: &[u8], memory: &impl Memory<'a>) -> Option<String> {
    let big = memory.big_endian();
    let words: Vec<u64> = data.chunks_exact(memory.pointer_size()).filter_map(|word| number(word, big)).collect();
    let string = |index: Option<usize>, length: std::ops::RangeInclusive<u64>| -> Option<&'a str> {
        let index = index?;
        let (address, size) = (*words.get(index)?, *words.get(index.checked_add(1)?)?);
        if address == 0 || !length.contains(&size) {
            return None;
        }
        let (end, text) = memory.bytes(address, size.checked_add(1)?)?.split_last()?;
        if *end == 0 { std::str::from_utf8(text).ok() } else { None }
    };
    let commits = words.iter().enumerate().skip(1).filter(|(_, size)| **size == COMMIT).map(|(index, _)| index - 1);
    let mut found: Option<&str> = None;
    for commit in commits.take(MAX_LOOKED_AT) {
        let is_commit = string(Some(commit), COMMIT..=COMMIT).is_some_and(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let dated = || [2, 4].into_iter().any(|after| string(commit.checked_add(after), DATE..=DATE).is_some_and(date));
        if !is_commit || !dated() {
            continue;
        }
        let Some(version) = string(commit.checked_sub(2), 6..=64).filter(|version| release(version)) else { continue };
        if found.is_some_and(|found| found != version) {
            return None;
        }
        found = Some(version);
    }
    found.map(str::to_owned)
}

/// `v1.36.2`, with whatever a vendor puts behind it.
fn release(version: &str) -> bool {
    let Some(rest) = version.strip_prefix('v') else { return false };
    let end = rest.find(['-', '+']).unwrap_or(rest.len());
    let (numbers, suffix) = rest.split_at(end);
    let parts: Vec<&str> = numbers.split('.').collect();
    let number = |part: &&str| !part.is_empty() && part.len() <= 6 && part.bytes().all(|byte| byte.is_ascii_digit());
    parts.len() == 3
        && parts.iter().all(number)
        && numbers != "0.0.0"
        && version.len() <= 64
        && suffix.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-._".contains(&byte))
}

/// `2025-05-15T08:27:33Z`.
fn date(text: &str) -> bool {
    let shape = b"0000-00-00T00:00:00Z";
    let fits = |(byte, shape): (u8, &u8)| if *shape == b'0' { byte.is_ascii_digit() } else { byte == *shape };
    text.len() == shape.len() && text.bytes().zip(shape).all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("v1.36.2", true)]
    #[case("v1.33.1+k3s1", true)]
    #[case("v1.32.4-eks-473151a", true)]
    #[case("v0.0.0-master+$Format:%H$", false)]
    #[case("v1.36", false)]
    #[case("1.36.2", false)]
    #[case("v1.36.2 ", false)]
    #[case("v1..2", false)]
    fn releases_are_told_from_other_text(#[case] text: &str, #[case] expected: bool) {
        assert_eq!(release(text), expected);
    }

    #[rstest]
    #[case("path\tk8s.io/kubernetes/cmd/kubelet\nmod\tk8s.io/kubernetes\tv1.34.1\t\n", Some("v1.34.1"))]
    #[case("mod\tk8s.io/kubernetes\tv1.34.1+dirty\t\n", Some("v1.34.1"))]
    #[case("mod\tk8s.io/kubernetes\t(devel)\t\n", None)]
    #[case("mod\tk8s.io/kubernetes\tv1.34.2-0.20250515082733-8adc0f041b8e\t\n", None)]
    #[case("mod\tgo.etcd.io/etcd/v3\tv3.6.4\t\n", Some("v3.6.4"))]
    #[case("mod\tgithub.com/somebody/else\tv1.34.1\t\n", None)]
    #[case("", None)]
    fn the_main_module_tells_only_of_kubernetes_and_etcd(#[case] info: &str, #[case] expected: Option<&str>) {
        assert_eq!(module_version(info).as_deref(), expected);
    }

    #[test]
    fn flags_of_the_linker_tell_where_they_were_kept() {
        let info = "build\t-ldflags=\"-s -X 'k8s.io/component-base/version.gitVersion=v1.30.2' -X a.b=c\"\n";
        assert_eq!(linked_version(info).as_deref(), Some("v1.30.2"));
        assert_eq!(linked_version("build\t-compiler=gc\n"), None);
    }

    struct Flat<'a>(&'a [u8]);

    impl<'a> Memory<'a> for Flat<'a> {
        fn bytes(&self, address: u64, size: u64) -> Option<&'a [u8]> {
            let start = usize::try_from(address).ok()?;
            self.0.get(start..start.checked_add(usize::try_from(size).ok()?)?)
        }
        fn pointer_size(&self) -> usize {
            8
        }
        fn big_endian(&self) -> bool {
            false
        }
    }

    /// Memory with these texts, and a data section with a variable for each.
    fn variables(texts: &[&str]) -> (Vec<u8>, Vec<u8>) {
        let (mut memory, mut data) = (vec![b'x'; 8], Vec::new());
        for text in texts {
            data.extend(u64::try_from(memory.len()).unwrap().to_le_bytes());
            data.extend(u64::try_from(text.len()).unwrap().to_le_bytes());
            memory.extend(text.bytes().chain([0]));
        }
        (memory, data)
    }

    const HASH: &str = "8adc0f041b8e7ad1d30e29cc59c6ae7a15e19828";
    const DAY: &str = "2025-05-15T08:27:33Z";

    #[rstest]
    #[case::as_upstream_declares_them(&["1", "33", "v1.33.1", HASH, "clean", DAY], Some("v1.33.1"))]
    #[case::twice_the_same(&["v1.33.1+k3s1", HASH, "clean", DAY, "other", "v1.33.1+k3s1", HASH, "clean", DAY], Some("v1.33.1+k3s1"))]
    #[case::two_that_differ(&["v1.33.1", HASH, "clean", DAY, "v1.30.0", HASH, "clean", DAY], None)]
    #[case::without_a_date(&["v2.0.5", HASH, "go1.24"], None)]
    #[case::without_a_commit(&["v1.33.1", "clean", DAY], None)]
    #[case::unstamped(&["v0.0.0-master+$Format:%H$", "$Format:%H$", "", "1970-01-01T00:00:00Z"], None)]
    fn stamped_variables_tell_together(#[case] texts: &[&str], #[case] expected: Option<&str>) {
        let (memory, data) = variables(texts);
        assert_eq!(stamped_version(&data, &Flat(&memory)).as_deref(), expected);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(head: Vec<u8>, tail: Vec<u8>, data: Vec<u8>) {
            let written = [MAGIC, &head, &tail].concat();
            let _ = (build_information(&written, &Flat(&data)), stamped_version(&written, &Flat(&data)), counted(&data));
        }
    }
}
