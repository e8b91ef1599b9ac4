//! Which prices of one side have a level: from a price to its level, and from a price to the next.
//!
//! Prices are counted in ticks, as ranks: lower is better. Ranks are cut into chunks of
//! [`CHUNK_RANKS`]. A chunk with a page is an array with a bitmap: a level is found, added and removed
//! in constant time, and the next one by counting zeros. Levels in chunks without a page lie in an
//! ordered map. Pages are given out while levels are dense enough to pay for them, so that a book keeps
//! its speed wherever its prices move, nothing is ever rebuilt, and prices all over the range cost
//! memory in proportion to the levels.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

use crate::order::NIL;

/// Ranks of a chunk are told apart by so many bits.
const CHUNK_BITS: u32 = 10;
/// Ranks of a chunk.
const CHUNK_RANKS: usize = 1 << CHUNK_BITS;
const WORDS: usize = CHUNK_RANKS / 64;
/// Pages that a ladder may have however few its levels; they stay when they are empty.
const PAGES_FREE: usize = 4;
/// Levels that pay for one page more, of 4 KiB.
const LEVELS_PER_PAGE: usize = 16;
/// Chunks whose pages are found at once, at least and at most.
const RECENT_MIN: usize = 4;
const RECENT_MAX: usize = 4096;

/// A chunk's levels by rank.
#[derive(Debug)]
struct Page {
    /// Words with a bit set.
    summary: u64,
    words: [u64; WORDS],
    levels: [u32; CHUNK_RANKS],
}

/// The page of a chunk, if `chunk` is the one that is looked for.
#[derive(Clone, Copy, Debug)]
struct Recent {
    chunk: i64,
    page: u32,
}

/// No chunk has this number.
const NOWHERE: Recent = Recent {
    chunk: i64::MAX,
    page: 0,
};

/// Levels of one side by rank.
#[derive(Debug)]
pub(crate) struct Ladder {
    /// Pages by the low bits of their chunk: the first place to look, and most often the last.
    recent: Vec<Recent>,
    pages: Vec<Box<Page>>,
    vacant: Vec<u32>,
    /// All chunks with a page.
    near: BTreeMap<i64, u32>,
    /// Levels of all other chunks.
    far: BTreeMap<i64, u32>,
    len: usize,
}

fn chunk_of(rank: i64) -> i64 {
    rank >> CHUNK_BITS
}

fn place_of(rank: i64) -> usize {
    rank as usize % CHUNK_RANKS
}

fn rank_of(chunk: i64, place: usize) -> i64 {
    chunk << CHUNK_BITS | place as i64
}

impl Page {
    fn set(&mut self, place: usize, level: u32) {
        self.levels[place] = level;
        self.words[place / 64] |= 1 << (place % 64);
        self.summary |= 1 << (place / 64);
    }

    fn clear(&mut self, place: usize) {
        self.levels[place] = NIL;
        let word = &mut self.words[place / 64];
        *word &= !(1 << (place % 64));
        if *word == 0 {
            self.summary &= !(1 << (place / 64));
        }
    }

    /// The first taken place from `place` on.
    fn from(&self, place: usize) -> Option<usize> {
        let word = self.words[place / 64] >> (place % 64);
        if word != 0 {
            return Some(place + word.trailing_zeros() as usize);
        }
        let above = self.summary & (!1_u64).unbounded_shl((place / 64) as u32);
        let at = above.trailing_zeros() as usize;
        (above != 0).then(|| at * 64 + self.words[at].trailing_zeros() as usize)
    }

    /// The last taken place up to `place`.
    fn until(&self, place: usize) -> Option<usize> {
        let word = self.words[place / 64] << (63 - place % 64);
        if word != 0 {
            return Some(place - word.leading_zeros() as usize);
        }
        let below = self.summary & !(!0_u64 << (place / 64));
        let at = 63 - below.leading_zeros() as usize % 64;
        (below != 0).then(|| at * 64 + 63 - self.words[at].leading_zeros() as usize)
    }
}

impl Ladder {
    /// Without levels.
    pub(crate) fn new() -> Self {
        Self {
            recent: vec![NOWHERE; RECENT_MIN],
            pages: Vec::new(),
            vacant: Vec::new(),
            near: BTreeMap::new(),
            far: BTreeMap::new(),
            len: 0,
        }
    }

