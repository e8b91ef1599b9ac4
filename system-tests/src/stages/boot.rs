//! Stage 1: it starts, says so, shows its contract, and refuses cleanly what it does not know.

use futures_util::stream;
use optivex_proto::v1::ListInstrumentsRequest;
use prost_reflect::prost_types::FileDescriptorProto;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::{v1, v1alpha};

use crate::case::{Case, Stage};
use crate::client::{At, Session};
use crate::context::Context;
use crate::run;
use crate::verdict::Verdict;

/// The stage.
pub const STAGE: Stage = Stage {
    slug: "boot",
    title: "Boot",
    number: 1,
    core: true,
    builds_on: &[],
    cases: &[
        Case::new(
            "health",
            "grpc.health.v1 answers SERVING for the server as a whole, and wants no token.",
            "auth.proto AuthService; launch convention",
            run!(serving),
        )
        .base(),
        Case::new(
            "reflection",
            "Reflection lists the contract's five services and describes them, and wants no token.",
            "auth.proto AuthService; grpc.reflection.v1 or v1alpha",
            run!(reflection),
        ),
        Case::new(
            "unknown-rpc",
            "A call of a method or a service that is not there is refused, and the connection goes on.",
            "gRPC status UNIMPLEMENTED",
            run!(unknown_rpc),
        ),
        Case::new(
            "garbage-request",
            "A request that is no protobuf message is refused, and the connection goes on.",
            "common.proto, errors are gRPC statuses",
            run!(garbage_request),
        ),
        Case::new(
            "many-connections",
            "Fifty clients are served at the same time, each on a connection of its own.",
            "launch convention",
            run!(many_connections),
        ),
    ],
};

/// The contract's services, and an rpc of each.
const SERVICES: [(&str, &str); 5] = [
    ("optivex.v1.AdminService", "CreateInstrument"),
    ("optivex.v1.AuthService", "Login"),
    ("optivex.v1.ExecutionService", "InsertOrder"),
    ("optivex.v1.InfoService", "SubscribeOrderBooks"),
    ("optivex.v1.RiskLimitsService", "SetUserRiskLimits"),
];

/// Health over this very connection.
async fn check_health(session: &Session) -> Verdict {
    let at = session.note("/grpc.health.v1.Health/Check");
    let asking = async {
        let mut client = HealthClient::new(session.channel());
        client.check(HealthCheckRequest::default()).await
    };
    match tokio::time::timeout(session.patience(), asking).await {
        Ok(Ok(answer)) => {
            let status = answer.into_inner().status();
            at.came_other(status.as_str_name());
            at.same("status", status, ServingStatus::Serving)
        }
        Ok(Err(status)) => Err(at.fail(at.refused(&status).to_string(), "SERVING")),
        Err(_) => Err(at.fail(at.silent(session.patience()).to_string(), "SERVING")),
    }
}

async fn serving(context: Context) -> Verdict {
    check_health(&context.stranger().await?).await
}

/// What reflection says to one request, in either of its versions.
enum Told {
    Services(Vec<String>),
    Files(Vec<Vec<u8>>),
    Nothing,
}

async fn ask_v1(session: &Session, ask: v1::server_reflection_request::MessageRequest) -> Result<Told, Status> {
    use v1::server_reflection_response::MessageResponse;
    let request = v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(ask),
    };
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(session.channel());
    let answer = client
        .server_reflection_info(stream::iter([request]))
        .await?
        .into_inner()
        .message()
        .await?;
    Ok(match answer.and_then(|answer| answer.message_response) {
        Some(MessageResponse::ListServicesResponse(list)) => {
            Told::Services(list.service.into_iter().map(|service| service.name).collect())
        }
        Some(MessageResponse::FileDescriptorResponse(files)) => Told::Files(files.file_descriptor_proto),
        _ => Told::Nothing,
    })
}

async fn ask_v1alpha(
    session: &Session,
    ask: v1alpha::server_reflection_request::MessageRequest,
) -> Result<Told, Status> {
    use v1alpha::server_reflection_response::MessageResponse;
    let request = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(ask),
    };
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(session.channel());
    let answer = client
        .server_reflection_info(stream::iter([request]))
        .await?
        .into_inner()
        .message()
        .await?;
    Ok(match answer.and_then(|answer| answer.message_response) {
        Some(MessageResponse::ListServicesResponse(list)) => {
            Told::Services(list.service.into_iter().map(|service| service.name).collect())
        }
        Some(MessageResponse::FileDescriptorResponse(files)) => Told::Files(files.file_descriptor_proto),
        _ => Told::Nothing,
    })
}

