//! `RiskLimitsService`: what a user's orders must pass.

use std::collections::HashMap;

use optivex_engine::types::UserId;
use optivex_engine::{Command, wire as engine_wire};
use optivex_proto::v1::risk_limits_service_server::RiskLimitsService;
use optivex_proto::v1::{self, Role};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use super::{instrument, user};
use crate::auth::Auth;
use crate::error::Error;
use crate::sequencer::{Answer, Exchange};
use crate::wire;

/// Limits, and how much of them is used.
#[derive(Clone, Debug)]
pub struct RiskLimitsApi {
    exchange: Exchange,
    auth: Auth,
}

impl RiskLimitsApi {
    /// The service over an exchange.
    pub fn new(exchange: Exchange, auth: Auth) -> Self {
        Self { exchange, auth }
    }

    /// Whose limits a request reads: a trader's own, or, for an administrator, anybody's.
    fn reads(&self, metadata: &MetadataMap, username: &str) -> Result<UserId, Error> {
        let caller = self.auth.authorize(metadata, None)?;
        if username.is_empty() || *username == *caller.username {
            self.auth.authorize(metadata, Some(Role::Trader))?;
            return Ok(caller.user);
        }
        let role = fault!(LimitsForAllToSee, Role::Trader, Role::Admin);
        self.auth.authorize(metadata, Some(role))?;
        user(&self.exchange, &wire::username(username)?)
    }

    async fn event_seq(&self, command: Command) -> Result<u64, Error> {
        match self.exchange.submit(command).await {
            Answer::Event(event) => Ok(event.event_seq),
            answer => Err(self.exchange.error(answer)),
        }
    }
}

#[tonic::async_trait]
impl RiskLimitsService for RiskLimitsApi {
    #[tracing::instrument(level = "debug", skip_all)]
    async fn get_user_risk_limits(
        &self,
        request: Request<v1::GetUserRiskLimitsRequest>,
    ) -> Result<Response<v1::GetUserRiskLimitsResponse>, Status> {
        let user = self.reads(request.metadata(), &request.get_ref().username)?;
        let limits = self
            .exchange
            .query(move |engine, _| engine.user_risk_limits(user))
            .await?;
        Ok(Response::new(v1::GetUserRiskLimitsResponse {
            limits: Some((&limits).into()),
        }))
    }

    #[tracing::instrument(level = "debug", skip_all)]
    async fn set_user_risk_limits(
        &self,
        request: Request<v1::SetUserRiskLimitsRequest>,
    ) -> Result<Response<v1::SetUserRiskLimitsResponse>, Status> {
        self.auth.authorize(request.metadata(), Some(Role::Admin))?;
        let request = request.into_inner();
        let username = wire::username(&request.username).map_err(Error::from)?;
        let limits = wire::user_limits(request.limits.as_ref()).map_err(Error::from)?;
        let user = user(&self.exchange, &username)?;
        let event_seq = self.event_seq(Command::SetUserRiskLimits { user, limits }).await?;
        Ok(Response::new(v1::SetUserRiskLimitsResponse { event_seq }))
    }

    #[tracing::instrument(level = "debug", skip_all)]
    async fn get_instrument_risk_limits(
        &self,
        request: Request<v1::GetInstrumentRiskLimitsRequest>,
    ) -> Result<Response<v1::GetInstrumentRiskLimitsResponse>, Status> {
        let user = self.reads(request.metadata(), &request.get_ref().username)?;
        let limits = self
            .exchange
            .query(move |engine, _| engine.instrument_risk_limits(user))
            .await?;
        let limits_by_symbol: HashMap<String, v1::InstrumentRiskLimits> = limits
            .iter()
            .filter_map(|(instrument, limits)| Some((self.exchange.symbol(*instrument)?.to_string(), limits.into())))
            .collect();
        Ok(Response::new(v1::GetInstrumentRiskLimitsResponse { limits_by_symbol }))
    }

    #[tracing::instrument(level = "debug", skip_all)]
    async fn set_instrument_risk_limits(
        &self,
        request: Request<v1::SetInstrumentRiskLimitsRequest>,
    ) -> Result<Response<v1::SetInstrumentRiskLimitsResponse>, Status> {
        self.auth.authorize(request.metadata(), Some(Role::Admin))?;
        let request = request.into_inner();
        let username = wire::username(&request.username).map_err(Error::from)?;
        let symbol = wire::symbol(&request.symbol).map_err(Error::from)?;
        let limits = wire::instrument_limits(request.limits.as_ref()).map_err(Error::from)?;
        let user = user(&self.exchange, &username)?;
        let instrument = instrument(&self.exchange, &symbol)?;
        let command = Command::SetInstrumentRiskLimits {
            user,
            instrument,
            limits,
        };
        let event_seq = self.event_seq(command).await?;
        Ok(Response::new(v1::SetInstrumentRiskLimitsResponse { event_seq }))
    }

    #[tracing::instrument(level = "debug", skip_all)]
    async fn get_risk_usage(
        &self,
        request: Request<v1::GetRiskUsageRequest>,
    ) -> Result<Response<v1::GetRiskUsageResponse>, Status> {
        let user = self.reads(request.metadata(), &request.get_ref().username)?;
        let (usages, event_seq) = self
            .exchange
            .query(move |engine, now_unix_ns| (engine.risk_usage(user, now_unix_ns), engine.event_seq()))
            .await?;
        let mut usages: Vec<v1::RiskUsage> = usages
            .iter()
            .map(|usage| {
                let symbol = usage.instrument.and_then(|instrument| self.exchange.symbol(instrument));
                engine_wire::risk_usage(usage, symbol.as_deref().unwrap_or_default())
            })
            .collect();
        usages.sort_unstable_by(|a, b| (&a.symbol, &a.limit_name).cmp(&(&b.symbol, &b.limit_name)));
        Ok(Response::new(v1::GetRiskUsageResponse { usages, event_seq }))
    }
}
