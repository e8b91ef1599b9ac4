//! One book with all order types, amends, self-trade prevention and limits, in continuous trading.
//! It searches a list; it knows users and orders by the case's own numbers.

use std::collections::BTreeMap;

use optivex_proto::v1::{CancelReason, ErrorReason, InstrumentRiskLimits, SelfTradePrevention, Side, UserRiskLimits};

use crate::check::{Level, Outcome};

/// An order as its user wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Whose it is.
    pub owner: usize,
    /// Buy or sell.
    pub side: Side,
    /// Limit price; none for a market order.
    pub price_e4: Option<i64>,
    /// Total lots.
    pub quantity: i64,
    /// How long it lives.
    pub life: Life,
    /// Only to rest.
    pub post_only: bool,
    /// Against orders of its own user.
    pub choice: SelfTradePrevention,
}

/// How long an order lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Rests.
    Rests,
    /// Trades what it can.
    Immediate,
    /// Trades whole or not at all.
    Whole,
}

#[derive(Clone, Debug)]
struct Order {
    key: usize,
    terms: Terms,
    price_e4: i64,
    filled: i64,
    place: u64,
}

impl Order {
    fn open(&self) -> i64 {
        self.terms.quantity - self.filled
    }
}

/// Limits of one user, and what counted for the rolling ones (windows longer than any case).
#[derive(Clone, Debug, Default)]
struct Account {
    user: UserRiskLimits,
    instrument: InstrumentRiskLimits,
    inserted_quantity: i64,
    inserted_amount: i64,
    position: i64,
}

/// Why a command is refused: the reason, and the limits that may be named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// For what the order asks of the book.
    Book(ErrorReason),
    /// For one of these limits.
    Limits(Vec<&'static str>),
}

/// The book and its users.
#[derive(Clone, Debug, Default)]
pub struct Venue {
    multiplier: i64,
    orders: Vec<Order>,
    accounts: BTreeMap<usize, Account>,
    places: u64,
}

/// What a command adds, as limits see it.
#[derive(Clone, Copy, Debug, Default)]
struct Adds {
    quantity: i64,
    amount: i64,
    order_quantity: i64,
}

impl Venue {
    /// An empty book.
    pub fn new(multiplier: i64) -> Self {
        Self {
            multiplier,
            ..Self::default()
        }
    }

    /// Sets a user's limits.
    pub fn limit(&mut self, owner: usize, user: UserRiskLimits, instrument: InstrumentRiskLimits) {
        let account = self.accounts.entry(owner).or_default();
        account.user = user;
        account.instrument = instrument;
    }

    /// Lots that a user holds.
    pub fn position(&self, owner: usize) -> i64 {
        self.accounts.get(&owner).map_or(0, |account| account.position)
    }

    /// Lots in a user's open orders of one side.
    pub fn open_quantity(&self, owner: usize, side: Side) -> i64 {
        let fits = |order: &&Order| order.terms.owner == owner && order.terms.side == side;
        self.orders.iter().filter(fits).map(Order::open).sum()
    }

    /// A user's open orders: key and lots that remain.
    pub fn open_orders(&self, owner: usize) -> BTreeMap<usize, i64> {
        let own = self.orders.iter().filter(|order| order.terms.owner == owner);
        own.map(|order| (order.key, order.open())).collect()
    }

    /// Levels of one side, best first.
    pub fn levels(&self, side: Side) -> Vec<Level> {
        let mut levels: Vec<Level> = Vec::new();
        for order in self.queue(side) {
            match levels.last_mut() {
                Some(level) if level.0 == order.price_e4 => {
                    level.1 += order.open();
                    level.2 += 1;
                }
                _ => levels.push((order.price_e4, order.open(), 1)),
            }
        }
        levels
    }

    fn queue(&self, side: Side) -> Vec<&Order> {
        let mut queue: Vec<&Order> = self.orders.iter().filter(|order| order.terms.side == side).collect();
        queue.sort_by_key(|order| match side {
            Side::Buy => (-order.price_e4, order.place),
            _ => (order.price_e4, order.place),
        });
        queue
    }

