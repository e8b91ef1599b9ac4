//! What users do with orders, in the model.

use optivex_engine::command::{AmendOrder, InsertOrder, InvalidField, OrderRef};
use optivex_engine::event::{OrderOutcome, Outcome, ReportKind};
use optivex_engine::types::{
    CancelReason, InstrumentId, NOTIONAL_E4_MAX, Order, OrderId, OrderStatus, OrderType, SelfTradePrevention, Side,
    TimeInForce, TradingPhase, UserId,
};
use optivex_engine::{Applied, Refusal};

use super::book::crosses;
use super::risk::Addition;
use super::{Answer, ClientId, Model};

impl Model {
    pub(super) fn insert_order(&mut self, insert: &InsertOrder, new_order: OrderId) -> Result<Answer, Refusal> {
        let terms = insert.terms;
        terms.validate()?;
        self.known_user(insert.user)?;
        self.known_instrument(insert.instrument)?;
        self.check_price_and_notional(insert.instrument, terms.price_e4, terms.quantity)?;

        let user = self.user(insert.user);
        if !insert.client_order_id.is_empty() {
            let mut known = user.open_ids.iter().chain(&user.done_ids);
            if let Some(known) = known.find(|known| known.id == insert.client_order_id) {
                if known.instrument != insert.instrument || known.terms != terms {
                    return Err(Refusal::ClientIdReused);
                }
                return Ok(Answer::Repeated(Applied::OrderRepeated {
                    order_id: known.order_id,
                    event_seq: known.event_seq,
                    report_seq: known.report_seq,
                }));
            }
        }
        if let Some(comment) = &user.suspension {
            return Err(Refusal::UserSuspended {
                comment: comment.clone(),
            });
        }

        let book = self.book(insert.instrument);
        let phase = book.instrument.phase;
        let may_rest = terms.order_type == OrderType::Limit && terms.time_in_force == TimeInForce::GoodTillCancelled;
        let taken = match phase {
            TradingPhase::Auction => may_rest,
            TradingPhase::Continuous => true,
            TradingPhase::Halted | TradingPhase::Closed => false,
        };
        if !taken {
            return Err(Refusal::PhaseForbids { phase });
        }
        let limit_price = match terms.order_type {
            OrderType::Limit => Some(terms.price_e4),
            OrderType::Market => None,
        };
        let mut rests = true;
        let mut amount = book.amount(terms.price_e4, terms.quantity);
        if phase == TradingPhase::Continuous {
            if terms.post_only && book.would_cross(terms.side, terms.price_e4) {
                return Err(Refusal::WouldCross);
            }
            let stp = terms.self_trade_prevention;
            let forecast = book.forecast(insert.user, terms.side, limit_price, terms.quantity, stp);
            if terms.time_in_force == TimeInForce::FillOrKill && forecast.remainder > 0 {
                return Err(Refusal::CannotFill);
            }
            rests = may_rest && forecast.remainder > 0 && !forecast.stopped;
            if terms.order_type == OrderType::Market {
                amount = forecast
                    .trades
                    .iter()
                    .map(|(price, lots)| book.amount(*price, *lots))
                    .sum();
            }
        }
        let addition = Addition {
            quantity: i128::from(terms.quantity),
            amount,
            order_quantity: 0,
        };
        self.check_limits(insert.user, insert.instrument, terms.side, addition)?;
        if rests {
            self.check_room_for_order(insert.user)?;
            self.check_room_for_level(insert.instrument, terms.side, terms.price_e4, None)?;
        }

        self.count(insert.user, insert.instrument, addition);
        self.last_order_id = new_order.0;
        let mut order = Order {
            order_id: new_order,
            user: insert.user,
            client_order_id: insert.client_order_id,
            instrument: insert.instrument,
            side: terms.side,
            price_e4: terms.price_e4,
            quantity: terms.quantity,
            filled_quantity: 0,
            status: OrderStatus::Open,
            created_unix_ns: self.event.time_unix_ns,
            order_type: terms.order_type,
            time_in_force: terms.time_in_force,
            post_only: terms.post_only,
            self_trade_prevention: terms.self_trade_prevention,
            event_seq: self.event.event_seq,
        };
        if !insert.client_order_id.is_empty() {
            let event_seq = self.event.event_seq;
            let user = self.user_mut(insert.user);
            user.open_ids.push(ClientId {
                id: insert.client_order_id,
                instrument: insert.instrument,
                terms,
                order_id: new_order,
                event_seq,
                report_seq: user.report_seq + 1,
            });
        }
        self.report(ReportKind::Accepted, order);
        self.match_and_rest(&mut order);
        Ok(Answer::Event(Outcome::Inserted(stands(&order))))
    }

