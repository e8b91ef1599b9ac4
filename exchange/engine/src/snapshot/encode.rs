//! State to bytes, one record at a time.

use prost::Message;

use super::fields::Fields;
use super::message::{self, tag};
use super::{ORDER_TYPES, PHASES, SELF_TRADE_PREVENTIONS, SIDES, TIMES_IN_FORCE, code};
use crate::client_ids::FirstInsert;
use crate::engine::Engine;
use crate::instrument::Listing;
use crate::limits::Limits;
use crate::position::Account;
use crate::risk::RollingWindow;
use crate::types::{ClientOrderId, InstrumentRiskLimits, Order, RollingWindowLimit};
use crate::user::User;

/// Orders copied at a time before they are written: orders lie anywhere in memory, and a loop that only
/// copies does not wait for one before it asks for the next.
const ORDERS_GATHERED: usize = 64;

/// Key of a field whose value has a length; tags are below 16.
pub(super) fn key(tag: u8) -> u8 {
    tag << 3 | 2
}

impl Engine {
    /// Appends the state to `bytes`; `written` is called after each record and may take them away.
    pub(super) fn encode(&self, bytes: &mut Vec<u8>, written: &mut dyn FnMut(&mut Vec<u8>)) {
        let mut put = |tag: u8, record: &dyn Record| {
            bytes.push(key(tag));
            record.append(bytes);
            written(bytes);
        };
        put(tag::HEADER, &self.header());
        for user in &self.users {
            put(tag::USER, &user_message(user));
        }
        for listing in &self.listings {
            put(tag::INSTRUMENT, &instrument_message(listing));
        }
        let mut gathered = Vec::with_capacity(ORDERS_GATHERED);
        for listing in &self.listings {
            let mut orders = SIDES
                .into_iter()
                .flat_map(|side| listing.book.levels(side))
                .flat_map(|level| self.orders.queue(level))
                .copied();
            loop {
                gathered.clear();
                gathered.extend(orders.by_ref().take(ORDERS_GATHERED));
                if gathered.is_empty() {
                    break;
                }
                for order in &gathered {
                    put(tag::ORDER, &order_fields(order));
                }
            }
        }
        for (user, state) in self.users.iter().enumerate() {
            for account in state.accounts() {
                if let Some(account) = account_message(user as u32, &self.accounts[account as usize]) {
                    put(tag::ACCOUNT, &account);
                }
            }
        }
        for (user, state) in self.users.iter().enumerate() {
            let ids = &state.client_ids;
            let open = ids.open_inserts().map(|(id, insert)| (id, insert, false));
            let done = ids.done_inserts().map(|(id, insert)| (id, insert, true));
            for (id, insert, is_done) in open.chain(done) {
                put(tag::CLIENT_ID, &client_id_fields(user as u32, id, insert, is_done));
            }
        }
    }

    fn header(&self) -> message::Header {
        let Limits {
            users_max,
            instruments_max,
            open_orders_max,
            open_orders_per_user_max,
            price_levels_per_side_max,
            client_order_ids_per_user_max,
            rolling_window_moments_max,
        } = self.limits;
        message::Header {
            version: message::VERSION,
            limits: Some(message::Limits {
                users_max,
                instruments_max,
                open_orders_max,
                open_orders_per_user_max,
                price_levels_per_side_max,
                client_order_ids_per_user_max,
                rolling_window_moments_max,
            }),
            event_seq: self.event_seq,
            time_unix_ns: self.time_unix_ns,
            last_order_id: self.orders.last_id().0,
            last_trade_id: self.last_trade_id,
            free_slots: self.orders.free_slots().to_vec(),
        }
    }
}

/// A message of any type.
pub(super) trait Record {
    /// Appends its length and bytes.
    fn append(&self, bytes: &mut Vec<u8>);
}

impl<M: Message> Record for M {
    fn append(&self, bytes: &mut Vec<u8>) {
        self.encode_length_delimited(bytes)
            .expect("a vector has room for any message");
    }
}

fn user_message(user: &User) -> message::User {
    message::User {
        name: user.name.to_string(),
        suspension: user.suspension.clone(),
        report_seq: user.report_seq,
        message_rate: user.limits.message_rate.map(window_limit_message),
        max_outstanding_quantity: user.limits.max_outstanding_quantity,
        max_outstanding_amount_e4: user.limits.max_outstanding_amount_e4,
        messages: user.messages.as_ref().map(window_message),
    }
}

