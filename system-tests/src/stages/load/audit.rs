//! What is there after the load, beside what was acknowledged: every order once, every lot either
//! traded or resting, the same told by lists, book, positions, tape and reports.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::try_join_all;
use optivex_proto::v1::subscribe_execution_reports_response::Event;
use optivex_proto::v1::{BookSnapshot, ExecutionKind, Order, Position, Side, SubscribeExecutionReportsRequest};
use tokio::time::Instant;

use super::lane::Lane;
use super::order::Placed;
use crate::check::Looks;
use crate::client::{Reply, Session};
use crate::context::Context;
use crate::verdict::{Stop, Verdict};

/// Where a user stood before the load.
pub(super) struct Before {
    report_seq: u64,
}

impl Before {
    pub(super) async fn of(user: &Session) -> Verdict<Self> {
        let mut reports = user.follow_reports(SubscribeExecutionReportsRequest::default());
        let first = reports.expecting("subscribed_report_seq").await?;
        match first.event {
            Some(Event::SubscribedReportSeq(report_seq)) => Ok(Self { report_seq }),
            _ => Err(first.fail("another message", "subscribed_report_seq first")),
        }
    }
}

/// What one user has to show.
struct Shown {
    side: Side,
    position: Reply<Position>,
    open: Vec<Order>,
}

/// Judges the whole of it.
pub(super) async fn everything_is_there(context: &Context, symbol: &str, users: Vec<(Lane, Before)>) -> Verdict {
    context.log().note(&format!(
        "the load on {symbol} is over, {} orders were acknowledged; what is there is compared with them",
        users.iter().map(|(lane, _)| lane.placed.len()).sum::<usize>()
    ));
    each_once(&users)?;
    let newest = users
        .iter()
        .flat_map(|(lane, _)| &lane.placed)
        .map(|placed| placed.event_seq)
        .max();
    let newest = newest.unwrap_or_default();
    let shown = try_join_all(users.iter().map(|(lane, _)| orders_and_position(lane, symbol, newest))).await?;
    sides_agree(&shown)?;
    let any = match users.first() {
        Some((lane, _)) => &lane.session,
        None => return Err(Stop::trouble("a load without users")),
    };
    the_book_is_the_open_orders(any, symbol, newest, &shown).await?;
    let traded: i64 = shown.iter().map(|shown| shown.position.quantity.max(0)).sum();
    the_tape_has(any, symbol, traded).await?;
    let reports = users
        .iter()
        .zip(&shown)
        .map(|((lane, before), shown)| reports_tell(lane, before, symbol, shown.position.quantity.abs()));
    try_join_all(reports).await?;
    Ok(())
}

/// No order_id and no event_seq came twice.
fn each_once(users: &[(Lane, Before)]) -> Verdict {
    let all = || users.iter().flat_map(|(lane, _)| &lane.placed);
    for (field, mut values) in [
        ("order_id", all().map(|placed| placed.order_id).collect::<Vec<u64>>()),
        ("event_seq", all().map(|placed| placed.event_seq).collect()),
    ] {
        values.sort_unstable();
        if let Some(pair) = values.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Stop::failed(
                format!("{field} {} was told of two orders", pair[0]),
                format!("a {field} of its own for each order"),
            ));
        }
        if values.first() == Some(&0) {
            return Err(Stop::failed(format!("{field} 0"), format!("a {field} from 1 on")));
        }
    }
    Ok(())
}

