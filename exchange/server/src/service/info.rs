//! `InfoService`: market data.

use std::collections::{HashSet, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::{Stream, stream};
use optivex_engine::command::parse_symbol;
use optivex_engine::types::Symbol;
use optivex_journal::history::History;
use optivex_proto::v1::{self, ErrorReason};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use crate::auth::{Auth, Session};
use crate::error::Error;
use crate::feed::request::Symbols;
use crate::feed::tape::{self, TapeFilter, TapeSubscription};
use crate::feed::{Feed, Frame, InstrumentsSubscription, Next, Subscription};
use crate::sequencer::State;
use crate::wire;
use generated::info_service_server::InfoService;

pub use generated::info_service_server::InfoServiceServer;

/// The service of the contract with `SubscribeOrderBooks` sending [`Frame`]s; see `build.rs`.
#[allow(missing_docs, unreachable_pub, clippy::doc_lazy_continuation)] // Generated; the proto files' comments are its docs.
mod generated {
    include!(concat!(env!("OUT_DIR"), "/optivex.v1.rs"));
}

/// Frames that a busy stream of books sends before it looks whether it has to end.
const FRAMES_AT_A_TIME: u32 = 64;
/// Bytes of a stream of books that are prepared before its client hears that it is subscribed.
const FIRST_BYTES_MAX: usize = 256 << 10;

/// Instruments, books and the tape.
#[derive(Clone)]
pub struct InfoApi {
    feed: Feed,
    history: History,
    auth: Auth,
    state: watch::Receiver<State>,
}

impl InfoApi {
    /// The service over the market data; its streams end when `state` says that the exchange does.
    pub fn new(feed: Feed, history: History, auth: Auth, state: watch::Receiver<State>) -> Self {
        Self {
            feed,
            history,
            auth,
            state,
        }
    }

    fn anybody<T>(&self, request: &Request<T>) -> Result<Session, Error> {
        self.auth.authorize(request.metadata(), None)
    }

    /// What ends a session's streams: the end of the session or of the exchange.
    fn end(&self, session: Session) -> End {
        let mut state = self.state.clone();
        Box::pin(async move {
            tokio::select! {
                biased;
                _ = session.ended() => Error::new(ErrorReason::InvalidToken, "the session has ended"),
                _ = state.wait_for(|state| matches!(state, State::Stopping | State::Failed(_))) => {
                    Error::not_ready("the exchange is stopping")
                }
            }
        })
    }

    async fn tape_filter(&self, symbols: &[String]) -> Result<TapeFilter, Error> {
        let Symbols::These(symbols) = Symbols::parse(symbols)? else {
            return Ok(TapeFilter::All);
        };
        let names: HashSet<String> = symbols.iter().map(ToString::to_string).collect();
        let (ids, _) = self.feed.instrument_ids(symbols).await?;
        match ids.first() {
            Some(id) if names.len() == 1 => Ok(TapeFilter::One(*id)),
            _ => Ok(TapeFilter::Some(names)),
        }
    }
}

type End = Pin<Box<dyn Future<Output = Error> + Send>>;
type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl InfoService for InfoApi {
    type SubscribeInstrumentsStream = Messages<v1::SubscribeInstrumentsResponse>;
    type SubscribeOrderBooksStream = BookStream;
    type SubscribeTradesStream = Messages<v1::SubscribeTradesResponse>;

    #[tracing::instrument(level = "debug", skip_all)]
    async fn list_instruments(
        &self,
        request: Request<v1::ListInstrumentsRequest>,
    ) -> Result<Response<v1::ListInstrumentsResponse>, Status> {
        self.anybody(&request)?;
        let request = request.into_inner();
        let page_size = wire::page_size(request.page_size).map_err(Error::from)?;
        let after = after_page_token(&request.page_token)?;
        let (instruments, more) = self.feed.instruments(after, page_size).await?;
        let next_page_token = match instruments.last() {
            Some(last) if more => last.symbol.clone(),
            _ => String::new(),
        };
        Ok(Response::new(v1::ListInstrumentsResponse {
            instruments,
            next_page_token,
        }))
    }

    #[tracing::instrument(level = "debug", skip_all)]
    async fn subscribe_instruments(
        &self,
        request: Request<v1::SubscribeInstrumentsRequest>,
    ) -> Result<Response<Self::SubscribeInstrumentsStream>, Status> {
        let session = self.anybody(&request)?;
        let subscription = self.feed.subscribe_instruments(session.user).await?;
        let end = self.end(session);
        Ok(Response::new(messages(subscription, end)))
    }

    #[tracing::instrument(level = "debug", skip_all)]
    async fn get_order_book(
        &self,
        request: Request<v1::GetOrderBookRequest>,
    ) -> Result<Response<v1::GetOrderBookResponse>, Status> {
        self.anybody(&request)?;
        let book = self.feed.order_book(request.get_ref()).await?;
        Ok(Response::new(v1::GetOrderBookResponse { book: Some(book) }))
    }

    #[tracing::instrument(level = "debug", skip_all)]
    async fn subscribe_order_books(
        &self,
        request: Request<v1::SubscribeOrderBooksRequest>,
    ) -> Result<Response<Self::SubscribeOrderBooksStream>, Status> {
        let session = self.anybody(&request)?;
        let subscription = self.feed.subscribe_books(session.user, request.get_ref()).await?;
        Ok(Response::new(BookStream::new(subscription, self.end(session))))
    }

    #[tracing::instrument(level = "debug", skip_all)]
    async fn list_trades(
        &self,
        request: Request<v1::ListTradesRequest>,
    ) -> Result<Response<v1::ListTradesResponse>, Status> {
        self.anybody(&request)?;
        let request = request.into_inner();
        let symbol = wire::optional_symbol(&request.symbol).map_err(Error::from)?;
        let page_size = wire::page_size(request.page_size).map_err(Error::from)?;
        let (ids, event_seq) = self.feed.instrument_ids(symbol.into_iter().collect()).await?;
        let mut trades = tape::past_trades(
            &self.history,
            ids.first().copied(),
            request.after_trade_id,
            page_size + 1,
            event_seq,
        )
        .await?;
        let has_more = trades.len() > page_size;
        trades.truncate(page_size);
        Ok(Response::new(v1::ListTradesResponse { trades, has_more }))
    }

    #[tracing::instrument(level = "debug", skip_all)]
    async fn subscribe_trades(
        &self,
        request: Request<v1::SubscribeTradesRequest>,
    ) -> Result<Response<Self::SubscribeTradesStream>, Status> {
        let session = self.anybody(&request)?;
        let request = request.into_inner();
        let filter = self.tape_filter(&request.symbols).await?;
        let place = self.feed.take_place(session.user, "trades")?;
        let last_trade_id = self.feed.last_trade_id().await?;
        let history = self.history.clone();
        let subscription = TapeSubscription::new(history, filter, request.after_trade_id, last_trade_id, place)?;
        let end = self.end(session);
        Ok(Response::new(messages(subscription, end)))
    }
}

/// A subscription that tells its messages one by one.
trait Follow: Send + 'static {
    type Message: Send + 'static;
    fn next(&mut self) -> impl Future<Output = Result<Self::Message, Error>> + Send;
}

