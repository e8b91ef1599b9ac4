//! Stage 2: who a client is, and what it may do.

use std::collections::HashSet;
use std::time::Duration;

use optivex_proto::v1::{
    self, CancelOrderRequest, ErrorReason, InsertOrderRequest, ListInstrumentsRequest, LoginRequest, LogoutRequest,
    Role, cancel_order_request, subscribe_instruments_response,
};
use prost::Message;
use tonic::Code;

use crate::case::{Case, Stage};
use crate::client::{Next, Refusal, Reply, Session};
use crate::context::Context;
use crate::run;
use crate::users::User;
use crate::verdict::{Stop, Verdict};

/// The stage.
pub const STAGE: Stage = Stage {
    slug: "login",
    title: "Login and roles",
    number: 2,
    core: true,
    builds_on: &["boot"],
    cases: &[
        Case::new(
            "token",
            "Login trades a user name and password for a token, and tells the user's roles.",
            "auth.proto LoginResponse",
            run!(token),
        )
        .base(),
        Case::new(
            "wrong-credentials",
            "A wrong user name and a wrong password are INVALID_CREDENTIALS, and which of them is not told.",
            "common.proto ERROR_REASON_INVALID_CREDENTIALS",
            run!(wrong_credentials),
        ),
        Case::new(
            "no-token",
            "Every other service wants the token in the metadata entry authorization.",
            "common.proto ERROR_REASON_INVALID_TOKEN",
            run!(no_token),
        ),
        Case::new(
            "unknown-token",
            "A token that the exchange did not give is INVALID_TOKEN.",
            "common.proto ERROR_REASON_INVALID_TOKEN",
            run!(unknown_token),
        ),
        Case::new(
            "token-is-the-client",
            "A token says who a client is, on whatever connection it comes.",
            "auth.proto AuthService",
            run!(token_is_the_client),
        ),
        Case::new(
            "roles",
            "Each call wants its role, and says which in the metadata when the user lacks it.",
            "common.proto ERROR_REASON_MISSING_ROLE; auth.proto Role",
            run!(roles),
        ),
        Case::new(
            "order-of-reasons",
            "Where several reasons apply, token comes first, then role, then the form of the request.",
            "common.proto, order of reasons",
            run!(order_of_reasons),
        ),
        Case::new(
            "any-role-reads",
            "Market data wants any role.",
            "info.proto InfoService",
            run!(any_role_reads),
        ),
        Case::new(
            "logout",
            "Logout makes the token worthless, and no other.",
            "auth.proto AuthService.Logout",
            run!(logout),
        ),
        Case::new(
            "logout-ends-streams",
            "Open streams of the session end with INVALID_TOKEN at its logout, and no others.",
            "auth.proto AuthService.Logout",
            run!(logout_ends_streams),
        ),
        Case::new(
            "unknown-rpc",
            "A call of a method that is not there is UNIMPLEMENTED, with a token too.",
            "gRPC status UNIMPLEMENTED",
            run!(unknown_rpc),
        ),
        Case::new(
            "many-logins",
            "Logins at the same time give each user a token of its own.",
            "auth.proto LoginResponse.token",
            run!(many_logins),
        )
        .hidden(),
    ],
};

/// 2001-09-09: a time before it is in seconds, milliseconds or microseconds.
pub(crate) const THIS_CENTURY_UNIX_NS: i64 = 1_000_000_000_000_000_000;
/// Waits for one throttled login.
const THROTTLED_WAIT: Duration = Duration::from_secs(60);
/// Throttled answers to one login.
const THROTTLED_MAX: usize = 5;

async fn token(context: Context) -> Verdict {
    for session in [context.admin().await?, context.viewer().await?, context.trader().await?] {
        let user = session.known_user()?;
        let again = context.stranger().await?.login(credentials(&user)).await?;
        again
            .shows("token not empty", |reply| !reply.token.is_empty())?
            .shows("expires_unix_ns in nanoseconds, of this century", |reply| {
                reply.expires_unix_ns > THIS_CENTURY_UNIX_NS
            })?
            .has("roles", |reply| sorted(reply.roles().collect()), user.contract_roles())?
            .shows("a token that no session had before", |reply| {
                Some(reply.token.as_str()) != session.token()
            })?;
        let with_it = session.with_token(Some(&again.token))?;
        with_it.instruments_or_unimplemented().await?;
        session.instruments_or_unimplemented().await?;
    }
    Ok(())
}

fn credentials(user: &User) -> LoginRequest {
    LoginRequest {
        username: user.username.clone(),
        password: user.password.clone().unwrap_or_default(),
    }
}

fn sorted(mut roles: Vec<Role>) -> Vec<Role> {
    roles.sort_by_key(|role| *role as i32);
    roles
}

