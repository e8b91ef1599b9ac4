//! Open orders: one slab for all books. An order's id carries its slot, so a lookup needs no hash,
//! and a stale id fails because the slot keeps the whole id.

use crate::book::{BookLevel, LevelId};
use crate::client_ids::IdPlace;
use crate::limits::{ORDER_SLOT_BITS, ORDER_SLOTS_MAX};
use crate::types::{Order, OrderId, UserId};

/// No slot, no level, no account: the end of every intrusive list.
pub(crate) const NIL: u32 = u32::MAX;

/// Order ids ever: what the bits above the slot can count.
pub(crate) const ORDER_SEQUENCE_MAX: u64 = (1 << (64 - ORDER_SLOT_BITS)) - 1;

const SLOT_MASK: u64 = (1 << ORDER_SLOT_BITS) - 1;

/// What a vacant slot holds: an id that names no slot, so that asking for it finds none.
const VACANT: OrderId = OrderId(u64::MAX);

/// The slot that an id names. [`ORDER_SLOTS_MAX`] is the name of no slot.
pub(crate) fn slot_of(id: OrderId) -> u32 {
    (id.0 & SLOT_MASK) as u32
}

/// The count of orders that an id carries.
pub(crate) fn sequence_of(id: OrderId) -> u64 {
    id.0 >> ORDER_SLOT_BITS
}