    pub(super) fn amend_order(&mut self, amend: &AmendOrder) -> Result<Outcome, Refusal> {
        amend.validate()?;
        check_form(amend.order)?;
        self.known_user(amend.user)?;
        let old = self.find_open(amend.user, amend.order).ok_or(Refusal::OrderNotOpen)?;
        let price = amend.price_e4.unwrap_or(old.price_e4);
        let quantity = amend.quantity.unwrap_or(old.quantity);
        let ends = quantity <= old.filled_quantity;
        // An order that ends has no notional any more; its new price must be a price all the same.
        self.check_price_and_notional(old.instrument, price, if ends { 0 } else { quantity })?;
        let book = self.book(old.instrument);
        let phase = book.instrument.phase;
        if phase == TradingPhase::Halted || phase == TradingPhase::Closed {
            return Err(Refusal::PhaseForbids { phase });
        }
        let keeps_place = price == old.price_e4 && quantity <= old.quantity;
        let continuous = phase == TradingPhase::Continuous;
        if !ends && !keeps_place && continuous && old.post_only && book.would_cross(old.side, price) {
            return Err(Refusal::WouldCross);
        }

        let new_open = if ends { 0 } else { quantity - old.filled_quantity };
        let addition = Addition {
            quantity: i128::from(new_open - old.open_quantity()),
            amount: book.amount(price, new_open) - book.amount(old.price_e4, old.open_quantity()),
            order_quantity: i128::from(old.quantity),
        };
        let mut rests = true;
        if continuous {
            let stp = old.self_trade_prevention;
            let forecast = book.forecast(old.user, old.side, Some(price), new_open, stp);
            rests = forecast.remainder > 0 && !forecast.stopped;
        }
        self.check_limits(old.user, old.instrument, old.side, addition)?;
        if !ends && !keeps_place && rests {
            self.check_room_for_level(old.instrument, old.side, price, Some(&old))?;
        }

        self.count(old.user, old.instrument, addition);
        let mut order = old;
        if ends {
            self.cancel(&[old], CancelReason::User);
            order.status = OrderStatus::Cancelled(CancelReason::User);
            return Ok(Outcome::Amended(stands(&order)));
        }
        order.price_e4 = price;
        order.quantity = quantity;
        order.event_seq = self.event.event_seq;
        self.report(ReportKind::Amended, order);
        if keeps_place {
            self.book_mut(old.instrument).replace(order);
        } else {
            self.book_mut(old.instrument).remove(&old);
            self.match_and_rest(&mut order);
        }
        Ok(Outcome::Amended(stands(&order)))
    }

    pub(super) fn cancel_order(&mut self, user: UserId, order: OrderRef) -> Result<Outcome, Refusal> {
        check_form(order)?;
        self.known_user(user)?;
        let order = self.find_open(user, order).ok_or(Refusal::OrderNotOpen)?;
        self.count_message(user);
        self.cancel(&[order], CancelReason::User);
        Ok(Outcome::Cancelled(order.order_id, order.open_quantity()))
    }

    pub(super) fn cancel_all_orders(
        &mut self,
        user: UserId,
        instrument: Option<InstrumentId>,
        side: Option<Side>,
    ) -> Result<Outcome, Refusal> {
        self.known_user(user)?;
        if let Some(instrument) = instrument {
            self.known_instrument(instrument)?;
            let phase = self.book(instrument).instrument.phase;
            if phase == TradingPhase::Closed {
                return Err(Refusal::PhaseForbids { phase });
            }
        }
        let all = self.open_orders_where(|order| {
            order.user == user
                && instrument.is_none_or(|wanted| order.instrument == wanted)
                && side.is_none_or(|wanted| order.side == wanted)
        });
        self.count_message(user);
        self.cancel(&all, CancelReason::User);
        Ok(Outcome::AllCancelled(all.len() as u64))
    }

    pub(super) fn cancel_on_disconnect(&mut self, user: UserId, after: OrderId) -> Result<Outcome, Refusal> {
        self.known_user(user)?;
        let all = self.open_orders_where(|order| order.user == user && order.order_id > after);
        self.cancel(&all, CancelReason::Disconnect);
        Ok(Outcome::AllCancelled(all.len() as u64))
    }

    /// Takes orders out of their books, and tells so.
    pub(super) fn cancel(&mut self, orders: &[Order], reason: CancelReason) {
        for order in orders {
            self.book_mut(order.instrument).remove(order);
            let ended = Order {
                status: OrderStatus::Cancelled(reason),
                event_seq: self.event.event_seq,
                ..*order
            };
            self.report(ReportKind::Cancelled, ended);
        }
    }

    /// A user's open order; an empty client id names none.
    pub(super) fn find_open(&self, user: UserId, order: OrderRef) -> Option<Order> {
        let found = self.open_orders_where(|open| {
            open.user == user
                && match order {
                    OrderRef::Id(id) => open.order_id == id,
                    OrderRef::Client(id) => !id.is_empty() && open.client_order_id == id,
                }
        });
        found.first().copied()
    }

    fn check_price_and_notional(&self, instrument: InstrumentId, price: i64, quantity: i64) -> Result<(), Refusal> {
        let book = self.book(instrument);
        let tick_size_e4 = book.instrument.tick_size_e4;
        if price % tick_size_e4 != 0 {
            return Err(Refusal::InvalidTick { tick_size_e4 });
        }
        if book.amount(price, quantity) > NOTIONAL_E4_MAX {
            return Err(Refusal::NotionalTooLarge);
        }
        Ok(())
    }

