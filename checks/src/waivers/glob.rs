//! Patterns of waivers: literal text in which `*` stands for any run of characters that has no `/`.

/// Does the whole of `text` fit `pattern`. Time is at most the product of both lengths: patterns and texts are other people's.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern.as_bytes(), text.as_bytes());
    // Where to go on from when what follows the last star does not fit: the pattern after it, and the text it has not eaten yet.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => return true,
            (Some((b'*', after)), _) => {
                pattern = after;
                retry = Some((after, text));
            }
            (Some((expected, after)), Some((found, rest))) if expected == found => (pattern, text) = (after, rest),
            _ => {
                // The last star eats one more: never a separator. An earlier star could not do better, as it stands in the same part.
                let Some((after, left)) = retry else { return false };
                match left.split_first() {
                    Some((eaten, rest)) if *eaten != b'/' => {
                        (pattern, text) = (after, rest);
                        retry = Some((after, rest));
                    }
                    _ => return false,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::matches;

    #[rstest]
    #[case("", "", true)]
    #[case("a", "", false)]
    #[case("*", "", true)]
    #[case("*", "abc", true)]
    #[case("*", "a/b", false)]
    #[case("*/*", "a/b", true)]
    #[case("*/*", "a/b/c", false)]
    #[case("pod:*/x-*/y", "pod:ns/x-1/y", true)]
    #[case("pod:*/x-*/y", "pod:ns/x-/y", true)]
    #[case("pod:*/x-*/y", "pod:ns/x-1/2/y", false)]
    #[case("pod:ns/x-*/y", "pod:ns/x-1/yy", false)]
    #[case("*ab", "aab", true)]
    #[case("a*b*c", "a-b-b-c", true)]
    #[case("a*b*c", "a/b-b-c", false)]
    #[case("a*/b*", "ax/by", true)]
    #[case("?", "a", false)]
    fn a_star_stays_within_its_part(#[case] pattern: &str, #[case] text: &str, #[case] fits: bool) {
        assert_eq!(matches(pattern, text), fits);
    }

    #[test]
    fn many_stars_cost_little() {
        let pattern = "*a".repeat(500);
        assert!(!matches(&pattern, &"a".repeat(400)) && !matches(&format!("{pattern}b"), &"a".repeat(10_000)));
    }
}
