//! Clients of a real exchange that write down what they see.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use optivex_proto::v1;
use optivex_proto::v1::admin_service_client::AdminServiceClient;
use optivex_proto::v1::auth_service_client::AuthServiceClient;
use optivex_proto::v1::execution_service_client::ExecutionServiceClient;
use optivex_proto::v1::info_service_client::InfoServiceClient;
use optivex_proto::v1::risk_limits_service_client::RiskLimitsServiceClient;
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;
use tower_service::Service;

use crate::catalogue::{CATALOGUE, covered};
use crate::process::{Exchange, Place};

/// Longest that anything may take before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A channel that adds the token and writes down which rpcs were answered.
#[derive(Clone)]
pub(crate) struct Recorder {
    channel: Channel,
    authorization: Option<http::HeaderValue>,
}

impl Service<http::Request<Body>> for Recorder {
    type Response = http::Response<Body>;
    type Error = tonic::transport::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.channel.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        if let Some(token) = &self.authorization {
            request.headers_mut().insert("authorization", token.clone());
        }
        let path = request.uri().path().to_owned();
        let answer = self.channel.call(request);
        Box::pin(async move {
            let response = answer.await?;
            // A call that is refused has its status in the headers, and no body.
            let mut covered = covered();
            if response.headers().contains_key("grpc-status") {
                covered.refused.insert(path);
            } else {
                covered.answered.insert(path);
            }
            drop(covered);
            Ok(response)
        })
    }
}

/// One client of one user.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) auth: AuthServiceClient<Recorder>,
    pub(crate) execution: ExecutionServiceClient<Recorder>,
    pub(crate) admin: AdminServiceClient<Recorder>,
    pub(crate) limits: RiskLimitsServiceClient<Recorder>,
    pub(crate) info: InfoServiceClient<Recorder>,
}

impl Client {
    /// A client that says this of itself.
    pub(crate) fn new(channel: &Channel, authorization: Option<&str>) -> Self {
        let recorder = Recorder {
            channel: channel.clone(),
            authorization: authorization.map(|value| value.parse().expect("a header")),
        };
        Self {
            auth: AuthServiceClient::new(recorder.clone()),
            execution: ExecutionServiceClient::new(recorder.clone()),
            admin: AdminServiceClient::new(recorder.clone()),
            limits: RiskLimitsServiceClient::new(recorder.clone()),
            info: InfoServiceClient::new(recorder),
        }
    }

    /// Logs in over this channel.
    pub(crate) async fn login_over(channel: &Channel, name: &str) -> Self {
        let login = Self::new(channel, None).auth.login(credentials(name, name)).await;
        let token = login.expect("a known user").into_inner().token;
        Self::new(channel, Some(&format!("Bearer {token}")))
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

    /// Ids of the open orders.
    pub(crate) async fn open_orders(&mut self) -> Vec<u64> {
        let response = self.execution.list_orders(v1::ListOrdersRequest::default()).await;
        let orders = response.expect("a trader").into_inner().orders;
        orders.iter().map(|order| order.order_id).collect()
    }

    pub(crate) async fn reports(
        &mut self,
        after_report_seq: Option<u64>,
        cancel_on_disconnect: bool,
    ) -> Streaming<v1::SubscribeExecutionReportsResponse> {
        let request = v1::SubscribeExecutionReportsRequest {
            after_report_seq,
            cancel_on_disconnect,
        };
        let response = self.execution.subscribe_execution_reports(request).await;
        response.expect("a trader").into_inner()
    }
}

/// A running exchange and its files.
pub(crate) struct Venue {
    pub(crate) place: Place,
    pub(crate) exchange: Exchange,
}

impl Venue {
    pub(crate) fn start<'a>(args: impl IntoIterator<Item = &'a str>) -> Self {
        let place = Place::new();
        let exchange = place.start(args);
        Self { place, exchange }
    }

    /// Ends the process at once, and starts another one on the same data.
    pub(crate) fn restart_after_kill(self) -> Self {
        let Self { place, exchange } = self;
        // Dropping it kills it.
        drop(exchange);
        let exchange = place.start([]);
        Self { place, exchange }
    }

