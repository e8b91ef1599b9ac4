//! Streams that are read with patience, and recorded.

use std::future::Future;
use std::time::Duration;

use optivex_proto::v1::{ErrorReason, OrderEntryRequest, OrderEntryResponse};
use prost::Message;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tonic::{Code, Status, Streaming};

use super::answer::{Answer, At, Reply};
use super::refusal::Refusal;
use crate::verdict::{Stop, Verdict};

/// Commands on their way at most. A server that is not let run for a while finds all of them in its socket, and some
/// (hyper's guard against floods of small frames) end the connection beyond about 2,600.
const IN_FLIGHT_MAX: usize = 2_000;

/// A stream of answers. It is opened at once; what came of that is told by the first read, as some
/// servers answer nothing before their first message.
#[derive(Debug)]
pub struct Stream<R> {
    at: At,
    patience: Duration,
    state: State<R>,
}

#[derive(Debug)]
enum State<R> {
    Opening(JoinHandle<Result<Streaming<R>, Status>>),
    Open(Box<Streaming<R>>),
    Ended(Option<Refusal>),
}

/// One read of a stream.
#[derive(Debug)]
pub enum Next<R> {
    /// A message.
    Message(Reply<R>),
    /// The stream ended: `None` with OK.
    End(Option<Refusal>),
    /// Nothing came in that time.
    Silence,
}

impl<R: Message + Default + 'static> Stream<R> {
    pub(crate) fn open(
        at: At,
        patience: Duration,
        opening: impl Future<Output = Result<Streaming<R>, Status>> + Send + 'static,
    ) -> Self {
        at.is_stream();
        Self {
            at,
            patience,
            state: State::Opening(tokio::spawn(opening)),
        }
    }

    fn none(at: At) -> Self {
        Self {
            at,
            patience: Duration::ZERO,
            state: State::Ended(None),
        }
    }

    /// The step of the call.
    pub fn at(&self) -> &At {
        &self.at
    }

    /// How long it waits for one message.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// Waits for the next message, for the end, or for so long.
    pub async fn read(&mut self, within: Duration) -> Next<R> {
        let deadline = tokio::time::Instant::now() + within;
        loop {
            match &mut self.state {
                State::Opening(task) => match tokio::time::timeout_at(deadline, task).await {
                    Err(_) => return Next::Silence,
                    Ok(Ok(Ok(stream))) => self.state = State::Open(Box::new(stream)),
                    Ok(Ok(Err(status))) => self.state = State::Ended(Some(self.at.refused(&status))),
                    Ok(Err(_)) => {
                        self.state = State::Ended(Some(self.at.refused(&Status::internal("the test's own task died"))));
                    }
                },
                State::Open(stream) => match tokio::time::timeout_at(deadline, stream.message()).await {
                    Err(_) => return Next::Silence,
                    Ok(Ok(Some(message))) => {
                        self.at.came(&message);
                        return Next::Message(Reply::new(message, self.at.clone()));
                    }
                    Ok(Ok(None)) => {
                        self.at.ended();
                        self.state = State::Ended(None);
                    }
                    Ok(Err(status)) => self.state = State::Ended(Some(self.at.refused(&status))),
                },
                State::Ended(end) => return Next::End(end.clone()),
            }
        }
    }

    /// The next message; nothing within the patience, or an end, is a failure.
    pub async fn next(&mut self) -> Verdict<Reply<R>> {
        self.expecting("another message on the stream").await
    }

    /// The next message, where the failure is to say what was waited for.
    pub async fn expecting(&mut self, what: &str) -> Verdict<Reply<R>> {
        match self.read(self.patience).await {
            Next::Message(message) => Ok(message),
            Next::End(None) => Err(self.at.fail("the stream ended with OK", what)),
            Next::End(Some(refusal)) => Err(self.at.fail(format!("the stream ended: {refusal}"), what)),
            Next::Silence => Err(self
                .at
                .fail(format!("nothing came within {} s", self.patience.as_secs()), what)),
        }
    }

    /// Reads until a message gives something; heartbeats and the like are passed over by `None`. The
    /// whole wait is bounded by twice the patience, so that a stream of heartbeats ends it too.
    pub async fn until<T>(&mut self, what: &str, mut pick: impl FnMut(&Reply<R>) -> Verdict<Option<T>>) -> Verdict<T> {
        let deadline = tokio::time::Instant::now() + self.patience * 2;
        loop {
            let message = self.expecting(what).await?;
            if let Some(picked) = pick(&message)? {
                return Ok(picked);
            }
            if tokio::time::Instant::now() > deadline {
                return Err(message.fail(
                    format!("it did not come within {} s", self.patience.as_secs() * 2),
                    what,
                ));
            }
        }
    }

    /// The stream was to end with this refusal; messages before it are passed over.
    pub async fn refused(&mut self, reason: ErrorReason, metadata: &[(&str, &str)]) -> Verdict<Reply<Refusal>> {
        self.end().await?.refused(reason, metadata)
    }

    /// The stream was to end with this status code; messages before it are passed over.
    pub async fn refused_code(&mut self, code: Code) -> Verdict<Reply<Refusal>> {
        self.end().await?.refused_code(code)
    }

    /// Reads to the end: `Answer` of `()` for OK.
    pub async fn end(&mut self) -> Verdict<Answer<()>> {
        let deadline = tokio::time::Instant::now() + self.patience;
        loop {
            let left = deadline.saturating_duration_since(tokio::time::Instant::now());
            match self.read(left).await {
                Next::Message(_) if !left.is_zero() => {}
                Next::End(None) => return Ok(Answer::new(self.at.clone(), Ok(()))),
                Next::End(Some(refusal)) => return Ok(Answer::new(self.at.clone(), Err(refusal))),
                Next::Message(_) | Next::Silence => {
                    let came = format!("the stream did not end within {} s", self.patience.as_secs());
                    return Err(self.at.fail(came, "the stream to end"));
                }
            }
        }
    }
}

