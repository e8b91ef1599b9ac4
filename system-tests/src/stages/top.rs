//! Stage 5: top of book.

use optivex_proto::v1::subscribe_order_books_response::Event;
use optivex_proto::v1::{
    BookView, Delivery, ErrorReason, PriceLevel, Side, SubscribeOrderBooksRequest, SubscribeOrderBooksResponse,
    TopOfBook, TradingPhase,
};

use crate::case::{Case, Stage};
use crate::client::{Reply, Session, Stream};
use crate::context::Context;
use crate::model::book_flow::Flow;
use crate::order::{buy, sell};
use crate::run;
use crate::verdict::Verdict;

/// The stage.
#[rustfmt::skip]
pub const STAGE: Stage = Stage {
    slug: "top",
    title: "Top of book",
    number: 5,
    core: true,
    builds_on: &["orders"],
    cases: &[
        Case::new("first", "A subscription answers symbol by symbol, then tells the best bid and ask at once.", "info.proto Subscribed, BOOK_VIEW_TOP_OF_BOOK", run!(first)).base(),
        Case::new("empty", "An empty side is absent, and an empty book has book_seq 0.", "info.proto TopOfBook; common.proto book_seq", run!(empty)),
        Case::new("changes", "One message comes at each change of the best bid or ask: price, lots and orders.", "info.proto BOOK_VIEW_TOP_OF_BOOK", run!(changes)),
        Case::new("next-level", "When the best level goes, by trade or cancel, the next one is the best.", "info.proto TopOfBook", run!(next_level)),
        Case::new("two-symbols", "Each book of a subscription is told for itself, in its own book_seq.", "common.proto book_seq", run!(two_symbols)),
        Case::new("unknown-symbol", "An unknown symbol fails alone, in the order asked for.", "info.proto Subscribed.statuses", run!(unknown_symbol)),
        Case::new("new-instrument", "A subscription of all instruments has those to come.", "info.proto SubscribeOrderBooksRequest.symbols", run!(new_instrument)),
        Case::new("no-view", "A subscription without a view is INVALID_FIELD.", "info.proto BOOK_VIEW_UNSPECIFIED", run!(no_view)),
        Case::new("heartbeat", "Once a second a heartbeat tells up to which event everything was sent.", "info.proto Heartbeat", run!(heartbeat)),
        Case::new("conflated", "A conflated subscriber that reads late gets the newest state.", "info.proto DELIVERY_CONFLATED", run!(conflated)),
        Case::new("random-flow", "Under a random flow every change of the best bid and ask comes, in order, as in a reference book.", "info.proto BOOK_VIEW_TOP_OF_BOOK, DELIVERY_LOSSLESS", run!(random_flow)).within(300),
    ],
};

type Books = Stream<SubscribeOrderBooksResponse>;

fn level(price_e4: i64, quantity: i64, order_count: i32) -> Option<PriceLevel> {
    Some(PriceLevel {
        price_e4,
        quantity,
        order_count,
    })
}

fn follow(session: &Session, symbols: &[&str], delivery: Delivery) -> Books {
    session.follow_books(SubscribeOrderBooksRequest {
        symbols: symbols.iter().map(|symbol| (*symbol).to_owned()).collect(),
        view: BookView::TopOfBook.into(),
        delivery: delivery.into(),
        ..SubscribeOrderBooksRequest::default()
    })
}

/// The first message: every symbol's answer.
async fn subscribed(stream: &mut Books, expected: &[(&str, ErrorReason)]) -> Verdict {
    let message = stream.expecting("the answer to the subscription").await?;
    let Some(Event::Subscribed(subscribed)) = &message.event else {
        return Err(message.fail(
            "another message comes first",
            "subscribed, the first message of every subscription",
        ));
    };
    message.at().same(
        "symbol and reason of the statuses",
        subscribed
            .statuses
            .iter()
            .map(|status| (status.symbol.as_str(), status.reason()))
            .collect::<Vec<_>>(),
        expected.to_vec(),
    )
}

