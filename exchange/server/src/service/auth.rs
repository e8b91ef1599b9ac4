//! `AuthService`.

use optivex_proto::v1::auth_service_server::AuthService;
use optivex_proto::v1::{LoginRequest, LoginResponse, LogoutRequest, LogoutResponse, Role};
use secrecy::{ExposeSecret, SecretString};
use tonic::{Request, Response, Status};

use crate::auth::Auth;

/// Logs clients in and out.
#[derive(Clone, Debug)]
pub struct AuthApi {
    auth: Auth,
}

impl AuthApi {
    /// The service of these users.
    pub fn new(auth: Auth) -> Self {
        Self { auth }
    }
}

#[tonic::async_trait]
impl AuthService for AuthApi {
    async fn login(&self, request: Request<LoginRequest>) -> Result<Response<LoginResponse>, Status> {
        let peer = request.remote_addr().map(|address| address.ip());
        let LoginRequest { username, password } = request.into_inner();
        let login = self.auth.login(&username, SecretString::from(password), peer).await?;
        Ok(Response::new(LoginResponse {
            token: login.token.expose_secret().to_owned(),
            roles: login.roles.iter().map(Role::into).collect(),
            expires_unix_ns: login.expires_unix_ns,
        }))
    }

    async fn logout(&self, request: Request<LogoutRequest>) -> Result<Response<LogoutResponse>, Status> {
        let session = self.auth.authorize(request.metadata(), None)?;
        self.auth.logout(&session);
        Ok(Response::new(LogoutResponse {}))
    }
}
