//! Commands that meet at one order or one limit.

use futures_util::future::{join, join_all};
use optivex_proto::v1::amend_order_request::Order as Amended;
use optivex_proto::v1::{
    AmendOrderRequest, CancelOrderRequest, ErrorReason, InsertOrderRequest, InstrumentRiskLimits, OrderStatus,
    RollingWindowLimit, SetInstrumentRiskLimitsRequest, SetUserRiskLimitsRequest, Side, UserRiskLimits,
};

use super::{only, sessions, taken};
use crate::context::Context;
use crate::order::{buy, ioc, sell};
use crate::verdict::Verdict;

fn cancel(order_id: u64) -> CancelOrderRequest {
    CancelOrderRequest {
        order: Some(optivex_proto::v1::cancel_order_request::Order::OrderId(order_id)),
    }
}

/// Catches a cancel that works on a copy: lots that both trade and are cancelled, or vanish.
pub(super) async fn insert_against_cancel(context: Context) -> Verdict {
    let symbol = context.instrument().await?.symbol;
    let (maker, taker) = (context.trader().await?, context.trader().await?);
    let takers = sessions(&context, &taker, 4).await?;
    let canceller = sessions(&context, &maker, 1).await?;
    let mut random = context.random();
    for _ in 0..40 {
        let order_id = maker.rest(sell(&symbol, 100, 10)).await?.order_id;
        let wanted: Vec<i64> = takers.iter().map(|_| random.i64(1..=5)).collect();
        let buying = takers
            .iter()
            .zip(&wanted)
            .map(|(taker, lots)| taker.insert(ioc(&symbol, Side::Buy, 100, *lots)));
        let buying = join_all(buying.collect::<Vec<_>>());
        let cancelling = canceller[0].try_cancel(cancel(order_id));
        // Who is polled first is first on the wire, mostly.
        let (bought, cancelled) = match random.bool() {
            true => join(buying, cancelling).await,
            false => {
                let (cancelled, bought) = join(cancelling, buying).await;
                (bought, cancelled)
            }
        };
        let (mut filled, mut last_fill) = (0, 0);
        for reply in bought {
            let reply = reply?;
            filled += reply.filled_quantity;
            if reply.filled_quantity > 0 {
                last_fill = last_fill.max(reply.event_seq);
            }
        }
        let order = match cancelled.clone().either() {
            Ok(cancelled) => {
                cancelled.has("cancelled_quantity", |reply| reply.cancelled_quantity, 10 - filled)?;
                cancelled.shows("an event after all fills of the order", |reply| {
                    reply.event_seq > last_fill
                })?;
                let order = maker.order_at(order_id, cancelled.event_seq).await?;
                order.has("status", |order| order.status(), OrderStatus::Cancelled)?;
                order
            }
            Err(_) => {
                let refused = cancelled.refused(ErrorReason::OrderDone, &[])?;
                refused
                    .at()
                    .same("lots that traded, as the order is done", filled, 10)?;
                let order = maker.order_at(order_id, last_fill).await?;
                order.has("status", |order| order.status(), OrderStatus::Filled)?;
                order
            }
        };
        order.has("filled_quantity", |order| order.filled_quantity, filled)?;
    }
    let book = maker.whole_book(&symbol).await?;
    let last = maker
        .cancel_all(optivex_proto::v1::CancelAllOrdersRequest::default())
        .await?;
    last.has("cancelled_orders", |reply| reply.cancelled_orders, 0)?;
    drop(book);
    let book = maker.book_at(&symbol, last.event_seq).await?;
    book.shows("an empty book", |book| book.bids.is_empty() && book.asks.is_empty())?;
    Ok(())
}

/// Catches an order that is cancelled twice: its lots are given back twice.
pub(super) async fn cancel_against_cancel(context: Context) -> Verdict {
    let symbol = context.instrument().await?.symbol;
    let trader = context.trader().await?;
    let clients = sessions(&context, &trader, 8).await?;
    for round in 1..=20 {
        let order_id = trader.rest(buy(&symbol, 100, round)).await?.order_id;
        let cancelling = clients.iter().map(|client| client.try_cancel(cancel(order_id)));
        let answers = join_all(cancelling.collect::<Vec<_>>()).await;
        let done = only(taken(answers, ErrorReason::OrderDone, &[])?, "cancel of an order")?;
        done.has("cancelled_quantity", |reply| reply.cancelled_quantity, round)?;
        let position = trader.position_at(&symbol, done.event_seq).await?;
        position.has("open_buy_quantity", |position| position.open_buy_quantity, 0)?;
    }
    Ok(())
}

