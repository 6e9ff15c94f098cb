//! Requests over HTTP/2 that begin and do not end, frame by frame: no client library would send them.
//!
//! They ask to be enrolled, which anybody may: of whoever asks for a session the credentials are looked at before the rest.

use crate::intruder::PREFACE;

/// Bytes of the largest message taken from somebody who enrols.
const MESSAGE: usize = holdfast_collector::enrolment::MAX_MESSAGE_BYTES;
/// As many headers as fit: each counts for 37 bytes of the 12 KiB that all may have together.
const HEADERS: usize = 300;
/// Streams that may be open in a connection.
const STREAMS: [u32; 2] = [1, 3];
const DATA: u8 = 0;
const HEADER: u8 = 1;
const END_HEADERS: u8 = 4;

/// What comes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfinished {
    /// [`Unfinished::Message`], and of one more request headers without their last frame, which may be no more than a connection can have
    /// open: nobody knows before its headers are whole.
    Most,
    /// All headers of every request that may be open, and no body.
    Body,
    /// The same, and all but the last byte of the largest message in each.
    Message,
    /// The same as [`Unfinished::Body`], and how long a message will be: what is in it comes by [`crumbs`].
    Crumbs,
}

impl Unfinished {
    /// What is said after the handshake.
    pub(crate) fn bytes(self) -> Vec<u8> {
        let mut said = PREFACE.to_vec();
        for stream in STREAMS {
            frame(&mut said, HEADER, END_HEADERS, stream, &headers());
            let mut body = vec![0];
            body.extend_from_slice(&u32::try_from(MESSAGE).unwrap_or(u32::MAX).to_be_bytes());
            if matches!(self, Self::Message | Self::Most) {
                body.resize(body.len() + MESSAGE - 1, 0);
            }
            if self != Self::Body {
                frame(&mut said, DATA, 0, stream, &body);
            }
        }
        if self == Self::Most {
            frame(&mut said, HEADER, 0, 5, &headers());
        }
        said
    }
}

/// So many bytes of the messages that [`Unfinished::Crumbs`] announced, each in a frame of its own, of all streams in turn.
pub fn crumbs(bytes: usize) -> Vec<u8> {
    let mut said = Vec::new();
    for stream in STREAMS.iter().cycle().take(bytes) {
        frame(&mut said, DATA, 0, *stream, &[0]);
    }
    said
}

/// Frames with nothing in them, in the first of the requests that have begun.
pub fn nothings(frames: usize) -> Vec<u8> {
    let mut said = Vec::new();
    (0..frames).for_each(|_| frame(&mut said, DATA, 0, 1, &[]));
    said
}

fn frame(to: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    to.extend_from_slice(&length.to_be_bytes()[1..]);
    to.extend_from_slice(&[kind, flags]);
    to.extend_from_slice(&stream.to_be_bytes());
    to.extend_from_slice(payload);
}

/// The header block of a gRPC request, padded with headers of no use: nothing in it is to be indexed (RFC 7541, 6.2.2).
fn headers() -> Vec<u8> {
    // `:method: POST` and `:scheme: https` are in the static table.
    let mut block = vec![0x83, 0x87];
    let mut literal = |name: &str, value: &str| {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap_or(0x7e));
            block.extend_from_slice(text.as_bytes());
        }
    };
    literal(":path", "/holdfast.v1.Enrolment/Enrol");
    literal(":authority", "localhost");
    literal("content-type", "application/grpc");
    literal("te", "trailers");
    (0..HEADERS).for_each(|number| literal(&format!("x-{number:03}"), ""));
    block
}
