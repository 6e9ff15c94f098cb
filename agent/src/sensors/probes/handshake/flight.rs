//! What a server sends back to a `ClientHello`, as far as it is in clear: version, suite, certificate, whether it wants one.
//! Pure: bytes in. The other side is hostile: lengths lie, messages never end, nothing is what it says.

/// The longest record that may be: 2¹⁴ and what compression and padding may add (RFC 5246 §6.2.3).
const MAX_RECORD: usize = 16384 + 2048;
/// The most that is taken in of one flight, in bytes. A chain of certificates has some thousand.
const MAX_FLIGHT: usize = 128 * 1024;

/// What came back, so far.
#[derive(Debug, Default)]
pub(super) struct Flight {
    taken: usize,
    raw: Vec<u8>,
    messages: Vec<u8>,
    /// The server's choice.
    pub(super) hello: Option<Hello>,
    /// The certificate it shows first, DER.
    pub(super) certificate: Option<Vec<u8>>,
    /// It asked for a client certificate.
    pub(super) asks: bool,
    /// `ServerHelloDone` came: nothing is missing.
    pub(super) complete: bool,
}

/// A server's choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hello {
    /// The number of the version on the wire, by `supported_versions` where that is given.
    pub(super) version: u16,
    pub(super) suite: u16,
}

/// Why a flight goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// A fatal alert, by its number.
    Alert(u8),
    /// This is no TLS.
    NotTls,
    /// It begins as TLS and then is none.
    Malformed,
}

impl Flight {
    /// Takes in what was read next.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        self.taken = self.taken.saturating_add(bytes.len());
        if self.taken > MAX_FLIGHT {
            return Err(Broken::Malformed);
        }
        self.raw.extend_from_slice(bytes);
        while let Some((kind, payload)) = self.record()? {
            match kind {
                22 => self.messages.extend_from_slice(&payload),
                21 => match payload.as_slice() {
                    // A warning, such as of a name it does not know; `close_notify` is one too and then nothing more comes.
                    [1, _] => {}
                    [_, description] => return Err(Broken::Alert(*description)),
                    _ => return Err(Broken::Malformed),
                },
                // What follows the choice of TLS 1.3 is encrypted.
                20 | 23 if self.hello.is_some() => self.complete = true,
                _ => return Err(Broken::Malformed),
            }
            self.read_messages()?;
        }
        Ok(())
    }

    /// The next whole record, taken out.
    fn record(&mut self) -> Result<Option<(u8, Vec<u8>)>, Broken> {
        let untold = |this: &Self| if this.hello.is_some() || !this.messages.is_empty() { Broken::Malformed } else { Broken::NotTls };
        if self.raw.first().is_some_and(|kind| !(20..=23).contains(kind)) || self.raw.get(1).is_some_and(|major| *major != 3) {
            return Err(untold(self));
        }
        let &[kind, _, _, high, low, ..] = self.raw.as_slice() else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length == 0 || length > MAX_RECORD {
            return Err(untold(self));
        }
        let Some(payload) = self.raw.get(5..5 + length).map(<[u8]>::to_vec) else { return Ok(None) };
        self.raw.drain(..5 + length);
        Ok(Some((kind, payload)))
    }

    fn read_messages(&mut self) -> Result<(), Broken> {
        while let &[kind, first, second, third, ..] = self.messages.as_slice() {
            let length = usize::try_from(u32::from_be_bytes([0, first, second, third])).unwrap_or(usize::MAX);
            if length > MAX_FLIGHT {
                return Err(Broken::Malformed);
            }
            let Some(body) = self.messages.get(4..4 + length).map(<[u8]>::to_vec) else { return Ok(()) };
            self.messages.drain(..4 + length);
            match kind {
                2 if self.hello.is_none() => self.hello = Some(server_hello(&body).ok_or(Broken::Malformed)?),
                11 => self.certificate = self.certificate.take().or_else(|| first_certificate(&body)),
                13 => self.asks = true,
                14 => self.complete = true,
                // Keys, a stapled status: nothing for us. But the choice comes first of all.
                _ if self.hello.is_some() => {}
                _ => return Err(Broken::Malformed),
            }
        }
        Ok(())
    }
}

/// Version, random, session identifier, suite, compression, extensions.
fn server_hello(body: &[u8]) -> Option<Hello> {
    let mut rest = Bytes(body);
    let mut version = rest.number()?;
    rest.take(32)?;
    let session = rest.byte()?;
    rest.take(usize::from(session))?;
    let suite = rest.number()?;
    rest.byte()?;
    if !rest.0.is_empty() {
        let length = rest.number()?;
        let mut extensions = Bytes(rest.take(usize::from(length))?);
        while !extensions.0.is_empty() {
            let (kind, length) = (extensions.number()?, extensions.number()?);
            let content = extensions.take(usize::from(length))?;
            if kind == 0x002b {
                version = Bytes(content).number()?;
            }
        }
    }
    Some(Hello { version, suite })
}

