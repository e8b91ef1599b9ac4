//! Before the exchange is recovered and while it stops, and TLS: in this process, through sockets.

use std::net::SocketAddr;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use optivex_proto::v1::auth_service_client::AuthServiceClient;
use optivex_proto::v1::auth_service_server::AuthServiceServer;
use optivex_proto::v1::{LoginRequest, LogoutRequest};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::health::{Health, standard_services};
use super::listener::{Finisher, Limits, Listener};
use super::request::Router;
use super::tls::Certificates;
use crate::auth::Auth;
use crate::config::{Given, Tls};
use crate::service::auth::AuthApi;

struct Server {
    address: SocketAddr,
    router: Arc<Router>,
    health: Health,
    connections: Finisher,
}

impl Server {
    async fn start(certificates: Option<Arc<Certificates>>) -> Self {
        let settings = Given::demo().resolve().unwrap();
        let (health, methods, standard) = standard_services().await.unwrap();
        let router = Arc::new(Router::new(methods, standard, settings.max_message_size));
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = Listener::bind(any, Limits::from(&settings), certificates, Arc::clone(&router))
            .await
            .unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            router,
            health,
            connections: listener.finisher(),
        };
        tokio::spawn(listener.serve());
        server
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap()
    }

    /// The contract, as far as it needs no exchange.
    fn open(&self) {
        let auth = AuthApi::new(Auth::default());
        self.router.open(Routes::new(AuthServiceServer::new(auth)));
    }
}

fn reason(status: &Status) -> &str {
    let reason = status.metadata().get("optivex-reason");
    reason.map_or("", |reason| reason.to_str().unwrap())
}

async fn health(channel: &Channel) -> ServingStatus {
    let answer = HealthClient::new(channel.clone())
        .check(HealthCheckRequest::default())
        .await;
    answer.unwrap().into_inner().status()
}

async fn logout(channel: &Channel) -> Status {
    let mut client = AuthServiceClient::new(channel.clone());
    client.logout(LogoutRequest {}).await.unwrap_err()
}

