//! Order flows of four profiles, the same for the same seed, with what must come of them.
//!
//! | profile | book | cancels | crossing | of it |
//! |---|---|---|---|---|
//! | passive | 60,000 orders, 1,000 prices | 47% | 5% | 1.6 fills |
//! | aggressive | 20,000 orders, 400 prices | 2% | 50% | 1.8 fills |
//! | sweep | 20,000 orders, 400 prices | 2% | 20% | 4.6 fills |
//! | wide | 20,000 orders, 1,000,000 prices | 41% | 6% | 3 fills at as many prices |
//!
//! Orders are named by the number of their insert, from 0. Prices are in ticks.

use std::collections::{BTreeMap, VecDeque};

/// Kind of flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    Passive,
    Aggressive,
    Sweep,
    Wide,
}

pub(crate) const PROFILES: [Profile; 4] = [Profile::Passive, Profile::Aggressive, Profile::Sweep, Profile::Wide];

/// One command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A limit order; whether a remainder rests.
    Insert {
        sell: bool,
        rests: bool,
        price: i64,
        quantity: u32,
    },
    /// The end of a resting order.
    Cancel { order: u32 },
}

/// What the measured part of a flow comes to, and what rests in the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) trades: u64,
    pub(crate) quantity: u64,
    pub(crate) notional: i128,
    pub(crate) resting: usize,
}

/// A flow: steps that fill a book, then those that are measured.
pub(crate) struct Flow {
    pub(crate) prefill: Vec<Step>,
    pub(crate) measured: Vec<Step>,
    pub(crate) expected: Totals,
}

impl Profile {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Profile::Passive => "passive",
            Profile::Aggressive => "aggressive",
            Profile::Sweep => "sweep",
            Profile::Wide => "wide",
        }
    }

    /// Middle of the prices, and how far they go either way.
    fn prices(self) -> (i64, i64) {
        match self {
            Profile::Wide => (1_000_000, 500_000),
            Profile::Passive | Profile::Aggressive | Profile::Sweep => (32_768, 500),
        }
    }

    fn prefill(self) -> usize {
        if self == Profile::Passive { 80_000 } else { 20_000 }
    }

    /// Orders that the book is kept at, where the flow keeps it.
    fn depth(self) -> f64 {
        if self == Profile::Passive { 60_000.0 } else { 20_000.0 }
    }
}

