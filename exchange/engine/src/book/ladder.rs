//! Which prices of one side have a level: from a price to its level, and from a price to the next.
//!
//! Prices are counted in ticks, as ranks: lower is better. A radix tree whose nodes are arrays with a
//! bitmap: a page holds the levels of 1,024 ranks, a region the pages of 1,024 such chunks, and an
//! ordered map all regions. A level is found, added and removed in constant time, and the next one by
//! counting zeros. Nothing is ever rebuilt, so a book keeps its speed wherever its prices move.
//!
//! Pages are given out while levels are dense enough to pay for them. Levels of chunks without a page
//! lie in an ordered map of their own, so that prices all over the range cost memory in proportion to
//! the levels.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

use crate::order::NIL;

/// Bits that tell the places of a node apart.
const PLACE_BITS: u32 = 10;
/// Places of a node: 4 KiB.
const PLACES: usize = 1 << PLACE_BITS;
const WORDS: usize = PLACES / 64;
/// Nodes that a ladder may have however few its levels.
const NODES_FREE: usize = 4;
/// Levels that pay for one node more.
const LEVELS_PER_NODE: usize = 12;
/// Levels that make a region worth a node.
const LEVELS_PER_REGION: usize = 12;
/// Nodes up to which a page stays when it is empty: the touch may lie at the end of a chunk, and come and go.
const NODES_KEPT: usize = 3;
/// Regions that stay when they are empty.
const REGIONS_KEPT: usize = 2;
/// Regions that are found without a search.
const RECENT: usize = 8;

/// Which places of a node are taken.
#[derive(Clone, Copy, Debug)]
struct Taken {
    /// Words with a bit set.
    summary: u64,
    words: [u64; WORDS],
}

/// A region, or a page.
#[derive(Clone, Copy, Debug)]
struct Node {
    taken: Taken,
    /// Nodes in a region, levels in a page; [`NIL`] for none.
    places: [u32; PLACES],
}

/// A region and its node.
#[derive(Clone, Copy, Debug)]
struct Recent {
    region: i64,
    node: u32,
}

/// No rank lies in this region.
const NOWHERE: Recent = Recent {
    region: i64::MAX,
    node: 0,
};

/// Where the level of a rank is kept, as found once for all that is done there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) rank: i64,
    /// Its page if that is at hand, or [`NIL`].
    page: u32,
}

impl Place {
    /// Of no level.
    pub(crate) const NOWHERE: Self = Self {
        rank: i64::MAX,
        page: NIL,
    };
}

/// Levels of one side by rank.
#[derive(Debug)]
pub(crate) struct Ladder {
    /// Regions by the low bits of their number: the first place to look, and most often the last.
    recent: [Recent; RECENT],
    nodes: Vec<Node>,
    /// Nodes without anything in them.
    vacant: Vec<u32>,
    regions: BTreeMap<i64, u32>,
    /// Levels of chunks without a page.
    far: BTreeMap<i64, u32>,
    len: usize,
}

fn region_of(rank: i64) -> i64 {
    rank >> (2 * PLACE_BITS)
}

/// Place of a rank's page in its region.
fn chunk_of(rank: i64) -> usize {
    (rank >> PLACE_BITS) as usize % PLACES
}

/// Place of a rank's level in its page.
fn place_of(rank: i64) -> usize {
    rank as usize % PLACES
}

fn rank_of(region: i64, chunk: usize, place: usize) -> i64 {
    (region << (2 * PLACE_BITS)) + ((chunk << PLACE_BITS) + place) as i64
}

impl Taken {
    const NOTHING: Self = Self {
        summary: 0,
        words: [0; WORDS],
    };

    #[inline(always)]
    fn set(&mut self, place: usize) {
        self.words[place / 64] |= 1 << (place % 64);
        self.summary |= 1 << (place / 64);
    }

    #[inline(always)]
    fn clear(&mut self, place: usize) {
        let word = &mut self.words[place / 64];
        *word &= !(1 << (place % 64));
        self.summary &= !(u64::from(*word == 0) << (place / 64));
    }

    /// The first taken place behind `place`.
    #[inline(always)]
    fn after(&self, place: usize) -> Option<usize> {
        let word = self.words[place / 64] & (!1 << (place % 64));
        if word != 0 {
            return Some(place / 64 * 64 + word.trailing_zeros() as usize);
        }
        self.first_in(self.summary & (!1 << (place / 64)))
    }

