//! `ExecutionService`: orders of the calling user.

mod list;
mod order_entry;
mod outbox;
mod past;
mod reports;
mod streams;
mod trading;

use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use optivex_journal::history::History;
use optivex_proto::v1::execution_service_server::ExecutionService;
use optivex_proto::v1::order_entry_request::Command as Order;
use optivex_proto::v1::order_entry_response::Result as Outcome;
use optivex_proto::v1::{self, ErrorReason, Role};
use tonic::{Request, Response, Status, Streaming};

use crate::auth::{Auth, Session};
use crate::error::Error;
use crate::sequencer::Exchange;
use streams::Streams;
use trading::{SymbolCache, Trading};

/// Takes orders, and tells what became of them.
#[derive(Clone)]
pub struct ExecutionApi {
    auth: Auth,
    trading: Arc<Trading>,
    streams: Streams,
}

impl ExecutionApi {
    /// The service over an exchange and its history.
    pub fn new(exchange: Exchange, auth: Auth, history: History) -> Self {
        Self {
            auth,
            trading: Arc::new(Trading::new(exchange, history)),
            streams: Streams::default(),
        }
    }

    fn trader<T>(&self, request: &Request<T>) -> Result<Session, Error> {
        self.auth.authorize(request.metadata(), Some(Role::Trader))
    }

    /// One command of a unary call.
    #[tracing::instrument(level = "debug", skip_all, fields(user = %session.username))]
    async fn execute(&self, session: &Session, command: Order) -> Result<Outcome, Error> {
        let (command, kind) = self
            .trading
            .prepare(session.user, command, &mut SymbolCache::default(), |command| command)?;
        let answer = self.trading.exchange.submit(command).await;
        self.trading.conclude(session.user, kind, answer.into()).await
    }
}

fn mismatch() -> Status {
    Status::internal("the answer does not fit the command")
}

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl ExecutionService for ExecutionApi {
    type SubscribeExecutionReportsStream = Responses<v1::SubscribeExecutionReportsResponse>;
    type OrderEntryStream = Responses<v1::OrderEntryResponse>;

    async fn insert_order(
        &self,
        request: Request<v1::InsertOrderRequest>,
    ) -> Result<Response<v1::InsertOrderResponse>, Status> {
        let session = self.trader(&request)?;
        match self.execute(&session, Order::Insert(request.into_inner())).await? {
            Outcome::Insert(response) => Ok(Response::new(response)),
            _ => Err(mismatch()),
        }
    }

    async fn amend_order(
        &self,
        request: Request<v1::AmendOrderRequest>,
    ) -> Result<Response<v1::AmendOrderResponse>, Status> {
        let session = self.trader(&request)?;
        match self.execute(&session, Order::Amend(request.into_inner())).await? {
            Outcome::Amend(response) => Ok(Response::new(response)),
            _ => Err(mismatch()),
        }
    }

    async fn cancel_order(
        &self,
        request: Request<v1::CancelOrderRequest>,
    ) -> Result<Response<v1::CancelOrderResponse>, Status> {
        let session = self.trader(&request)?;
        match self.execute(&session, Order::Cancel(request.into_inner())).await? {
            Outcome::Cancel(response) => Ok(Response::new(response)),
            _ => Err(mismatch()),
        }
    }

    async fn cancel_all_orders(
        &self,
        request: Request<v1::CancelAllOrdersRequest>,
    ) -> Result<Response<v1::CancelAllOrdersResponse>, Status> {
        let session = self.trader(&request)?;
        match self.execute(&session, Order::CancelAll(request.into_inner())).await? {
            Outcome::CancelAll(response) => Ok(Response::new(response)),
            _ => Err(mismatch()),
        }
    }

    #[tracing::instrument(level = "debug", skip_all)]
    async fn list_orders(
        &self,
        request: Request<v1::ListOrdersRequest>,
    ) -> Result<Response<v1::ListOrdersResponse>, Status> {
        let session = self.trader(&request)?;
        let response = list::orders(&self.trading, session.user, request.get_ref()).await?;
        Ok(Response::new(response))
    }

    #[tracing::instrument(level = "debug", skip_all)]
    async fn list_positions(
        &self,
        request: Request<v1::ListPositionsRequest>,
    ) -> Result<Response<v1::ListPositionsResponse>, Status> {
        let session = self.trader(&request)?;
        let response = list::positions(&self.trading, session.user).await?;
        Ok(Response::new(response))
    }

    #[tracing::instrument(level = "debug", skip_all)]
    async fn subscribe_execution_reports(
        &self,
        request: Request<v1::SubscribeExecutionReportsRequest>,
    ) -> Result<Response<Self::SubscribeExecutionReportsStream>, Status> {
        let session = self.trader(&request)?;
        let place = self.streams.open(session.user)?;
        let stream = reports::subscribe(self.trading.clone(), session, request.into_inner(), place).await?;
        Ok(Response::new(Box::pin(stream)))
    }

    #[tracing::instrument(level = "debug", skip_all)]
    async fn order_entry(
        &self,
        request: Request<Streaming<v1::OrderEntryRequest>>,
    ) -> Result<Response<Self::OrderEntryStream>, Status> {
        let session = self.trader(&request)?;
        let place = self.streams.open(session.user)?;
        let stream = order_entry::serve(self.trading.clone(), session, request.into_inner(), place);
        Ok(Response::new(Box::pin(stream)))
    }
}

/// What a stream ends with when its session is over.
fn session_ended() -> Error {
    Error::new(ErrorReason::InvalidToken, "the session has ended")
}

/// What a stream ends with when the exchange is on its way down.
fn stopping() -> Error {
    Error::not_ready("the exchange is stopping")
}
