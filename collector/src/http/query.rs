//! Query strings and path segments, decoded.

use axum::extract::Query;
use axum::http::Uri;

/// The decoded pairs of a query string, in order. A string that cannot be decoded has no pairs.
pub(crate) fn pairs(uri: &Uri) -> Vec<(String, String)> {
    Query::<Vec<(String, String)>>::try_from_uri(uri).map(|Query(pairs)| pairs).unwrap_or_default()
}

/// A path segment, percent-decoded; what is not UTF-8 becomes U+FFFD.
pub(crate) fn decode(segment: &str) -> String {
    let mut bytes = segment.bytes();
    let mut out = Vec::with_capacity(segment.len());
    while let Some(byte) = bytes.next() {
        let mut ahead = bytes.clone();
        let mut digit = || ahead.next().and_then(|byte| char::from(byte).to_digit(16)).and_then(|digit| u8::try_from(digit).ok());
        match (byte, digit(), digit()) {
            (b'%', Some(high), Some(low)) => {
                out.push(high * 16 + low);
                bytes = ahead;
            }
            _ => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn segments_are_decoded_once() {
        assert_eq!(decode("a%2Fb%20c+d%"), "a/b c+d%");
        assert_eq!(decode("%252F"), "%2F");
    }
}
