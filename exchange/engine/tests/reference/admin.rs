//! Users, instruments and phases of the model.

use optivex_engine::command::{CreateInstrument, InvalidField, validate_instrument_limits, validate_user_limits};
use optivex_engine::event::{Outcome, ReportKind, Trade};
use optivex_engine::types::{
    CancelReason, Instrument, InstrumentId, InstrumentRiskLimits, Order, OrderStatus, TEXT_BYTES_MAX, TradeId,
    TradingPhase, UserId, UserRiskLimits,
};
use optivex_engine::{Applied, Refusal};

use super::risk::Window;
use super::{Answer, Book, Holding, Model, User};

impl Model {
    pub(super) fn register_user(&mut self, name: &str) -> Result<Outcome, Refusal> {
        if name.is_empty() {
            return Err(InvalidField::new("username", "not empty").into());
        }
        if let Some(known) = self.users.iter().position(|user| user.name == name) {
            return Ok(Outcome::UserRegistered(UserId(known as u32)));
        }
        if self.users.len() >= self.limits.users_max as usize {
            return Err(Refusal::Capacity {
                limit_name: "users_max",
                limit: u64::from(self.limits.users_max),
            });
        }
        let id = UserId(self.users.len() as u32);
        self.users.push(User {
            name: name.to_owned(),
            suspension: None,
            report_seq: 0,
            limits: UserRiskLimits::default(),
            messages: Window::default(),
            holdings: self.books.iter().map(|_| Holding::default()).collect(),
            open_ids: Vec::new(),
            done_ids: Vec::new(),
        });
        Ok(Outcome::UserRegistered(id))
    }

    pub(super) fn create_instrument(&mut self, create: &CreateInstrument) -> Result<Answer, Refusal> {
        create.validate()?;
        self.known_user(create.user)?;
        if !create.client_request_id.is_empty() {
            let same_id = |book: &&Book| {
                let first = &book.created.0;
                first.user == create.user && first.client_request_id == create.client_request_id
            };
            if let Some(book) = self.books.iter().find(same_id) {
                if book.created.0 != *create {
                    return Err(Refusal::ClientIdReused);
                }
                let instrument = Instrument {
                    phase: create.initial_phase,
                    ..book.instrument.clone()
                };
                return Ok(Answer::Repeated(Applied::InstrumentRepeated {
                    instrument: Box::new(instrument),
                    event_seq: book.created.1,
                }));
            }
        }
        if self.books.iter().any(|book| book.instrument.symbol == create.symbol) {
            return Err(Refusal::DuplicateSymbol);
        }
        if self.books.len() >= self.limits.instruments_max as usize {
            return Err(Refusal::Capacity {
                limit_name: "instruments_max",
                limit: u64::from(self.limits.instruments_max),
            });
        }
        let instrument = Instrument {
            id: InstrumentId(self.books.len() as u32),
            symbol: create.symbol,
            description: create.description.clone(),
            currency: create.currency,
            multiplier: create.multiplier,
            tick_size_e4: create.tick_size_e4,
            phase: create.initial_phase,
            created_unix_ns: self.event.time_unix_ns,
        };
        self.books.push(Book {
            instrument: instrument.clone(),
            created: (create.clone(), self.event.event_seq),
            book_seq: 0,
            last_trade_price: None,
            bids: Vec::new(),
            asks: Vec::new(),
        });
        for user in &mut self.users {
            user.holdings.push(Holding::default());
        }
        Ok(Answer::Event(Outcome::InstrumentCreated(Box::new(instrument))))
    }

    pub(super) fn set_trading_phase(&mut self, id: InstrumentId, phase: TradingPhase) -> Result<Outcome, Refusal> {
        self.known_instrument(id)?;
        let old = self.book(id).instrument.phase;
        if phase != old {
            if old == TradingPhase::Closed {
                return Err(Refusal::PhaseForbids { phase: old });
            }
            self.book_mut(id).instrument.phase = phase;
            match phase {
                TradingPhase::Continuous => self.uncross(id),
                TradingPhase::Closed => {
                    let all = self.open_orders_where(|order| order.instrument == id);
                    self.cancel(&all, CancelReason::Closed);
                }
                TradingPhase::Auction | TradingPhase::Halted => {}
            }
        }
        Ok(Outcome::PhaseSet(id, phase))
    }