impl<R> Drop for Stream<R> {
    fn drop(&mut self) {
        if let State::Opening(task) = &self.state {
            task.abort();
        }
    }
}

/// Streams both ways.
#[derive(Debug)]
pub struct Duplex<Q, R> {
    at: At,
    sender: Option<mpsc::Sender<Q>>,
    /// What comes back.
    pub answers: Stream<R>,
}

impl<Q: Message + 'static, R: Message + Default + 'static> Duplex<Q, R> {
    pub(crate) fn new(at: At, sender: mpsc::Sender<Q>, answers: Stream<R>) -> Self {
        Self {
            at,
            sender: Some(sender),
            answers,
        }
    }

    /// Sends one; waits while the exchange takes none.
    pub async fn send(&self, message: Q) -> Verdict {
        let Some(sender) = &self.sender else {
            return Err(Stop::trouble("sent after the half-close"));
        };
        self.at.sent(&message);
        let sending = tokio::time::timeout(self.answers.patience, sender.send(message));
        match sending.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(self.at.fail("the stream is closed", "the exchange to read on")),
            Err(_) => Err(self.at.fail("the exchange reads no more", "the exchange to read on")),
        }
    }

    /// Says that nothing more comes.
    pub fn half_close(&mut self) {
        self.sender = None;
    }

    /// The next answer.
    pub async fn next(&mut self) -> Verdict<Reply<R>> {
        self.answers.next().await
    }
}

impl Duplex<OrderEntryRequest, OrderEntryResponse> {
    /// Sends all of these and says that nothing more comes, while the answers are read: as many are in
    /// flight as the exchange takes, 2,000 at most. The answers up to the end with OK, one for each, in the order sent.
    pub async fn all(mut self, messages: Vec<OrderEntryRequest>) -> Verdict<Vec<Reply<OrderEntryResponse>>> {
        let ids: Vec<u64> = messages.iter().map(|message| message.request_id).collect();
        let count = messages.len();
        let room = Semaphore::new(IN_FLIGHT_MAX);
        let mut answers = std::mem::replace(&mut self.answers, Stream::none(self.at.clone()));
        // Sending has no patience of its own: it waits for the reading, and that has.
        let sending = async {
            let at = self.at.clone();
            let Some(sender) = self.sender.take() else {
                return Err(Stop::trouble("sent after the half-close"));
            };
            for message in messages {
                let place = room.acquire().await.map_err(|_| Stop::trouble("no more room"))?;
                place.forget();
                at.sent(&message);
                if sender.send(message).await.is_err() {
                    return Err(at.fail("the stream is closed", "the exchange to read on"));
                }
            }
            Ok(())
        };
        let reading = async {
            let mut all = Vec::with_capacity(count);
            for (place, id) in (1..).zip(ids) {
                let answer = answers.expecting(&format!("answer {place} of {count}")).await?;
                // At once: the first that is out of order is the one to look at.
                answer.has(&format!("request_id of answer {place}"), |answer| answer.request_id, id)?;
                all.push(answer);
                room.add_permits(1);
            }
            match answers.read(answers.patience).await {
                Next::End(None) => Ok(all),
                Next::End(Some(refusal)) => Err(answers
                    .at
                    .fail(format!("the stream ended: {refusal}"), "the stream to end with OK")),
                Next::Message(more) => Err(more.fail("one more answer", "one answer a command, then the end")),
                Next::Silence => Err(answers.at.fail(
                    format!("the stream did not end within {} s", answers.patience.as_secs()),
                    "the stream to end after the half-close",
                )),
            }
        };
        tokio::pin!(sending, reading);
        let mut sent = None;
        loop {
            tokio::select! {
                // What the reading says goes first: it knows how the stream ended.
                biased;
                read = &mut reading => {
                    let all = read?;
                    match sent {
                        Some(sent) => sent?,
                        None => sending.await?,
                    }
                    return Ok(all);
                }
                result = &mut sending, if sent.is_none() => sent = Some(result),
            }
        }
    }
}
