//! The baseline of the order path: a service on the same tonic that answers the same messages and does
//! nothing else.

use std::io::Write;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{Stream, StreamExt};
use optivex_proto::v1;
use optivex_proto::v1::execution_service_server::{ExecutionService, ExecutionServiceServer};
use optivex_proto::v1::order_entry_request::Command;
use optivex_proto::v1::order_entry_response::Result as Outcome;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, Streaming};

use super::Result;

/// Serves until the process is killed, if this process was started for that.
pub async fn serve_if_asked() -> Result<bool> {
    if !std::env::args().any(|arg| arg == "--serve=echo") {
        return Ok(false);
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("echo serves http://{}", listener.local_addr()?);
    std::io::stdout().flush()?;
    let incoming = TcpListenerStream::new(listener).inspect(|stream| {
        if let Ok(stream) = stream {
            let _ = stream.set_nodelay(true);
        }
    });
    tonic::transport::Server::builder()
        .add_service(ExecutionServiceServer::new(Echo::default()))
        .serve_with_incoming(incoming)
        .await?;
    Ok(true)
}

#[derive(Default)]
struct Echo {
    inserts: AtomicU64,
}

/// A time of this century.
const TIME_UNIX_NS: i64 = 1_795_000_000_000_000_000;

/// As the exchange's ids: large.
fn order_id(number: u64) -> u64 {
    (number + 1_000_000) << 24
}

/// As the exchange answers: orders that may not rest trade, the others rest.
fn inserted(request: &v1::InsertOrderRequest, number: u64, trades: bool) -> v1::InsertOrderResponse {
    let fills = trades.then_some(v1::Fill {
        trade_id: number,
        price_e4: request.price_e4,
        quantity: request.quantity,
    });
    v1::InsertOrderResponse {
        order_id: order_id(number),
        status: if trades {
            v1::OrderStatus::Filled.into()
        } else {
            v1::OrderStatus::Open.into()
        },
        filled_quantity: if trades { request.quantity } else { 0 },
        open_quantity: if trades { 0 } else { request.quantity },
        fills: fills.into_iter().collect(),
        cancel_reason: 0,
        event_seq: number + 1_000_000,
        time_unix_ns: TIME_UNIX_NS,
    }
}

fn answer(request: v1::OrderEntryRequest) -> v1::OrderEntryResponse {
    let request_id = request.request_id;
    let result = request.command.map(|command| match command {
        Command::Insert(insert) => {
            let trades = insert.time_in_force() == v1::TimeInForce::ImmediateOrCancel;
            Outcome::Insert(inserted(&insert, request_id, trades))
        }
        Command::Cancel(cancel) => Outcome::Cancel(v1::CancelOrderResponse {
            order_id: match cancel.order {
                Some(v1::cancel_order_request::Order::OrderId(id)) => id,
                _ => 0,
            },
            cancelled_quantity: 10,
            event_seq: request_id + 1_000_000,
            time_unix_ns: TIME_UNIX_NS,
        }),
        Command::Amend(_) | Command::CancelAll(_) => Outcome::Error(v1::CommandError::default()),
    });
    v1::OrderEntryResponse { request_id, result }
}

type Responses<T> = Pin<Box<dyn Stream<Item = std::result::Result<T, Status>> + Send>>;
type Answer<T> = std::result::Result<Response<T>, Status>;

#[tonic::async_trait]
impl ExecutionService for Echo {
    type SubscribeExecutionReportsStream = Responses<v1::SubscribeExecutionReportsResponse>;
    type OrderEntryStream = Responses<v1::OrderEntryResponse>;

    async fn insert_order(&self, request: Request<v1::InsertOrderRequest>) -> Answer<v1::InsertOrderResponse> {
        let number = self.inserts.fetch_add(1, Ordering::Relaxed);
        Ok(Response::new(inserted(request.get_ref(), number, number % 2 == 1)))
    }

    async fn order_entry(&self, request: Request<Streaming<v1::OrderEntryRequest>>) -> Answer<Self::OrderEntryStream> {
        let answers = request.into_inner().map(|request| request.map(answer));
        Ok(Response::new(Box::pin(answers)))
    }

    async fn amend_order(&self, _: Request<v1::AmendOrderRequest>) -> Answer<v1::AmendOrderResponse> {
        Err(Status::unimplemented("an echo"))
    }

    async fn cancel_order(&self, _: Request<v1::CancelOrderRequest>) -> Answer<v1::CancelOrderResponse> {
        Err(Status::unimplemented("an echo"))
    }

    async fn cancel_all_orders(&self, _: Request<v1::CancelAllOrdersRequest>) -> Answer<v1::CancelAllOrdersResponse> {
        Err(Status::unimplemented("an echo"))
    }

    async fn list_orders(&self, _: Request<v1::ListOrdersRequest>) -> Answer<v1::ListOrdersResponse> {
        Err(Status::unimplemented("an echo"))
    }

    async fn list_positions(&self, _: Request<v1::ListPositionsRequest>) -> Answer<v1::ListPositionsResponse> {
        Err(Status::unimplemented("an echo"))
    }

    async fn subscribe_execution_reports(
        &self,
        _: Request<v1::SubscribeExecutionReportsRequest>,
    ) -> Answer<Self::SubscribeExecutionReportsStream> {
        Err(Status::unimplemented("an echo"))
    }
}