fn instrument_message(listing: &Listing) -> message::Instrument {
    let created = &listing.created;
    message::Instrument {
        creator: created.user.0,
        symbol: created.symbol.to_string(),
        description: created.description.clone(),
        currency: created.currency.to_string(),
        multiplier: created.multiplier,
        tick_size_e4: created.tick_size_e4,
        initial_phase: code(&PHASES, created.initial_phase),
        client_request_id: created.client_request_id.to_string(),
        created_event_seq: listing.created_event_seq,
        created_unix_ns: listing.instrument.created_unix_ns,
        phase: code(&PHASES, listing.phase()),
        book_seq: listing.book_seq,
        last_trade_price_e4: listing.last_trade_price_e4,
    }
}

/// [`message::Order`].
fn order_fields(order: &Order) -> Fields {
    let mut fields = Fields::new();
    fields
        .number(1, order.instrument.0)
        .number(2, code(&SIDES, order.side))
        .number(3, order.order_id.0)
        .number(4, order.user.0)
        .text(5, &order.client_order_id)
        .signed(6, order.price_e4)
        .number(7, order.quantity as u64)
        .number(8, order.filled_quantity as u64)
        .signed(9, order.created_unix_ns)
        .number(10, order.post_only)
        .number(11, code(&SELF_TRADE_PREVENTIONS, order.self_trade_prevention))
        .number(12, order.event_seq);
    fields
}

/// `None` for an account that is as good as none.
fn account_message(user: u32, account: &Account) -> Option<message::Account> {
    let none = InstrumentRiskLimits::default();
    let risk = account.risk.as_deref();
    let limits = risk.map_or(&none, |risk| &risk.limits);
    let quantities = risk.and_then(|risk| risk.quantities.as_ref());
    let amounts = risk.and_then(|risk| risk.amounts.as_ref());
    let nothing_held = account.quantity == 0 && account.cash_e4 == 0;
    if nothing_held && *limits == none && quantities.is_none() && amounts.is_none() {
        return None;
    }
    Some(message::Account {
        user,
        instrument: account.instrument.0,
        quantity: Some(account.quantity.into()),
        cash_e4: Some(account.cash_e4.into()),
        order_quantity: limits.order_quantity.map(window_limit_message),
        order_amount: limits.order_amount.map(window_limit_message),
        max_outstanding_quantity: limits.max_outstanding_quantity,
        max_outstanding_amount_e4: limits.max_outstanding_amount_e4,
        max_order_quantity: limits.max_order_quantity,
        max_position: limits.max_position,
        quantities: quantities.map(window_message),
        amounts: amounts.map(window_message),
    })
}

/// [`message::ClientId`].
fn client_id_fields(user: u32, id: &ClientOrderId, insert: &FirstInsert, is_done: bool) -> Fields {
    let terms = &insert.terms;
    let mut fields = Fields::new();
    fields
        .number(1, user)
        .text(2, id)
        .number(3, is_done)
        .number(4, insert.instrument.0)
        .number(5, code(&SIDES, terms.side))
        .signed(6, terms.price_e4)
        .number(7, terms.quantity as u64)
        .number(8, code(&ORDER_TYPES, terms.order_type))
        .number(9, code(&TIMES_IN_FORCE, terms.time_in_force))
        .number(10, terms.post_only)
        .number(11, code(&SELF_TRADE_PREVENTIONS, terms.self_trade_prevention))
        .number(12, insert.order_id.0)
        .number(13, insert.event_seq)
        .number(14, insert.report_seq);
    fields
}

fn window_limit_message(limit: RollingWindowLimit) -> message::WindowLimit {
    message::WindowLimit {
        limit: limit.limit,
        window_in_seconds: limit.window_in_seconds,
    }
}

fn window_message(window: &RollingWindow) -> message::Window {
    let moment = |(time_unix_ns, amount): (i64, i128)| message::Moment {
        time_unix_ns,
        amount: Some(amount.into()),
    };
    message::Window {
        moments: window.moments().map(moment).collect(),
    }
}