impl Session {
    /// The token works: lists instruments, which an exchange of this stage may not have yet.
    async fn instruments_or_unimplemented(&self) -> Verdict {
        match self.try_instruments(ListInstrumentsRequest::default()).await.either() {
            Ok(_) => Ok(()),
            Err(refusal) if refusal.code == Code::Unimplemented => Ok(()),
            Err(refusal) => Err(refusal.fail(refusal.to_string(), "the token to work")),
        }
    }
}

/// A login that is to fail. Many failures from one address may be THROTTLED first.
async fn refused_login(session: &Session, request: &LoginRequest) -> Verdict<Reply<Refusal>> {
    for _ in 0..THROTTLED_MAX {
        match session.try_login(request.clone()).await.either() {
            Err(refusal) if refusal.names(ErrorReason::Throttled) => {
                let wait = refusal.retry_after.unwrap_or(Duration::from_secs(1));
                tokio::time::sleep(wait.min(THROTTLED_WAIT)).await;
            }
            Err(refusal) => {
                let told = refusal.is(ErrorReason::InvalidCredentials, &[]);
                told.map_err(|came| refusal.fail(came, "Unauthenticated INVALID_CREDENTIALS"))?;
                return Ok(*refusal);
            }
            Ok(reply) => return Err(reply.fail("the login succeeded", "Unauthenticated INVALID_CREDENTIALS")),
        }
    }
    Err(Stop::skipped("logins stay throttled"))
}

async fn wrong_credentials(context: Context) -> Verdict {
    let user = context.trader().await?.known_user()?;
    let session = context.stranger().await?;
    let right = credentials(&user);
    let other = context.viewer().await?.user().map(credentials).unwrap_or_default();
    let with = |username: &str, password: &str| LoginRequest {
        username: username.to_owned(),
        password: password.to_owned(),
    };
    let short: String = right
        .password
        .chars()
        .take(right.password.chars().count().saturating_sub(1))
        .collect();
    let wrong = [
        with(&right.username, "wrong"),
        with(&context.unique(), &right.password),
        with(&right.username, &format!("{} ", right.password)),
        with(&right.username, &short),
        with(&right.username, &other.password),
    ];
    let mut first: Option<Refusal> = None;
    for request in &wrong {
        if request.password == right.password && request.username == right.username {
            continue;
        }
        let refusal = refused_login(&session, request).await?;
        let mut told: Refusal = (*refusal).clone();
        // A message may repeat the name; that tells nothing new.
        told.message = told.message.replace(&request.username, "NAME");
        told.metadata
            .values_mut()
            .for_each(|value| *value = value.replace(&request.username, "NAME"));
        match &first {
            None => first = Some(told),
            Some(first) => refusal.at().holds(
                *first == told,
                format!("{} (for a wrong password: {})", told.json(), first.json()),
                "the same answer, whether the name or the password is wrong",
            )?,
        }
    }
    Ok(())
}

/// A rpc that wants a token; `core`: every exchange of the core stages has it.
struct Guarded {
    path: &'static str,
    core: bool,
    role: Option<Role>,
}

const fn guarded(path: &'static str, core: bool, role: Option<Role>) -> Guarded {
    Guarded { path, core, role }
}

const GUARDED: [Guarded; 24] = [
    guarded("/optivex.v1.AdminService/CreateInstrument", true, Some(Role::Admin)),
    guarded("/optivex.v1.AdminService/SetTradingPhase", false, Some(Role::Admin)),
    guarded("/optivex.v1.AdminService/SuspendUser", false, Some(Role::Admin)),
    guarded("/optivex.v1.AdminService/ResumeUser", false, Some(Role::Admin)),
    guarded("/optivex.v1.ExecutionService/InsertOrder", true, Some(Role::Trader)),
    guarded("/optivex.v1.ExecutionService/AmendOrder", false, Some(Role::Trader)),
    guarded("/optivex.v1.ExecutionService/CancelOrder", true, Some(Role::Trader)),
    guarded(
        "/optivex.v1.ExecutionService/CancelAllOrders",
        false,
        Some(Role::Trader),
    ),
    guarded("/optivex.v1.ExecutionService/ListOrders", true, Some(Role::Trader)),
    guarded("/optivex.v1.ExecutionService/ListPositions", false, Some(Role::Trader)),
    guarded(
        "/optivex.v1.ExecutionService/SubscribeExecutionReports",
        true,
        Some(Role::Trader),
    ),
    guarded("/optivex.v1.ExecutionService/OrderEntry", false, Some(Role::Trader)),
    guarded("/optivex.v1.InfoService/ListInstruments", true, None),
    guarded("/optivex.v1.InfoService/SubscribeInstruments", true, None),
    guarded("/optivex.v1.InfoService/GetOrderBook", true, None),
    guarded("/optivex.v1.InfoService/SubscribeOrderBooks", true, None),
    guarded("/optivex.v1.InfoService/ListTrades", true, None),
    guarded("/optivex.v1.InfoService/SubscribeTrades", true, None),
    guarded("/optivex.v1.RiskLimitsService/GetUserRiskLimits", true, None),
    guarded(
        "/optivex.v1.RiskLimitsService/SetUserRiskLimits",
        true,
        Some(Role::Admin),
    ),
    guarded("/optivex.v1.RiskLimitsService/GetInstrumentRiskLimits", true, None),
    guarded(
        "/optivex.v1.RiskLimitsService/SetInstrumentRiskLimits",
        true,
        Some(Role::Admin),
    ),
    guarded("/optivex.v1.RiskLimitsService/GetRiskUsage", true, None),
    guarded("/optivex.v1.AuthService/Logout", true, None),
];

