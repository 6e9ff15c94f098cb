//! JSON for programs, and for the terminal that somebody lets it run over: what a terminal obeys (C1 controls above all, which JSON leaves
//! as they are), what hides and what reorders is written as `\u009b`. To a program that is the same document.

use std::io::{self, Write};

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

use crate::inert::hidden;

/// An answer in JSON.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Json<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match written(&self.0) {
            Ok(body) => ([(CONTENT_TYPE, "application/json")], body).into_response(),
            Err(error) => {
                tracing::error!(%error, "an answer cannot be written as JSON");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }
}

fn written(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut body = Vec::with_capacity(1024);
    value.serialize(&mut Serializer::with_formatter(&mut body, Inert))?;
    Ok(body)
}

/// Compact, but for what is hidden in strings. What JSON itself escapes never comes here.
struct Inert;

impl Formatter for Inert {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, character)) = rest.char_indices().find(|(_, character)| hidden(*character)) {
            let (plain, found) = rest.split_at(at);
            writer.write_all(plain.as_bytes())?;
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = found.get(character.len_utf8()..).unwrap_or_default();
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_escaped_and_the_document_is_the_same() {
        let value = serde_json::json!({
            "a": "\u{9b}31mred\u{85}\u{7f}\u{202e}fdp.exe\u{2028}x\u{feff}\u{e0041}", "k\u{9d}": ["größe — ok 😀", "\u{1b}\n\0\"\\"], "n": 1.5,
        });
        let text = String::from_utf8(written(&value).unwrap()).unwrap();
        assert!(!text.chars().any(hidden), "{text:?}");
        assert!(text.contains("\\u009b31mred\\u0085\\u007f\\u202efdp.exe\\u2028x\\ufeff\\udb40\\udc41"), "{text}");
        assert!(text.contains("größe — ok 😀") && text.contains("k\\u009d"), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
        let plain = serde_json::json!({"plain": ["as", "serde_json", "has", "it", "\t"], "none": null});
        assert_eq!(written(&plain).unwrap(), serde_json::to_vec(&plain).unwrap());
    }
}
