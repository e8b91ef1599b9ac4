//! Clients that send orders until the exchange dies, and remember what it said.

use std::collections::VecDeque;
use std::sync::Arc;

use fastrand::Rng;
use optivex_proto::v1::auth_service_client::AuthServiceClient;
use optivex_proto::v1::execution_service_client::ExecutionServiceClient;
use optivex_proto::v1::info_service_client::InfoServiceClient;
use optivex_proto::v1::{
    AmendOrderRequest, AmendOrderResponse, CancelOrderRequest, CancelOrderResponse, ErrorReason, InsertOrderRequest,
    InsertOrderResponse, LoginRequest, OrderEntryRequest, OrderEntryResponse, OrderStatus, Side, TimeInForce,
    amend_order_request, cancel_order_request, order_entry_request, order_entry_response,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::{Answers, SYMBOLS};

/// Commands in flight on one stream.
const WINDOW: usize = 64;

/// A user that is logged in.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) execution: ExecutionServiceClient<Channel>,
    pub(crate) info: InfoServiceClient<Channel>,
    token: MetadataValue<Ascii>,
}

impl Session {
    pub(crate) async fn login(channel: &Channel, name: &str) -> Self {
        let login = LoginRequest {
            username: name.to_owned(),
            password: format!("{name}-password"),
        };
        let answer = AuthServiceClient::new(channel.clone())
            .login(login)
            .await
            .expect("can log in")
            .into_inner();
        Self {
            execution: ExecutionServiceClient::new(channel.clone()),
            info: InfoServiceClient::new(channel.clone()),
            token: format!("Bearer {}", answer.token).parse().expect("ASCII"),
        }
    }

    pub(crate) fn with<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.token.clone());
        request
    }
}

/// A command and what came of it; `None` where the kill came before the answer.
#[derive(Clone, Debug)]
pub(crate) enum Record {
    Insert(InsertOrderRequest, Option<InsertOrderResponse>),
    Cancel(Option<CancelOrderResponse>),
    Amend(AmendOrderRequest, Option<AmendOrderResponse>),
    /// Refused as it may be: the order was done.
    Refused,
}

#[derive(Clone, Debug)]
enum Command {
    Insert(InsertOrderRequest),
    Cancel(CancelOrderRequest),
    Amend(AmendOrderRequest),
}

enum Answer {
    Insert(InsertOrderResponse),
    Cancel(CancelOrderResponse),
    Amend(AmendOrderResponse),
    Refused,
    /// The exchange is gone.
    None,
}

/// One client.
pub(crate) struct Worker {
    session: Session,
    /// Makes its client ids unique.
    name: String,
    rng: Rng,
    answers: Arc<Answers>,
    inserted: u64,
    /// Client ids and quantities of orders that rested when they were answered.
    resting: Vec<(String, i64)>,
    records: Vec<Record>,
}

impl Worker {
    pub(crate) fn new(session: Session, name: &str, rng: Rng, answers: Arc<Answers>) -> Self {
        Self {
            session,
            name: name.to_owned(),
            rng,
            answers,
            inserted: 0,
            resting: Vec::new(),
            records: Vec::new(),
        }
    }

    /// One call at a time, until the exchange is gone.
    pub(crate) async fn unary(mut self) -> Vec<Record> {
        loop {
            let command = self.choose();
            let Session { execution, .. } = &mut self.session.clone();
            let answer = match command.clone() {
                Command::Insert(insert) => {
                    answer(execution.insert_order(self.session.with(insert)).await, Answer::Insert)
                }
                Command::Cancel(cancel) => {
                    answer(execution.cancel_order(self.session.with(cancel)).await, Answer::Cancel)
                }
                Command::Amend(amend) => answer(execution.amend_order(self.session.with(amend)).await, Answer::Amend),
            };
            if !self.record(command, answer) {
                return self.records;
            }
        }
    }

    /// Many on one stream, until the exchange is gone.
    pub(crate) async fn stream(mut self) -> Vec<Record> {
        let (sender, receiver) = mpsc::channel(WINDOW);
        let mut session = self.session.clone();
        let commands = self.session.with(ReceiverStream::new(receiver));
        let Ok(answers) = session.execution.order_entry(commands).await else {
            return self.records;
        };
        let mut answers = answers.into_inner();
        let mut flying: VecDeque<(u64, Command)> = VecDeque::new();
        let mut request_id = 0;
        loop {
            while flying.len() < WINDOW {
                request_id += 1;
                let command = self.choose();
                let request = OrderEntryRequest {
                    request_id,
                    command: Some(match command.clone() {
                        Command::Insert(insert) => order_entry_request::Command::Insert(insert),
                        Command::Cancel(cancel) => order_entry_request::Command::Cancel(cancel),
                        Command::Amend(amend) => order_entry_request::Command::Amend(amend),
                    }),
                };
                flying.push_back((request_id, command));
                if sender.send(request).await.is_err() {
                    break;
                }
            }
            let Ok(Some(answer)) = answers.message().await else {
                break;
            };
            let (request_id, command) = flying.pop_front().expect("an answer to a command");
            assert_eq!(answer.request_id, request_id, "answered in the order sent");
            if !self.record(command, entry_answer(answer)) {
                break;
            }
        }
        for (_, command) in flying {
            self.record(command, Answer::None);
        }
        self.records
    }