    #[inline]
    fn first(&self) -> Option<usize> {
        self.first_in(self.summary)
    }

    #[inline]
    fn first_in(&self, summary: u64) -> Option<usize> {
        let at = summary.trailing_zeros() as usize % WORDS;
        (summary != 0).then(|| at * 64 + self.words[at].trailing_zeros() as usize)
    }

    /// The last taken place before `place`.
    fn before(&self, place: usize) -> Option<usize> {
        let word = self.words[place / 64] & !(!0 << (place % 64));
        if word != 0 {
            return Some(place / 64 * 64 + word.ilog2() as usize);
        }
        self.last_in(self.summary & !(!0 << (place / 64)))
    }

    fn last(&self) -> Option<usize> {
        self.last_in(self.summary)
    }

    fn last_in(&self, summary: u64) -> Option<usize> {
        let at = summary.checked_ilog2()? as usize;
        Some(at * 64 + self.words[at].ilog2() as usize)
    }
}

impl Node {
    #[inline(always)]
    fn set(&mut self, place: usize, to: u32) {
        self.places[place] = to;
        self.taken.set(place);
    }

    #[inline(always)]
    fn clear(&mut self, place: usize) {
        self.places[place] = NIL;
        self.taken.clear(place);
    }
}

impl Ladder {
    /// Without levels.
    pub(crate) fn new() -> Self {
        Self {
            recent: [NOWHERE; RECENT],
            nodes: Vec::new(),
            vacant: Vec::new(),
            regions: BTreeMap::new(),
            far: BTreeMap::new(),
            len: 0,
        }
    }

    /// How many levels there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Where the level of a rank is or would be.
    #[inline(always)]
    pub(crate) fn place(&self, rank: i64) -> Place {
        let page = self.page_at_hand(rank);
        Place { rank, page }
    }

    /// The level at a place, or [`NIL`].
    #[inline(always)]
    pub(crate) fn get(&self, place: Place) -> u32 {
        // That NIL is no page is part of the check of bounds, here and below.
        match self.nodes.get(place.page as usize) {
            Some(page) => page.places[place_of(place.rank)],
            None => self.get_elsewhere(place.rank),
        }
    }

    #[cold]
    fn get_elsewhere(&self, rank: i64) -> u32 {
        match self.page(rank) {
            NIL => self.far.get(&rank).copied().unwrap_or(NIL),
            page => self.nodes[page as usize].places[place_of(rank)],
        }
    }

    /// Adds the level at a place that has none; tells where it is now.
    #[inline(always)]
    pub(crate) fn insert(&mut self, place: Place, level: u32) -> Place {
        self.len += 1;
        match self.nodes.get_mut(place.page as usize) {
            Some(page) if page.taken.summary != 0 => {
                page.set(place_of(place.rank), level);
                place
            }
            _ => self.insert_elsewhere(place.rank, level),
        }
    }

    #[cold]
    fn insert_elsewhere(&mut self, rank: i64, level: u32) -> Place {
        let page = self.page_for(rank);
        if page == NIL {
            self.far.insert(rank, level);
        } else {
            let node = self.region(region_of(rank));
            self.nodes[node as usize].taken.set(chunk_of(rank));
            self.nodes[page as usize].set(place_of(rank), level);
        }
        Place { rank, page }
    }

    /// Removes the level at a place that has one.
    #[inline(always)]
    pub(crate) fn remove(&mut self, place: Place) {
        self.len -= 1;
        match self.nodes.get_mut(place.page as usize) {
            Some(page) => {
                page.clear(place_of(place.rank));
                if page.taken.summary == 0 {
                    self.page_emptied(place.page, place.rank);
                }
            }
            None => self.remove_elsewhere(place.rank),
        }
    }

    #[cold]
    fn remove_elsewhere(&mut self, rank: i64) {
        let page = self.page(rank);
        if page == NIL {
            self.far.remove(&rank);
            return;
        }
        self.nodes[page as usize].clear(place_of(rank));
        if self.nodes[page as usize].taken.summary == 0 {
            self.page_emptied(page, rank);
        }
    }

    /// The next worse level than a place, and where it is. The place may be one that was just emptied: then
    /// its page holds nothing, even if it was given back.
    #[inline(always)]
    pub(crate) fn after(&self, place: Place) -> Option<(Place, u32)> {
        if let Some(page) = self.nodes.get(place.page as usize)
            && let Some(next) = page.taken.after(place_of(place.rank))
        {
            let rank = place.rank - place_of(place.rank) as i64 + next as i64;
            return Some((Place { rank, ..place }, page.places[next]));
        }
        self.after_elsewhere(place.rank)
    }