/// The next best bid and ask of a symbol.
async fn next_top(stream: &mut Books, symbol: &str, what: &str) -> Verdict<Reply<TopOfBook>> {
    stream
        .until(what, |message| match &message.event {
            Some(Event::TopOfBook(top)) if top.symbol == symbol => {
                Ok(Some(Reply::new(top.clone(), message.at().clone())))
            }
            Some(Event::Snapshot(_) | Event::Update(_) | Event::Gap(_)) => Err(message.fail(
                "a message of another view",
                "only top_of_book and heartbeats in this view, and no loss",
            )),
            Some(Event::Subscribed(_)) => Err(message.fail("subscribed comes again", "it once, as the first message")),
            _ => Ok(None),
        })
        .await
}

/// What one book's top of book subscriber has been shown.
struct Tops {
    stream: Books,
    symbol: String,
    last: TopOfBook,
}

impl Tops {
    /// Subscribes; the first message shows the book as it is.
    async fn open(session: &Session, symbol: &str) -> Verdict<Self> {
        let mut stream = follow(session, &[symbol], Delivery::Lossless);
        subscribed(&mut stream, &[(symbol, ErrorReason::Unspecified)]).await?;
        let last = next_top(&mut stream, symbol, "best bid and ask at once")
            .await?
            .into_inner();
        Ok(Self {
            stream,
            symbol: symbol.to_owned(),
            last,
        })
    }

    /// The next message that shows something else; repeats of the same are passed over.
    async fn change(&mut self, what: &str) -> Verdict<Reply<TopOfBook>> {
        loop {
            let top = next_top(&mut self.stream, &self.symbol, what).await?;
            top.shows(
                &format!(
                    "book_seq and event_seq not below those before ({}, {})",
                    self.last.book_seq, self.last.event_seq
                ),
                |top| top.book_seq >= self.last.book_seq && top.event_seq >= self.last.event_seq,
            )?;
            let same = (top.bid, top.ask, top.phase, top.indicative)
                == (self.last.bid, self.last.ask, self.last.phase, self.last.indicative);
            self.last = (*top).clone();
            if !same {
                return Ok(top);
            }
        }
    }

    /// The change of that event comes next, and shows this.
    async fn shows(
        &mut self,
        book_seq: u64,
        event_seq: u64,
        bid: Option<PriceLevel>,
        ask: Option<PriceLevel>,
    ) -> Verdict {
        let what = format!("the change of event {event_seq}: bid {bid:?}, ask {ask:?}");
        let top = self.change(&what).await?;
        is(&top, book_seq, event_seq, bid, ask)
    }
}

fn is(
    top: &Reply<TopOfBook>,
    book_seq: u64,
    event_seq: u64,
    bid: Option<PriceLevel>,
    ask: Option<PriceLevel>,
) -> Verdict {
    top.has("bid", |top| top.bid, bid)?
        .has("ask", |top| top.ask, ask)?
        .has("book_seq", |top| top.book_seq, book_seq)?
        .shows(&format!("event_seq {event_seq} or later: it shows that event"), |top| {
            top.event_seq >= event_seq
        })?
        .has("phase", |top| top.phase(), TradingPhase::Continuous)?
        .has("indicative: only in an auction", |top| top.indicative, None)?;
    Ok(())
}

