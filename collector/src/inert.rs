//! What a stranger's text must not do to who reads it: characters that are obeyed or not seen. What becomes of them is for whoever shows
//! the text, in its own notation.

/// Is a character obeyed by a terminal, not seen, or does it change the order in which others are shown or break a line.
pub(crate) fn hidden(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(character, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}
