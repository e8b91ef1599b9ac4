//! Stage 15: what a reply says survives any crash.

mod ledger;

use optivex_proto::v1::{
    self, ErrorReason, InstrumentRiskLimits, OrderStatus, SetInstrumentRiskLimitsRequest, SetTradingPhaseRequest,
    SetUserRiskLimitsRequest, SubscribeExecutionReportsRequest, SuspendUserRequest, TradingPhase, UserRiskLimits,
};
use prost::Message;

use crate::case::{Case, Stage};
use crate::client::{Reply, Session};
use crate::context::{Context, Exchange};
use crate::json;
use crate::order::{buy, sell};
use crate::run;
use crate::verdict::{Stop, Verdict};
use ledger::Ledger;

/// The stage.
pub const STAGE: Stage = Stage {
    slug: "recovery",
    title: "Recovery",
    number: 15,
    core: false,
    builds_on: &["orders", "tape"],
    cases: &[
        Case::new(
            "state",
            "What replies said is there after a kill -9: orders, book, positions, trades, reports.",
            "execution.proto ExecutionService, a reply is sent when its event is durable",
            run!(state),
        )
        .launches(),
        Case::new(
            "venue",
            "Instruments, phases, limits and suspensions are there after a kill -9.",
            "execution.proto ExecutionService, what a reply says survives any crash; common.proto event_seq",
            run!(venue),
        )
        .launches(),
        Case::new(
            "numbers",
            "Order ids, trade ids and positions in orders of events go on after a kill -9, and none comes twice.",
            "common.proto event_seq, book_seq; Trade.trade_id; execution.proto ExecutionReport.report_seq",
            run!(numbers),
        )
        .launches(),
        Case::new(
            "limits",
            "Limits count after a kill -9 what they counted before.",
            "risk_limits.proto InstrumentRiskLimits",
            run!(limits),
        )
        .launches(),
        Case::new(
            "disconnect",
            "A restart of the exchange keeps the orders that cancel_on_disconnect guards.",
            "execution.proto SubscribeExecutionReportsRequest.cancel_on_disconnect",
            run!(disconnect),
        )
        .launches(),
        Case::new(
            "stop",
            "What replies said is there after an ordered stop.",
            "execution.proto ExecutionService, a reply is sent when its event is durable",
            run!(stop),
        )
        .launches(),
        Case::new(
            "kill-under-load",
            "Of orders in flight when the exchange is killed, nothing acknowledged is lost and nothing is doubled.",
            "execution.proto ExecutionService; InsertOrderRequest.client_order_id",
            run!(kill_under_load),
        )
        .launches()
        .within(300),
        Case::new(
            "kill-during-recovery",
            "A second crash, while the exchange recovers from the first, loses and doubles nothing either.",
            "execution.proto ExecutionService; InsertOrderRequest.client_order_id",
            run!(kill_during_recovery),
        )
        .launches()
        .within(300),
    ],
};

/// All that one user can see of an instrument.
#[derive(Debug, PartialEq)]
struct View {
    book: v1::BookSnapshot,
    open_orders: Vec<v1::Order>,
    positions: Vec<v1::Position>,
    trades: Vec<v1::Trade>,
    reports: Vec<v1::ExecutionReport>,
}

/// What replies said, for views that may lag behind them.
struct Said {
    /// Last event that changed the book.
    book: u64,
    /// Last event of an order that is still open, and that order.
    order: (u64, u64),
    trade_id: u64,
    /// Event of that trade.
    traded: u64,
    /// Last event that was reported to the user.
    report: u64,
}

/// What one user sees, as soon as it shows what replies said.
async fn view(session: &Session, symbol: &str, said: &Said) -> Verdict<View> {
    let mut book = session.book_at(symbol, said.book).await?.into_inner();
    // What the book was when it was asked for may be told by a later event.
    book.event_seq = 0;
    session.order_at(said.order.0, said.order.1).await?;
    let trades = session.tape_through(symbol, said.trade_id, 0).await?;
    Ok(View {
        book,
        open_orders: session.open_orders(symbol).await?,
        positions: session.positions_at(said.traded).await?.into_inner().positions,
        trades: trades.into_iter().map(Reply::into_inner).collect(),
        reports: session.reports_through(said.report).await?,
    })
}

