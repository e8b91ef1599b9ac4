//! `RiskLimitsService`: what every order must pass. One's own limits want `ROLE_TRADER`, anything else `ROLE_ADMIN`.
//!
//! To judge an order and to count it is one step: between the two there is room for another order.

use optivex_proto::v1::risk_limits_service_server::RiskLimitsService;
use optivex_proto::v1::{
    GetInstrumentRiskLimitsRequest, GetInstrumentRiskLimitsResponse, GetRiskUsageRequest, GetRiskUsageResponse,
    GetUserRiskLimitsRequest, GetUserRiskLimitsResponse, SetInstrumentRiskLimitsRequest,
    SetInstrumentRiskLimitsResponse, SetUserRiskLimitsRequest, SetUserRiskLimitsResponse,
};
use tonic::{Request, Response, Status};

use super::{Gateway, not_yet};

#[tonic::async_trait]
impl RiskLimitsService for Gateway {
    async fn get_user_risk_limits(
        &self,
        _: Request<GetUserRiskLimitsRequest>,
    ) -> Result<Response<GetUserRiskLimitsResponse>, Status> {
        Err(not_yet("RiskLimitsService.GetUserRiskLimits"))
    }

    async fn set_user_risk_limits(
        &self,
        _: Request<SetUserRiskLimitsRequest>,
    ) -> Result<Response<SetUserRiskLimitsResponse>, Status> {
        Err(not_yet("RiskLimitsService.SetUserRiskLimits"))
    }

    async fn get_instrument_risk_limits(
        &self,
        _: Request<GetInstrumentRiskLimitsRequest>,
    ) -> Result<Response<GetInstrumentRiskLimitsResponse>, Status> {
        Err(not_yet("RiskLimitsService.GetInstrumentRiskLimits"))
    }

    async fn set_instrument_risk_limits(
        &self,
        _: Request<SetInstrumentRiskLimitsRequest>,
    ) -> Result<Response<SetInstrumentRiskLimitsResponse>, Status> {
        Err(not_yet("RiskLimitsService.SetInstrumentRiskLimits"))
    }

    async fn get_risk_usage(&self, _: Request<GetRiskUsageRequest>) -> Result<Response<GetRiskUsageResponse>, Status> {
        Err(not_yet("RiskLimitsService.GetRiskUsage"))
    }
}
