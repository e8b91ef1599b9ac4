//! Where an answer goes.

use tokio::sync::oneshot;

use super::Answer;

/// Where one answer goes. Dropped without having been used (a thread died), it tells that the outcome
/// is unknown.
pub(super) struct Reply(To);

enum To {
    Channel(oneshot::Sender<Answer>),
    Callback(Box<dyn FnOnce(Answer) + Send>),
    Nobody,
}

impl Reply {
    /// To a channel; its receiver takes a dropped sender for an unknown outcome.
    pub(super) fn channel() -> (Self, oneshot::Receiver<Answer>) {
        let (sender, receiver) = oneshot::channel();
        (Self(To::Channel(sender)), receiver)
    }

    pub(super) fn callback(answer: impl FnOnce(Answer) + Send + 'static) -> Self {
        Self(To::Callback(Box::new(answer)))
    }

    /// Nobody waits for it.
    pub(super) fn none() -> Self {
        Self(To::Nobody)
    }

    pub(super) fn tell(mut self, answer: Answer) {
        match std::mem::replace(&mut self.0, To::Nobody) {
            // A client that went away does not need its answer.
            To::Channel(sender) => drop(sender.send(answer)),
            To::Callback(callback) => callback(answer),
            To::Nobody => {}
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let To::Callback(callback) = std::mem::replace(&mut self.0, To::Nobody) {
            callback(Answer::Unknown("the exchange ended before it could tell".to_owned()));
        }
    }
}