/// Catches a first message that is empty, late or one event old, and totals of one order only.
async fn first(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, viewer) = (context.trader().await?, context.viewer().await?);
    for (price_e4, quantity) in [(1_000, 3), (1_001, 4), (1_001, 5), (999, 6)] {
        alice.rest(buy(&acme, price_e4, quantity)).await?;
    }
    for (price_e4, quantity) in [(1_010, 3), (1_005, 7)] {
        alice.rest(sell(&acme, price_e4, quantity)).await?;
    }
    let last = alice.rest(sell(&acme, 1_005, 1)).await?;
    alice.book_at(&acme, last.event_seq).await?;
    let mut tops = Tops::open(&viewer, &acme).await?;
    // The view of this stream may lag behind others.
    while tops.last.event_seq < last.event_seq && tops.last.book_seq < 7 {
        tops.change("the book as it is").await?;
    }
    tops.stream.at().same("bid", tops.last.bid, level(1_001, 9, 2))?;
    tops.stream.at().same("ask", tops.last.ask, level(1_005, 8, 2))?;
    tops.stream
        .at()
        .same("phase", tops.last.phase(), TradingPhase::Continuous)?;
    tops.stream.at().same("book_seq", tops.last.book_seq, 7)
}

/// Catches price 0 for nothing, and a book that begins at 1.
async fn empty(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, viewer) = (context.trader().await?, context.viewer().await?);
    let mut tops = Tops::open(&viewer, &acme).await?;
    let at = tops.stream.at().clone();
    at.same("bid", tops.last.bid, None)?;
    at.same("ask", tops.last.ask, None)?;
    at.same("book_seq", tops.last.book_seq, 0)?;
    // An order at price 0 is no empty side.
    let order = alice.rest(sell(&acme, 0, 5)).await?;
    tops.shows(1, order.event_seq, None, level(0, 5, 1)).await?;
    let cancelled = alice.cancel_id(order.order_id).await?;
    tops.shows(2, cancelled.event_seq, None, None).await
}

/// Catches a top that is told only when its price changes, totals that are not kept, and sides mixed up.
async fn changes(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob, viewer) = (
        context.trader().await?,
        context.trader().await?,
        context.viewer().await?,
    );
    let mut tops = Tops::open(&viewer, &acme).await?;
    let order = alice.rest(buy(&acme, 1_000, 5)).await?;
    tops.shows(1, order.event_seq, level(1_000, 5, 1), None).await?;
    let second = alice.rest(buy(&acme, 1_000, 3)).await?;
    tops.shows(2, second.event_seq, level(1_000, 8, 2), None).await?;
    let ask = alice.rest(sell(&acme, 1_010, 4)).await?;
    tops.shows(3, ask.event_seq, level(1_000, 8, 2), level(1_010, 4, 1))
        .await?;
    // Behind the best: nothing that this view shows changes.
    alice.rest(buy(&acme, 990, 9)).await?;
    alice.rest(sell(&acme, 1_020, 9)).await?;
    let better = alice.rest(buy(&acme, 1_001, 1)).await?;
    tops.shows(6, better.event_seq, level(1_001, 1, 1), level(1_010, 4, 1))
        .await?;
    let trade = bob.insert(buy(&acme, 1_010, 3)).await?;
    tops.shows(7, trade.event_seq, level(1_001, 1, 1), level(1_010, 1, 1))
        .await?;
    // Takes the ask and rests: both sides change in one event.
    let trade = bob.insert(buy(&acme, 1_012, 5)).await?;
    tops.shows(8, trade.event_seq, level(1_012, 4, 1), level(1_020, 9, 1))
        .await
}

/// Catches a stale top after a cancel or a fill, and levels left at quantity 0.
async fn next_level(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob, viewer) = (
        context.trader().await?,
        context.trader().await?,
        context.viewer().await?,
    );
    let mut ids = Vec::new();
    for step in 0..3 {
        ids.push(alice.rest(sell(&acme, 1_000 + step, 2)).await?);
    }
    let last = ids[2].event_seq;
    alice.book_at(&acme, last).await?;
    let mut tops = Tops::open(&viewer, &acme).await?;
    while tops.last.ask != level(1_000, 2, 1) {
        tops.change("the book as it is").await?;
    }
    let cancelled = alice.cancel_id(ids[0].order_id).await?;
    tops.shows(4, cancelled.event_seq, None, level(1_001, 2, 1)).await?;
    let trade = bob.insert(buy(&acme, 1_001, 2)).await?;
    tops.shows(5, trade.event_seq, None, level(1_002, 2, 1)).await?;
    let trade = bob.insert(buy(&acme, 1_002, 2)).await?;
    tops.shows(6, trade.event_seq, None, None).await
}

