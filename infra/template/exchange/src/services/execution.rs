//! `ExecutionService`: the calling user's orders. Wants `ROLE_TRADER`.
//!
//! Everything that happens to an order reaches its user three ways: as the answer, as a report on a subscription, and as
//! market data. They travel on streams of their own and may overtake one another; what they say must agree.
//!
//! `OrderEntry` is the same commands on one stream: write what decides about a command once, below this file, and both
//! ways in are a few lines.

use optivex_proto::v1::execution_service_server::ExecutionService;
use optivex_proto::v1::{
    AmendOrderRequest, AmendOrderResponse, CancelAllOrdersRequest, CancelAllOrdersResponse, CancelOrderRequest,
    CancelOrderResponse, InsertOrderRequest, InsertOrderResponse, ListOrdersRequest, ListOrdersResponse,
    ListPositionsRequest, ListPositionsResponse, OrderEntryRequest, OrderEntryResponse,
    SubscribeExecutionReportsRequest, SubscribeExecutionReportsResponse,
};
use tonic::{Request, Response, Status, Streaming};

use super::{Answers, Gateway, not_yet};

#[tonic::async_trait]
impl ExecutionService for Gateway {
    async fn insert_order(&self, _: Request<InsertOrderRequest>) -> Result<Response<InsertOrderResponse>, Status> {
        Err(not_yet("ExecutionService.InsertOrder"))
    }

    async fn amend_order(&self, _: Request<AmendOrderRequest>) -> Result<Response<AmendOrderResponse>, Status> {
        Err(not_yet("ExecutionService.AmendOrder"))
    }

    async fn cancel_order(&self, _: Request<CancelOrderRequest>) -> Result<Response<CancelOrderResponse>, Status> {
        Err(not_yet("ExecutionService.CancelOrder"))
    }

    async fn cancel_all_orders(
        &self,
        _: Request<CancelAllOrdersRequest>,
    ) -> Result<Response<CancelAllOrdersResponse>, Status> {
        Err(not_yet("ExecutionService.CancelAllOrders"))
    }

    async fn list_orders(&self, _: Request<ListOrdersRequest>) -> Result<Response<ListOrdersResponse>, Status> {
        Err(not_yet("ExecutionService.ListOrders"))
    }

    async fn list_positions(
        &self,
        _: Request<ListPositionsRequest>,
    ) -> Result<Response<ListPositionsResponse>, Status> {
        Err(not_yet("ExecutionService.ListPositions"))
    }

    type SubscribeExecutionReportsStream = Answers<SubscribeExecutionReportsResponse>;

    async fn subscribe_execution_reports(
        &self,
        _: Request<SubscribeExecutionReportsRequest>,
    ) -> Result<Response<Self::SubscribeExecutionReportsStream>, Status> {
        Err(not_yet("ExecutionService.SubscribeExecutionReports"))
    }

    type OrderEntryStream = Answers<OrderEntryResponse>;

    async fn order_entry(
        &self,
        _: Request<Streaming<OrderEntryRequest>>,
    ) -> Result<Response<Self::OrderEntryStream>, Status> {
        Err(not_yet("ExecutionService.OrderEntry"))
    }
}