    /// How many levels there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The level of a rank, or [`NIL`].
    #[inline]
    pub(crate) fn get(&self, rank: i64) -> u32 {
        let recent = self.recent[chunk_of(rank) as usize & (self.recent.len() - 1)];
        if recent.chunk == chunk_of(rank) {
            return self.pages[recent.page as usize].levels[place_of(rank)];
        }
        self.get_elsewhere(rank)
    }

    #[cold]
    fn get_elsewhere(&self, rank: i64) -> u32 {
        match self.near.get(&chunk_of(rank)) {
            Some(page) => self.pages[*page as usize].levels[place_of(rank)],
            None => self.far.get(&rank).copied().unwrap_or(NIL),
        }
    }

    /// Adds the level of a rank that has none.
    #[inline]
    pub(crate) fn insert(&mut self, rank: i64, level: u32) {
        self.len += 1;
        match self.page_mut(rank) {
            Some(page) => page.set(place_of(rank), level),
            None => self.insert_far(rank, level),
        }
    }

    /// Removes the level of a rank that has one.
    #[inline]
    pub(crate) fn remove(&mut self, rank: i64) {
        self.len -= 1;
        match self.page_mut(rank) {
            Some(page) => {
                page.clear(place_of(rank));
                if page.summary == 0 {
                    self.release(chunk_of(rank));
                }
            }
            None => {
                self.far.remove(&rank);
            }
        }
    }

    /// The next worse level than a rank, with its rank.
    #[inline]
    pub(crate) fn after(&self, rank: i64) -> Option<(i64, u32)> {
        let chunk = chunk_of(rank);
        let recent = self.recent[chunk as usize & (self.recent.len() - 1)];
        if recent.chunk == chunk {
            let page = &self.pages[recent.page as usize];
            let place = place_of(rank);
            if place + 1 < CHUNK_RANKS
                && let Some(place) = page.from(place + 1)
            {
                return Some((rank_of(chunk, place), page.levels[place]));
            }
        }
        self.after_elsewhere(rank)
    }

    #[cold]
    fn after_elsewhere(&self, rank: i64) -> Option<(i64, u32)> {
        let far = self.far.range((Excluded(rank), Unbounded)).next();
        let far = far.map(|(rank, level)| (*rank, *level));
        let first = chunk_of(rank.saturating_add(1));
        for (chunk, page) in self.near.range(first..) {
            if far.is_some_and(|(far, _)| far < rank_of(*chunk, 0)) {
                break;
            }
            let page = &self.pages[*page as usize];
            let start = if *chunk == first {
                place_of(rank.saturating_add(1))
            } else {
                0
            };
            if let Some(place) = page.from(start) {
                return Some((rank_of(*chunk, place), page.levels[place]));
            }
        }
        far
    }

    /// The next better level than a rank, with its rank.
    pub(crate) fn before(&self, rank: i64) -> Option<(i64, u32)> {
        let far = self.far.range(..rank).next_back();
        let far = far.map(|(rank, level)| (*rank, *level));
        let last = chunk_of(rank - 1);
        for (chunk, page) in self.near.range(..=last).rev() {
            if far.is_some_and(|(far, _)| far >= rank_of(*chunk + 1, 0)) {
                break;
            }
            let page = &self.pages[*page as usize];
            let end = if *chunk == last {
                place_of(rank - 1)
            } else {
                CHUNK_RANKS - 1
            };
            if let Some(place) = page.until(end) {
                return Some((rank_of(*chunk, place), page.levels[place]));
            }
        }
        far
    }

    /// The best level, with its rank.
    pub(crate) fn first(&self) -> Option<(i64, u32)> {
        self.after(i64::MIN)
    }

    #[inline]
    fn page_mut(&mut self, rank: i64) -> Option<&mut Page> {
        let chunk = chunk_of(rank);
        let at = chunk as usize & (self.recent.len() - 1);
        let recent = self.recent[at];
        if recent.chunk == chunk {
            return Some(&mut self.pages[recent.page as usize]);
        }
        let page = self.page_elsewhere(chunk)?;
        Some(&mut self.pages[page as usize])
    }

    #[cold]
    fn page_elsewhere(&mut self, chunk: i64) -> Option<u32> {
        let page = *self.near.get(&chunk)?;
        self.remember(chunk, page);
        Some(page)
    }

