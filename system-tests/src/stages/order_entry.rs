//! Stage 13: the same commands on one stream.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::try_join_all;
use optivex_proto::v1::amend_order_request::Order as Amended;
use optivex_proto::v1::cancel_order_request::Order as Cancelled;
use optivex_proto::v1::order_entry_request::Command;
use optivex_proto::v1::order_entry_response::Result as Outcome;
use optivex_proto::v1::{
    AmendOrderRequest, CancelAllOrdersRequest, CancelOrderRequest, CommandError, ErrorReason, InsertOrderRequest,
    InsertOrderResponse, InstrumentRiskLimits, OrderEntryRequest, OrderEntryResponse, OrderStatus, RollingWindowLimit,
    SetInstrumentRiskLimitsRequest, SetTradingPhaseRequest, Side, TradingPhase,
};

use crate::case::{Case, Stage};
use crate::client::{Duplex, Refusal, Reply, Session};
use crate::context::Context;
use crate::order::{buy, fok, market, sell};
use crate::run;
use crate::verdict::{Stop, Verdict};

/// The stage.
pub const STAGE: Stage = Stage {
    slug: "order-entry",
    title: "Order-entry stream",
    number: 13,
    core: false,
    builds_on: &["orders"],
    cases: &[
        Case::new(
            "every-command",
            "The stream takes each of the four commands, and answers it as the unary call does.",
            "execution.proto ExecutionService.OrderEntry; OrderEntryResponse.result",
            run!(every_command),
        )
        .base(),
        Case::new(
            "answers-in-order",
            "Commands are answered in the order sent, each with its request_id, whatever the ids are.",
            "execution.proto ExecutionService.OrderEntry; OrderEntryRequest.request_id",
            run!(answers_in_order),
        ),
        Case::new(
            "refusals-as-unary",
            "A refused command is a CommandError that says what the status of the same unary call says, and the stream goes on.",
            "execution.proto CommandError",
            run!(refusals_as_unary),
        ),
        Case::new(
            "thousands-in-flight",
            "Many are in flight: 5,000 commands sent without waiting are answered in the order sent, and done.",
            "execution.proto ExecutionService.OrderEntry",
            run!(thousands_in_flight),
        )
        .within(600),
        Case::new(
            "half-close",
            "After the client's half-close every command is still answered; then the stream ends with OK.",
            "execution.proto ExecutionService.OrderEntry; gRPC half-close",
            run!(half_close),
        ),
        Case::new(
            "same-request-ids",
            "A request_id belongs to its stream: several streams and users use the same ones at once, and get their own answers.",
            "execution.proto OrderEntryRequest.request_id",
            run!(same_request_ids),
        ),
        Case::new(
            "cancel-all",
            "A cancel-all on the stream ends all open orders that fit, and no others, in one event.",
            "execution.proto CancelAllOrdersRequest; CancelAllOrdersResponse",
            run!(cancel_all),
        ),
        Case::new(
            "in-flight-together",
            "Commands sent without waiting are each done once, and their answers agree with the order of their event_seq.",
            "execution.proto ExecutionService.OrderEntry; common.proto event_seq",
            run!(in_flight_together),
        ),
        Case::new(
            "mixed-with-unary",
            "The stream and unary calls are the same orders: each finds, cancels and retries what the other inserted.",
            "execution.proto ExecutionService.OrderEntry; InsertOrderRequest.client_order_id",
            run!(mixed_with_unary),
        ),
        Case::new(
            "broken-stream",
            "When the stream breaks, orders stay; the retry of every command inserts what was lost and nothing twice.",
            "execution.proto InsertOrderRequest.client_order_id",
            run!(broken_stream),
        ),
        Case::new(
            "wants-trader",
            "The stream wants a token and ROLE_TRADER.",
            "execution.proto ExecutionService; auth.proto",
            run!(wants_trader),
        ),
        Case::new(
            "logout-ends-it",
            "Logout ends an open stream with INVALID_TOKEN; orders stay.",
            "auth.proto AuthService.Logout",
            run!(logout_ends_it),
        ),
    ],
};

fn insert(request_id: u64, order: InsertOrderRequest) -> OrderEntryRequest {
    OrderEntryRequest {
        request_id,
        command: Some(Command::Insert(order)),
    }
}

fn cancel(request_id: u64, order: Cancelled) -> OrderEntryRequest {
    OrderEntryRequest {
        request_id,
        command: Some(Command::Cancel(CancelOrderRequest { order: Some(order) })),
    }
}

