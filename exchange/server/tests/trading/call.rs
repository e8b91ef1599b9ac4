//! Every rpc of the services, as a value.

use optivex_proto::v1;
use optivex_proto::v1::order_entry_request::Command;
use optivex_proto::v1::order_entry_response::Result as Outcome;
use tonic::Status;

use crate::venue::{Client, told, told_by_entry};

/// One call.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Insert(v1::InsertOrderRequest),
    Amend(v1::AmendOrderRequest),
    Cancel(v1::CancelOrderRequest),
    CancelAll(v1::CancelAllOrdersRequest),
    ListOrders(v1::ListOrdersRequest),
    ListPositions,
    Reports(v1::SubscribeExecutionReportsRequest),
    OrderEntry,
    Create(v1::CreateInstrumentRequest),
    SetPhase(v1::SetTradingPhaseRequest),
    Suspend(v1::SuspendUserRequest),
    Resume(v1::ResumeUserRequest),
    GetUserLimits(&'static str),
    SetUserLimits(v1::SetUserRiskLimitsRequest),
    GetInstrumentLimits(&'static str),
    SetInstrumentLimits(v1::SetInstrumentRiskLimitsRequest),
    GetUsage(&'static str),
}

impl Call {
    /// Calls, and says what came of it: `ok`, or the refusal on one line. A command of a trader is sent
    /// through `OrderEntry` too, if it was refused: it must say the same there.
    pub(crate) async fn said(self, client: &Client) -> String {
        let entry = self.entry();
        match self.call(&mut client.clone()).await {
            Ok(()) => "ok".to_owned(),
            Err(status) => {
                let said = told(&status);
                if let Some(command) = entry
                    && said.split_whitespace().next() != Some("Unauthenticated")
                    && !said.contains("MISSING_ROLE")
                {
                    let by_entry = one_by_entry(&mut client.clone(), command).await;
                    assert_eq!(said, by_entry, "OrderEntry tells the same");
                }
                said
            }
        }
    }

    fn entry(&self) -> Option<Command> {
        Some(match self.clone() {
            Call::Insert(request) => Command::Insert(request),
            Call::Amend(request) => Command::Amend(request),
            Call::Cancel(request) => Command::Cancel(request),
            Call::CancelAll(request) => Command::CancelAll(request),
            _ => return None,
        })
    }

    pub(crate) async fn call(self, client: &mut Client) -> Result<(), Status> {
        match self {
            Call::Insert(request) => client.execution.insert_order(request).await.map(drop),
            Call::Amend(request) => client.execution.amend_order(request).await.map(drop),
            Call::Cancel(request) => client.execution.cancel_order(request).await.map(drop),
            Call::CancelAll(request) => client.execution.cancel_all_orders(request).await.map(drop),
            Call::ListOrders(request) => client.execution.list_orders(request).await.map(drop),
            Call::ListPositions => client
                .execution
                .list_positions(v1::ListPositionsRequest {})
                .await
                .map(drop),
            Call::Reports(request) => client.execution.subscribe_execution_reports(request).await.map(drop),
            Call::OrderEntry => client.execution.order_entry(tokio_stream::empty()).await.map(drop),
            Call::Create(request) => client.admin.create_instrument(request).await.map(drop),
            Call::SetPhase(request) => client.admin.set_trading_phase(request).await.map(drop),
            Call::Suspend(request) => client.admin.suspend_user(request).await.map(drop),
            Call::Resume(request) => client.admin.resume_user(request).await.map(drop),
            Call::GetUserLimits(username) => {
                let username = username.to_owned();
                let request = v1::GetUserRiskLimitsRequest { username };
                client.limits.get_user_risk_limits(request).await.map(drop)
            }
            Call::SetUserLimits(request) => client.limits.set_user_risk_limits(request).await.map(drop),
            Call::GetInstrumentLimits(username) => {
                let username = username.to_owned();
                let request = v1::GetInstrumentRiskLimitsRequest { username };
                client.limits.get_instrument_risk_limits(request).await.map(drop)
            }
            Call::SetInstrumentLimits(request) => client.limits.set_instrument_risk_limits(request).await.map(drop),
            Call::GetUsage(username) => {
                let username = username.to_owned();
                let request = v1::GetRiskUsageRequest { username };
                client.limits.get_risk_usage(request).await.map(drop)
            }
        }
    }

    /// One well-formed call of every rpc, for the user `alice` and the instrument `ABC`.
    pub(crate) fn all() -> Vec<Call> {
        vec![
            Call::Insert(crate::venue::buy("ABC", 100, 1)),
            amend_id(1, Some(100), None),
            cancel_id(1),
            Call::CancelAll(v1::CancelAllOrdersRequest::default()),
            Call::ListOrders(v1::ListOrdersRequest::default()),
            Call::ListPositions,
            Call::Reports(v1::SubscribeExecutionReportsRequest::default()),
            Call::OrderEntry,
            Call::Create(crate::venue::instrument("NEW")),
            phase("ABC", v1::TradingPhase::Halted),
            suspend("alice", ""),
            Call::Resume(v1::ResumeUserRequest {
                username: "alice".to_owned(),
            }),
            Call::GetUserLimits(""),
            user_limits("alice", v1::UserRiskLimits::default()),
            Call::GetInstrumentLimits(""),
            instrument_limits("alice", "ABC", v1::InstrumentRiskLimits::default()),
            Call::GetUsage(""),
        ]
    }

    pub(crate) fn name(&self) -> String {
        let debug = format!("{self:?}");
        debug.split(['(', ' ']).next().unwrap_or_default().to_owned()
    }
}

async fn one_by_entry(client: &mut Client, command: Command) -> String {
    let request = v1::OrderEntryRequest {
        request_id: 77,
        command: Some(command),
    };
    let mut answers = client
        .execution
        .order_entry(tokio_stream::once(request))
        .await
        .expect("a trader")
        .into_inner();
    let answer = answers.message().await.expect("an answer").expect("before the end");
    assert_eq!(answer.request_id, 77);
    assert!(answers.message().await.expect("OK").is_none(), "one answer");
    match answer.result.expect("a result") {
        Outcome::Error(error) => told_by_entry(&error),
        _ => "ok".to_owned(),
    }
}

pub(crate) fn amend_id(order_id: u64, price_e4: Option<i64>, quantity: Option<i64>) -> Call {
    Call::Amend(v1::AmendOrderRequest {
        order: Some(v1::amend_order_request::Order::OrderId(order_id)),
        price_e4,
        quantity,
    })
}

pub(crate) fn amend_client_id(id: &str, price_e4: Option<i64>, quantity: Option<i64>) -> Call {
    Call::Amend(v1::AmendOrderRequest {
        order: Some(v1::amend_order_request::Order::ClientOrderId(id.to_owned())),
        price_e4,
        quantity,
    })
}

pub(crate) fn cancel_id(order_id: u64) -> Call {
    Call::Cancel(v1::CancelOrderRequest {
        order: Some(v1::cancel_order_request::Order::OrderId(order_id)),
    })
}

pub(crate) fn cancel_client_id(id: &str) -> Call {
    Call::Cancel(v1::CancelOrderRequest {
        order: Some(v1::cancel_order_request::Order::ClientOrderId(id.to_owned())),
    })
}

pub(crate) fn cancel_all(symbol: &str, side: i32) -> Call {
    Call::CancelAll(v1::CancelAllOrdersRequest {
        symbol: symbol.to_owned(),
        side,
    })
}

pub(crate) fn phase(symbol: &str, phase: v1::TradingPhase) -> Call {
    Call::SetPhase(v1::SetTradingPhaseRequest {
        symbol: symbol.to_owned(),
        phase: phase.into(),
    })
}

pub(crate) fn suspend(username: &str, comment: &str) -> Call {
    Call::Suspend(v1::SuspendUserRequest {
        username: username.to_owned(),
        comment: comment.to_owned(),
    })
}

pub(crate) fn user_limits(username: &str, limits: v1::UserRiskLimits) -> Call {
    Call::SetUserLimits(v1::SetUserRiskLimitsRequest {
        username: username.to_owned(),
        limits: Some(limits),
    })
}

pub(crate) fn instrument_limits(username: &str, symbol: &str, limits: v1::InstrumentRiskLimits) -> Call {
    Call::SetInstrumentLimits(v1::SetInstrumentRiskLimitsRequest {
        username: username.to_owned(),
        symbol: symbol.to_owned(),
        limits: Some(limits),
    })
}

pub(crate) fn window(limit: i64, window_in_seconds: i32) -> Option<v1::RollingWindowLimit> {
    Some(v1::RollingWindowLimit {
        limit,
        window_in_seconds,
    })
}
