//! The second port: `GET /metrics` for Prometheus.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use http::{Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time;

/// Connections at a time: a scraper or two, and a person.
const CONNECTIONS_MAX: usize = 32;
/// How long one connection may take over all.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(30);
/// How long a client may take to send its request.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(5);
/// How often recorded moments are gathered into histograms.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Listens for scrapers.
#[derive(Debug)]
pub struct MetricsListener {
    listener: TcpListener,
}

impl MetricsListener {
    /// Takes the address.
    pub async fn bind(address: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot serve metrics on {address}"))?;
        Ok(Self { listener })
    }

    /// The address, with the port that was given out if none was asked for.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until dropped.
    pub async fn serve(self, metrics: PrometheusHandle) {
        let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut upkeep = time::interval(UPKEEP_EVERY);
        loop {
            tokio::select! {
                _ = upkeep.tick() => metrics.run_upkeep(),
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        // One too many is closed.
                        let Ok(permit) = Arc::clone(&connections).try_acquire_owned() else { continue };
                        let metrics = metrics.clone();
                        tokio::spawn(async move {
                            let answer = service_fn(|request| {
                                let response = answer(&request, &metrics);
                                async move { Ok::<_, Infallible>(response) }
                            });
                            let connection = http1::Builder::new()
                                .timer(TokioTimer::new())
                                .header_read_timeout(REQUEST_TIME_MAX)
                                .serve_connection(TokioIo::new(stream), answer);
                            // Neither its slowness nor its errors are of interest.
                            let _ = time::timeout(CONNECTION_TIME_MAX, connection).await;
                            drop(permit);
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection for metrics");
                        time::sleep(Duration::from_millis(100)).await;
                    }
                },
            }
        }
    }
}

fn answer(request: &Request<Incoming>, metrics: &PrometheusHandle) -> Response<String> {
    let (status, kind, body) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => (
            StatusCode::OK,
            "text/plain; version=0.0.4; charset=utf-8",
            metrics.render(),
        ),
        (_, "/metrics") => (StatusCode::METHOD_NOT_ALLOWED, "text/plain", "GET only\n".to_owned()),
        _ => (
            StatusCode::NOT_FOUND,
            "text/plain",
            "metrics are at /metrics\n".to_owned(),
        ),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