/// Catches an amend of an old copy: fills that are lost, lots that come back.
pub(super) async fn amend_against_fill(context: Context) -> Verdict {
    let symbol = context.instrument().await?.symbol;
    let (maker, taker) = (context.trader().await?, context.trader().await?);
    let mut random = context.random();
    for _ in 0..40 {
        let order_id = maker.rest(sell(&symbol, 100, 10)).await?.order_id;
        // From 10 lots to 6, while 8 are wanted.
        let amending = maker.amend(AmendOrderRequest {
            order: Some(Amended::OrderId(order_id)),
            price_e4: None,
            quantity: Some(6),
        });
        let buying = taker.insert(ioc(&symbol, Side::Buy, 100, 8));
        let (amended, bought) = match random.bool() {
            true => join(amending, buying).await,
            false => {
                let (bought, amended) = join(buying, amending).await;
                (amended, bought)
            }
        };
        let (amended, bought) = (amended?, bought?);
        let of = |reply: &optivex_proto::v1::AmendOrderResponse| {
            (reply.status(), reply.filled_quantity, reply.open_quantity)
        };
        if amended.event_seq < bought.event_seq {
            bought.has(
                "filled_quantity, after the amend to 6",
                |reply| reply.filled_quantity,
                6,
            )?;
            amended.has(
                "(status, filled_quantity, open_quantity)",
                of,
                (OrderStatus::Open, 0, 6),
            )?;
        } else {
            bought.has("filled_quantity, before the amend", |reply| reply.filled_quantity, 8)?;
            // 6 are less than the 8 that were filled: the order ends.
            amended.has(
                "(status, filled_quantity, open_quantity)",
                of,
                (OrderStatus::Cancelled, 8, 0),
            )?;
        }
        let book = maker.book_at(&symbol, amended.event_seq.max(bought.event_seq)).await?;
        book.shows("an empty book", |book| book.bids.is_empty() && book.asks.is_empty())?;
    }
    Ok(())
}

/// A limit with room for three of the orders once seven are in.
struct Limited {
    name: &'static str,
    of_user: Option<UserRiskLimits>,
    of_instrument: Option<InstrumentRiskLimits>,
    /// In lots or in amounts at price 100.
    in_lots: bool,
    reason: ErrorReason,
    /// Cancelling one makes room again.
    released: bool,
    /// Sells count too.
    both_sides: bool,
}

fn limits() -> Vec<Limited> {
    // A day: it does not slide while a slow exchange answers.
    let window = |limit| RollingWindowLimit {
        limit,
        window_in_seconds: 86_400,
    };
    let base = || Limited {
        name: "",
        of_user: None,
        of_instrument: None,
        in_lots: true,
        reason: ErrorReason::RiskLimit,
        released: true,
        both_sides: true,
    };
    let of_instrument = InstrumentRiskLimits::default;
    vec![
        Limited {
            name: "max_outstanding_quantity",
            of_user: Some(UserRiskLimits {
                max_outstanding_quantity: Some(10),
                ..UserRiskLimits::default()
            }),
            ..base()
        },
        Limited {
            name: "max_outstanding_amount_e4",
            of_user: Some(UserRiskLimits {
                max_outstanding_amount_e4: Some(1_000),
                ..UserRiskLimits::default()
            }),
            in_lots: false,
            both_sides: false,
            ..base()
        },
        Limited {
            name: "max_outstanding_quantity",
            of_instrument: Some(InstrumentRiskLimits {
                max_outstanding_quantity: Some(10),
                ..of_instrument()
            }),
            ..base()
        },
        Limited {
            name: "max_outstanding_amount_e4",
            of_instrument: Some(InstrumentRiskLimits {
                max_outstanding_amount_e4: Some(1_000),
                ..of_instrument()
            }),
            in_lots: false,
            both_sides: false,
            ..base()
        },
        Limited {
            name: "max_position",
            of_instrument: Some(InstrumentRiskLimits {
                max_position: Some(10),
                ..of_instrument()
            }),
            both_sides: false,
            ..base()
        },
        Limited {
            name: "order_quantity_rolling_limit",
            of_instrument: Some(InstrumentRiskLimits {
                order_quantity_rolling_limit: Some(window(10)),
                ..of_instrument()
            }),
            reason: ErrorReason::RateLimit,
            released: false,
            ..base()
        },
        Limited {
            name: "order_amount_rolling_limit",
            of_instrument: Some(InstrumentRiskLimits {
                order_amount_rolling_limit: Some(window(1_000)),
                ..of_instrument()
            }),
            in_lots: false,
            reason: ErrorReason::RateLimit,
            released: false,
            both_sides: false,
            ..base()
        },
    ]
}

