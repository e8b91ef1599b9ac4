//! Client order ids of one user: what makes the retry of an insert safe.

use std::collections::{BTreeMap, VecDeque};

use crate::command::OrderTerms;
use crate::types::{ClientOrderId, InstrumentId, OrderId};

/// The first insert of a client id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FirstInsert {
    /// Where.
    pub(crate) instrument: InstrumentId,
    /// As inserted, whatever amends did since.
    pub(crate) terms: OrderTerms,
    /// Its order.
    pub(crate) order_id: OrderId,
    /// Its event.
    pub(crate) event_seq: u64,
    /// Its ACCEPTED report.
    pub(crate) report_seq: u64,
}

/// Ids of open orders, and of the last done ones.
#[derive(Debug, Default)]
pub(crate) struct ClientIds {
    inserts: BTreeMap<ClientOrderId, FirstInsert>,
    /// Ids of done orders, in the order they got done.
    done: VecDeque<ClientOrderId>,
}

impl ClientIds {
    /// The first insert of an id that is still known.
    pub(crate) fn get(&self, id: &ClientOrderId) -> Option<&FirstInsert> {
        self.inserts.get(id)
    }

    /// A new order's id; none if empty.
    pub(crate) fn open(&mut self, id: ClientOrderId, insert: FirstInsert) {
        if !id.is_empty() && !fault!(ClientIdsForgotten) {
            self.inserts.insert(id, insert);
        }
    }

    /// The order is done: its id is kept until `kept_max` others are done after it.
    pub(crate) fn done(&mut self, id: ClientOrderId, kept_max: u32) {
        if id.is_empty() {
            return;
        }
        self.done.push_back(id);
        while self.done.len() > kept_max as usize {
            if let Some(oldest) = self.done.pop_front() {
                self.inserts.remove(&oldest);
            }
        }
    }

    /// All known ids with their inserts, by id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&ClientOrderId, &FirstInsert)> {
        self.inserts.iter()
    }

    /// Ids of done orders, in the order they got done.
    pub(crate) fn done_ids(&self) -> impl ExactSizeIterator<Item = &ClientOrderId> {
        self.done.iter()
    }
}
