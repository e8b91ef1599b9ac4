//! `AdminService`: instruments, phases, the kill switch. Wants `ROLE_ADMIN`.
//!
//! An instrument and its order book are one event: there is no moment at which a client sees one without the other.

use optivex_proto::v1::admin_service_server::AdminService;
use optivex_proto::v1::{
    CreateInstrumentRequest, CreateInstrumentResponse, ResumeUserRequest, ResumeUserResponse, SetTradingPhaseRequest,
    SetTradingPhaseResponse, SuspendUserRequest, SuspendUserResponse,
};
use tonic::{Request, Response, Status};

use super::{Gateway, not_yet};

#[tonic::async_trait]
impl AdminService for Gateway {
    async fn create_instrument(
        &self,
        _: Request<CreateInstrumentRequest>,
    ) -> Result<Response<CreateInstrumentResponse>, Status> {
        Err(not_yet("AdminService.CreateInstrument"))
    }

    async fn set_trading_phase(
        &self,
        _: Request<SetTradingPhaseRequest>,
    ) -> Result<Response<SetTradingPhaseResponse>, Status> {
        Err(not_yet("AdminService.SetTradingPhase"))
    }

    async fn suspend_user(&self, _: Request<SuspendUserRequest>) -> Result<Response<SuspendUserResponse>, Status> {
        Err(not_yet("AdminService.SuspendUser"))
    }

    async fn resume_user(&self, _: Request<ResumeUserRequest>) -> Result<Response<ResumeUserResponse>, Status> {
        Err(not_yet("AdminService.ResumeUser"))
    }
}
