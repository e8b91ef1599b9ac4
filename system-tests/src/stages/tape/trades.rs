//! The tape: live, from the past, and as a list.

use std::collections::BTreeMap;

use optivex_proto::v1::{ErrorReason, ListTradesRequest, Side, SubscribeTradesRequest, SubscribeTradesResponse, Trade};

use crate::client::{Session, Stream};
use crate::context::Context;
use crate::model::book_flow::{Flow, Printed};
use crate::order::{buy, limit, sell};
use crate::verdict::Verdict;

/// A tape; what every message must hold is checked on the way.
struct Tape {
    stream: Stream<SubscribeTradesResponse>,
    symbols: Vec<String>,
    through: u64,
    trades: Vec<Trade>,
}

impl Tape {
    async fn open(session: &Session, symbols: &[&str], after_trade_id: Option<u64>) -> Verdict<Self> {
        let symbols: Vec<String> = symbols.iter().map(|symbol| (*symbol).to_owned()).collect();
        let mut stream = session.follow_trades(SubscribeTradesRequest {
            symbols: symbols.clone(),
            after_trade_id,
        });
        let first = stream.expecting("the first message").await?;
        first.shows("the first message without trades", |first| first.trades.is_empty())?;
        Ok(Self {
            through: first.through_trade_id,
            stream,
            symbols,
            trades: Vec::new(),
        })
    }

    async fn read(&mut self, what: &str) -> Verdict<bool> {
        let batch = self.stream.expecting(what).await?;
        for trade in &batch.trades {
            batch.at().holds(
                self.symbols.is_empty() || self.symbols.contains(&trade.symbol),
                format!("a trade of {}", trade.symbol),
                "only trades of the instruments asked for",
            )?;
            batch.at().holds(
                self.trades.last().is_none_or(|last| last.trade_id < trade.trade_id),
                format!(
                    "trade {} after {:?}",
                    trade.trade_id,
                    self.trades.last().map(|last| last.trade_id)
                ),
                "trades oldest first, each once",
            )?;
            self.trades.push(trade.clone());
        }
        let last = self.trades.last().map_or(0, |trade| trade.trade_id);
        batch.shows(
            &format!("through_trade_id at least {last}, the last trade sent"),
            |batch| batch.through_trade_id >= last,
        )?;
        let through = self.through;
        batch.shows(
            &format!("through_trade_id not below the one before, {through}"),
            |batch| batch.through_trade_id >= through,
        )?;
        self.through = batch.through_trade_id;
        Ok(batch.trades.is_empty())
    }

    /// Reads until the tape is complete up to this trade.
    async fn reach(&mut self, trade_id: u64) -> Verdict {
        let deadline = tokio::time::Instant::now() + self.stream.patience() * 2;
        let what = format!("the tape up to trade {trade_id}");
        while self.through < trade_id {
            let before = self.through;
            self.read(&what).await?;
            if before == self.through && tokio::time::Instant::now() > deadline {
                return Err(self.stream.at().fail(format!("through_trade_id stays {before}"), what));
            }
        }
        Ok(())
    }
}

fn printed(trades: &[Trade], symbol: &str) -> Vec<Printed> {
    trades
        .iter()
        .filter(|trade| trade.symbol == symbol)
        .map(|trade| Printed {
            trade_id: trade.trade_id,
            price_e4: trade.price_e4,
            quantity: trade.quantity,
            aggressor_side: trade.aggressor_side(),
            event_seq: trade.event_seq,
        })
        .collect()
}

/// The last trade of a flow; a flow of many steps has some.
fn last_trade(flow: &Flow) -> Verdict<u64> {
    flow.trades()
        .last()
        .map(|trade| trade.trade_id)
        .ok_or_else(|| crate::verdict::Stop::trouble("this seed makes no trades"))
}

/// Catches trades that are lost, doubled, told for each side, or told with other terms.
pub(super) async fn live(context: Context) -> Verdict {
    let mut flow = Flow::new(&context, 3).await?;
    let viewer = context.viewer().await?;
    let acme = flow.symbol.clone();
    let mut tape = Tape::open(&viewer, &[&acme], None).await?;
    flow.steps(120).await?;
    tape.reach(last_trade(&flow)?).await?;
    let at = tape.stream.at();
    at.same("trades", printed(&tape.trades, &acme), flow.trades())?;
    at.holds(
        tape.trades
            .iter()
            .all(|trade| trade.time_unix_ns > 1_000_000_000_000_000_000),
        "a trade without its time",
        "time_unix_ns, nanoseconds since the Unix epoch",
    )
}

