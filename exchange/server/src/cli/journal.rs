//! `optivex journal` and `optivex book`: tools over a data directory, also beside an exchange that runs.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use optivex_journal::inspect::{
    BookOptions, ExportOptions, ExportWhat, InspectError, VerifyOptions, book, export, verify,
};

use super::{BookArgs, ExportArgs, ExportFormat, JournalCommand};

/// Runs a tool over a journal.
pub fn journal(command: JournalCommand) -> anyhow::Result<()> {
    match command {
        JournalCommand::Verify { dir } => {
            let mut sound = true;
            to_stdout(|out| {
                sound = verify(&VerifyOptions { data_directory: dir }, out)?.is_sound();
                Ok(())
            })?;
            if !sound {
                bail!("the journal is not sound");
            }
            Ok(())
        }
        JournalCommand::Export(args) => write_export(&args),
    }
}

/// Shows a book of the past.
pub fn show_book(args: BookArgs) -> anyhow::Result<()> {
    let book = book(&BookOptions {
        data_directory: args.dir,
        symbol: args.symbol,
        at_event_seq: args.at,
    })?;
    to_stdout(|out| Ok(book.write_text(out)?))
}

fn write_export(args: &ExportArgs) -> anyhow::Result<()> {
    let what = match (args.trades, args.orders) {
        (true, _) => ExportWhat::Trades,
        (_, true) => ExportWhat::Orders,
        // clap wants one of the three.
        _ => ExportWhat::Events,
    };
    let options = ExportOptions {
        format: match args.format {
            ExportFormat::Csv => optivex_journal::inspect::ExportFormat::Csv,
            ExportFormat::Jsonl => optivex_journal::inspect::ExportFormat::JsonLines,
        },
        ..ExportOptions::new(&args.dir, what)
    };
    let Some(path) = &args.output else {
        return to_stdout(|out| Ok(export(&options, out).map(drop)?));
    };
    let rows = to_file(path, |out| Ok(export(&options, out)?))?;
    eprintln!("{rows} rows written to {}", path.display());
    Ok(())
}

/// Writes a file that is there whole or not at all.
fn to_file<T>(path: &Path, write: impl FnOnce(&mut dyn Write) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let mut partial = OsString::from(path);
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let cannot = || format!("cannot write {}", partial.display());
    let mut out = BufWriter::new(File::create(&partial).with_context(cannot)?);
    let result = write(&mut out)?;
    out.flush().with_context(cannot)?;
    fs::rename(&partial, path).with_context(|| format!("cannot rename {} to {}", partial.display(), path.display()))?;
    Ok(result)
}

/// Writes to standard output; a reader that has had enough is no error.
fn to_stdout(write: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let written = write(&mut out).and_then(|()| out.flush().map_err(Into::into));
    match written {
        Err(error) if is_broken_pipe(&error) => Ok(()),
        written => written,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let error = match error.downcast_ref() {
        Some(InspectError::Write(error)) => Some(error),
        _ => error.downcast_ref::<io::Error>(),
    };
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
