//! Open orders: one slab for all books. An order's id carries its slot, so a lookup needs no hash,
//! and a stale id fails because the slot keeps the whole id.

use crate::limits::{ORDER_SLOT_BITS, ORDER_SLOTS_MAX};
use crate::types::{Order, OrderId};

/// No slot, no level, no account: the end of every intrusive list.
pub(crate) const NIL: u32 = u32::MAX;

/// Order ids ever: what the bits above the slot can count.
pub(crate) const ORDER_SEQUENCE_MAX: u64 = (1 << (64 - ORDER_SLOT_BITS)) - 1;

const SLOT_MASK: u64 = (1 << ORDER_SLOT_BITS) - 1;

/// The slot that an id names. [`ORDER_SLOTS_MAX`] is the name of no slot.
pub(crate) fn slot_of(id: OrderId) -> u32 {
    (id.0 & SLOT_MASK) as u32
}

/// The count of orders that an id carries.
pub(crate) fn sequence_of(id: OrderId) -> u64 {
    id.0 >> ORDER_SLOT_BITS
}

/// An open order and its places: in the queue of its level, in its owner's list.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// The order as it stands.
    pub(crate) order: Order,
    /// Its owner's account in its instrument.
    pub(crate) account: u32,
    /// Its price level, as the book numbers them.
    pub(crate) level: u32,
    /// Next older order at the level.
    pub(crate) prev: u32,
    /// Next younger order at the level.
    pub(crate) next: u32,
    /// Owner's open order with the next lower id.
    pub(crate) user_prev: u32,
    /// Owner's open order with the next higher id.
    pub(crate) user_next: u32,
}

/// All open orders.
#[derive(Debug)]
pub(crate) struct Orders {
    slots: Vec<Option<Node>>,
    /// Vacant slots, last freed last: taken from the end. Part of the state, as ids come from it.
    free: Vec<u32>,
    last_id: OrderId,
    slots_max: u32,
}

impl Orders {
    /// None yet, and never more than so many at a time.
    pub(crate) fn new(open_orders_max: u32) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            last_id: OrderId(0),
            slots_max: open_orders_max.min(ORDER_SLOTS_MAX),
        }
    }

    /// State as a snapshot tells it: every slot below the length is either free or filled by
    /// [`Orders::put`] before the first command.
    pub(crate) fn restored(open_orders_max: u32, slots: usize, free: Vec<u32>, last_id: OrderId) -> Self {
        Self {
            slots: std::iter::repeat_with(|| None).take(slots).collect(),
            free,
            last_id,
            slots_max: open_orders_max.min(ORDER_SLOTS_MAX),
        }
    }

    /// How many are open.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
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

    /// Takes the next id and reserves its slot; the caller either fills the slot or gives it back.
    /// With all slots taken the id names none, which only an order that does not rest may have.
    pub(crate) fn next_id(&mut self) -> OrderId {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.slots.len() < self.slots_max as usize => {
                self.slots.push(None);
                (self.slots.len() - 1) as u32
            }
            None => ORDER_SLOTS_MAX,
        };
        let before = fault!(OrderIdsReused, OrderId(0), self.last_id);
        self.last_id = OrderId(((sequence_of(before) + 1) << ORDER_SLOT_BITS) | u64::from(slot));
        self.last_id
    }

    /// Fills the slot of the node's id.
    pub(crate) fn put(&mut self, node: Node) -> u32 {
        let slot = slot_of(node.order.order_id);
        debug_assert!(self.slots[slot as usize].is_none(), "a slot holds one order");
        self.slots[slot as usize] = Some(node);
        slot
    }

    /// Gives a slot back.
    pub(crate) fn release(&mut self, id: OrderId) {
        let slot = slot_of(id);
        if slot != ORDER_SLOTS_MAX {
            self.slots[slot as usize] = None;
            self.free.push(slot);
        }
    }

    /// Slot of an open order.
    pub(crate) fn find(&self, id: OrderId) -> Option<u32> {
        let slot = slot_of(id);
        match self.slots.get(slot as usize) {
            Some(Some(node)) if node.order.order_id == id => Some(slot),
            _ => None,
        }
    }

    /// Whether there is such a slot and it holds no order.
    pub(crate) fn is_vacant(&self, slot: u32) -> bool {
        matches!(self.slots.get(slot as usize), Some(None))
    }

    /// Whether exactly the free slots are vacant.
    pub(crate) fn is_complete(&self) -> bool {
        self.free.iter().all(|slot| self.is_vacant(*slot)) && self.iter().count() == self.len()
    }

    /// All open orders, by slot.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Order> {
        self.slots.iter().flatten().map(|node| &node.order)
    }

    /// The order in a slot that some list or level names.
    pub(crate) fn node(&self, slot: u32) -> &Node {
        self.slots[slot as usize].as_ref().expect("lists name open orders only")
    }

    /// The same, to change it.
    pub(crate) fn node_mut(&mut self, slot: u32) -> &mut Node {
        self.slots[slot as usize].as_mut().expect("lists name open orders only")
    }
}
