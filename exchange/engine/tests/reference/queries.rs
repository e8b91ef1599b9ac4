//! What can be asked of the model: the same questions as of the engine.

use optivex_engine::command::OrderRef;
use optivex_engine::types::{
    Indicative, Instrument, InstrumentId, InstrumentRiskLimits, Level, Order, OrderId, Side, UserId, UserRiskLimits,
};
use optivex_engine::{OrderLookup, Position};

use super::risk::clamp;
use super::{Book, Model};

impl Model {
    pub(crate) fn event_seq(&self) -> u64 {
        self.event_seq
    }

    pub(crate) fn time_unix_ns(&self) -> i64 {
        self.time
    }

    pub(crate) fn last_order_id(&self) -> OrderId {
        OrderId(self.last_order_id)
    }

    pub(crate) fn last_trade_id(&self) -> u64 {
        self.last_trade_id
    }

    pub(crate) fn usernames(&self) -> Vec<&str> {
        self.users.iter().map(|user| user.name.as_str()).collect()
    }

    pub(crate) fn instruments(&self) -> Vec<&Instrument> {
        self.books.iter().map(|book| &book.instrument).collect()
    }

    pub(crate) fn find_book(&self, instrument: InstrumentId) -> Option<&Book> {
        self.books.get(instrument.0 as usize)
    }

    pub(crate) fn book_seq(&self, instrument: InstrumentId) -> u64 {
        self.find_book(instrument).map_or(0, |book| book.book_seq)
    }

    pub(crate) fn levels(&self, instrument: InstrumentId, side: Side) -> Vec<Level> {
        self.find_book(instrument).map_or(Vec::new(), |book| book.levels(side))
    }

    pub(crate) fn resting_orders(&self, instrument: InstrumentId, side: Side) -> &[Order] {
        self.find_book(instrument).map_or(&[], |book| book.side(side))
    }

    pub(crate) fn indicative(&self, instrument: InstrumentId) -> Option<Indicative> {
        self.find_book(instrument)?.indicative()
    }

    pub(crate) fn last_trade_price_e4(&self, instrument: InstrumentId) -> Option<i64> {
        self.find_book(instrument)?.last_trade_price
    }

    pub(crate) fn open_orders(&self, user: UserId, instrument: Option<InstrumentId>, after: OrderId) -> Vec<Order> {
        self.open_orders_where(|order| {
            order.user == user && instrument.is_none_or(|wanted| order.instrument == wanted) && order.order_id > after
        })
    }

    pub(crate) fn order(&self, user_id: UserId, order: OrderRef) -> OrderLookup {
        let Some(user) = self.users.get(user_id.0 as usize) else {
            return OrderLookup::Unknown;
        };
        if let Some(open) = self.find_open(user_id, order) {
            return OrderLookup::Open(open);
        }
        if let OrderRef::Client(id) = order
            && let Some(done) = user.done_ids.iter().find(|done| done.id == id)
        {
            return OrderLookup::Done(done.order_id);
        }
        OrderLookup::Unknown
    }

    pub(crate) fn report_seq(&self, user: UserId) -> u64 {
        self.users.get(user.0 as usize).map_or(0, |user| user.report_seq)
    }

    pub(crate) fn positions(&self, user_id: UserId) -> Vec<Position> {
        let Some(user) = self.users.get(user_id.0 as usize) else {
            return Vec::new();
        };
        let mut positions = Vec::new();
        for (book, holding) in self.books.iter().zip(&user.holdings) {
            let open = |orders: &[Order]| -> i64 {
                let own = orders.iter().filter(|order| order.user == user_id);
                own.map(Order::open_quantity).sum()
            };
            let last = i128::from(book.last_trade_price.unwrap_or(0));
            let value = i128::from(holding.quantity) * last * i128::from(book.instrument.multiplier);
            let position = Position {
                instrument: book.instrument.id,
                quantity: holding.quantity,
                cash_e4: clamp(holding.cash),
                market_value_e4: clamp(value),
                open_buy_quantity: open(&book.bids),
                open_sell_quantity: open(&book.asks),
            };
            let nothing = position.quantity == 0
                && position.cash_e4 == 0
                && position.open_buy_quantity == 0
                && position.open_sell_quantity == 0;
            if !nothing {
                positions.push(position);
            }
        }
        positions
    }

    pub(crate) fn suspension(&self, user: UserId) -> Option<&str> {
        self.users.get(user.0 as usize)?.suspension.as_deref()
    }

    pub(crate) fn user_risk_limits(&self, user: UserId) -> UserRiskLimits {
        let user = self.users.get(user.0 as usize);
        user.map_or(UserRiskLimits::default(), |user| user.limits)
    }

    pub(crate) fn instrument_risk_limits(&self, user: UserId) -> Vec<(InstrumentId, InstrumentRiskLimits)> {
        let Some(user) = self.users.get(user.0 as usize) else {
            return Vec::new();
        };
        let mut limits = Vec::new();
        for (holding, book) in user.holdings.iter().zip(&self.books) {
            if holding.limits != InstrumentRiskLimits::default() {
                limits.push((book.instrument.id, holding.limits));
            }
        }
        limits
    }
}
