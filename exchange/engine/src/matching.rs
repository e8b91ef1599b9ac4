//! Price-time priority, self-trade prevention, and the uncross of a call auction.

use crate::book::{index, rank};
use crate::engine::{Engine, Market, report, tell};
use crate::event::Event;
use crate::position::amount_e4;
use crate::types::{CancelReason, InstrumentId, Order, OrderStatus, OrderType, SelfTradePrevention, Side, UserId};

/// What matching does with an incoming order, told before anything changes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taker {
    /// Owner.
    pub(crate) user: UserId,
    /// Where.
    pub(crate) instrument: InstrumentId,
    /// Side.
    pub(crate) side: Side,
    /// Pricing.
    pub(crate) order_type: OrderType,
    /// Limit.
    pub(crate) price_e4: i64,
    /// Lots to trade.
    pub(crate) quantity: i64,
    /// Its choice.
    pub(crate) self_trade_prevention: SelfTradePrevention,
}

/// What matching would come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prospect {
    /// Lots that would not trade.
    pub(crate) left: i64,
    /// |price| × quantity × multiplier of what would trade, in 1e-4.
    pub(crate) amount_e4: i128,
    /// Whether an order of the same user would stop it.
    pub(crate) stopped: bool,
}

impl Taker {
    /// The worst rank on the other side that it reaches.
    fn limit_rank(&self) -> i64 {
        limit_rank(self.side, self.order_type, self.price_e4)
    }
}

/// The worst rank on the other side that an order reaches.
pub(crate) fn limit_rank(side: Side, order_type: OrderType, price_e4: i64) -> i64 {
    let limit_rank = match order_type {
        OrderType::Limit => rank(side.opposite(), price_e4),
        OrderType::Market => i64::MAX,
    };
    #[cfg(feature = "faults")]
    let limit_rank = crate::faults::reach(side, order_type, price_e4, limit_rank);
    limit_rank
}

impl Engine {
    /// Whether an order would meet any other, of whomever.
    pub(crate) fn would_cross(&self, taker: &Taker) -> bool {
        let book = &self.listings[taker.instrument.0 as usize].book;
        book.best_within(taker.side.opposite(), taker.limit_rank()).is_some()
    }

    /// Whether an order would trade whole. One for more than others offer at any price is not worth a
    /// walk through a deep book: refusing is free of charge, and a client may ask for it all day.
    pub(crate) fn can_fill(&self, taker: &Taker) -> bool {
        let opposite = taker.side.opposite();
        let all = self.listings[taker.instrument.0 as usize].book.lots(opposite);
        let own = self.open_lots(taker.user, taker.instrument, Some(opposite));
        taker.quantity <= all - own && self.prospect(taker).left == 0
    }

    /// Lots in a user's open orders in an instrument.
    pub(crate) fn open_lots(&self, user: UserId, instrument: InstrumentId, side: Option<Side>) -> i64 {
        let account = self
            .users
            .get(user.0 as usize)
            .and_then(|user| user.account(instrument));
        account.map_or(0, |account| {
            let lots = self.accounts[account as usize].open_quantity;
            side.map_or(lots[0] + lots[1], |side| lots[index(side)])
        })
    }

    /// What matching would do. Whole levels are taken at once where the user has nothing more to meet.
    pub(crate) fn prospect(&self, taker: &Taker) -> Prospect {
        let listing = &self.listings[taker.instrument.0 as usize];
        let opposite = taker.side.opposite();
        let multiplier = listing.instrument.multiplier;
        let mut own_ahead = self.open_lots(taker.user, taker.instrument, Some(opposite));
        let mut prospect = Prospect {
            left: taker.quantity,
            amount_e4: 0,
            stopped: false,
        };
        let limit = taker.limit_rank();
        for level in listing.book.levels(opposite) {
            let price_e4 = level.price_e4;
            if prospect.left == 0 || rank(opposite, price_e4) > limit {
                break;
            }
            if own_ahead == 0 {
                prospect.take(price_e4, level.quantity, multiplier);
                continue;
            }
            for resting in self.orders.queue(level) {
                if prospect.left == 0 {
                    break;
                }
                if resting.user != taker.user {
                    prospect.take(price_e4, resting.open_quantity(), multiplier);
                } else if taker.self_trade_prevention == SelfTradePrevention::CancelResting {
                    own_ahead -= resting.open_quantity();
                } else {
                    prospect.stopped = true;
                    return prospect;
                }
            }
        }
        prospect
    }
}

