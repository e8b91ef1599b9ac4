//! State to bytes, one record at a time.

use prost::Message;

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
        // Messages of what there are many of are used again, with the room of their texts.
        let mut message = message::Order::default();
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
                    set_order(&mut message, order);
                    put(tag::ORDER, &message);
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
        let mut client_id = message::ClientId::default();
        for (user, state) in self.users.iter().enumerate() {
            let ids = &state.client_ids;
            let open = ids.open_inserts().map(|(id, insert)| (id, insert, false));
            let done = ids.done_inserts().map(|(id, insert)| (id, insert, true));
            for (id, insert, is_done) in open.chain(done) {
                set_client_id(&mut client_id, user as u32, id, insert, is_done);
                put(tag::CLIENT_ID, &client_id);
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
trait Record {
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

fn set_order(message: &mut message::Order, order: &Order) {
    let mut client_order_id = std::mem::take(&mut message.client_order_id);
    order.client_order_id.as_str().clone_into(&mut client_order_id);
    *message = message::Order {
        instrument: order.instrument.0,
        side: code(&SIDES, order.side),
        order_id: order.order_id.0,
        user: order.user.0,
        client_order_id,
        price_e4: order.price_e4,
        quantity: order.quantity,
        filled_quantity: order.filled_quantity,
        created_unix_ns: order.created_unix_ns,
        post_only: order.post_only,
        self_trade_prevention: code(&SELF_TRADE_PREVENTIONS, order.self_trade_prevention),
        event_seq: order.event_seq,
    };
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

fn set_client_id(message: &mut message::ClientId, user: u32, id: &ClientOrderId, insert: &FirstInsert, is_done: bool) {
    let terms = &insert.terms;
    let mut client_order_id = std::mem::take(&mut message.client_order_id);
    id.as_str().clone_into(&mut client_order_id);
    *message = message::ClientId {
        user,
        client_order_id,
        done: is_done,
        instrument: insert.instrument.0,
        side: code(&SIDES, terms.side),
        price_e4: terms.price_e4,
        quantity: terms.quantity,
        order_type: code(&ORDER_TYPES, terms.order_type),
        time_in_force: code(&TIMES_IN_FORCE, terms.time_in_force),
        post_only: terms.post_only,
        self_trade_prevention: code(&SELF_TRADE_PREVENTIONS, terms.self_trade_prevention),
        order_id: insert.order_id.0,
        event_seq: insert.event_seq,
        report_seq: insert.report_seq,
    };
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
