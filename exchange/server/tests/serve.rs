//! `optivex serve` as operators and clients meet it: the real binary, real sockets, real signals.
//!
//! Runtimes have a worker of their own, so that clients answer while a test waits for the process.

#[allow(unreachable_pub)] // A module of tests.
mod process;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;

use optivex_proto::v1::auth_service_client::AuthServiceClient;
use optivex_proto::v1::execution_service_client::ExecutionServiceClient;
use optivex_proto::v1::info_service_client::InfoServiceClient;
use optivex_proto::v1::{ListInstrumentsRequest, LoginRequest, OrderEntryRequest, SubscribeTradesRequest};
use process::{Place, Token, login, stderr};
use rustix::process::Signal;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

const SERVICES: [&str; 5] = [
    "optivex.v1.AdminService",
    "optivex.v1.AuthService",
    "optivex.v1.ExecutionService",
    "optivex.v1.InfoService",
    "optivex.v1.RiskLimitsService",
];

/// HTTP/2's preface and an empty SETTINGS frame: a client that never says anything else.
const SILENT_HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

fn reason(status: &Status) -> String {
    let details = status
        .get_details_error_info()
        .map(|info| info.reason)
        .unwrap_or_default();
    let trailer = status
        .metadata()
        .get("optivex-reason")
        .map(|value| value.to_str().unwrap());
    assert_eq!(trailer.unwrap_or_default(), details, "{status:?}");
    details
}

async fn health(channel: &Channel, service: &str) -> Result<ServingStatus, Code> {
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    let answer = HealthClient::new(channel.clone()).check(request).await;
    answer
        .map(|answer| answer.into_inner().status())
        .map_err(|status| status.code())
}

async fn tape(channel: &Channel, token: &Token) -> Streaming<optivex_proto::v1::SubscribeTradesResponse> {
    let mut client = InfoServiceClient::new(channel.clone());
    let request = token.with(SubscribeTradesRequest::default());
    client.subscribe_trades(request).await.unwrap().into_inner()
}