/// Catches a check and a count that are two steps, a limit off by one, and room that is given back
/// twice or not at all.
pub(super) async fn last_lot(context: Context) -> Verdict {
    let (admin, trader) = (context.admin().await?, context.trader().await?);
    let clients = sessions(&context, &trader, 64).await?;
    for limited in limits() {
        let symbol = context.instrument().await?.symbol;
        let of_user = |limits: UserRiskLimits| SetUserRiskLimitsRequest {
            username: trader.username().to_owned(),
            limits: Some(limits),
        };
        if let Some(limits) = &limited.of_user {
            admin.set_user_limits(of_user(*limits)).await?;
        }
        if let Some(limits) = &limited.of_instrument {
            let limits = SetInstrumentRiskLimitsRequest {
                username: trader.username().to_owned(),
                symbol: symbol.clone(),
                limits: Some(*limits),
            };
            admin.set_instrument_limits(limits).await?;
        }
        trader.rest(buy(&symbol, 100, 7)).await?;
        let order = |number: usize| match limited.both_sides && number % 2 == 1 {
            true => sell(&symbol, 200, 1),
            false => buy(&symbol, 100, 1),
        };
        let (limit, attempted) = if limited.in_lots { ("10", "1") } else { ("1000", "100") };
        let mut metadata = vec![
            ("limit_name", limited.name),
            ("limit", limit),
            ("current", limit),
            ("attempted", attempted),
        ];
        if limited.of_instrument.is_some() {
            metadata.push(("symbol", &symbol));
        }
        let wave = async || {
            let orders = clients
                .iter()
                .enumerate()
                .map(|(number, client)| client.try_insert(order(number)));
            join_all(orders.collect::<Vec<_>>()).await
        };
        let what = format!("orders of 64 that were taken, where 3 fit under {}", limited.name);
        let answers = wave().await;
        // First that too many were taken: it explains what the others were refused with.
        let replies: Vec<_> = answers
            .iter()
            .filter_map(|answer| answer.clone().either().ok())
            .collect();
        if let Some(first) = replies.first().filter(|_| replies.len() > 3) {
            first.at().same(&what, replies.len(), 3)?;
        }
        let won = taken(answers, limited.reason, &metadata)?;
        let Some(first) = won.first() else {
            let book = trader.whole_book(&symbol).await?;
            return Err(book.fail("none of 64 orders was taken", "the three that fit to be taken"));
        };
        first.at().same(&what, won.len(), 3)?;
        if limited.released {
            let cancelled = trader.cancel_id(first.order_id).await?;
            cancelled.has("cancelled_quantity", |reply| reply.cancelled_quantity, 1)?;
            let won = taken(wave().await, limited.reason, &metadata)?;
            only(won, "order to take the room that the cancel made")?;
        }
        let last = trader
            .cancel_all(optivex_proto::v1::CancelAllOrdersRequest::default())
            .await?;
        last.has("cancelled_orders", |reply| reply.cancelled_orders, 4)?;
        if limited.of_user.is_some() {
            admin.set_user_limits(of_user(UserRiskLimits::default())).await?;
        }
    }
    Ok(())
}

/// Catches numbers given out before the order is decided, one counter a connection or a book.
pub(super) async fn one_order(context: Context) -> Verdict {
    let symbols = [context.instrument().await?.symbol, context.instrument().await?.symbol];
    let mut clients = Vec::new();
    for _ in 0..6 {
        clients.push(context.trader().await?);
    }
    let mut random = context.random();
    let mut orders: Vec<Vec<InsertOrderRequest>> = Vec::new();
    for _ in &clients {
        let order = |_| {
            let symbol = &symbols[random.usize(0..2)];
            let (price, lots) = (random.i64(98..=102), random.i64(1..=5));
            if random.bool() {
                buy(symbol, price, lots)
            } else {
                sell(symbol, price, lots)
            }
        };
        orders.push((0..25).map(order).collect());
    }
    let jobs = clients.iter().zip(orders).map(async |(client, orders)| {
        let mut replies = Vec::new();
        for order in orders {
            replies.push(client.insert(order).await?);
        }
        Verdict::Ok(replies)
    });
    let mut all = Vec::new();
    for replies in join_all(jobs.collect::<Vec<_>>()).await {
        let replies = replies?;
        for pair in replies.windows(2) {
            let came = format!("event_seq is {} after {}", pair[1].event_seq, pair[0].event_seq);
            let expected = "a later event for the command that was sent after the answer to the one before";
            pair[1]
                .at()
                .holds(pair[0].event_seq < pair[1].event_seq, came, expected)?;
        }
        all.extend(replies);
    }
    all.sort_by_key(|reply| reply.event_seq);
    let mut last_trade = 0;
    for reply in &all {
        for fill in &reply.fills {
            let came = format!("trade_id {} after {last_trade}", fill.trade_id);
            reply
                .at()
                .holds(fill.trade_id > last_trade, came, "trade_id to rise with event_seq")?;
            last_trade = fill.trade_id;
        }
    }
    for pair in all.windows(2) {
        let (one, two) = (&pair[0], &pair[1]);
        let came = format!("event_seq {} and {}", one.event_seq, two.event_seq);
        two.at().holds(
            one.event_seq < two.event_seq,
            came,
            "an event_seq of its own for each command",
        )?;
        let came = format!(
            "order_id {} at event {}, then {} at event {}",
            one.order_id, one.event_seq, two.order_id, two.event_seq
        );
        two.at()
            .holds(one.order_id < two.order_id, came, "order_id to rise with event_seq")?;
    }
    Ok(())
}