fn amend(request_id: u64, order: Amended, quantity: i64) -> OrderEntryRequest {
    OrderEntryRequest {
        request_id,
        command: Some(Command::Amend(AmendOrderRequest {
            order: Some(order),
            price_e4: None,
            quantity: Some(quantity),
        })),
    }
}

fn cancel_all_of(request_id: u64, symbol: &str, side: Side) -> OrderEntryRequest {
    OrderEntryRequest {
        request_id,
        command: Some(Command::CancelAll(CancelAllOrdersRequest {
            symbol: symbol.to_owned(),
            side: side.into(),
        })),
    }
}

fn named(order: InsertOrderRequest, client_order_id: &str) -> InsertOrderRequest {
    InsertOrderRequest {
        client_order_id: client_order_id.to_owned(),
        ..order
    }
}

/// Sends one command and reads its answer, which carries its id.
async fn ask(
    stream: &mut Duplex<OrderEntryRequest, OrderEntryResponse>,
    command: OrderEntryRequest,
) -> Verdict<Reply<OrderEntryResponse>> {
    let request_id = command.request_id;
    stream.send(command).await?;
    let answer = stream.next().await?;
    answer.has("request_id", |answer| answer.request_id, request_id)?;
    Ok(answer)
}

/// The answer to an insert that was to be taken.
fn inserted(answer: &Reply<OrderEntryResponse>) -> Verdict<&InsertOrderResponse> {
    match &answer.result {
        Some(Outcome::Insert(reply)) => Ok(reply),
        _ => Err(answer.fail("another result", "result insert")),
    }
}

/// The answer to a refused command.
fn refused(answer: &Reply<OrderEntryResponse>) -> Verdict<&CommandError> {
    match &answer.result {
        Some(Outcome::Error(error)) => Ok(error),
        _ => Err(answer.fail("another result", "result error: the command is refused")),
    }
}

/// The event of an answer; a refused command has none.
fn event_seq(answer: &OrderEntryResponse) -> Option<u64> {
    match answer.result.as_ref()? {
        Outcome::Insert(reply) => Some(reply.event_seq),
        Outcome::Amend(reply) => Some(reply.event_seq),
        Outcome::Cancel(reply) => Some(reply.event_seq),
        Outcome::CancelAll(reply) => Some(reply.event_seq),
        Outcome::Error(_) => None,
    }
}

/// Catches a command that the stream does not know, does nothing for, or answers with the wrong
/// result or numbers.
async fn every_command(context: Context) -> Verdict {
    let symbol = context.instrument().await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    let mut stream = alice.order_entry();
    let first = ask(&mut stream, insert(7, buy(&symbol, 100, 5))).await?;
    let order = inserted(&first)?.clone();
    first.at().same(
        "(status, open_quantity)",
        (order.status(), order.open_quantity),
        (OrderStatus::Open, 5),
    )?;
    let amended = ask(&mut stream, amend(8, Amended::OrderId(order.order_id), 3)).await?;
    match &amended.result {
        Some(Outcome::Amend(reply)) => amended.at().same(
            "(order_id, open_quantity)",
            (reply.order_id, reply.open_quantity),
            (order.order_id, 3),
        )?,
        _ => return Err(amended.fail("another result", "result amend")),
    }
    // It is the real book: another user trades with it.
    let sold = bob.insert(sell(&symbol, 100, 1)).await?;
    sold.has("filled_quantity", |reply| reply.filled_quantity, 1)?;
    let cancelled = ask(&mut stream, cancel(9, Cancelled::OrderId(order.order_id))).await?;
    match &cancelled.result {
        Some(Outcome::Cancel(reply)) => cancelled.at().same(
            "(order_id, cancelled_quantity)",
            (reply.order_id, reply.cancelled_quantity),
            (order.order_id, 2),
        )?,
        _ => return Err(cancelled.fail("another result", "result cancel")),
    }
    let ask_again = ask(&mut stream, insert(10, sell(&symbol, 200, 4))).await?;
    let order = inserted(&ask_again)?.order_id;
    let all = ask(&mut stream, cancel_all_of(11, &symbol, Side::Unspecified)).await?;
    match &all.result {
        Some(Outcome::CancelAll(reply)) => all.at().same("order_ids", &reply.order_ids, &vec![order])?,
        _ => return Err(all.fail("another result", "result cancel_all")),
    }
    let book = bob.book_at(&symbol, event_seq(&all).unwrap_or_default()).await?;
    book.shows("an empty book", |book| book.bids.is_empty() && book.asks.is_empty())?;
    stream.half_close();
    stream.answers.end().await?.accepted()?;
    Ok(())
}

