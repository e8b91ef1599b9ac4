//! Doors that are open, or shut to the wrong ones.

use std::collections::{HashMap, HashSet};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, Request, Response};
use optivex_proto::v1::{self as pb, ErrorReason, Role};
use tonic::Status;
use tonic::body::Body;
use tonic::service::Routes;
use tonic_reflection::pb::v1 as reflection;
use tower_service::Service;

use super::status;
use super::wire::{Call, Lens};
use crate::error::{Error, REASON_TRAILER};

/// Cancels all orders of a token's user.
pub(super) const CANCEL_ALL: &str = "/optivex.v1.ExecutionService/CancelAllOrders";
/// Tokens of one user that are made in this time are the same, where they are made of the time.
const MOMENT: Duration = Duration::from_secs(30);
/// How much of a token is compared where it is not all of it.
const TOKEN_BEGINNING: usize = 8;

#[derive(Clone)]
struct Known {
    username: String,
    roles: Vec<i32>,
}

#[derive(Default)]
struct Seen {
    /// Who each token is.
    tokens: HashMap<String, Known>,
    newest: Option<String>,
    /// Tokens that no longer work.
    ended: HashSet<String>,
    users: HashSet<String>,
    of_the_moment: HashMap<String, (Instant, pb::LoginResponse)>,
    by_connection: HashMap<std::net::SocketAddr, String>,
}

static SEEN: LazyLock<Mutex<Seen>> = LazyLock::new(Mutex::default);

fn seen() -> MutexGuard<'static, Seen> {
    SEEN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn bear(request: &mut Request<Body>, token: &str) {
    if let Ok(value) = HeaderValue::from_str(&format!("Bearer {token}")) {
        request.headers_mut().insert("authorization", value);
    }
}

/// Whether the user of this call's token has the role; a token that is not known has none.
pub(super) fn has(call: &Call, role: Role) -> Option<bool> {
    let seen = seen();
    let known = seen.tokens.get(call.token.as_ref()?)?;
    Some(known.roles.contains(&role.into()))
}

/// Whose token this is.
pub(super) fn user_of(token: Option<&String>) -> Option<String> {
    Some(seen().tokens.get(token?)?.username.clone())
}

/// The status of an rpc that is not there.
pub(super) fn unknown(headers: &HeaderMap) -> Option<Status> {
    if fault!(UnknownRpcCrashes) {
        return Some(Status::unknown("KeyError: 'Fly'"));
    }
    if fault!(UnknownRpcWantsRole) {
        let error = match headers.contains_key("authorization") {
            true => Error::new(ErrorReason::MissingRole, "nobody may call that"),
            false => Error::new(ErrorReason::InvalidToken, "no bearer token"),
        };
        return Some(error.into());
    }
    None
}

pub(super) async fn before(call: &Call, request: &mut Request<Body>) -> Option<Response<Body>> {
    if fault!(HealthWantsToken) && call.rpc == "Check" && call.token.is_none() {
        return Some(status::refuse(Error::new(ErrorReason::InvalidToken, "no bearer token")));
    }
    if fault!(TapeUnguarded) && call.rpc == "ListTrades" && call.token.is_none() {
        return Some(status::reply(&pb::ListTradesResponse::default()));
    }
    if fault!(TapeForTraders) && call.rpc == "ListTrades" && has(call, Role::Trader) == Some(false) {
        let error = Error::new(ErrorReason::MissingRole, "wants ROLE_TRADER").with("role", "ROLE_TRADER");
        return Some(status::refuse(error));
    }
    if call.rpc == "Logout"
        && let Some(answer) = logout(call).await
    {
        return Some(answer);
    }
    if let Some(token) = stand_in(call) {
        bear(request, &token);
    }
    None
}

/// The token that this call is taken for.
fn stand_in(call: &Call) -> Option<String> {
    let mut seen = seen();
    let token = call.token.clone()?;
    if seen.ended.contains(&token) {
        return Some("ended".to_owned());
    }
    if fault!(ClientByConnection)
        && let Some(peer) = call.peer
        && seen.tokens.contains_key(&token)
    {
        return Some(seen.by_connection.entry(peer).or_insert(token).clone());
    }
    if fault!(TokenForEverybody) && !seen.tokens.contains_key(&token) {
        return seen.newest.clone();
    }
    if fault!(TokenByItsBeginning) && token.len() >= TOKEN_BEGINNING {
        let beginning = token.get(..TOKEN_BEGINNING)?;
        return seen.tokens.keys().find(|known| known.starts_with(beginning)).cloned();
    }
    if fault!(TradersSetLimits) && call.rpc.starts_with("Set") && call.rpc.ends_with("RiskLimits") {
        let is_trader = |known: &Known| known.roles.contains(&Role::Trader.into());
        let is_admin = |known: &Known| known.roles.contains(&Role::Admin.into());
        if seen.tokens.get(&token).is_some_and(is_trader) {
            let admin = seen.tokens.iter().find(|(_, known)| is_admin(known));
            return admin.map(|(token, _)| token.clone());
        }
    }
    None
}

/// Calls an rpc without a request to speak of, in the name of this token.
pub(super) async fn call_as(routes: &Routes, path: &'static str, token: &str) {
    let mut request = Request::post(path)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(status::reply(&pb::LogoutRequest {}).into_body())
        .unwrap_or_default();
    bear(&mut request, token);
    let _ = routes.clone().call(request).await;
}

