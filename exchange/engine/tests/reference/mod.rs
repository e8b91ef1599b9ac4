//! The reference model: the rules of the exchange a second time, written from the contract to be
//! read and believed, not to be fast. Sorted vectors, linear searches, every figure recomputed when
//! it is asked for; nothing is cached, so nothing can be forgotten.
//!
//! It shares the engine's public vocabulary (commands, events, refusals) and none of its logic. The
//! one thing that it is told is the id of a new order: ids carry a place in the engine's memory,
//! which is no rule of the exchange (that they increase and are unique is checked elsewhere).

mod admin;
mod book;
mod orders;
mod queries;
mod risk;

use optivex_engine::command::{Command, Input};
use optivex_engine::event::{BookChange, Event, Outcome, Report, ReportKind};
use optivex_engine::types::{
    ClientOrderId, InstrumentId, InstrumentRiskLimits, Level, Order, OrderId, OrderStatus, Side, TradingPhase, UserId,
    UserRiskLimits,
};
use optivex_engine::{Applied, Limits, Refusal};

use book::Book;
use risk::Window;

/// The whole exchange, naively.
#[derive(Debug)]
pub(crate) struct Model {
    limits: Limits,
    event_seq: u64,
    time: i64,
    users: Vec<User>,
    books: Vec<Book>,
    last_order_id: u64,
    last_trade_id: u64,
    /// The event that the command at hand is becoming.
    event: Event,
}

#[derive(Debug)]
struct User {
    name: String,
    suspension: Option<String>,
    report_seq: u64,
    limits: UserRiskLimits,
    messages: Window,
    /// By instrument; as long as the list of instruments.
    holdings: Vec<Holding>,
    /// Client ids of open orders.
    open_ids: Vec<ClientId>,
    /// Client ids of done orders, the first done first.
    done_ids: Vec<ClientId>,
}

/// What a user has to do with one instrument, beside open orders.
#[derive(Debug, Default)]
struct Holding {
    quantity: i64,
    cash: i128,
    limits: InstrumentRiskLimits,
    lots: Window,
    amounts: Window,
}

/// What is known of a client id.
#[derive(Clone, Debug)]
struct ClientId {
    id: ClientOrderId,
    instrument: InstrumentId,
    terms: optivex_engine::command::OrderTerms,
    order_id: OrderId,
    event_seq: u64,
    report_seq: u64,
}

/// What came of a command that was not refused.
enum Answer {
    Event(Outcome),
    Repeated(Applied),
}

/// What everybody sees of a book: phase, bids, asks.
type Picture = (TradingPhase, Vec<Level>, Vec<Level>);

