//! Makes a command of a gene: realistic most of the time, nasty often enough.
//!
//! Places: 0 what to do; 1 user and instrument; 2 side and options; 3 price; 4 quantity; 5 ids and
//! choices; 6 time; 7 extra checks (see `trial.rs`).

use arrayvec::ArrayString;
use optivex_engine::command::{AmendOrder, Command, CreateInstrument, InsertOrder, OrderRef, OrderTerms};
use optivex_engine::types::{
    ClientOrderId, InstrumentId, InstrumentRiskLimits, NOTIONAL_E4_MAX, Order, OrderId, OrderType, PRICE_E4_MAX,
    QUANTITY_MAX, RollingWindowLimit, SelfTradePrevention, Side, TimeInForce, TradingPhase, UserId, UserRiskLimits,
};

use super::generate::{Gene, Listing, Profile};
use super::ledger::Ledger;

const MILLISECOND: i64 = 1_000_000;
const SECOND: i64 = 1_000 * MILLISECOND;
/// Lengths of rolling windows, in seconds: short ones so that they slide, and the longest.
const WINDOWS: [i32; 6] = [1, 2, 3, 5, 60, 86_400];
const CLIENT_IDS: u16 = 20;

/// Where the next command comes from.
pub(crate) struct Decoder<'a> {
    pub(crate) profile: &'a Profile,
    pub(crate) ledger: &'a Ledger,
}

