//! Checks that several stages share. What a query shows may lag behind a reply (the contract numbers
//! events so that clients can tell): these wait for the thing itself, as long as patience lasts.

use std::time::Duration;

use optivex_proto::v1::{
    self, AmendOrderRequest, AmendOrderResponse, BookSnapshot, CancelReason, ErrorReason, GetOrderBookRequest,
    InsertOrderResponse, InstrumentRiskLimits, ListOrdersRequest, Order, OrderStatus, PriceLevel,
    SetInstrumentRiskLimitsRequest, SetTradingPhaseRequest, SetTradingPhaseResponse, SetUserRiskLimitsRequest,
    TradingPhase, UserRiskLimits,
};
use tokio::time::Instant;

use crate::client::{Answer, Refusal, Reply, Session};
use crate::verdict::Verdict;

/// Price, quantity and number of orders of a level.
pub type Level = (i64, i64, i32);

/// A few looks within the patience: the pauses grow, so that the record keeps what led here.
#[derive(Debug)]
pub struct Looks {
    until: Instant,
    pause: Duration,
}

impl Looks {
    /// As long as the session is patient.
    pub fn new(session: &Session) -> Self {
        Self {
            until: Instant::now() + session.patience(),
            pause: Duration::from_millis(10),
        }
    }

    /// Waits, and says whether another look is worth it.
    pub async fn again(&mut self) -> bool {
        let now = Instant::now();
        if now >= self.until {
            return false;
        }
        tokio::time::sleep_until((now + self.pause).min(self.until)).await;
        self.pause *= 4;
        true
    }
}

/// Changes an order: absent keeps.
pub fn amend(order_id: u64, price_e4: Option<i64>, quantity: Option<i64>) -> AmendOrderRequest {
    AmendOrderRequest {
        order: Some(v1::amend_order_request::Order::OrderId(order_id)),
        price_e4,
        quantity,
    }
}

/// Where an order stands after a command, and what the command did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Where the order stands.
    pub status: OrderStatus,
    /// Lots traded over its life.
    pub filled: i64,
    /// Lots that rest.
    pub open: i64,
    /// Price and lots of the command's trades.
    pub fills: Vec<(i64, i64)>,
    /// Why a remainder was cancelled.
    pub reason: CancelReason,
}

impl Outcome {
    fn new(status: OrderStatus, open: i64, fills: &[(i64, i64)], reason: CancelReason) -> Self {
        Self {
            status,
            filled: fills.iter().map(|(_, quantity)| quantity).sum(),
            open,
            fills: fills.to_vec(),
            reason,
        }
    }

    /// It rests with so much, after these trades.
    pub fn open(open: i64, fills: &[(i64, i64)]) -> Self {
        Self::new(OrderStatus::Open, open, fills, CancelReason::Unspecified)
    }

    /// These trades filled it whole.
    pub fn filled(fills: &[(i64, i64)]) -> Self {
        Self::new(OrderStatus::Filled, 0, fills, CancelReason::Unspecified)
    }

    /// It ended with something untraded.
    pub fn cancelled(reason: CancelReason, fills: &[(i64, i64)]) -> Self {
        Self::new(OrderStatus::Cancelled, 0, fills, reason)
    }

    /// So much was traded before.
    pub fn after(mut self, filled_before: i64) -> Self {
        self.filled += filled_before;
        self
    }
}

fn prices(fills: &[v1::Fill]) -> Vec<(i64, i64)> {
    fills.iter().map(|fill| (fill.price_e4, fill.quantity)).collect()
}

impl From<&InsertOrderResponse> for Outcome {
    fn from(reply: &InsertOrderResponse) -> Self {
        Self {
            status: reply.status(),
            filled: reply.filled_quantity,
            open: reply.open_quantity,
            fills: prices(&reply.fills),
            reason: reply.cancel_reason(),
        }
    }
}

impl From<&AmendOrderResponse> for Outcome {
    fn from(reply: &AmendOrderResponse) -> Self {
        Self {
            status: reply.status(),
            filled: reply.filled_quantity,
            open: reply.open_quantity,
            fills: prices(&reply.fills),
            reason: reply.cancel_reason(),
        }
    }
}

impl<T> Reply<T>
where
    for<'a> Outcome: From<&'a T>,
{
    /// The insert or amend came to this.
    pub fn came_to(&self, expected: Outcome) -> Verdict<&Self> {
        self.has("the outcome", |reply| Outcome::from(reply), expected)
    }
}

fn levels(levels: &[PriceLevel]) -> Vec<Level> {
    let of = |level: &PriceLevel| (level.price_e4, level.quantity, level.order_count);
    levels.iter().map(of).collect()
}

