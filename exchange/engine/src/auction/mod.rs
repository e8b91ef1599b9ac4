//! The call auction's price, kept up to date in time that does not grow with the book.
//!
//! With B(p) the lots bid at p or better and S(p) the lots offered at p or better, B falls and S rises
//! with p. So volume min(B, S) is the larger and surplus |B − S| the smaller the nearer p is to the turn:
//! the last tick with B ≥ S, or the one after it. F(p) = lots bid below p + lots offered up to p rises
//! with p, and B ≥ S exactly where F ≤ all lots bid: the turn is found by descending a tree of sums.

use crate::book::{Book, index};
use crate::order::NIL;
use crate::types::{Indicative, PRICE_E4_MAX, Side};

/// Bit of a node that is a leaf.
const LEAF: u8 = u8::MAX;

#[derive(Clone, Copy, Debug)]
struct Node {
    /// Of a leaf: its price, moved above zero.
    key: u64,
    /// The highest bit in which the keys below differ, or [`LEAF`].
    bit: u8,
    /// Keys with that bit clear, keys with it set.
    children: [u32; 2],
    /// Lots bid and offered here and below.
    sums: [i64; 2],
}

/// Lots bid and offered at each price, with sums over ranges of prices: a path-compressed binary trie
/// over prices. Its depth is at most the 45 bits of a price, whatever the order of arrival.
#[derive(Debug)]
pub(crate) struct AuctionTree {
    nodes: Vec<Node>,
    vacant: Vec<u32>,
    root: u32,
}

/// The first price at which F exceeds all lots bid.
struct Turn {
    price_e4: i64,
    /// Lots bid and offered below this price.
    below: [i64; 2],
    /// Lots bid and offered at this price.
    here: [i64; 2],
}

fn key_of(price_e4: i64) -> u64 {
    (price_e4 + PRICE_E4_MAX) as u64
}

fn price_of(key: u64) -> i64 {
    key as i64 - PRICE_E4_MAX
}

impl AuctionTree {
    /// Nothing bid or offered.
    pub(crate) fn new() -> Self {
        Self {
            nodes: Vec::new(),
            vacant: Vec::new(),
            root: NIL,
        }
    }

    /// Adds lots (below zero: takes them away) at a price.
    pub(crate) fn add(&mut self, side: Side, price_e4: i64, quantity: i64) {
        if quantity == 0 {
            return;
        }
        let key = key_of(price_e4);
        if self.root == NIL {
            self.root = self.leaf(key, side, quantity);
            return;
        }
        let mut near = self.node(self.root);
        while near.bit != LEAF {
            near = self.node(near.children[branch(key, near.bit)]);
        }
        match near.key ^ key {
            0 => self.add_to_leaf(key, side, quantity),
            different => self.add_leaf(key, (63 - different.leading_zeros()) as u8, side, quantity),
        }
    }

    fn add_leaf(&mut self, key: u64, bit: u8, side: Side, quantity: i64) {
        let leaf = self.leaf(key, side, quantity);
        let (mut parent, mut at) = (NIL, self.root);
        while self.node(at).bit != LEAF && self.node(at).bit > bit {
            self.nodes[at as usize].sums[index(side)] += quantity;
            parent = at;
            at = self.node(at).children[branch(key, self.node(at).bit)];
        }
        let mut sums = self.node(at).sums;
        sums[index(side)] += quantity;
        let children = if branch(key, bit) == 0 { [leaf, at] } else { [at, leaf] };
        let inner = self.put(Node {
            key: 0,
            bit,
            children,
            sums,
        });
        self.replace_child(parent, key, inner);
    }

    fn add_to_leaf(&mut self, key: u64, side: Side, quantity: i64) {
        let (mut grandparent, mut parent, mut at) = (NIL, NIL, self.root);
        loop {
            let node = &mut self.nodes[at as usize];
            node.sums[index(side)] += quantity;
            if node.bit == LEAF {
                break;
            }
            grandparent = parent;
            parent = at;
            at = node.children[branch(key, node.bit)];
        }
        if self.node(at).sums != [0, 0] {
            return;
        }
        self.vacant.push(at);
        if parent == NIL {
            self.root = NIL;
        } else {
            let sibling = self.node(parent).children[1 - branch(key, self.node(parent).bit)];
            self.vacant.push(parent);
            self.replace_child(grandparent, key, sibling);
        }
    }