impl Flow {
    pub(crate) fn new(profile: Profile, measured: usize, seed: u64) -> Self {
        let mut source = Source {
            profile,
            random: Random(seed),
            model: Model::default(),
        };
        let prefill = (0..profile.prefill()).map(|_| source.passive()).collect();
        source.model.totals = Totals::default();
        let measured = (0..measured).map(|_| source.step()).collect();
        let model = source.model;
        Self {
            prefill,
            measured,
            expected: Totals {
                resting: model.live.len(),
                ..model.totals
            },
        }
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(end)) >> 64) as u64
    }

    fn within(&mut self, first: i64, last: i64) -> i64 {
        first + self.below((last - first + 1) as u64) as i64
    }

    /// 53 bits, 0 to 1.
    fn fraction(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn percent(&mut self) -> f64 {
        self.fraction() * 100.0
    }

    /// Exponentially distributed.
    fn distance(&mut self, mean: f64) -> i64 {
        let fraction = ((self.bits() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        (-fraction.ln() * mean) as i64
    }
}

struct Source {
    profile: Profile,
    random: Random,
    model: Model,
}

impl Source {
    fn step(&mut self) -> Step {
        let resting = self.model.live.len() as f64;
        let (inserts, cancels) = match self.profile {
            Profile::Passive => (48.0, 47.0),
            Profile::Aggressive => (48.0, 2.0),
            Profile::Sweep => (78.0, 2.0),
            Profile::Wide => {
                let depth = self.profile.depth();
                let lean = ((depth - resting) / depth * 40.0).clamp(-6.0, 6.0);
                (48.0 + lean, 46.0 - lean)
            }
        };
        let kind = self.random.percent();
        if kind < inserts {
            self.passive()
        } else if kind < inserts + cancels && !self.model.live.is_empty() {
            let at = self.random.below(self.model.live.len() as u64) as usize;
            let order = self.model.live[at];
            self.model.cancel(order);
            Step::Cancel { order }
        } else {
            self.crossing()
        }
    }

    /// An order that rests whole.
    fn passive(&mut self) -> Step {
        let sell = self.side();
        let (middle, band) = self.profile.prices();
        let random = &mut self.random;
        let away = |distance: i64| {
            if sell {
                middle + 1 + distance
            } else {
                middle - 1 - distance
            }
        };
        let price = match self.profile {
            Profile::Passive if random.percent() < 50.0 => away(random.distance(40.0).min(band - 1)),
            Profile::Passive => away(random.within(0, band - 1)),
            Profile::Wide => away(random.within(0, band - 2)),
            Profile::Aggressive | Profile::Sweep => {
                let near = random.percent() < 95.0;
                let distance = if near {
                    random.distance(6.0)
                } else {
                    random.within(0, 200)
                };
                if sell {
                    let nearest = self.model.best_bid().unwrap_or(middle - 1) + 1;
                    (nearest + distance).clamp(nearest, (middle + band).max(nearest))
                } else {
                    let nearest = self.model.best_ask().unwrap_or(middle + 1) - 1;
                    (nearest - distance).clamp(middle - band, nearest)
                }
            }
        };
        let largest = match self.profile {
            Profile::Passive | Profile::Wide => 100,
            Profile::Aggressive | Profile::Sweep => 20,
        };
        let quantity = self.random.within(1, largest);
        self.insert(sell, true, price, quantity)
    }

    /// An order that trades, or would if there were anything to trade with.
    fn crossing(&mut self) -> Step {
        let (middle, band) = self.profile.prices();
        let largest = match self.profile {
            Profile::Passive => 60,
            Profile::Wide => 200,
            Profile::Aggressive => 30,
            Profile::Sweep => 100,
        };
        if matches!(self.profile, Profile::Passive | Profile::Wide) {
            let sell = self.side();
            let quantity = self.random.within(1, largest);
            let price = if sell { middle - band } else { middle + band };
            return self.insert(sell, false, price, quantity);
        }
        // The side that pulls the prices back to the middle is likelier, and a deep book is swept harder.
        let (bid, ask) = (self.model.best_bid(), self.model.best_ask());
        let now = (bid.unwrap_or(middle - 1) + ask.unwrap_or(middle + 1)) / 2;
        let buys = 50.0 + ((middle - now) as f64 / 4.0).clamp(-35.0, 35.0);
        let mut sell = self.random.percent() >= buys;
        if (if sell { bid } else { ask }).is_none() {
            sell = !sell;
        }
        let touch = if sell { bid } else { ask }.unwrap_or(middle);
        let depth = self.model.live.len() as f64 / self.profile.depth();
        let scale = depth.powi(2).clamp(0.2, 8.0);
        let quantity = (self.random.within(1, largest) as f64 * scale) as i64 + 1;
        let through = self.random.within(0, (6.0 * scale) as i64 + 1);
        let price = if sell {
            (touch - through).max(middle - 2 * band)
        } else {
            (touch + through).min(middle + 2 * band)
        };
        let rests = self.random.percent() < 75.0;
        self.insert(sell, rests, price, quantity)
    }

    fn side(&mut self) -> bool {
        self.random.bits() & 1 == 1
    }

    fn insert(&mut self, sell: bool, rests: bool, price: i64, quantity: i64) -> Step {
        let quantity = quantity as u32;
        self.model.insert(sell, rests, price, quantity);
        Step::Insert {
            sell,
            rests,
            price,
            quantity,
        }
    }
}

#[derive(Clone, Copy, Default)]
struct Resting {
    sell: bool,
    price: i64,
    quantity: u32,
    /// Place among the live ones.
    at: usize,
}

/// The simplest book that is right.
#[derive(Default)]
struct Model {
    bids: BTreeMap<i64, VecDeque<u32>>,
    asks: BTreeMap<i64, VecDeque<u32>>,
    orders: Vec<Resting>,
    live: Vec<u32>,
    totals: Totals,
}

impl Model {
    fn best_bid(&self) -> Option<i64> {
        self.bids.last_key_value().map(|(price, _)| *price)
    }

    fn best_ask(&self) -> Option<i64> {
        self.asks.first_key_value().map(|(price, _)| *price)
    }

    fn insert(&mut self, sell: bool, rests: bool, price: i64, mut quantity: u32) {
        while quantity > 0 {
            let level = if sell {
                self.bids.last_entry()
            } else {
                self.asks.first_entry()
            };
            let Some(mut level) = level else { break };
            let at = *level.key();
            if (sell && at < price) || (!sell && at > price) {
                break;
            }
            let queue = level.get_mut();
            let first = queue[0];
            let resting = &mut self.orders[first as usize];
            let traded = quantity.min(resting.quantity);
            quantity -= traded;
            resting.quantity -= traded;
            self.totals.trades += 1;
            self.totals.quantity += u64::from(traded);
            self.totals.notional += i128::from(at) * i128::from(traded);
            if resting.quantity == 0 {
                queue.pop_front();
                if queue.is_empty() {
                    level.remove();
                }
                self.forget(first);
            }
        }
        let order = self.orders.len() as u32;
        let at = self.live.len();
        self.orders.push(Resting {
            sell,
            price,
            quantity,
            at,
        });
        if quantity > 0 && rests {
            self.live.push(order);
            let side = if sell { &mut self.asks } else { &mut self.bids };
            side.entry(price).or_default().push_back(order);
        }
    }

    fn cancel(&mut self, order: u32) {
        let Resting { sell, price, .. } = self.orders[order as usize];
        let side = if sell { &mut self.asks } else { &mut self.bids };
        if let Some(queue) = side.get_mut(&price) {
            queue.retain(|other| *other != order);
            if queue.is_empty() {
                side.remove(&price);
            }
        }
        self.forget(order);
    }

    fn forget(&mut self, order: u32) {
        let at = self.orders[order as usize].at;
        self.live.swap_remove(at);
        if let Some(moved) = self.live.get(at) {
            self.orders[*moved as usize].at = at;
        }
    }
}
