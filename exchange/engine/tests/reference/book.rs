//! One book of the model: two sorted vectors of orders.

use optivex_engine::command::CreateInstrument;
use optivex_engine::types::{Indicative, Instrument, Level, Order, SelfTradePrevention, Side, TradingPhase, UserId};

use super::Picture;

#[derive(Debug)]
pub(crate) struct Book {
    pub(crate) instrument: Instrument,
    /// As it was asked for, and the event of the creation.
    pub(crate) created: (CreateInstrument, u64),
    pub(crate) book_seq: u64,
    pub(crate) last_trade_price: Option<i64>,
    /// In priority: highest price first, then oldest.
    pub(crate) bids: Vec<Order>,
    /// In priority: lowest price first, then oldest.
    pub(crate) asks: Vec<Order>,
}

/// What an order would do to a book in continuous trading, if it came now.
pub(crate) struct Forecast {
    /// Price and lots of each trade.
    pub(crate) trades: Vec<(i64, i64)>,
    /// Lots that would not trade.
    pub(crate) remainder: i64,
    /// Whether an own order would stop it.
    pub(crate) stopped: bool,
}

impl Book {
    pub(crate) fn side(&self, side: Side) -> &Vec<Order> {
        match side {
            Side::Buy => &self.bids,
            Side::Sell => &self.asks,
        }
    }

    pub(crate) fn side_mut(&mut self, side: Side) -> &mut Vec<Order> {
        match side {
            Side::Buy => &mut self.bids,
            Side::Sell => &mut self.asks,
        }
    }

    pub(crate) fn orders(&self) -> impl Iterator<Item = &Order> {
        self.bids.iter().chain(&self.asks)
    }

    /// Puts an order behind all that rest at its price or better.
    pub(crate) fn rest(&mut self, order: Order) {
        let orders = self.side_mut(order.side);
        let worse = |other: &Order| match order.side {
            Side::Buy => other.price_e4 < order.price_e4,
            Side::Sell => other.price_e4 > order.price_e4,
        };
        let at = orders.iter().position(worse).unwrap_or(orders.len());
        orders.insert(at, order);
    }

    /// Takes an order out.
    pub(crate) fn remove(&mut self, order: &Order) {
        self.side_mut(order.side)
            .retain(|other| other.order_id != order.order_id);
    }

    /// Changes an order where it stands.
    pub(crate) fn replace(&mut self, order: Order) {
        for other in self.side_mut(order.side) {
            if other.order_id == order.order_id {
                *other = order;
            }
        }
    }

    pub(crate) fn levels(&self, side: Side) -> Vec<Level> {
        let mut levels: Vec<Level> = Vec::new();
        for order in self.side(side) {
            match levels.last_mut() {
                Some(level) if level.price_e4 == order.price_e4 => {
                    level.quantity += order.open_quantity();
                    level.order_count += 1;
                }
                _ => levels.push(Level {
                    price_e4: order.price_e4,
                    quantity: order.open_quantity(),
                    order_count: 1,
                }),
            }
        }
        levels
    }

    pub(crate) fn picture(&self) -> Picture {
        (self.instrument.phase, self.levels(Side::Buy), self.levels(Side::Sell))
    }

    /// |price| × quantity × multiplier.
    pub(crate) fn amount(&self, price: i64, quantity: i64) -> i128 {
        i128::from(price).abs() * i128::from(quantity) * i128::from(self.instrument.multiplier)
    }

    /// What an order would do now; no limit price for a market order.
    pub(crate) fn forecast(
        &self,
        user: UserId,
        side: Side,
        limit: Option<i64>,
        quantity: i64,
        stp: SelfTradePrevention,
    ) -> Forecast {
        let mut forecast = Forecast {
            trades: Vec::new(),
            remainder: quantity,
            stopped: false,
        };
        for resting in self.side(side.opposite()) {
            if forecast.remainder == 0 || !crosses(side, limit, resting.price_e4) {
                break;
            }
            if resting.user == user {
                if stp == SelfTradePrevention::CancelResting {
                    continue;
                }
                forecast.stopped = true;
                break;
            }
            let lots = forecast.remainder.min(resting.open_quantity());
            forecast.remainder -= lots;
            forecast.trades.push((resting.price_e4, lots));
        }
        forecast
    }

    /// Whether an order of this price would meet any other, its owner's included.
    pub(crate) fn would_cross(&self, side: Side, limit: i64) -> bool {
        let mut resting = self.side(side.opposite()).iter();
        resting.any(|resting| crosses(side, Some(limit), resting.price_e4))
    }

    /// What an uncross would do now, in an auction.
    pub(crate) fn indicative(&self) -> Option<Indicative> {
        match self.instrument.phase {
            TradingPhase::Auction => self.uncross(),
            _ => None,
        }
    }