    fn after_elsewhere(&self, rank: i64) -> Option<(Place, u32)> {
        let mut next = self.near_after(rank);
        if !self.far.is_empty() {
            let far = self.far.range((Excluded(rank), Unbounded)).next();
            let far = far.map(|(rank, level)| (*rank, *level));
            next = [next, far].into_iter().flatten().min();
        }
        next.map(|(rank, level)| (self.place(rank), level))
    }

    fn near_after(&self, rank: i64) -> Option<(i64, u32)> {
        let region = region_of(rank);
        let node = self.region(region);
        if node != NIL {
            let page = self.nodes[node as usize].places[chunk_of(rank)];
            if page != NIL
                && let Some(place) = self.nodes[page as usize].taken.after(place_of(rank))
            {
                return Some((
                    rank_of(region, chunk_of(rank), place),
                    self.nodes[page as usize].places[place],
                ));
            }
            if let Some(chunk) = self.nodes[node as usize].taken.after(chunk_of(rank)) {
                return self.first_of(region, node, chunk);
            }
        }
        let mut further = self.regions.range((Excluded(region), Unbounded));
        further.find_map(|(region, node)| self.first_of(*region, *node, self.nodes[*node as usize].taken.first()?))
    }

    /// The first level of a chunk that has a page.
    fn first_of(&self, region: i64, node: u32, chunk: usize) -> Option<(i64, u32)> {
        let page = self.nodes[node as usize].places[chunk] as usize;
        let place = self.nodes[page].taken.first()?;
        Some((rank_of(region, chunk, place), self.nodes[page].places[place]))
    }

    /// The next better level than a rank, with its rank.
    pub(crate) fn before(&self, rank: i64) -> Option<(i64, u32)> {
        let far = self.far.range(..rank).next_back();
        let far = far.map(|(rank, level)| (*rank, *level));
        // None is less than any.
        self.near_before(rank).max(far)
    }

    fn near_before(&self, rank: i64) -> Option<(i64, u32)> {
        let region = region_of(rank);
        let node = self.region(region);
        if node != NIL {
            let page = self.nodes[node as usize].places[chunk_of(rank)];
            if page != NIL
                && let Some(place) = self.nodes[page as usize].taken.before(place_of(rank))
            {
                return Some((
                    rank_of(region, chunk_of(rank), place),
                    self.nodes[page as usize].places[place],
                ));
            }
            if let Some(chunk) = self.nodes[node as usize].taken.before(chunk_of(rank)) {
                return self.last_of(region, node, chunk);
            }
        }
        let mut further = self.regions.range(..region).rev();
        further.find_map(|(region, node)| self.last_of(*region, *node, self.nodes[*node as usize].taken.last()?))
    }

    /// The last level of a chunk that has a page.
    fn last_of(&self, region: i64, node: u32, chunk: usize) -> Option<(i64, u32)> {
        let page = self.nodes[node as usize].places[chunk] as usize;
        let place = self.nodes[page].taken.last()?;
        Some((rank_of(region, chunk, place), self.nodes[page].places[place]))
    }

    /// The best level, and where it is.
    pub(crate) fn first(&self) -> Option<(Place, u32)> {
        self.after(self.place(i64::MIN))
    }

    /// The page of a rank if that is found without a search, or [`NIL`].
    #[inline(always)]
    fn page_at_hand(&self, rank: i64) -> u32 {
        let recent = &self.recent[region_of(rank) as usize % RECENT];
        if recent.region != region_of(rank) {
            return NIL;
        }
        self.nodes[recent.node as usize].places[chunk_of(rank)]
    }

    /// The page of a rank, or [`NIL`].
    fn page(&self, rank: i64) -> u32 {
        match self.region(region_of(rank)) {
            NIL => NIL,
            node => self.nodes[node as usize].places[chunk_of(rank)],
        }
    }

    /// The node of a region, or [`NIL`].
    fn region(&self, region: i64) -> u32 {
        let recent = self.recent[region as usize % RECENT];
        if recent.region == region {
            return recent.node;
        }
        self.regions.get(&region).copied().unwrap_or(NIL)
    }

