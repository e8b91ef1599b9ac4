//! Batches of answers on their way to one stream: given out in the order of their tickets, in whatever
//! order they are put in.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::Notify;
use tonic::Status;

/// Answers of one stream that its client has not taken yet. With so many, no more requests are read from
/// the client, which HTTP/2's flow control then tells to wait: a client that does not read its answers
/// holds up nobody but itself.
const WINDOW: usize = 8_192;

/// The place of one batch in the order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket(u64);

#[derive(Debug)]
pub(super) struct Outbox<T> {
    state: Mutex<State<T>>,
    /// Signals whoever waits for room.
    taken: Notify,
}

#[derive(Debug)]
struct State<T> {
    /// The ticket of the first of `batches`.
    first: u64,
    /// Batches that have a ticket; none until they are put in.
    batches: VecDeque<Option<Vec<T>>>,
    /// Answers that have a ticket and were not given out.
    waiting: usize,
    /// What follows the last batch.
    end: Option<Option<Status>>,
    waker: Option<Waker>,
}

impl<T> Default for Outbox<T> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                first: 0,
                batches: VecDeque::new(),
                waiting: 0,
                end: None,
                waker: None,
            }),
            taken: Notify::new(),
        }
    }
}

impl<T> Outbox<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the window has room; for how many answers.
    pub(super) async fn room(&self) -> usize {
        loop {
            // Before the look, so that nothing is missed between it and the wait. One task waits.
            let taken = self.taken.notified();
            let waiting = self.state().waiting;
            if waiting < WINDOW {
                return WINDOW - waiting;
            }
            taken.await;
        }
    }

    /// A place for a batch of so many answers, after all others.
    pub(super) fn ticket(&self, answers: usize) -> Ticket {
        let mut state = self.state();
        state.waiting += answers;
        state.batches.push_back(None);
        Ticket(state.first + state.batches.len() as u64 - 1)
    }

    /// The batch of a ticket; once for each.
    pub(super) fn put(&self, ticket: Ticket, batch: Vec<T>) {
        let mut state = self.state();
        let Some(index) = ticket.0.checked_sub(state.first) else {
            return;
        };
        if let Some(place) = state.batches.get_mut(index as usize) {
            *place = Some(batch);
        }
        // Whoever waits for a later one is not to be woken for nothing.
        let waker = if index == 0 { state.waker.take() } else { None };
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// No more tickets: what follows the last batch.
    pub(super) fn end(&self, end: Option<Status>) {
        let mut state = self.state();
        state.end = Some(end);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The next batch, or the end.
    pub(super) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Result<Vec<T>, Option<Status>>> {
        let mut state = self.state();
        let State { batches, end, .. } = &mut *state;
        match batches.front_mut() {
            Some(Some(batch)) => {
                let batch = std::mem::take(batch);
                batches.pop_front();
                state.first += 1;
                let was_full = state.waiting >= WINDOW;
                state.waiting -= batch.len();
                drop(state);
                if was_full {
                    self.taken.notify_one();
                }
                Poll::Ready(Ok(batch))
            }
            None if end.is_some() => Poll::Ready(Err(end.as_mut().and_then(Option::take))),
            Some(None) | None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn batches_come_in_the_order_of_their_tickets_then_the_end() {
        let outbox = Outbox::default();
        let next = || poll_fn(|cx| outbox.poll_next(cx));
        let (first, second, third) = (outbox.ticket(1), outbox.ticket(2), outbox.ticket(1));
        outbox.put(second, vec![2, 3]);
        assert!(next().now_or_never().is_none(), "the first is still to come");
        outbox.end(Some(Status::aborted("over")));
        outbox.put(first, vec![1]);
        assert_eq!(next().await.unwrap(), [1]);
        assert_eq!(next().await.unwrap(), [2, 3]);
        assert!(next().now_or_never().is_none());
        outbox.put(third, vec![4]);
        assert_eq!(next().await.unwrap(), [4]);
        assert_eq!(next().await.unwrap_err().unwrap().message(), "over");
        assert!(next().await.unwrap_err().is_none());
    }

    #[tokio::test]
    async fn the_window_is_what_was_not_taken() {
        let outbox = Outbox::default();
        let all = outbox.ticket(WINDOW);
        assert!(outbox.room().now_or_never().is_none());
        outbox.put(all, vec![0; WINDOW]);
        let waits = outbox.room();
        tokio::pin!(waits);
        assert!(waits.as_mut().now_or_never().is_none(), "told, but not taken");
        poll_fn(|cx| outbox.poll_next(cx)).await.unwrap();
        assert_eq!(waits.await, WINDOW);
    }
}