impl Decoder<'_> {
    pub(crate) fn time(&self, gene: &Gene) -> i64 {
        let now = self.ledger.time;
        let (choice, value) = (gene[6] % 64, i64::from(gene[6] / 64));
        let small = if self.profile.hurry {
            MILLISECOND
        } else {
            20 * MILLISECOND
        };
        match choice {
            0..=25 => now,
            26..=43 => now.saturating_add(small * (1 + value % 8)),
            44..=48 => now.saturating_add(value),
            49..=52 => now.saturating_add(SECOND),
            53 => now.saturating_add(2 * SECOND + value),
            54..=60 => {
                // Exactly where an earlier entry leaves a window, or a nanosecond before.
                let times = &self.ledger.recent_times;
                let window = match value % 64 {
                    63 => 86_400 * SECOND,
                    _ => i64::from(WINDOWS[value as usize % 4]) * SECOND,
                };
                let edges = times.iter().map(|time| time.saturating_add(window));
                let edge = edges.filter(|edge| *edge > now).min();
                edge.map_or(now, |edge| edge - i64::from(value % 3 == 2))
            }
            61 => now.saturating_sub(value * SECOND),
            62 => match value % 64 {
                0..=7 => i64::MIN,
                8..=15 => 0,
                16..=23 => now.saturating_add(86_400 * SECOND),
                32..=47 => now.saturating_add(value % 16 * 3_600 * SECOND),
                24 if self.profile.seed % 16 == 15 => i64::MAX - SECOND / 2,
                25 if self.profile.seed % 16 == 14 => i64::MAX,
                _ => now.saturating_add(5 * SECOND),
            },
            _ => now.saturating_add(60 * MILLISECOND),
        }
    }

    pub(crate) fn command(&self, gene: &Gene) -> Command {
        match gene[0] % 1000 {
            0..560 => self.insert(gene),
            560..730 => self.amend(gene),
            730..790 => self.cancel(gene),
            // A deep book is to stay deep.
            790..803 | 878..881 if self.profile.deep => self.insert(gene),
            790..798 => self.cancel_all(gene),
            798..803 => Command::CancelOnDisconnect {
                user: self.user(gene),
                after: self.some_order_id(gene),
            },
            803..850 if !self.profile.auctions => self.retry(gene),
            803..878 => Command::SetTradingPhase {
                instrument: self.instrument(gene),
                phase: match gene[5] % 64 {
                    0..=25 | 56..=62 if self.profile.auctions => TradingPhase::Auction,
                    0..=35 => TradingPhase::Continuous,
                    36..=55 => TradingPhase::Auction,
                    56..=62 => TradingPhase::Halted,
                    _ => TradingPhase::Closed,
                },
            },
            878..881 => Command::SuspendUser {
                user: self.user(gene),
                comment: ["late", "", "again: ünïcode"][usize::from(gene[5]) % 3].to_owned(),
            },
            881..911 => Command::ResumeUser { user: self.user(gene) },
            911..928 => Command::SetUserRiskLimits {
                user: self.user(gene),
                limits: self.user_limits(gene),
            },
            928..958 => Command::SetInstrumentRiskLimits {
                user: self.user(gene),
                instrument: self.instrument(gene),
                limits: self.instrument_limits(gene),
            },
            958..964 => Command::RegisterUser {
                username: ArrayString::from(&format!("user{}", gene[5] % 9)).expect("short"),
            },
            964..980 => self.malformed(gene),
            _ => self.create(gene, usize::from(gene[5]) % self.profile.listings.len()),
        }
    }

    /// The creation of one of the profile's instruments.
    pub(crate) fn create(&self, gene: &Gene, which: usize) -> Command {
        let listing = self.profile.listings[which];
        let symbol = if gene[4] % 8 == 7 {
            usize::from(gene[3]) % 10
        } else {
            which
        };
        let request = match gene[4] % 5 {
            0 | 1 => format!("create-{which}"),
            2 => format!("create-{}", gene[3] % 10),
            _ => String::new(),
        };
        Command::CreateInstrument(CreateInstrument {
            user: self.user(gene),
            symbol: ArrayString::from(&format!("I{symbol}")).expect("short"),
            description: "An instrument".to_owned(),
            currency: ArrayString::from("EUR").expect("short"),
            multiplier: listing.multiplier,
            tick_size_e4: listing.tick,
            initial_phase: if gene[4] % 16 == 9 {
                TradingPhase::Auction
            } else {
                listing.phase
            },
            client_request_id: ArrayString::from(&request).expect("short"),
        })
    }

    fn user(&self, gene: &Gene) -> UserId {
        let value = u32::from(gene[1] % 256);
        match value {
            255 => UserId(self.ledger.users),
            254 => UserId(u32::MAX),
            _ => UserId(value % self.ledger.users.max(1)),
        }
    }

    fn instrument(&self, gene: &Gene) -> InstrumentId {
        let value = u32::from(gene[1] / 256);
        let known = self.ledger.instruments.len() as u32;
        match value {
            255 => InstrumentId(known),
            254 => InstrumentId(u32::MAX),
            // The newest are busiest: the older ones end up closed.
            _ => InstrumentId((known.max(1) - 1).saturating_sub(value % 4 % known.max(1))),
        }
    }

    fn listing(&self, instrument: InstrumentId) -> Listing {
        let known = self.ledger.instruments.get(instrument.0 as usize);
        let listed = known.and_then(|known| {
            let index: usize = known.symbol[1..].parse().ok()?;
            let listing = self.profile.listings.get(index)?;
            (listing.tick == known.tick_size_e4).then_some(*listing)
        });
        listed.unwrap_or(Listing {
            tick: known.map_or(1, |known| known.tick_size_e4),
            multiplier: known.map_or(1, |known| known.multiplier),
            mid: 0,
            phase: TradingPhase::Continuous,
        })
    }

    fn price(&self, instrument: InstrumentId, side: Side, gene: u16) -> i64 {
        let listing = self.listing(instrument);
        let (choice, value) = (gene % 64, i64::from(gene / 64));
        let ticks = |ticks: i64| (listing.mid + ticks) * listing.tick;
        let edge = PRICE_E4_MAX / listing.tick * listing.tick;
        // Bids lean below, asks above, so that books fill; the middle overlaps.
        let apart = match (self.profile.deep, self.profile.auctions) {
            (true, _) => 25,
            (false, true) => 0,
            (false, false) => 2,
        };
        let lean = match side {
            Side::Buy => -apart,
            Side::Sell => apart,
        };
        let price = match choice {
            0..=57 if self.profile.deep => ticks(value % 81 - 40 + lean),
            0..=45 => ticks(value % 9 - 4 + lean),
            46..=57 => ticks(value % 31 - 15 + 2 * lean),
            58 => ticks(value - 512),
            59 => 0,
            60 if value % 2 == 0 => edge,
            61 if value % 2 == 0 => -edge,
            62 if value % 2 == 0 => ticks(value % 5) + 1,
            63 if value % 2 == 0 => ticks(0) - value,
            _ => ticks(lean),
        };
        price.clamp(-PRICE_E4_MAX, PRICE_E4_MAX)
    }

    fn quantity(&self, instrument: InstrumentId, price: i64, gene: u16) -> i64 {
        let (choice, value) = (gene % 64, i64::from(gene / 64));
        let quantity = match choice {
            0..=57 if self.profile.auctions => 1 + value % 4,
            0..=45 => 1 + value % 10,
            46..=57 => 1 + value % 60,
            58 => 1_000,
            59 if value % 4 == 0 => QUANTITY_MAX,
            60 if value % 4 == 0 => QUANTITY_MAX - value,
            61 if value % 2 == 0 => {
                // At the bound on notional, or one lot over it.
                let each = i128::from(price).abs() * i128::from(self.listing(instrument).multiplier);
                let most = if each == 0 { 0 } else { NOTIONAL_E4_MAX / each };
                most as i64 + value % 2
            }
            _ => 1 + value % 3,
        };
        quantity.clamp(1, QUANTITY_MAX)
    }

    fn insert(&self, gene: &Gene) -> Command {
        let instrument = self.instrument(gene);
        let options = gene[2] / 2;
        let time_in_force = match options % 16 {
            0..=10 => TimeInForce::GoodTillCancelled,
            11..=13 => TimeInForce::ImmediateOrCancel,
            _ => TimeInForce::FillOrKill,
        };
        let market = time_in_force != TimeInForce::GoodTillCancelled && options / 16 % 3 == 2;
        let price_e4 = if market {
            0
        } else {
            self.price(instrument, side(gene[2]), gene[3])
        };
        Command::InsertOrder(InsertOrder {
            user: self.user(gene),
            instrument,
            terms: OrderTerms {
                side: side(gene[2]),
                price_e4,
                quantity: self.quantity(instrument, price_e4, gene[4]),
                order_type: if market { OrderType::Market } else { OrderType::Limit },
                time_in_force,
                post_only: time_in_force == TimeInForce::GoodTillCancelled && options / 16 % 8 == 7,
                self_trade_prevention: match options / 256 % 3 {
                    0 => SelfTradePrevention::CancelIncoming,
                    1 => SelfTradePrevention::CancelResting,
                    _ => SelfTradePrevention::CancelBoth,
                },
            },
            client_order_id: if gene[5] % 5 >= 3 {
                client_id(gene[5] / 5)
            } else {
                ClientOrderId::new()
            },
        })
    }

    /// A command of the wrong form, and one in range that only just is.
    fn malformed(&self, gene: &Gene) -> Command {
        let mut insert = match self.insert(gene) {
            Command::InsertOrder(insert) => insert,
            other => return other,
        };
        let user = insert.user;
        let amend = |price_e4, quantity| {
            let (user, order, _) = self.target(gene);
            let change = AmendOrder {
                user,
                order,
                price_e4,
                quantity,
            };
            Command::AmendOrder(change)
        };
        let terms = &mut insert.terms;
        match gene[4] % 20 {
            0 => terms.quantity = 0,
            1 => terms.quantity = QUANTITY_MAX + 1,
            2 => terms.price_e4 = PRICE_E4_MAX + 1,
            3 => terms.price_e4 = i64::MIN,
            4 => (terms.order_type, terms.time_in_force) = (OrderType::Market, TimeInForce::GoodTillCancelled),
            5 => (terms.order_type, terms.price_e4) = (OrderType::Market, 1),
            6 => (terms.post_only, terms.time_in_force) = (true, TimeInForce::ImmediateOrCancel),
            7 => terms.quantity = i64::MIN,
            8 => return amend(None, None),
            9 => return amend(Some(i64::MIN), None),
            10 => return amend(None, Some(-1)),
            11 => return amend(None, Some(i64::MAX)),
            12 => return amend(Some(PRICE_E4_MAX + 1), Some(1)),
            13 => {
                return Command::RegisterUser {
                    username: ArrayString::new(),
                };
            }
            14 | 15 => {
                let comment = "x".repeat(256 + usize::from(gene[4] % 20 == 15));
                return Command::SuspendUser { user, comment };
            }
            16 => {
                let limits = UserRiskLimits {
                    max_outstanding_quantity: Some(-1),
                    ..UserRiskLimits::default()
                };
                return Command::SetUserRiskLimits { user, limits };
            }
            17 => {
                let window = RollingWindowLimit {
                    limit: 1,
                    window_in_seconds: [0, 86_401][usize::from(gene[5]) % 2],
                };
                let limits = InstrumentRiskLimits {
                    order_amount: Some(window),
                    ..InstrumentRiskLimits::default()
                };
                let instrument = insert.instrument;
                return Command::SetInstrumentRiskLimits {
                    user,
                    instrument,
                    limits,
                };
            }
            _ => {
                if let Command::CreateInstrument(mut create) = self.create(gene, 0) {
                    match gene[5] % 6 {
                        0 => create.multiplier = 0,
                        1 => create.tick_size_e4 = 0,
                        2 => create.initial_phase = TradingPhase::Closed,
                        3 => create.currency = ArrayString::new(),
                        4 => create.symbol = ArrayString::from("a b").expect("short"),
                        _ => create.description = "é".repeat(129),
                    }
                    return Command::CreateInstrument(create);
                }
            }
        }
        Command::InsertOrder(insert)
    }

    /// An insert again, with the same content or nearly.
    fn retry(&self, gene: &Gene) -> Command {
        let recent = &self.ledger.recent_inserts;
        if recent.is_empty() {
            return self.insert(gene);
        }
        let mut insert = recent[usize::from(gene[5]) % recent.len()];
        match gene[4] % 12 {
            9 => insert.terms.quantity = insert.terms.quantity % 10 + 1,
            10 => insert.instrument = self.instrument(gene),
            11 => insert.user = self.user(gene),
            _ => {}
        }
        Command::InsertOrder(insert)
    }

    /// An order to change: mostly an open one, by its owner.
    fn target(&self, gene: &Gene) -> (UserId, OrderRef, Option<Order>) {
        let open = &self.ledger.open;
        let (choice, value) = (gene[5] % 32, usize::from(gene[5] / 32));
        let nth = |n: usize| open.values().nth(n % open.len()).copied();
        let chosen = if open.is_empty() { None } else { nth(value) };
        match (choice, chosen) {
            (0..=20, Some(order)) => (order.user, OrderRef::Id(order.order_id), Some(order)),
            (21..=24, Some(order)) => {
                // The next of them that has a client id.
                let named = open.values().cycle().skip(value % open.len()).take(open.len());
                let named = named.copied().find(|order| !order.client_order_id.is_empty());
                let order = named.unwrap_or(order);
                (order.user, OrderRef::Client(order.client_order_id), Some(order))
            }
            (25..=26, Some(order)) => (self.user(gene), OrderRef::Id(order.order_id), Some(order)),
            (27..=28, _) => (self.user(gene), OrderRef::Client(client_id(value as u16)), None),
            (29, _) => (self.user(gene), OrderRef::Client(ClientOrderId::new()), None),
            _ => (self.user(gene), OrderRef::Id(self.some_order_id(gene)), None),
        }
    }

    /// An order id of any kind: done, open, never given out, or with a wrong part.
    fn some_order_id(&self, gene: &Gene) -> OrderId {
        let (choice, value) = (gene[4] % 16, usize::from(gene[4] / 16));
        let open = &self.ledger.open;
        let nth = (!open.is_empty()).then(|| open.keys().nth(value % open.len()));
        let open = nth.flatten().copied().unwrap_or(OrderId(1));
        let done = &self.ledger.recent_done;
        let done = if done.is_empty() {
            open
        } else {
            done[value % done.len()]
        };
        match choice {
            0..=5 => done,
            6..=9 => open,
            10 => OrderId(0),
            11 => OrderId(u64::MAX),
            12 => OrderId(open.0 ^ 1),
            13 => OrderId(open.0.wrapping_add(1 << 24)),
            14 => OrderId(open.0 & 0xFF_FFFF),
            _ => OrderId(self.ledger.last_order_id),
        }
    }

    fn amend(&self, gene: &Gene) -> Command {
        let (user, order, old) = self.target(gene);
        let old = old.unwrap_or(Order {
            instrument: InstrumentId(0),
            order_id: OrderId(0),
            user,
            client_order_id: ClientOrderId::new(),
            side: Side::Buy,
            price_e4: 0,
            quantity: 1,
            filled_quantity: 0,
            status: optivex_engine::types::OrderStatus::Open,
            created_unix_ns: 0,
            order_type: OrderType::Limit,
            time_in_force: TimeInForce::GoodTillCancelled,
            post_only: false,
            self_trade_prevention: SelfTradePrevention::CancelIncoming,
            event_seq: 0,
        });
        let tick = self.listing(old.instrument).tick;
        let step = i64::from(gene[4] / 32 % 9) - 4;
        let near = old
            .price_e4
            .saturating_add(step * tick)
            .clamp(-PRICE_E4_MAX, PRICE_E4_MAX);
        let more = (old.quantity + 1 + i64::from(gene[4] / 32 % 8)).min(QUANTITY_MAX);
        let less = (old.quantity - i64::from(gene[4] / 32 % 4)).max(0);
        let (price_e4, quantity) = match gene[4] % 32 {
            0..=5 => (None, Some(less)),
            6..=10 => (None, Some(more)),
            11..=16 => (Some(near), None),
            17 => (Some(near), Some(more)),
            18 => (Some(near), Some(less)),
            19..=20 => (Some(old.price_e4), Some(old.quantity)),
            21 => (Some(old.price_e4), Some(less)),
            22 => (Some(old.price_e4), Some(more)),
            23 => (None, Some(old.filled_quantity)),
            24 => (Some(near), Some(old.filled_quantity.min(1))),
            25 => (None, Some(0)),
            26..=27 => (Some(self.price(old.instrument, old.side, gene[3])), None),
            28 => (
                Some(self.price(old.instrument, old.side, gene[3])),
                Some(self.quantity(old.instrument, old.price_e4, gene[2])),
            ),
            29 => (None, Some(self.quantity(old.instrument, old.price_e4, gene[2]))),
            30 => (None, Some(old.filled_quantity + 1)),
            _ => (Some(self.price(old.instrument, old.side, gene[3])), Some(less)),
        };
        Command::AmendOrder(AmendOrder {
            user,
            order,
            price_e4,
            quantity: quantity.map(|quantity| quantity.min(QUANTITY_MAX)),
        })
    }

    fn cancel(&self, gene: &Gene) -> Command {
        let (user, order, _) = self.target(gene);
        Command::CancelOrder { user, order }
    }

    fn cancel_all(&self, gene: &Gene) -> Command {
        Command::CancelAllOrders {
            user: self.user(gene),
            instrument: (!gene[5].is_multiple_of(3)).then(|| self.instrument(gene)),
            side: (gene[4] % 3 == 1).then(|| side(gene[2])),
        }
    }

    fn is_set(&self, gene: u16) -> bool {
        gene % 16 < self.profile.strictness
    }

    fn window(&self, gene: u16, limits: &[i64]) -> Option<RollingWindowLimit> {
        self.is_set(gene).then(|| RollingWindowLimit {
            limit: limits[usize::from(gene / 16) % limits.len()],
            window_in_seconds: WINDOWS[usize::from(gene / 256) % WINDOWS.len()],
        })
    }

    fn limit(&self, gene: u16, limits: &[i64]) -> Option<i64> {
        self.is_set(gene).then(|| limits[usize::from(gene / 16) % limits.len()])
    }

    fn user_limits(&self, gene: &Gene) -> UserRiskLimits {
        UserRiskLimits {
            message_rate: self.window(gene[2], &[40, 20, 10, 100, 5, 60, 30, 1]),
            max_outstanding_quantity: self.limit(gene[3], &[200, 100, 60, 1_000, 300, 400, 0, i64::MAX]),
            max_outstanding_amount_e4: self.limit(gene[4], &self.amounts(InstrumentId(0))),
        }
    }

    fn instrument_limits(&self, gene: &Gene) -> InstrumentRiskLimits {
        let amounts = self.amounts(self.instrument(gene));
        InstrumentRiskLimits {
            order_quantity: self.window(gene[2], &[200, 100, 50, 400, 20, 1_000, 0, QUANTITY_MAX]),
            order_amount: self.window(gene[3], &amounts),
            max_outstanding_quantity: self.limit(gene[4], &[100, 50, 150, 30, 300, 80, 0, i64::MAX]),
            max_outstanding_amount_e4: self.limit(gene[5], &amounts),
            max_order_quantity: self.limit(gene[6], &[20, 30, 10, 60, 5, 15, 0, QUANTITY_MAX]),
            max_position: self.limit(gene[3] ^ gene[4], &[60, 100, 30, 200, 150, 15, 0, i64::MAX]),
        }
    }

    /// Amounts that some tens of lots around the mid reach.
    fn amounts(&self, instrument: InstrumentId) -> [i64; 8] {
        let listing = self.listing(instrument);
        let unit = i128::from(listing.mid.abs().max(2)) * i128::from(listing.tick) * i128::from(listing.multiplier);
        let unit = unit.min(NOTIONAL_E4_MAX) as i64;
        [
            unit * 200,
            unit * 100,
            unit * 50 + 1,
            unit * 400,
            unit * 30 - 1,
            unit * 1_000,
            0,
            i64::MAX,
        ]
    }
}

fn side(gene: u16) -> Side {
    if gene.is_multiple_of(2) { Side::Buy } else { Side::Sell }
}

fn client_id(gene: u16) -> ClientOrderId {
    ArrayString::from(&format!("c{}", gene % CLIENT_IDS)).expect("short")
}
