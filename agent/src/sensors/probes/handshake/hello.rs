//! A `ClientHello` that offers one protocol version alone, and the suites one wants to ask for: what no TLS library does for the
//! old ones. Pure: bytes out (RFC 5246 §7.4.1, RFC 8446 §4.1.2).

/// A protocol version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    Tls10,
    Tls11,
    Tls12,
    Tls13,
}

impl Version {
    pub(super) const ALL: [Self; 4] = [Self::Tls10, Self::Tls11, Self::Tls12, Self::Tls13];

    /// The number on the wire.
    pub(super) fn number(self) -> u16 {
        match self {
            Self::Tls10 => 0x0301,
            Self::Tls11 => 0x0302,
            Self::Tls12 => 0x0303,
            Self::Tls13 => 0x0304,
        }
    }

    /// The name in the facts.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Tls10 => "TLS 1.0",
            Self::Tls11 => "TLS 1.1",
            Self::Tls12 => "TLS 1.2",
            Self::Tls13 => "TLS 1.3",
        }
    }
}

/// x25519 first, for which the key share is; then the curves of NIST.
const GROUPS: [u16; 4] = [0x001d, 0x0017, 0x0018, 0x0019];
/// Every scheme a server may have a key for, the old ones last.
const SIGNATURES: [u16; 15] =
    [0x0403, 0x0503, 0x0603, 0x0807, 0x0808, 0x0804, 0x0805, 0x0806, 0x0809, 0x080a, 0x080b, 0x0401, 0x0501, 0x0601, 0x0201];
/// The session identifier of TLS 1.3 is a decoration that some machines in between want to see.
const NO_SESSION: [u8; 0] = [];

/// One record with a `ClientHello`. `entropy` is the random, the session identifier and the key share: nobody ever talks on such a
/// connection, so the share needs no key.
pub(super) fn client_hello(version: Version, suites: &[u16], entropy: [[u8; 32]; 3]) -> Vec<u8> {
    let [random, session, share] = entropy;
    let newest = version == Version::Tls13;
    let legacy = version.number().min(Version::Tls12.number());
    let mut extensions = [
        extension(0x000a, &vector16(&numbers(&GROUPS))),
        extension(0x000b, &vector8(&[0])), // points uncompressed
        extension(0x000d, &vector16(&numbers(&SIGNATURES))),
        extension(0x0017, &[]),           // extended master secret
        extension(0xff01, &vector8(&[])), // secure renegotiation
    ]
    .concat();
    if newest {
        extensions.extend(extension(0x002b, &vector8(&version.number().to_be_bytes())));
        let share = [numbers(&[0x001d]), vector16(&share)].concat();
        extensions.extend(extension(0x0033, &vector16(&share)));
    }
    let body = [
        legacy.to_be_bytes().to_vec(),
        random.to_vec(),
        vector8(if newest { &session } else { &NO_SESSION }),
        vector16(&numbers(suites)),
        vector8(&[0]), // no compression
        vector16(&extensions),
    ]
    .concat();
    let message = [vec![1, 0], vector16(&body)].concat();
    [vec![22, 3, 1], vector16(&message)].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [kind.to_be_bytes().to_vec(), vector16(content)].concat()
}

fn numbers(numbers: &[u16]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

/// With its length before it, in one byte. What is written here is far shorter than the length can say.
fn vector8(content: &[u8]) -> Vec<u8> {
    [vec![u8::try_from(content.len()).unwrap_or(u8::MAX)], content.to_vec()].concat()
}

/// With its length before it, in two bytes.
fn vector16(content: &[u8]) -> Vec<u8> {
    [u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes().to_vec(), content.to_vec()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).map(char::from).collect()
    }

    const ENTROPY: [[u8; 32]; 3] = [[0xaa; 32], [0xbb; 32], [0xcc; 32]];

    #[test]
    fn tls_1_0_is_offered_alone() {
        let expected = [
            "16 0301 0072",
            "01 00006e",
            "0301",
            &"aa".repeat(32),
            "00",
            "0004 002f 0035",
            "01 00",
            "0041",
            "000a 000a 0008 001d 0017 0018 0019",
            "000b 0002 01 00",
            "000d 0020 001e 0403 0503 0603 0807 0808 0804 0805 0806 0809 080a 080b 0401 0501 0601 0201",
            "0017 0000",
            "ff01 0001 00",
        ];
        let expected: String = expected.concat().split(' ').collect();
        assert_eq!(hex(&client_hello(Version::Tls10, &[0x002f, 0x0035], ENTROPY)), expected);
    }

    #[test]
    fn every_length_is_right() {
        for version in Version::ALL {
            let hello = client_hello(version, &[1, 2, 3], ENTROPY);
            let at = |place: usize| usize::from(u16::from_be_bytes([hello[place], hello[place + 1]]));
            assert_eq!(at(3), hello.len() - 5, "record");
            assert_eq!((hello[5], hello[6]), (1, 0));
            assert_eq!(at(7), hello.len() - 9, "message");
            let session = usize::from(hello[43]);
            let suites = 44 + session;
            assert_eq!(at(suites), 6);
            let extensions = suites + 2 + 6 + 2;
            assert_eq!(at(extensions), hello.len() - extensions - 2, "extensions");
        }
    }

    #[test]
    fn the_bytes_of_tls_1_3_are_these() {
        let expected = [
            "16 0301 00c1",
            "01 0000bd",
            "0303",
            &"aa".repeat(32),
            "20",
            &"bb".repeat(32),
            "0002 1301",
            "01 00",
            "0072",
            "000a 000a 0008 001d 0017 0018 0019",
            "000b 0002 01 00",
            "000d 0020 001e 0403 0503 0603 0807 0808 0804 0805 0806 0809 080a 080b 0401 0501 0601 0201",
            "0017 0000",
            "ff01 0001 00",
            "002b 0003 02 0304",
            "0033 0026 0024 001d 0020",
            &"cc".repeat(32),
        ];
        let expected: String = expected.concat().split(' ').collect();
        assert_eq!(hex(&client_hello(Version::Tls13, &[0x1301], ENTROPY)), expected);
    }
}