/// The status that a stream ends with, whatever it sends before.
async fn end<T>(stream: &mut Streaming<T>) -> Status {
    loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            Ok(None) => return Status::ok(""),
            Err(status) => return status,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn health_reflection_and_unknown_rpcs() {
    let place = Place::new();
    let exchange = place.start([]);
    let channel = exchange.connect().await;
    for service in SERVICES.into_iter().chain([""]) {
        assert_eq!(health(&channel, service).await, Ok(ServingStatus::Serving), "{service}");
    }
    assert_eq!(health(&channel, "optivex.v1.Nothing").await, Err(Code::NotFound));

    let listed = reflect_v1(&channel).await;
    assert_eq!(listed, reflect_v1alpha(&channel).await);
    for service in SERVICES.into_iter().chain(["grpc.health.v1.Health"]) {
        assert!(listed.iter().any(|listed| listed == service), "{service} in {listed:?}");
    }

    for path in [
        "/optivex.v1.InfoService/Nothing",
        "/optivex.v1.Nothing/Login",
        "/nothing",
    ] {
        let mut client = tonic::client::Grpc::new(channel.clone());
        client.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<ListInstrumentsRequest, ListInstrumentsRequest>::default();
        let request = Request::new(ListInstrumentsRequest::default());
        let status = client
            .unary(request, PathAndQuery::from_static(path), codec)
            .await
            .unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{path}");
    }
    exchange.stop();
}

async fn reflect_v1(channel: &Channel) -> Vec<String> {
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    let request = tonic_reflection::pb::v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = ServerReflectionClient::new(channel.clone())
        .server_reflection_info(tokio_stream::once(request))
        .await
        .unwrap()
        .into_inner();
    match answers.message().await.unwrap().unwrap().message_response {
        Some(MessageResponse::ListServicesResponse(list)) => list.service.into_iter().map(|s| s.name).collect(),
        other => panic!("{other:?}"),
    }
}

async fn reflect_v1alpha(channel: &Channel) -> Vec<String> {
    use tonic_reflection::pb::v1alpha::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1alpha::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1alpha::server_reflection_response::MessageResponse;
    let request = tonic_reflection::pb::v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = ServerReflectionClient::new(channel.clone())
        .server_reflection_info(tokio_stream::once(request))
        .await
        .unwrap()
        .into_inner();
    match answers.message().await.unwrap().unwrap().message_response {
        Some(MessageResponse::ListServicesResponse(list)) => list.service.into_iter().map(|s| s.name).collect(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn sigterm_ends_streams_with_a_status_whatever_clients_do() {
    let place = Place::new();
    let exchange = place.start(["--shutdown-grace", "3s"]);
    let channel = exchange.connect().await;
    let (alice, viewer) = (login(&channel, "alice").await, login(&channel, "viewer").await);
    let mut trades = tape(&channel, &viewer).await;
    let (_orders, requests) = mpsc::channel(1);
    let mut entry = ExecutionServiceClient::new(channel.clone())
        .order_entry(alice.with(ReceiverStream::<OrderEntryRequest>::new(requests)))
        .await
        .unwrap()
        .into_inner();
    let mut watch = HealthClient::new(channel.clone())
        .watch(HealthCheckRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    // One that greets and never answers, and one that does not even greet.
    let mut silent = TcpStream::connect(exchange.address).unwrap();
    silent.write_all(SILENT_HELLO).unwrap();
    let _mute = TcpStream::connect(exchange.address).unwrap();

    exchange.signal(Signal::TERM);
    assert_eq!(reason(&end(&mut trades).await), "NOT_READY");
    assert_eq!(reason(&end(&mut entry).await), "NOT_READY");
    assert_eq!(
        watch.message().await.unwrap().unwrap().status(),
        ServingStatus::NotServing
    );
    let (status, log) = exchange.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("everything is durable"), "{log}");
    // What was in the journal is there again.
    let again = place.start([]);
    assert!(
        again.greeting.contains("event 4, snapshot of event 4"),
        "{}",
        again.greeting
    );
    again.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_second_signal_ends_at_once() {
    let place = Place::new();
    let mut exchange = place.start(["--shutdown-grace", "1h"]);
    let mut silent = TcpStream::connect(exchange.address).unwrap();
    silent.write_all(SILENT_HELLO).unwrap();
    // The server's SETTINGS: it knows the client.
    silent.read_exact(&mut [0; 9]).unwrap();
    exchange.signal(Signal::TERM);
    exchange.logged("taking no more commands");
    exchange.signal(Signal::INT);
    let (status, log) = exchange.ended();
    assert_eq!(status.code(), Some(1), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn silent_connections_are_closed() {
    let place = Place::new();
    let exchange = place.start(["--keepalive-interval", "100ms", "--keepalive-timeout", "2s"]);
    let silent = [&b""[..], b"PRI * HT", SILENT_HELLO].map(|hello| {
        let mut client = TcpStream::connect(exchange.address).unwrap();
        client.write_all(hello).unwrap();
        client
    });
    for mut client in silent {
        let mut said = Vec::new();
        // The end, or a reset: not for ever.
        client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        if let Err(error) = client.read_to_end(&mut said) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        }
    }
    // One that answers is not.
    let channel = exchange.connect().await;
    let viewer = login(&channel, "viewer").await;
    let mut trades = tape(&channel, &viewer).await;
    for _ in 0..3 {
        trades.message().await.unwrap().unwrap();
    }
    exchange.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn sizes_are_bounded() {
    let place = Place::new();
    let exchange = place.start(["--max-message-size", "2KiB", "--max-header-list-size", "4KiB"]);
    let channel = exchange.connect().await;
    let mut client = AuthServiceClient::new(channel.clone());
    let request = |length: usize| LoginRequest {
        username: "x".to_owned(),
        password: "p".repeat(length),
    };
    let status = client.login(request(2040)).await.unwrap_err();
    assert_eq!(reason(&status), "INVALID_FIELD");
    let status = client.login(request(100_000)).await.unwrap_err();
    assert_eq!(
        (status.code(), &*reason(&status)),
        (Code::ResourceExhausted, "CAPACITY")
    );
    let info = status.get_details_error_info().unwrap();
    assert_eq!(
        (&*info.metadata["limit_name"], &*info.metadata["limit"]),
        ("message_bytes", "2048")
    );

    let mut request = Request::new(ListInstrumentsRequest::default());
    request
        .metadata_mut()
        .insert("x-long", "h".repeat(10_000).parse().unwrap());
    InfoServiceClient::new(channel.clone())
        .list_instruments(request)
        .await
        .unwrap_err();
    assert_eq!(health(&channel, "").await, Ok(ServingStatus::Serving));
    exchange.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn messages_that_do_not_decode() {
    let place = Place::new();
    let exchange = place.start([]);
    let channel = exchange.connect().await;
    let alice = login(&channel, "alice").await;
    // Any has a string and bytes where LoginRequest has two strings, and OrderEntryRequest a number first.
    let codec = tonic_prost::ProstCodec::<prost_types::Any, LoginRequest>::default;
    let garbage = || prost_types::Any {
        type_url: "alice".to_owned(),
        value: vec![0xff],
    };
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let path = PathAndQuery::from_static("/optivex.v1.AuthService/Login");
    let status = client.unary(Request::new(garbage()), path, codec()).await.unwrap_err();
    assert_eq!(
        (status.code(), &*reason(&status)),
        (Code::InvalidArgument, "INVALID_FIELD")
    );
    assert_eq!(status.get_details_error_info().unwrap().metadata["field"], "password");

    client.ready().await.unwrap();
    let path = PathAndQuery::from_static("/optivex.v1.ExecutionService/OrderEntry");
    let request = alice.with(tokio_stream::once(garbage()));
    let status = match client.streaming(request, path, codec()).await {
        Ok(stream) => end(&mut stream.into_inner()).await,
        Err(status) => status,
    };
    assert_eq!(
        (status.code(), &*reason(&status)),
        (Code::InvalidArgument, "INVALID_FIELD")
    );
    exchange.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn streams_and_connections_are_bounded() {
    let place = Place::new();
    let exchange = place.start(["--max-concurrent-streams", "2", "--max-connections", "1"]);
    let channel = exchange.connect().await;
    let viewer = login(&channel, "viewer").await;
    let first = tape(&channel, &viewer).await;
    let _second = tape(&channel, &viewer).await;
    // The third waits for its turn on this connection, as HTTP/2 has it.
    let third = health(&channel, "");
    tokio::pin!(third);
    timeout(Duration::from_millis(300), &mut third).await.unwrap_err();
    drop(first);
    assert_eq!(third.await, Ok(ServingStatus::Serving));
    // A second connection is closed before it is served.
    let mut other = TcpStream::connect(exchange.address).unwrap();
    other.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let closed = other.read(&mut [0; 1]);
    assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
    exchange.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn deadlines_end_streams_too() {
    let place = Place::new();
    let exchange = place.start([]);
    let channel = exchange.connect().await;
    let viewer = login(&channel, "viewer").await;
    let mut client = InfoServiceClient::new(channel.clone());
    let mut request = viewer.with(SubscribeTradesRequest::default());
    request.metadata_mut().insert("grpc-timeout", "200m".parse().unwrap());
    let mut stream = client.subscribe_trades(request).await.unwrap().into_inner();
    assert_eq!(end(&mut stream).await.code(), Code::DeadlineExceeded);
    let mut request = viewer.with(ListInstrumentsRequest::default());
    request.metadata_mut().insert("grpc-timeout", "soon".parse().unwrap());
    let status = client.list_instruments(request).await.unwrap_err();
    assert_eq!(reason(&status), "INVALID_FIELD");
    exchange.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn sighup_reads_the_users_file_again() {
    let place = Place::new();
    let mut exchange = place.start([]);
    let channel = exchange.connect().await;
    let mut client = AuthServiceClient::new(channel.clone());
    let carol = || LoginRequest {
        username: "carol".to_owned(),
        password: "carol".to_owned(),
    };
    let (alice, viewer) = (login(&channel, "alice").await, login(&channel, "viewer").await);
    let mut kept = tape(&channel, &alice).await;
    let mut lost = tape(&channel, &viewer).await;
    assert_eq!(reason(&client.login(carol()).await.unwrap_err()), "INVALID_CREDENTIALS");

    place.write(
        "users.yaml",
        "users: [{username: carol, passwort: carol, roles: [trader]}]",
    );
    exchange.signal(Signal::HUP);
    let error = exchange.logged("the users stay as they were");
    assert!(error.contains("users[0] (carol)"), "{error}");
    login(&channel, "viewer").await;

    let without_viewer = process::USERS.lines().filter(|line| !line.contains("username: viewer"));
    let mut users: String = without_viewer.map(|line| format!("{line}\n")).collect();
    users += "  - {username: carol, password: carol, roles: [trader]}\n";
    place.write("users.yaml", &users);
    exchange.signal(Signal::HUP);
    exchange.logged("users file reloaded");
    client.login(carol()).await.unwrap();
    assert_eq!(reason(&end(&mut lost).await), "INVALID_TOKEN");
    kept.message().await.unwrap().unwrap();
    exchange.stop();
}

#[test]
fn what_stops_a_start() {
    let place = Place::new();
    let running = place.start([]);
    place.write("bad-users.yaml", "users: []");
    place.write("bad.yaml", "lissten: 127.0.0.1:1");
    let other = place.path("data2");
    let other = other.to_str().unwrap();
    let taken = running.address.to_string();
    let serve = |args: &[&str]| {
        let mut command = place.optivex(["serve"]);
        let output = command.args(args).output().unwrap();
        (output.status.code().unwrap(), stderr(&output))
    };
    let table: [(&[&str], i32, &str); 10] = [
        (
            &["--users", "users.yaml", "--listen", &taken, "--data-dir", other],
            1,
            "cannot listen on 127.0.0.1:",
        ),
        (
            &["--users", "users.yaml", "--listen", "127.0.0.1:0", "--data-dir", "data"],
            1,
            "another process uses the data directory data",
        ),
        (
            &["--users", "none.yaml", "--listen", "127.0.0.1:0", "--data-dir", other],
            1,
            "cannot read the users file none.yaml",
        ),
        (
            &[
                "--users",
                "bad-users.yaml",
                "--listen",
                "127.0.0.1:0",
                "--data-dir",
                other,
            ],
            1,
            "users: the list is empty",
        ),
        (
            &[
                "--users",
                "users.yaml",
                "--listen",
                "127.0.0.1:0",
                "--data-dir",
                other,
                "--metrics-listen",
                &taken,
            ],
            1,
            "cannot serve metrics on",
        ),
        (
            &[
                "--users",
                "users.yaml",
                "--listen",
                "127.0.0.1:0",
                "--data-dir",
                "users.yaml",
            ],
            1,
            "cannot open the exchange's data: cannot create users.yaml",
        ),
        (&["--demo", "--log", "=x="], 2, "log: \"=x=\""),
        (&["--config", "bad.yaml"], 2, "unknown setting \"lissten\""),
        (&["--listen", "127.0.0.1:0"], 2, "users: is missing"),
        (&["--no-such-flag"], 2, "--no-such-flag"),
    ];
    for (args, code, what) in table {
        let (exit, told) = serve(args);
        assert_eq!(exit, code, "{args:?}: {told}");
        assert!(told.contains(what), "{args:?}: {told}");
        assert!(!told.contains("panicked") && !told.contains("backtrace"), "{told}");
        let errors = told.lines().filter(|line| line.starts_with("optivex: ")).count();
        assert_eq!(errors, usize::from(!args[0].contains("no-such")), "{args:?}: {told}");
    }
    running.stop();
}

#[test]
fn a_damaged_journal_stops_the_start() {
    let place = Place::new();
    place.start([]).stop();
    let journal = place.path("data").join("journal");
    let segment = std::fs::read_dir(&journal)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .min()
        .unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    // A record in the middle: users have names.
    let at = bytes.windows(5).position(|window| window == b"alice").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let output = place.fails([]);
    let told = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    let error = told.lines().find(|line| line.starts_with("optivex: ")).unwrap();
    let name = segment.file_name().unwrap().to_str().unwrap();
    assert!(error.contains(name), "{error}");
    assert!(!told.contains("panicked"), "{told}");
}

#[test]
fn flags_environment_file_in_this_order() {
    let place = Place::new();
    place.write(
        "config.yaml",
        "users: users.yaml\nlisten: 127.0.0.3:0\ndata_dir: from-file\nlog_format: json\n",
    );
    let serve = |env: &[(&str, &str)], args: &[&str]| {
        let mut command = place.optivex(["serve", "--config", "config.yaml"]);
        command.args(args).envs(env.iter().copied());
        process::Exchange::start(&mut command)
    };
    let mut exchange = serve(&[], &[]);
    assert_eq!(exchange.address.ip().to_string(), "127.0.0.3");
    assert!(exchange.logged("recovered").starts_with('{'), "JSON");
    exchange.stop();
    let exchange = serve(&[("OPTIVEX_LISTEN", "127.0.0.2:0")], &[]);
    assert_eq!(exchange.address.ip().to_string(), "127.0.0.2");
    exchange.stop();
    let exchange = serve(&[("OPTIVEX_LISTEN", "127.0.0.2:0")], &["--listen", "127.0.0.1:0"]);
    assert_eq!(exchange.address.ip().to_string(), "127.0.0.1");
    assert!(place.path("from-file").is_dir());
    exchange.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_demo() {
    let place = Place::new();
    for _ in 0..2 {
        let mut command = place.optivex(["serve", "--demo", "--listen", "127.0.0.1:0", "--data-dir", "data"]);
        let exchange = process::Exchange::start(&mut command);
        let channel = exchange.connect().await;
        for name in ["alice", "bob", "admin"] {
            login(&channel, name).await;
        }
        let viewer = login(&channel, "viewer").await;
        let list = InfoServiceClient::new(channel)
            .list_instruments(viewer.with(ListInstrumentsRequest::default()))
            .await
            .unwrap()
            .into_inner();
        let symbols: Vec<_> = list.instruments.iter().map(|i| i.symbol.as_str()).collect();
        assert_eq!(symbols, ["DEMO", "FUT-DEC", "SPREAD"]);
        exchange.stop();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_hashed_password_logs_in() {
    let place = Place::new();
    let mut child = place
        .optivex(["hash-password"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"dora\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let hash = String::from_utf8(output.stdout).unwrap();
    let users = format!(
        "users: [{{username: dora, password_hash: '{}', roles: [viewer]}}]",
        hash.trim()
    );
    place.write("users.yaml", &users);
    let exchange = place.start([]);
    login(&exchange.connect().await, "dora").await;
    exchange.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn metrics_are_served() {
    let place = Place::new();
    let mut exchange = place.start(["--metrics-listen", "127.0.0.1:0"]);
    let line = exchange.logged("metrics are at /metrics");
    let address = line.rsplit_once("address=").unwrap().1.trim().to_owned();
    login(&exchange.connect().await, "alice").await;
    let get = |path: &str| {
        let mut http = TcpStream::connect(&address).unwrap();
        write!(http, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        http.read_to_string(&mut answer).unwrap();
        answer
    };
    let metrics = get("/metrics");
    for expected in [
        "HTTP/1.1 200 OK",
        "optivex_logins_total{outcome=\"accepted\"} 1",
        "optivex_rpcs_total{method=\"optivex.v1.AuthService/Login\",code=\"Ok\"} 1",
        "optivex_events_total 4",
        "optivex_ready 1",
        "optivex_sessions 1",
    ] {
        assert!(metrics.contains(expected), "{expected} in {metrics}");
    }
    let names = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    for name in names {
        let row = format!("| `{name}` |");
        assert!(include_str!("../README.md").contains(&row), "README.md lacks {name}");
    }
    assert!(get("/").starts_with("HTTP/1.1 404"));
    exchange.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn nothing_secret_is_logged() {
    let place = Place::new();
    place.write(
        "users.yaml",
        "users: [{username: eve, password: Tr0ub4dor&3, roles: [viewer]}]",
    );
    let exchange = place.start(["--log", "trace"]);
    let channel = exchange.connect().await;
    let mut client = AuthServiceClient::new(channel.clone());
    let request = |password: &str| LoginRequest {
        username: "eve".to_owned(),
        password: password.to_owned(),
    };
    client.login(request("Wr0ngh0rse")).await.unwrap_err();
    let token = client.login(request("Tr0ub4dor&3")).await.unwrap().into_inner().token;
    let bearer = Token(token.clone());
    InfoServiceClient::new(channel.clone())
        .list_instruments(bearer.with(ListInstrumentsRequest::default()))
        .await
        .unwrap();
    drop((client, channel));
    let log = exchange.stop();
    let line = log
        .lines()
        .find(|line| line.contains("ListInstruments") && line.contains("done"))
        .unwrap();
    for field in [
        "user=\"eve\"",
        "peer=127.0.0.1:",
        "request=1-3",
        "code=Ok",
        "latency_us=",
    ] {
        assert!(line.contains(field), "{field} in {line}");
    }
    for secret in ["Wr0ngh0rse", "Tr0ub4dor", &token] {
        assert!(
            !log.contains(secret),
            "{}",
            log.lines().find(|line| line.contains(secret)).unwrap()
        );
    }
}