/// Any answer, by its bytes alone.
#[derive(Clone, PartialEq, Message)]
struct Anything {}

/// The rpc, called with an empty request, is refused for this reason. Where it may answer with a
/// stream, the end of the stream is the answer.
async fn refuses(session: &Session, rpc: &Guarded, reason: ErrorReason, metadata: &[(&str, &str)]) -> Verdict {
    // A call of one request and a stream of answers has the same form on the wire as any of these.
    let answer = session.follow::<_, Anything>(rpc.path, Anything {}).end().await?;
    match answer.clone().either() {
        Err(refusal) if refusal.code == Code::Unimplemented && !rpc.core => Ok(()),
        _ => answer.refused(reason, metadata).map(drop),
    }
}

async fn no_token(context: Context) -> Verdict {
    let session = context.stranger().await?;
    for rpc in &GUARDED {
        refuses(&session, rpc, ErrorReason::InvalidToken, &[]).await?;
    }
    Ok(())
}

async fn unknown_token(context: Context) -> Verdict {
    let viewer = context.viewer().await?;
    let token = viewer.token().unwrap_or_default().to_owned();
    let swapped: String = {
        let middle = token.chars().count() / 2;
        let other = |character: char| if character == 'A' { 'B' } else { 'A' };
        token
            .chars()
            .enumerate()
            .map(|(place, character)| if place == middle { other(character) } else { character })
            .collect()
    };
    let longer = format!("{token}{token}");
    for wrong in ["x", "admin", viewer.username(), swapped.as_str(), longer.as_str()] {
        let session = viewer.with_token(Some(wrong))?.labelled("a made-up token");
        session
            .try_instruments(ListInstrumentsRequest::default())
            .await
            .refused(ErrorReason::InvalidToken, &[])?;
    }
    viewer.instruments(ListInstrumentsRequest::default()).await.map(drop)
}

async fn token_is_the_client(context: Context) -> Verdict {
    let (admin, trader) = (context.admin().await?, context.trader().await?);
    // The trader's token on the administrator's connection is the trader, and the other way round.
    let trader_there = admin.with_token(trader.token())?.labelled(trader.username());
    let admin_there = trader.with_token(admin.token())?.labelled(admin.username());
    for _ in 0..3 {
        admin.instruments_or_unimplemented().await?;
        trader.instruments_or_unimplemented().await?;
        trader_there
            .try_create_instrument(context.instrument_request())
            .await
            .refused(ErrorReason::MissingRole, &[("role", Role::Admin.as_str_name())])?;
        admin_there
            .try_insert(InsertOrderRequest::default())
            .await
            .refused(ErrorReason::MissingRole, &[("role", Role::Trader.as_str_name())])?;
    }
    Ok(())
}

async fn roles(context: Context) -> Verdict {
    let (admin, viewer, trader) = (context.admin().await?, context.viewer().await?, context.trader().await?);
    for rpc in &GUARDED {
        let Some(role) = rpc.role else { continue };
        let lacking = match role {
            Role::Admin => [&viewer, &trader],
            _ => [&viewer, &admin],
        };
        for session in lacking {
            refuses(session, rpc, ErrorReason::MissingRole, &[("role", role.as_str_name())]).await?;
        }
    }
    Ok(())
}

async fn order_of_reasons(context: Context) -> Verdict {
    let (viewer, stranger) = (context.viewer().await?, context.stranger().await?);
    // Malformed in every field.
    let insert = InsertOrderRequest {
        symbol: "no such symbol".to_owned(),
        quantity: -1,
        ..InsertOrderRequest::default()
    };
    let cancel = CancelOrderRequest {
        order: Some(cancel_order_request::Order::OrderId(0)),
    };
    let role = [("role", Role::Trader.as_str_name())];
    stranger
        .try_insert(insert.clone())
        .await
        .refused(ErrorReason::InvalidToken, &[])?;
    stranger
        .try_cancel(cancel.clone())
        .await
        .refused(ErrorReason::InvalidToken, &[])?;
    viewer
        .try_insert(insert)
        .await
        .refused(ErrorReason::MissingRole, &role)?;
    viewer
        .try_cancel(cancel)
        .await
        .refused(ErrorReason::MissingRole, &role)?;
    Ok(())
}

