//! The messages of a channel in the order in which its readers are sent them, as bytes: what follows one
//! another is one slice, whoever reads how many of them at once.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;

/// Bytes of a segment, unless a single message is larger: what one DATA frame of HTTP/2 takes.
pub(super) const SEGMENT_BYTES: usize = 16_384;
/// Up to so many bytes are copied rather than shared: cheaper than the count of who shares them, which all
/// readers write to.
const COPIED_BYTES_MAX: usize = 2_048;

/// Offsets go on from 0 and are never reused.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// Segments that are full, by the offset of their end.
    sealed: VecDeque<(u64, Bytes)>,
    /// The segment that grows.
    open: Vec<u8>,
    /// Offset of its first byte.
    open_start: u64,
}

impl Log {
    fn start(&self) -> u64 {
        self.sealed
            .front()
            .map_or(self.open_start, |(end, segment)| end - segment.len() as u64)
    }

    /// Appends a message; returns where it is.
    pub(super) fn append(&mut self, message: &[u8]) -> Range<u64> {
        if self.open.len() + message.len() > SEGMENT_BYTES && !self.open.is_empty() {
            let mut full = std::mem::take(&mut self.open);
            full.shrink_to_fit();
            self.open_start += full.len() as u64;
            self.sealed.push_back((self.open_start, full.into()));
        }
        let from = self.open_start + self.open.len() as u64;
        self.open.extend_from_slice(message);
        from..from + message.len() as u64
    }

    /// Whether a message is kept.
    pub(super) fn has(&self, message: &Range<u64>) -> bool {
        !message.is_empty() && message.start >= self.start()
    }

    /// Drops the segments that end at an offset, or before.
    pub(super) fn forget(&mut self, to: u64) {
        while self.sealed.front().is_some_and(|(end, _)| *end <= to) {
            self.sealed.pop_front();
        }
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        self.sealed.clear();
        self.open_start += self.open.len() as u64;
        self.open = Vec::new();
    }

    /// Hands out what lies between two offsets, all of which is kept.
    pub(super) fn read(&self, messages: Range<u64>, out: &mut Outgoing) {
        if messages.is_empty() {
            return;
        }
        // Within the memory of this machine.
        #[allow(clippy::cast_possible_truncation)]
        let within = |start: u64, length: usize| {
            let index = |offset: u64| (offset.saturating_sub(start) as usize).min(length);
            index(messages.start)..index(messages.end)
        };
        let first = self.sealed.partition_point(|(end, _)| *end <= messages.start);
        for (end, segment) in self.sealed.range(first..) {
            let part = within(end - segment.len() as u64, segment.len());
            if part.is_empty() {
                return;
            }
            if part.len() <= COPIED_BYTES_MAX {
                out.copy(&segment[part]);
            } else {
                out.share(segment.slice(part));
            }
        }
        out.copy(&self.open[within(self.open_start, self.open.len())]);
    }
}

/// Messages that go out to one reader next.
#[derive(Debug)]
pub(super) struct Outgoing {
    chunk_bytes: usize,
    chunks: VecDeque<Bytes>,
    /// The last chunk, which grows.
    open: Vec<u8>,
}

impl Outgoing {
    /// In chunks of about so many bytes.
    pub(super) fn new(chunk_bytes: usize) -> Self {
        Self {
            chunk_bytes,
            chunks: VecDeque::new(),
            open: Vec::new(),
        }
    }

    pub(super) fn chunk_bytes(&self) -> usize {
        self.chunk_bytes
    }

    #[cfg(test)]
    pub(super) fn set_chunk_bytes(&mut self, bytes: usize) {
        self.chunk_bytes = bytes;
    }

    /// Whether there is a whole chunk.
    pub(super) fn is_full(&self) -> bool {
        !self.chunks.is_empty() || self.open.len() >= self.chunk_bytes
    }

    pub(super) fn copy(&mut self, messages: &[u8]) {
        if self.open.len() + messages.len() > self.chunk_bytes {
            self.close();
        }
        self.open.extend_from_slice(messages);
    }

    pub(super) fn share(&mut self, messages: Bytes) {
        self.close();
        self.chunks.push_back(messages);
    }

    /// Small ones are copied, behind others.
    pub(super) fn push(&mut self, messages: &Bytes) {
        if messages.len() <= COPIED_BYTES_MAX {
            self.copy(messages);
        } else {
            self.share(messages.clone());
        }
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            self.chunks.push_back(std::mem::take(&mut self.open).into());
        }
    }

    /// The next chunk, whole or not.
    pub(super) fn pop(&mut self) -> Option<Bytes> {
        if self.chunks.is_empty() {
            self.close();
        }
        self.chunks.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever is appended, forgotten and read in which chunks: what comes out is what went in.
        #[test]
        fn what_is_read_is_what_was_appended(
            lengths in prop::collection::vec(prop_oneof![20 => 1..400usize, 1 => 1..40_000usize], 1..300),
            forget in 0..300usize,
            cuts in prop::collection::vec(0..300usize, 0..8),
            chunk_bytes in prop_oneof![Just(1), Just(1_000), Just(SEGMENT_BYTES)],
        ) {
            let (mut log, mut all, mut messages) = (Log::default(), Vec::new(), Vec::new());
            log.append(b"cleared");
            log.clear();
            let base = log.open_start;
            for (index, length) in lengths.into_iter().enumerate() {
                let message = vec![u8::try_from(index % 251).expect("small"); length];
                let range = log.append(&message);
                prop_assert_eq!(range.start, base + all.len() as u64);
                all.extend(message);
                prop_assert_eq!(range.end, base + all.len() as u64);
                messages.push(range);
            }
            let forgotten = forget.min(messages.len());
            if let Some(last) = messages[..forgotten].last() {
                log.forget(last.end);
            }
            prop_assert!(messages[forgotten..].iter().all(|message| log.has(message)));
            for (end, segment) in &log.sealed {
                prop_assert!(segment.len() <= SEGMENT_BYTES || messages.iter().any(|message| message.end == *end));
            }
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.clamp(forgotten, messages.len())).collect();
            cuts.extend([forgotten, messages.len()]);
            cuts.sort_unstable();
            let mut out = Outgoing::new(chunk_bytes);
            let mut read = Vec::new();
            for pair in cuts.windows(2) {
                let part = &messages[pair[0]..pair[1]];
                if let [first, ..] = part {
                    log.read(first.start..part[part.len() - 1].end, &mut out);
                }
                while out.is_full() && let Some(chunk) = out.pop() {
                    prop_assert!(chunk.len() <= SEGMENT_BYTES || part.iter().any(|message| message.end - message.start > SEGMENT_BYTES as u64));
                    read.extend(chunk);
                }
            }
            while let Some(chunk) = out.pop() {
                read.extend(chunk);
            }
            let from = messages.get(forgotten).map_or(all.len(), |message| (message.start - base) as usize);
            prop_assert_eq!(read, &all[from..]);
        }
    }
}
