//! A request body cut where messages are: nothing of it is lost, and nothing of it is kept. Alone in its process: it looks at its memory.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may fail"
)]

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use holdfast_proto::MAX_MESSAGE_BYTES;
use holdfast_proto::body::ByMessage;
use holdfast_proto::codec::SmallBuffers;
use holdfast_proto::v1::agent_message::Message as Said;
use holdfast_proto::v1::{AgentMessage, Bye, Heartbeat};
use http_body::{Body, Frame};
use prost::Message;
use tonic::codec::{Codec, Streaming};
use tonic::codegen::Bytes;
use tonic::{Code, Status};

/// What came so far. Without an end, as a stream of an agent has none.
struct Came {
    frames: VecDeque<Bytes>,
    ends: bool,
}

impl Body for Came {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.frames.pop_front() {
            Some(frame) => Poll::Ready(Some(Ok(Frame::data(frame)))),
            None if self.ends => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

fn said(size: usize) -> AgentMessage {
    AgentMessage { message: Some(Said::Bye(Bye { reason: "x".repeat(size) })) }
}

/// As gRPC has it on the wire.
fn wire(messages: &[AgentMessage]) -> Vec<u8> {
    messages.iter().fold(Vec::new(), |mut wire, message| {
        wire.push(0);
        wire.extend(u32::try_from(message.encoded_len()).unwrap().to_be_bytes());
        wire.extend(message.encode_to_vec());
        wire
    })
}

/// In frames of so many bytes.
fn came(wire: &[u8], frame: usize, ends: bool) -> Came {
    Came { frames: wire.chunks(frame).map(Bytes::copy_from_slice).collect(), ends }
}

fn stream<B>(body: B) -> Streaming<AgentMessage>
where
    B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    let decoder = SmallBuffers::<AgentMessage, AgentMessage>::default().decoder();
    Streaming::new_request(decoder, body, None, Some(MAX_MESSAGE_BYTES + 1024))
}

/// The next message of those that are there.
fn next(stream: &mut Streaming<AgentMessage>) -> Poll<Result<Option<AgentMessage>, Status>> {
    pin!(stream.message()).poll(&mut Context::from_waker(Waker::noop()))
}

fn resident_kib() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap().split(' ').nth(1).unwrap().parse::<usize>().unwrap();
    pages * 4
}

/// KiB that each of many streams has resident which got all of this and wait for more.
fn kept(n: usize, message: impl Fn() -> Streaming<AgentMessage>) -> usize {
    let before = resident_kib();
    let streams: Vec<_> = (0..n)
        .map(|_| {
            let mut stream = message();
            while next(&mut stream).is_ready() {}
            stream
        })
        .collect();
    resident_kib().saturating_sub(before) / streams.len()
}

fn everything_comes_however_it_is_cut() {
    let messages = [said(0), said(3), said(700), AgentMessage::default(), said(16_000), said(1), said(9_000)];
    let wire = wire(&messages);
    for frame in [1, 2, 3, 4, 5, 6, 7, 100, 701, 8_192, 16_384, wire.len()] {
        let mut stream = stream(ByMessage::new(came(&wire, frame, true)));
        for message in &messages {
            match next(&mut stream) {
                Poll::Ready(Ok(Some(came))) => assert!(came == *message, "frames of {frame}"),
                other => panic!("frames of {frame}: {other:?}"),
            }
        }
        assert!(matches!(next(&mut stream), Poll::Ready(Ok(None))), "frames of {frame}");
    }
}

/// The library's own words for what is no message stay what agents hear.
fn what_is_no_message_is_still_refused() {
    let whole = wire(&[said(700)]);
    for cut in [1, 4, 6, 600] {
        let mut stream = stream(ByMessage::new(came(&whole[..cut], 64, true)));
        let Poll::Ready(Err(status)) = next(&mut stream) else { panic!("{cut} bytes of a message are one") };
        assert_eq!((status.code(), status.message()), (Code::Internal, "Unexpected EOF decoding stream."), "{cut} bytes");
    }
    for (head, code) in
        [([0, 0xff, 0xff, 0xff, 0xff], Code::OutOfRange), ([1, 0, 0, 0, 1], Code::Internal), ([7, 0, 0, 0, 1], Code::Internal)]
    {
        let mut stream = stream(ByMessage::new(came(&head, 64, false)));
        let Poll::Ready(Err(status)) = next(&mut stream) else { panic!("{head:?} is the head of a message") };
        assert_eq!(status.code(), code, "{status}");
    }
}

/// An agent that sent the largest of messages costs, once it has said anything after it, what one costs that sent none.
fn a_stream_keeps_nothing_of_its_largest_message() {
    let beat = AgentMessage { message: Some(Said::Heartbeat(Heartbeat { digest: vec![7; 16], ..Heartbeat::default() })) };
    let wire = wire(&[said(16_000), said(16_000), said(100), beat]);
    let kib = kept(2_000, || stream(ByMessage::new(came(&wire, 16_384, false))));
    assert!(kib <= 4, "a stream keeps {kib} KiB after messages of 16");
    let kib = kept(2_000, || stream(came(&wire, 16_384, false)));
    assert!(kib >= 16, "the library keeps {kib} KiB by itself: `body` is not needed any longer");
}

#[test]
fn a_body_is_cut_where_messages_are() {
    everything_comes_however_it_is_cut();
    what_is_no_message_is_still_refused();
    a_stream_keeps_nothing_of_its_largest_message();
}