    /// A client on a connection of its own.
    pub(crate) async fn login(&self, name: &str) -> Client {
        Client::login_over(&self.exchange.connect().await, name).await
    }

    /// A client that is nobody.
    pub(crate) async fn anonymous(&self) -> Client {
        Client::new(&self.exchange.connect().await, None)
    }

    /// A client of admin, with instrument ABC listed: tick 100, multiplier 10, continuous.
    pub(crate) async fn list_abc(&self) -> Client {
        let mut admin = self.login("admin").await;
        admin.create("ABC").await;
        admin
    }
}

pub(crate) fn credentials(username: &str, password: &str) -> v1::LoginRequest {
    v1::LoginRequest {
        username: username.to_owned(),
        password: password.to_owned(),
    }
}

/// A connection to an address that may have no greeting yet.
pub(crate) async fn connect(address: std::net::SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    let begun = Instant::now();
    loop {
        // Refused until the process listens.
        match endpoint.connect().await {
            Ok(channel) => return channel,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "nobody listens: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) async fn health(channel: &Channel, service: &str) -> ServingStatus {
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    let answer = HealthClient::new(channel.clone()).check(request).await;
    answer.expect("health is always told").into_inner().status()
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

/// What a status says to programs, on one line, checked against what the contract promises of its
/// reason: code, domain, keys of the metadata, RetryInfo, trailer.
pub(crate) fn told(status: &Status) -> String {
    let details = status.get_error_details();
    let info = details
        .error_info()
        .unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
    assert_eq!(info.domain, "optivex");
    let trailer = status
        .metadata()
        .get("optivex-reason")
        .expect("the trailer optivex-reason");
    assert_eq!(trailer.to_str().expect("ASCII"), info.reason);
    assert!(!status.message().is_empty(), "words for people");
    let metadata: BTreeMap<_, _> = info.metadata.iter().collect();
    let retry = details.retry_info().map(|info| info.retry_delay.expect("a delay"));
    covered().reasons.insert(info.reason.clone());
    line(status.code(), &info.reason, &metadata, retry)
}

/// The same of a refused command of `OrderEntry`.
pub(crate) fn told_by_entry(error: &v1::CommandError) -> String {
    let reason = error.reason().as_str_name();
    let reason = reason.strip_prefix("ERROR_REASON_").expect("the prefix of all reasons");
    assert!(!error.message.is_empty(), "words for people");
    let metadata: BTreeMap<_, _> = error.metadata.iter().collect();
    let retry = (error.retry_after_ns != 0).then(|| Duration::from_nanos(error.retry_after_ns.unsigned_abs()));
    covered().reasons_by_entry.insert(reason.to_owned());
    line(tonic::Code::from(error.code), reason, &metadata, retry)
}

fn line(code: tonic::Code, reason: &str, metadata: &BTreeMap<&String, &String>, retry: Option<Duration>) -> String {
    let promise = CATALOGUE.reasons.get(reason);
    let promise = promise.unwrap_or_else(|| panic!("{reason} is no reason of the contract"));
    assert_eq!(code, promise.code, "{reason}");
    for key in &promise.keys {
        assert!(metadata.contains_key(key), "{reason} without {key:?}: {metadata:?}");
    }
    assert_eq!(retry.is_some(), promise.retry_info, "RetryInfo of {reason}");
    // How long depends on the clock; that it is a time to wait, no longer than any window, does not.
    let retry = retry.map_or("", |delay| {
        assert!(!delay.is_zero() && delay <= Duration::from_secs(86_400), "{delay:?}");
        " + RetryInfo"
    });
    format!("{code:?} {reason} {metadata:?}{retry}")
}

/// The status that a stream ends with, whatever it sends before.
pub(crate) async fn end<T>(stream: &mut Streaming<T>) -> String {
    loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            Ok(None) => return "ok".to_owned(),
            Err(status) => return told(&status),
        }
    }
}

/// The next message of a stream that is open.
pub(crate) async fn next<T>(stream: &mut Streaming<T>) -> T {
    stream.message().await.expect("no error").expect("no end")
}
