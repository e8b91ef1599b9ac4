//! An engine, the writer of market data behind it, and everything that the books ever showed.

use std::collections::BTreeMap;
use std::sync::mpsc;

use optivex_engine::command::{CreateInstrument, InsertOrder, OrderRef, OrderTerms};
use optivex_engine::types::{
    ClientOrderId, ClientRequestId, Indicative, InstrumentId, Level, OrderId, OrderType, SelfTradePrevention, Side,
    Symbol, TimeInForce, TradingPhase, UserId, Username,
};
use optivex_engine::{Command, Engine, Event, Input, Limits};
use optivex_proto::v1;

use super::super::hub::Hub;
use super::super::request::BooksRequest;
use super::super::{Feed, FeedSettings, Subscription, Turn, take_turn};
use crate::error::Error;

/// A book after one change of it.
#[derive(Clone, Debug)]
pub(super) struct BookTruth {
    pub(super) event_seq: u64,
    pub(super) phase: TradingPhase,
    pub(super) indicative: Option<Indicative>,
    pub(super) bids: Vec<Level>,
    pub(super) asks: Vec<Level>,
    /// Trades of the change: id, price, quantity.
    pub(super) trades: Vec<(u64, i64, i64)>,
}

/// Every state of one book; the index is the book_seq.
pub(super) type BookHistory = Vec<BookTruth>;

pub(super) struct Venue {
    pub(super) engine: Engine,
    pub(super) feed: Feed,
    pub(super) hub: Hub,
    turns: mpsc::Receiver<Turn>,
    /// Events that the writer did not see yet.
    pub(super) unpublished: Vec<Event>,
    pub(super) truth: BTreeMap<String, BookHistory>,
    pub(super) orders: Vec<(UserId, OrderId)>,
}

impl Venue {
    pub(super) fn new(settings: &FeedSettings) -> Self {
        let (feed, hub, turns) = Feed::new(settings);
        let mut venue = Self {
            engine: Engine::new(Limits::default()),
            feed,
            hub,
            turns,
            unpublished: Vec::new(),
            truth: BTreeMap::new(),
            orders: Vec::new(),
        };
        for name in ["alice", "bob", "carol"] {
            let username = Username::from(name).expect("a short name");
            venue.apply(Command::RegisterUser { username });
        }
        venue
    }

    /// Applies a command if the engine takes it.
    pub(super) fn apply(&mut self, command: Command) -> bool {
        let mut event = Event::default();
        let input = Input {
            time_unix_ns: i64::try_from(self.engine.event_seq()).expect("few events") * 1_000,
            command,
        };
        if self.engine.apply(&input, &mut event).is_err() || event.event_seq == 0 {
            return false;
        }
        if let optivex_engine::event::Outcome::InstrumentCreated(instrument) = &event.outcome {
            let born = self.now(instrument.id, event.event_seq, Vec::new());
            self.truth.insert(instrument.symbol.to_string(), vec![born]);
        }
        for change in &event.books {
            let trades = event
                .trades
                .iter()
                .map(|trade| (trade.trade_id.0, trade.price_e4, trade.quantity));
            let after = self.now(change.instrument, event.event_seq, trades.collect());
            let symbol = self.symbol(change.instrument);
            let history = self.truth.get_mut(&symbol).expect("a listed instrument");
            assert_eq!(change.book_seq as usize, history.len());
            history.push(after);
        }
        for report in &event.reports {
            self.orders.push((report.order.user, report.order.order_id));
        }
        self.unpublished.push(event);
        true
    }

    fn now(&self, id: InstrumentId, event_seq: u64, trades: Vec<(u64, i64, i64)>) -> BookTruth {
        BookTruth {
            event_seq,
            phase: self.engine.phase(id).expect("a book"),
            indicative: self.engine.indicative(id),
            bids: self.engine.levels(id, Side::Buy).collect(),
            asks: self.engine.levels(id, Side::Sell).collect(),
            trades,
        }
    }

    pub(super) fn symbol(&self, id: InstrumentId) -> String {
        self.engine.instrument(id).expect("a book").symbol.to_string()
    }

    pub(super) fn list(&mut self, symbol: &str, phase: TradingPhase) -> InstrumentId {
        let id = InstrumentId(u32::try_from(self.engine.instruments().len()).expect("few instruments"));
        let created = self.apply(Command::CreateInstrument(CreateInstrument {
            user: UserId(0),
            symbol: Symbol::from(symbol).expect("a short symbol"),
            description: String::new(),
            currency: arrayvec::ArrayString::from("EUR").expect("three letters"),
            multiplier: 1,
            tick_size_e4: 1,
            initial_phase: phase,
            client_request_id: ClientRequestId::new(),
        }));
        assert!(created, "{symbol}");
        id
    }

    pub(super) fn insert(&mut self, user: u32, book: InstrumentId, side: Side, price_e4: i64, quantity: i64) -> bool {
        self.apply(Command::InsertOrder(InsertOrder {
            user: UserId(user),
            instrument: book,
            terms: OrderTerms {
                side,
                price_e4,
                quantity,
                order_type: OrderType::Limit,
                time_in_force: TimeInForce::GoodTillCancelled,
                post_only: false,
                self_trade_prevention: SelfTradePrevention::CancelResting,
            },
            client_order_id: ClientOrderId::new(),
        }))
    }

    pub(super) fn cancel_all(&mut self, user: u32, book: InstrumentId) -> bool {
        self.apply(Command::CancelAllOrders {
            user: UserId(user),
            instrument: Some(book),
            side: None,
        })
    }

    pub(super) fn cancel(&mut self, index: usize) -> bool {
        let Some(&(user, order)) = self.orders.get(index % self.orders.len().max(1)) else {
            return false;
        };
        self.apply(Command::CancelOrder {
            user,
            order: OrderRef::Id(order),
        })
    }

    pub(super) fn set_phase(&mut self, instrument: InstrumentId, phase: TradingPhase) -> bool {
        self.apply(Command::SetTradingPhase { instrument, phase })
    }

    /// Shows the writer everything that happened.
    pub(super) fn publish(&mut self) {
        while let Ok(turn) = self.turns.try_recv() {
            take_turn(&mut self.hub, turn);
        }
        let events = std::mem::take(&mut self.unpublished);
        self.hub.apply(&events);
        self.hub.announce();
        self.hub.announce_conflated();
    }

    /// As `publish`, and ends a heartbeat interval.
    pub(super) fn tick(&mut self) {
        self.publish();
        self.hub.tick();
    }

    pub(super) fn subscribe(&mut self, request: &v1::SubscribeOrderBooksRequest) -> Result<Subscription, Error> {
        self.publish();
        let request = BooksRequest::parse(request)?;
        let feed = self.feed.clone();
        self.hub.subscribe(&feed, UserId(0), &request)
    }
}