/// Asks for a place in memory ahead of its use; changes nothing but time.
#[inline]
pub(crate) fn prefetch<T>(place: Option<&T>) {
    #[cfg(target_arch = "x86_64")]
    if let Some(place) = place {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let line = std::ptr::from_ref(place).cast();
        // SAFETY: a prefetch reads nothing, and the place is one that may be read.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line) }
        if size_of::<T>() > 64 {
            // SAFETY: as above.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line.wrapping_add(64)) }
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

/// Makes room for one more. What is large grows by an eighth: memory is in proportion to what it holds,
/// and a step is short.
#[inline]
pub(crate) fn grow<T>(items: &mut Vec<T>) {
    if items.len() == items.capacity() {
        items.reserve_exact((items.len() / 8).max(items.len().min(SMALL)).max(16));
    }
}

/// Items up to which a growing list doubles.
const SMALL: usize = 1 << 16;

/// What matching needs of an open order: half a cache line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    /// The whole id; [`VACANT`] in a vacant slot.
    pub(crate) id: OrderId,
    /// Open lots.
    pub(crate) open: u32,
    /// Its price level, as the book names them.
    pub(crate) level: LevelId,
    /// Next older order at the level.
    pub(crate) prev: u32,
    /// Next younger order at the level.
    pub(crate) next: u32,
    /// Owner.
    pub(crate) user: UserId,
    /// Its owner's account in its instrument.
    pub(crate) account: u32,
}

impl Node {
    const VACANT: Self = Self {
        id: VACANT,
        open: 0,
        level: LevelId::NONE,
        prev: NIL,
        next: NIL,
        user: UserId(NIL),
        account: NIL,
    };
}

/// The rest of an open order, and its places in its owner's list: two cache lines.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(crate) struct Details {
    /// The order as it stands.
    pub(crate) order: Order,
    /// Its place among the owner's client ids.
    pub(crate) client_id: IdPlace,
    /// Owner's open order with the next lower id.
    pub(crate) user_prev: u32,
    /// Owner's open order with the next higher id.
    pub(crate) user_next: u32,
}

/// All open orders, with whatever is kept of each beside its node.
#[derive(Debug)]
pub(crate) struct Orders<D = Details> {
    nodes: Vec<Node>,
    /// By slot, stale in vacant ones.
    details: Vec<D>,
    /// Vacant slots, last freed last: taken from the end. Part of the state, as ids come from it.
    free: Vec<u32>,
    last_id: OrderId,
    slots_max: u32,
}

impl<D: Clone> Orders<D> {
    /// None yet, and never more than so many at a time.
    pub(crate) fn new(open_orders_max: u32) -> Self {
        Self::restored(open_orders_max, 0, Vec::new(), OrderId(0))
    }

    /// State as a snapshot tells it: every slot below the length is either free or filled by
    /// [`Orders::put`] before the first command.
    pub(crate) fn restored(open_orders_max: u32, slots: usize, free: Vec<u32>, last_id: OrderId) -> Self {
        Self {
            nodes: vec![Node::VACANT; slots],
            details: Vec::with_capacity(slots),
            free,
            last_id,
            slots_max: open_orders_max.min(ORDER_SLOTS_MAX),
        }
    }

    /// How many are open.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    /// Most that can be open.
    pub(crate) fn slots_max(&self) -> u32 {
        self.slots_max
    }

    /// Last id given out.
    pub(crate) fn last_id(&self) -> OrderId {
        self.last_id
    }

    /// Vacant slots, the next one last.
    pub(crate) fn free_slots(&self) -> &[u32] {
        &self.free
    }

    /// Whether every id was given out.
    pub(crate) fn ids_exhausted(&self) -> bool {
        sequence_of(self.last_id) >= ORDER_SEQUENCE_MAX
    }

    /// The id that [`Orders::next_id`] is going to give.
    #[inline(always)]
    pub(crate) fn peek_id(&self) -> OrderId {
        let slot = match self.free.last() {
            Some(slot) => *slot,
            None if self.nodes.len() < self.slots_max as usize => self.nodes.len() as u32,
            None => ORDER_SLOTS_MAX,
        };
        let before = fault!(OrderIdsReused, OrderId(0), self.last_id);
        OrderId(((sequence_of(before) + 1) << ORDER_SLOT_BITS) | u64::from(slot))
    }

    /// Takes the next id and reserves its slot; the caller either fills the slot or gives it back.
    /// With all slots taken the id names none, which only an order that does not rest may have.
    #[inline(always)]
    pub(crate) fn next_id(&mut self) -> OrderId {
        self.last_id = self.peek_id();
        if self.free.pop().is_none() && self.nodes.len() < self.slots_max as usize {
            grow(&mut self.nodes);
            self.nodes.push(Node::VACANT);
        }
        self.last_id
    }

    /// Fills the slot of an id; the book does the rest of its node.
    #[inline(always)]
    pub(crate) fn put(&mut self, id: OrderId, user: UserId, account: u32, details: D) -> u32 {
        self.put_with(id, user, account, || details.clone())
    }

    /// The same with details that are made in their place.
    #[inline(always)]
    pub(crate) fn put_with(&mut self, id: OrderId, user: UserId, account: u32, details: impl Fn() -> D) -> u32 {
        let slot = slot_of(id);
        let node = &mut self.nodes[slot as usize];
        debug_assert_eq!(node.id, VACANT, "a slot holds one order");
        (node.id, node.user, node.account) = (id, user, account);
        if size_of::<D>() == 0 {
            return slot;
        }
        match self.details.get_mut(slot as usize) {
            Some(place) => *place = details(),
            None => self.put_behind(slot, details()),
        }
        slot
    }

    #[cold]
    fn put_behind(&mut self, slot: u32, details: D) {
        let missing = slot as usize + 1 - self.details.len();
        if missing > self.details.capacity() - self.details.len() {
            self.details.reserve_exact(missing + (self.details.len() / 8).max(16));
        }
        self.details.resize(slot as usize + 1, details);
    }

    /// Gives a slot back.
    #[inline]
    pub(crate) fn release(&mut self, id: OrderId) {
        let slot = slot_of(id);
        if slot != ORDER_SLOTS_MAX {
            self.release_slot(slot);
        }
    }

    /// Gives back the slot of an open order.
    #[inline(always)]
    pub(crate) fn release_slot(&mut self, slot: u32) {
        self.nodes[slot as usize].id = VACANT;
        self.free.push(slot);
    }

    /// Slot of an open order.
    #[inline]
    pub(crate) fn find(&self, id: OrderId) -> Option<u32> {
        let slot = slot_of(id);
        match self.nodes.get(slot as usize) {
            Some(node) if node.id == id => Some(slot),
            _ => None,
        }
    }

    /// Whether there is such a slot and it holds no order.
    pub(crate) fn is_vacant(&self, slot: u32) -> bool {
        matches!(self.nodes.get(slot as usize), Some(Node { id: VACANT, .. }))
    }

    /// Whether exactly the free slots are vacant.
    pub(crate) fn is_complete(&self) -> bool {
        self.free.iter().all(|slot| self.is_vacant(*slot)) && self.iter().count() == self.len()
    }

    /// Fetches all of a slot into the cache.
    #[inline]
    pub(crate) fn prefetch(&self, slot: u32) {
        prefetch(self.nodes.get(slot as usize));
        prefetch(self.details.get(slot as usize));
    }

    /// The same for a vacant slot before which so many others are to be taken.
    #[inline]
    pub(crate) fn prefetch_vacant(&self, before: usize) {
        if let Some(slot) = self.free.len().checked_sub(before + 1).map(|at| self.free[at]) {
            self.prefetch(slot);
        }
    }

    /// What is kept of all open orders, by slot.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &D> {
        let taken = self.nodes.iter().zip(&self.details);
        taken.filter(|(node, _)| node.id != VACANT).map(|(_, details)| details)
    }

    /// All nodes, by slot, to change them.
    #[inline]
    pub(crate) fn nodes(&mut self) -> &mut [Node] {
        &mut self.nodes
    }

    /// The order in a slot that some list or level names.
    #[inline]
    pub(crate) fn node(&self, slot: u32) -> &Node {
        &self.nodes[slot as usize]
    }

    /// What is kept of it.
    #[inline]
    pub(crate) fn details(&self, slot: u32) -> &D {
        &self.details[slot as usize]
    }

    /// The same, to change it.
    #[inline]
    pub(crate) fn details_mut(&mut self, slot: u32) -> &mut D {
        &mut self.details[slot as usize]
    }
}

impl Orders {
    /// Orders of a level, oldest first.
    pub(crate) fn queue(&self, level: &BookLevel) -> impl Iterator<Item = &Order> {
        let mut at = level.head;
        std::iter::from_fn(move || {
            let slot = (at != NIL).then_some(at)?;
            at = self.node(slot).next;
            Some(self.order(slot))
        })
    }

    /// The order in a slot that some list or level names.
    #[inline]
    pub(crate) fn order(&self, slot: u32) -> &Order {
        &self.details(slot).order
    }

    /// The same, to change it.
    #[inline]
    pub(crate) fn order_mut(&mut self, slot: u32) -> &mut Order {
        &mut self.details_mut(slot).order
    }
}

const _: () = assert!(
    size_of::<Node>() == 32 && size_of::<Details>() == 128,
    "whole cache lines"
);
