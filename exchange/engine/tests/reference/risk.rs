//! Limits of the model. Sums are made anew from open orders and raw history at every question.

use optivex_engine::refusal::LimitBreach;
use optivex_engine::types::{InstrumentId, Order, RollingWindowLimit, Side, UserId};
use optivex_engine::{Refusal, RiskUsage};

use super::Model;

const SECOND: i128 = 1_000_000_000;

/// All that was ever counted, with its moment; nothing before the first limit was set.
#[derive(Debug, Default)]
pub(super) struct Window {
    counting: bool,
    entries: Vec<(i64, i128)>,
}

impl Window {
    pub(super) fn start_if(&mut self, limit: Option<RollingWindowLimit>) {
        self.counting |= limit.is_some();
    }

    fn add(&mut self, time: i64, amount: i128) {
        if self.counting && amount > 0 {
            self.entries.push((time, amount));
        }
    }

    /// What counts at `now`, oldest first: moments after `now` − length.
    fn inside(&self, now: i64, limit: RollingWindowLimit) -> &[(i64, i128)] {
        let edge = i128::from(now) - length(limit);
        let outside = self
            .entries
            .iter()
            .rev()
            .position(|(time, _)| i128::from(*time) <= edge);
        match outside {
            Some(from_end) => &self.entries[self.entries.len() - from_end..],
            None => &self.entries,
        }
    }

    pub(super) fn sum(&self, now: i64, limit: RollingWindowLimit) -> i128 {
        self.inside(now, limit).iter().map(|(_, amount)| amount).sum()
    }

    fn check(
        &self,
        limit_name: &'static str,
        instrument: Option<InstrumentId>,
        now: i64,
        limit: Option<RollingWindowLimit>,
        attempted: i128,
    ) -> Result<(), Refusal> {
        let Some(limit) = limit else { return Ok(()) };
        let current = self.sum(now, limit);
        if attempted <= 0 || current + attempted <= i128::from(limit.limit) {
            return Ok(());
        }
        let mut retry_after = length(limit);
        let mut left = current;
        for (time, amount) in self.inside(now, limit) {
            left -= amount;
            if left + attempted <= i128::from(limit.limit) {
                retry_after = i128::from(*time) + length(limit) - i128::from(now);
                break;
            }
        }
        Err(Refusal::RateLimit {
            breach: LimitBreach {
                limit_name,
                instrument,
                limit: limit.limit,
                current,
                attempted,
            },
            retry_after_ns: retry_after as i64,
        })
    }
}

fn length(limit: RollingWindowLimit) -> i128 {
    i128::from(limit.window_in_seconds) * SECOND
}

/// What a command adds.
#[derive(Clone, Copy)]
pub(super) struct Addition {
    /// Lots; below zero when it takes away.
    pub(super) quantity: i128,
    /// |price| × quantity × multiplier; below zero when it takes away.
    pub(super) amount: i128,
    /// Total lots of the order before.
    pub(super) order_quantity: i128,
}

/// Open orders of a user, both sides added.
struct Outstanding {
    quantity: i128,
    amount: i128,
    buy: i128,
    sell: i128,
}

impl Model {
    fn outstanding(&self, user: UserId, instrument: Option<InstrumentId>) -> Outstanding {
        let mut sums = Outstanding {
            quantity: 0,
            amount: 0,
            buy: 0,
            sell: 0,
        };
        for book in &self.books {
            if instrument.is_some_and(|wanted| wanted != book.instrument.id) {
                continue;
            }
            for order in book.orders().filter(|order: &&Order| order.user == user) {
                let open = i128::from(order.open_quantity());
                sums.quantity += open;
                sums.amount += book.amount(order.price_e4, order.open_quantity());
                match order.side {
                    Side::Buy => sums.buy += open,
                    Side::Sell => sums.sell += open,
                }
            }
        }
        sums
    }

