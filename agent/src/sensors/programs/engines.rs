//! Versions of container runtimes, which their builds stamp with `-X`.
//!
//! The linker's flags tell where the build kept them. Elsewhere (`-trimpath`, Debian) what remains are the variables that `-X` set:
//! those texts alone end with a NUL. A program's own version is then the one that all other versions among them begin with, as
//! `1.6.20~ds1` and `1.6.20~ds1-1+deb12u3` do; where they do not agree so, none is told.

use super::Wanted;
use super::go::{Memory, number, pseudo};

/// Main packages, by what they are, with the variable of their version.
const OWN: [(Wanted, &str, &str); 8] = [
    (Wanted::Containerd, "github.com/containerd/containerd/cmd/containerd", "github.com/containerd/containerd/version.Version="),
    (Wanted::Containerd, "github.com/containerd/containerd/v2/cmd/containerd", "github.com/containerd/containerd/v2/version.Version="),
    (Wanted::Crio, "github.com/cri-o/cri-o/cmd/crio", "github.com/cri-o/cri-o/internal/version.Version="),
    (Wanted::Docker, "github.com/docker/docker/cmd/dockerd", "github.com/docker/docker/dockerversion.Version="),
    (Wanted::Docker, "github.com/moby/moby/v2/cmd/dockerd", "github.com/moby/moby/v2/dockerversion.Version="),
    (Wanted::OciRuntime, "github.com/opencontainers/runc", "main.version="),
    (Wanted::OciRuntime, "github.com/kata-containers/kata-containers/src/runtime/cmd/kata-runtime", "main.version="),
    (Wanted::OciRuntime, "github.com/kata-containers/kata-containers/src/runtime/cmd/containerd-shim-kata-v2", "main.version="),
];
/// What other programs contain of them.
const INSIDE: [(Wanted, &str); 2] =
    [(Wanted::Containerd, "github.com/containerd/containerd/v2"), (Wanted::Containerd, "github.com/containerd/containerd")];
/// Pairs of words that are looked at.
const MAX_LOOKED_AT: usize = 65_536;

/// The version of what is `wanted` in a program with this build information and `data`.
pub(super) fn version<'a>(info: &str, wanted: Wanted, data: Option<&[u8]>, memory: &impl Memory<'a>) -> Option<String> {
    let path = info.lines().find_map(|line| line.strip_prefix("path\t"))?;
    match OWN.iter().find(|(of, main, _)| *of == wanted && *main == path) {
        Some((.., variable)) => linked(info, variable).or_else(|| module(info)).or_else(|| stamped(data?, memory)),
        None => INSIDE.iter().filter(|(of, _)| *of == wanted).find_map(|(_, module)| dependency(info, module)),
    }
}

/// Without the `v` that some put before it.
fn plain(version: &str) -> String {
    version.strip_prefix('v').unwrap_or(version).to_owned()
}

/// What `-X <variable>…` says in the linker's flags.
fn linked(info: &str, variable: &str) -> Option<String> {
    let flags = info.lines().find_map(|line| line.strip_prefix("build\t-ldflags="))?;
    // `main.version=` must not be found in `domain.version=`.
    let starts = |at: usize| flags.get(..at).is_some_and(|before| before.ends_with([' ', '\'', '"', '=']));
    let (at, _) = flags.match_indices(variable).find(|(at, _)| starts(*at))?;
    let rest = flags.get(at + variable.len()..)?;
    let version = rest.split(|c: char| !(c.is_ascii_alphanumeric() || "+-.~".contains(c))).next()?;
    is_version(version).then(|| plain(version))
}

/// The version of the main module, where it was built from a tag.
fn module(info: &str) -> Option<String> {
    let version = info.lines().find_map(|line| line.strip_prefix("mod\t"))?.split('\t').nth(1)?;
    let version = version.strip_suffix("+dirty").unwrap_or(version).trim_end_matches("+incompatible");
    (is_version(version) && !pseudo(version) && version != "v0.0.0").then(|| plain(version))
}

/// The version of a module it was built with, or of what stood in for that.
fn dependency(info: &str, module: &str) -> Option<String> {
    let mut lines = info.lines();
    let own = lines.find_map(|line| line.strip_prefix("dep\t").filter(|rest| rest.split('\t').next() == Some(module)))?;
    let instead = lines.next().and_then(|line| line.strip_prefix("=>\t"));
    let version = instead.unwrap_or(own).split('\t').nth(1)?;
    (is_version(version) && !pseudo(version)).then(|| plain(version))
}

/// The version among the texts that `-X` left in `data`.
fn stamped<'a>(data: &[u8], memory: &impl Memory<'a>) -> Option<String> {
    let big = memory.big_endian();
    let words: Vec<u64> = data.chunks_exact(memory.pointer_size()).filter_map(|word| number(word, big)).collect();
    let text = |pair: &[u64]| -> Option<&'a str> {
        let [address, size] = *pair else { return None };
        if address == 0 || !(3..=64).contains(&size) {
            return None;
        }
        let (end, text) = memory.bytes(address, size.checked_add(1)?)?.split_last()?;
        std::str::from_utf8(text).ok().filter(|text| *end == 0 && is_version(text))
    };
    let mut found: Vec<&str> = words.windows(2).take(MAX_LOOKED_AT).filter_map(text).collect();
    found.sort_by_key(|version| version.len());
    let first = *found.first()?;
    found
        .iter()
        .all(|version| version.strip_prefix(first).is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit())))
        .then(|| plain(first))
}

