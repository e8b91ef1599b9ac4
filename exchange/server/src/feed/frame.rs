//! Messages of `SubscribeOrderBooks`, encoded once and sent to many.

use bytes::{Buf, BufMut, Bytes};
use optivex_engine::types::Level;
use optivex_proto::v1;
use optivex_proto::v1::subscribe_order_books_response::Event;
use prost::encoding::{DecodeContext, WireType};
use prost::{DecodeError, Message};

/// An encoded `SubscribeOrderBooksResponse`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame(Bytes);

impl Frame {
    /// Encodes a message.
    pub fn new(event: Event) -> Self {
        let response = v1::SubscribeOrderBooksResponse { event: Some(event) };
        Self(response.encode_to_vec().into())
    }

    /// Bytes of the message.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the message has no bytes; none of the contract's is like that.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether both were encoded at once.
    #[cfg(test)]
    pub(super) fn shares_bytes_with(&self, other: &Self) -> bool {
        std::ptr::eq(self.0.as_ptr(), other.0.as_ptr())
    }

    /// The message, for tests.
    #[cfg(test)]
    pub(super) fn decode(&self) -> Event {
        v1::SubscribeOrderBooksResponse::decode(self.0.clone())
            .ok()
            .and_then(|response| response.event)
            .expect("our own encoding")
    }
}

/// What `tonic_prost` asks of a message to send it.
impl Message for Frame {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        buf.put_slice(&self.0);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        // A server never decodes its responses.
        prost::encoding::skip_field(wire_type, tag, buf, ctx)
    }

    fn encoded_len(&self) -> usize {
        self.0.len()
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

/// Levels as messages.
pub(super) fn price_levels<'a>(levels: impl IntoIterator<Item = &'a Level>) -> Vec<v1::PriceLevel> {
    levels.into_iter().map(v1::PriceLevel::from).collect()
}