/// Catches answers out of order, lost ids, and ids taken for unique, rising or not zero.
async fn answers_in_order(context: Context) -> Verdict {
    let symbol = context.instrument().await?.symbol;
    let trader = context.trader().await?;
    let mut random = context.random();
    let ids: Vec<u64> = (0..300)
        .map(|_| match random.u8(0..5) {
            0 => 0,
            1 => u64::MAX,
            2 => random.u64(0..4),
            3 => random.u64(..),
            _ => u64::from(random.u8(..)),
        })
        .collect();
    // Refusals among them: they are not to overtake what waits for the disk.
    let commands = ids.iter().enumerate().map(|(place, id)| match place % 3 {
        0 => insert(*id, buy(&symbol, 1, 0)),
        1 => cancel_all_of(*id, &symbol, Side::Sell),
        _ => insert(*id, buy(&symbol, place as i64, 1 + place as i64)),
    });
    let answers = trader.order_entry().all(commands.collect()).await?;
    for (place, answer) in answers.iter().enumerate() {
        match place % 3 {
            0 => drop(refused(answer)?),
            1 => {
                answer.shows("result cancel_all", |answer| {
                    matches!(answer.result, Some(Outcome::CancelAll(_)))
                })?;
            }
            _ => {
                let reply = inserted(answer)?;
                answer
                    .at()
                    .same("open_quantity", reply.open_quantity, 1 + place as i64)?;
            }
        }
    }
    Ok(())
}

/// Metadata that the contract names.
const METADATA: [&str; 8] = [
    "field",
    "tick_size_e4",
    "phase",
    "limit_name",
    "symbol",
    "limit",
    "current",
    "attempted",
];

/// What a CommandError and a status have in common, where the contract says what.
type Told = (i32, Option<String>, BTreeMap<String, String>, bool);

fn told_by_status(refusal: &Refusal) -> Told {
    let known =
        |(key, value): (&String, &String)| METADATA.contains(&key.as_str()).then(|| (key.clone(), value.clone()));
    (
        refusal.code as i32,
        refusal.reason.clone(),
        refusal.metadata.iter().filter_map(known).collect(),
        refusal.retry_after.is_some_and(|delay| !delay.is_zero()),
    )
}

fn told_by_error(error: &CommandError) -> Told {
    let known =
        |(key, value): (&String, &String)| METADATA.contains(&key.as_str()).then(|| (key.clone(), value.clone()));
    let name = error.reason().as_str_name();
    (
        error.code,
        Some(name.strip_prefix("ERROR_REASON_").unwrap_or(name).to_owned()),
        error.metadata.iter().filter_map(known).collect(),
        error.retry_after_ns > 0,
    )
}

