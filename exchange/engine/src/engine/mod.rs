//! The state machine.

mod admin;
mod market;
mod query;
mod resting;
mod trading;

pub(crate) use market::{Execution, Market, report, tell};

use std::collections::BTreeMap;

use crate::command::{AmendOrder, Command, Input, OrderRef};
use crate::event::{BookChange, Event, Outcome};
use crate::instrument::Listing;
use crate::limits::Limits;
use crate::order::{Orders, slot_of};
use crate::position::Account;
use crate::refusal::Refusal;
use crate::types::{ClientRequestId, Instrument, InstrumentId, Order, OrderId, Symbol, TradingPhase, UserId, Username};
use crate::user::User;

/// Vacant slots that inserts before the one that is prefetched for are going to take, about.
const PREFETCH_VACANT: usize = 4;

/// The whole state of the exchange.
#[derive(Debug)]
pub struct Engine {
    pub(crate) limits: Limits,
    pub(crate) event_seq: u64,
    pub(crate) time_unix_ns: i64,
    pub(crate) last_trade_id: u64,
    pub(crate) users: Vec<User>,
    pub(crate) user_ids: BTreeMap<Username, UserId>,
    pub(crate) listings: Vec<Listing>,
    pub(crate) symbols: BTreeMap<Symbol, InstrumentId>,
    pub(crate) client_requests: BTreeMap<(UserId, ClientRequestId), InstrumentId>,
    pub(crate) accounts: Vec<Account>,
    pub(crate) orders: Orders,
    /// Books that a command over many of them touched; empty between commands.
    touched: Vec<InstrumentId>,
}

/// How a command was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// As a new event, which the caller's [`Event`] now holds.
    Event,
    /// As the retry of an insert; nothing happened. The first answer is told by the reports of event
    /// `event_seq`, the first of which is the user's `report_seq`.
    OrderRepeated {
        /// The order of the first insert.
        order_id: OrderId,
        /// Event of the first insert.
        event_seq: u64,
        /// Its ACCEPTED report.
        report_seq: u64,
    },
    /// As the retry of a creation; nothing happened.
    InstrumentRepeated {
        /// The instrument as first answered.
        instrument: Box<Instrument>,
        /// Event of its creation.
        event_seq: u64,
    },
}

/// What a user holds of one instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Instrument.
    pub instrument: InstrumentId,
    /// Lots: long above zero, short below.
    pub quantity: i64,
    /// Money paid (below zero) and received (above), multiplier applied, in 1e-4; stops at the ends of i64.
    pub cash_e4: i64,
    /// Value at the last trade's price, multiplier applied, in 1e-4; stops at the ends of i64.
    pub market_value_e4: i64,
    /// Lots in open buy orders.
    pub open_buy_quantity: i64,
    /// Lots in open sell orders.
    pub open_sell_quantity: i64,
}

/// How much of one limit is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RiskUsage {
    /// Field name of the limit in the contract.
    pub limit_name: &'static str,
    /// Instrument; none for a limit over all.
    pub instrument: Option<InstrumentId>,
    /// What counts now; stops at the ends of i64.
    pub current: i64,
    /// The limit, if there is one.
    pub limit: Option<i64>,
}

/// What an engine knows of one of a user's orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderLookup {
    /// It is open.
    Open(Order),
    /// It is done: history has it.
    Done(OrderId),
    /// Not known here: history may have it, if it is done.
    Unknown,
}

