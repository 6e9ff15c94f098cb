//! The file format of captures: one frame after another, each `>` (from the agent) or `<` (from the collector), the message's length as
//! a varint, the message.

use prost::Message;
use prost::bytes::Buf;

/// Who said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Agent,
    Collector,
}

/// One message as it was on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) side: Side,
    pub(crate) bytes: Vec<u8>,
}

impl Frame {
    /// The message of an agent; `None` when the collector said it.
    pub(crate) fn agent<M: Message + Default>(&self) -> Option<M> {
        (self.side == Side::Agent).then(|| M::decode(self.bytes.as_slice()).unwrap())
    }

    /// The message of a collector; `None` when the agent said it.
    pub(crate) fn collector<M: Message + Default>(&self) -> Option<M> {
        (self.side == Side::Collector).then(|| M::decode(self.bytes.as_slice()).unwrap())
    }
}

/// A file's content.
pub(crate) fn write(frames: &[Frame]) -> Vec<u8> {
    let mut file = Vec::new();
    for frame in frames {
        file.push(if frame.side == Side::Agent { b'>' } else { b'<' });
        prost::encode_length_delimiter(frame.bytes.len(), &mut file).unwrap();
        file.extend(&frame.bytes);
    }
    file
}

/// The frames of a file.
pub(crate) fn read(mut file: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while file.has_remaining() {
        let side = match file.get_u8() {
            b'>' => Side::Agent,
            b'<' => Side::Collector,
            other => panic!("a frame begins with byte {other}"),
        };
        let length = prost::decode_length_delimiter(&mut file).unwrap();
        let (bytes, rest) = file.split_at(length);
        frames.push(Frame { side, bytes: bytes.to_vec() });
        file = rest;
    }
    frames
}
