//! The server: sockets, health, reflection, the five services, and how all of that ends.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use optivex_proto::FILE_DESCRIPTOR_SET;
use optivex_proto::v1::admin_service_server::{AdminServiceServer, SERVICE_NAME as ADMIN};
use optivex_proto::v1::auth_service_server::{AuthServiceServer, SERVICE_NAME as AUTH};
use optivex_proto::v1::execution_service_server::{ExecutionServiceServer, SERVICE_NAME as EXECUTION};
use optivex_proto::v1::info_service_server::{InfoServiceServer, SERVICE_NAME as INFO};
use optivex_proto::v1::risk_limits_service_server::{RiskLimitsServiceServer, SERVICE_NAME as RISK_LIMITS};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::config::Settings;
use crate::services::Gateway;
use crate::venue::Venue;

/// A connection whose client does not answer for this long and this long again is gone.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// Serves until SIGTERM or SIGINT.
pub async fn serve(settings: &Settings) -> anyhow::Result<()> {
    // From now on a signal does not kill us: a stop during the start is a stop, too.
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen to signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen to signals")?;

    // The venue knows its past before anybody can ask it. (One that needs longer than seconds for that had better listen
    // first, and let health say NOT_SERVING until it is ready: the launch convention gives it 10 s.)
    let venue = Arc::new(Venue::open(settings)?);
    let gateway = Arc::new(Gateway::new(Arc::clone(&venue)));

    // Small messages leave at once (TCP_NODELAY): an answer that waits for company is a slow answer.
    let incoming = TcpIncoming::bind(settings.listen)
        .with_context(|| format!("cannot listen on {}", settings.listen))?
        .with_nodelay(Some(true));
    let address = incoming.local_addr().context("cannot listen")?;

    let (health, health_service) = tonic_health::server::health_reporter();
    set_health(&health, ServingStatus::Serving).await;
    let router = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .trace_fn(|request| tracing::debug_span!("call", path = request.uri().path()))
        .add_service(health_service)
        .add_service(reflection().build_v1().context("reflection v1")?)
        // Older clients know this one only: grpcurl before 1.8.8.
        .add_service(reflection().build_v1alpha().context("reflection v1alpha")?)
        // One gateway behind all five: what one service did, the next one knows.
        .add_service(AdminServiceServer::from_arc(Arc::clone(&gateway)))
        .add_service(AuthServiceServer::from_arc(Arc::clone(&gateway)))
        .add_service(ExecutionServiceServer::from_arc(Arc::clone(&gateway)))
        .add_service(InfoServiceServer::from_arc(Arc::clone(&gateway)))
        .add_service(RiskLimitsServiceServer::from_arc(gateway));

    let (stopping, asked_to_stop) = oneshot::channel();
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        set_health(&health, ServingStatus::NotServing).await;
        let _ = stopping.send(());
    };
    // Nobody may be made to wait for ever by a client that keeps a stream open. Better than this cut is an end that you
    // send on every subscription when the exchange stops.
    let grace = async {
        let _ = asked_to_stop.await;
        tokio::time::sleep(Duration::from_secs(settings.shutdown_grace.into())).await;
    };
    tracing::info!(%address, "serving");
    tokio::select! {
        served = router.serve_with_incoming_shutdown(incoming, stop) => served.context("the server ended")?,
        () = grace => tracing::warn!("calls that are still open are cut off"),
    }
    venue.close();
    Ok(())
}

/// Health of the whole (the empty name) and of each service: they live and die together.
async fn set_health(health: &HealthReporter, status: ServingStatus) {
    for service in ["", ADMIN, AUTH, EXECUTION, INFO, RISK_LIMITS] {
        health.set_service_status(service, status).await;
    }
}

/// What tells clients the contract.
fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET)
}