    /// The contract's auction price: of all multiples of the tick the one that trades the most, then
    /// leaves the least behind, then is nearest to the last trade (the lower of two), without a last
    /// trade the lowest.
    ///
    /// Not all ticks are tried, only these: the orders' prices, one tick beside each, and the last
    /// trade's price. Others cannot win. What trades and what is left only change at orders' prices,
    /// so they are the same for all ticks between two neighbouring ones, a < b; of those ticks the
    /// nearest to the last trade is the last trade itself, or else a + tick or b − tick; the lowest
    /// is a + tick. Outside of best ask to best bid nothing trades.
    /// (`uncross_over_all_ticks` does try all; a test compares the two.)
    pub(crate) fn uncross(&self) -> Option<Indicative> {
        let (best_bid, best_ask) = (self.bids.first()?.price_e4, self.asks.first()?.price_e4);
        let tick = self.instrument.tick_size_e4;
        let mut candidates: Vec<i64> = self.last_trade_price.into_iter().collect();
        for order in self.orders() {
            candidates.extend([order.price_e4 - tick, order.price_e4, order.price_e4 + tick]);
        }
        candidates.retain(|price| (best_ask..=best_bid).contains(price));
        candidates.sort_unstable();
        candidates.dedup();
        self.best_of(candidates.into_iter())
    }

    /// The auction price by trying every multiple of the tick.
    fn uncross_over_all_ticks(&self) -> Option<Indicative> {
        let lowest = self.orders().map(|order| order.price_e4).min()?;
        let highest = self.orders().map(|order| order.price_e4).max()?;
        let tick = self.instrument.tick_size_e4;
        self.best_of((lowest - tick..=highest + tick).step_by(tick as usize))
    }

    /// The best of ascending candidates.
    fn best_of(&self, candidates: impl Iterator<Item = i64>) -> Option<Indicative> {
        let mut best: Option<(Indicative, i64, i64)> = None;
        for price in candidates {
            let bids = self.bids.iter().filter(|order| order.price_e4 >= price);
            let asks = self.asks.iter().filter(|order| order.price_e4 <= price);
            let demand: i64 = bids.map(Order::open_quantity).sum();
            let supply: i64 = asks.map(Order::open_quantity).sum();
            let quantity = demand.min(supply);
            let left = (demand - supply).abs();
            let distance = self.last_trade_price.map_or(0, |last| (last - price).abs());
            let better = match &best {
                None => quantity > 0,
                Some((so_far, left_so_far, distance_so_far)) => {
                    quantity > so_far.quantity
                        || quantity == so_far.quantity && left < *left_so_far
                        || quantity == so_far.quantity && left == *left_so_far && distance < *distance_so_far
                }
            };
            if better {
                let price_e4 = price;
                best = Some((Indicative { price_e4, quantity }, left, distance));
            }
        }
        best.map(|(indicative, _, _)| indicative)
    }
}

/// Whether an incoming order may trade with one that rests at a price.
pub(crate) fn crosses(side: Side, limit: Option<i64>, resting: i64) -> bool {
    match (side, limit) {
        (_, None) => true,
        (Side::Buy, Some(limit)) => resting <= limit,
        (Side::Sell, Some(limit)) => resting >= limit,
    }
}

#[test]
fn no_other_price_is_better() {
    let mut seed = 1_u64;
    let mut random = |below: i64| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as i64 % below
    };
    for _ in 0..5_000 {
        let tick = 1 + random(3);
        let mut book = empty(tick);
        book.last_trade_price = (random(2) == 0).then(|| tick * (random(31) - 15));
        for id in 0..random(10) {
            let side = if random(2) == 0 { Side::Buy } else { Side::Sell };
            let order = resting(id as u64, side, tick * (random(21) - 10), 1 + random(4));
            book.rest(order);
        }
        assert_eq!(book.uncross(), book.uncross_over_all_ticks(), "{book:?}");
    }
}

fn empty(tick_size_e4: i64) -> Book {
    let create = CreateInstrument {
        user: UserId(0),
        symbol: Default::default(),
        description: String::new(),
        currency: Default::default(),
        multiplier: 1,
        tick_size_e4,
        initial_phase: TradingPhase::Auction,
        client_request_id: Default::default(),
    };
    let instrument = Instrument {
        id: optivex_engine::types::InstrumentId(0),
        symbol: create.symbol,
        description: String::new(),
        currency: create.currency,
        multiplier: 1,
        tick_size_e4,
        phase: TradingPhase::Auction,
        created_unix_ns: 0,
    };
    Book {
        instrument,
        created: (create, 1),
        book_seq: 0,
        last_trade_price: None,
        bids: Vec::new(),
        asks: Vec::new(),
    }
}

fn resting(id: u64, side: Side, price_e4: i64, quantity: i64) -> Order {
    use optivex_engine::types::{InstrumentId, OrderId, OrderStatus, OrderType, TimeInForce};
    Order {
        order_id: OrderId(id),
        user: UserId(0),
        client_order_id: Default::default(),
        instrument: InstrumentId(0),
        side,
        price_e4,
        quantity,
        filled_quantity: 0,
        status: OrderStatus::Open,
        created_unix_ns: 0,
        order_type: OrderType::Limit,
        time_in_force: TimeInForce::GoodTillCancelled,
        post_only: false,
        self_trade_prevention: SelfTradePrevention::CancelIncoming,
        event_seq: 1,
    }
}