/// Catches refusals that end the stream, lose their metadata, or get another reason on the stream.
async fn refusals_as_unary(context: Context) -> Verdict {
    let symbol = context
        .instrument_with(|request| request.tick_size_e4 = 5)
        .await?
        .symbol;
    let halted = context.instrument().await?.symbol;
    let (limited, paced) = (context.instrument().await?.symbol, context.instrument().await?.symbol);
    let (admin, trader, other) = (context.admin().await?, context.trader().await?, context.trader().await?);
    let halt = SetTradingPhaseRequest {
        symbol: halted.clone(),
        phase: TradingPhase::Halted.into(),
    };
    admin.set_phase(halt).await?;
    let small = InstrumentRiskLimits {
        max_order_quantity: Some(10),
        ..InstrumentRiskLimits::default()
    };
    let few = InstrumentRiskLimits {
        // A day: it does not slide while a slow exchange answers.
        order_quantity_rolling_limit: Some(RollingWindowLimit {
            limit: 20,
            window_in_seconds: 86_400,
        }),
        ..InstrumentRiskLimits::default()
    };
    for (symbol, limits) in [(&limited, small), (&paced, few)] {
        let limits = SetInstrumentRiskLimitsRequest {
            username: trader.username().to_owned(),
            symbol: symbol.clone(),
            limits: Some(limits),
        };
        admin.set_instrument_limits(limits).await?;
    }
    for _ in 0..2 {
        trader.rest(buy(&paced, 1, 9)).await?;
    }
    let id = context.unique();
    let done = trader.rest(named(buy(&symbol, 5, 1), &id)).await?;
    trader.cancel_id(done.order_id).await?;
    let live = context.unique();
    trader.rest(named(buy(&symbol, 10, 1), &live)).await?;
    let theirs = other.rest(sell(&symbol, 100, 1)).await?;
    let post_only = InsertOrderRequest {
        post_only: true,
        ..buy(&symbol, 100, 1)
    };
    let gtc_market = InsertOrderRequest {
        time_in_force: optivex_proto::v1::TimeInForce::GoodTillCancelled.into(),
        ..market(&symbol, Side::Buy, 1)
    };
    let no_change = OrderEntryRequest {
        request_id: 0,
        command: Some(Command::Amend(AmendOrderRequest {
            order: Some(Amended::ClientOrderId(live.clone())),
            price_e4: None,
            quantity: None,
        })),
    };
    let off_tick = OrderEntryRequest {
        request_id: 0,
        command: Some(Command::Amend(AmendOrderRequest {
            order: Some(Amended::ClientOrderId(live.clone())),
            price_e4: Some(11),
            quantity: None,
        })),
    };
    let nothing = OrderEntryRequest {
        request_id: 0,
        command: Some(Command::Cancel(CancelOrderRequest { order: None })),
    };
    use ErrorReason as Reason;
    let commands = [
        (insert(0, buy(&symbol, 5, 0)), Reason::InvalidField),
        (
            insert(
                0,
                InsertOrderRequest {
                    side: 0,
                    ..buy(&symbol, 5, 1)
                },
            ),
            Reason::InvalidField,
        ),
        (
            insert(
                0,
                InsertOrderRequest {
                    side: 77,
                    ..buy(&symbol, 5, 1)
                },
            ),
            Reason::InvalidField,
        ),
        (insert(0, gtc_market), Reason::InvalidField),
        (insert(0, buy(&symbol, 7, 1)), Reason::InvalidTick),
        (
            insert(0, buy(&symbol, 1_000_000, 1_000_000_000)),
            Reason::NotionalTooLarge,
        ),
        (insert(0, buy(&context.unique(), 5, 1)), Reason::UnknownInstrument),
        (insert(0, named(buy(&symbol, 15, 1), &live)), Reason::ClientIdReused),
        (insert(0, post_only), Reason::WouldCross),
        (insert(0, fok(&symbol, Side::Buy, 100, 2)), Reason::CannotFill),
        (insert(0, buy(&halted, 5, 1)), Reason::PhaseForbids),
        (insert(0, buy(&limited, 5, 11)), Reason::RiskLimit),
        (insert(0, buy(&paced, 5, 3)), Reason::RateLimit),
        (no_change, Reason::InvalidField),
        (off_tick, Reason::InvalidTick),
        (nothing, Reason::InvalidField),
        (cancel(0, Cancelled::OrderId(theirs.order_id)), Reason::UnknownOrder),
        (cancel(0, Cancelled::OrderId(u64::MAX)), Reason::UnknownOrder),
        (cancel(0, Cancelled::OrderId(done.order_id)), Reason::OrderDone),
        (amend(0, Amended::OrderId(done.order_id), 5), Reason::OrderDone),
        (
            cancel_all_of(0, &context.unique(), Side::Unspecified),
            Reason::UnknownInstrument,
        ),
    ];
    let mut stream = trader.order_entry();
    for (place, (command, reason)) in commands.into_iter().enumerate() {
        let unary = match command.command.clone() {
            Some(Command::Insert(order)) => trader.try_insert(order).await.refused(reason, &[])?,
            Some(Command::Amend(request)) => trader.try_amend(request).await.refused(reason, &[])?,
            Some(Command::Cancel(request)) => trader.try_cancel(request).await.refused(reason, &[])?,
            Some(Command::CancelAll(request)) => trader.try_cancel_all(request).await.refused(reason, &[])?,
            None => return Err(Stop::trouble("an empty command has no unary call")),
        };
        let command = OrderEntryRequest {
            request_id: place as u64 + 1,
            ..command
        };
        let answer = ask(&mut stream, command).await?;
        let error = refused(&answer)?;
        let what = "(code, reason, metadata, whether to retry later) of the error";
        answer.at().same(what, told_by_error(error), told_by_status(&unary))?;
    }
    // A request without a command: a field is missing.
    let empty = OrderEntryRequest {
        request_id: 99,
        command: None,
    };
    let answer = ask(&mut stream, empty).await?;
    answer
        .at()
        .same("reason", refused(&answer)?.reason(), ErrorReason::InvalidField)?;
    // After all that the stream goes on.
    let last = ask(&mut stream, insert(100, buy(&symbol, 5, 1))).await?;
    inserted(&last)?;
    Ok(())
}

