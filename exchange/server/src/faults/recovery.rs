//! A recovery that is wrong: of what is on the disk, of what is made of it, of what is written at all.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use anyhow::Context;
use optivex_engine::command::{InsertOrder, OrderTerms};
use optivex_engine::types::{OrderId, Side, UserId};
use optivex_engine::{Applied, Command, Engine, Event, Input};
use optivex_journal::recover::HISTORY_DIRECTORY;
use optivex_journal::{Batch, JournalError, Reader, record};

use crate::sequencer::Parts;

/// Lies in the data directory while a start is not over.
const STARTING: &str = "starting";
/// Lies in the data directory after an ordered stop.
const STOPPED: &str = "stopped";
/// Records that are lost, more than are ever in flight in a test.
const TAIL: usize = 8;

fn directory() -> PathBuf {
    std::env::var_os("OPTIVEX_DATA_DIR").unwrap_or_default().into()
}

/// Before the exchange looks at its data.
pub(super) fn prepare() -> anyhow::Result<()> {
    let directory = directory();
    if fault!(AcknowledgedEarly) {
        // What is written behind the journal is lost with its tail.
        forget_history(&directory)?;
    }
    if fault!(TailCutWhileRecovering) {
        let marker = directory.join(STARTING);
        if marker.exists() {
            forget_history(&directory)?;
            cut_tail(&directory)?;
        } else if directory.is_dir() {
            fs::write(marker, "")?;
        }
    }
    Ok(())
}

/// The first client was let in.
pub(super) fn over() {
    if fault!(TailCutWhileRecovering) {
        static OVER: OnceLock<()> = OnceLock::new();
        OVER.get_or_init(|| {
            // Not there at the very first start.
            let _ = fs::remove_file(directory().join(STARTING));
        });
    }
}

fn forget_history(directory: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(directory.join(HISTORY_DIRECTORY)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error).context("history stays"),
        _ => Ok(()),
    }
}

fn cut_tail(directory: &Path) -> anyhow::Result<()> {
    let reader = Reader::open(directory)?;
    let mut records = reader.read_from(reader.first_event_seq()?)?;
    let mut positions = Vec::new();
    while let Some(record) = records.next()? {
        positions.push(record.position);
    }
    if let Some(position) = positions.iter().rev().nth(TAIL - 1) {
        let segment = fs::OpenOptions::new().write(true).open(&position.segment)?;
        segment.set_len(position.offset)?;
    }
    Ok(())
}

/// What recovery has come to.
pub(super) fn recovered(parts: &mut Parts) -> anyhow::Result<()> {
    optivex_faults::recovered();
    if fault!(RestartIsADisconnect) {
        cancel_all(parts)?;
    }
    if fault!(TailTwice) {
        let engine = &parts.engine;
        let instruments = engine.instruments().map(|instrument| instrument.id);
        let resting = instruments.flat_map(|id| {
            let bids = engine.resting_orders(id, Side::Buy);
            bids.chain(engine.resting_orders(id, Side::Sell))
        });
        if let Some(last) = resting.max_by_key(|order| order.order_id) {
            let command = Command::InsertOrder(InsertOrder {
                user: last.user,
                instrument: last.instrument,
                client_order_id: Default::default(),
                terms: OrderTerms {
                    side: last.side,
                    price_e4: last.price_e4,
                    quantity: last.quantity,
                    order_type: last.order_type,
                    time_in_force: last.time_in_force,
                    post_only: last.post_only,
                    self_trade_prevention: last.self_trade_prevention,
                },
            });
            apply(parts, command)?;
        }
    }
    if fault!(StopCancelsAll) {
        let marker = directory().join(STOPPED);
        if marker.exists() {
            fs::remove_file(&marker)?;
            cancel_all(parts)?;
        }
        let mut store = std::mem::replace(&mut parts.store_snapshot, Box::new(|event_seq, _| Ok(event_seq)));
        parts.store_snapshot = Box::new(move |event_seq, snapshot| {
            fs::write(&marker, "").map_err(JournalError::from)?;
            store(event_seq, snapshot)
        });
    }
    Ok(())
}

fn cancel_all(parts: &mut Parts) -> anyhow::Result<()> {
    let users = u32::try_from(parts.engine.usernames().len()).unwrap_or(u32::MAX);
    for user in (0..users).map(UserId) {
        let after = OrderId(0);
        apply(parts, Command::CancelOnDisconnect { user, after })?;
    }
    Ok(())
}

/// One more command, as if it had been sent.
fn apply(parts: &mut Parts, command: Command) -> anyhow::Result<()> {
    let input = Input {
        time_unix_ns: parts.engine.time_unix_ns(),
        command,
    };
    let mut event = Event::default();
    if let Ok(Applied::Event) = parts.engine.apply(&input, &mut event) {
        let mut batch = Batch::default();
        batch.push_with(event.event_seq, |out| record::encode(&input, out));
        parts.journal.commit(&[batch])?;
        let events = Arc::new(vec![event]);
        parts.sinks.iter_mut().for_each(|sink| sink.publish(&events));
    }
    Ok(())
}

/// An accepted command as the journal has it.
pub(super) fn journaled(input: &Input, engine: &Engine) -> Input {
    let mut input = input.clone();
    let is_lost = match &mut input.command {
        Command::CreateInstrument(create) if fault!(CreationIdsNotKept) => {
            create.client_request_id = Default::default();
            false
        }
        Command::SetTradingPhase { .. } => fault!(PhasesNotKept),
        Command::SuspendUser { .. } => fault!(SuspensionsNotKept),
        Command::SetUserRiskLimits { .. } | Command::SetInstrumentRiskLimits { .. } => fault!(LimitsNotKept),
        Command::CancelOrder { .. } => fault!(CancelsNotKept),
        _ => false,
    };
    if is_lost && let Some(username) = engine.usernames().next() {
        // Known already: an event that changes nothing.
        if let Ok(username) = username.try_into() {
            input.command = Command::RegisterUser { username };
        }
    }
    input
}
