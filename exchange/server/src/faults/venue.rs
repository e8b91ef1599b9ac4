//! Faults of limits, phases and suspensions.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use http::{Request, Response};
use optivex_engine::types::{Indicative, InstrumentId};
use optivex_engine::{Command, Engine, Event};
use optivex_proto::v1::{self as pb, ErrorReason};
use tonic::body::Body;
use tonic::service::Routes;

use super::access;
use super::unary::{Forward, Unary, decode, read};
use super::wire::{Call, Lens};
use crate::error::Error;

/// What is remembered from call to call.
#[derive(Default)]
struct Memory {
    /// Client ids of orders that a limit refused.
    limited: HashSet<String>,
    suspended: HashSet<String>,
    indicative: HashMap<InstrumentId, Indicative>,
}

static MEMORY: LazyLock<Mutex<Memory>> = LazyLock::new(Mutex::default);

fn memory() -> MutexGuard<'static, Memory> {
    MEMORY.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn command(mut command: Command, engine: &Engine) -> Command {
    if let Command::SetUserRiskLimits { user, limits } = &mut command
        && fault!(LimitsMerged)
    {
        let before = engine.user_risk_limits(*user);
        limits.message_rate = limits.message_rate.or(before.message_rate);
        limits.max_outstanding_quantity = limits.max_outstanding_quantity.or(before.max_outstanding_quantity);
        limits.max_outstanding_amount_e4 = limits.max_outstanding_amount_e4.or(before.max_outstanding_amount_e4);
    }
    command
}

pub(super) fn event(command: &Command, event: &mut Event) {
    if !fault!(StaleIndicative) {
        return;
    }
    for change in &mut event.books {
        match command {
            Command::CancelOrder { .. } => change.indicative = memory().indicative.get(&change.instrument).copied(),
            _ => {
                let mut memory = memory();
                memory.indicative.remove(&change.instrument);
                let now = change.indicative.map(|indicative| (change.instrument, indicative));
                memory.indicative.extend(now);
            }
        }
    }
}

/// A change of this request's messages, if the planted fault wants one.
pub(super) fn request(call: &Call) -> Option<Lens> {
    let positive = |limit: &mut Option<i64>| *limit = limit.filter(|limit| *limit >= 0);
    Some(match call.rpc.as_str() {
        "SetUserRiskLimits" if fault!(NegativeIsNone) => {
            Lens::each(move |request: &mut pb::SetUserRiskLimitsRequest| {
                if let Some(limits) = &mut request.limits {
                    positive(&mut limits.max_outstanding_quantity);
                    positive(&mut limits.max_outstanding_amount_e4);
                }
            })
        }
        "SetInstrumentRiskLimits" if fault!(NegativeIsNone) => {
            Lens::each(move |request: &mut pb::SetInstrumentRiskLimitsRequest| {
                if let Some(limits) = &mut request.limits {
                    positive(&mut limits.max_outstanding_quantity);
                    positive(&mut limits.max_outstanding_amount_e4);
                    positive(&mut limits.max_order_quantity);
                    positive(&mut limits.max_position);
                }
            })
        }
        "SetTradingPhase" if fault!(NoPhaseIsContinuous) => Lens::each(|request: &mut pb::SetTradingPhaseRequest| {
            if request.phase() == pb::TradingPhase::Unspecified {
                request.set_phase(pb::TradingPhase::Continuous);
            }
        }),
        "SuspendUser" if fault!(CommentCut) => Lens::each(|request: &mut pb::SuspendUserRequest| {
            request.comment.truncate(request.comment.floor_char_boundary(256));
        }),
        _ => return None,
    })
}

/// A change of this answer's messages, if the planted fault wants one.
pub(super) fn response(call: &Call) -> Option<Lens> {
    Some(match call.rpc.as_str() {
        "GetRiskUsage" if fault!(UsageOfLimits) => Lens::each(|answer: &mut pb::GetRiskUsageResponse| {
            answer.usages.retain(|usage| usage.limit.is_some());
        }),
        _ => return None,
    })
}

/// Whether one of these faults is planted that is about this rpc.
pub(super) fn concerns(rpc: &str) -> bool {
    match rpc {
        "InsertOrder" => fault!(LimitedIdKept),
        "SuspendUser" | "ResumeUser" | "ListPositions" | "ListOrders" => fault!(SuspendedMayNotLook),
        _ => false,
    }
}

fn is_suspended(call: &Call) -> bool {
    let user = access::user_of(call.token.as_ref());
    user.is_some_and(|user| memory().suspended.contains(&user))
}

/// Calls the service, with the planted fault around it.
pub(super) async fn call(call: &Call, routes: Routes, request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let (mut forward, body) = Forward::new(routes, request);
    let Some(request) = read(body).await else {
        return Ok(tonic::Status::internal("the request broke off").into_http());
    };
    let answer = match call.rpc.as_str() {
        "InsertOrder" => {
            let id = decode::<pb::InsertOrderRequest>(&request).client_order_id;
            let limited = memory().limited.contains(&id);
            if limited {
                Unary::refusal(Error::new(ErrorReason::ClientIdReused, "the client id was used before"))
            } else {
                let answer = forward.call(&request).await;
                if !id.is_empty() && answer.is(ErrorReason::RiskLimit) {
                    memory().limited.insert(id);
                }
                answer
            }
        }
        "SuspendUser" => {
            memory()
                .suspended
                .insert(decode::<pb::SuspendUserRequest>(&request).username);
            forward.call(&request).await
        }
        "ResumeUser" => {
            memory()
                .suspended
                .remove(&decode::<pb::ResumeUserRequest>(&request).username);
            forward.call(&request).await
        }
        _ => {
            if is_suspended(call) {
                Unary::refusal(Error::new(ErrorReason::UserSuspended, "the user is suspended"))
            } else {
                forward.call(&request).await
            }
        }
    };
    Ok(answer.into_response())
}
