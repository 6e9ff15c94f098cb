//! The version of crun, a program in C: the text it prints behind its name.

/// What `crun --version` prints first (`src/crun.c`, `print_version`); the version is the text before it.
const FORMAT: &[u8] = b"\0%s version %s\n\0";
const LONGEST: usize = 64;

/// The version among the `texts` of the program. `None` where they do not lie as its compiler usually leaves them.
pub(super) fn version(texts: &[u8]) -> Option<String> {
    let at = texts.windows(FORMAT.len()).position(|window| window == FORMAT)?;
    let before = texts.get(at.saturating_sub(LONGEST)..at)?;
    let text = std::str::from_utf8(before.rsplit(|byte| *byte == 0).next()?).ok()?;
    super::engines::is_version(text).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn the_text_before_the_format_is_it() {
        assert_eq!(version(b"please\x001.8.1\0%s version %s\n\0commit: %s\n\0").as_deref(), Some("1.8.1"));
        assert_eq!(version(b"1.0.0\0please specify a command\0%s version %s\n\0"), None);
        assert_eq!(version(b"\0%s version %s\n\0"), None);
        assert_eq!(version(b""), None);
    }
}