    /// All limits in the order of the contract's fields, the user's first.
    pub(super) fn check_limits(
        &self,
        user_id: UserId,
        instrument: InstrumentId,
        side: Side,
        addition: Addition,
    ) -> Result<(), Refusal> {
        let now = self.event.time_unix_ns;
        let user = self.user(user_id);
        let sums = self.outstanding(user_id, None);
        let limits = &user.limits;
        user.messages
            .check("message_rate_rolling_limit", None, now, limits.message_rate, 1)?;
        check_static(
            "max_outstanding_quantity",
            None,
            limits.max_outstanding_quantity,
            sums.quantity,
            addition.quantity,
        )?;
        check_static(
            "max_outstanding_amount_e4",
            None,
            limits.max_outstanding_amount_e4,
            sums.amount,
            addition.amount,
        )?;

        let holding = &user.holdings[instrument.0 as usize];
        let sums = self.outstanding(user_id, Some(instrument));
        let limits = &holding.limits;
        let place = Some(instrument);
        let lots = addition.quantity;
        holding
            .lots
            .check("order_quantity_rolling_limit", place, now, limits.order_quantity, lots)?;
        let amount = addition.amount;
        holding
            .amounts
            .check("order_amount_rolling_limit", place, now, limits.order_amount, amount)?;
        check_static(
            "max_outstanding_quantity",
            place,
            limits.max_outstanding_quantity,
            sums.quantity,
            lots,
        )?;
        check_static(
            "max_outstanding_amount_e4",
            place,
            limits.max_outstanding_amount_e4,
            sums.amount,
            amount,
        )?;
        check_static(
            "max_order_quantity",
            place,
            limits.max_order_quantity,
            addition.order_quantity,
            lots,
        )?;
        let held = i128::from(holding.quantity);
        let reach = match side {
            Side::Buy => held + sums.buy,
            Side::Sell => -held + sums.sell,
        };
        check_static("max_position", place, limits.max_position, reach, lots)
    }

    /// Counts an accepted insert or amend.
    pub(super) fn count(&mut self, user: UserId, instrument: InstrumentId, addition: Addition) {
        self.count_message(user);
        let now = self.event.time_unix_ns;
        let holding = self.holding_mut(user, instrument);
        holding.lots.add(now, addition.quantity);
        holding.amounts.add(now, addition.amount);
    }

    pub(super) fn count_message(&mut self, user: UserId) {
        let now = self.event.time_unix_ns;
        self.user_mut(user).messages.add(now, 1);
    }

    /// Every limit that is set and every outstanding sum that is not zero: the user's, then those of
    /// each instrument by symbol, by name.
    pub(crate) fn risk_usage(&self, user_id: UserId, now: i64) -> Vec<RiskUsage> {
        let Some(user) = self.users.get(user_id.0 as usize) else {
            return Vec::new();
        };
        let mut usages = Vec::new();
        let mut tell = |limit_name, instrument, current: i128, limit: Option<i64>, always: bool| {
            if limit.is_some() || (always && current != 0) {
                usages.push(RiskUsage {
                    limit_name,
                    instrument,
                    current: clamp(current),
                    limit,
                });
            }
        };
        let rolling = |window: &Window, limit: Option<RollingWindowLimit>| match limit {
            Some(limit) => (window.sum(now, limit), Some(limit.limit)),
            None => (0, None),
        };
        let limits = &user.limits;
        let sums = self.outstanding(user_id, None);
        let (messages, limit) = rolling(&user.messages, limits.message_rate);
        tell("message_rate_rolling_limit", None, messages, limit, false);
        let limit = limits.max_outstanding_quantity;
        tell("max_outstanding_quantity", None, sums.quantity, limit, true);
        let limit = limits.max_outstanding_amount_e4;
        tell("max_outstanding_amount_e4", None, sums.amount, limit, true);
        for (holding, book) in user.holdings.iter().zip(&self.books) {
            let place = Some(book.instrument.id);
            let limits = &holding.limits;
            let sums = self.outstanding(user_id, place);
            let (lots, limit) = rolling(&holding.lots, limits.order_quantity);
            tell("order_quantity_rolling_limit", place, lots, limit, false);
            let (amount, limit) = rolling(&holding.amounts, limits.order_amount);
            tell("order_amount_rolling_limit", place, amount, limit, false);
            let limit = limits.max_outstanding_quantity;
            tell("max_outstanding_quantity", place, sums.quantity, limit, true);
            let limit = limits.max_outstanding_amount_e4;
            tell("max_outstanding_amount_e4", place, sums.amount, limit, true);
            tell("max_order_quantity", place, 0, limits.max_order_quantity, false);
            let held = i128::from(holding.quantity);
            let reach = (held + sums.buy).max(-held + sums.sell);
            tell("max_position", place, reach, limits.max_position, false);
        }
        let symbol = |instrument: Option<InstrumentId>| instrument.map(|id| self.book(id).instrument.symbol);
        usages.sort_by_key(|usage| (symbol(usage.instrument), usage.limit_name));
        usages
    }
}

fn check_static(
    limit_name: &'static str,
    instrument: Option<InstrumentId>,
    limit: Option<i64>,
    current: i128,
    attempted: i128,
) -> Result<(), Refusal> {
    match limit {
        Some(limit) if attempted > 0 && current + attempted > i128::from(limit) => {
            Err(Refusal::RiskLimit(LimitBreach {
                limit_name,
                instrument,
                limit,
                current,
                attempted,
            }))
        }
        _ => Ok(()),
    }
}

pub(super) fn clamp(value: i128) -> i64 {
    value.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}