/// `1.6.20~ds1`, `v2.1.9`, `27.3.1`, `1.21`: two numbers at least, then whatever a vendor puts behind them.
pub(super) fn is_version(text: &str) -> bool {
    let text = text.strip_prefix('v').unwrap_or(text);
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let Some((numbers, suffix)) = text.split_at_checked(end) else { return false };
    let parts: Vec<&str> = numbers.split('.').collect();
    let number = |part: &&str| !part.is_empty() && part.len() <= 6;
    (2..=4).contains(&parts.len())
        && parts.iter().all(number)
        && text.len() <= 64
        && suffix.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-._~".contains(&byte))
        && (suffix.is_empty() || suffix.starts_with(['+', '-', '~', '_']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

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

    fn read(info: &str, wanted: Wanted, texts: &[&str]) -> Option<String> {
        let (mut memory, mut data) = (vec![b'x'; 8], Vec::new());
        for text in texts {
            data.extend(u64::try_from(memory.len()).unwrap().to_le_bytes());
            data.extend(u64::try_from(text.len()).unwrap().to_le_bytes());
            memory.extend(text.bytes().chain([0]));
        }
        version(info, wanted, Some(&data), &Flat(&memory))
    }

    const CONTAINERD: &str = "path\tgithub.com/containerd/containerd/cmd/containerd\n";
    const RUNC: &str = "path\tgithub.com/opencontainers/runc\n";

    #[rstest]
    #[case::debian(CONTAINERD, Wanted::Containerd, &["1.6.20~ds1-1+deb12u3", "1.6.20~ds1"], Some("1.6.20~ds1"))]
    #[case::upstream(CONTAINERD, Wanted::Containerd, &["github.com/containerd/containerd", "v1.7.27", "05044ec0a9a75232cad458027ca83437aae3f4da"], Some("1.7.27"))]
    #[case::two_that_differ(CONTAINERD, Wanted::Containerd, &["1.6.20", "1.7.1"], None)]
    #[case::longer_number(CONTAINERD, Wanted::Containerd, &["1.6.2", "1.6.20"], None)]
    #[case::none(CONTAINERD, Wanted::Containerd, &["amd64"], None)]
    #[case::another(CONTAINERD, Wanted::OciRuntime, &["1.6.20"], None)]
    #[case::runc(RUNC, Wanted::OciRuntime, &["1.1.5+ds1", "1.1.5+ds1-1+deb12u1"], Some("1.1.5+ds1"))]
    fn stamped_variables_tell(#[case] info: &str, #[case] wanted: Wanted, #[case] texts: &[&str], #[case] expected: Option<&str>) {
        assert_eq!(read(info, wanted, texts).as_deref(), expected);
    }

    #[rstest]
    #[case("build\t-ldflags=\"-s -X main.gitCommit=abc -X main.version=1.2.3 -w\"\n", Some("1.2.3"))]
    #[case("build\t-ldflags=\"-X 'main.version=1.2.3-rc.1'\"\n", Some("1.2.3-rc.1"))]
    #[case("build\t-ldflags=\"-X domain.version=9.9.9\"\n", None)]
    #[case("mod\tgithub.com/opencontainers/runc\tv1.3.0\t\n", Some("1.3.0"))]
    #[case("mod\tgithub.com/opencontainers/runc\t(devel)\t\n", None)]
    #[case("mod\tgithub.com/opencontainers/runc\tv1.3.1-0.20250515082733-8adc0f041b8e\t\n", None)]
    fn flags_and_module_tell(#[case] more: &str, #[case] expected: Option<&str>) {
        assert_eq!(read(&format!("{RUNC}{more}"), Wanted::OciRuntime, &[]).as_deref(), expected);
    }

    #[test]
    fn k3s_tells_the_containerd_inside_of_it() {
        let info = "path\tgithub.com/k3s-io/k3s/cmd/server\nmod\tgithub.com/k3s-io/k3s\t(devel)\t\ndep\tgithub.com/containerd/containerd/v2\tv2.0.5\n=>\tgithub.com/k3s-io/containerd/v2\tv2.0.5-k3s1\th1:x\ndep\tgithub.com/containerd/errdefs\tv1.0.0\th1:y\n";
        assert_eq!(read(info, Wanted::Containerd, &["v1.33.1+k3s1"]).as_deref(), Some("2.0.5-k3s1"));
        assert_eq!(read(info, Wanted::Docker, &[]), None);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(info in ".{0,200}", data: Vec<u8>, memory: Vec<u8>) {
            let info = format!("{RUNC}{info}");
            let _ = (version(&info, Wanted::OciRuntime, Some(&data), &Flat(&memory)), is_version(&info));
        }
    }
}
