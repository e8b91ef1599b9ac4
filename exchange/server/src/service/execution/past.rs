//! What only history knows: orders that are done, and reports.

use std::time::Duration;

use optivex_engine::command::OrderRef;
use optivex_engine::types::UserId;
use optivex_journal::history::{History, HistoryError};
use optivex_proto::v1;
use tokio::sync::watch;

use crate::error::Error;

/// Reports that are read at a time.
pub(super) const REPORTS_PAGE: usize = 256;

/// How long an answer waits for history, which only a failing disk makes late.
const PATIENCE: Duration = Duration::from_secs(3);

/// History, read without blocking the threads that serve clients.
pub(super) struct Past {
    history: History,
}

impl Past {
    pub(super) fn new(history: History) -> Self {
        Self { history }
    }

    /// One of a user's orders, if it is done, after `event_seq` or later.
    pub(super) async fn order(
        &self,
        user: UserId,
        order: OrderRef,
        event_seq: u64,
    ) -> Result<Option<v1::Order>, Error> {
        self.caught_up(event_seq).await?;
        self.read(move |history| match order {
            OrderRef::Id(id) => {
                let found = history.order(id)?;
                Ok(found.filter(|(owner, _)| *owner == user).map(|(_, order)| order))
            }
            OrderRef::Client(id) => history.order_by_client_id(user, &id),
        })
        .await
    }

    /// A user's reports of one event, the first of which is known.
    pub(super) async fn event_reports(
        &self,
        user: UserId,
        event_seq: u64,
        first_report_seq: u64,
    ) -> Result<Vec<v1::ExecutionReport>, Error> {
        self.caught_up(event_seq).await?;
        self.read(move |history| {
            let mut reports = Vec::new();
            let mut after = first_report_seq.saturating_sub(1);
            loop {
                let page = history.reports(user, after, REPORTS_PAGE)?;
                let Some(last) = page.last() else { return Ok(reports) };
                after = last.report_seq;
                let before = reports.len();
                let read = page.len();
                reports.extend(page.into_iter().take_while(|report| report.event_seq == event_seq));
                if reports.len() - before < read {
                    return Ok(reports);
                }
            }
        })
        .await
    }

    /// A user's next reports.
    pub(super) async fn reports(&self, user: UserId, after: u64) -> Result<Vec<v1::ExecutionReport>, Error> {
        self.read(move |history| history.reports(user, after, REPORTS_PAGE))
            .await
    }

    /// The last report of a user that can be read, now and from now on.
    pub(super) fn report_watch(&self, user: UserId) -> watch::Receiver<u64> {
        self.history.report_watch(user)
    }

    /// Waits until history shows an event: it is written behind the journal.
    async fn caught_up(&self, event_seq: u64) -> Result<(), Error> {
        tokio::time::timeout(PATIENCE, self.history.wait_for(event_seq))
            .await
            .map_err(|_| Error::not_ready("history lags behind; try again"))
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&History) -> Result<T, HistoryError> + Send + 'static,
    ) -> Result<T, Error> {
        let history = self.history.clone();
        match tokio::task::spawn_blocking(move || read(&history)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                tracing::error!(%error, "history cannot be read");
                Err(Error::not_ready("history cannot be read"))
            }
            Err(error) => {
                tracing::error!(%error, "a read of history ended early");
                Err(Error::not_ready("history cannot be read"))
            }
        }
    }
}
