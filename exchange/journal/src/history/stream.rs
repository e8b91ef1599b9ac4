//! The end of a stream, and how to get from there to any of its blocks.
//!
//! Every block links to the one before and to one further back. The further links are those of a
//! skew-binary list (Myers, "An applicative random-access stack", 1983): the blocks up to any of them form
//! complete binary trees of growing sizes, each with its newest block as the root, and a block's further
//! link goes past its own tree. So any block is found over a logarithmic number of links, an append looks
//! at no block that was written before, and the trees' roots are all that is kept in memory.

use super::format::{Links, NOWHERE};

/// Complete binary tree of consecutive blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tree {
    /// Blocks in it.
    pub(super) size: u64,
    /// Its newest block.
    pub(super) root: u64,
}

/// What is known of a stream: 24 bytes and 16 for each tree, of which there are about as many as the
/// number of blocks has bits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tail {
    /// Messages in it.
    pub(super) count: u64,
    /// Older ones first.
    trees: Vec<Tree>,
}

impl Tail {
    pub(super) fn new(count: u64, trees: Vec<Tree>) -> Self {
        Self { count, trees }
    }

    pub(super) fn trees(&self) -> &[Tree] {
        &self.trees
    }

    /// The newest block.
    pub(super) fn place(&self) -> u64 {
        self.trees.last().map_or(NOWHERE, |tree| tree.root)
    }

    /// The links of the next block.
    pub(super) fn links(&self) -> Links {
        let root = |tree: Option<&Tree>| tree.map_or(NOWHERE, |tree| tree.root);
        let jump = match self.trees.as_slice() {
            [older @ .., a, b] if a.size == b.size => root(older.last()),
            trees => root(trees.last()),
        };
        Links {
            previous: self.place(),
            jump,
        }
    }

    /// The next block has been written.
    pub(super) fn push(&mut self, place: u64, messages: u64) {
        self.count += messages;
        let size = match self.trees.as_slice() {
            [.., a, b] if a.size == b.size => {
                let size = 1 + a.size + b.size;
                self.trees.truncate(self.trees.len() - 2);
                size
            }
            _ => 1,
        };
        self.trees.push(Tree { size, root: place });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the last of many blocks to each of them.
    #[test]
    fn every_block_is_near() {
        let mut tail = Tail::default();
        let mut links = vec![Links {
            previous: NOWHERE,
            jump: NOWHERE,
        }];
        for place in 1..=10_000_u64 {
            links.push(tail.links());
            assert_eq!(tail.links().previous, place - 1);
            tail.push(place, 2);
            assert!(tail.trees().len() <= 14);
        }
        assert_eq!((tail.count, tail.place()), (20_000, 10_000));
        for wanted in 1..=10_000_u64 {
            let (mut at, mut steps) = (tail.place(), 0);
            while at > wanted {
                let Links { previous, jump } = links[at as usize];
                at = if jump >= wanted { jump } else { previous };
                steps += 1;
            }
            assert_eq!(at, wanted);
            assert!(steps <= 3 * 14, "{steps}");
        }
    }
}
