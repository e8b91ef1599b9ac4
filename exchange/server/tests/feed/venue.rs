//! An exchange with market data on a loopback port, and clients that are logged in.

use std::collections::BTreeMap;
use std::time::Duration;

use optivex_engine::command::{InsertOrder, OrderTerms};
use optivex_engine::types::{ClientOrderId, OrderType, SelfTradePrevention, Side, TimeInForce, UserId};
use optivex_engine::{Command, Engine, Limits};
use optivex_journal::history;
use optivex_proto::v1;
use optivex_proto::v1::admin_service_client::AdminServiceClient;
use optivex_proto::v1::admin_service_server::AdminServiceServer;
use optivex_proto::v1::auth_service_client::AuthServiceClient;
use optivex_proto::v1::auth_service_server::AuthServiceServer;
use optivex_proto::v1::execution_service_client::ExecutionServiceClient;
use optivex_proto::v1::execution_service_server::ExecutionServiceServer;
use optivex_proto::v1::info_service_client::InfoServiceClient;
use optivex_proto::v1::subscribe_order_books_response::Event;
use optivex_server::auth::{Auth, UsersFile};
use optivex_server::feed::{Feed, FeedSettings, FeedThread};
use optivex_server::sequencer::{self, Answer, Exchange, Options, Parts, Running};
use optivex_server::service::admin::AdminApi;
use optivex_server::service::auth::AuthApi;
use optivex_server::service::execution::ExecutionApi;
use optivex_server::service::info::InfoApi;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Status, Streaming};
use tonic_types::StatusExt;

use crate::journal::Disk;

const USERS: &str = "
users:
  - {username: alice, password: alice-password, roles: [trader]}
  - {username: bob, password: bob-password, roles: [trader, viewer]}
  - {username: carol, password: carol-password, roles: [viewer]}
  - {username: root, password: root-password, roles: [admin]}
";

/// An exchange with the users alice and bob (traders), carol (viewer) and root (admin).
pub(crate) struct Venue {
    pub(crate) exchange: Exchange,
    running: Option<Running>,
    endpoint: Endpoint,
    feed: Option<FeedThread>,
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
    pub(crate) info: InfoServiceClient<Connection>,
}

impl Venue {
    pub(crate) async fn start() -> Self {
        Self::start_with(&FeedSettings::default()).await
    }