#[tokio::test]
async fn listening_before_ready_and_while_stopping() {
    let server = Server::start(None).await;
    let channel = server.endpoint().connect().await.unwrap();
    assert_eq!(health(&channel).await, ServingStatus::NotServing);
    let status = logout(&channel).await;
    assert_eq!((status.code(), reason(&status)), (Code::Unavailable, "NOT_READY"));
    assert!(status.message().contains("starting"));

    server.open();
    server.health.set(true).await;
    assert_eq!(health(&channel).await, ServingStatus::Serving);
    assert_eq!(reason(&logout(&channel).await), "INVALID_TOKEN");

    let mut watch = HealthClient::new(channel.clone())
        .watch(HealthCheckRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    server.router.drain();
    server.health.set(false).await;
    let status = logout(&channel).await;
    assert_eq!((status.code(), reason(&status)), (Code::Unavailable, "NOT_READY"));
    assert!(status.message().contains("stopping"));
    assert_eq!(
        watch.message().await.unwrap().unwrap().status(),
        ServingStatus::NotServing
    );
    server.router.stop();
    assert_eq!(reason(&watch.message().await.unwrap_err()), "NOT_READY");
    server.connections.finish().await;
    server.endpoint().connect().await.unwrap_err();
}

#[tokio::test]
async fn other_http_is_told_that_this_is_grpc() {
    let server = Server::start(None).await;
    for (method, kind, expected) in [
        ("GET", "", 405),
        ("POST", "", 415),
        ("POST", "application/json", 415),
        ("POST", "application/grpc-web", 415),
        ("POST", "application/grpc", 200),
        ("POST", "application/grpc+proto", 200),
    ] {
        let stream = TcpStream::connect(server.address).await.unwrap();
        let executor = hyper_util::rt::TokioExecutor::new();
        let (mut client, connection) = hyper::client::conn::http2::handshake(executor, TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        let mut request = http::Request::builder()
            .method(method)
            .uri("http://x/optivex.v1.Nothing/Nothing");
        if !kind.is_empty() {
            request = request.header("content-type", kind);
        }
        let request = request.body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
        let response = client.send_request(request).await.unwrap();
        assert_eq!(response.status().as_u16(), expected, "{method} {kind}");
        let body = http_body_util::BodyExt::collect(response.into_body())
            .await
            .unwrap()
            .to_bytes();
        let told: &[u8] = if expected == 200 {
            b""
        } else {
            b"this is a gRPC server\n"
        };
        assert_eq!(body, told);
    }
}

/// Certificates of a venue: a server's, and a client's of the same authority.
struct Authority {
    dir: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { dir, issuer }
    }

    fn issue(&self, name: &str) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.dir.path().join("cert.pem"), certificate.pem()).unwrap();
        std::fs::write(self.dir.path().join("key.pem"), key.serialize_pem()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        (certificate.der().clone(), key)
    }

    fn files(&self, client_ca: bool) -> Tls {
        Tls {
            cert: self.dir.path().join("cert.pem"),
            key: self.dir.path().join("key.pem"),
            client_ca: client_ca.then(|| self.dir.path().join("ca.pem")),
        }
    }

    fn client(&self, certificate: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match certificate {
            None => config.with_no_client_auth(),
            Some((certificate, key)) => config.with_client_auth_cert(vec![certificate], key).unwrap(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    }
}

async fn connect(server: &Server, client: ClientConfig) -> Result<Channel, tonic::transport::Error> {
    let connector = TlsConnector::from(Arc::new(client));
    let address = server.address;
    let connect = tower::service_fn(move |_: Uri| {
        let connector = connector.clone();
        async move {
            let tcp = TcpStream::connect(address).await?;
            let name = ServerName::try_from("localhost").unwrap();
            Ok::<_, std::io::Error>(TokioIo::new(connector.connect(name, tcp).await?))
        }
    });
    server.endpoint().connect_with_connector(connect).await
}

/// A login that reaches the service.
async fn works(channel: Result<Channel, tonic::transport::Error>) -> bool {
    let Ok(channel) = channel else { return false };
    let login = LoginRequest {
        username: "x".to_owned(),
        password: "x".to_owned(),
    };
    match AuthServiceClient::new(channel).login(login).await {
        Ok(_) => true,
        Err(status) => reason(&status) == "INVALID_CREDENTIALS",
    }
}

#[tokio::test]
async fn tls_with_and_without_client_certificates() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let client = ours.issue("client");
    let stranger = theirs.issue("client");
    ours.issue("localhost");
    for (wants_certificate, authority, certificate, expected) in [
        (false, &ours, None, true),
        (false, &theirs, None, false),
        (true, &ours, None, false),
        (true, &ours, Some(&client), true),
        (true, &ours, Some(&stranger), false),
    ] {
        let certificates = Certificates::read(ours.files(wants_certificate)).unwrap();
        let server = Server::start(Some(Arc::new(certificates))).await;
        server.open();
        let certificate = certificate.map(|(certificate, key)| (certificate.clone(), key.clone_key()));
        let told = format!("{wants_certificate} {}", certificate.is_some());
        let channel = connect(&server, authority.client(certificate)).await;
        assert_eq!(works(channel).await, expected, "{told}");
        // Plaintext never works.
        let plain = server.endpoint().connect().await;
        assert!(!works(plain).await);
    }
}

#[tokio::test]
async fn certificates_are_exchanged_while_connections_run() {
    let authority = Authority::new();
    authority.issue("elsewhere");
    let certificates = Arc::new(Certificates::read(authority.files(false)).unwrap());
    let server = Server::start(Some(Arc::clone(&certificates))).await;
    server.open();
    assert!(!works(connect(&server, authority.client(None)).await).await);
    authority.issue("localhost");
    certificates.reload().unwrap();
    let channel = connect(&server, authority.client(None)).await.unwrap();
    assert!(works(Ok(channel.clone())).await);
    std::fs::write(authority.files(false).key, "no key").unwrap();
    let error = format!("{:#}", certificates.reload().unwrap_err());
    assert!(error.contains("tls_key"), "{error}");
    assert!(works(Ok(channel)).await);
    assert!(works(connect(&server, authority.client(None)).await).await);
}