    fn remember(&mut self, chunk: i64, page: u32) {
        let at = chunk as usize & (self.recent.len() - 1);
        self.recent[at] = Recent { chunk, page };
    }

    #[cold]
    fn insert_far(&mut self, rank: i64, level: u32) {
        if self.near.len() >= PAGES_FREE + self.len / LEVELS_PER_PAGE {
            self.far.insert(rank, level);
            return;
        }
        let chunk = chunk_of(rank);
        let page = self.new_page();
        self.pages[page as usize].set(place_of(rank), level);
        let moved = rank_of(chunk, 0)..rank_of(chunk + 1, 0);
        while let Some((&rank, &level)) = self.far.range(moved.clone()).next() {
            self.far.remove(&rank);
            self.pages[page as usize].set(place_of(rank), level);
        }
        self.near.insert(chunk, page);
        if self.near.len() > self.recent.len() && self.recent.len() < RECENT_MAX {
            self.recent = vec![NOWHERE; 2 * self.recent.len()];
        }
        self.remember(chunk, page);
    }

    fn new_page(&mut self) -> u32 {
        match self.vacant.pop() {
            Some(page) => page,
            None => {
                self.pages.push(Box::new(Page {
                    summary: 0,
                    words: [0; WORDS],
                    levels: [NIL; CHUNK_RANKS],
                }));
                (self.pages.len() - 1) as u32
            }
        }
    }

    /// A chunk's last level went: its page goes if it is not one of the few that may stay.
    #[cold]
    fn release(&mut self, chunk: i64) {
        if self.near.len() <= PAGES_FREE {
            return;
        }
        if let Some(page) = self.near.remove(&chunk) {
            self.vacant.push(page);
        }
        let at = chunk as usize & (self.recent.len() - 1);
        if self.recent[at].chunk == chunk {
            self.recent[at] = NOWHERE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::PRICE_E4_MAX;
    use proptest::prelude::*;

    /// Ranks that lie close together, at the ends of chunks, far apart, and at the ends of the range.
    fn ranks() -> impl Strategy<Value = i64> {
        let chunk = CHUNK_RANKS as i64;
        prop_oneof![
            -40..40_i64,
            (-30..30_i64, -2..2_i64).prop_map(move |(chunks, near)| chunks * chunk + near),
            (-30..30_i64).prop_map(move |chunks| chunks * (chunk - 1)),
            -PRICE_E4_MAX..=PRICE_E4_MAX,
            (0..5_i64).prop_map(|near| PRICE_E4_MAX - near),
            (0..5_i64).prop_map(|near| near - PRICE_E4_MAX),
        ]
    }

    proptest! {
        #[test]
        fn a_ladder_is_an_ordered_map(steps in prop::collection::vec((ranks(), 0..3_u8), 1..400)) {
            let mut ladder = Ladder::new();
            let mut model = BTreeMap::new();
            for (level, (rank, remove)) in steps.into_iter().enumerate() {
                match model.remove(&rank) {
                    Some(_) if remove > 0 => ladder.remove(rank),
                    Some(level) => {
                        model.insert(rank, level);
                    }
                    None => {
                        ladder.insert(rank, level as u32);
                        model.insert(rank, level as u32);
                    }
                }
                if remove == 2 && let Some((first, _)) = model.pop_first() {
                    ladder.remove(first);
                }
                prop_assert_eq!(ladder.len(), model.len());
                prop_assert_eq!(ladder.get(rank), model.get(&rank).copied().unwrap_or(NIL));
                let after = model.range(rank + 1..).next().map(|(rank, level)| (*rank, *level));
                prop_assert_eq!(ladder.after(rank), after);
                let before = model.range(..rank).next_back().map(|(rank, level)| (*rank, *level));
                prop_assert_eq!(ladder.before(rank), before);
                prop_assert_eq!(ladder.first(), model.first_key_value().map(|(rank, level)| (*rank, *level)));
            }
            let mut all = Vec::new();
            let mut next = ladder.first();
            while let Some((rank, level)) = next {
                all.push((rank, level));
                next = ladder.after(rank);
            }
            prop_assert_eq!(all, model.into_iter().collect::<Vec<_>>());
        }
    }
}
