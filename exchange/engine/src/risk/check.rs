//! The limits in the order of the contract: the user's, then the instrument's, each in field order.

use crate::engine::Engine;
use crate::refusal::{LimitBreach, Refusal};
use crate::risk::RollingWindow;
use crate::types::{InstrumentId, RollingWindowLimit, Side, UserId};
use crate::user::User;

/// What a command would add; 0 and less is not judged. One message in any case.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Added {
    /// Side.
    pub(crate) side: Side,
    /// Lots.
    pub(crate) quantity: i64,
    /// Amount, in 1e-4.
    pub(crate) amount_e4: i128,
    /// Lots of the order before, 0 for a new one.
    pub(crate) order_quantity: i64,
}

/// One limit's name and place.
#[derive(Clone, Copy)]
struct Name {
    limit_name: &'static str,
    instrument: Option<InstrumentId>,
}

impl Name {
    fn check(self, limit: Option<i64>, current: i128, attempted: i128) -> Result<(), Refusal> {
        match limit {
            Some(limit)
                if attempted > 0 && current + attempted > i128::from(limit) + i128::from(fault!(LimitOffByOne)) =>
            {
                Err(Refusal::RiskLimit(self.breach(limit, current, attempted)))
            }
            _ => Ok(()),
        }
    }

    fn check_window(
        self,
        limit: Option<RollingWindowLimit>,
        window: Option<&RollingWindow>,
        now: i64,
        attempted: i128,
    ) -> Result<(), Refusal> {
        let (Some(limit), Some(window)) = (limit, window) else {
            return Ok(());
        };
        let seconds = limit.window_in_seconds;
        let current = window.sum(now, seconds);
        if attempted <= 0 || current + attempted <= i128::from(limit.limit) {
            return Ok(());
        }
        Err(Refusal::RateLimit {
            breach: self.breach(limit.limit, current, attempted),
            retry_after_ns: window.wait_ns(now, seconds, limit.limit, attempted),
        })
    }

    fn breach(self, limit: i64, current: i128, attempted: i128) -> LimitBreach {
        LimitBreach {
            limit_name: self.limit_name,
            instrument: self.instrument,
            limit,
            current,
            attempted,
        }
    }
}

impl Engine {
    /// Whether any limit or window of a user, or of its account in an instrument, concerns an order there.
    #[inline(always)]
    pub(crate) fn is_limited(&self, user: &User, account: Option<u32>) -> bool {
        cfg!(feature = "faults")
            || user.is_limited()
            || account.is_some_and(|account| self.accounts[account as usize].risk.is_some())
    }

    /// Judges what a command would add at a moment: the user's limits, then those in the instrument,
    /// where the user has the account.
    #[inline(never)]
    pub(crate) fn check_limits(
        &self,
        user: UserId,
        instrument: InstrumentId,
        account: Option<u32>,
        added: &Added,
        now: i64,
    ) -> Result<(), Refusal> {
        if fault!(LimitCheckedThenCounted in a crowd) {
            return Ok(());
        }
        if fault!(InstrumentLimitsFirst) {
            self.check_instrument_limits(instrument, account, added, now)?;
        }
        self.check_user_limits(user, instrument, added, now)?;
        self.check_instrument_limits(instrument, account, added, now)
    }

    fn check_user_limits(
        &self,
        user: UserId,
        instrument: InstrumentId,
        added: &Added,
        now: i64,
    ) -> Result<(), Refusal> {
        self.check_message_rate(user, now)?;
        let user_state = &self.users[user.0 as usize];
        let open_quantity = if fault!(UserLimitsByInstrument) {
            self.open_lots(user, instrument, None)
        } else {
            user_state.open_quantity
        };
        let name = |limit_name| Name {
            limit_name,
            instrument: None,
        };
        name("max_outstanding_quantity").check(
            user_state.limits.max_outstanding_quantity,
            i128::from(open_quantity),
            i128::from(added.quantity),
        )?;
        name("max_outstanding_amount_e4").check(
            user_state.limits.max_outstanding_amount_e4,
            user_state.open_amount_e4,
            added.amount_e4,
        )
    }

