//! The echo: a server that acknowledges every order at once, and does nothing else. What a client
//! gets from it is what gRPC, the loopback and the client itself cost on this machine.

use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::StreamExt;
use futures_util::stream::{self, Stream};
use optivex_proto::v1::execution_service_server::{ExecutionService, ExecutionServiceServer};
use optivex_proto::v1::order_entry_request::Command;
use optivex_proto::v1::order_entry_response::Result as Outcome;
use optivex_proto::v1::{
    AmendOrderRequest, AmendOrderResponse, CancelAllOrdersRequest, CancelAllOrdersResponse, CancelOrderRequest,
    CancelOrderResponse, InsertOrderRequest, InsertOrderResponse, ListOrdersRequest, ListOrdersResponse,
    ListPositionsRequest, ListPositionsResponse, OrderEntryRequest, OrderEntryResponse, OrderStatus,
    SubscribeExecutionReportsRequest, SubscribeExecutionReportsResponse,
};
use tokio::runtime::Runtime;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

use crate::verdict::{Stop, Verdict};

/// A running echo, with threads of its own as a process has; ends when dropped.
pub(super) struct Echo {
    runtime: Option<Runtime>,
    pub(super) url: String,
}

impl Echo {
    pub(super) fn start() -> Verdict<Self> {
        Self::serve(Acknowledge::default())
    }

    /// Another server in its place.
    pub(super) fn serve(inserts: impl Inserts) -> Verdict<Self> {
        let ours = |error: std::io::Error| Stop::trouble(format!("an echo: {error}"));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .thread_name("echo")
            .build()
            .map_err(ours)?;
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(ours)?;
        listener.set_nonblocking(true).map_err(ours)?;
        let url = format!("http://{}", listener.local_addr().map_err(ours)?);
        let inside = runtime.enter();
        let listener = tokio::net::TcpListener::from_std(listener).map_err(ours)?;
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let service = ExecutionServiceServer::new(Service(inserts));
        runtime.spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
        drop(inside);
        Ok(Self {
            runtime: Some(runtime),
            url,
        })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        // A case is async: it must not wait here for threads to end.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[derive(Default)]
struct Acknowledge {
    orders: Arc<AtomicU64>,
}

pub(super) fn acknowledge(orders: &AtomicU64, order: &InsertOrderRequest) -> InsertOrderResponse {
    let number = orders.fetch_add(1, Ordering::Relaxed) + 1;
    InsertOrderResponse {
        order_id: number,
        status: OrderStatus::Open.into(),
        open_quantity: order.quantity,
        event_seq: number,
        ..InsertOrderResponse::default()
    }
}

fn answer(orders: &AtomicU64, request: &OrderEntryRequest) -> Result<OrderEntryResponse, Status> {
    match &request.command {
        Some(Command::Insert(order)) => Ok(OrderEntryResponse {
            request_id: request.request_id,
            result: Some(Outcome::Insert(acknowledge(orders, order))),
        }),
        _ => Err(only_inserts()),
    }
}

pub(super) fn only_inserts() -> Status {
    Status::unimplemented("the echo knows inserts only")
}

pub(super) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Inserts for Acknowledge {
    async fn insert(&self, order: &InsertOrderRequest) -> Result<InsertOrderResponse, Status> {
        Ok(acknowledge(&self.orders, order))
    }

    fn entry(&self, requests: Streaming<OrderEntryRequest>) -> Answers<OrderEntryResponse> {
        let orders = Arc::clone(&self.orders);
        Box::pin(requests.map(move |request| answer(&orders, &request?)))
    }
}

/// What such a server answers; the other calls of the service it refuses.
pub(super) trait Inserts: Send + Sync + 'static {
    fn insert(&self, order: &InsertOrderRequest) -> impl Future<Output = Result<InsertOrderResponse, Status>> + Send;

    fn entry(&self, requests: Streaming<OrderEntryRequest>) -> Answers<OrderEntryResponse>;
}

struct Service<T>(T);

#[tonic::async_trait]
impl<T: Inserts> ExecutionService for Service<T> {
    async fn insert_order(
        &self,
        request: Request<InsertOrderRequest>,
    ) -> Result<Response<InsertOrderResponse>, Status> {
        self.0.insert(request.get_ref()).await.map(Response::new)
    }

    type OrderEntryStream = Answers<OrderEntryResponse>;

    async fn order_entry(
        &self,
        request: Request<Streaming<OrderEntryRequest>>,
    ) -> Result<Response<Self::OrderEntryStream>, Status> {
        Ok(Response::new(self.0.entry(request.into_inner())))
    }

    async fn amend_order(&self, _: Request<AmendOrderRequest>) -> Result<Response<AmendOrderResponse>, Status> {
        Err(only_inserts())
    }

    async fn cancel_order(&self, _: Request<CancelOrderRequest>) -> Result<Response<CancelOrderResponse>, Status> {
        Err(only_inserts())
    }

    async fn cancel_all_orders(
        &self,
        _: Request<CancelAllOrdersRequest>,
    ) -> Result<Response<CancelAllOrdersResponse>, Status> {
        Err(only_inserts())
    }

    async fn list_orders(&self, _: Request<ListOrdersRequest>) -> Result<Response<ListOrdersResponse>, Status> {
        Err(only_inserts())
    }

    async fn list_positions(
        &self,
        _: Request<ListPositionsRequest>,
    ) -> Result<Response<ListPositionsResponse>, Status> {
        Err(only_inserts())
    }

    type SubscribeExecutionReportsStream = Answers<SubscribeExecutionReportsResponse>;

    async fn subscribe_execution_reports(
        &self,
        _: Request<SubscribeExecutionReportsRequest>,
    ) -> Result<Response<Self::SubscribeExecutionReportsStream>, Status> {
        Ok(Response::new(Box::pin(stream::once(async { Err(only_inserts()) }))))
    }
}
