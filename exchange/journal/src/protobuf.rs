//! Fields of protobuf messages, written from values without making the messages: every accepted command
//! passes here several times, and messages of prost cost it two walks and copies of their strings. The tests
//! of those who write with it compare with prost, byte by byte.

const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const LENGTH_DELIMITED: u8 = 2;

/// A field's number, at most 15, and how its value is written.
#[inline]
fn tag(out: &mut Vec<u8>, field: u8, wire_type: u8) {
    out.push(field << 3 | wire_type);
}

/// Groups of 7 bits, the lowest first; all but the last carry a mark. Eight of them are spread at once, and
/// stay in a register until they are whole: a loop takes nine turns for a time.
#[inline]
fn varint(out: &mut Vec<u8>, value: u64) {
    const MARKS: u64 = 0x8080_8080_8080_8080;
    if value < 0x80 {
        out.push(value as u8);
        return;
    }
    let low = value & ((1 << 56) - 1);
    let low = low & 0x0fff_ffff | (low & 0x00ff_ffff_f000_0000) << 4;
    let low = low & 0x0000_3fff_0000_3fff | (low & 0x0fff_c000_0fff_c000) << 2;
    let low = low & 0x007f_007f_007f_007f | (low & 0x3f80_3f80_3f80_3f80) << 1;
    let high = (value >> 56) as u8;
    if high == 0 {
        let length = (u64::BITS - value.leading_zeros()).div_ceil(7);
        let marks = MARKS & ((1 << (8 * (length - 1))) - 1);
        // Of a known length, a copy is one move; of any length, a call.
        out.extend_from_slice(&(low | marks).to_le_bytes());
        out.truncate(out.len() - (8 - length as usize));
    } else {
        out.extend_from_slice(&(low | MARKS).to_le_bytes());
        out.push(high);
        if high >= 0x80 {
            out.push(1);
        }
    }
}

/// A field that is left out when it is 0, as those of proto3 are.
#[inline]
pub(crate) fn number(out: &mut Vec<u8>, field: u8, value: u64) {
    if value != 0 {
        present(out, field, value);
    }
}

/// A field that is there even when it is 0: `optional`, or of a `oneof`.
#[inline]
pub(crate) fn present(out: &mut Vec<u8>, field: u8, value: u64) {
    tag(out, field, VARINT);
    varint(out, value);
}

/// An int64.
#[inline]
pub(crate) fn signed(out: &mut Vec<u8>, field: u8, value: i64) {
    number(out, field, value.cast_unsigned());
}

/// A sint64 as the number that stands for it.
#[inline]
pub(crate) fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}

/// An sfixed64.
#[inline]
pub(crate) fn fixed(out: &mut Vec<u8>, field: u8, value: i64) {
    if value != 0 {
        tag(out, field, FIXED64);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

#[inline]
pub(crate) fn enumeration(out: &mut Vec<u8>, field: u8, value: impl Into<i32>) {
    signed(out, field, value.into().into());
}

/// A string that is left out when it is empty.
#[inline]
pub(crate) fn text(out: &mut Vec<u8>, field: u8, value: &str) {
    if !value.is_empty() {
        present_text(out, field, value);
    }
}

/// A string of a `oneof`.
pub(crate) fn present_text(out: &mut Vec<u8>, field: u8, value: &str) {
    tag(out, field, LENGTH_DELIMITED);
    varint(out, value.len() as u64);
    out.extend_from_slice(value.as_bytes());
}

/// A message as a field.
pub(crate) fn message(out: &mut Vec<u8>, field: u8, write: impl FnOnce(&mut Vec<u8>)) {
    tag(out, field, LENGTH_DELIMITED);
    delimited(out, write);
}

/// A message after its length, which is known only when it is written.
pub(crate) fn delimited(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.push(0);
    write(out);
    let length = out.len() - start - 1;
    // Of bounded fields only: two bytes are enough.
    assert!(length < 1 << 14, "a message of {length} bytes");
    if length < 0x80 {
        out[start] = length as u8;
    } else {
        out[start] = length as u8 | 0x80;
        out.insert(start + 1, (length >> 7) as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every length, and both ends of it.
    #[test]
    fn varints_as_prost_writes_them() {
        let edges = (0..64).flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit, (1 << bit) + 1]);
        for value in edges.chain([u64::MAX, 0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210]) {
            let (mut ours, mut theirs) = (vec![7], vec![7]);
            varint(&mut ours, value);
            prost::encoding::encode_varint(value, &mut theirs);
            assert_eq!(ours, theirs, "{value:#x}");
        }
    }
}