    /// One order more that rests, counted as the books stand before the command.
    fn check_room_for_order(&self, user: UserId) -> Result<(), Refusal> {
        let of_user = self.open_orders_where(|order| order.user == user).len();
        if of_user >= self.limits.open_orders_per_user_max as usize {
            return Err(Refusal::Capacity {
                limit_name: "open_orders_per_user_max",
                limit: u64::from(self.limits.open_orders_per_user_max),
            });
        }
        let all = self.open_orders_where(|_| true).len();
        if all >= self.limits.open_orders_max as usize {
            return Err(Refusal::Capacity {
                limit_name: "open_orders_max",
                limit: u64::from(self.limits.open_orders_max),
            });
        }
        Ok(())
    }

    /// A price where something is to rest, counted as the book stands before the command but without
    /// the order that moves there.
    fn check_room_for_level(
        &self,
        instrument: InstrumentId,
        side: Side,
        price: i64,
        moving: Option<&Order>,
    ) -> Result<(), Refusal> {
        let mut prices: Vec<i64> = Vec::new();
        for order in self.book(instrument).side(side) {
            if moving.is_none_or(|moving| moving.order_id != order.order_id) {
                prices.push(order.price_e4);
            }
        }
        prices.push(price);
        prices.sort_unstable();
        prices.dedup();
        if prices.len() > self.limits.price_levels_per_side_max as usize {
            return Err(Refusal::Capacity {
                limit_name: "price_levels_per_side_max",
                limit: u64::from(self.limits.price_levels_per_side_max),
            });
        }
        Ok(())
    }

    /// Trades an order that is in no book as far as it goes, and rests or ends what remains.
    fn match_and_rest(&mut self, incoming: &mut Order) {
        let id = incoming.instrument;
        if self.book(id).instrument.phase == TradingPhase::Continuous {
            self.match_against_book(incoming);
        }
        if incoming.status != OrderStatus::Open {
            return;
        }
        if incoming.time_in_force == TimeInForce::GoodTillCancelled && incoming.order_type == OrderType::Limit {
            self.book_mut(id).rest(*incoming);
        } else {
            incoming.status = OrderStatus::Cancelled(CancelReason::TimeInForce);
            self.report(ReportKind::Cancelled, *incoming);
        }
    }

    fn match_against_book(&mut self, incoming: &mut Order) {
        let id = incoming.instrument;
        let limit = match incoming.order_type {
            OrderType::Limit => Some(incoming.price_e4),
            OrderType::Market => None,
        };
        while incoming.status == OrderStatus::Open {
            let opposite = self.book(id).side(incoming.side.opposite());
            let Some(mut resting) = opposite.first().copied() else {
                return;
            };
            if !crosses(incoming.side, limit, resting.price_e4) {
                return;
            }
            if resting.user == incoming.user {
                let stp = incoming.self_trade_prevention;
                if stp != SelfTradePrevention::CancelIncoming {
                    self.cancel(&[resting], CancelReason::SelfTrade);
                }
                if stp != SelfTradePrevention::CancelResting {
                    incoming.status = OrderStatus::Cancelled(CancelReason::SelfTrade);
                    self.report(ReportKind::Cancelled, *incoming);
                }
                continue;
            }
            let lots = incoming.open_quantity().min(resting.open_quantity());
            let price_e4 = resting.price_e4;
            let (buy, sell) = match incoming.side {
                Side::Buy => (*incoming, resting),
                Side::Sell => (resting, *incoming),
            };
            let trade_id = self.trade(Some(incoming.side), price_e4, lots, &buy, &sell);
            self.fill(&mut resting, lots);
            match resting.status {
                OrderStatus::Open => self.book_mut(id).replace(resting),
                _ => self.book_mut(id).remove(&resting),
            }
            self.fill(incoming, lots);
            for (order, aggressor) in [(resting, false), (*incoming, true)] {
                let kind = ReportKind::Fill {
                    trade_id,
                    price_e4,
                    quantity: lots,
                    aggressor,
                };
                self.report(kind, order);
            }
        }
    }

    pub(super) fn fill(&self, order: &mut Order, lots: i64) {
        order.filled_quantity += lots;
        order.event_seq = self.event.event_seq;
        if order.filled_quantity == order.quantity {
            order.status = OrderStatus::Filled;
        }
    }
}

fn check_form(order: OrderRef) -> Result<(), Refusal> {
    match order {
        OrderRef::Client(id) if id.is_empty() => Err(InvalidField::new("client_order_id", "not empty").into()),
        _ => Ok(()),
    }
}

fn stands(order: &Order) -> OrderOutcome {
    OrderOutcome {
        order_id: order.order_id,
        status: order.status,
        filled_quantity: order.filled_quantity,
        open_quantity: order.open_quantity(),
    }
}
