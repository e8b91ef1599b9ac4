//! A journal that is wrong.

use optivex_journal::{Batch, Journal, JournalError};

/// Says of a batch that it is durable when it is only kept in memory; writes it with the next one.
pub(super) struct Late {
    journal: Box<dyn Journal>,
    kept: Vec<Batch>,
    durable: u64,
}

impl Late {
    pub(super) fn new(journal: Box<dyn Journal>) -> Self {
        Self {
            durable: journal.durable_event_seq(),
            journal,
            kept: Vec::new(),
        }
    }

    fn write(&mut self) -> Result<(), JournalError> {
        self.journal.commit(&self.kept)?;
        self.kept.clear();
        Ok(())
    }
}

impl Journal for Late {
    fn commit(&mut self, batches: &[Batch]) -> Result<(), JournalError> {
        self.write()?;
        self.kept = batches.to_vec();
        self.durable += batches.iter().map(|batch| batch.len() as u64).sum::<u64>();
        Ok(())
    }

    fn durable_event_seq(&self) -> u64 {
        self.durable
    }

    fn has_room(&mut self) -> bool {
        self.journal.has_room()
    }

    fn store_snapshot(&mut self, event_seq: u64, snapshot: &[u8]) -> Result<(), JournalError> {
        self.write()?;
        self.journal.store_snapshot(event_seq, snapshot)
    }

    fn retain(&mut self, history_durable_through: u64) -> Result<u64, JournalError> {
        self.write()?;
        self.journal.retain(history_durable_through)
    }
}

impl Drop for Late {
    fn drop(&mut self) {
        // An ordered stop loses nothing: only a kill shows the fault.
        if let Err(error) = self.write() {
            tracing::error!(%error, "the last batch is lost");
        }
    }
}
