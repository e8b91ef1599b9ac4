//! `AdminService`: runs the venue.

use optivex_engine::event::Outcome;
use optivex_engine::{Command, wire as engine_wire};
use optivex_proto::v1::admin_service_server::AdminService;
use optivex_proto::v1::{self, Role};
use tonic::{Request, Response, Status};

use super::{instrument, user};
use crate::auth::{Auth, Session};
use crate::error::Error;
use crate::sequencer::{Answer, EventRef, Exchange};
use crate::wire;

/// Trades that a phase change names.
const TRADES_MAX: usize = 1_000;

/// Instruments, phases and the kill switch.
#[derive(Clone, Debug)]
pub struct AdminApi {
    exchange: Exchange,
    auth: Auth,
}

impl AdminApi {
    /// The service over an exchange.
    pub fn new(exchange: Exchange, auth: Auth) -> Self {
        Self { exchange, auth }
    }

    fn admin<T>(&self, request: &Request<T>) -> Result<Session, Error> {
        self.auth.authorize(request.metadata(), Some(Role::Admin))
    }

    async fn event(&self, command: Command) -> Result<EventRef, Error> {
        match self.exchange.submit(command).await {
            Answer::Event(event) => Ok(event),
            answer => Err(self.exchange.error(answer)),
        }
    }
}

#[tonic::async_trait]
impl AdminService for AdminApi {
    #[tracing::instrument(level = "debug", skip_all)]
    async fn create_instrument(
        &self,
        request: Request<v1::CreateInstrumentRequest>,
    ) -> Result<Response<v1::CreateInstrumentResponse>, Status> {
        let session = self.admin(&request)?;
        let create = wire::create_instrument(session.user, request.into_inner()).map_err(Error::from)?;
        let answer = self.exchange.submit(Command::CreateInstrument(create)).await;
        let response = match &answer {
            Answer::Event(event) => match &event.outcome {
                Outcome::InstrumentCreated(instrument) => Some((v1::Instrument::from(&**instrument), event.event_seq)),
                _ => None,
            },
            Answer::InstrumentRepeated { instrument, event_seq } => {
                Some((v1::Instrument::from(&**instrument), *event_seq))
            }
            _ => None,
        };
        let (instrument, event_seq) = response.ok_or_else(|| self.exchange.error(answer))?;
        Ok(Response::new(v1::CreateInstrumentResponse {
            instrument: Some(instrument),
            event_seq,
        }))
    }

    #[tracing::instrument(level = "debug", skip_all)]
    async fn set_trading_phase(
        &self,
        request: Request<v1::SetTradingPhaseRequest>,
    ) -> Result<Response<v1::SetTradingPhaseResponse>, Status> {
        self.admin(&request)?;
        let (symbol, phase) = wire::set_trading_phase(request.get_ref()).map_err(Error::from)?;
        let instrument = instrument(&self.exchange, &symbol)?;
        let event = self.event(Command::SetTradingPhase { instrument, phase }).await?;
        Ok(Response::new(v1::SetTradingPhaseResponse {
            event_seq: event.event_seq,
            trades: event
                .trades
                .iter()
                .take(TRADES_MAX)
                .map(|trade| engine_wire::trade(&event, trade, &symbol))
                .collect(),
            trade_count: i64::try_from(event.trades.len()).unwrap_or(i64::MAX),
        }))
    }

    #[tracing::instrument(level = "debug", skip_all)]
    async fn suspend_user(
        &self,
        request: Request<v1::SuspendUserRequest>,
    ) -> Result<Response<v1::SuspendUserResponse>, Status> {
        self.admin(&request)?;
        let request = request.into_inner();
        let username = wire::username(&request.username).map_err(Error::from)?;
        let comment = wire::comment(request.comment).map_err(Error::from)?;
        let user = user(&self.exchange, &username)?;
        let event = self.event(Command::SuspendUser { user, comment }).await?;
        let Outcome::UserSuspended(_, orders) = event.outcome else {
            return Err(self.exchange.error(Answer::Event(event)).into());
        };
        Ok(Response::new(v1::SuspendUserResponse {
            event_seq: event.event_seq,
            cancelled_orders: i64::try_from(orders).unwrap_or(i64::MAX),
        }))
    }

    #[tracing::instrument(level = "debug", skip_all)]
    async fn resume_user(
        &self,
        request: Request<v1::ResumeUserRequest>,
    ) -> Result<Response<v1::ResumeUserResponse>, Status> {
        self.admin(&request)?;
        let username = wire::username(&request.get_ref().username).map_err(Error::from)?;
        let user = user(&self.exchange, &username)?;
        let event = self.event(Command::ResumeUser { user }).await?;
        Ok(Response::new(v1::ResumeUserResponse {
            event_seq: event.event_seq,
        }))
    }
}
