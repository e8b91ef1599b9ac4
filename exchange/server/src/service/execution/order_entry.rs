//! `OrderEntry`: many commands in flight on one stream, answered in the order sent.
//!
//! Whatever the client has sent by the time that it is looked at goes to the sequencer as one batch, and its
//! answers come back as one: what a command costs on the way is shared.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::Stream;
use optivex_engine::Event;
use optivex_engine::types::UserId;
use optivex_proto::v1;
use optivex_proto::v1::order_entry_response::Result as Outcome;
use tokio::task::AbortHandle;
use tonic::{Status, Streaming};

use super::outbox::{Outbox, Ticket};
use super::streams::OpenStream;
use super::trading::{Kind, SymbolCache, Told, Trading};
use super::{session_ended, stopping};
use crate::auth::Session;
use crate::error::Error;
use crate::sequencer::{Answer, BATCH_MAX, Hear, State};

/// What is known of one request, in the order of the requests.
pub(super) struct Entry {
    request_id: u64,
    what: What,
}

/// As small as what nearly all of them become: entries go from thread to thread and back.
enum What {
    /// A command that will be decided.
    Waiting(Kind),
    /// An accepted command.
    Accepted(Outcome),
    /// A command that something else came of.
    Told(Box<(Kind, Told)>),
    /// A request whose form is wrong, or that names what there is not.
    Refused(Box<Error>),
}

/// The answers of one stream.
pub(super) struct Answers {
    trading: Arc<Trading>,
    user: UserId,
    outbox: Arc<Outbox<Entry>>,
    entries: std::vec::IntoIter<Entry>,
    /// The next answer, where history has to be asked.
    concluding: Option<Pin<Box<dyn Future<Output = v1::OrderEntryResponse> + Send>>>,
    reader: AbortHandle,
    _place: OpenStream,
}

/// Serves one stream. Dropping the answers (the connection broke) ends the reading; what was taken
/// still happens.
pub(super) fn serve(
    trading: Arc<Trading>,
    session: Session,
    requests: Streaming<v1::OrderEntryRequest>,
    place: OpenStream,
) -> Answers {
    let outbox = Arc::new(Outbox::default());
    let user = session.user;
    let (reads, to) = (Arc::clone(&trading), Arc::clone(&outbox));
    let reader = tokio::spawn(async move {
        let end = read(&reads, &session, requests, &to).await;
        to.end(end);
    });
    Answers {
        trading,
        user,
        outbox,
        entries: Vec::new().into_iter(),
        concluding: None,
        reader: reader.abort_handle(),
        _place: place,
    }
}

impl Stream for Answers {
    type Item = Result<v1::OrderEntryResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(concluding) = &mut this.concluding {
                let response = ready!(concluding.as_mut().poll(cx));
                this.concluding = None;
                return Poll::Ready(Some(Ok(response)));
            }
            let Some(Entry { request_id, what }) = this.entries.next() else {
                match ready!(this.outbox.poll_next(cx)) {
                    Ok(entries) => this.entries = entries.into_iter(),
                    Err(end) => return Poll::Ready(end.map(Err)),
                }
                continue;
            };
            let result = match what {
                What::Accepted(outcome) => Ok(outcome),
                What::Told(told) => {
                    let (kind, told) = *told;
                    let (trading, user) = (Arc::clone(&this.trading), this.user);
                    this.concluding = Some(Box::pin(async move {
                        respond(request_id, trading.conclude(user, kind, told).await)
                    }));
                    continue;
                }
                // The sequencer's threads are gone.
                What::Waiting(_) => Err(stopping()),
                What::Refused(error) => Err(*error),
            };
            return Poll::Ready(Some(Ok(respond(request_id, result))));
        }
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

fn respond(request_id: u64, result: Result<Outcome, Error>) -> v1::OrderEntryResponse {
    v1::OrderEntryResponse {
        request_id,
        result: Some(result.unwrap_or_else(|error| Outcome::Error(error.into()))),
    }
}

