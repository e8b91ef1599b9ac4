//! What a user holds, owes and risks in one instrument.

use crate::book::index;
use crate::risk::RollingWindow;
use crate::types::{InstrumentId, InstrumentRiskLimits, Side};

/// A user in one instrument.
#[derive(Debug)]
pub(crate) struct Account {
    /// Instrument.
    pub(crate) instrument: InstrumentId,
    /// Lots held; wider than shown, as trades over time are not bounded.
    pub(crate) quantity: i128,
    /// Money received less money paid, in 1e-4.
    pub(crate) cash_e4: i128,
    /// Lots in open buy and sell orders.
    pub(crate) open_quantity: [i64; 2],
    /// Amount of open orders, both sides, in 1e-4.
    pub(crate) open_amount_e4: i128,
    /// Limits and what counts for them; most accounts have none.
    pub(crate) risk: Option<Box<AccountRisk>>,
}

/// Limits of a user in an instrument, and their windows.
#[derive(Debug, Default)]
pub(crate) struct AccountRisk {
    /// Limits.
    pub(crate) limits: InstrumentRiskLimits,
    /// Lots inserted, from the first limit on them on.
    pub(crate) quantities: Option<RollingWindow>,
    /// Amounts inserted, from the first limit on them on.
    pub(crate) amounts: Option<RollingWindow>,
}

impl Account {
    /// Nothing yet.
    pub(crate) fn new(instrument: InstrumentId) -> Self {
        Self {
            instrument,
            quantity: 0,
            cash_e4: 0,
            open_quantity: [0, 0],
            open_amount_e4: 0,
            risk: None,
        }
    }

    /// Counts lots and amount of a side as open, or as not open any more if they are below 0.
    #[inline(always)]
    pub(crate) fn count_open(&mut self, side: Side, quantity: i64, amount_e4: i128) {
        self.open_quantity[index(side)] += quantity;
        self.open_amount_e4 += amount_e4;
    }

    /// Lots from trades, and what was paid for them; both below zero for those that were sold.
    #[inline(always)]
    pub(crate) fn trade(&mut self, lots: i64, paid_e4: i128) {
        if !fault!(PositionsForgotten) {
            self.quantity += i128::from(lots);
            self.cash_e4 -= paid_e4;
        }
    }

    /// Lots held if every open buy order traded, and less than none if every sell order did.
    pub(crate) fn exposure(&self, side: Side) -> i128 {
        let open_quantity = fault!(PositionWithoutOrders, [0, 0], self.open_quantity);
        match side {
            Side::Buy => self.quantity + i128::from(open_quantity[0]),
            Side::Sell => -self.quantity + i128::from(open_quantity[1]),
        }
    }
}

/// |price| × quantity × multiplier, in 1e-4. Nothing that passed the checks of form overflows.
pub(crate) fn amount_e4(price_e4: i64, quantity: i64, multiplier: i64) -> i128 {
    i128::from(price_e4.unsigned_abs()) * i128::from(quantity) * i128::from(multiplier)
}

/// The nearest value of the contract's integers.
pub(crate) fn clamp(value: i128) -> i64 {
    if fault!(ValuesWrap) {
        return value as i64;
    }
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}
