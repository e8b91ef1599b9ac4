//! Commands of one user, the same for single calls and for `OrderEntry`.

use optivex_engine::command::{Command, InsertOrder, OrderRef};
use optivex_engine::event::{OrderOutcome, Outcome as EventOutcome, ReportKind};
use optivex_engine::types::{InstrumentId, OrderId, Symbol, UserId};
use optivex_engine::{Event, Refusal, wire as engine_wire};
use optivex_journal::history::History;
use optivex_proto::v1::order_entry_request::Command as Order;
use optivex_proto::v1::order_entry_response::Result as Outcome;
use optivex_proto::v1::{self, ErrorReason};

use super::past::Past;
use crate::error::Error;
use crate::sequencer::{Answer, Exchange};
use crate::service::instrument;
use crate::wire::{self, InsertForm};

/// Order ids that a cancel-all names.
const ORDER_IDS_MAX: usize = 1_000;

/// The exchange as a trader's commands see it.
pub(super) struct Trading {
    pub(super) exchange: Exchange,
    pub(super) past: Past,
}

/// What the answer to a command is to be read as.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Insert,
    Amend(OrderRef),
    Cancel(OrderRef),
    CancelAll,
}

/// What is kept of an answer until its client takes it: without the events of others that happened in the
/// same turn, so that a client that does not read keeps only what is its own.
#[derive(Debug)]
pub(super) enum Told {
    Accepted(Outcome),
    Other(Answer),
    /// An event that no order's command is.
    Misfit,
}

impl From<Answer> for Told {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Event(event) => Self::of_event(&event),
            other => Self::Other(other),
        }
    }
}

impl Told {
    /// What an event answers to the command that it is.
    pub(super) fn of_event(event: &Event) -> Self {
        accepted(event).map_or(Self::Misfit, Self::Accepted)
    }
}

/// The last symbol that a stream named: most clients trade a few instruments, and an instrument never
/// loses its id.
#[derive(Debug, Default)]
pub(super) struct SymbolCache(Option<(Symbol, InstrumentId)>);

impl SymbolCache {
    fn instrument(&mut self, exchange: &Exchange, symbol: &Symbol) -> Result<InstrumentId, Error> {
        if let Some((known, id)) = &self.0
            && known == symbol
        {
            return Ok(*id);
        }
        let id = instrument(exchange, symbol)?;
        self.0 = Some((*symbol, id));
        Ok(id)
    }
}

impl Trading {
    pub(super) fn new(exchange: Exchange, history: History) -> Self {
        Self {
            exchange,
            past: Past::new(history),
        }
    }

    /// Checks the form, then the objects that the exchange's directory knows; the command goes to `taken`, which
    /// may put it where it stays.
    pub(super) fn prepare<T>(
        &self,
        user: UserId,
        order: Order,
        symbols: &mut SymbolCache,
        taken: impl FnOnce(Command) -> T,
    ) -> Result<(T, Kind), Error> {
        match order {
            Order::Insert(request) => {
                let form = InsertForm::try_from(&request)?;
                let insert = InsertOrder {
                    user,
                    instrument: symbols.instrument(&self.exchange, &form.symbol)?,
                    terms: form.terms,
                    client_order_id: form.client_order_id,
                };
                Ok((taken(Command::InsertOrder(insert)), Kind::Insert))
            }
            Order::Amend(request) => {
                let amend = wire::amend(user, &request)?;
                Ok((taken(Command::AmendOrder(amend)), Kind::Amend(amend.order)))
            }
            Order::Cancel(request) => {
                let order = wire::cancel(&request)?;
                Ok((taken(Command::CancelOrder { user, order }), Kind::Cancel(order)))
            }
            Order::CancelAll(request) => {
                let (symbol, side) = wire::cancel_all(&request)?;
                let instrument = match symbol {
                    Some(symbol) => Some(symbols.instrument(&self.exchange, &symbol)?),
                    None => None,
                };
                let command = Command::CancelAllOrders { user, instrument, side };
                Ok((taken(command), Kind::CancelAll))
            }
        }
    }

    /// What the contract says for the answer. Waits for history where only history knows.
    pub(super) async fn conclude(&self, user: UserId, kind: Kind, told: Told) -> Result<Outcome, Error> {
        let answer = match told {
            Told::Accepted(outcome) => return Ok(outcome),
            Told::Other(answer) => answer,
            Told::Misfit => {
                return Err(Error::new(
                    ErrorReason::Unspecified,
                    "the answer does not fit the command",
                ));
            }
        };
        match (kind, answer) {
            (
                Kind::Insert,
                Answer::OrderRepeated {
                    order_id,
                    event_seq,
                    report_seq,
                },
            ) => {
                let reports = self.past.event_reports(user, event_seq, report_seq).await?;
                first_answer(order_id, &reports)
                    .map(Outcome::Insert)
                    .ok_or_else(|| Error::not_ready("the first answer is not in history"))
            }
            (Kind::Amend(order) | Kind::Cancel(order), Answer::Refused(Refusal::OrderNotOpen, event_seq)) => {
                Err(self.not_open(user, order, event_seq).await)
            }
            (_, answer) => Err(self.exchange.error(answer)),
        }
    }