/// Catches one book_seq for all books, and books that are mixed up.
async fn two_symbols(context: Context) -> Verdict {
    let (acme, duff) = (context.instrument().await?.symbol, context.instrument().await?.symbol);
    let (alice, viewer) = (context.trader().await?, context.viewer().await?);
    let mut stream = follow(&viewer, &[&acme, &duff], Delivery::Lossless);
    let fine = ErrorReason::Unspecified;
    subscribed(&mut stream, &[(&acme, fine), (&duff, fine)]).await?;
    let mut begun = Vec::new();
    while begun.len() < 2 {
        let symbol = stream
            .until("best bid and ask of both books at once", |message| {
                Ok(match &message.event {
                    Some(Event::TopOfBook(top)) => Some(top.symbol.clone()),
                    _ => None,
                })
            })
            .await?;
        begun.push(symbol);
    }
    begun.sort_unstable();
    let mut both = vec![acme.clone(), duff.clone()];
    both.sort_unstable();
    stream.at().same("symbols of the first messages", begun, both)?;
    for round in 1..=3 {
        let lots = round as i64;
        let order = alice.rest(buy(&acme, 1_000 + lots, 1)).await?;
        let top = next_top(&mut stream, &acme, "the change").await?;
        is(&top, round, order.event_seq, level(1_000 + lots, 1, 1), None)?;
        let order = alice.rest(sell(&duff, 1_000 - lots, 2)).await?;
        let top = next_top(&mut stream, &duff, "the change").await?;
        is(&top, round, order.event_seq, None, level(1_000 - lots, 2, 1))?;
    }
    Ok(())
}

/// Catches subscriptions that fail whole, or leave the unknown symbol out of the answer.
async fn unknown_symbol(context: Context) -> Verdict {
    let (acme, nobody, duff) = (
        context.instrument().await?.symbol,
        context.unique(),
        context.instrument().await?.symbol,
    );
    let (alice, viewer) = (context.trader().await?, context.viewer().await?);
    let mut stream = follow(&viewer, &[&acme, &nobody, &duff], Delivery::Lossless);
    let fine = ErrorReason::Unspecified;
    subscribed(
        &mut stream,
        &[(&acme, fine), (&nobody, ErrorReason::UnknownInstrument), (&duff, fine)],
    )
    .await?;
    alice.rest(buy(&duff, 1_000, 5)).await?;
    stream
        .until("the best bid of a symbol that is known", |message| {
            Ok(match &message.event {
                Some(Event::TopOfBook(top)) if top.symbol == duff && top.bid.is_some() => Some(()),
                _ => None,
            })
        })
        .await
}

/// Catches subscriptions of the instruments that there are.
async fn new_instrument(context: Context) -> Verdict {
    let viewer = context.viewer().await?;
    let before = context.instrument().await?.symbol;
    let mut stream = follow(&viewer, &[], Delivery::Lossless);
    let first = stream.expecting("the answer to the subscription").await?;
    first.shows("subscribed, the first message of every subscription", |message| {
        matches!(message.event, Some(Event::Subscribed(_)))
    })?;
    next_top(&mut stream, &before, "best bid and ask of an instrument that exists").await?;
    let alice = context.trader().await?;
    let acme = context.instrument().await?.symbol;
    let order = alice.rest(buy(&acme, 1_000, 5)).await?;
    loop {
        let top = next_top(&mut stream, &acme, "best bid and ask of an instrument that came later").await?;
        if top.book_seq > 0 {
            return is(&top, 1, order.event_seq, level(1_000, 5, 1), None);
        }
    }
}