/// Catches trade ids by instrument.
pub(super) async fn ids(context: Context) -> Verdict {
    let (acme, duff) = (context.instrument().await?.symbol, context.instrument().await?.symbol);
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    let mut last = 0;
    for _ in 0..3 {
        for symbol in [&acme, &duff] {
            alice.rest(sell(symbol, 1_000, 2)).await?;
            for _ in 0..2 {
                let trade = bob.insert(buy(symbol, 1_000, 1)).await?;
                trade.has("fills", |trade| trade.fills.len(), 1)?;
                trade.shows(&format!("a trade_id above the one before, {last}"), |trade| {
                    trade.fills[0].trade_id > last
                })?;
                last = trade.fills[0].trade_id;
            }
        }
    }
    Ok(())
}

/// Catches tapes that begin with the past, or promise what comes later.
pub(super) async fn first(context: Context) -> Verdict {
    let mut flow = Flow::new(&context, 2).await?;
    let viewer = context.viewer().await?;
    let acme = flow.symbol.clone();
    flow.steps(60).await?;
    let past = last_trade(&flow)?;
    // The past is over as soon as list and tape have told it.
    viewer.tape_through(&acme, past, 0).await?;
    Tape::open(&viewer, &[&acme], Some(0)).await?.reach(past).await?;
    let mut tape = Tape::open(&viewer, &[&acme], None).await?;
    let begun = tape.through;
    tape.stream.at().holds(
        begun >= past,
        format!("through_trade_id of the first message is {begun}"),
        format!("{past} or later: that trade was told before, and this tape is of what comes now"),
    )?;
    flow.steps(60).await?;
    let last = last_trade(&flow)?;
    tape.reach(last).await?;
    let expected: Vec<Printed> = flow
        .trades()
        .into_iter()
        .filter(|trade| trade.trade_id > begun)
        .collect();
    tape.stream.at().same(
        "trades after through_trade_id of the first message",
        printed(&tape.trades, &acme),
        expected,
    )
}

/// Catches a history that begins one too early or too late, and a seam between past and present.
pub(super) async fn history(context: Context) -> Verdict {
    let mut flow = Flow::new(&context, 3).await?;
    let viewer = context.viewer().await?;
    let acme = flow.symbol.clone();
    flow.steps(100).await?;
    let known = flow.trades();
    let last = last_trade(&flow)?;
    let first = known[0].trade_id;
    let mut tapes = Vec::new();
    for after in [0, first - 1, first, known[known.len() / 2].trade_id, last] {
        tapes.push((after, Tape::open(&viewer, &[&acme], Some(after)).await?));
    }
    flow.steps(100).await?;
    let last = last_trade(&flow)?;
    for (after, tape) in &mut tapes {
        tape.reach(last).await?;
        let expected: Vec<Printed> = flow
            .trades()
            .into_iter()
            .filter(|trade| trade.trade_id > *after)
            .collect();
        tape.stream
            .at()
            .same(&format!("trades after {after}"), printed(&tape.trades, &acme), expected)?;
    }
    Ok(())
}

/// Catches filters that are ignored, or that take the first symbol only.
pub(super) async fn symbols(context: Context) -> Verdict {
    let mut symbols = Vec::new();
    for _ in 0..3 {
        symbols.push(context.instrument().await?.symbol);
    }
    let (alice, bob, viewer) = (
        context.trader().await?,
        context.trader().await?,
        context.viewer().await?,
    );
    let mut two = Tape::open(&viewer, &[&symbols[0], &symbols[2]], None).await?;
    let mut all = Tape::open(&viewer, &[], None).await?;
    let mut known = Vec::new();
    for round in 0..2 {
        for symbol in &symbols {
            alice.rest(sell(symbol, 1_000 + round, 1)).await?;
            let trade = bob.insert(buy(symbol, 1_000 + round, 1)).await?;
            trade.has("fills", |trade| trade.fills.len(), 1)?;
            known.push((trade.fills[0].trade_id, symbol.clone()));
        }
    }
    let last = known.last().map_or(0, |(trade_id, _)| *trade_id);
    for (tape, of) in [
        (&mut two, vec![&symbols[0], &symbols[2]]),
        (&mut all, symbols.iter().collect()),
    ] {
        tape.reach(last).await?;
        let told: Vec<(u64, String)> = tape
            .trades
            .iter()
            .filter(|trade| symbols.contains(&trade.symbol))
            .map(|trade| (trade.trade_id, trade.symbol.clone()))
            .collect();
        let expected: Vec<(u64, String)> = known
            .iter()
            .filter(|(_, symbol)| of.contains(&symbol))
            .cloned()
            .collect();
        tape.stream
            .at()
            .same("trade_id and symbol of the trades", told, expected)?;
    }
    Ok(())
}

/// Catches tapes without a sign of life.
pub(super) async fn silent(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob, viewer) = (
        context.trader().await?,
        context.trader().await?,
        context.viewer().await?,
    );
    let mut tape = Tape::open(&viewer, &[&acme], None).await?;
    for _ in 0..2 {
        alice.rest(sell(&acme, 1_000, 1)).await?;
        let trade = bob.insert(buy(&acme, 1_000, 1)).await?;
        tape.reach(trade.fills.first().map_or(0, |fill| fill.trade_id)).await?;
        while !tape
            .read("an empty batch, when there was no trade for a second")
            .await?
        {}
    }
    tape.stream.at().same("trades", tape.trades.len(), 2)
}