/// Asks version v1, and v1alpha if the exchange does not have that.
async fn reflect(session: &Session, symbol: Option<&str>) -> Verdict<(At, Told)> {
    let what = symbol.map_or("list_services".to_owned(), |symbol| {
        format!("file_containing_symbol {symbol}")
    });
    let at = session.note(&format!(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo: {what}"
    ));
    let asking = async {
        let first = ask_v1(
            session,
            match symbol {
                None => v1::server_reflection_request::MessageRequest::ListServices(String::new()),
                Some(symbol) => v1::server_reflection_request::MessageRequest::FileContainingSymbol(symbol.to_owned()),
            },
        )
        .await;
        match first {
            Err(status) if status.code() == Code::Unimplemented => {
                ask_v1alpha(
                    session,
                    match symbol {
                        None => v1alpha::server_reflection_request::MessageRequest::ListServices(String::new()),
                        Some(symbol) => {
                            v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol(symbol.to_owned())
                        }
                    },
                )
                .await
            }
            other => other,
        }
    };
    match tokio::time::timeout(session.patience(), asking).await {
        Ok(Ok(told)) => Ok((at, told)),
        Ok(Err(status)) => Err(at.fail(at.refused(&status).to_string(), "an answer")),
        Err(_) => Err(at.fail(at.silent(session.patience()).to_string(), "an answer")),
    }
}

async fn reflection(context: Context) -> Verdict {
    let session = context.stranger().await?;
    let (at, told) = reflect(&session, None).await?;
    let Told::Services(services) = told else {
        return Err(at.fail("no list of services", "a list of services"));
    };
    at.came_other(services.join(", "));
    for (service, rpc) in SERVICES {
        at.holds(
            services.iter().any(|known| known == service),
            format!("{service} is missing"),
            "the contract's five services",
        )?;
        let (at, told) = reflect(&session, Some(service)).await?;
        let Told::Files(files) = told else {
            return Err(at.fail("no file descriptor", format!("the file that describes {service}")));
        };
        let described = files.iter().any(|bytes| {
            let file: Result<FileDescriptorProto, _> = prost::Message::decode(bytes.as_slice());
            file.is_ok_and(|file| {
                file.service.iter().any(|described| {
                    format!("{}.{}", file.package(), described.name()) == service
                        && described.method.iter().any(|method| method.name() == rpc)
                })
            })
        });
        at.came_other(format!("{} files", files.len()));
        at.holds(
            described,
            "no file describes it",
            format!("the file that describes {service} with its rpc {rpc}"),
        )?;
    }
    Ok(())
}

async fn unknown_rpc(context: Context) -> Verdict {
    let session = context.stranger().await?;
    for path in ["/optivex.v1.InfoService/Fly", "/optivex.v1.FlightService/Fly", "/Fly"] {
        let answer = session
            .call::<_, ListInstrumentsRequest>(path, ListInstrumentsRequest::default())
            .await;
        // Who asks for the token first may say so: this client has none.
        match answer.either() {
            Err(refusal)
                if matches!(refusal.code, Code::Unimplemented | Code::Unauthenticated) && refusal.broken.is_none() => {}
            Err(refusal) => return Err(refusal.fail(refusal.to_string(), "UNIMPLEMENTED")),
            Ok(reply) => return Err(reply.fail("the call succeeded", "UNIMPLEMENTED")),
        }
        check_health(&session).await?;
    }
    Ok(())
}

/// A message of the contract's only by its place on the wire.
#[derive(Clone, PartialEq, prost::Message)]
struct Garbage {
    /// In a login, field 1 is a text: this is no UTF-8.
    #[prost(bytes = "vec", tag = "1")]
    bytes: Vec<u8>,
}

async fn garbage_request(context: Context) -> Verdict {
    let session = context.stranger().await?;
    let garbage = Garbage {
        bytes: vec![0xff, 0xfe, 0x00, 0x80],
    };
    match session
        .call::<_, Garbage>("/optivex.v1.AuthService/Login", garbage)
        .await
        .either()
    {
        Err(refusal) => refusal.at().holds(
            refusal.broken.is_none(),
            refusal.to_string(),
            "a status: the connection is not the request's",
        )?,
        Ok(reply) => return Err(reply.fail("the call succeeded", "a refusal")),
    }
    check_health(&session).await
}

async fn many_connections(context: Context) -> Verdict {
    let mut sessions = Vec::new();
    for _ in 0..50 {
        sessions.push(context.stranger().await?);
    }
    let checks = sessions.iter().map(check_health);
    futures_util::future::try_join_all(checks).await.map(drop)
}
