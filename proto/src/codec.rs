//! The prost codec with small buffers: an idle stream should cost the collector little.
//!
//! tonic's default holds 8 KiB each way per stream, and a decode buffer never shrinks below its largest message
//! (measured: 34 KiB per connection idle against 151 KiB after one 100 KiB message). Messages are capped at 16 KiB.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{BufferSettings, Codec};
use tonic_prost::ProstCodec;

/// Bytes allocated at once, and bytes after which the encoder yields to the transport.
const BUFFERS: (usize, usize) = (512, crate::MAX_MESSAGE_BYTES);

/// [`ProstCodec`] with [`BufferSettings`] for many mostly idle streams.
#[derive(Debug, Clone)]
pub struct SmallBuffers<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for SmallBuffers<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for SmallBuffers<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = <ProstCodec<T, U> as Codec>::Encoder;
    type Decoder = <ProstCodec<T, U> as Codec>::Decoder;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(BufferSettings::new(BUFFERS.0, BUFFERS.1))
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<T, U>::raw_decoder(BufferSettings::new(BUFFERS.0, BUFFERS.1))
    }
}
