//! The prost codec with small buffers: an idle stream should cost the collector little.
//!
//! tonic's default holds 8 KiB each way per stream. Messages are capped at 16 KiB. What a decoder's buffer has grown to it keeps, unless
//! messages come as [`body`](crate::body) cuts them.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{BufferSettings, Codec};
use tonic_prost::ProstCodec;

/// Bytes an encoder allocates at once, and after which it yields to the transport.
const ENCODER: (usize, usize) = (512, crate::MAX_MESSAGE_BYTES);
/// Bytes a decoder allocates before anything came: none, so that the first message is treated as all others.
const DECODER: (usize, usize) = (0, crate::MAX_MESSAGE_BYTES);

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
        ProstCodec::<T, U>::raw_encoder(BufferSettings::new(ENCODER.0, ENCODER.1))
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<T, U>::raw_decoder(BufferSettings::new(DECODER.0, DECODER.1))
    }
}