    /// The page of a rank that is about to have a level, a new one if the levels pay for it, or [`NIL`].
    fn page_for(&mut self, rank: i64) -> u32 {
        let region = region_of(rank);
        let mut node = self.region(region);
        if node != NIL {
            self.recent[region as usize % RECENT] = Recent { region, node };
            let page = self.nodes[node as usize].places[chunk_of(rank)];
            if page != NIL {
                return page;
            }
        }
        let nodes = self.nodes.len() - self.vacant.len();
        if nodes >= NODES_FREE + self.len / LEVELS_PER_NODE {
            return NIL;
        }
        if node == NIL && nodes >= NODES_FREE {
            let first = rank_of(region, 0, 0);
            let levels = self.far.range(first..first + (PLACES * PLACES) as i64);
            if levels.take(LEVELS_PER_REGION).count() < LEVELS_PER_REGION {
                return NIL;
            }
        }
        if node == NIL {
            node = self.new_node();
            self.regions.insert(region, node);
            self.recent[region as usize % RECENT] = Recent { region, node };
        }
        let page = self.new_node();
        self.nodes[node as usize].set(chunk_of(rank), page);
        if !self.far.is_empty() {
            let first = rank - place_of(rank) as i64;
            let chunk = first..first + PLACES as i64;
            while let Some((&rank, &level)) = self.far.range(chunk.clone()).next() {
                self.far.remove(&rank);
                self.nodes[page as usize].set(place_of(rank), level);
            }
        }
        page
    }

    fn new_node(&mut self) -> u32 {
        if let Some(node) = self.vacant.pop() {
            return node;
        }
        self.nodes.push(Node {
            taken: Taken::NOTHING,
            places: [NIL; PLACES],
        });
        (self.nodes.len() - 1) as u32
    }

    /// Tells a region of its empty page, and gives back what is empty, if more than a little is kept.
    #[cold]
    fn page_emptied(&mut self, page: u32, rank: i64) {
        let region = region_of(rank);
        let node = self.region(region);
        self.nodes[node as usize].taken.clear(chunk_of(rank));
        if self.nodes.len() - self.vacant.len() <= NODES_KEPT {
            return;
        }
        self.vacant.push(page);
        self.nodes[node as usize].places[chunk_of(rank)] = NIL;
        if self.nodes[node as usize].taken.summary == 0 && self.regions.len() > REGIONS_KEPT {
            let kept = self.nodes[node as usize].places.iter_mut().filter(|page| **page != NIL);
            self.vacant.extend(kept.map(|page| std::mem::replace(page, NIL)));
            self.vacant.push(node);
            self.regions.remove(&region);
            let recent = &mut self.recent[region as usize % RECENT];
            if recent.region == region {
                *recent = NOWHERE;
            }
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
        let chunk = PLACES as i64;
        prop_oneof![
            -40..40_i64,
            (-30..30_i64, -2..2_i64).prop_map(move |(chunks, near)| chunks * chunk + near),
            (-30..30_i64).prop_map(move |chunks| chunks * (chunk - 1)),
            (-9..9_i64, -2..2_i64).prop_map(move |(regions, near)| regions * chunk * chunk + near),
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
                    Some(_) if remove > 0 => ladder.remove(ladder.place(rank)),
                    Some(level) => {
                        model.insert(rank, level);
                    }
                    None => {
                        ladder.insert(ladder.place(rank), level as u32);
                        model.insert(rank, level as u32);
                    }
                }
                if remove == 2 && let Some((first, _)) = model.pop_first() {
                    ladder.remove(ladder.place(first));
                }
                prop_assert_eq!(ladder.len(), model.len());
                prop_assert_eq!(ladder.get(ladder.place(rank)), model.get(&rank).copied().unwrap_or(NIL));
                let after = model.range(rank + 1..).next().map(|(rank, level)| (*rank, *level));
                prop_assert_eq!(ladder.after(ladder.place(rank)).map(|(place, level)| (place.rank, level)), after);
                let before = model.range(..rank).next_back().map(|(rank, level)| (*rank, *level));
                prop_assert_eq!(ladder.before(rank), before);
                prop_assert_eq!(ladder.first().map(|(place, level)| (place.rank, level)), model.first_key_value().map(|(rank, level)| (*rank, *level)));
            }
            let mut all = Vec::new();
            let mut next = ladder.first();
            while let Some((place, level)) = next {
                all.push((place.rank, level));
                next = ladder.after(place);
            }
            prop_assert_eq!(all, model.into_iter().collect::<Vec<_>>());
        }
    }
}