impl Follow for InstrumentsSubscription {
    type Message = v1::SubscribeInstrumentsResponse;
    fn next(&mut self) -> impl Future<Output = Result<Self::Message, Error>> + Send {
        InstrumentsSubscription::next(self)
    }
}

impl Follow for TapeSubscription {
    type Message = v1::SubscribeTradesResponse;
    fn next(&mut self) -> impl Future<Output = Result<Self::Message, Error>> + Send {
        TapeSubscription::next(self)
    }
}

/// The messages of a subscription up to its end.
fn messages<F: Follow>(subscription: F, end: End) -> Messages<F::Message> {
    let messages = stream::unfold(Some((subscription, end)), |open| async move {
        let (mut subscription, mut end) = open?;
        let message = tokio::select! {
            biased;
            error = &mut end => Err(error),
            message = subscription.next() => message,
        };
        match message {
            Ok(message) => Some((Ok(message), Some((subscription, end)))),
            Err(error) => Some((Err(error.into()), None)),
        }
    });
    Box::pin(messages)
}

/// The last symbol of the previous page; none for the first page.
fn after_page_token(token: &str) -> Result<Option<Symbol>, Error> {
    if token.is_empty() {
        return Ok(None);
    }
    parse_symbol("page_token", token)
        .map(Some)
        .map_err(|_| Error::invalid_field("page_token", "not a token of a previous answer"))
}

/// A stream of books, which is pulled: beside the first messages, nothing is prepared before the
/// connection has room for it.
pub struct BookStream {
    first: VecDeque<Frame>,
    open: Option<(Subscription, End)>,
    frames: u32,
}

impl BookStream {
    /// Takes the snapshots now, as far as [`FIRST_BYTES_MAX`] goes: what happens once the client knows
    /// that it is subscribed comes as an update.
    fn new(mut subscription: Subscription, end: End) -> Self {
        let (mut first, mut bytes) = (VecDeque::new(), 0);
        while bytes < FIRST_BYTES_MAX
            && let Next::Frame(frame) = subscription.read()
        {
            bytes += frame.len();
            first.push_back(frame);
        }
        Self {
            first,
            open: Some((subscription, end)),
            frames: 0,
        }
    }
}

impl Stream for BookStream {
    type Item = Result<Frame, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let Some((subscription, end)) = &mut this.open else {
            return Poll::Ready(None);
        };
        if let Some(frame) = this.first.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        this.frames += 1;
        if this.frames >= FRAMES_AT_A_TIME {
            this.frames = 0;
            if let Poll::Ready(error) = end.as_mut().poll(cx) {
                this.open = None;
                return Poll::Ready(Some(Err(error.into())));
            }
        }
        let error = match subscription.poll_read(cx.waker()) {
            Next::Frame(frame) => return Poll::Ready(Some(Ok(frame))),
            Next::Ended(error) => error,
            Next::Idle => match end.as_mut().poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(error) => error,
            },
        };
        this.open = None;
        Poll::Ready(Some(Err(error.into())))
    }
}
