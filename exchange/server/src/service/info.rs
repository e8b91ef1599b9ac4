//! `InfoService`: market data.

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;

use futures_util::{Stream, stream};
use optivex_engine::command::parse_symbol;
use optivex_engine::types::Symbol;
use optivex_journal::history::History;
use optivex_proto::v1::info_service_server::{InfoService, InfoServiceServer};
use optivex_proto::v1::{self, ErrorReason};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use super::books::{BookBody, Books};
use crate::auth::{Auth, Session};
use crate::error::Error;
use crate::feed::request::Symbols;
use crate::feed::tape::{self, TapeFilter, TapeSubscription};
use crate::feed::{Feed, InstrumentsSubscription};
use crate::sequencer::State;
use crate::wire;
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

    /// As it is served; requests of more bytes are refused.
    pub fn into_service(self, message_bytes_max: usize) -> Books<InfoServiceServer<Self>> {
        Books::new(InfoServiceServer::new(self).max_decoding_message_size(message_bytes_max))
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

pub(super) type End = Pin<Box<dyn Future<Output = Error> + Send>>;
pub(super) type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl InfoService for InfoApi {
    type SubscribeInstrumentsStream = Messages<v1::SubscribeInstrumentsResponse>;
    type SubscribeOrderBooksStream = Messages<v1::SubscribeOrderBooksResponse>;
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
        Ok(BookBody::new(subscription, self.end(session)).into_response())
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