    /// Trades all that can trade at the auction price, best bid with best ask.
    fn uncross(&mut self, id: InstrumentId) {
        let Some(auction) = self.book(id).uncross() else { return };
        let mut left = auction.quantity;
        while left > 0 {
            let (mut buy, mut sell) = (self.book(id).bids[0], self.book(id).asks[0]);
            let lots = left.min(buy.open_quantity()).min(sell.open_quantity());
            left -= lots;
            let trade_id = self.trade(None, auction.price_e4, lots, &buy, &sell);
            for order in [&mut buy, &mut sell] {
                self.fill(order, lots);
                match order.status {
                    OrderStatus::Open => self.book_mut(id).replace(*order),
                    _ => self.book_mut(id).remove(order),
                }
                let kind = ReportKind::Fill {
                    trade_id,
                    price_e4: auction.price_e4,
                    quantity: lots,
                    aggressor: false,
                };
                self.report(kind, *order);
            }
        }
    }

    /// Writes a trade to tape and positions.
    pub(super) fn trade(
        &mut self,
        aggressor_side: Option<optivex_engine::types::Side>,
        price_e4: i64,
        quantity: i64,
        buy: &Order,
        sell: &Order,
    ) -> TradeId {
        self.last_trade_id += 1;
        let instrument = buy.instrument;
        self.event.trades.push(Trade {
            trade_id: TradeId(self.last_trade_id),
            instrument,
            price_e4,
            quantity,
            aggressor_side,
            buy_order: buy.order_id,
            buyer: buy.user,
            sell_order: sell.order_id,
            seller: sell.user,
        });
        let book = self.book_mut(instrument);
        book.last_trade_price = Some(price_e4);
        let money = i128::from(price_e4) * i128::from(quantity) * i128::from(book.instrument.multiplier);
        let buyer = self.holding_mut(buy.user, instrument);
        buyer.quantity += quantity;
        buyer.cash -= money;
        let seller = self.holding_mut(sell.user, instrument);
        seller.quantity -= quantity;
        seller.cash += money;
        TradeId(self.last_trade_id)
    }

    pub(super) fn suspend_user(&mut self, id: UserId, comment: &str) -> Result<Outcome, Refusal> {
        if comment.len() > TEXT_BYTES_MAX {
            return Err(InvalidField::new("comment", "at most 256 bytes").into());
        }
        self.known_user(id)?;
        self.user_mut(id).suspension = Some(comment.to_owned());
        let all = self.open_orders_where(|order| order.user == id);
        self.cancel(&all, CancelReason::Suspended);
        Ok(Outcome::UserSuspended(id, all.len() as u64))
    }

    pub(super) fn resume_user(&mut self, id: UserId) -> Result<Outcome, Refusal> {
        self.known_user(id)?;
        self.user_mut(id).suspension = None;
        Ok(Outcome::UserResumed(id))
    }

    pub(super) fn set_user_risk_limits(&mut self, id: UserId, limits: UserRiskLimits) -> Result<Outcome, Refusal> {
        validate_user_limits(&limits)?;
        self.known_user(id)?;
        let user = self.user_mut(id);
        user.limits = limits;
        user.messages.start_if(limits.message_rate);
        Ok(Outcome::UserRiskLimitsSet(id))
    }

    pub(super) fn set_instrument_risk_limits(
        &mut self,
        user: UserId,
        instrument: InstrumentId,
        limits: InstrumentRiskLimits,
    ) -> Result<Outcome, Refusal> {
        validate_instrument_limits(&limits)?;
        self.known_user(user)?;
        self.known_instrument(instrument)?;
        let holding = self.holding_mut(user, instrument);
        holding.limits = limits;
        holding.lots.start_if(limits.order_quantity);
        holding.amounts.start_if(limits.order_amount);
        Ok(Outcome::InstrumentRiskLimitsSet(user, instrument))
    }
}