    fn replace_child(&mut self, parent: u32, key: u64, child: u32) {
        if parent == NIL {
            self.root = child;
        } else {
            let bit = self.node(parent).bit;
            self.nodes[parent as usize].children[branch(key, bit)] = child;
        }
    }

    /// All lots bid and offered.
    fn totals(&self) -> [i64; 2] {
        if self.root == NIL {
            return [0, 0];
        }
        self.node(self.root).sums
    }

    /// The turn; needs lots on both sides.
    fn turn(&self) -> Turn {
        let bid = self.totals()[0];
        let mut node = self.node(self.root);
        let mut below = [0, 0];
        while node.bit != LEAF {
            let low = self.node(node.children[0]);
            if below[0] + below[1] + low.sums[0] + low.sums[1] > bid {
                node = low;
            } else {
                below = [below[0] + low.sums[0], below[1] + low.sums[1]];
                node = self.node(node.children[1]);
            }
        }
        Turn {
            price_e4: price_of(node.key),
            below,
            here: node.sums,
        }
    }

    fn leaf(&mut self, key: u64, side: Side, quantity: i64) -> u32 {
        let mut sums = [0, 0];
        sums[index(side)] = quantity;
        self.put(Node {
            key,
            bit: LEAF,
            children: [NIL, NIL],
            sums,
        })
    }

    fn put(&mut self, node: Node) -> u32 {
        match self.vacant.pop() {
            Some(at) => {
                self.nodes[at as usize] = node;
                at
            }
            None => {
                self.nodes.push(node);
                (self.nodes.len() - 1) as u32
            }
        }
    }

    fn node(&self, at: u32) -> &Node {
        &self.nodes[at as usize]
    }
}

fn branch(key: u64, bit: u8) -> usize {
    (key >> bit & 1) as usize
}

/// The contract's auction price of a book whose lots `tree` holds, and what would trade at it.
pub(crate) fn clearing(
    book: &Book,
    tree: &AuctionTree,
    tick_size_e4: i64,
    last_trade_price_e4: Option<i64>,
) -> Option<Indicative> {
    let [all_bid, all_offered] = tree.totals();
    if all_bid == 0 || all_offered == 0 {
        return None;
    }
    let turn = tree.turn();
    // Left: the last tick with B ≥ S. Right: the next one.
    let (left, bid, offered) = if turn.below[0] + turn.below[1] + turn.here[1] > all_bid {
        let left = turn.price_e4 - tick_size_e4;
        let bid_below_left = turn.below[0] - book.quantity_at(Side::Buy, left);
        (left, all_bid - bid_below_left, turn.below[1])
    } else {
        let left = turn.price_e4;
        (left, all_bid - turn.below[0], turn.below[1] + turn.here[1])
    };
    let right = left + tick_size_e4;
    let bid_right = bid - book.quantity_at(Side::Buy, left);
    let offered_right = offered + book.quantity_at(Side::Sell, right);
    // Better is greater: more volume, then less surplus.
    let rate = |bid: i64, offered: i64| (bid.min(offered), fault!(SurplusIgnored, 0, -(bid - offered).abs()));
    let (rate_left, rate_right) = (rate(bid, offered), rate(bid_right, offered_right));
    let (quantity, _) = rate_left.max(rate_right);
    if quantity == 0 {
        return None;
    }
    // All ticks as good as the better of the two: B and S are constant between orders.
    let low = if rate_left >= rate_right {
        let ask = book.nearest_below(Side::Sell, left, false);
        let bid = book.nearest_below(Side::Buy, left, true).map(|bid| bid + tick_size_e4);
        ask.max(bid)?
    } else {
        right
    };
    let high = if rate_right >= rate_left {
        let bid = book.nearest_above(Side::Buy, right, false);
        let ask = book
            .nearest_above(Side::Sell, right, true)
            .map(|ask| ask - tick_size_e4);
        match (bid, ask) {
            (Some(bid), Some(ask)) => bid.min(ask),
            (bid, ask) => bid.or(ask)?,
        }
    } else {
        left
    };
    let price_e4 = match last_trade_price_e4 {
        Some(last) if !fault!(LastPriceIgnored) => last.max(low).min(high),
        _ => low,
    };
    Some(Indicative { price_e4, quantity })
}

#[cfg(test)]
mod tests;