async fn any_role_reads(context: Context) -> Verdict {
    let readers = [context.admin().await?, context.viewer().await?, context.trader().await?];
    for rpc in GUARDED.iter().filter(|rpc| rpc.path.contains(".InfoService/")) {
        for session in &readers {
            // An empty request may be refused for its form: then the role was right.
            let mut stream = session.follow::<_, Anything>(rpc.path, Anything {});
            match stream.read(session.patience()).await {
                Next::Message(_) | Next::End(None) => {}
                Next::End(Some(refusal)) => {
                    let for_the_role = matches!(refusal.code, Code::PermissionDenied | Code::Unauthenticated);
                    stream.at().holds(
                        !for_the_role && refusal.broken.is_none(),
                        refusal.to_string(),
                        "any role to read market data",
                    )?;
                }
                Next::Silence => {
                    let came = format!("nothing came within {} s", session.patience().as_secs());
                    return Err(stream.at().fail(came, "an answer"));
                }
            }
        }
    }
    Ok(())
}

async fn logout(context: Context) -> Verdict {
    let one = context.viewer().await?;
    let user = one.known_user()?;
    let two = context.login(&user).await?;
    one.logout(LogoutRequest {}).await?;
    one.try_instruments(ListInstrumentsRequest::default())
        .await
        .refused(ErrorReason::InvalidToken, &[])?;
    // On another connection too.
    context
        .stranger()
        .await?
        .with_token(one.token())?
        .labelled("the token after its logout")
        .try_instruments(ListInstrumentsRequest::default())
        .await
        .refused(ErrorReason::InvalidToken, &[])?;
    one.try_logout(LogoutRequest {})
        .await
        .refused(ErrorReason::InvalidToken, &[])?;
    two.instruments(ListInstrumentsRequest::default()).await?;
    context
        .login(&user)
        .await?
        .instruments(ListInstrumentsRequest::default())
        .await?;
    Ok(())
}

async fn logout_ends_streams(context: Context) -> Verdict {
    use subscribe_instruments_response::Event;
    let one = context.viewer().await?;
    let user = one.known_user()?;
    let two = context.login(&user).await?;
    let (mut ends, mut stays) = (one.follow_instruments(), two.follow_instruments());
    for stream in [&mut ends, &mut stays] {
        stream
            .until("snapshot_complete_event_seq", |message| {
                Ok(matches!(message.event, Some(Event::SnapshotCompleteEventSeq(_))).then_some(()))
            })
            .await?;
    }
    one.logout(LogoutRequest {}).await?;
    ends.refused(ErrorReason::InvalidToken, &[]).await?;
    // The other one lives: news still comes. What came before the logout is passed over by its symbol.
    let symbol = context.instrument().await?.symbol;
    stays
        .until("the new instrument on the session that was not logged out", |message| {
            Ok(matches!(&message.event, Some(Event::Instrument(new)) if new.symbol == symbol).then_some(()))
        })
        .await
}

async fn unknown_rpc(context: Context) -> Verdict {
    let viewer = context.viewer().await?;
    for path in ["/optivex.v1.InfoService/Fly", "/optivex.v1.FlightService/Fly"] {
        viewer
            .call::<_, Anything>(path, v1::LogoutRequest {})
            .await
            .refused_code(Code::Unimplemented)?;
    }
    viewer.instruments(ListInstrumentsRequest::default()).await.map(drop)
}

async fn many_logins(context: Context) -> Verdict {
    let mut users = Vec::new();
    for _ in 0..4 {
        let trader = context.trader().await?;
        users.extend(trader.user().cloned());
    }
    users.extend(context.viewer().await?.user().cloned());
    users.extend(context.admin().await?.user().cloned());
    let logins = users.iter().cycle().take(24).map(|user| context.login(user));
    let sessions = futures_util::future::try_join_all(logins).await?;
    let tokens: HashSet<&str> = sessions.iter().filter_map(Session::token).collect();
    if tokens.len() != sessions.len() {
        return Err(Stop::failed(
            format!("{} different tokens", tokens.len()),
            "24 different tokens",
        ));
    }
    for session in &sessions {
        let expected = session.user().map(User::contract_roles).unwrap_or_default();
        let told = sorted(session.roles().to_vec());
        if told != expected {
            return Err(Stop::failed(
                format!("roles {told:?} for {}", session.username()),
                format!("{expected:?}"),
            ));
        }
    }
    Ok(())
}
