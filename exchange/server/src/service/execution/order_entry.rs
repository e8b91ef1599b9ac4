//! `OrderEntry`: many commands in flight on one stream, answered in the order sent.

use std::sync::Arc;

use futures_util::{Stream, stream};
use optivex_proto::v1;
use optivex_proto::v1::order_entry_response::Result as Outcome;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::streams::OpenStream;
use super::trading::{Kind, Told, Trading};
use super::{session_ended, stopping};
use crate::auth::Session;
use crate::error::Error;
use crate::sequencer::{self, State};

/// Commands of one stream that are not answered yet. With so many, no more are read from the client,
/// which HTTP/2's flow control then tells to wait: a client that does not read its answers holds up
/// nobody but itself.
const WINDOW: usize = 8_192;

/// What is to be sent, in the order of the requests.
enum Pending {
    Answer {
        request_id: u64,
        kind: Kind,
        answer: sequencer::Pending<Told>,
    },
    Refused(u64, Error),
    /// The last one.
    End(Status),
}

/// Serves one stream. Dropping the answers (the connection broke) ends the reading; what was taken
/// still happens.
pub(super) fn serve(
    trading: Arc<Trading>,
    session: Session,
    requests: Streaming<v1::OrderEntryRequest>,
    place: OpenStream,
) -> impl Stream<Item = Result<v1::OrderEntryResponse, Status>> + Send {
    let (sender, receiver) = mpsc::channel(WINDOW);
    let user = session.user;
    tokio::spawn(read(trading.clone(), session, requests, sender));
    stream::unfold(
        (trading, receiver, place),
        move |(trading, mut receiver, place)| async move {
            let (request_id, result) = match receiver.recv().await? {
                Pending::Answer {
                    request_id,
                    kind,
                    answer,
                } => {
                    let result = match answer.told().await {
                        Some(told) => trading.conclude(user, kind, told).await,
                        None => Err(stopping()),
                    };
                    (request_id, result)
                }
                Pending::Refused(request_id, error) => (request_id, Err(error)),
                Pending::End(status) => return Some((Err(status), (trading, receiver, place))),
            };
            let response = v1::OrderEntryResponse {
                request_id,
                result: Some(result.unwrap_or_else(|error| Outcome::Error(error.into()))),
            };
            Some((Ok(response), (trading, receiver, place)))
        },
    )
}

/// Reads commands until the client has sent its last one, the session ends or the exchange stops.
async fn read(
    trading: Arc<Trading>,
    session: Session,
    mut requests: Streaming<v1::OrderEntryRequest>,
    answers: mpsc::Sender<Pending>,
) {
    let ended = session.ended();
    tokio::pin!(ended);
    let mut state = trading.exchange.state();
    let stopped = state.wait_for(|state| matches!(state, State::Stopping | State::Failed(_)));
    tokio::pin!(stopped);
    let status: Status = loop {
        let request = async {
            let place = answers.reserve().await.ok()?;
            Some((place, requests.message().await))
        };
        let (place, message) = tokio::select! {
            biased;
            _ = &mut ended => break session_ended().into(),
            _ = &mut stopped => break stopping().into(),
            () = answers.closed() => return,
            request = request => match request {
                Some(request) => request,
                None => return,
            },
        };
        match message {
            Ok(Some(request)) => place.send(submit(&trading, &session, request).await),
            // Half-closed: the answers still on their way are sent, then OK.
            Ok(None) => return,
            Err(status) => break status,
        }
    };
    // A client that is gone does not need its status.
    let _ = answers.send(Pending::End(status)).await;
}

async fn submit(trading: &Trading, session: &Session, request: v1::OrderEntryRequest) -> Pending {
    let request_id = request.request_id;
    let prepared = match request.command {
        Some(command) => trading.prepare(session.user, command),
        None => Err(Error::invalid_field(
            "command",
            "one of insert, amend, cancel and cancel_all",
        )),
    };
    match prepared {
        Ok((command, kind)) => {
            tracing::debug!(user = %session.username, request_id, ?kind, "order entry");
            let answer = trading.exchange.submit_queued(command, Told::from).await;
            Pending::Answer {
                request_id,
                kind,
                answer,
            }
        }
        Err(error) => Pending::Refused(request_id, error),
    }
}