    /// The other side's orders that an order would meet, in their order.
    fn meets(&self, terms: &Terms) -> Vec<&Order> {
        let other = if terms.side == Side::Buy { Side::Sell } else { Side::Buy };
        let mut queue = self.queue(other);
        queue.retain(|order| match (terms.price_e4, terms.side) {
            (None, _) => true,
            (Some(price), Side::Buy) => order.price_e4 <= price,
            (Some(price), _) => order.price_e4 >= price,
        });
        queue
    }

    /// Whether an order would come upon an order of its own user.
    pub fn meets_own(&self, terms: &Terms) -> bool {
        self.meets(terms).iter().any(|order| order.terms.owner == terms.owner)
    }

    /// Trades that would be: key, price, lots. And own orders that would be cancelled, and whether
    /// an own order stops it.
    fn would(&self, terms: &Terms, open: i64) -> (Vec<(usize, i64, i64)>, Vec<usize>, bool) {
        let (mut trades, mut cancelled, mut left) = (Vec::new(), Vec::new(), open);
        for order in self.meets(terms) {
            if left == 0 {
                break;
            }
            if order.terms.owner == terms.owner {
                match terms.choice {
                    SelfTradePrevention::CancelResting => {
                        cancelled.push(order.key);
                        continue;
                    }
                    SelfTradePrevention::CancelBoth => {
                        cancelled.push(order.key);
                        return (trades, cancelled, true);
                    }
                    _ => return (trades, cancelled, true),
                }
            }
            let lots = left.min(order.open());
            trades.push((order.key, order.price_e4, lots));
            left -= lots;
        }
        (trades, cancelled, false)
    }

    /// What the order asks of the book.
    fn ask(&self, terms: &Terms, open: i64) -> Result<(), Refused> {
        if terms.post_only && !self.meets(terms).is_empty() {
            return Err(Refused::Book(ErrorReason::WouldCross));
        }
        let lots: i64 = self.would(terms, open).0.iter().map(|(_, _, lots)| lots).sum();
        if terms.life == Life::Whole && lots < open {
            return Err(Refused::Book(ErrorReason::CannotFill));
        }
        Ok(())
    }

    fn amount(&self, price_e4: i64, quantity: i64) -> i64 {
        price_e4.abs() * quantity * self.multiplier
    }

    fn judge(&self, terms: &Terms, adds: Adds) -> Result<(), Refused> {
        let Some(account) = self.accounts.get(&terms.owner) else {
            return Ok(());
        };
        let own = || self.orders.iter().filter(|order| order.terms.owner == terms.owner);
        let open: i64 = own().map(Order::open).sum();
        let amount: i64 = own().map(|order| self.amount(order.price_e4, order.open())).sum();
        let of_side = self.open_quantity(terms.owner, terms.side);
        let held = if terms.side == Side::Buy {
            account.position
        } else {
            -account.position
        };
        let over =
            |limit: Option<i64>, current: i64, adds: i64| adds > 0 && limit.is_some_and(|limit| current + adds > limit);
        let user = &account.user;
        let mut names = Vec::new();
        if over(user.max_outstanding_quantity, open, adds.quantity) {
            names.push("max_outstanding_quantity");
        }
        if over(user.max_outstanding_amount_e4, amount, adds.amount) {
            names.push("max_outstanding_amount_e4");
        }
        if !names.is_empty() {
            return Err(Refused::Limits(names));
        }
        let limits = &account.instrument;
        let quantity_window = limits.order_quantity_rolling_limit.map(|window| window.limit);
        let amount_window = limits.order_amount_rolling_limit.map(|window| window.limit);
        for (name, limit, current, adds) in [
            (
                "order_quantity_rolling_limit",
                quantity_window,
                account.inserted_quantity,
                adds.quantity,
            ),
            (
                "order_amount_rolling_limit",
                amount_window,
                account.inserted_amount,
                adds.amount,
            ),
            (
                "max_outstanding_quantity",
                limits.max_outstanding_quantity,
                open,
                adds.quantity,
            ),
            (
                "max_outstanding_amount_e4",
                limits.max_outstanding_amount_e4,
                amount,
                adds.amount,
            ),
            (
                "max_order_quantity",
                limits.max_order_quantity,
                terms.quantity - adds.order_quantity,
                adds.order_quantity,
            ),
            ("max_position", limits.max_position, held + of_side, adds.quantity),
        ] {
            if over(limit, current, adds) {
                names.push(name);
            }
        }
        if names.is_empty() {
            Ok(())
        } else {
            Err(Refused::Limits(names))
        }
    }