/// Reads commands until the client has sent its last one, the session ends or the exchange stops. What the
/// stream ends with: none where the answers on their way are to be sent, then OK.
async fn read(
    trading: &Trading,
    session: &Session,
    mut requests: Streaming<v1::OrderEntryRequest>,
    outbox: &Arc<Outbox<Entry>>,
) -> Option<Status> {
    let ended = session.ended();
    tokio::pin!(ended);
    let mut state = trading.exchange.state();
    let stopped = state.wait_for(|state| matches!(state, State::Stopping | State::Failed(_)));
    tokio::pin!(stopped);
    let mut symbols = SymbolCache::default();
    // Of the batch before: the next one is likely to be as large.
    let mut usual = 0;
    loop {
        let first = async {
            let room = outbox.room().await;
            (room, requests.message().await)
        };
        let (room, first) = tokio::select! {
            biased;
            _ = &mut ended => return Some(session_ended().into()),
            _ = &mut stopped => return Some(stopping().into()),
            first = first => first,
        };
        let mut next = first.transpose();
        let (mut commands, mut entries) = (Vec::with_capacity(usual), Vec::with_capacity(usual));
        let end = loop {
            match next {
                Some(Ok(request)) => take(trading, session, request, &mut symbols, &mut commands, &mut entries),
                Some(Err(status)) => break Some(Some(status)),
                // Half-closed.
                None => break Some(None),
            }
            if entries.len() >= room.min(BATCH_MAX) {
                break None;
            }
            // What has come already.
            let more = poll_fn(|cx| Poll::Ready(Pin::new(&mut requests).poll_next(cx))).await;
            match more {
                Poll::Ready(more) => next = more,
                Poll::Pending => break None,
            }
        };
        usual = entries.len();
        if !entries.is_empty() {
            let hearer = Hearer::new(outbox, entries);
            if commands.is_empty() {
                drop(hearer);
            } else {
                trading.exchange.submit_batch(commands, Box::new(hearer)).await;
            }
        }
        if let Some(end) = end {
            return end;
        }
    }
}

/// One more request of a batch.
fn take(
    trading: &Trading,
    session: &Session,
    request: v1::OrderEntryRequest,
    symbols: &mut SymbolCache,
    commands: &mut Vec<optivex_engine::Command>,
    entries: &mut Vec<Entry>,
) {
    let request_id = request.request_id;
    let prepared = match request.command {
        Some(command) => trading.prepare(session.user, command, symbols, |command| commands.push(command)),
        None => Err(Error::invalid_field(
            "command",
            "one of insert, amend, cancel and cancel_all",
        )),
    };
    let what = match prepared {
        Ok(((), kind)) => {
            tracing::debug!(user = %session.username, request_id, ?kind, "order entry");
            What::Waiting(kind)
        }
        Err(error) => What::Refused(Box::new(error)),
    };
    entries.push(Entry { request_id, what });
}

/// Hears what came of a batch, and hands it to the stream as a whole when it is dropped.
struct Hearer {
    outbox: Arc<Outbox<Entry>>,
    ticket: Ticket,
    entries: Vec<Entry>,
    /// The next entry that may be a command.
    next: usize,
}

impl Hearer {
    fn new(outbox: &Arc<Outbox<Entry>>, entries: Vec<Entry>) -> Self {
        Self {
            outbox: Arc::clone(outbox),
            ticket: outbox.ticket(entries.len()),
            entries,
            next: 0,
        }
    }

    fn hear(&mut self, told: Told) {
        while let Some(entry) = self.entries.get_mut(self.next) {
            self.next += 1;
            if let What::Waiting(kind) = entry.what {
                entry.what = match told {
                    Told::Accepted(outcome) => What::Accepted(outcome),
                    told => What::Told(Box::new((kind, told))),
                };
                return;
            }
        }
    }
}

impl Hear for Hearer {
    fn event(&mut self, event: &Event) {
        self.hear(Told::of_event(event));
    }

    fn other(&mut self, answer: Answer) {
        self.hear(Told::from(answer));
    }
}

impl Drop for Hearer {
    fn drop(&mut self) {
        self.outbox.put(self.ticket, std::mem::take(&mut self.entries));
    }
}