/// Catches pages that skip or repeat, has_more at the wrong page, and filters that are ignored.
pub(super) async fn pages(context: Context) -> Verdict {
    let mut flow = Flow::new(&context, 3).await?;
    let viewer = context.viewer().await?;
    let acme = flow.symbol.clone();
    flow.steps(100).await?;
    let known = flow.trades();
    let last = last_trade(&flow)?;
    for page_size in [0, 1, 7, 1_000] {
        let listed: Vec<Trade> = viewer
            .tape_through(&acme, last, page_size)
            .await?
            .into_iter()
            .map(crate::client::Reply::into_inner)
            .collect();
        viewer.log().note(&format!("compares the pages of {page_size}"));
        if printed(&listed, &acme) != known || listed.len() != known.len() {
            return Err(crate::verdict::Stop::failed(
                format!("the pages together have {listed:?}"),
                format!("the trades of {acme}: {known:?}"),
            ));
        }
    }
    let count = known.len();
    for (after, page_size) in [
        (count - 1, 5),
        (count - 3, 3),
        (count - 3, 2),
        (0, count),
        (0, count - 1),
    ] {
        let after_trade_id = if after == 0 { 0 } else { known[after - 1].trade_id };
        let page = viewer
            .trades(ListTradesRequest {
                symbol: acme.clone(),
                after_trade_id,
                page_size: page_size as i32,
            })
            .await?;
        let expected: Vec<u64> = known
            .iter()
            .skip(after)
            .take(page_size)
            .map(|trade| trade.trade_id)
            .collect();
        page.has(
            "trade_ids",
            |page| page.trades.iter().map(|trade| trade.trade_id).collect(),
            expected,
        )?
        .has("has_more", |page| page.has_more, after + page_size < count)?;
    }
    let page = viewer
        .trades(ListTradesRequest {
            symbol: acme,
            after_trade_id: last,
            page_size: 0,
        })
        .await?;
    page.has("trades after the last", |page| page.trades.clone(), vec![])?
        .has("has_more", |page| page.has_more, false)?;
    Ok(())
}

/// Catches empty lists for any name.
pub(super) async fn unknown(context: Context) -> Verdict {
    let viewer = context.viewer().await?;
    viewer
        .try_trades(ListTradesRequest {
            symbol: context.unique(),
            ..ListTradesRequest::default()
        })
        .await
        .refused(ErrorReason::UnknownInstrument, &[])?;
    Ok(())
}

/// Catches trades that are lost or doubled when several are made at once.
pub(super) async fn complete(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let viewer = context.viewer().await?;
    let mut tape = Tape::open(&viewer, &[&acme], Some(0)).await?;
    let mut tasks = Vec::new();
    for number in 0..4 {
        let (session, acme) = (context.trader().await?, acme.clone());
        // Buyers do not meet sellers of the same user: no self-trades.
        let side = if number % 2 == 0 { Side::Buy } else { Side::Sell };
        tasks.push(tokio::spawn(async move {
            let mut fills = Vec::new();
            for step in 0..50 {
                let reply = session
                    .insert(limit(&acme, side, 1_000 + step % 3, 1 + step % 4))
                    .await?;
                fills.extend(
                    reply
                        .fills
                        .iter()
                        .map(|fill| (fill.trade_id, (fill.price_e4, fill.quantity))),
                );
            }
            Verdict::Ok(fills)
        }));
    }
    let mut known = BTreeMap::new();
    for task in tasks {
        let fills = task
            .await
            .map_err(|error| crate::verdict::Stop::trouble(error.to_string()))??;
        for (trade_id, terms) in fills {
            tape.stream.at().holds(
                known.insert(trade_id, terms).is_none(),
                format!("two fills of incoming orders have trade_id {trade_id}"),
                "trade_id unique over all instruments",
            )?;
        }
    }
    let Some(last) = known.keys().next_back().copied() else {
        return Err(tape
            .stream
            .at()
            .fail("no trades at all", "buyers and sellers at the same prices to trade"));
    };
    tape.reach(last).await?;
    let terms = |trades: &[Trade]| -> BTreeMap<u64, (i64, i64)> {
        trades
            .iter()
            .map(|trade| (trade.trade_id, (trade.price_e4, trade.quantity)))
            .collect()
    };
    tape.stream
        .at()
        .same("trades of the tape", terms(&tape.trades), known.clone())?;
    let listed: Vec<Trade> = viewer
        .tape_through(&acme, last, 9)
        .await?
        .into_iter()
        .map(crate::client::Reply::into_inner)
        .collect();
    tape.stream.at().same("trades of the list", terms(&listed), known)?;
    // To the last field: the same trade is the same for everybody.
    tape.stream
        .at()
        .same("trades of the list and of the tape", listed, tape.trades.clone())
}