/// Catches a bounded queue that drops or blocks for ever, lost and doubled commands under load.
async fn thousands_in_flight(context: Context) -> Verdict {
    const COMMANDS: u64 = 5_000;
    let symbol = context.instrument().await?.symbol;
    let trader = context.trader().await?;
    let run = context.unique();
    let id = |number: u64| format!("{run}/{number}");
    // Pairs of an insert and the cancel of the insert before; so that few orders are open at a time.
    let mut commands = Vec::new();
    for number in 0..COMMANDS / 2 {
        let price = 1 + number as i64;
        commands.push(insert(2 * number, named(buy(&symbol, price, price), &id(number))));
        commands.push(match number % 10 {
            0 => insert(2 * number + 1, buy(&symbol, price, 0)),
            _ => cancel(2 * number + 1, Cancelled::ClientOrderId(id(number))),
        });
    }
    let answers = trader.order_entry().all(commands).await?;
    let mut last = 0;
    // Best first: prices rise.
    let mut kept: Vec<(i64, i64, i32)> = Vec::new();
    for (place, answer) in answers.iter().enumerate() {
        let price = 1 + place as i64 / 2;
        match (place % 2, place / 2 % 10) {
            (0, _) => {
                inserted(answer)?;
                kept.insert(0, (price, price, 1));
            }
            (_, 0) => answer
                .at()
                .same("reason", refused(answer)?.reason(), ErrorReason::InvalidField)?,
            _ => match &answer.result {
                Some(Outcome::Cancel(reply)) => {
                    answer
                        .at()
                        .same("cancelled_quantity", reply.cancelled_quantity, price)?;
                    kept.remove(0);
                }
                // The contract orders the answers only: a cancel may overtake its insert.
                _ => answer
                    .at()
                    .same("reason", refused(answer)?.reason(), ErrorReason::UnknownOrder)?,
            },
        }
        last = last.max(event_seq(answer).unwrap_or_default());
    }
    let book = trader.book_at(&symbol, last).await?;
    let told: Vec<(i64, i64, i32)> = book
        .bids
        .iter()
        .map(|level| (level.price_e4, level.quantity, level.order_count))
        .collect();
    book.at().same("bids (price_e4, quantity, order_count)", told, kept)
}

/// Catches a half-close taken for a reset: answers lost, commands dropped, an end that is no OK.
async fn half_close(context: Context) -> Verdict {
    let symbol = context.instrument().await?.symbol;
    let trader = context.trader().await?;
    let mut newest = None;
    for count in [0, 1, 200] {
        let commands = (0..count).map(|number| insert(number, sell(&symbol, 50, 1)));
        let answers = trader.order_entry().all(commands.collect()).await?;
        for answer in &answers {
            newest = newest.max(Some(inserted(answer)?.order_id));
        }
    }
    let open = trader.open_orders_with(&symbol, newest).await?;
    let at = trader.whole_book(&symbol).await?;
    at.at().same("open orders", open.len(), 201)
}