    fn check_instrument_limits(
        &self,
        instrument: InstrumentId,
        account: Option<u32>,
        added: &Added,
        now: i64,
    ) -> Result<(), Refusal> {
        let own = account.map(|at| &self.accounts[at as usize]);
        let account = fault!(LimitsOfAnybody, self.limited_account(instrument), own);
        let Some(account) = account else { return Ok(()) };
        let Some(risk) = &account.risk else { return Ok(()) };
        let name = |limit_name| Name {
            limit_name,
            instrument: Some(instrument),
        };
        let limits = &risk.limits;
        let quantity = i128::from(added.quantity);
        name("order_quantity_rolling_limit").check_window(
            limits.order_quantity,
            risk.quantities.as_ref(),
            now,
            quantity,
        )?;
        name("order_amount_rolling_limit").check_window(
            limits.order_amount,
            risk.amounts.as_ref(),
            now,
            added.amount_e4,
        )?;
        let sides_counted = fault!(OutstandingOfBuys, 1, 2);
        name("max_outstanding_quantity").check(
            limits.max_outstanding_quantity,
            account
                .open_quantity
                .iter()
                .take(sides_counted)
                .map(|quantity| i128::from(*quantity))
                .sum(),
            quantity,
        )?;
        name("max_outstanding_amount_e4").check(
            limits.max_outstanding_amount_e4,
            account.open_amount_e4,
            added.amount_e4,
        )?;
        name("max_order_quantity").check(limits.max_order_quantity, i128::from(added.order_quantity), quantity)?;
        name("max_position").check(limits.max_position, account.exposure(added.side), quantity)
    }

    /// Judges one message more.
    pub(crate) fn check_message_rate(&self, user: UserId, now: i64) -> Result<(), Refusal> {
        let user = &self.users[user.0 as usize];
        let name = Name {
            limit_name: "message_rate_rolling_limit",
            instrument: None,
        };
        name.check_window(user.limits.message_rate, user.messages.as_ref(), now, 1)
    }

    /// Whether anything asks for the amount of an order of this user: a market order's has to be worked out.
    pub(crate) fn amount_matters(&self, user: UserId, instrument: InstrumentId) -> bool {
        let user = &self.users[user.0 as usize];
        let risk = user
            .account(instrument)
            .and_then(|at| self.accounts[at as usize].risk.as_ref());
        user.limits.max_outstanding_amount_e4.is_some()
            || risk.is_some_and(|risk| risk.amounts.is_some() || risk.limits.max_outstanding_amount_e4.is_some())
    }

    /// Counts an accepted message.
    #[inline]
    pub(crate) fn count_message(&mut self, user: UserId) {
        let moments_max = self.limits.rolling_window_moments_max;
        if let Some(messages) = &mut self.users[user.0 as usize].messages {
            messages.count(self.time_unix_ns, 1, moments_max);
        }
    }

    /// Counts what an accepted insert or amend adds, its message included.
    pub(crate) fn count_added(&mut self, user: UserId, account: u32, added: &Added) {
        if !(fault!(AmendsUncounted) && added.order_quantity > 0) {
            self.count_message(user);
        }
        let moments_max = self.limits.rolling_window_moments_max;
        if let Some(risk) = &mut self.accounts[account as usize].risk {
            if fault!(WindowOfBuys) && added.side == Side::Sell {
                return;
            }
            if let Some(quantities) = &mut risk.quantities {
                quantities.count(self.time_unix_ns, i128::from(added.quantity), moments_max);
            }
            if let Some(amounts) = &mut risk.amounts {
                amounts.count(self.time_unix_ns, added.amount_e4, moments_max);
            }
        }
    }
}