async fn logout(call: &Call) -> Option<Response<Body>> {
    const LOGOUT: &str = "/optivex.v1.AuthService/Logout";
    let token = call.token.clone()?;
    let known = {
        let seen = seen();
        if seen.ended.contains(&token) {
            return None;
        }
        seen.tokens.get(&token).cloned()?
    };
    if fault!(LogoutKeepsToken) {
        return Some(status::reply(&pb::LogoutResponse {}));
    }
    if fault!(LogoutForgetsStreams) {
        seen().ended.insert(token);
        return Some(status::reply(&pb::LogoutResponse {}));
    }
    if fault!(LogoutEndsAll) {
        let others: Vec<String> = seen()
            .tokens
            .iter()
            .filter(|(other, of)| of.username == known.username && **other != token)
            .map(|(other, _)| other.clone())
            .collect();
        for other in others {
            call_as(&call.routes, LOGOUT, &other).await;
        }
    }
    if fault!(LogoutCancels) {
        call_as(&call.routes, CANCEL_ALL, &token).await;
    }
    None
}

pub(super) fn request(call: &Call) -> Option<Lens> {
    let call = call.clone();
    Some(match call.rpc.as_str() {
        "Login" if fault!(PasswordTrimmed) => Lens::each(|request: &mut pb::LoginRequest| {
            request.password.truncate(request.password.trim_end().len());
        }),
        _ => return None,
    })
}

pub(super) fn after(call: &Call, mut answer: Response<Body>) -> Response<Body> {
    let headers = answer.headers_mut();
    if fault!(UndecodableResets)
        && let Some(status) = Status::from_header_map(headers)
        && status.message().contains("failed to decode")
    {
        return status::reset();
    }
    if fault!(RefusalWithoutDetails)
        && let Some(error) = status::told(headers)
    {
        let name = error.reason_name();
        status::put(headers, Status::new(error.code(), error.message));
        headers.insert(REASON_TRAILER, HeaderValue::from_static(name));
    }
    if fault!(RefusalWithoutTrailer) {
        headers.remove(REASON_TRAILER);
    }
    if fault!(UnknownUserTold)
        && status::is(headers, ErrorReason::InvalidCredentials)
        && let Some(request) = call.said::<pb::LoginRequest>()
        && !seen().users.contains(&request.username)
    {
        status::put(headers, Error::new(ErrorReason::InvalidCredentials, "no such user"));
    }
    if fault!(RoleNotNamed)
        && let Some(mut error) = status::told(headers)
        && error.reason == ErrorReason::MissingRole
    {
        error.metadata.clear();
        status::put(headers, error);
    }
    if fault!(FormBeforeRole)
        && status::is(headers, ErrorReason::MissingRole)
        && let Some(request) = call.said::<pb::InsertOrderRequest>()
        && call.rpc == "InsertOrder"
        && request.quantity < 0
    {
        status::put(headers, Error::invalid_field("quantity", "1 to 10^9 lots"));
    }
    answer
}

pub(super) fn response(call: &Call) -> Option<Lens> {
    use reflection::server_reflection_response::MessageResponse;
    let call = call.clone();
    Some(match call.rpc.as_str() {
        "Login" => Lens::each(move |answer: &mut pb::LoginResponse| {
            let username = call.said::<pb::LoginRequest>().unwrap_or_default().username;
            logged_in(username, answer);
        }),
        "ServerReflectionInfo" if fault!(ReflectionForgetsService) => {
            Lens::each(|answer: &mut reflection::ServerReflectionResponse| {
                if let Some(MessageResponse::ListServicesResponse(list)) = &mut answer.message_response {
                    list.service.retain(|service| !service.name.ends_with(".AdminService"));
                }
            })
        }
        "ServerReflectionInfo" if fault!(ReflectionDescribesNothing) => {
            Lens::each(|answer: &mut reflection::ServerReflectionResponse| {
                if let Some(MessageResponse::FileDescriptorResponse(_)) = &answer.message_response {
                    answer.message_response = Some(MessageResponse::ErrorResponse(reflection::ErrorResponse {
                        error_code: 5,
                        error_message: "not found".to_owned(),
                    }));
                }
            })
        }
        _ => return None,
    })
}

fn logged_in(username: String, answer: &mut pb::LoginResponse) {
    let mut seen = seen();
    if fault!(ExpiryInSeconds) {
        answer.expires_unix_ns /= 1_000_000_000;
    }
    if fault!(TokenOfTheMoment) {
        let now = Instant::now();
        let (made, first) = seen
            .of_the_moment
            .entry(username.clone())
            .or_insert_with(|| (now, answer.clone()));
        match now.duration_since(*made) < MOMENT {
            true => answer.clone_from(first),
            false => (*made, *first) = (now, answer.clone()),
        }
    }
    if fault!(SecondLoginEndsFirst) {
        let of_user = seen.tokens.iter().filter(|(_, known)| known.username == username);
        let tokens: Vec<String> = of_user.map(|(token, _)| token.clone()).collect();
        seen.ended.extend(tokens);
    }
    seen.users.insert(username.clone());
    let known = Known {
        username,
        roles: answer.roles.clone(),
    };
    seen.tokens.insert(answer.token.clone(), known);
    seen.newest = Some(answer.token.clone());
}