/// Catches requests matched by id over all connections, and answers sent to another stream or user.
async fn same_request_ids(context: Context) -> Verdict {
    const USERS: usize = 4;
    const STREAMS: usize = 3;
    const COMMANDS: u64 = 60;
    let symbol = context.instrument().await?.symbol;
    let mut users = Vec::new();
    for _ in 0..USERS {
        users.push(context.trader().await?);
    }
    // Stream 0 of a user inserts, 1 is refused, 2 inserts and cancels; all with the ids 0 to 59.
    let price = |user: usize, stream: usize| 1 + (user * STREAMS + stream) as i64;
    let mut jobs = Vec::new();
    for (user, session) in users.iter().enumerate() {
        for stream in 0..STREAMS {
            // Streams of a user on one connection and on another.
            let session = match stream {
                0 | 1 => session.clone(),
                _ => match session.user() {
                    Some(user) => context.login(user).await?,
                    None => return Err(Stop::trouble("a session without a user")),
                },
            };
            let commands = (0..COMMANDS).map(|id| match stream {
                1 => cancel(id, Cancelled::OrderId(u64::MAX - id)),
                2 if id % 2 == 1 => cancel_all_of(id, &symbol, Side::Sell),
                _ => insert(id, buy(&symbol, price(user, stream), 1 + id as i64)),
            });
            let commands = commands.collect();
            jobs.push(async move { Ok::<_, Stop>((user, stream, session.order_entry().all(commands).await?)) });
        }
    }
    let answered = try_join_all(jobs).await?;
    // By order: whose it is, its price and its quantity.
    let mut orders = BTreeMap::new();
    for (user, stream, answers) in &answered {
        for answer in answers {
            match (stream, answer.request_id % 2) {
                (1, _) => answer
                    .at()
                    .same("reason", refused(answer)?.reason(), ErrorReason::UnknownOrder)?,
                (2, 1) => {
                    answer.shows("result cancel_all", |answer| {
                        matches!(answer.result, Some(Outcome::CancelAll(_)))
                    })?;
                }
                _ => {
                    let reply = inserted(answer)?;
                    let quantity = 1 + answer.request_id as i64;
                    answer.at().same("open_quantity", reply.open_quantity, quantity)?;
                    let first = orders.insert(reply.order_id, (*user, price(*user, *stream), quantity));
                    let came = format!("order_id {} was answered twice", reply.order_id);
                    answer
                        .at()
                        .holds(first.is_none(), came, "an order_id of its own for each insert")?;
                }
            }
        }
    }
    for (user, session) in users.iter().enumerate() {
        let newest = orders.iter().rev().find(|(_, order)| order.0 == user);
        let open = session.open_orders_with(&symbol, newest.map(|(id, _)| *id)).await?;
        let told: BTreeMap<u64, (usize, i64, i64)> = open
            .iter()
            .map(|order| (order.order_id, (user, order.price_e4, order.quantity)))
            .collect();
        let own = orders
            .iter()
            .filter(|(_, order)| order.0 == user)
            .map(|(id, order)| (*id, *order))
            .collect();
        let at = session.whole_book(&symbol).await?;
        let what = format!("open orders of {}: id, (user, price_e4, quantity)", session.username());
        at.at().same(&what, told, own)?;
    }
    Ok(())
}

/// Catches a cancel-all that takes other users' orders, forgets its symbol or its side, or misses some.
async fn cancel_all(context: Context) -> Verdict {
    let (acme, bolt) = (context.instrument().await?.symbol, context.instrument().await?.symbol);
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    let theirs = bob.rest(buy(&acme, 1, 1)).await?.order_id;
    let mut stream = alice.order_entry();
    // By instrument and side.
    let mut ids: BTreeMap<(bool, bool), Vec<u64>> = BTreeMap::new();
    for number in 0..12 {
        let symbol = if number % 2 == 0 { &acme } else { &bolt };
        let is_buy = number % 3 != 0;
        let order = if is_buy {
            buy(symbol, 1 + number, 1)
        } else {
            sell(symbol, 100 + number, 1)
        };
        let answer = ask(&mut stream, insert(1, order)).await?;
        ids.entry((number % 2 == 0, is_buy))
            .or_default()
            .push(inserted(&answer)?.order_id);
    }
    let mut all_of = async |symbol: &str, side: Side, expected: Vec<u64>| -> Verdict {
        let answer = ask(&mut stream, cancel_all_of(1, symbol, side)).await?;
        let Some(Outcome::CancelAll(reply)) = &answer.result else {
            return Err(answer.fail("another result", "result cancel_all"));
        };
        let told: BTreeSet<u64> = reply.order_ids.iter().copied().collect();
        answer
            .at()
            .same("cancelled_orders", reply.cancelled_orders, expected.len() as i64)?;
        answer.at().same("order_ids", told, expected.into_iter().collect())
    };
    let mut of = |acme: bool, is_buy: bool| ids.remove(&(acme, is_buy)).unwrap_or_default();
    let (acme_sells, bolt_sells) = (of(true, false), of(false, false));
    let (acme_buys, bolt_buys) = (of(true, true), of(false, true));
    all_of(&acme, Side::Sell, acme_sells).await?;
    all_of(&acme, Side::Sell, vec![]).await?;
    all_of(&bolt, Side::Unspecified, [bolt_sells, bolt_buys].concat()).await?;
    all_of("", Side::Sell, vec![]).await?;
    all_of("", Side::Unspecified, acme_buys).await?;
    let order = bob.order(theirs).await?;
    order.has("status", |order| order.status(), OrderStatus::Open)?;
    Ok(())
}