    pub(crate) async fn start_with(settings: &FeedSettings) -> Self {
        let history_directory = tempfile::tempdir().expect("a temporary directory");
        let (writer, history) =
            history::open(history_directory.path(), &history::HistoryOptions::default()).expect("an empty history");
        let engine = Engine::new(Limits::default());
        let (feed, sink, thread) = Feed::start(settings, &engine).expect("a thread");
        let parts = Parts {
            engine,
            journal: Box::new(Disk::default()),
            sinks: vec![Box::new(sink), Box::new(writer)],
            store_snapshot: Box::new(|event_seq, _| Ok(event_seq)),
        };
        let running = sequencer::start(parts, Options::default()).expect("threads");
        let exchange = running.exchange();
        let users = UsersFile::parse(USERS).expect("a users file");
        let registered = exchange.register_users(users.usernames()).await;
        registered.expect("room for users");
        let auth = Auth::default();
        auth.set_users(&users, |name| exchange.user(name))
            .expect("registered users");

        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let address = listener.local_addr().expect("its address");
        let execution = ExecutionApi::new(exchange.clone(), auth.clone(), history.clone());
        let info = InfoApi::new(feed, history, auth.clone(), exchange.state());
        let server = Server::builder()
            .add_service(AuthServiceServer::new(AuthApi::new(auth.clone())))
            .add_service(ExecutionServiceServer::new(execution))
            .add_service(AdminServiceServer::new(AdminApi::new(exchange.clone(), auth)))
            .add_service(info.into_service(1 << 20))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(server);
        Self {
            exchange,
            running: Some(running),
            // Room for the other streams of a connection beside one that nobody reads.
            endpoint: Endpoint::from_shared(format!("http://{address}"))
                .expect("an address")
                .initial_stream_window_size(65_535)
                .initial_connection_window_size(16 * 65_535),
            feed: Some(thread),
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

    /// A client of root, with these instruments listed: tick 100, multiplier 10, continuous.
    pub(crate) async fn list(&self, symbols: &[&str]) -> Client {
        let mut root = self.login("root").await;
        for symbol in symbols {
            root.create(symbol).await;
        }
        root
    }

    /// An order of a user past the socket, for many of them.
    pub(crate) async fn insert(&self, username: &str, symbol: &str, side: Side, price_e4: i64, quantity: i64) -> u64 {
        let command = Command::InsertOrder(InsertOrder {
            user: self.user(username),
            instrument: self.exchange.instrument(symbol).expect("a listed instrument"),
            terms: OrderTerms {
                side,
                price_e4,
                quantity,
                order_type: OrderType::Limit,
                time_in_force: TimeInForce::GoodTillCancelled,
                post_only: false,
                self_trade_prevention: SelfTradePrevention::CancelIncoming,
            },
            client_order_id: ClientOrderId::new(),
        });
        self.submit(command).await
    }

    pub(crate) async fn cancel_all(&self, username: &str) -> u64 {
        let command = Command::CancelAllOrders {
            user: self.user(username),
            instrument: None,
            side: None,
        };
        self.submit(command).await
    }

    async fn submit(&self, command: Command) -> u64 {
        match self.exchange.submit(command).await {
            Answer::Event(event) => event.event_seq,
            answer => panic!("{answer:?}"),
        }
    }

    fn user(&self, username: &str) -> UserId {
        self.exchange.user(username).expect("a registered user")
    }

    pub(crate) async fn shutdown(&mut self) {
        let running = self.running.take().expect("only once");
        running.shutdown(Duration::from_secs(10)).await.expect("a clean end");
    }

    /// Ends only the thread of the market data.
    pub(crate) fn stop_feed(&mut self) {
        self.feed.take().expect("only once").stop();
    }
}

impl Client {
    fn new(channel: Channel, token: Token) -> Self {
        Self {
            auth: AuthServiceClient::with_interceptor(channel.clone(), token.clone()),
            execution: ExecutionServiceClient::with_interceptor(channel.clone(), token.clone()),
            admin: AdminServiceClient::with_interceptor(channel.clone(), token.clone()),
            info: InfoServiceClient::with_interceptor(channel, token),
        }
    }

    pub(crate) async fn create(&mut self, symbol: &str) -> v1::CreateInstrumentResponse {
        let request = v1::CreateInstrumentRequest {
            symbol: symbol.to_owned(),
            description: "a test".to_owned(),
            currency: "EUR".to_owned(),
            multiplier: 10,
            tick_size_e4: 100,
            initial_phase: 0,
            client_request_id: String::new(),
        };
        let response = self.admin.create_instrument(request).await;
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

    pub(crate) async fn buy(&mut self, symbol: &str, price_e4: i64, quantity: i64) -> v1::InsertOrderResponse {
        self.insert(symbol, v1::Side::Buy, price_e4, quantity).await
    }

    pub(crate) async fn sell(&mut self, symbol: &str, price_e4: i64, quantity: i64) -> v1::InsertOrderResponse {
        self.insert(symbol, v1::Side::Sell, price_e4, quantity).await
    }

    async fn insert(&mut self, symbol: &str, side: v1::Side, price_e4: i64, quantity: i64) -> v1::InsertOrderResponse {
        let request = v1::InsertOrderRequest {
            symbol: symbol.to_owned(),
            side: side.into(),
            price_e4,
            quantity,
            ..Default::default()
        };
        let response = self.execution.insert_order(request).await;
        response.expect("an order that is taken").into_inner()
    }

    pub(crate) async fn book(&mut self, symbol: &str, depth: i32) -> v1::BookSnapshot {
        let symbol = symbol.to_owned();
        let response = self
            .info
            .get_order_book(v1::GetOrderBookRequest { symbol, depth })
            .await;
        response.expect("a book").into_inner().book.expect("a book")
    }

    pub(crate) async fn books(&mut self, request: v1::SubscribeOrderBooksRequest) -> Books {
        let response = self.info.subscribe_order_books(request).await;
        Books(response.expect("a subscription").into_inner())
    }
}

/// A stream of books.
pub(crate) struct Books(pub(crate) Streaming<v1::SubscribeOrderBooksResponse>);

impl Books {
    /// The next message.
    pub(crate) async fn next(&mut self) -> Result<Event, Status> {
        let message = self.0.message().await?;
        Ok(message.expect("streams end with a status").event.expect("an event"))
    }

    /// The next message that is no heartbeat.
    pub(crate) async fn news(&mut self) -> Result<Event, Status> {
        loop {
            match self.next().await? {
                Event::Heartbeat(_) => {}
                event => return Ok(event),
            }
        }
    }

    /// The next message, if it is an update.
    pub(crate) async fn update(&mut self) -> v1::BookUpdate {
        match self.news().await {
            Ok(Event::Update(update)) => update,
            other => panic!("{other:?}"),
        }
    }

    /// The next message, if it is a snapshot.
    pub(crate) async fn snapshot(&mut self) -> v1::BookSnapshot {
        match self.news().await {
            Ok(Event::Snapshot(snapshot)) => snapshot,
            other => panic!("{other:?}"),
        }
    }

    /// The next message, if it is of the best bid and ask.
    pub(crate) async fn top(&mut self) -> v1::TopOfBook {
        match self.news().await {
            Ok(Event::TopOfBook(top)) => top,
            other => panic!("{other:?}"),
        }
    }

    /// How each symbol fared: the first message.
    pub(crate) async fn statuses(&mut self) -> Vec<(String, v1::ErrorReason)> {
        match self.next().await {
            Ok(Event::Subscribed(subscribed)) => subscribed
                .statuses
                .iter()
                .map(|status| (status.symbol.clone(), status.reason()))
                .collect(),
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) fn subscribe(
    symbols: &[&str],
    view: v1::BookView,
    delivery: v1::Delivery,
) -> v1::SubscribeOrderBooksRequest {
    v1::SubscribeOrderBooksRequest {
        symbols: symbols.iter().map(ToString::to_string).collect(),
        view: view.into(),
        delivery: delivery.into(),
        ..Default::default()
    }
}

pub(crate) fn level(price_e4: i64, quantity: i64, order_count: i32) -> v1::PriceLevel {
    v1::PriceLevel {
        price_e4,
        quantity,
        order_count,
    }
}

/// What a status says to programs, on one line; fails if the trailer or the domain is not as the
/// contract says.
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
    format!("{:?} {} {metadata:?}", status.code(), info.reason)
}
