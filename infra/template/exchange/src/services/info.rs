//! `InfoService`: market data. Wants any role.
//!
//! A subscription is a snapshot and then every change. Read the rule for `PRICE_DEPTH` in `info.proto` before you write the
//! first of them: whatever takes the snapshot has to know from which change on to follow.

use optivex_proto::v1::info_service_server::InfoService;
use optivex_proto::v1::{
    GetOrderBookRequest, GetOrderBookResponse, ListInstrumentsRequest, ListInstrumentsResponse, ListTradesRequest,
    ListTradesResponse, SubscribeInstrumentsRequest, SubscribeInstrumentsResponse, SubscribeOrderBooksRequest,
    SubscribeOrderBooksResponse, SubscribeTradesRequest, SubscribeTradesResponse,
};
use tonic::{Request, Response, Status};

use super::{Answers, Gateway, not_yet};

#[tonic::async_trait]
impl InfoService for Gateway {
    async fn list_instruments(
        &self,
        _: Request<ListInstrumentsRequest>,
    ) -> Result<Response<ListInstrumentsResponse>, Status> {
        Err(not_yet("InfoService.ListInstruments"))
    }

    type SubscribeInstrumentsStream = Answers<SubscribeInstrumentsResponse>;

    async fn subscribe_instruments(
        &self,
        _: Request<SubscribeInstrumentsRequest>,
    ) -> Result<Response<Self::SubscribeInstrumentsStream>, Status> {
        Err(not_yet("InfoService.SubscribeInstruments"))
    }

    async fn get_order_book(&self, _: Request<GetOrderBookRequest>) -> Result<Response<GetOrderBookResponse>, Status> {
        Err(not_yet("InfoService.GetOrderBook"))
    }

    type SubscribeOrderBooksStream = Answers<SubscribeOrderBooksResponse>;

    async fn subscribe_order_books(
        &self,
        _: Request<SubscribeOrderBooksRequest>,
    ) -> Result<Response<Self::SubscribeOrderBooksStream>, Status> {
        Err(not_yet("InfoService.SubscribeOrderBooks"))
    }

    async fn list_trades(&self, _: Request<ListTradesRequest>) -> Result<Response<ListTradesResponse>, Status> {
        Err(not_yet("InfoService.ListTrades"))
    }

    type SubscribeTradesStream = Answers<SubscribeTradesResponse>;

    async fn subscribe_trades(
        &self,
        _: Request<SubscribeTradesRequest>,
    ) -> Result<Response<Self::SubscribeTradesStream>, Status> {
        Err(not_yet("InfoService.SubscribeTrades"))
    }
}