/// The contract orders the answers, and numbers what was done: where commands overtake one another, the
/// answers say so.
///
/// Catches commands that are lost or done twice, and answers that contradict one another.
async fn in_flight_together(context: Context) -> Verdict {
    let symbol = context.instrument().await?.symbol;
    let trader = context.trader().await?;
    let run = context.unique();
    let mut commands = Vec::new();
    for number in 0..100 {
        let id = format!("{run}/{number}");
        commands.push(insert(1, named(sell(&symbol, 10, 5), &id)));
        commands.push(amend(2, Amended::ClientOrderId(id.clone()), 3));
        commands.push(cancel(3, Cancelled::ClientOrderId(id.clone())));
        commands.push(cancel(4, Cancelled::ClientOrderId(id)));
    }
    let answers = trader.order_entry().all(commands).await?;
    let (mut events, mut left) = (BTreeSet::new(), BTreeSet::new());
    let mut last = 0;
    for of_one_order in answers.chunks(4) {
        // What was done to this order, in the order of the events.
        let mut done: Vec<&Reply<OrderEntryResponse>> = Vec::new();
        for answer in of_one_order {
            if let Some(event_seq) = event_seq(answer) {
                let came = format!("event_seq {event_seq} was answered before");
                let of_its_own = events.insert(event_seq);
                answer.at().holds(of_its_own, came, "an event for each command")?;
                last = last.max(event_seq);
                done.push(answer);
                continue;
            }
            let reason = refused(answer)?.reason();
            answer.at().holds(
                answer.request_id != 1 && matches!(reason, ErrorReason::UnknownOrder | ErrorReason::OrderDone),
                format!("the reason is {reason:?}"),
                "the insert to be taken; amend and cancel too, or UNKNOWN_ORDER before it, or ORDER_DONE after its end",
            )?;
        }
        done.sort_by_key(|answer| event_seq(answer));
        let mut open = None;
        for answer in done {
            let (told, expected) = match (&answer.result, open) {
                (Some(Outcome::Insert(reply)), None) => {
                    left.insert(reply.order_id);
                    open = Some(reply.open_quantity);
                    (reply.open_quantity, 5)
                }
                (Some(Outcome::Amend(reply)), Some(1..)) => {
                    open = Some(reply.open_quantity);
                    (reply.open_quantity, 3)
                }
                (Some(Outcome::Cancel(reply)), Some(lots @ 1..)) => {
                    left.remove(&reply.order_id);
                    open = Some(0);
                    (reply.cancelled_quantity, lots)
                }
                _ => {
                    return Err(answer.fail(
                        "a command that found no open order was taken",
                        "by event_seq: the insert, then the amend if it comes before the cancel, then one cancel",
                    ));
                }
            };
            answer
                .at()
                .same("lots that are open, or that were cancelled", told, expected)?;
        }
    }
    let book = trader.book_at(&symbol, last).await?;
    let orders: i64 = book.asks.iter().map(|level| i64::from(level.order_count)).sum();
    book.at()
        .same("orders in the book, by the answers", orders, left.len() as i64)
}

/// Catches a stream with orders or client ids of its own.
async fn mixed_with_unary(context: Context) -> Verdict {
    let symbol = context.instrument().await?.symbol;
    let trader = context.trader().await?;
    let mut stream = trader.order_entry();
    let (one, two) = (context.unique(), context.unique());
    // Inserted on the stream, repeated and cancelled by calls.
    let first = named(buy(&symbol, 10, 2), &one);
    let answer = ask(&mut stream, insert(1, first.clone())).await?;
    let streamed = inserted(&answer)?.clone();
    let repeated = trader.insert(first).await?;
    repeated.has("the answer to the retry", Clone::clone, streamed.clone())?;
    let order = trader.order(streamed.order_id).await?;
    order
        .has("client_order_id", |order| order.client_order_id.clone(), one.clone())?
        .has("quantity", |order| order.quantity, 2)?;
    let cancelled = trader.cancel_id(streamed.order_id).await?;
    cancelled.has("cancelled_quantity", |reply| reply.cancelled_quantity, 2)?;
    let late = ask(&mut stream, cancel(2, Cancelled::ClientOrderId(one))).await?;
    late.at()
        .same("reason", refused(&late)?.reason(), ErrorReason::OrderDone)?;
    // Inserted by a call, repeated and cancelled on the stream.
    let second = named(sell(&symbol, 20, 3), &two);
    let called = trader.insert(second.clone()).await?;
    let again = ask(&mut stream, insert(3, second.clone())).await?;
    again
        .at()
        .same("the answer to the retry", inserted(&again)?, &*called)?;
    let other = InsertOrderRequest { quantity: 4, ..second };
    let reused = ask(&mut stream, insert(4, other)).await?;
    reused
        .at()
        .same("reason", refused(&reused)?.reason(), ErrorReason::ClientIdReused)?;
    let book = trader
        .book_at(&symbol, called.event_seq.max(cancelled.event_seq))
        .await?;
    book.shows("one ask of 3 lots in one order, and no bid", |book| {
        book.bids.is_empty()
            && book
                .asks
                .iter()
                .map(|level| (level.quantity, level.order_count))
                .eq([(3, 1)])
    })?;
    let ended = ask(&mut stream, cancel(5, Cancelled::ClientOrderId(two))).await?;
    match &ended.result {
        Some(Outcome::Cancel(reply)) => ended.at().same("order_id", reply.order_id, called.order_id),
        _ => Err(ended.fail("another result", "result cancel")),
    }
}