/// Some of everything: two users, trades, resting orders of both sides and two at one price, an amend, a
/// cancel. What was said of it to each.
async fn trade_a_little(alice: &Session, bob: &Session, symbol: &str) -> Verdict<(Said, Said)> {
    let first = alice.rest(sell(symbol, 1_000, 10)).await?;
    alice.rest(sell(symbol, 1_100, 5)).await?;
    let trade = bob.insert(buy(symbol, 1_000, 4)).await?;
    trade.has("filled_quantity", |reply| reply.filled_quantity, 4)?;
    let trade_id = trade.fills.first().map_or(0, |fill| fill.trade_id);
    let bid = bob.rest(buy(symbol, 900, 7)).await?;
    let behind = bob.rest(sell(symbol, 1_100, 3)).await?;
    let gone = bob.rest(buy(symbol, 800, 1)).await?;
    let cancelled = bob.cancel_id(gone.order_id).await?;
    let amended = alice
        .amend(v1::AmendOrderRequest {
            order: Some(v1::amend_order_request::Order::OrderId(first.order_id)),
            price_e4: None,
            quantity: Some(9),
        })
        .await?;
    amended.has("open_quantity", |reply| reply.open_quantity, 5)?;
    bid.shows("an event_seq before that of the order after it", |bid| {
        bid.event_seq < behind.event_seq
    })?;
    let said = |order, report| Said {
        book: amended.event_seq,
        order,
        trade_id,
        traded: trade.event_seq,
        report,
    };
    Ok((
        said((first.order_id, amended.event_seq), amended.event_seq),
        said((behind.order_id, behind.event_seq), cancelled.event_seq),
    ))
}

/// Two users trade, the exchange ends in this way and starts again: all is as it was.
async fn survives(context: Context, end: impl AsyncFnOnce(&mut Exchange) -> Verdict) -> Verdict {
    let mut exchange = context.launch().await?;
    let symbol = exchange.instrument().await?.symbol;
    let (alice, bob) = (exchange.trader().await?, exchange.trader().await?);
    let (first, second) = (alice.known_user()?, bob.known_user()?);
    let said = trade_a_little(&alice, &bob, &symbol).await?;
    let before = (
        view(&alice, &symbol, &said.0).await?,
        view(&bob, &symbol, &said.1).await?,
    );
    end(&mut exchange).await?;
    exchange.restart().await?;
    let (alice, bob) = (exchange.login(&first).await?, exchange.login(&second).await?);
    for (session, before, said) in [(&alice, &before.0, &said.0), (&bob, &before.1, &said.1)] {
        let after = view(session, &symbol, said).await?;
        same(
            "the book",
            "BookSnapshot",
            &[after.book],
            std::slice::from_ref(&before.book),
        )?;
        same("open orders", "Order", &after.open_orders, &before.open_orders)?;
        same("positions", "Position", &after.positions, &before.positions)?;
        same("trades", "Trade", &after.trades, &before.trades)?;
        same("execution reports", "ExecutionReport", &after.reports, &before.reports)?;
    }
    // The orders are not only shown: they trade, and those at one price in the order they came.
    let again = bob.insert(buy(&symbol, 1_000, 5)).await?;
    again.has("filled_quantity", |reply| reply.filled_quantity, 5)?;
    let earlier = before.0.open_orders.iter().find(|order| order.price_e4 == 1_100);
    let earlier = earlier.map_or(0, |order| order.order_id);
    let carol = exchange.trader().await?;
    let taken = carol.insert(buy(&symbol, 1_100, 2)).await?;
    taken.has("filled_quantity", |reply| reply.filled_quantity, 2)?;
    let rest = alice.cancel_id(earlier).await?;
    rest.has(
        "cancelled_quantity of the earlier order at its price",
        |reply| reply.cancelled_quantity,
        3,
    )?;
    Ok(())
}

/// Compares lists of the contract's messages, and tells the first that differs, as JSON.
fn same<T: Message + PartialEq>(what: &str, name: &str, after: &[T], before: &[T]) -> Verdict {
    let differs = (0..after.len().max(before.len())).find(|place| after.get(*place) != before.get(*place));
    let Some(place) = differs else { return Ok(()) };
    let shown = |list: &[T]| match list.get(place) {
        Some(message) => json::message(&format!("optivex.v1.{name}"), &message.encode_to_vec()).to_string(),
        None => "nothing".to_owned(),
    };
    Err(Stop::failed(
        format!("{what} after the restart: number {} is {}", place + 1, shown(after)),
        format!("as before, {}", shown(before)),
    ))
}