/// Of one user: what cannot trade rests whole, and of the rest every lot is held or rests.
async fn orders_and_position(lane: &Lane, symbol: &str, newest: u64) -> Verdict<Shown> {
    let user = &lane.session;
    let side = lane.side();
    let position = user.position_at(symbol, newest).await?;
    let sold = position.quantity.saturating_neg();
    let traded = if side == Side::Sell { sold } else { position.quantity };
    let near: i64 = lane
        .placed
        .iter()
        .filter(|placed| !placed.made.far)
        .map(|placed| placed.made.quantity)
        .sum();
    let far: BTreeMap<u64, &Placed> = lane
        .placed
        .iter()
        .filter(|placed| placed.made.far)
        .map(|placed| (placed.order_id, placed))
        .collect();
    let known: BTreeSet<u64> = lane.placed.iter().map(|placed| placed.order_id).collect();
    let rests = |order: &Order| order.quantity - order.filled_quantity;
    let mut looks = Looks::new(user);
    let open = loop {
        let open = user.quiet().open_orders(symbol).await?;
        let resting: i64 = open
            .iter()
            .filter(|order| !far.contains_key(&order.order_id))
            .map(rests)
            .sum();
        let settled = traded + resting == near && open.len() >= far.len();
        if settled || !looks.again().await {
            break open;
        }
    };
    // The record shows the first page again.
    let at = user.orders(optivex_proto::v1::ListOrdersRequest {
        symbol: symbol.to_owned(),
        ..optivex_proto::v1::ListOrdersRequest::default()
    });
    let at = at.await?;
    let at = at.at();
    let mut resting = 0;
    let mut seen = BTreeSet::new();
    for order in &open {
        let id = order.order_id;
        at.holds(
            known.contains(&id) && seen.insert(id),
            format!("order {id} is listed as open, and was acknowledged never or is listed twice"),
            "the orders that were acknowledged, each once",
        )?;
        match far.get(&id) {
            Some(placed) => at.same(
                &format!("(price_e4, quantity, filled_quantity) of order {id}"),
                (order.price_e4, order.quantity, order.filled_quantity),
                (placed.made.price_e4, placed.made.quantity, 0),
            )?,
            None => resting += rests(order),
        }
    }
    if let Some(lost) = far.keys().find(|id| !seen.contains(*id)) {
        return Err(at.fail(
            format!("order {lost} is not listed"),
            format!(
                "all {} acknowledged orders that nobody's price reached to be open",
                far.len()
            ),
        ));
    }
    at.holds(
        traded + resting == near,
        format!(
            "{traded} lots are held and {resting} rest, {} together",
            traded + resting
        ),
        format!("the {near} lots that were acknowledged as orders which others reach, all either held or resting"),
    )?;
    let whole: i64 = open.iter().map(rests).sum();
    let told = match side {
        Side::Sell => (position.open_buy_quantity, position.open_sell_quantity),
        _ => (position.open_sell_quantity, position.open_buy_quantity),
    };
    position
        .at()
        .same("(open lots of the other side, of the user's side)", told, (0, whole))?;
    Ok(Shown { side, position, open })
}

/// What was sold was bought, for the same money; and of what could trade, one side is used up.
fn sides_agree(shown: &[Shown]) -> Verdict {
    let sum = |get: fn(&Position) -> i64| shown.iter().map(|shown| i128::from(get(&shown.position))).sum::<i128>();
    let Some(last) = shown.last() else { return Ok(()) };
    let at = last.position.at();
    at.same("the sum of all users' quantity", sum(|position| position.quantity), 0)?;
    at.same("the sum of all users' cash_e4", sum(|position| position.cash_e4), 0)
}

/// Levels by price: lots and orders.
type Levels = BTreeMap<i64, (i64, i32)>;

async fn the_book_is_the_open_orders(any: &Session, symbol: &str, newest: u64, shown: &[Shown]) -> Verdict {
    let of = |side: Side| {
        let mut levels = Levels::new();
        for order in shown
            .iter()
            .filter(|shown| shown.side == side)
            .flat_map(|shown| &shown.open)
        {
            let level = levels.entry(order.price_e4).or_default();
            level.0 += order.quantity - order.filled_quantity;
            level.1 += 1;
        }
        levels
    };
    let (bids, asks) = (of(Side::Buy), of(Side::Sell));
    let crossed = bids
        .keys()
        .next_back()
        .zip(asks.keys().next())
        .filter(|(bid, ask)| bid >= ask);
    let book = any.book_at(symbol, newest).await?;
    if let Some((bid, ask)) = crossed {
        return Err(book.fail(
            format!("a buy order at {bid} and a sell order at {ask} are open"),
            "what crosses to trade",
        ));
    }
    let told = |levels: &[optivex_proto::v1::PriceLevel]| -> Levels {
        levels
            .iter()
            .map(|level| (level.price_e4, (level.quantity, level.order_count)))
            .collect()
    };
    level_by_level(&book, "bids", &told(&book.bids), &bids)?;
    level_by_level(&book, "asks", &told(&book.asks), &asks)
}

