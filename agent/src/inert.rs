//! Text of a node made harmless for a terminal: control characters and those that turn or hide text are shown, not obeyed.

/// Characters that move the cursor, colour, reorder or vanish.
fn active(character: char) -> bool {
    let reorders = matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}');
    character.is_control()
        || reorders
        || matches!(character, '\u{61c}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{ad}' | '\u{180e}' | '\u{e0000}'..='\u{e007f}')
}

fn shown(text: &str, obeyed: &[char]) -> String {
    let mut result = String::with_capacity(text.len());
    for character in text.chars() {
        if active(character) && !obeyed.contains(&character) {
            result.extend(character.escape_unicode());
        } else {
            result.push(character);
        }
    }
    result
}

/// One line.
pub(crate) fn line(text: &str) -> String {
    shown(text, &[])
}

/// Several lines, of our own making.
pub(crate) fn lines(text: &str) -> String {
    shown(text, &['\n'])
}

/// JSON with the same characters as JSON escapes: still the same document.
pub(crate) fn json(document: &str) -> String {
    let mut result = String::with_capacity(document.len());
    for character in document.chars() {
        if active(character) && character != '\n' {
            result.extend(character.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            result.push(character);
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_a_process_calls_itself_reaches_the_terminal() {
        let name = "<script>\u{1b}]0;x\u{7}\u{202e}gpj.exe\u{9b}2J\n";
        assert_eq!(line(name), "<script>\\u{1b}]0;x\\u{7}\\u{202e}gpj.exe\\u{9b}2J\\u{a}");
        assert_eq!(line("größe — ok"), "größe — ok");
    }

    #[test]
    fn json_stays_the_same_document() {
        let value = serde_json::json!({"a": "x\u{202e}y\u{9b}\u{7f}\u{e0041}"});
        let text = json(&serde_json::to_string_pretty(&value).unwrap());
        assert!(!text.contains('\u{202e}') && !text.contains('\u{9b}') && !text.contains('\u{e0041}'), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }
}