impl Market<'_> {
    /// Matches an incoming open order; tells whether self-trade prevention stopped it. The levels of the
    /// other side that this changes are told, best first.
    #[inline(always)]
    pub(crate) fn match_incoming(&mut self, order: &mut Order, account: u32, event: &mut Event) -> bool {
        let opposite = order.side.opposite();
        let limit = limit_rank(order.side, order.order_type, order.price_e4);
        let incoming = (order.order_id, order.user);
        let mut filled_quantity = order.filled_quantity;
        let (mut lots, mut paid_e4) = (0, 0);
        let stopped = loop {
            let Some(level) = self.listing.book.best_within(opposite, limit) else {
                break false;
            };
            let (slot, price_e4) = (level.head, level.price_e4);
            #[cfg(feature = "faults")]
            let Some((slot, price_e4)) = crate::faults::next_to_trade(self, order, (slot, price_e4), event) else {
                break false;
            };
            let node = self.orders.node(slot);
            let (resting, resting_open) = ((node.id, node.user), i64::from(node.open));
            let is_own = resting.1 == incoming.1;
            #[cfg(feature = "faults")]
            let is_own = crate::faults::is_own(order, self.orders.order(slot), is_own);
            if is_own {
                if order.self_trade_prevention != SelfTradePrevention::CancelIncoming {
                    self.cancel_own(slot, event);
                }
                if order.self_trade_prevention != SelfTradePrevention::CancelResting {
                    break true;
                }
                continue;
            }
            let quantity = (order.quantity - filled_quantity).min(resting_open);
            let (bid, ask) = match order.side {
                Side::Buy => (incoming, resting),
                Side::Sell => (resting, incoming),
            };
            let trade = self.trade((price_e4, quantity), bid, ask, Some(order.side), event);
            let level = self.fill_alone(slot, &trade, event);
            tell(level, event);
            let exchanged = self.exchanged(order.side, &trade);
            (lots, paid_e4) = (lots + exchanged.0, paid_e4 + exchanged.1);
            #[cfg(feature = "faults")]
            self.after_settle(order, account, &trade);
            filled_quantity += quantity;
            let is_whole = filled_quantity == order.quantity;
            let after = Order {
                filled_quantity,
                status: if is_whole {
                    OrderStatus::Filled
                } else {
                    OrderStatus::Open
                },
                ..*order
            };
            report(self.user(incoming.1), trade.report(true), after, event);
            if is_whole {
                order.status = OrderStatus::Filled;
                break false;
            }
        };
        order.filled_quantity = filled_quantity;
        self.accounts[account as usize].trade(lots, paid_e4);
        stopped
    }

    /// Self-trade prevention cancels a resting order.
    #[cold]
    fn cancel_own(&mut self, slot: u32, event: &mut Event) {
        let level = self.cancel_alone(slot, CancelReason::SelfTrade, event);
        tell(level, event);
    }

    /// Trades what is crossed at one price, best bid with best ask, oldest first.
    pub(crate) fn uncross(&mut self, event: &mut Event) {
        let Some(auction) = self.listing.uncross() else { return };
        // Trading at a price that stays the same needs no indicative one.
        self.listing.book.set_auction(false);
        let mut left = auction.quantity;
        while left > 0 {
            let book = &self.listing.book;
            let (Some(bid), Some(ask)) = (book.best(Side::Buy), book.best(Side::Sell)) else {
                break;
            };
            let (bid_slot, ask_slot) = (bid.head, ask.head);
            let bid = self.orders.node(bid_slot);
            let ask = self.orders.node(ask_slot);
            if fault!(UncrossWithoutSelfTrades) && bid.user == ask.user {
                self.cancel_resting(ask_slot, CancelReason::SelfTrade, event);
                continue;
            }
            let quantity = left.min(bid.open.into()).min(ask.open.into());
            left -= quantity;
            let names = ((bid.id, bid.user), (ask.id, ask.user));
            let price_e4 = fault!(UncrossAtAsks, self.orders.order(ask_slot).price_e4, auction.price_e4);
            let trade = self.trade((price_e4, quantity), names.0, names.1, None, event);
            self.fill_in_auction(bid_slot, &trade, event);
            self.fill_in_auction(ask_slot, &trade, event);
        }
    }
}

impl Prospect {
    fn take(&mut self, price_e4: i64, quantity: i64, multiplier: i64) {
        let quantity = self.left.min(quantity);
        self.left -= quantity;
        self.amount_e4 += amount_e4(price_e4, quantity, multiplier);
    }
}