    /// Whether an order that was not open after `event_seq` is done, or was never this user's.
    async fn not_open(&self, user: UserId, order: OrderRef, event_seq: u64) -> Error {
        match self.past.order(user, order, event_seq).await {
            // An order whose last change came later was not there yet: it was not open either.
            Ok(Some(order)) if order.event_seq <= event_seq && !fault!(DoneOrdersForgotten) => {
                Error::new(ErrorReason::OrderDone, "the order is filled or cancelled already")
            }
            Ok(_) if fault!(UnknownOrdersDone) => Error::new(ErrorReason::OrderDone, "the order is done"),
            Ok(_) => Error::new(ErrorReason::UnknownOrder, "no such order of this user"),
            Err(error) => error,
        }
    }

    /// The symbol of an instrument that the engine has named.
    pub(super) fn symbol(&self, instrument: InstrumentId) -> String {
        self.exchange
            .symbol(instrument)
            .map_or_else(String::new, |symbol| symbol.to_string())
    }
}

fn accepted(event: &Event) -> Option<Outcome> {
    Some(match &event.outcome {
        EventOutcome::Inserted(order) => Outcome::Insert(inserted(event, order)),
        EventOutcome::Amended(order) => Outcome::Amend(amended(event, order)),
        EventOutcome::Cancelled(order_id, cancelled_quantity) => Outcome::Cancel(v1::CancelOrderResponse {
            order_id: order_id.0,
            cancelled_quantity: *cancelled_quantity,
            event_seq: event.event_seq,
            time_unix_ns: event.time_unix_ns,
        }),
        EventOutcome::AllCancelled(orders) => Outcome::CancelAll(v1::CancelAllOrdersResponse {
            order_ids: event
                .reports
                .iter()
                .filter(|report| report.kind == ReportKind::Cancelled)
                .take(ORDER_IDS_MAX)
                .map(|report| report.order.order_id.0)
                .collect(),
            event_seq: event.event_seq,
            cancelled_orders: i64::try_from(*orders).unwrap_or(i64::MAX),
        }),
        _ => return None,
    })
}

fn inserted(event: &Event, order: &OrderOutcome) -> v1::InsertOrderResponse {
    v1::InsertOrderResponse {
        order_id: order.order_id.0,
        status: v1::OrderStatus::from(order.status).into(),
        filled_quantity: order.filled_quantity,
        open_quantity: order.open_quantity,
        fills: event.trades.iter().map(v1::Fill::from).collect(),
        cancel_reason: engine_wire::cancel_reason(order.status).into(),
        event_seq: event.event_seq,
        time_unix_ns: event.time_unix_ns,
    }
}

fn amended(event: &Event, order: &OrderOutcome) -> v1::AmendOrderResponse {
    v1::AmendOrderResponse {
        order_id: order.order_id.0,
        status: v1::OrderStatus::from(order.status).into(),
        filled_quantity: order.filled_quantity,
        open_quantity: order.open_quantity,
        fills: event.trades.iter().map(v1::Fill::from).collect(),
        cancel_reason: engine_wire::cancel_reason(order.status).into(),
        event_seq: event.event_seq,
        time_unix_ns: event.time_unix_ns,
    }
}

/// The answer to an insert, from the reports of its event.
fn first_answer(order_id: OrderId, reports: &[v1::ExecutionReport]) -> Option<v1::InsertOrderResponse> {
    let of_order = |report: &&v1::ExecutionReport| report.order.as_ref().is_some_and(|o| o.order_id == order_id.0);
    let last = reports.iter().rfind(of_order)?;
    let order = last.order.as_ref()?;
    let is_open = order.status() == v1::OrderStatus::Open;
    Some(v1::InsertOrderResponse {
        order_id: order_id.0,
        status: order.status,
        filled_quantity: order.filled_quantity,
        open_quantity: if is_open {
            order.quantity - order.filled_quantity
        } else {
            0
        },
        fills: reports
            .iter()
            .filter(of_order)
            .filter_map(|report| report.fill)
            .collect(),
        cancel_reason: last.cancel_reason,
        event_seq: last.event_seq,
        time_unix_ns: last.time_unix_ns,
    })
}