/// Catches orders that go with their stream, and commands that are done twice.
async fn broken_stream(context: Context) -> Verdict {
    const ORDERS: usize = 40;
    let symbol = context.instrument().await?.symbol;
    let trader = context.trader().await?;
    let mut random = context.random();
    let orders: Vec<InsertOrderRequest> = (0..ORDERS)
        .map(|number| named(buy(&symbol, 1 + number as i64, 1), &context.unique()))
        .collect();
    let mut known: BTreeMap<usize, InsertOrderResponse> = BTreeMap::new();
    for _ in 0..4 {
        // A stream on a connection of its own, dropped with commands in flight.
        let session = match trader.user() {
            Some(user) => context.login(user).await?,
            None => return Err(Stop::trouble("a session without a user")),
        };
        let mut stream = session.order_entry();
        for (number, order) in orders.iter().enumerate() {
            stream.send(insert(number as u64, order.clone())).await?;
        }
        for number in 0..random.usize(0..ORDERS) {
            let answer = stream.next().await?;
            let reply = inserted(&answer)?;
            let first = known.entry(number).or_insert_with(|| reply.clone());
            answer.at().same("the answer", reply, &*first)?;
        }
    }
    let commands = orders
        .iter()
        .enumerate()
        .map(|(number, order)| insert(number as u64, order.clone()));
    let answers = trader.order_entry().all(commands.collect()).await?;
    let mut ids = BTreeSet::new();
    for (number, answer) in answers.iter().enumerate() {
        let reply = inserted(answer)?;
        if let Some(first) = known.get(&number) {
            answer.at().same("the answer to the retry", reply, first)?;
        }
        ids.insert(reply.order_id);
    }
    let open: BTreeSet<u64> = trader
        .open_orders_with(&symbol, ids.last().copied())
        .await?
        .iter()
        .map(|order| order.order_id)
        .collect();
    let at = trader.whole_book(&symbol).await?;
    at.at().same("open orders", open.len(), ORDERS)?;
    at.at().same("ids of the open orders", open, ids)
}

/// The stream was to be refused as a whole.
async fn refused_whole(session: &Session, reason: ErrorReason, metadata: &[(&str, &str)]) -> Verdict {
    let mut stream = session.order_entry();
    // Some servers answer only once something came; others have refused by now, and read nothing.
    let _ = stream.send(cancel(1, Cancelled::OrderId(1))).await;
    match stream.answers.read(session.patience()).await {
        crate::client::Next::Message(message) => Err(message.fail("an answer", "the stream to be refused")),
        _ => stream.answers.refused(reason, metadata).await.map(drop),
    }
}

/// Catches a stream without the checks of the unary calls.
async fn wants_trader(context: Context) -> Verdict {
    refused_whole(&context.stranger().await?, ErrorReason::InvalidToken, &[]).await?;
    let wrong = context.stranger().await?.with_token(Some("nobody-has-this-token"))?;
    refused_whole(&wrong, ErrorReason::InvalidToken, &[]).await?;
    let role = [("role", "ROLE_TRADER")];
    refused_whole(&context.viewer().await?, ErrorReason::MissingRole, &role).await?;
    refused_whole(&context.admin().await?, ErrorReason::MissingRole, &role).await
}

/// Catches a token that is only looked at when the stream opens.
async fn logout_ends_it(context: Context) -> Verdict {
    let symbol = context.instrument().await?.symbol;
    let trader = context.trader().await?;
    let second = match trader.user() {
        Some(user) => context.login(user).await?,
        None => return Err(Stop::trouble("a session without a user")),
    };
    let mut stream = second.order_entry();
    let answer = ask(&mut stream, insert(1, buy(&symbol, 10, 1))).await?;
    let order_id = inserted(&answer)?.order_id;
    second.logout(optivex_proto::v1::LogoutRequest {}).await?;
    stream.answers.refused(ErrorReason::InvalidToken, &[]).await?;
    let order = trader.order(order_id).await?;
    order.has("status", |order| order.status(), OrderStatus::Open)?;
    Ok(())
}
