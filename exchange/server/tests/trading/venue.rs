//! An exchange on a loopback port, and clients that are logged in.

use std::collections::BTreeMap;
use std::time::Duration;

use optivex_engine::{Engine, Limits};
use optivex_journal::history;
use optivex_proto::v1;
use optivex_proto::v1::admin_service_client::AdminServiceClient;
use optivex_proto::v1::admin_service_server::AdminServiceServer;
use optivex_proto::v1::auth_service_client::AuthServiceClient;
use optivex_proto::v1::auth_service_server::AuthServiceServer;
use optivex_proto::v1::execution_service_client::ExecutionServiceClient;
use optivex_proto::v1::execution_service_server::ExecutionServiceServer;
use optivex_proto::v1::risk_limits_service_client::RiskLimitsServiceClient;
use optivex_proto::v1::risk_limits_service_server::RiskLimitsServiceServer;
use optivex_server::auth::{Auth, UsersFile};
use optivex_server::sequencer::{self, Exchange, Options, Parts, Running};
use optivex_server::service::admin::AdminApi;
use optivex_server::service::auth::AuthApi;
use optivex_server::service::execution::ExecutionApi;
use optivex_server::service::risk_limits::RiskLimitsApi;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Status};
use tonic_types::StatusExt;

use crate::journal::{Disk, Witness};

const USERS: &str = "
users:
  - {username: alice, password: alice-password, roles: [trader]}
  - {username: bob, password: bob-password, roles: [trader, viewer]}
  - {username: carol, password: carol-password, roles: [viewer]}
  - {username: root, password: root-password, roles: [admin]}
";

/// An exchange with the users alice and bob (traders), carol (viewer) and root (admin).
pub(crate) struct Venue {
    pub(crate) disk: Disk,
    pub(crate) exchange: Exchange,
    running: Option<Running>,
    endpoint: Endpoint,
    _history_directory: tempfile::TempDir,
}

/// Adds a bearer token to every request.
#[derive(Clone)]
pub(crate) struct Token(Option<MetadataValue<Ascii>>);

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

type Connection = InterceptedService<Channel, Token>;

/// One client of one user on one connection.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) auth: AuthServiceClient<Connection>,
    pub(crate) execution: ExecutionServiceClient<Connection>,
    pub(crate) admin: AdminServiceClient<Connection>,
    pub(crate) limits: RiskLimitsServiceClient<Connection>,
}

impl Venue {
    pub(crate) async fn start() -> Self {
        Self::start_with(Limits::default()).await
    }

    pub(crate) async fn start_with(limits: Limits) -> Self {
        let disk = Disk::default();
        let history_directory = tempfile::tempdir().expect("a temporary directory");
        let (writer, history) =
            history::open(history_directory.path(), &history::HistoryOptions::default()).expect("an empty history");
        let parts = Parts {
            engine: Engine::new(limits),
            journal: Box::new(disk.clone()),
            sinks: vec![Box::new(Witness::new(&disk)), Box::new(writer)],
            store_snapshot: Box::new(|event_seq, _| Ok(event_seq)),
        };
        let options = Options {
            retry_delay: Duration::from_millis(1),
            retry_delay_max: Duration::from_millis(5),
            ..Options::default()
        };
        let running = sequencer::start(parts, options).expect("threads");
        let exchange = running.exchange();
        let users = UsersFile::parse(USERS).expect("a users file");
        exchange
            .register_users(users.usernames())
            .await
            .expect("room for users");
        let auth = Auth::default();
        auth.set_users(&users, |name| exchange.user(name))
            .expect("registered users");

        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let address = listener.local_addr().expect("its address");
        let server = Server::builder()
            // As `serve` does: a stalled stream leaves room for others on its connection.
            .initial_stream_window_size(64 * 1024)
            .initial_connection_window_size(4 * 1024 * 1024)
            .add_service(AuthServiceServer::new(AuthApi::new(auth.clone())))
            .add_service(ExecutionServiceServer::new(ExecutionApi::new(
                exchange.clone(),
                auth.clone(),
                history,
            )))
            .add_service(AdminServiceServer::new(AdminApi::new(exchange.clone(), auth.clone())))
            .add_service(RiskLimitsServiceServer::new(RiskLimitsApi::new(exchange.clone(), auth)))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(server);
        Self {
            disk,
            exchange,
            running: Some(running),
            endpoint: Endpoint::from_shared(format!("http://{address}")).expect("an address"),
            _history_directory: history_directory,
        }
    }

    /// A client on a connection of its own.
    pub(crate) async fn login(&self, username: &str) -> Client {
        let channel = self.endpoint.connect().await.expect("a server that listens");
        let request = v1::LoginRequest {
            username: username.to_owned(),
            password: format!("{username}-password"),
        };
        let login = AuthServiceClient::new(channel.clone()).login(request).await;
        let token = login.expect("a known user").into_inner().token;
        let token = format!("Bearer {token}").parse().expect("an ASCII token");
        Client::new(channel, Token(Some(token)))
    }

