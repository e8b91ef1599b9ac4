//! Encoded records on their way to the disk.

use crate::MAX_RECORD_BYTES;

/// Encoded records of consecutive events that are not durable yet.
#[derive(Debug, Default, Clone)]
pub struct Batch {
    first_event_seq: u64,
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Batch {
    /// An empty batch with room for so many records of so many bytes together.
    pub fn with_capacity(records: usize, bytes: usize) -> Self {
        Self {
            first_event_seq: 0,
            bytes: Vec::with_capacity(bytes),
            ends: Vec::with_capacity(records),
        }
    }

    /// Adds the record of one event, which `encode` appends to the bytes that it is given.
    ///
    /// # Panics
    ///
    /// If the event does not follow the one before it, if `encode` takes bytes away, or if the record
    /// is longer than [`MAX_RECORD_BYTES`]: all three would be a bug of the caller, and a journal with a
    /// gap or a record that no reader takes is the one thing that must never be written.
    pub fn push_with(&mut self, event_seq: u64, encode: impl FnOnce(&mut Vec<u8>)) {
        assert!(event_seq > 0, "event numbers start at 1");
        if self.ends.is_empty() {
            self.first_event_seq = event_seq;
        }
        assert_eq!(
            event_seq,
            self.first_event_seq + self.ends.len() as u64,
            "event numbers follow one another"
        );
        let start = self.bytes.len();
        encode(&mut self.bytes);
        let length = self.bytes.len().checked_sub(start).expect("an encoder only appends");
        assert!(
            length <= MAX_RECORD_BYTES,
            "a record of {length} bytes is longer than any reader takes"
        );
        self.ends.push(self.bytes.len());
    }

    /// Adds the record of one event as the bytes that it is. Panics as [`Batch::push_with`].
    pub fn push_bytes(&mut self, event_seq: u64, record: &[u8]) {
        self.push_with(event_seq, |bytes| bytes.extend_from_slice(record));
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// How many bytes the records have together, without what the journal adds to each.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// Event number of the first record; 0 in an empty batch.
    pub fn first_event_seq(&self) -> u64 {
        self.first_event_seq
    }

    /// The records in order, each with its event number.
    pub fn records(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let ranges = starts.zip(self.ends.iter().copied());
        (self.first_event_seq..).zip(ranges.map(|(start, end)| &self.bytes[start..end]))
    }

    /// Takes all records out and keeps the memory for the next ones.
    pub fn clear(&mut self) {
        self.first_event_seq = 0;
        self.bytes.clear();
        self.ends.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_in_order() {
        let mut batch = Batch::default();
        batch.push_bytes(7, b"one");
        batch.push_bytes(8, b"");
        batch.push_with(9, |bytes| bytes.extend_from_slice(b"three"));
        let records: Vec<(u64, &[u8])> = batch.records().collect();
        assert_eq!(records, [(7, &b"one"[..]), (8, b""), (9, b"three")]);
        batch.clear();
        assert!(batch.is_empty());
        batch.push_bytes(3, b"x");
        assert_eq!(batch.first_event_seq(), 3);
    }

    #[test]
    #[should_panic(expected = "event numbers follow one another")]
    fn a_gap_is_a_bug() {
        let mut batch = Batch::default();
        batch.push_bytes(1, b"");
        batch.push_bytes(3, b"");
    }
}
