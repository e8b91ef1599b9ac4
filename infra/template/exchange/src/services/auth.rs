//! `AuthService`: who a client is.
//!
//! Tokens are for the time of the process: they need no order among events and no disk. What else a session has that must
//! end with it, the comments of `auth.proto` say. The users are in [`crate::venue::Venue::users`].

use optivex_proto::v1::auth_service_server::AuthService;
use optivex_proto::v1::{LoginRequest, LoginResponse, LogoutRequest, LogoutResponse};
use tonic::{Request, Response, Status};

use super::{Gateway, not_yet};

#[tonic::async_trait]
impl AuthService for Gateway {
    async fn login(&self, _: Request<LoginRequest>) -> Result<Response<LoginResponse>, Status> {
        Err(not_yet("AuthService.Login"))
    }

    async fn logout(&self, _: Request<LogoutRequest>) -> Result<Response<LogoutResponse>, Status> {
        Err(not_yet("AuthService.Logout"))
    }
}
