//! The orders of the load, so made that what an exchange holds afterwards can be told from what was
//! acknowledged, in whatever order they reached it.

use optivex_proto::v1::{InsertOrderRequest, InsertOrderResponse, OrderStatus, Side};

use crate::order::limit;

/// Orders that cannot trade: one in so many, at most so many a lane.
const FAR_EVERY: u64 = 32;
const FAR_MAX: u64 = 200;
/// Prices of a side's levels.
const NEAR_LEVELS: u64 = 5;
const FAR_LEVELS: u64 = 50;
/// Sells are at it and below, buys above: each of one side crosses each of the other.
const MIDDLE: i64 = 10_000;

/// An order without its user.
#[derive(Clone, Copy, Debug)]
pub(super) struct Made {
    pub(super) side: Side,
    pub(super) price_e4: i64,
    pub(super) quantity: i64,
    /// It rests for ever.
    pub(super) far: bool,
}

/// An order that was acknowledged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    pub(super) made: Made,
    pub(super) order_id: u64,
    pub(super) event_seq: u64,
}

/// Makes the orders of one user, who stands on one side: nobody trades with themselves.
#[derive(Debug)]
pub(super) struct Maker {
    side: Side,
    number: u64,
    far: u64,
}

impl Maker {
    pub(super) fn new(side: Side) -> Self {
        Self {
            side,
            number: 0,
            far: 0,
        }
    }

    pub(super) fn side(&self) -> Side {
        self.side
    }

    pub(super) fn make(&mut self) -> Made {
        self.number += 1;
        let far = self.number.is_multiple_of(FAR_EVERY) && self.far < FAR_MAX;
        self.far += u64::from(far);
        let away = match far {
            true => 5_000 + (self.far % FAR_LEVELS) as i64,
            false => -((self.number % NEAR_LEVELS) as i64),
        };
        Made {
            side: self.side,
            price_e4: match self.side {
                Side::Sell => MIDDLE + away,
                _ => MIDDLE + 1 - away,
            },
            // Of both sides the same, so that the book stays small.
            quantity: 1 + (self.number % 7) as i64,
            far,
        }
    }
}

impl Made {
    pub(super) fn request(&self, symbol: &str) -> InsertOrderRequest {
        limit(symbol, self.side, self.price_e4, self.quantity)
    }

    /// What is wrong with this answer: what came, and what was expected.
    pub(super) fn judge(&self, reply: &InsertOrderResponse) -> Result<Placed, (String, String)> {
        let filled: i64 = reply.fills.iter().map(|fill| fill.quantity).sum();
        let open = self.quantity - filled;
        let status = if open > 0 {
            OrderStatus::Open
        } else {
            OrderStatus::Filled
        };
        let told = (reply.status(), reply.filled_quantity, reply.open_quantity);
        if told != (status, filled, open) || reply.cancel_reason != 0 {
            return Err((
                format!("(status, filled_quantity, open_quantity) is {told:?}, with fills of {filled} lots"),
                format!(
                    "{:?}: what did not trade of the {} lots rests",
                    (status, filled, open),
                    self.quantity
                ),
            ));
        }
        let within = |price_e4: i64| match self.side {
            Side::Sell => price_e4 >= self.price_e4,
            _ => price_e4 <= self.price_e4,
        };
        if let Some(fill) = reply.fills.iter().find(|fill| self.far || !within(fill.price_e4)) {
            return Err((
                format!("a fill at {}", fill.price_e4),
                match self.far {
                    true => "no fill: nobody's price reaches this order".to_owned(),
                    false => format!("fills at {} or better", self.price_e4),
                },
            ));
        }
        Ok(Placed {
            made: *self,
            order_id: reply.order_id,
            event_seq: reply.event_seq,
        })
    }
}
