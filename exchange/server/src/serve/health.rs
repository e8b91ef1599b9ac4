//! `grpc.health.v1` and reflection: what load balancers and grpcurl ask first.

use anyhow::Context;
use optivex_proto::FILE_DESCRIPTOR_SET;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, HealthService};

use super::methods::Methods;

/// Descriptors of what is served beside the contract.
const STANDARD: [&[u8]; 3] = [
    tonic_health::pb::FILE_DESCRIPTOR_SET,
    tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
    tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
];

/// Tells the health of the whole (the empty name) and of each service.
#[derive(Clone, Debug)]
pub(super) struct Health {
    reporter: HealthReporter,
    services: Vec<String>,
}

impl Health {
    /// Sets all of them: they live and die together.
    pub(super) async fn set(&self, serving: bool) {
        let status = if serving {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        metrics::gauge!("optivex_ready").set(f64::from(u8::from(serving)));
        for service in std::iter::once("").chain(self.services.iter().map(String::as_str)) {
            self.reporter.set_service_status(service, status).await;
        }
    }
}

/// Health, reflection, and the table of all rpcs.
pub(super) async fn standard_services() -> anyhow::Result<(Health, Methods, Routes)> {
    let methods = Methods::new(FILE_DESCRIPTOR_SET, &STANDARD)?;
    let health = Health {
        reporter: HealthReporter::new(),
        services: methods.services().to_vec(),
    };
    health.set(false).await;
    let reflection = || {
        let mut builder = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            // Error details, for clients that learn all types from here.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET);
        for set in STANDARD {
            builder = builder.register_encoded_file_descriptor_set(set);
        }
        builder
    };
    let health_service = HealthService::from_health_reporter(health.reporter.clone());
    let routes = Routes::new(tonic_health::pb::health_server::HealthServer::new(health_service))
        .add_service(reflection().build_v1().context("reflection v1")?)
        .add_service(reflection().build_v1alpha().context("reflection v1alpha")?);
    Ok((health, methods, routes))
}