async fn state(context: Context) -> Verdict {
    survives(context, Exchange::kill).await
}

async fn stop(context: Context) -> Verdict {
    survives(context, Exchange::terminate).await
}

async fn venue(context: Context) -> Verdict {
    let mut exchange = context.launch().await?;
    let request = v1::CreateInstrumentRequest {
        client_request_id: exchange.unique(),
        initial_phase: TradingPhase::Auction.into(),
        ..exchange.instrument_request()
    };
    let admin = exchange.admin().await?;
    let created = admin.create_instrument(request.clone()).await?.into_inner();
    let halted = exchange.instrument().await?;
    admin
        .set_phase(SetTradingPhaseRequest {
            symbol: halted.symbol.clone(),
            phase: TradingPhase::Halted.into(),
        })
        .await?;
    let trader = exchange.trader().await?;
    let (user, administrator) = (trader.known_user()?, admin.known_user()?);
    let user_limits = UserRiskLimits {
        max_outstanding_quantity: Some(77),
        ..UserRiskLimits::default()
    };
    let instrument_limits = InstrumentRiskLimits {
        max_position: Some(0),
        max_order_quantity: Some(33),
        ..InstrumentRiskLimits::default()
    };
    admin
        .set_user_limits(SetUserRiskLimitsRequest {
            username: user.username.clone(),
            limits: Some(user_limits),
        })
        .await?;
    admin
        .set_instrument_limits(SetInstrumentRiskLimitsRequest {
            username: user.username.clone(),
            symbol: halted.symbol.clone(),
            limits: Some(instrument_limits),
        })
        .await?;
    let suspended = admin
        .suspend(SuspendUserRequest {
            username: user.username.clone(),
            comment: "gone for lunch".to_owned(),
        })
        .await?;
    let instruments = admin.all_instruments(0).await?;
    exchange.kill().await?;
    exchange.restart().await?;
    let (trader, admin) = (exchange.login(&user).await?, exchange.login(&administrator).await?);
    same(
        "instruments",
        "Instrument",
        &admin.all_instruments(0).await?,
        &instruments,
    )?;
    admin
        .create_instrument(request)
        .await?
        .has("the answer to the retry", Clone::clone, created.clone())?;
    let own = v1::GetUserRiskLimitsRequest::default();
    trader
        .user_limits(own)
        .await?
        .has("limits", |reply| reply.limits, Some(user_limits))?;
    let own = v1::GetInstrumentRiskLimitsRequest::default();
    trader.instrument_limits(own).await?.has(
        "limits_by_symbol",
        |reply| reply.limits_by_symbol.get(&halted.symbol).copied(),
        Some(instrument_limits),
    )?;
    trader
        .try_insert(buy(&created.instrument.unwrap_or_default().symbol, 100, 1))
        .await
        .refused(ErrorReason::UserSuspended, &[("comment", "gone for lunch")])?;
    let next = admin.create_instrument(exchange.instrument_request()).await?;
    next.shows("an event_seq after those before the crash", |reply| {
        reply.event_seq > suspended.event_seq
    })?;
    Ok(())
}

async fn numbers(context: Context) -> Verdict {
    let mut exchange = context.launch().await?;
    let symbol = exchange.instrument().await?.symbol;
    let (alice, bob) = (exchange.trader().await?, exchange.trader().await?);
    let (first, second) = (alice.known_user()?, bob.known_user()?);
    let (mut order_id, mut trade_id, mut event_seq, mut book_seq, mut reports) = (0, 0, 0, 0, 0);
    let (mut alice, mut bob) = (alice, bob);
    for _ in 0..3 {
        let rests = alice.rest(sell(&symbol, 1_000, 1)).await?;
        rests
            .shows("an order_id after those before", |reply| reply.order_id > order_id)?
            .shows("an event_seq after those before", |reply| reply.event_seq > event_seq)?;
        let trades = bob.insert(buy(&symbol, 1_000, 1)).await?;
        trades
            .shows("an order_id after those before", |reply| {
                reply.order_id > rests.order_id
            })?
            .shows("an event_seq after those before", |reply| {
                reply.event_seq > rests.event_seq
            })?
            .shows("a trade_id after those before", |reply| {
                reply.fills.first().is_some_and(|fill| fill.trade_id > trade_id)
            })?;
        let book = alice.book_at(&symbol, trades.event_seq).await?;
        book.has("book_seq", |book| book.book_seq, book_seq + 2)?;
        (order_id, event_seq, book_seq) = (trades.order_id, trades.event_seq, book.book_seq);
        trade_id = trades.fills.first().map_or(0, |fill| fill.trade_id);
        let told = alice.reports_through(trades.event_seq).await?.len();
        trades.has("reports of the resting order's user", |_| told, reports + 2)?;
        reports = told;
        exchange.kill().await?;
        exchange.restart().await?;
        (alice, bob) = (exchange.login(&first).await?, exchange.login(&second).await?);
    }
    Ok(())
}