impl Session {
    /// The book shows these levels, best first, at the latest where it shows this event.
    pub async fn book_shows(
        &self,
        symbol: &str,
        event_seq: u64,
        bids: &[Level],
        asks: &[Level],
    ) -> Verdict<Reply<BookSnapshot>> {
        let mut looks = Looks::new(self);
        loop {
            let book = self.whole_book(symbol).await?;
            let shown = (levels(&book.bids), levels(&book.asks));
            if shown.0 == bids && shown.1 == asks {
                return Ok(book);
            }
            if book.event_seq >= event_seq || !looks.again().await {
                let expected =
                    format!("bids {bids:?}, asks {asks:?} (price_e4, quantity, order_count) at event {event_seq}");
                let came = format!("bids are {:?}, asks {:?} at event {}", shown.0, shown.1, book.event_seq);
                return Err(book.fail(came, expected));
            }
        }
    }

    /// The order comes to show this.
    pub async fn order_shows<V: PartialEq + std::fmt::Debug>(
        &self,
        order_id: u64,
        field: &str,
        get: impl Fn(&Order) -> V,
        expected: V,
    ) -> Verdict {
        let mut looks = Looks::new(self);
        loop {
            let request = ListOrdersRequest {
                order_id,
                ..ListOrdersRequest::default()
            };
            let page = self.orders(request).await?;
            let shown = page.orders.first().map(&get);
            if shown.as_ref() == Some(&expected) {
                return Ok(());
            }
            if !looks.again().await {
                let came = match shown {
                    None => format!("order {order_id} is not listed"),
                    Some(value) => format!("{field} of order {order_id} is {value:?}"),
                };
                return Err(page.fail(came, format!("{field} {expected:?}")));
            }
        }
    }

    /// The order comes to be filled so far.
    pub async fn is_filled(&self, order_id: u64, filled_quantity: i64) -> Verdict {
        self.order_shows(
            order_id,
            "filled_quantity",
            |order| order.filled_quantity,
            filled_quantity,
        )
        .await
    }

    /// The order comes to be cancelled for this reason.
    pub async fn is_cancelled(&self, order_id: u64, reason: CancelReason) -> Verdict {
        let get = |order: &Order| (order.status(), order.cancel_reason());
        self.order_shows(
            order_id,
            "status and cancel_reason",
            get,
            (OrderStatus::Cancelled, reason),
        )
        .await
    }

    /// Replaces a trader's limits in one instrument.
    pub async fn limit(&self, trader: &Session, symbol: &str, limits: InstrumentRiskLimits) -> Verdict {
        self.set_instrument_limits(SetInstrumentRiskLimitsRequest {
            username: trader.username().to_owned(),
            symbol: symbol.to_owned(),
            limits: Some(limits),
        })
        .await?;
        Ok(())
    }

    /// Replaces a trader's limits over all instruments.
    pub async fn limit_user(&self, trader: &Session, limits: UserRiskLimits) -> Verdict {
        self.set_user_limits(SetUserRiskLimitsRequest {
            username: trader.username().to_owned(),
            limits: Some(limits),
        })
        .await?;
        Ok(())
    }

    /// Moves a book to a phase.
    pub async fn phase(&self, symbol: &str, phase: TradingPhase) -> Verdict<Reply<SetTradingPhaseResponse>> {
        self.set_phase(SetTradingPhaseRequest {
            symbol: symbol.to_owned(),
            phase: phase.into(),
        })
        .await
    }

    /// The book, however deep, at some event from this one on.
    pub async fn book_after(&self, symbol: &str, event_seq: u64) -> Verdict<Reply<BookSnapshot>> {
        let mut looks = Looks::new(self);
        loop {
            let request = GetOrderBookRequest {
                symbol: symbol.to_owned(),
                depth: 0,
            };
            let answer = self.book(request).await?;
            let at = answer.at().clone();
            let Some(book) = answer.into_inner().book else {
                return Err(at.fail("book is absent", "the book"));
            };
            if book.event_seq >= event_seq || !looks.again().await {
                return Ok(Reply::new(book, at));
            }
        }
    }
}

/// What a refusal for a limit tells.
#[derive(Clone, Copy, Debug)]
pub struct Over<'a> {
    /// Field name of the limit.
    pub name: &'a str,
    /// Instrument; empty for a limit over all.
    pub symbol: &'a str,
    /// The limit.
    pub limit: i64,
    /// What counted, where the contract leaves no room.
    pub current: Option<i64>,
    /// What the command would add.
    pub attempted: i64,
}

impl<T> Answer<T> {
    /// The call was to be refused for a static limit.
    pub fn over(self, over: Over<'_>) -> Verdict<Reply<Refusal>> {
        self.beyond(ErrorReason::RiskLimit, over)
    }

    /// The call was to be refused for a rolling-window limit.
    pub fn over_rate(self, over: Over<'_>) -> Verdict<Reply<Refusal>> {
        self.beyond(ErrorReason::RateLimit, over)
    }

    fn beyond(self, reason: ErrorReason, over: Over<'_>) -> Verdict<Reply<Refusal>> {
        let (limit, attempted) = (over.limit.to_string(), over.attempted.to_string());
        let current = over.current.map(|current| current.to_string());
        let mut metadata = vec![("limit_name", over.name), ("limit", &limit), ("attempted", &attempted)];
        if let Some(current) = &current {
            metadata.push(("current", current));
        }
        if !over.symbol.is_empty() {
            metadata.push(("symbol", over.symbol));
        }
        self.refused(reason, &metadata)
    }
}
