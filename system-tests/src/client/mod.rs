//! A client that records what it sends and gets, and whose assertions are results.

mod answer;
mod refusal;
mod rpcs;
mod settled;
mod stream;
mod whole;

use std::time::Duration;

use optivex_proto::v1::Role;
use prost::Message;
use tonic::client::Grpc;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

pub use answer::{Answer, At, Reply};
pub use refusal::Refusal;
pub use stream::{Duplex, Next, Stream};

use crate::record::Log;
use crate::users::User;
use crate::verdict::{Stop, Verdict};

/// Answers larger than this are not the contract's.
const ANSWER_MAX: usize = 64 << 20;
/// What HTTP/2 lets a peer send ahead where nobody says anything else.
const WINDOW_MIN: u32 = 65_535;

/// A connection of its own, and a token. Clones share both.
#[derive(Clone, Debug)]
pub struct Session {
    channel: Channel,
    token: Option<MetadataValue<Ascii>>,
    user: Option<User>,
    roles: Vec<Role>,
    label: String,
    log: Log,
    patience: Duration,
}

impl Session {
    /// Connects without logging in.
    pub async fn connect(url: &str, label: &str, log: &Log, patience: Duration) -> Verdict<Self> {
        Self::connect_by(endpoint(url, patience)?, url, label, log, patience).await
    }

    /// Connects without logging in, with the smallest windows of HTTP/2: little is on its way that is not
    /// read.
    pub async fn connect_narrow(url: &str, label: &str, log: &Log, patience: Duration) -> Verdict<Self> {
        let endpoint = endpoint(url, patience)?
            .initial_stream_window_size(WINDOW_MIN)
            .initial_connection_window_size(WINDOW_MIN);
        Self::connect_by(endpoint, url, label, log, patience).await
    }

    async fn connect_by(endpoint: Endpoint, url: &str, label: &str, log: &Log, patience: Duration) -> Verdict<Self> {
        let channel = endpoint.connect().await.map_err(|error| {
            Stop::failed(
                format!("no connection to {url}: {}", chain(&error)),
                "an exchange that takes connections",
            )
        })?;
        Ok(Self::over(channel, label, log, patience))
    }

    /// Connects at its first call.
    pub fn lazy(url: &str, label: &str, log: &Log, patience: Duration) -> Verdict<Self> {
        let channel = endpoint(url, patience)?.connect_lazy();
        Ok(Self::over(channel, label, log, patience))
    }

    fn over(channel: Channel, label: &str, log: &Log, patience: Duration) -> Self {
        Self {
            channel,
            token: None,
            user: None,
            roles: Vec::new(),
            label: label.to_owned(),
            log: log.clone(),
            patience,
        }
    }

    /// The same connection with a token in its calls; `None` for none.
    pub fn with_token(&self, token: Option<&str>) -> Verdict<Self> {
        let token = match token {
            None => None,
            Some(token) => Some(format!("Bearer {token}").parse().map_err(|_| {
                Stop::failed(
                    "the token cannot stand in a header",
                    "a token that can be sent as \"authorization: Bearer <token>\"",
                )
            })?),
        };
        Ok(Self { token, ..self.clone() })
    }

    /// The same session under another name in the record.
    pub fn labelled(&self, label: &str) -> Self {
        Self {
            label: label.to_owned(),
            ..self.clone()
        }
    }

    pub(crate) fn of_user(mut self, user: User, roles: Vec<Role>) -> Self {
        self.user = Some(user);
        self.roles = roles;
        self
    }

    /// Who is logged in here.
    pub fn username(&self) -> &str {
        self.user.as_ref().map_or("", |user| &user.username)
    }

    /// Who is logged in here, with the password.
    pub fn user(&self) -> Option<&User> {
        self.user.as_ref()
    }

    /// Who is logged in here, to log in again elsewhere; trouble if nobody is.
    pub fn known_user(&self) -> Verdict<User> {
        self.user
            .clone()
            .ok_or_else(|| Stop::trouble("a session without a user"))
    }

    /// Roles that the login told.
    pub fn roles(&self) -> &[Role] {
        &self.roles
    }

    /// The bearer token, if any.
    pub fn token(&self) -> Option<&str> {
        self.token.as_ref()?.to_str().ok()?.strip_prefix("Bearer ")
    }

    /// The record that this session writes.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The channel, for what is none of the contract's rpcs.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// How long this session waits for one answer.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    fn begin(&self, path: &str) -> At {
        At::new(self.log.clone(), self.log.begin(&self.label, path))
    }

    /// Begins a step that is no rpc of the contract.
    pub fn note(&self, what: &str) -> At {
        self.begin(what)
    }

    /// A request with the token.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", token.clone());
        }
        request
    }

    async fn ready(&self) -> Result<Grpc<Channel>, Status> {
        let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(ANSWER_MAX);
        grpc.ready()
            .await
            .map_err(|error| Status::from_error(Box::new(error)))?;
        Ok(grpc)
    }

    /// Calls a unary rpc by its path, `/package.Service/Method`.
    pub async fn call<Q, R>(&self, path: &'static str, message: Q) -> Answer<R>
    where
        Q: Message + 'static,
        R: Message + Default + 'static,
    {
        let at = self.begin(path);
        at.sent(&message);
        let request = self.request(message);
        let calling = async {
            let mut grpc = self.ready().await?;
            grpc.unary(
                request,
                http::uri::PathAndQuery::from_static(path),
                ProstCodec::<Q, R>::default(),
            )
            .await
        };
        let result = match tokio::time::timeout(self.patience, calling).await {
            Ok(Ok(answer)) => {
                let message = answer.into_inner();
                at.came(&message);
                Ok(message)
            }
            Ok(Err(status)) => Err(at.refused(&status)),
            Err(_) => Err(at.silent(self.patience)),
        };
        Answer::new(at, result)
    }

    /// Calls a rpc that answers with a stream; what it says is told by the stream.
    pub fn follow<Q, R>(&self, path: &'static str, message: Q) -> Stream<R>
    where
        Q: Message + 'static,
        R: Message + Default + 'static,
    {
        let at = self.begin(path);
        at.sent(&message);
        let request = self.request(message);
        let session = self.clone();
        Stream::open(at, self.patience, async move {
            let mut grpc = session.ready().await?;
            let path = http::uri::PathAndQuery::from_static(path);
            let answer = grpc
                .server_streaming(request, path, ProstCodec::<Q, R>::default())
                .await?;
            Ok(answer.into_inner())
        })
    }

    /// Calls a rpc with streams both ways.
    pub fn duplex<Q, R>(&self, path: &'static str) -> Duplex<Q, R>
    where
        Q: Message + 'static,
        R: Message + Default + 'static,
    {
        let at = self.begin(path);
        let (sender, receiver) = tokio::sync::mpsc::channel(64);
        let request = self.request(tokio_stream::wrappers::ReceiverStream::new(receiver));
        let session = self.clone();
        let stream = Stream::open(at.clone(), self.patience, async move {
            let mut grpc = session.ready().await?;
            let path = http::uri::PathAndQuery::from_static(path);
            let answer = grpc.streaming(request, path, ProstCodec::<Q, R>::default()).await?;
            Ok(answer.into_inner())
        });
        Duplex::new(at, sender, stream)
    }
}

fn endpoint(url: &str, patience: Duration) -> Verdict<Endpoint> {
    let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|error| Stop::trouble(format!("{url}: {error}")))?;
    Ok(endpoint.connect_timeout(patience).tcp_nodelay(true))
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let told = error.to_string();
        if !text.ends_with(&told) {
            text = format!("{text}: {told}");
        }
        cause = error.source();
    }
    text
}
