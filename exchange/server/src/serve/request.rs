//! One request: which rpc it is for, whether that can be served now, until when, and what came of it.

use std::convert::Infallible;
use std::fmt::Display;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{HeaderMap, HeaderName, Method as HttpMethod, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use tokio::time::{Sleep, sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::Status;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::transport::server::TcpConnectInfo;
use tower_service::Service;

use super::body::{LargeMessages, Outcome, RequestBody, ResponseBody, deadline_exceeded, stopping};
use super::malformed;
use super::methods::{Method, Methods};
use crate::error::Error;
use crate::telemetry;

// A name that was read before need not be read for each look.
static GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// What serves requests.
#[derive(Debug)]
pub(super) struct Router {
    methods: Methods,
    /// Health and reflection.
    standard: Routes,
    /// The contract's services, once the exchange is recovered.
    contract: OnceLock<Routes>,
    draining: AtomicBool,
    message_bytes_max: usize,
    stop: CancellationToken,
    connections: AtomicU64,
}

impl Router {
    pub(super) fn new(methods: Methods, standard: Routes, message_bytes_max: usize) -> Self {
        Self {
            methods,
            standard: standard.prepare(),
            contract: OnceLock::new(),
            draining: AtomicBool::new(false),
            message_bytes_max,
            stop: CancellationToken::new(),
            connections: AtomicU64::new(0),
        }
    }

    /// Serves the contract from now on.
    pub(super) fn open(&self, contract: Routes) {
        // Called once; a second call would change nothing.
        let _ = self.contract.set(contract.prepare());
    }

    /// Takes no more requests for the contract; those that are here go on.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Ends what is still open, once it has nothing more to say.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }

    /// For the requests of one connection.
    pub(super) fn connection(self: &Arc<Self>, peer: SocketAddr, local: Option<SocketAddr>) -> ConnectionRouter {
        ConnectionRouter(Arc::new(Connection {
            router: Arc::clone(self),
            peer,
            local,
            id: self.connections.fetch_add(1, Ordering::Relaxed) + 1,
            requests: AtomicU64::new(0),
            large_messages: LargeMessages::default(),
            stop: self.stop.child_token(),
        }))
    }

    /// Which routes serve a method now.
    fn routes(&self, method: &Method) -> Result<Routes, Error> {
        if !method.contract {
            return Ok(self.standard.clone());
        }
        if self.draining.load(Ordering::Acquire) {
            return Err(Error::not_ready("the exchange is stopping"));
        }
        let contract = self.contract.get();
        contract
            .cloned()
            .ok_or_else(|| Error::not_ready("the exchange is starting: it reads its journal"))
    }
}

/// Serves the requests of one connection. Each request has one.
#[derive(Clone, Debug)]
pub(super) struct ConnectionRouter(Arc<Connection>);

#[derive(Debug)]
struct Connection {
    router: Arc<Router>,
    peer: SocketAddr,
    local: Option<SocketAddr>,
    id: u64,
    requests: AtomicU64,
    large_messages: LargeMessages,
    stop: CancellationToken,
}

impl ConnectionRouter {
    /// Answers one request.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<ResponseBody> {
        if let Some(refused) = refuse_other_http(&request) {
            return refused.map(|body| self.body(body, None, None));
        }
        let Some(method) = self.0.router.methods.get(request.uri().path()) else {
            let status = Status::unimplemented("no such rpc; reflection lists those that there are");
            #[cfg(feature = "faults")]
            let status = crate::faults::wire::unknown(request.headers()).unwrap_or(status);
            return self.refuse(status, None);
        };
        let id = RequestId(self.0.id, &self.0.requests);
        let span = telemetry::request::span(&method.path, self.0.peer, id);
        let outcome = Outcome::new(Arc::clone(method), span.clone());
        let deadline = match deadline(request.headers()) {
            Ok(deadline) => deadline,
            Err(error) => return self.refuse(error.into(), Some(outcome)),
        };
        let routes = match self.0.router.routes(method) {
            Ok(routes) => routes,
            Err(error) => return self.refuse(error.into(), Some(outcome)),
        };
        // Boxed: it is large, and what holds it is moved about.
        let answer = Box::pin(route(routes, self.admit(request)));
        telemetry::request::within(span, self.watch(answer, deadline, outcome)).await
    }

    /// The request with what it may not exceed, and who sends it.
    fn admit(&self, request: Request<Incoming>) -> Request<RequestBody> {
        let connection = &*self.0;
        let mut request = request.map(|body| {
            RequestBody::new(
                body,
                connection.router.message_bytes_max,
                connection.large_messages.clone(),
            )
        });
        request.extensions_mut().insert(TcpConnectInfo {
            local_addr: connection.local,
            remote_addr: Some(connection.peer),
        });
        request
    }

    /// The answer, unless the client or the exchange stops waiting for it.
    async fn watch(
        &self,
        mut answer: Pin<Box<impl Future<Output = Result<Response<Body>, Infallible>>>>,
        mut deadline: Option<Pin<Box<Sleep>>>,
        mut outcome: Outcome,
    ) -> Response<ResponseBody> {
        let mut response = tokio::select! {
            biased;
            Ok(response) = &mut answer => response,
            () = at(deadline.as_mut()) => return self.refuse(deadline_exceeded(), Some(outcome)),
            () = self.0.stop.cancelled() => return self.refuse(stopping(), Some(outcome)),
        };
        malformed::retell(response.headers_mut());
        // An error without a body is told in the headers.
        outcome.see(response.headers());
        response.map(|body| self.body(body, deadline, Some(outcome)))
    }

    /// Waits until what is still open is to end.
    pub(super) fn stopping(&self) -> WaitForCancellationFutureOwned {
        self.0.stop.clone().cancelled_owned()
    }

    fn refuse(&self, status: Status, mut outcome: Option<Outcome>) -> Response<ResponseBody> {
        let response = status.into_http::<Body>();
        if let Some(outcome) = &mut outcome {
            outcome.see(response.headers());
        }
        response.map(|body| self.body(body, None, outcome))
    }

    fn body(&self, body: Body, deadline: Option<Pin<Box<Sleep>>>, outcome: Option<Outcome>) -> ResponseBody {
        ResponseBody::new(body, deadline, self.clone(), outcome)
    }
}

/// What the service of the rpc answers.
async fn route(mut routes: Routes, request: Request<RequestBody>) -> Result<Response<Body>, Infallible> {
    std::future::poll_fn(|cx| Service::<Request<RequestBody>>::poll_ready(&mut routes, cx)).await?;
    #[cfg(feature = "faults")]
    return crate::faults::wire::call(routes, request).await;
    #[cfg(not(feature = "faults"))]
    routes.call(request).await
}

/// Number of the connection and, on it, of the request; counted only when it is told.
struct RequestId<'a>(u64, &'a AtomicU64);