impl Model {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            event_seq: 0,
            time: 0,
            users: Vec::new(),
            books: Vec::new(),
            last_order_id: 0,
            last_trade_id: 0,
            event: Event::default(),
        }
    }

    /// Applies one input; a new order gets the id given. Every command checks all before it changes
    /// anything, so a refusal leaves no trace. The event is empty unless the answer is an event.
    pub(crate) fn apply(&mut self, input: &Input, new_order: OrderId) -> Result<(Applied, Event), Refusal> {
        let now = match self.event_seq {
            0 => input.time_unix_ns,
            _ => input.time_unix_ns.max(self.time),
        };
        let before: Vec<Picture> = self.books.iter().map(Book::picture).collect();
        self.event = Event {
            event_seq: self.event_seq + 1,
            time_unix_ns: now,
            ..Event::default()
        };
        match self.obey(&input.command, new_order)? {
            Answer::Repeated(applied) => Ok((applied, Event::default())),
            Answer::Event(outcome) => {
                self.event_seq += 1;
                self.time = now;
                let mut event = std::mem::take(&mut self.event);
                event.outcome = outcome;
                for (book, before) in self.books.iter_mut().zip(&before) {
                    publish(book, before, &mut event);
                }
                Ok((Applied::Event, event))
            }
        }
    }

    fn obey(&mut self, command: &Command, new_order: OrderId) -> Result<Answer, Refusal> {
        let outcome = match command {
            Command::RegisterUser { username } => self.register_user(username)?,
            Command::CreateInstrument(create) => return self.create_instrument(create),
            Command::SetTradingPhase { instrument, phase } => self.set_trading_phase(*instrument, *phase)?,
            Command::SuspendUser { user, comment } => self.suspend_user(*user, comment)?,
            Command::ResumeUser { user } => self.resume_user(*user)?,
            Command::SetUserRiskLimits { user, limits } => self.set_user_risk_limits(*user, *limits)?,
            Command::SetInstrumentRiskLimits {
                user,
                instrument,
                limits,
            } => self.set_instrument_risk_limits(*user, *instrument, *limits)?,
            Command::InsertOrder(insert) => return self.insert_order(insert, new_order),
            Command::AmendOrder(amend) => self.amend_order(amend)?,
            Command::CancelOrder { user, order } => self.cancel_order(*user, *order)?,
            Command::CancelAllOrders { user, instrument, side } => self.cancel_all_orders(*user, *instrument, *side)?,
            Command::CancelOnDisconnect { user, after } => self.cancel_on_disconnect(*user, *after)?,
        };
        Ok(Answer::Event(outcome))
    }

    fn known_user(&self, user: UserId) -> Result<(), Refusal> {
        match self.users.get(user.0 as usize) {
            Some(_) => Ok(()),
            None => Err(Refusal::UnknownUser),
        }
    }

    fn known_instrument(&self, instrument: InstrumentId) -> Result<(), Refusal> {
        match self.books.get(instrument.0 as usize) {
            Some(_) => Ok(()),
            None => Err(Refusal::UnknownInstrument),
        }
    }

    fn user(&self, user: UserId) -> &User {
        &self.users[user.0 as usize]
    }

    fn user_mut(&mut self, user: UserId) -> &mut User {
        &mut self.users[user.0 as usize]
    }

    fn book(&self, instrument: InstrumentId) -> &Book {
        &self.books[instrument.0 as usize]
    }

    fn book_mut(&mut self, instrument: InstrumentId) -> &mut Book {
        &mut self.books[instrument.0 as usize]
    }

    fn holding_mut(&mut self, user: UserId, instrument: InstrumentId) -> &mut Holding {
        &mut self.user_mut(user).holdings[instrument.0 as usize]
    }

    /// All open orders that fit, by id.
    fn open_orders_where(&self, fits: impl Fn(&Order) -> bool) -> Vec<Order> {
        let mut found: Vec<Order> = Vec::new();
        for book in &self.books {
            found.extend(book.orders().filter(|order| fits(order)));
        }
        found.sort_by_key(|order| order.order_id);
        found
    }

    /// Writes a report, and keeps the client id of an order that is done.
    fn report(&mut self, kind: ReportKind, order: Order) {
        let kept_max = self.limits.client_order_ids_per_user_max as usize;
        let user = self.user_mut(order.user);
        user.report_seq += 1;
        let report_seq = user.report_seq;
        if order.status != OrderStatus::Open {
            let at = user.open_ids.iter().position(|known| known.order_id == order.order_id);
            if let Some(at) = at {
                let known = user.open_ids.remove(at);
                user.done_ids.push(known);
                if user.done_ids.len() > kept_max {
                    user.done_ids.remove(0);
                }
            }
        }
        self.event.reports.push(Report {
            report_seq,
            kind,
            order,
        });
    }
}

/// Tells what an event changed of a book, if anything.
fn publish(book: &mut Book, before: &Picture, event: &mut Event) {
    let after = book.picture();
    if after == *before {
        return;
    }
    book.book_seq += 1;
    let bids = changed(Side::Buy, &before.1, &after.1, event);
    let asks = changed(Side::Sell, &before.2, &after.2, event);
    event.books.push(BookChange {
        instrument: book.instrument.id,
        book_seq: book.book_seq,
        phase: (before.0 != after.0).then_some(after.0),
        bids,
        asks,
        indicative: book.indicative(),
    });
}

fn changed(side: Side, before: &[Level], after: &[Level], event: &mut Event) -> std::ops::Range<u32> {
    let mut levels: Vec<Level> = Vec::new();
    for new in after {
        if !before.contains(new) {
            levels.push(*new);
        }
    }
    for old in before {
        if !after.iter().any(|new| new.price_e4 == old.price_e4) {
            levels.push(Level {
                price_e4: old.price_e4,
                quantity: 0,
                order_count: 0,
            });
        }
    }
    levels.sort_by_key(|level| match side {
        Side::Buy => -level.price_e4,
        Side::Sell => level.price_e4,
    });
    let start = event.levels.len() as u32;
    event.levels.extend(levels);
    start..event.levels.len() as u32
}