    fn count(&mut self, owner: usize, adds: Adds) {
        let account = self.accounts.entry(owner).or_default();
        account.inserted_quantity += adds.quantity.max(0);
        account.inserted_amount += adds.amount.max(0);
    }

    /// Inserts an order under a key that was never used.
    pub fn insert(&mut self, key: usize, terms: Terms) -> Result<Outcome, Refused> {
        self.ask(&terms, terms.quantity)?;
        let amount = match terms.price_e4 {
            Some(price) => self.amount(price, terms.quantity),
            None => {
                let trades = self.would(&terms, terms.quantity).0;
                trades.iter().map(|(_, price, lots)| self.amount(*price, *lots)).sum()
            }
        };
        let adds = Adds {
            quantity: terms.quantity,
            amount,
            order_quantity: terms.quantity,
        };
        self.judge(&terms, adds)?;
        self.count(terms.owner, adds);
        Ok(self.place(key, terms, 0))
    }

    /// Changes a resting order: `None` if it does not rest.
    pub fn amend(
        &mut self,
        key: usize,
        price_e4: Option<i64>,
        quantity: Option<i64>,
    ) -> Option<Result<Outcome, Refused>> {
        let place = self.orders.iter().position(|order| order.key == key)?;
        let old = self.orders[place].clone();
        let price = price_e4.unwrap_or(old.price_e4);
        let terms = Terms {
            price_e4: Some(price),
            quantity: quantity.unwrap_or(old.terms.quantity),
            ..old.terms
        };
        if terms.quantity <= old.filled {
            self.orders.remove(place);
            return Some(Ok(Outcome::cancelled(CancelReason::User, &[]).after(old.filled)));
        }
        let open = terms.quantity - old.filled;
        let stays = price == old.price_e4 && terms.quantity <= old.terms.quantity;
        if !stays && let Err(refused) = self.ask(&terms, open) {
            return Some(Err(refused));
        }
        let adds = Adds {
            quantity: open - old.open(),
            amount: self.amount(price, open) - self.amount(old.price_e4, old.open()),
            order_quantity: terms.quantity - old.terms.quantity,
        };
        if let Err(refused) = self.judge(&terms, adds) {
            return Some(Err(refused));
        }
        self.count(terms.owner, adds);
        if stays {
            self.orders[place].terms = terms;
            return Some(Ok(Outcome::open(open, &[]).after(old.filled)));
        }
        self.orders.remove(place);
        Some(Ok(self.place(key, terms, old.filled).after(old.filled)))
    }

    /// Cancels a resting order: what remained.
    pub fn cancel(&mut self, key: usize) -> Option<i64> {
        let place = self.orders.iter().position(|order| order.key == key)?;
        Some(self.orders.remove(place).open())
    }

    /// Trades, and rests or ends.
    fn place(&mut self, key: usize, terms: Terms, filled_before: i64) -> Outcome {
        let open = terms.quantity - filled_before;
        let (trades, cancelled, stopped) = self.would(&terms, open);
        self.orders.retain(|order| !cancelled.contains(&order.key));
        let sign = if terms.side == Side::Buy { 1 } else { -1 };
        for (resting, _, lots) in &trades {
            let Some(order) = self.orders.iter_mut().find(|order| order.key == *resting) else {
                continue;
            };
            order.filled += lots;
            let other = order.terms.owner;
            self.accounts.entry(terms.owner).or_default().position += sign * lots;
            self.accounts.entry(other).or_default().position -= sign * lots;
        }
        self.orders.retain(|order| order.open() > 0);
        let fills: Vec<(i64, i64)> = trades.iter().map(|(_, price, lots)| (*price, *lots)).collect();
        let left = open - fills.iter().map(|(_, lots)| lots).sum::<i64>();
        match (terms.price_e4, terms.life) {
            _ if left == 0 => Outcome::filled(&fills),
            _ if stopped => Outcome::cancelled(CancelReason::SelfTrade, &fills),
            (Some(price_e4), Life::Rests) => {
                self.places += 1;
                self.orders.push(Order {
                    key,
                    terms,
                    price_e4,
                    filled: terms.quantity - left,
                    place: self.places,
                });
                Outcome::open(left, &fills)
            }
            _ => Outcome::cancelled(CancelReason::TimeInForce, &fills),
        }
    }
}