impl Engine {
    /// An exchange without users, instruments and orders.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            event_seq: 0,
            time_unix_ns: 0,
            last_trade_id: 0,
            users: Vec::new(),
            user_ids: BTreeMap::new(),
            listings: Vec::new(),
            symbols: BTreeMap::new(),
            client_requests: BTreeMap::new(),
            accounts: Vec::new(),
            orders: Orders::new(limits.open_orders_max),
            touched: Vec::new(),
        }
    }

    /// Applies one input. `Ok(Applied::Event)` leaves the event in `event`; otherwise `event` is left
    /// cleared and the state, digest included, is as before.
    pub fn apply(&mut self, input: &Input, event: &mut Event) -> Result<Applied, Refusal> {
        event.clear();
        let now = match self.event_seq {
            0 => input.time_unix_ns,
            _ => input.time_unix_ns.max(self.time_unix_ns),
        };
        match &input.command {
            Command::InsertOrder(command) => self.insert_order(command, now, event),
            Command::AmendOrder(command) => self.amend_order(command, now, event),
            Command::CancelOrder { user, order } => self.cancel_order(*user, order, now, event),
            command => self.apply_rare(command, now, event),
        }
    }

    /// Commands that are not what an exchange does all day; apart, so that [`Engine::apply`] is short.
    #[inline(never)]
    fn apply_rare(&mut self, command: &Command, now: i64, event: &mut Event) -> Result<Applied, Refusal> {
        match command {
            Command::RegisterUser { username } => self.register_user(*username, now, event),
            Command::CreateInstrument(command) => self.create_instrument(command, now, event),
            Command::SetTradingPhase { instrument, phase } => self.set_trading_phase(*instrument, *phase, now, event),
            Command::SuspendUser { user, comment } => self.suspend_user(*user, comment, now, event),
            Command::ResumeUser { user } => self.resume_user(*user, now, event),
            Command::SetUserRiskLimits { user, limits } => self.set_user_risk_limits(*user, limits, now, event),
            Command::SetInstrumentRiskLimits {
                user,
                instrument,
                limits,
            } => self.set_instrument_risk_limits(*user, *instrument, limits, now, event),
            Command::InsertOrder(command) => self.insert_order(command, now, event),
            Command::AmendOrder(command) => self.amend_order(command, now, event),
            Command::CancelOrder { user, order } => self.cancel_order(*user, order, now, event),
            Command::CancelAllOrders { user, instrument, side } => {
                self.cancel_all_orders(*user, *instrument, *side, now, event)
            }
            Command::CancelOnDisconnect { user, after } => self.cancel_on_disconnect(*user, *after, now, event),
        }
    }

    /// Fetches what a command is going to touch into the cache; changes nothing. Worth its while some
    /// eight commands ahead, where commands come in batches.
    #[inline]
    pub fn prefetch(&self, command: &Command) {
        match command {
            Command::CancelOrder {
                order: OrderRef::Id(id),
                ..
            }
            | Command::AmendOrder(AmendOrder {
                order: OrderRef::Id(id),
                ..
            }) => self.orders.prefetch(slot_of(*id)),
            Command::InsertOrder(insert) => {
                self.orders.prefetch_vacant(PREFETCH_VACANT);
                if !insert.client_order_id.is_empty()
                    && let Some(user) = self.users.get(insert.user.0 as usize)
                {
                    user.client_ids.prefetch(&insert.client_order_id);
                }
            }
            _ => {}
        }
    }

    /// The command is accepted: from here on it may change state, and nothing may refuse it any more.
    #[inline(always)]
    fn begin(&mut self, now: i64, event: &mut Event) {
        self.event_seq += 1;
        self.time_unix_ns = now;
        event.event_seq = self.event_seq;
        event.time_unix_ns = now;
    }

    /// Tells what an event changed in a book, if anything visible did.
    fn publish(&mut self, instrument: InstrumentId, phase: Option<TradingPhase>, event: &mut Event) {
        let listing = &mut self.listings[instrument.0 as usize];
        let start = event.levels.len() as u32;
        let middle = start + listing.book.take_changes(&mut event.levels);
        let end = event.levels.len() as u32;
        if start == end && phase.is_none() {
            return;
        }
        listing.book_seq += 1;
        event.books.push(BookChange {
            instrument,
            book_seq: listing.book_seq,
            phase,
            bids: start..middle,
            asks: middle..end,
            indicative: None,
        });
        if listing.phase() == TradingPhase::Auction
            && let Some(change) = event.books.last_mut()
        {
            change.indicative = listing.indicative();
        }
    }

    /// The same for all books of a command over many of them, by instrument.
    fn publish_touched(&mut self, event: &mut Event) {
        let mut touched = std::mem::take(&mut self.touched);
        touched.sort_unstable();
        touched.dedup();
        for instrument in touched.drain(..) {
            self.publish(instrument, None, event);
        }
        self.touched = touched;
    }

    /// A user of a command, if it exists.
    fn known_user(&self, user: UserId) -> Result<&User, Refusal> {
        self.users.get(user.0 as usize).ok_or(Refusal::UnknownUser)
    }

    /// An instrument of a command, if it exists.
    fn known_listing(&self, instrument: InstrumentId) -> Result<&Listing, Refusal> {
        self.listings
            .get(instrument.0 as usize)
            .ok_or(Refusal::UnknownInstrument)
    }

    /// The user's account in an instrument; both exist.
    pub(crate) fn account_for(&mut self, user: UserId, instrument: InstrumentId) -> u32 {
        let owner = &mut self.users[user.0 as usize];
        if let Some(account) = owner.account(instrument) {
            return account;
        }
        self.accounts.push(Account::new(instrument));
        let account = (self.accounts.len() - 1) as u32;
        owner.add_account(instrument, account);
        account
    }
}

#[inline(always)]
fn accepted(outcome: Outcome, event: &mut Event) -> Result<Applied, Refusal> {
    event.outcome = outcome;
    Ok(Applied::Event)
}

/// A snapshot that cannot be restored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a snapshot of the exchange: {0}")]
pub struct SnapshotError(pub String);
