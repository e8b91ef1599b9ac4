//! The rpcs of the contract, one method each: `name` expects success, `try_name` leaves it open.

use std::time::Duration;

use optivex_proto::v1::{self, InsertOrderRequest};

use super::{Answer, Duplex, Reply, Session, Stream};
use crate::verdict::{Stop, Verdict};

/// Between two looks at something that may come later than the reply.
const ASK_AGAIN: Duration = Duration::from_millis(20);

macro_rules! unary {
    ($($(#[$doc:meta])* $name:ident, $try_name:ident: $request:ident => $response:ident = $path:literal;)+) => {
        impl Session {
            $(
                $(#[$doc])*
                pub async fn $name(&self, request: v1::$request) -> Verdict<Reply<v1::$response>> {
                    self.$try_name(request).await.accepted()
                }

                $(#[$doc])*
                /// Success is left open.
                pub async fn $try_name(&self, request: v1::$request) -> Answer<v1::$response> {
                    self.call($path, request).await
                }
            )+
        }
    };
}

unary! {
    /// `AuthService.Login`.
    login, try_login: LoginRequest => LoginResponse = "/optivex.v1.AuthService/Login";
    /// `AuthService.Logout`.
    logout, try_logout: LogoutRequest => LogoutResponse = "/optivex.v1.AuthService/Logout";
    /// `AdminService.CreateInstrument`.
    create_instrument, try_create_instrument: CreateInstrumentRequest => CreateInstrumentResponse = "/optivex.v1.AdminService/CreateInstrument";
    /// `AdminService.SetTradingPhase`.
    set_phase, try_set_phase: SetTradingPhaseRequest => SetTradingPhaseResponse = "/optivex.v1.AdminService/SetTradingPhase";
    /// `AdminService.SuspendUser`.
    suspend, try_suspend: SuspendUserRequest => SuspendUserResponse = "/optivex.v1.AdminService/SuspendUser";
    /// `AdminService.ResumeUser`.
    resume, try_resume: ResumeUserRequest => ResumeUserResponse = "/optivex.v1.AdminService/ResumeUser";
    /// `ExecutionService.InsertOrder`.
    insert, try_insert: InsertOrderRequest => InsertOrderResponse = "/optivex.v1.ExecutionService/InsertOrder";
    /// `ExecutionService.AmendOrder`.
    amend, try_amend: AmendOrderRequest => AmendOrderResponse = "/optivex.v1.ExecutionService/AmendOrder";
    /// `ExecutionService.CancelOrder`.
    cancel, try_cancel: CancelOrderRequest => CancelOrderResponse = "/optivex.v1.ExecutionService/CancelOrder";
    /// `ExecutionService.CancelAllOrders`.
    cancel_all, try_cancel_all: CancelAllOrdersRequest => CancelAllOrdersResponse = "/optivex.v1.ExecutionService/CancelAllOrders";
    /// `ExecutionService.ListOrders`.
    orders, try_orders: ListOrdersRequest => ListOrdersResponse = "/optivex.v1.ExecutionService/ListOrders";
    /// `ExecutionService.ListPositions`.
    positions, try_positions: ListPositionsRequest => ListPositionsResponse = "/optivex.v1.ExecutionService/ListPositions";
    /// `InfoService.ListInstruments`: one page.
    instruments, try_instruments: ListInstrumentsRequest => ListInstrumentsResponse = "/optivex.v1.InfoService/ListInstruments";
    /// `InfoService.GetOrderBook`.
    book, try_book: GetOrderBookRequest => GetOrderBookResponse = "/optivex.v1.InfoService/GetOrderBook";
    /// `InfoService.ListTrades`: one page.
    trades, try_trades: ListTradesRequest => ListTradesResponse = "/optivex.v1.InfoService/ListTrades";
    /// `RiskLimitsService.GetUserRiskLimits`.
    user_limits, try_user_limits: GetUserRiskLimitsRequest => GetUserRiskLimitsResponse = "/optivex.v1.RiskLimitsService/GetUserRiskLimits";
    /// `RiskLimitsService.SetUserRiskLimits`.
    set_user_limits, try_set_user_limits: SetUserRiskLimitsRequest => SetUserRiskLimitsResponse = "/optivex.v1.RiskLimitsService/SetUserRiskLimits";
    /// `RiskLimitsService.GetInstrumentRiskLimits`.
    instrument_limits, try_instrument_limits: GetInstrumentRiskLimitsRequest => GetInstrumentRiskLimitsResponse = "/optivex.v1.RiskLimitsService/GetInstrumentRiskLimits";
    /// `RiskLimitsService.SetInstrumentRiskLimits`.
    set_instrument_limits, try_set_instrument_limits: SetInstrumentRiskLimitsRequest => SetInstrumentRiskLimitsResponse = "/optivex.v1.RiskLimitsService/SetInstrumentRiskLimits";
    /// `RiskLimitsService.GetRiskUsage`.
    usage, try_usage: GetRiskUsageRequest => GetRiskUsageResponse = "/optivex.v1.RiskLimitsService/GetRiskUsage";
}

impl Session {
    /// `ExecutionService.SubscribeExecutionReports`.
    pub fn follow_reports(
        &self,
        request: v1::SubscribeExecutionReportsRequest,
    ) -> Stream<v1::SubscribeExecutionReportsResponse> {
        self.follow("/optivex.v1.ExecutionService/SubscribeExecutionReports", request)
    }

    /// `InfoService.SubscribeInstruments`.
    pub fn follow_instruments(&self) -> Stream<v1::SubscribeInstrumentsResponse> {
        self.follow(
            "/optivex.v1.InfoService/SubscribeInstruments",
            v1::SubscribeInstrumentsRequest {},
        )
    }

    /// `InfoService.SubscribeOrderBooks`.
    pub fn follow_books(&self, request: v1::SubscribeOrderBooksRequest) -> Stream<v1::SubscribeOrderBooksResponse> {
        self.follow("/optivex.v1.InfoService/SubscribeOrderBooks", request)
    }

    /// `InfoService.SubscribeTrades`.
    pub fn follow_trades(&self, request: v1::SubscribeTradesRequest) -> Stream<v1::SubscribeTradesResponse> {
        self.follow("/optivex.v1.InfoService/SubscribeTrades", request)
    }

    /// `ExecutionService.OrderEntry`.
    pub fn order_entry(&self) -> Duplex<v1::OrderEntryRequest, v1::OrderEntryResponse> {
        self.duplex("/optivex.v1.ExecutionService/OrderEntry")
    }

    /// Cancels an order by the exchange's id.
    pub async fn cancel_id(&self, order_id: u64) -> Verdict<Reply<v1::CancelOrderResponse>> {
        self.cancel(v1::CancelOrderRequest {
            order: Some(v1::cancel_order_request::Order::OrderId(order_id)),
        })
        .await
    }

    /// The whole book of an instrument.
    pub async fn whole_book(&self, symbol: &str) -> Verdict<Reply<v1::BookSnapshot>> {
        let answer = self
            .book(v1::GetOrderBookRequest {
                symbol: symbol.to_owned(),
                depth: 0,
            })
            .await?;
        let at = answer.at().clone();
        match answer.into_inner().book {
            Some(book) => Ok(Reply::new(book, at)),
            None => Err(at.fail("book is absent", "the book")),
        }
    }

    /// All trades of an instrument after this one, page by page, as far as `has_more` says.
    pub async fn trades_after(&self, symbol: &str, mut after_trade_id: u64) -> Verdict<Vec<v1::Trade>> {
        let mut all = Vec::new();
        loop {
            let page = self
                .trades(v1::ListTradesRequest {
                    symbol: symbol.to_owned(),
                    after_trade_id,
                    page_size: 0,
                })
                .await?;
            all.extend(page.trades.iter().cloned());
            match page.trades.last() {
                Some(last) if page.has_more && last.trade_id > after_trade_id => after_trade_id = last.trade_id,
                None if page.has_more => return Err(page.fail("has_more, and no trades", "trades, or has_more false")),
                Some(last) if page.has_more => {
                    return Err(page.fail(
                        format!("trade_id {} again", last.trade_id),
                        "only trades after trade_id",
                    ));
                }
                _ => return Ok(all),
            }
        }
    }

    /// All trades of an instrument, once this one is among them: the tape may come after the reply.
    pub async fn trades_through(&self, symbol: &str, trade_id: u64) -> Verdict<Vec<v1::Trade>> {
        let deadline = tokio::time::Instant::now() + self.patience() * 2;
        loop {
            let all = self.trades_after(symbol, 0).await?;
            let last = all.last().map_or(0, |trade| trade.trade_id);
            if last >= trade_id {
                return Ok(all);
            }
            if tokio::time::Instant::now() > deadline {
                return Err(Stop::failed(
                    format!("the last trade_id of the tape is still {last}"),
                    format!("a tape with trade {trade_id}"),
                ));
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    /// Cancels an order by the user's id; success is left open.
    pub async fn try_cancel_client_id(&self, client_order_id: &str) -> Answer<v1::CancelOrderResponse> {
        self.try_cancel(v1::CancelOrderRequest {
            order: Some(v1::cancel_order_request::Order::ClientOrderId(
                client_order_id.to_owned(),
            )),
        })
        .await
    }

    /// All instruments, page by page; `page_size` 0 for the exchange's own.
    pub async fn all_instruments(&self, page_size: i32) -> Verdict<Vec<v1::Instrument>> {
        let mut all = Vec::new();
        let mut page_token = String::new();
        loop {
            let page = self
                .instruments(v1::ListInstrumentsRequest { page_size, page_token })
                .await?;
            let most = if page_size == 0 { 1_000 } else { page_size as usize };
            page.shows("at most page_size instruments, and at most 1,000", |page| {
                page.instruments.len() <= most.min(1_000)
            })?;
            page.shows("a page that is not empty, if it is not the last", |page| {
                page.next_page_token.is_empty() || !page.instruments.is_empty()
            })?;
            all.extend(page.instruments.iter().cloned());
            if page.next_page_token.is_empty() {
                return Ok(all);
            }
            page_token = page.next_page_token.clone();
        }
    }

    /// All open orders of the user in an instrument.
    pub async fn open_orders(&self, symbol: &str) -> Verdict<Vec<v1::Order>> {
        let mut all = Vec::new();
        let mut page_token = String::new();
        loop {
            let page = self
                .orders(v1::ListOrdersRequest {
                    symbol: symbol.to_owned(),
                    page_token,
                    ..v1::ListOrdersRequest::default()
                })
                .await?;
            all.extend(page.orders.iter().cloned());
            if page.next_page_token.is_empty() {
                return Ok(all);
            }
            page_token = page.next_page_token.clone();
        }
    }

    /// The same, as soon as the user's newest order is shown.
    pub async fn open_orders_with(&self, symbol: &str, newest: Option<u64>) -> Verdict<Vec<v1::Order>> {
        if let Some(order_id) = newest {
            self.order(order_id).await?;
        }
        self.open_orders(symbol).await
    }

    /// Inserts, and expects that the whole order rests.
    pub async fn rest(&self, order: InsertOrderRequest) -> Verdict<Reply<v1::InsertOrderResponse>> {
        let quantity = order.quantity;
        let reply = self.insert(order).await?;
        reply
            .has("status", |reply| reply.status(), v1::OrderStatus::Open)?
            .has("open_quantity", |reply| reply.open_quantity, quantity)?;
        Ok(reply)
    }
}
