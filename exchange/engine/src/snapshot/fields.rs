//! Protobuf written field by field, for messages that there may be millions of: without a message in between and
//! without asking for room byte by byte.

/// Most bytes of a message: twelve fields of 64 bits and a client id come to less.
const BYTES_MAX: usize = 192;

/// The fields of one message, by tag. Those that say 0 or nothing are left out, as prost does it.
pub(super) struct Fields {
    bytes: [u8; BYTES_MAX],
    length: usize,
}

impl Fields {
    /// None yet.
    pub(super) fn new() -> Self {
        Self {
            bytes: [0; BYTES_MAX],
            length: 0,
        }
    }

    /// A `bool`, a `uint32`, a `uint64`, or an `int64` as its two's complement.
    pub(super) fn number(&mut self, tag: u8, value: impl Into<u64>) -> &mut Self {
        let value = value.into();
        if value != 0 {
            self.byte(tag << 3);
            self.varint(value);
        }
        self
    }

    /// A `sint64`.
    pub(super) fn signed(&mut self, tag: u8, value: i64) -> &mut Self {
        self.number(tag, (value << 1 ^ value >> 63) as u64)
    }

    /// A `string`.
    pub(super) fn text(&mut self, tag: u8, text: &str) -> &mut Self {
        if !text.is_empty() {
            self.byte(tag << 3 | 2);
            self.varint(text.len() as u64);
            let end = self.length + text.len();
            self.bytes[self.length..end].copy_from_slice(text.as_bytes());
            self.length = end;
        }
        self
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.byte(value as u8 | 0x80);
            value >>= 7;
        }
        self.byte(value as u8);
    }

    fn byte(&mut self, byte: u8) {
        self.bytes[self.length] = byte;
        self.length += 1;
    }
}

impl super::encode::Record for Fields {
    fn append(&self, bytes: &mut Vec<u8>) {
        prost::encoding::encode_varint(self.length as u64, bytes);
        bytes.extend_from_slice(&self.bytes[..self.length]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::super::encode::Record;
    use super::super::message::Order;
    use super::*;

    fn any_or_extreme<T: Copy + std::fmt::Debug + Arbitrary + 'static>(extremes: [T; 3]) -> impl Strategy<Value = T> {
        prop_oneof![any::<T>(), prop::sample::select(extremes.to_vec())]
    }

    proptest! {
        /// As prost writes the same message.
        #[test]
        fn fields_are_protobuf(
            instrument in any_or_extreme([0, 127, u32::MAX]),
            order_id in any_or_extreme([0, 128, u64::MAX]),
            client_order_id in "[ -~]{0,36}",
            price_e4 in any_or_extreme([0, i64::MIN, i64::MAX]),
            quantity in any_or_extreme([0, i64::MIN, i64::MAX]),
            post_only in any::<bool>(),
            event_seq in any_or_extreme([0, 1, u64::MAX]),
        ) {
            let mut fields = Fields::new();
            fields
                .number(1, instrument)
                .number(3, order_id)
                .text(5, &client_order_id)
                .signed(6, price_e4)
                .number(7, quantity as u64)
                .number(10, post_only)
                .number(12, event_seq);
            let mut bytes = Vec::new();
            fields.append(&mut bytes);
            let order = Order {
                instrument, order_id, client_order_id, price_e4, quantity, post_only, event_seq, ..Order::default()
            };
            prop_assert_eq!(bytes, order.encode_length_delimited_to_vec());
        }
    }
}