impl Display for RequestId<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.0, self.1.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

async fn at(deadline: Option<&mut Pin<Box<Sleep>>>) {
    match deadline {
        Some(deadline) => deadline.await,
        None => std::future::pending().await,
    }
}

/// What is no gRPC is answered in the words of HTTP.
fn refuse_other_http<B>(request: &Request<B>) -> Option<Response<Body>> {
    let kind = request.headers().get(header::CONTENT_TYPE);
    let is_grpc = kind
        .and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.starts_with("application/grpc") && !kind.starts_with("application/grpc-web"));
    let status = match request.method() {
        method if *method == HttpMethod::POST && is_grpc => return None,
        method if *method == HttpMethod::POST => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        _ => StatusCode::METHOD_NOT_ALLOWED,
    };
    let mut response = Response::new(Body::new(http_body_util::Full::from("this is a gRPC server\n")));
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static("text/plain");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Some(response)
}

/// When the client stops waiting (`grpc-timeout`).
fn deadline(headers: &HeaderMap) -> Result<Option<Pin<Box<Sleep>>>, Error> {
    let Some(value) = headers.get(&GRPC_TIMEOUT) else {
        return Ok(None);
    };
    let wait = parse_timeout(value.as_bytes())
        .ok_or_else(|| Error::invalid_field("grpc-timeout", "1 to 8 digits and one of H, M, S, m, u, n"))?;
    Ok(Some(Box::pin(sleep(wait))))
}

fn parse_timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts() {
        for (value, expected) in [
            ("1S", Some(Duration::from_secs(1))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("30m", Some(Duration::from_millis(30))),
            ("30u", Some(Duration::from_micros(30))),
            ("30n", Some(Duration::from_nanos(30))),
            ("", None),
            ("S", None),
            ("1", None),
            ("1s", None),
            ("-1S", None),
            ("+1S", None),
            ("123456789S", None),
        ] {
            assert_eq!(parse_timeout(value.as_bytes()), expected, "{value}");
        }
    }
}
