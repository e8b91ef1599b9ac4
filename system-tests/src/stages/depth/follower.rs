//! A subscriber of one book that keeps a mirror, and remembers it at every `book_seq`.

use std::collections::BTreeMap;

use optivex_proto::v1::subscribe_order_books_response::Event;
use optivex_proto::v1::{
    BookUpdate, BookView, Delivery, ErrorReason, PriceLevel, SubscribeOrderBooksRequest, SubscribeOrderBooksResponse,
    Subscribed, Trade,
};

use crate::client::{At, Reply, Session, Stream};
use crate::market::{Applied, Mirror};
use crate::model::book_flow::{Printed, State};
use crate::verdict::Verdict;

/// A request for the whole depth of these books, lossless.
pub(super) fn request(symbols: &[&str]) -> SubscribeOrderBooksRequest {
    SubscribeOrderBooksRequest {
        symbols: symbols.iter().map(|symbol| (*symbol).to_owned()).collect(),
        view: BookView::PriceDepth.into(),
        delivery: Delivery::Lossless.into(),
        ..SubscribeOrderBooksRequest::default()
    }
}

/// The first message of a subscription.
pub(super) async fn subscribed(stream: &mut Stream<SubscribeOrderBooksResponse>) -> Verdict<Reply<Subscribed>> {
    let message = stream.expecting("the answer to the subscription").await?;
    let at = message.at().clone();
    match message.into_inner().event {
        Some(Event::Subscribed(subscribed)) => Ok(Reply::new(subscribed, at)),
        _ => Err(at.fail(
            "another message comes first",
            "subscribed, the first message of every subscription",
        )),
    }
}

/// Symbol and reason of each status.
pub(super) fn statuses(subscribed: &Subscribed) -> Vec<(String, ErrorReason)> {
    subscribed
        .statuses
        .iter()
        .map(|status| (status.symbol.clone(), status.reason()))
        .collect()
}

/// A subscriber of one book.
pub(super) struct Follower {
    pub(super) stream: Stream<SubscribeOrderBooksResponse>,
    pub(super) mirror: Mirror,
    /// What was held at each `book_seq` that was reached.
    pub(super) held: BTreeMap<u64, Mirror>,
    /// Trades that came, oldest first.
    pub(super) trades: Vec<Trade>,
    /// Whether a gap was told: then trades may be missing.
    pub(super) gaps: usize,
    symbol: String,
    sent_since_heartbeat: bool,
}

impl Follower {
    /// Subscribes one book, and reads its first snapshot.
    pub(super) async fn open(session: &Session, request: SubscribeOrderBooksRequest) -> Verdict<Self> {
        let symbol = request.symbols.first().cloned().unwrap_or_default();
        let mut stream = session.follow_books(request);
        let answer = subscribed(&mut stream).await?;
        answer.has(
            "symbol and reason of the statuses",
            statuses,
            vec![(symbol.clone(), ErrorReason::Unspecified)],
        )?;
        let mut follower = Self::on(stream, &symbol, Mirror::new(&symbol));
        while !follower.mirror.known() {
            follower.read("a snapshot of the book").await?;
        }
        Ok(follower)
    }

    /// Goes on with a stream whose answer was read.
    pub(super) fn on(stream: Stream<SubscribeOrderBooksResponse>, symbol: &str, mirror: Mirror) -> Self {
        let mut held = BTreeMap::new();
        if mirror.known() {
            held.insert(mirror.book_seq(), mirror.clone());
        }
        Self {
            stream,
            mirror,
            held,
            trades: Vec::new(),
            gaps: 0,
            symbol: symbol.to_owned(),
            sent_since_heartbeat: false,
        }
    }

    /// The step of the subscription.
    pub(super) fn at(&self) -> &At {
        self.stream.at()
    }

