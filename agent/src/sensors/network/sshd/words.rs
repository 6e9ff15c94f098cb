//! A line of `sshd_config` as OpenSSH splits it.

/// Keyword and arguments; `None` for an empty line and a comment.
pub(super) fn split(line: &str) -> Option<(String, Vec<String>)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let end = line.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(line.len());
    let (keyword, rest) = line.split_at_checked(end)?;
    // `Port 22`, `Port=22` and `Port = 22` are the same.
    let rest = rest.trim_start();
    let rest = rest.strip_prefix('=').unwrap_or(rest);
    Some((keyword.trim_matches('"').to_owned(), arguments(rest)))
}

/// Words between blanks; quotes hold them together, a backslash before a quote or another backslash takes its meaning, `#` at a
/// word's beginning ends the line.
fn arguments(rest: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut characters = rest.chars().peekable();
    loop {
        while characters.next_if(|c| c.is_whitespace()).is_some() {}
        match characters.peek() {
            None | Some('#') => return words,
            Some(_) => words.push(word(&mut characters)),
        }
    }
}

fn word(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> String {
    let mut word = String::new();
    let mut quote: Option<char> = None;
    while let Some(&next) = characters.peek() {
        if quote.is_none() && next.is_whitespace() {
            break;
        }
        characters.next();
        match next {
            '\\' if matches!(characters.peek(), Some('"' | '\'' | '\\')) => word.extend(characters.next()),
            '"' | '\'' if quote.is_none() => quote = Some(next),
            _ if quote == Some(next) => quote = None,
            _ => word.push(next),
        }
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("Port 22", "Port", &["22"])]
    #[case("  Port=22", "Port", &["22"])]
    #[case("Port = 22 # not 2222", "Port", &["22"])]
    #[case("AllowUsers a \"b c\" d#e '#f' \\\"g", "AllowUsers", &["a", "b c", "d#e", "#f", "\"g"])]
    #[case("Include", "Include", &[])]
    #[case("Include \"open", "Include", &["open"])]
    fn a_line_is_a_keyword_and_words(#[case] line: &str, #[case] keyword: &str, #[case] words: &[&str]) {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        assert_eq!(split(line), Some((keyword.to_owned(), words)));
    }

    #[rstest]
    #[case("")]
    #[case("   # Port 22")]
    fn comments_say_nothing(#[case] line: &str) {
        assert_eq!(split(line), None);
    }
}