/// The first of the list, if it is whole.
fn first_certificate(body: &[u8]) -> Option<Vec<u8>> {
    let mut rest = Bytes(body);
    rest.long()?;
    let length = rest.long()?;
    rest.take(length).map(<[u8]>::to_vec)
}

/// Bytes that are read from the front.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn number(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    /// Three bytes.
    fn long(&mut self) -> Option<usize> {
        let high = usize::from(self.byte()?);
        Some(high << 16 | usize::from(self.number()?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    fn of(hex: &str) -> (Flight, Result<(), Broken>) {
        let mut flight = Flight::default();
        let end = flight.feed(&bytes(hex));
        (flight, end)
    }

    /// The server's answer of RFC 8448 §3, the simple handshake of TLS 1.3.
    const RFC_8448: &str = "16 03 03 00 5a 02 00 00 56 03 03 a6 af 06 a4 12 18 60 dc 5e 6e 60 24 9c d3 4c 95 93 0c 8a c5 cb 14 34 da c1 55 77 2e \
        d3 e2 69 28 00 13 01 00 00 2e 00 33 00 24 00 1d 00 20 c9 82 88 76 11 20 95 fe 66 76 2b db f7 c6 72 e1 56 d6 cc 25 3b 83 3d f1 \
        dd 69 b1 b0 4e 75 1f 0f 00 2b 00 02 03 04";

    #[test]
    fn the_choice_of_tls_1_3_is_in_an_extension() {
        let (flight, end) = of(RFC_8448);
        assert_eq!((flight.hello, end), (Some(Hello { version: 0x0304, suite: 0x1301 }), Ok(())));
    }

    /// TLS 1.0 in one record: the choice, a chain of one certificate of three bytes, a demand for one, done.
    fn old() -> String {
        let hello = format!("02 000026 0301 {} 00 c014 00", "11".repeat(32));
        format!("16 0301 0043 {hello} 0b 000009 000006 000003 414243 0d 000004 01 01 0000 0e 000000")
    }

    #[test]
    fn an_old_flight_shows_everything_however_it_is_cut() {
        let whole = bytes(&old());
        for size in [1, 2, 7, whole.len()] {
            let mut flight = Flight::default();
            for piece in whole.chunks(size) {
                assert_eq!(flight.feed(piece), Ok(()));
            }
            assert_eq!(flight.hello, Some(Hello { version: 0x0301, suite: 0xc014 }));
            assert_eq!(flight.certificate.as_deref(), Some(b"ABC".as_slice()));
            assert!(flight.asks && flight.complete);
        }
    }

    #[test]
    fn alerts_have_their_number_and_warnings_are_passed_over() {
        assert_eq!(of("15 0303 0002 02 46").1, Err(Broken::Alert(70)));
        let (flight, end) = of(&format!("15 0303 0002 01 70 {RFC_8448}"));
        assert!(end.is_ok() && flight.hello.is_some());
    }

    #[rstest::rstest]
    #[case::http("48545450 2f312e30 20343030", Broken::NotTls)]
    #[case::ssh("5353482d 322e30", Broken::NotTls)]
    #[case::wrong_version("16 0203 0002 0000", Broken::NotTls)]
    #[case::huge_record("16 0303 ffff 02", Broken::NotTls)]
    #[case::empty_record("16 0303 0000", Broken::NotTls)]
    #[case::huge_message("16 0303 0004 02 ffffff", Broken::Malformed)]
    #[case::certificate_of_nobody("16 0303 0004 0c 000000", Broken::Malformed)]
    #[case::short_hello("16 0303 0006 02 000002 0303", Broken::Malformed)]
    #[case::data_without_a_choice("17 0303 0001 00", Broken::Malformed)]
    fn garbage_is_refused(#[case] hex: &str, #[case] expected: Broken) {
        assert_eq!(of(hex).1, Err(expected));
    }

    #[test]
    fn messages_without_end_are_left() {
        let mut flight = Flight::default();
        flight.feed(&bytes(RFC_8448)).unwrap();
        // One message of 65,793 bytes after another.
        let record = [bytes("16 0303 4000"), vec![1; 0x4000]].concat();
        let fed = (0..100).find_map(|count| flight.feed(&record).err().map(|end| (count, end)));
        assert!(fed.is_some_and(|(count, end)| count < 10 && end == Broken::Malformed), "{fed:?}");
        assert!(flight.messages.len() + flight.raw.len() < 2 * MAX_FLIGHT);
    }

    proptest! {
        #[test]
        fn anything_is_survived(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..20)) {
            let mut flight = Flight::default();
            for piece in pieces {
                let _ended: Result<(), Broken> = flight.feed(&piece);
            }
        }

        #[test]
        fn damage_is_survived(at in 0_usize..72, byte: u8, size in 1_usize..20) {
            let mut whole = bytes(&old());
            whole[at] = byte;
            let mut flight = Flight::default();
            for piece in whole.chunks(size) {
                if flight.feed(piece).is_err() {
                    break;
                }
            }
        }
    }
}