/// The lowest level that differs is told: there may be many.
fn level_by_level(book: &Reply<BookSnapshot>, side: &str, told: &Levels, open: &Levels) -> Verdict {
    let prices: BTreeSet<&i64> = told.keys().chain(open.keys()).collect();
    let differs = |price: &&&i64| told.get(price) != open.get(price);
    let Some(price) = prices.iter().find(differs) else {
        return Ok(());
    };
    let at = |levels: &Levels| match levels.get(price) {
        Some((lots, orders)) => format!("{lots} lots in {orders} orders at {price}"),
        None => format!("nothing at {price}"),
    };
    Err(book.fail(
        format!("the {side} of the book have {}", at(told)),
        format!("{}, as the users' open orders say", at(open)),
    ))
}

async fn the_tape_has(any: &Session, symbol: &str, traded: i64) -> Verdict {
    let mut looks = Looks::new(any);
    loop {
        let trades = any.quiet().trades_after(symbol, 0).await?;
        let lots: i64 = trades.iter().map(|trade| trade.quantity).sum();
        if lots == traded {
            return Ok(());
        }
        if !looks.again().await {
            return Err(Stop::failed(
                format!("the tape of {symbol} has {} trades of {lots} lots", trades.len()),
                format!("{traded} lots, as the positions say"),
            ));
        }
    }
}

/// The user's reports since then: each order accepted once, every lot of it filled once.
async fn reports_tell(lane: &Lane, before: &Before, symbol: &str, traded: i64) -> Verdict {
    let user = &lane.session;
    let mut missing: BTreeSet<u64> = lane.placed.iter().map(|placed| placed.order_id).collect();
    let request = SubscribeExecutionReportsRequest {
        after_report_seq: Some(before.report_seq),
        cancel_on_disconnect: false,
    };
    let mut stream = user.follow_reports(request);
    let (mut last, mut filled) = (before.report_seq, 0);
    let mut until = Instant::now() + user.patience() * 2;
    while !missing.is_empty() || filled < traded {
        let message = stream.expecting("reports of every order of the load").await?;
        match &message.event {
            Some(Event::Report(report)) => {
                message.has("report_seq", |_| report.report_seq, last + 1)?;
                last = report.report_seq;
                until = Instant::now() + user.patience() * 2;
                let order = report.order.clone().unwrap_or_default();
                if order.symbol != symbol {
                    continue;
                }
                match report.kind() {
                    ExecutionKind::Accepted => message.at().holds(
                        missing.remove(&order.order_id),
                        format!("order {} is accepted", order.order_id),
                        "reports of the acknowledged orders, each accepted once",
                    )?,
                    ExecutionKind::Fill => {
                        message.at().holds(
                            !missing.contains(&order.order_id),
                            format!("a fill of order {} comes before its ACCEPTED", order.order_id),
                            "ACCEPTED before any of its fills",
                        )?;
                        filled += report.fill.as_ref().map_or(0, |fill| fill.quantity);
                    }
                    kind => return Err(message.fail(format!("{kind:?}"), "ACCEPTED and FILL: nobody cancels")),
                }
            }
            _ => message.at().holds(
                Instant::now() < until,
                format!("{} orders have no report, and {filled} lots are filled", missing.len()),
                format!("a report of each order, and fills of {traded} lots"),
            )?,
        }
    }
    stream.at().same("lots filled by the reports", filled, traded)
}
