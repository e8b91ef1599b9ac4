//! Messages of `SubscribeOrderBooks` as gRPC sends them, encoded once and sent to many.

use bytes::Bytes;
use optivex_engine::types::Level;
use optivex_proto::v1;
use optivex_proto::v1::subscribe_order_books_response::Event;
use prost::Message;

use super::channel::{Update, wire_phase};

/// Bytes before each message: that it is not compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// One or more encoded `SubscribeOrderBooksResponse`s, each behind its prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame(Bytes);

impl Frame {
    /// Encodes a message.
    pub(super) fn new(event: Event) -> Self {
        let mut bytes = Vec::new();
        put(&v1::SubscribeOrderBooksResponse { event: Some(event) }, &mut bytes);
        Self(bytes.into())
    }

    /// Of whole messages.
    pub(super) fn of(messages: Bytes) -> Self {
        Self(messages)
    }

    /// The messages, to be sent as they are.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    pub(super) fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// Whether both were encoded at once.
    #[cfg(test)]
    pub(super) fn shares_bytes_with(&self, other: &Self) -> bool {
        std::ptr::eq(self.0.as_ptr(), other.0.as_ptr())
    }

    /// The messages, for tests.
    #[cfg(test)]
    pub(super) fn decode(&self) -> Vec<Event> {
        let mut rest = &self.0[..];
        let mut events = Vec::new();
        while let [0, a, b, c, d, after @ ..] = rest {
            let (message, next) = after.split_at(u32::from_be_bytes([*a, *b, *c, *d]) as usize);
            let response = v1::SubscribeOrderBooksResponse::decode(message).expect("our own encoding");
            events.push(response.event.expect("our own encoding"));
            rest = next;
        }
        assert!(rest.is_empty(), "whole messages");
        events
    }
}

/// Appends a message behind its prefix.
fn put(response: &v1::SubscribeOrderBooksResponse, bytes: &mut Vec<u8>) {
    let length = response.encoded_len();
    bytes.reserve(PREFIX_BYTES + length);
    bytes.push(0);
    // A message is far smaller: what is kept of a book, and what a book may hold, are bounded.
    bytes.extend(u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    response.encode_raw(bytes);
}

/// Encodes updates one after the other, with as good as no allocation for each.
#[derive(Debug, Default)]
pub(super) struct UpdateEncoder {
    response: v1::SubscribeOrderBooksResponse,
    bytes: Vec<u8>,
}

impl UpdateEncoder {
    /// The message for a reader that holds `held`.
    pub(super) fn encode(&mut self, symbol: &str, held: u64, update: &Update) -> &[u8] {
        let event = self
            .response
            .event
            .get_or_insert_with(|| Event::Update(v1::BookUpdate::default()));
        // It never holds anything else.
        if let Event::Update(message) = event {
            symbol.clone_into(&mut message.symbol);
            message.prev_book_seq = held;
            message.book_seq = update.book_seq;
            message.event_seq = update.event_seq;
            message.bids.clear();
            message.bids.extend(update.bids.iter().map(v1::PriceLevel::from));
            message.asks.clear();
            message.asks.extend(update.asks.iter().map(v1::PriceLevel::from));
            message.trades.clear();
            message
                .trades
                .extend(update.trades.iter().map(|print| print.message(symbol)));
            message.phase = wire_phase(update.phase);
        }
        self.bytes.clear();
        put(&self.response, &mut self.bytes);
        &self.bytes
    }
}

/// Levels as messages.
pub(super) fn price_levels<'a>(levels: impl IntoIterator<Item = &'a Level>) -> Vec<v1::PriceLevel> {
    levels.into_iter().map(v1::PriceLevel::from).collect()
}
