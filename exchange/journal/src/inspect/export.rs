//! `optivex journal export`: a journal as rows for spreadsheets, pandas and jq.

use std::io::{self, Write};
use std::path::PathBuf;

use optivex_engine::types::{OrderId, OrderStatus, UserId};
use optivex_engine::{Event, Input};

use super::rows::{EventRow, Names, OrderRow, Row, TradeRow};
use super::{InspectError, Journal};

/// What an export has a row for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportWhat {
    /// Each trade: [`TradeRow`], by trade id.
    Trades,
    /// Each order: [`OrderRow`]. First those that ended, in the order they did; then those that are open,
    /// by user and order id. An order that ended before the first event, or that was inserted after the
    /// last one, has no row.
    Orders,
    /// Each event: [`EventRow`].
    Events,
}

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// RFC 4180 with a line of column names.
    Csv,
    /// One JSON object a line.
    JsonLines,
}

/// What to export, and how.
#[derive(Clone, Debug)]
pub struct ExportOptions {
    /// The data directory.
    pub data_directory: PathBuf,
    /// What there is a row for.
    pub what: ExportWhat,
    /// How rows are written.
    pub format: ExportFormat,
    /// Only what happened in this event and after; 0 and 1 mean from the first on.
    pub first_event_seq: u64,
    /// Only what happened until this event; none for the last one. It must be there.
    pub last_event_seq: Option<u64>,
}

impl ExportOptions {
    /// All of a journal, as CSV.
    pub fn new(data_directory: impl Into<PathBuf>, what: ExportWhat) -> Self {
        Self {
            data_directory: data_directory.into(),
            what,
            format: ExportFormat::Csv,
            first_event_seq: 0,
            last_event_seq: None,
        }
    }
}

/// Writes the rows and says how many there were. They are written as they are found.
pub fn export(options: &ExportOptions, out: &mut dyn Write) -> Result<u64, InspectError> {
    let journal = Journal::open(&options.data_directory)?;
    let before_first = options.first_event_seq.saturating_sub(1);
    let mut replay = if before_first == 0 {
        journal.replay_from_start()?
    } else {
        journal.state_at(Some(before_first))?
    };
    let mut names = Names {
        usernames: replay.engine().usernames().map(str::to_owned).collect(),
        symbols: replay
            .engine()
            .instruments()
            .map(|instrument| instrument.symbol.to_string())
            .collect(),
    };
    let mut rows = Rows::new(options, out)?;
    let mut event = Event::default();
    let last = options.last_event_seq.unwrap_or(u64::MAX);
    while replay.engine().event_seq() < last && replay.step(&mut event)? {
        if let Some(input) = replay.input() {
            names.learn(input, &event);
            write_event(options.what, input, &event, &names, &mut rows)?;
        }
    }
    let engine = replay.engine();
    if let Some(asked) = options.last_event_seq
        && engine.event_seq() < asked
    {
        rows.finish()?;
        return Err(InspectError::NotReached {
            asked,
            last_event_seq: engine.event_seq(),
        });
    }
    if options.what == ExportWhat::Orders {
        for user in 0..u32::try_from(names.usernames.len()).unwrap_or(u32::MAX) {
            for order in engine.open_orders(UserId(user), None, OrderId(0)) {
                rows.write(&OrderRow::new(&order, &names))?;
            }
        }
    }
    Ok(rows.finish()?)
}

fn write_event(what: ExportWhat, input: &Input, event: &Event, names: &Names, rows: &mut Rows<'_>) -> io::Result<()> {
    match what {
        ExportWhat::Trades => {
            for trade in &event.trades {
                rows.write(&TradeRow::new(event, trade, names))?;
            }
        }
        ExportWhat::Orders => {
            for report in &event.reports {
                if report.order.status != OrderStatus::Open {
                    rows.write(&OrderRow::new(&report.order, names))?;
                }
            }
        }
        ExportWhat::Events => rows.write(&EventRow::new(input, event, names))?,
    }
    Ok(())
}

/// Where rows go.
struct Rows<'a> {
    sink: Sink<'a>,
    count: u64,
}

enum Sink<'a> {
    Csv(Box<csv::Writer<&'a mut dyn Write>>),
    JsonLines(io::BufWriter<&'a mut dyn Write>),
}

impl<'a> Rows<'a> {
    fn new(options: &ExportOptions, out: &'a mut dyn Write) -> io::Result<Self> {
        let sink = match options.format {
            ExportFormat::Csv => {
                // Written here, so that an export without rows has its line of names too.
                let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(out);
                writer.write_record(match options.what {
                    ExportWhat::Trades => TradeRow::COLUMNS,
                    ExportWhat::Orders => OrderRow::COLUMNS,
                    ExportWhat::Events => EventRow::COLUMNS,
                })?;
                Sink::Csv(Box::new(writer))
            }
            ExportFormat::JsonLines => Sink::JsonLines(io::BufWriter::new(out)),
        };
        Ok(Self { sink, count: 0 })
    }

    fn write(&mut self, row: &impl Row) -> io::Result<()> {
        match &mut self.sink {
            Sink::Csv(writer) => writer.serialize(row).map_err(io::Error::from)?,
            Sink::JsonLines(writer) => {
                serde_json::to_writer(&mut *writer, row).map_err(io::Error::from)?;
                writer.write_all(b"\n")?;
            }
        }
        self.count += 1;
        Ok(())
    }

    fn finish(mut self) -> io::Result<u64> {
        match &mut self.sink {
            Sink::Csv(writer) => writer.flush()?,
            Sink::JsonLines(writer) => writer.flush()?,
        }
        Ok(self.count)
    }
}