    fn choose(&mut self) -> Command {
        let rng = &mut self.rng;
        if !self.resting.is_empty() && rng.u8(..10) < 3 {
            let index = rng.usize(..self.resting.len());
            if rng.bool() {
                let (id, _) = self.resting.swap_remove(index);
                return Command::Cancel(CancelOrderRequest {
                    order: Some(cancel_order_request::Order::ClientOrderId(id)),
                });
            }
            let (id, quantity) = &self.resting[index];
            return Command::Amend(AmendOrderRequest {
                order: Some(amend_order_request::Order::ClientOrderId(id.clone())),
                price_e4: rng.bool().then(|| 100 * rng.i64(90..110)),
                quantity: Some(rng.i64(1..=*quantity + 3)),
            });
        }
        self.inserted += 1;
        Command::Insert(InsertOrderRequest {
            symbol: SYMBOLS[rng.usize(..SYMBOLS.len())].to_owned(),
            side: if rng.bool() { Side::Buy } else { Side::Sell }.into(),
            price_e4: 100 * rng.i64(90..110),
            quantity: rng.i64(1..20),
            time_in_force: match rng.u8(..8) {
                0 => TimeInForce::ImmediateOrCancel,
                _ => TimeInForce::GoodTillCancelled,
            }
            .into(),
            client_order_id: format!("{}-{}", self.name, self.inserted),
            ..InsertOrderRequest::default()
        })
    }

    /// Whether to go on.
    fn record(&mut self, command: Command, answer: Answer) -> bool {
        let goes_on = !matches!(answer, Answer::None);
        if goes_on {
            self.answers.add();
        }
        self.records.push(match (command, answer) {
            (Command::Insert(insert), Answer::Insert(answer)) => {
                if answer.status() == OrderStatus::Open {
                    self.resting.push((insert.client_order_id.clone(), insert.quantity));
                }
                Record::Insert(insert, Some(answer))
            }
            (Command::Insert(insert), Answer::None) => Record::Insert(insert, None),
            (Command::Cancel(_), Answer::Cancel(answer)) => Record::Cancel(Some(answer)),
            (Command::Cancel(_), Answer::None) => Record::Cancel(None),
            (Command::Amend(amend), Answer::Amend(answer)) => Record::Amend(amend, Some(answer)),
            (Command::Amend(amend), Answer::None) => Record::Amend(amend, None),
            (Command::Cancel(_) | Command::Amend(_), Answer::Refused) => Record::Refused,
            (command, _) => panic!("{command:?} got another command's answer, or was refused"),
        });
        goes_on
    }
}

fn answer<T>(result: Result<tonic::Response<T>, Status>, as_answer: fn(T) -> Answer) -> Answer {
    match result {
        Ok(answer) => as_answer(answer.into_inner()),
        Err(status) => match status
            .metadata()
            .get("optivex-reason")
            .map(MetadataValue::as_encoded_bytes)
        {
            Some(b"ORDER_DONE" | b"UNKNOWN_ORDER") => Answer::Refused,
            Some(b"NOT_READY") | None if !matches!(status.code(), Code::InvalidArgument | Code::Internal) => {
                Answer::None
            }
            _ => panic!("{status:?}"),
        },
    }
}

fn entry_answer(answer: OrderEntryResponse) -> Answer {
    match answer.result.expect("an answer says what came of it") {
        order_entry_response::Result::Insert(answer) => Answer::Insert(answer),
        order_entry_response::Result::Cancel(answer) => Answer::Cancel(answer),
        order_entry_response::Result::Amend(answer) => Answer::Amend(answer),
        order_entry_response::Result::Error(error) => match error.reason() {
            ErrorReason::OrderDone | ErrorReason::UnknownOrder => Answer::Refused,
            ErrorReason::NotReady => Answer::None,
            _ => panic!("{error:?}"),
        },
        other @ order_entry_response::Result::CancelAll(_) => panic!("{other:?}"),
    }
}
