//! The same flow for every contender, in its own terms.

use optivex_engine::command::CreateInstrument;
use optivex_engine::command::{Command, Input, InsertOrder, OrderRef, OrderTerms};
use optivex_engine::order_book::{BookCommand, BookReport, BookReportKind, Remainder};
use optivex_engine::types::{
    ClientOrderId, ClientRequestId, InstrumentId, OrderId, OrderType, SelfTradePrevention, Side, Symbol, TimeInForce,
    TradingPhase, UserId, Username,
};
use optivex_engine::{Engine, Event, Limits, OrderBook};

use crate::array_book::{self, ArrayBook};
use crate::flow::{Flow, Step, Totals};

/// Commands that are handed over at a time.
pub(crate) const BATCH: usize = 64;
/// So few that old client order ids make room for new ones during a run, as they do in the long run.
const CLIENT_IDS_KEPT: u32 = 1_024;
/// How far ahead the engine's caller looks, as the sequencer does.
const AHEAD: usize = 8;
/// Users of the whole engine: half of them buy, half sell, so that nobody meets himself.
const USERS: u32 = 64;

/// A flow in the order book's commands.
pub(crate) struct BookFlow {
    pub(crate) prefill: Vec<BookCommand>,
    pub(crate) measured: Vec<BookCommand>,
}

fn side(sell: bool) -> Side {
    if sell { Side::Sell } else { Side::Buy }
}

/// A flow whose cancels name the ids that the book gives.
pub(crate) fn book_flow(flow: &Flow) -> BookFlow {
    let mut book = OrderBook::new(1);
    let mut reports = Vec::new();
    let mut ids = Vec::new();
    let mut translate = |step: &Step| {
        let command = match *step {
            Step::Insert {
                sell,
                rests,
                price,
                quantity,
            } => BookCommand::Insert {
                side: side(sell),
                remainder: if rests { Remainder::Rests } else { Remainder::Cancelled },
                quantity,
                price_e4: price,
            },
            Step::Cancel { order } => BookCommand::Cancel {
                order: ids[order as usize],
            },
        };
        reports.clear();
        book.apply(&[command], &mut reports);
        if reports[0].kind == BookReportKind::Accepted {
            ids.push(reports[0].order);
        }
        command
    };
    BookFlow {
        prefill: flow.prefill.iter().map(&mut translate).collect(),
        measured: flow.measured.iter().map(&mut translate).collect(),
    }
}

/// An order book that has taken the prefill.
pub(crate) fn filled_book(flow: &BookFlow) -> OrderBook {
    let mut book = OrderBook::new(1);
    let mut reports = Vec::new();
    run_book(&mut book, &flow.prefill, &mut reports, |_| {});
    book
}

/// Carries out commands in batches.
pub(crate) fn run_book(
    book: &mut OrderBook,
    commands: &[BookCommand],
    reports: &mut Vec<BookReport>,
    mut each: impl FnMut(&[BookReport]),
) {
    for batch in commands.chunks(BATCH) {
        reports.clear();
        book.apply(batch, reports);
        each(reports);
    }
}

/// What an order book makes of a flow.
pub(crate) fn book_totals(flow: &BookFlow) -> Totals {
    let mut book = filled_book(flow);
    let mut totals = Totals::default();
    run_book(&mut book, &flow.measured, &mut Vec::new(), |reports| {
        for report in reports.iter().filter(|report| report.kind == BookReportKind::Traded) {
            count(&mut totals, report.price_e4, report.quantity.into());
        }
    });
    totals.resting = book.order_count();
    totals
}

fn count(totals: &mut Totals, price: i64, quantity: u64) {
    totals.trades += 1;
    totals.quantity += quantity;
    totals.notional += i128::from(price) * i128::from(quantity);
}

/// Carries out a step on the baseline; `order` is the number of the next insert.
fn array_step(book: &mut ArrayBook, step: &Step, order: &mut u64, reports: &mut Vec<array_book::Report>) {
    match *step {
        Step::Insert {
            sell,
            rests,
            price,
            quantity,
        } => {
            book.insert(*order, sell, rests, price, quantity.into(), reports);
            *order += 1;
        }
        Step::Cancel { order } => book.cancel(order.into(), reports),
    }
}

/// The baseline after the prefill, and the number of the next insert.
pub(crate) fn filled_array_book(flow: &Flow) -> (ArrayBook, u64) {
    let highest = 1 + flow
        .prefill
        .iter()
        .chain(&flow.measured)
        .fold(0, |highest, step| match step {
            Step::Insert { price, .. } => highest.max(*price),
            Step::Cancel { .. } => highest,
        });
    let mut book = ArrayBook::new(highest as usize);
    let mut next = 0;
    let mut reports = Vec::new();
    for step in &flow.prefill {
        array_step(&mut book, step, &mut next, &mut reports);
    }
    (book, next)
}

pub(crate) fn run_array_book(
    book: &mut ArrayBook,
    next: &mut u64,
    steps: &[Step],
    reports: &mut Vec<array_book::Report>,
    mut each: impl FnMut(&[array_book::Report]),
) {
    for batch in steps.chunks(BATCH) {
        reports.clear();
        for step in batch {
            array_step(book, step, next, reports);
        }
        each(reports);
    }
}

