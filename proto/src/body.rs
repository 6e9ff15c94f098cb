//! A request body whose frames begin and end where messages do, so that a stream keeps no more than its last message.
//!
//! The gRPC library collects what comes in a buffer that only grows: to twice the largest message, for as long as the stream lives
//! (measured: 32 KiB an agent after its first load). But a frame that comes when the buffer is used up takes its place. So the head of
//! a message goes ahead alone, in memory of its own: the library takes it for its buffer, makes room for just the message behind it, and
//! is where it began once that is read. Must not know what is in a message.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body::{Body, Frame};
use tonic::codegen::Bytes;

/// Whether a message is compressed, and its length.
const HEAD: usize = 5;

/// See the module.
#[derive(Debug)]
pub struct ByMessage<B> {
    body: B,
    /// What came and was not handed on yet.
    rest: Bytes,
    /// As much as there is of a head.
    head: Vec<u8>,
    /// What is left of the message, in bytes.
    left: usize,
}

impl<B> ByMessage<B> {
    /// The same bytes as `body`, cut where messages are.
    pub fn new(body: B) -> Self {
        Self { body, rest: Bytes::new(), head: Vec::new(), left: 0 }
    }

    /// In memory of its own, and just as much.
    fn taken_head(&mut self) -> Bytes {
        let head = Bytes::copy_from_slice(&self.head);
        self.head.clear();
        head
    }

    /// The next frame of what came.
    fn next(&mut self) -> Option<Bytes> {
        if self.left == 0 {
            let missing = HEAD.saturating_sub(self.head.len()).min(self.rest.len());
            self.head.extend_from_slice(&self.rest.split_to(missing));
            let [_, length @ ..] = <[u8; HEAD]>::try_from(self.head.as_slice()).ok()?;
            self.left = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
            return Some(self.taken_head());
        }
        let part = self.rest.split_to(self.left.min(self.rest.len()));
        self.left = self.left.saturating_sub(part.len());
        (!part.is_empty()).then_some(part)
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for ByMessage<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        loop {
            if let Some(part) = self.next() {
                return Poll::Ready(Some(Ok(Frame::data(part))));
            }
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                // Half a head is the library's to complain of.
                None if !self.head.is_empty() => return Poll::Ready(Some(Ok(Frame::data(self.taken_head())))),
                None => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.head.is_empty() && self.body.is_end_stream()
    }
}