    /// A client that is nobody.
    pub(crate) async fn anonymous(&self) -> Client {
        let channel = self.endpoint.connect().await.expect("a server that listens");
        Client::new(channel, Token(None))
    }

    /// A client of root, with instrument ABC listed: tick 100, multiplier 10, continuous.
    pub(crate) async fn list_abc(&self) -> Client {
        let mut root = self.login("root").await;
        root.create("ABC").await;
        root
    }

    pub(crate) fn take_running(&mut self) -> Running {
        self.running.take().expect("only once")
    }
}

impl Client {
    fn new(channel: Channel, token: Token) -> Self {
        Self {
            auth: AuthServiceClient::with_interceptor(channel.clone(), token.clone()),
            execution: ExecutionServiceClient::with_interceptor(channel.clone(), token.clone()),
            admin: AdminServiceClient::with_interceptor(channel.clone(), token.clone()),
            limits: RiskLimitsServiceClient::with_interceptor(channel, token),
        }
    }

    pub(crate) async fn create(&mut self, symbol: &str) -> v1::CreateInstrumentResponse {
        let response = self.admin.create_instrument(instrument(symbol)).await;
        response.expect("a new instrument").into_inner()
    }

    pub(crate) async fn phase(&mut self, symbol: &str, phase: v1::TradingPhase) -> v1::SetTradingPhaseResponse {
        let request = v1::SetTradingPhaseRequest {
            symbol: symbol.to_owned(),
            phase: phase.into(),
        };
        let response = self.admin.set_trading_phase(request).await;
        response.expect("a phase that can be entered").into_inner()
    }

    pub(crate) async fn insert(&mut self, request: v1::InsertOrderRequest) -> v1::InsertOrderResponse {
        let response = self.execution.insert_order(request).await;
        response.expect("an order that is taken").into_inner()
    }
}

/// An instrument with tick 100 and multiplier 10.
pub(crate) fn instrument(symbol: &str) -> v1::CreateInstrumentRequest {
    v1::CreateInstrumentRequest {
        symbol: symbol.to_owned(),
        description: "a test".to_owned(),
        currency: "EUR".to_owned(),
        multiplier: 10,
        tick_size_e4: 100,
        initial_phase: 0,
        client_request_id: String::new(),
    }
}

pub(crate) fn buy(symbol: &str, price_e4: i64, quantity: i64) -> v1::InsertOrderRequest {
    v1::InsertOrderRequest {
        symbol: symbol.to_owned(),
        side: v1::Side::Buy.into(),
        price_e4,
        quantity,
        ..Default::default()
    }
}

pub(crate) fn sell(symbol: &str, price_e4: i64, quantity: i64) -> v1::InsertOrderRequest {
    v1::InsertOrderRequest {
        side: v1::Side::Sell.into(),
        ..buy(symbol, price_e4, quantity)
    }
}

/// What a status says to programs, on one line; fails if the trailer, the domain or the metadata's
/// place is not as the contract says.
pub(crate) fn told(status: &Status) -> String {
    let details = status.get_error_details();
    let info = details.error_info().expect("ErrorInfo in the details");
    assert_eq!(info.domain, "optivex");
    let trailer = status
        .metadata()
        .get("optivex-reason")
        .expect("the trailer optivex-reason");
    assert_eq!(trailer.to_str().expect("ASCII"), info.reason);
    assert!(!status.message().is_empty(), "words for people");
    let metadata: BTreeMap<_, _> = info.metadata.iter().collect();
    let retry = details.retry_info().and_then(|info| info.retry_delay);
    line(status.code(), &info.reason, &metadata, retry)
}

/// The same of a refused command of `OrderEntry`.
pub(crate) fn told_by_entry(error: &v1::CommandError) -> String {
    let reason = error.reason().as_str_name();
    let metadata: BTreeMap<_, _> = error.metadata.iter().collect();
    let retry = (error.retry_after_ns != 0).then(|| Duration::from_nanos(error.retry_after_ns.unsigned_abs()));
    let reason = reason.strip_prefix("ERROR_REASON_").expect("the prefix of all reasons");
    line(tonic::Code::from(error.code), reason, &metadata, retry)
}

fn line(code: tonic::Code, reason: &str, metadata: &BTreeMap<&String, &String>, retry: Option<Duration>) -> String {
    // How long depends on the clock; that it is there and not longer than the window does not.
    let retry = retry.map_or(String::new(), |delay| {
        assert!(delay <= Duration::from_secs(86_400));
        " + RetryInfo".to_owned()
    });
    format!("{code:?} {reason} {metadata:?}{retry}")
}