    /// Reads one message; what it did to the mirror.
    pub(super) async fn read(&mut self, what: &str) -> Verdict<(Applied, Reply<SubscribeOrderBooksResponse>)> {
        let message = self.stream.expecting(what).await?;
        match &message.event {
            Some(Event::TopOfBook(_)) => return Err(message.fail("top_of_book", "only messages of PRICE_DEPTH")),
            Some(Event::Subscribed(_)) => {
                return Err(message.fail("subscribed comes again", "it once, as the first message"));
            }
            Some(Event::Heartbeat(heartbeat)) if self.sent_since_heartbeat => {
                let listed = heartbeat.books.iter().any(|state| state.symbol == self.symbol);
                message.at().holds(
                    listed,
                    format!("a heartbeat without {}", self.symbol),
                    "the books of which something was sent since the last heartbeat",
                )?;
            }
            _ => {}
        }
        let applied = self.mirror.apply(&message)?;
        match &applied {
            Applied::Snapshot => {
                self.sent_since_heartbeat = true;
                self.held.insert(self.mirror.book_seq(), self.mirror.clone());
            }
            Applied::Update(trades) => {
                self.sent_since_heartbeat = true;
                self.trades.extend(trades.iter().cloned());
                self.held.insert(self.mirror.book_seq(), self.mirror.clone());
            }
            Applied::Heartbeat(_) => self.sent_since_heartbeat = false,
            Applied::Gap => self.gaps += 1,
            Applied::Nothing => {}
        }
        Ok((applied, message))
    }

    /// The next update.
    pub(super) async fn update(&mut self, what: &str) -> Verdict<Reply<BookUpdate>> {
        let deadline = tokio::time::Instant::now() + self.stream_patience();
        loop {
            let (_, message) = self.read(what).await?;
            match &message.event {
                Some(Event::Update(update)) if update.symbol == self.symbol => {
                    return Ok(Reply::new(update.clone(), message.at().clone()));
                }
                Some(Event::Snapshot(snapshot)) if snapshot.symbol == self.symbol => {
                    return Err(message.fail("a further snapshot without a gap", what));
                }
                Some(Event::Gap(_)) => return Err(message.fail("a gap", what)),
                _ if tokio::time::Instant::now() > deadline => {
                    return Err(message.fail("it did not come", what));
                }
                _ => {}
            }
        }
    }

    /// Reads until the mirror holds this `book_seq` or a later one.
    pub(super) async fn reach(&mut self, book_seq: u64) -> Verdict {
        let deadline = tokio::time::Instant::now() + self.stream_patience();
        let what = format!("the book up to book_seq {book_seq}");
        while self.mirror.book_seq() < book_seq {
            let before = self.mirror.book_seq();
            let (_, message) = self.read(&what).await?;
            if before == self.mirror.book_seq() && tokio::time::Instant::now() > deadline {
                return Err(message.fail(format!("the stream stays at book_seq {before}"), what));
            }
        }
        Ok(())
    }

    /// Reads until a heartbeat says that everything up to this event was sent.
    pub(super) async fn heartbeat(&mut self, event_seq: u64) -> Verdict {
        let deadline = tokio::time::Instant::now() + self.stream_patience();
        let what = format!("a heartbeat with event_seq {event_seq} or later");
        loop {
            let (applied, message) = self.read(&what).await?;
            match applied {
                Applied::Heartbeat(up_to) if up_to >= event_seq => return Ok(()),
                _ if tokio::time::Instant::now() > deadline => return Err(message.fail("it did not come", what)),
                _ => {}
            }
        }
    }

    /// Generous: twice the patience, since heartbeats alone are no progress.
    fn stream_patience(&self) -> std::time::Duration {
        self.stream.patience() * 2
    }

    /// What was held at a `book_seq` is this state, cut to `depth` levels a side (0: all).
    pub(super) fn held_is(&self, book_seq: u64, state: &State, depth: usize) -> Verdict {
        let Some(held) = self.held.get(&book_seq) else {
            return Err(self.at().fail(
                format!("no update brought the book to book_seq {book_seq}"),
                format!("every change, also that of event {}", state.event_seq),
            ));
        };
        let cut = |levels: &[PriceLevel]| -> Vec<PriceLevel> {
            let most = if depth == 0 { usize::MAX } else { depth };
            levels.iter().take(most).copied().collect()
        };
        self.at()
            .same(&format!("bids at book_seq {book_seq}"), held.bids(), cut(&state.bids))?;
        self.at()
            .same(&format!("asks at book_seq {book_seq}"), held.asks(), cut(&state.asks))
    }
}

/// What everybody sees of trades.
pub(super) fn printed(trades: &[Trade]) -> Vec<Printed> {
    trades
        .iter()
        .map(|trade| Printed {
            trade_id: trade.trade_id,
            price_e4: trade.price_e4,
            quantity: trade.quantity,
            aggressor_side: trade.aggressor_side(),
            event_seq: trade.event_seq,
        })
        .collect()
}