pub(crate) fn array_book_totals(flow: &Flow) -> Totals {
    let (mut book, mut next) = filled_array_book(flow);
    let mut totals = Totals::default();
    run_array_book(&mut book, &mut next, &flow.measured, &mut Vec::new(), |reports| {
        for report in reports.iter().filter(|report| report.kind == array_book::TRADED) {
            count(&mut totals, report.price, report.quantity);
        }
    });
    totals.resting = book.order_count();
    totals
}

/// A flow in the exchange's commands.
pub(crate) struct EngineFlow {
    pub(crate) prefill: Vec<Input>,
    pub(crate) measured: Vec<Input>,
}

const BOOK: InstrumentId = InstrumentId(0);

fn exchange() -> Engine {
    let mut engine = Engine::new(Limits {
        client_order_ids_per_user_max: CLIENT_IDS_KEPT,
        ..Limits::default()
    });
    let mut event = Event::default();
    let mut apply = |command| {
        let input = Input {
            time_unix_ns: 1,
            command,
        };
        engine.apply(&input, &mut event).expect("well formed");
    };
    for user in 0..USERS {
        let username = Username::from(&format!("user{user}")).expect("short");
        apply(Command::RegisterUser { username });
    }
    apply(Command::CreateInstrument(CreateInstrument {
        user: UserId(0),
        symbol: Symbol::from("X").expect("short"),
        description: String::new(),
        currency: "EUR".try_into().expect("three letters"),
        multiplier: 1,
        tick_size_e4: 1,
        initial_phase: TradingPhase::Continuous,
        client_request_id: ClientRequestId::new(),
    }));
    engine
}

/// A flow whose cancels name the ids that the exchange gives; with client order ids or without.
pub(crate) fn engine_flow(flow: &Flow, with_client_ids: bool) -> EngineFlow {
    let mut engine = exchange();
    let mut event = Event::default();
    let mut orders: Vec<(UserId, OrderId)> = Vec::new();
    let mut time_unix_ns = 1;
    let mut translate = |step: &Step| {
        let command = match *step {
            Step::Insert {
                sell,
                rests,
                price,
                quantity,
            } => {
                let number = orders.len() as u32;
                let user = UserId(number % (USERS / 2) * 2 + u32::from(sell));
                let client_order_id = if with_client_ids {
                    ClientOrderId::from(&format!("order-{number:010}")).expect("short")
                } else {
                    ClientOrderId::new()
                };
                Command::InsertOrder(InsertOrder {
                    user,
                    instrument: BOOK,
                    terms: OrderTerms {
                        side: side(sell),
                        price_e4: price,
                        quantity: quantity.into(),
                        order_type: OrderType::Limit,
                        time_in_force: if rests {
                            TimeInForce::GoodTillCancelled
                        } else {
                            TimeInForce::ImmediateOrCancel
                        },
                        post_only: false,
                        self_trade_prevention: SelfTradePrevention::CancelIncoming,
                    },
                    client_order_id,
                })
            }
            Step::Cancel { order } => {
                let (user, order) = orders[order as usize];
                Command::CancelOrder {
                    user,
                    order: OrderRef::Id(order),
                }
            }
        };
        time_unix_ns += 1_000;
        let input = Input { time_unix_ns, command };
        engine.apply(&input, &mut event).expect("well formed");
        if let Command::InsertOrder(insert) = &input.command {
            orders.push((insert.user, event.reports[0].order.order_id));
        }
        input
    };
    EngineFlow {
        prefill: flow.prefill.iter().map(&mut translate).collect(),
        measured: flow.measured.iter().map(&mut translate).collect(),
    }
}

pub(crate) fn filled_engine(flow: &EngineFlow) -> Engine {
    let mut engine = exchange();
    run_engine(&mut engine, &flow.prefill, &mut Event::default(), |_| {});
    engine
}

pub(crate) fn run_engine(engine: &mut Engine, inputs: &[Input], event: &mut Event, mut each: impl FnMut(&Event)) {
    for (at, input) in inputs.iter().enumerate() {
        if let Some(ahead) = inputs.get(at + AHEAD) {
            engine.prefetch(&ahead.command);
        }
        let applied = engine.apply(input, event);
        debug_assert!(applied.is_ok(), "a flow asks for nothing that is refused");
        each(event);
    }
}

pub(crate) fn engine_totals(flow: &EngineFlow) -> Totals {
    let mut engine = filled_engine(flow);
    let mut totals = Totals::default();
    run_engine(&mut engine, &flow.measured, &mut Event::default(), |event| {
        for trade in &event.trades {
            count(&mut totals, trade.price_e4, trade.quantity as u64);
        }
    });
    totals.resting = [Side::Buy, Side::Sell]
        .into_iter()
        .flat_map(|side| engine.levels(BOOK, side))
        .map(|level| level.order_count as usize)
        .sum();
    totals
}