async fn limits(context: Context) -> Verdict {
    let mut exchange = context.launch().await?;
    let symbol = exchange.instrument().await?.symbol;
    let trader = exchange.trader().await?;
    let user = trader.known_user()?;
    exchange
        .admin()
        .await?
        .set_instrument_limits(SetInstrumentRiskLimitsRequest {
            username: user.username.clone(),
            symbol: symbol.clone(),
            limits: Some(InstrumentRiskLimits {
                order_quantity_rolling_limit: Some(v1::RollingWindowLimit {
                    limit: 20,
                    window_in_seconds: 86_400,
                }),
                max_outstanding_quantity: Some(10),
                ..InstrumentRiskLimits::default()
            }),
        })
        .await?;
    let first = trader.rest(buy(&symbol, 100, 9)).await?;
    exchange.kill().await?;
    exchange.restart().await?;
    let trader = exchange.login(&user).await?;
    trader.try_insert(buy(&symbol, 100, 2)).await.refused(
        ErrorReason::RiskLimit,
        &[
            ("limit_name", "max_outstanding_quantity"),
            ("current", "9"),
            ("attempted", "2"),
            ("limit", "10"),
        ],
    )?;
    trader.cancel_id(first.order_id).await?;
    trader.rest(buy(&symbol, 100, 10)).await?;
    exchange.kill().await?;
    exchange.restart().await?;
    let trader = exchange.login(&user).await?;
    trader.cancel_all(v1::CancelAllOrdersRequest::default()).await?;
    trader.try_insert(buy(&symbol, 100, 2)).await.refused(
        ErrorReason::RateLimit,
        &[
            ("limit_name", "order_quantity_rolling_limit"),
            ("current", "19"),
            ("attempted", "2"),
            ("limit", "20"),
        ],
    )?;
    trader.rest(buy(&symbol, 100, 1)).await?;
    Ok(())
}

async fn disconnect(context: Context) -> Verdict {
    let mut exchange = context.launch().await?;
    let symbol = exchange.instrument().await?.symbol;
    let trader = exchange.trader().await?;
    let user = trader.known_user()?;
    let mut guard = trader.follow_reports(SubscribeExecutionReportsRequest {
        after_report_seq: None,
        cancel_on_disconnect: true,
    });
    guard.expecting("subscribed_report_seq").await?;
    let order = trader.rest(buy(&symbol, 100, 3)).await?;
    exchange.kill().await?;
    exchange.restart().await?;
    let trader = exchange.login(&user).await?;
    let kept = trader.order(order.order_id).await?;
    kept.has("status", |order| order.status(), OrderStatus::Open)?;
    let book = trader.book_at(&symbol, order.event_seq).await?;
    book.has(
        "bids",
        |book| book.bids.iter().map(|level| level.quantity).collect(),
        vec![3],
    )?;
    Ok(())
}

async fn kill_under_load(context: Context) -> Verdict {
    let mut random = context.random();
    let mut ledger = Ledger::open(&context).await?;
    for _ in 0..3 {
        ledger.trade_until_killed(&mut random).await?;
        ledger.restart().await?;
        ledger.audit().await?;
    }
    Ok(())
}

async fn kill_during_recovery(context: Context) -> Verdict {
    let mut random = context.random();
    let mut ledger = Ledger::open(&context).await?;
    for _ in 0..2 {
        ledger.trade_until_killed(&mut random).await?;
        // Also later, for those that take their time to start; none is killed long after it serves.
        for most in [150, 150, 1_500, 1_500] {
            let after = std::time::Duration::from_millis(random.u64(1..=most));
            ledger.exchange.restart_and_kill_after(after).await?;
        }
        ledger.restart().await?;
        ledger.audit().await?;
    }
    Ok(())
}