/// Catches a default where the contract has none.
async fn no_view(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let viewer = context.viewer().await?;
    let mut stream = viewer.follow_books(SubscribeOrderBooksRequest {
        symbols: vec![acme],
        ..SubscribeOrderBooksRequest::default()
    });
    stream.refused(ErrorReason::InvalidField, &[("field", "view")]).await?;
    Ok(())
}

/// Catches silent streams without a heartbeat, and heartbeats that promise what was not sent.
async fn heartbeat(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, viewer) = (context.trader().await?, context.viewer().await?);
    let mut stream = follow(&viewer, &[&acme], Delivery::Lossless);
    for round in 1..=2 {
        let order = alice.rest(buy(&acme, 1_000 + round, 5)).await?;
        let mut newest = 0;
        stream
            .until("a heartbeat up to the event of the order", |message| {
                match &message.event {
                    Some(Event::TopOfBook(top)) => newest = top.book_seq,
                    Some(Event::Heartbeat(heartbeat)) if heartbeat.event_seq >= order.event_seq => {
                        message.at().holds(
                            newest == round as u64,
                            format!("the newest change sent before it is {newest}"),
                            format!(
                                "everything up to event {} sent before it: change {round}",
                                heartbeat.event_seq
                            ),
                        )?;
                        return Ok(Some(()));
                    }
                    _ => {}
                }
                Ok(None)
            })
            .await?;
    }
    Ok(())
}

/// Catches merging that keeps the oldest state, or loses the last change.
async fn conflated(context: Context) -> Verdict {
    let mut flow = Flow::new(&context, 2).await?;
    let viewer = context.viewer().await?;
    let symbol = flow.symbol.clone();
    let mut stream = follow(&viewer, &[&symbol], Delivery::Conflated);
    subscribed(&mut stream, &[(&symbol, ErrorReason::Unspecified)]).await?;
    flow.steps(150).await?;
    // A best bid that never was.
    let asks = flow.book.queue(Side::Sell);
    let price_e4 = asks.first().map_or(1_000, |ask| ask.price_e4) - 1;
    let owner = asks.first().map_or(0, |ask| ask.owner);
    let reached = flow.book.best(Side::Buy).is_some_and(|bid| bid.price_e4 > price_e4);
    stream.at().same("the reference book is crossed", reached, false)?;
    flow.insert(owner, Side::Buy, price_e4, 777_777).await?;
    let (bid, ask) = (flow.book.best(Side::Buy), flow.book.best(Side::Sell));
    let mut book_seq = 0;
    loop {
        let top = next_top(&mut stream, &symbol, "the newest state").await?;
        top.shows(&format!("book_seq not below the one before, {book_seq}"), |top| {
            top.book_seq >= book_seq
        })?;
        book_seq = top.book_seq;
        let state = flow.states.get(book_seq as usize);
        let known = state.map(|state| (state.bids.first().copied(), state.asks.first().copied()));
        top.has("bid and ask", |top| Some((top.bid, top.ask)), known)?;
        if top.book_seq == flow.book_seq() {
            return top.has("bid and ask", |top| (top.bid, top.ask), (bid, ask)).map(|_| ());
        }
    }
}

/// Catches a stale top, a change that is skipped, and changes out of order.
async fn random_flow(context: Context) -> Verdict {
    let mut flow = Flow::new(&context, 3).await?;
    let viewer = context.viewer().await?;
    let mut tops = Tops::open(&viewer, &flow.symbol).await?;
    for _ in 0..6 {
        let from = flow.states.len();
        flow.steps(50).await?;
        for book_seq in from..flow.states.len() {
            let tops_of = |seq: usize| {
                let state = &flow.states[seq];
                (state.bids.first().copied(), state.asks.first().copied())
            };
            let (bid, ask) = tops_of(book_seq);
            if (bid, ask) != tops_of(book_seq - 1) {
                tops.shows(book_seq as u64, flow.states[book_seq].event_seq, bid, ask)
                    .await?;
            }
        }
    }
    Ok(())
}
