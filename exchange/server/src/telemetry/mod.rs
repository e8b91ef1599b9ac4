//! Logs and metrics.

mod http;
mod metrics_table;
pub(crate) mod request;

use std::io::{IsTerminal, stderr};

use anyhow::anyhow;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::config::{ConfigError, LogFormat};

pub use http::MetricsListener;
pub use metrics_table::install as install_metrics;

/// Libraries whose news is none for operators; named in the filter, they tell it all the same.
const NOISY: [&str; 2] = ["h2", "hyper"];

/// Logs to standard error.
pub fn init_logging(filter: &str, format: LogFormat) -> anyhow::Result<()> {
    let mut directives = filter.to_owned();
    for noisy in NOISY {
        if !filter.contains(noisy) {
            directives += &format!(",{noisy}=warn");
        }
    }
    let parsed = EnvFilter::try_new(directives).map_err(|error| {
        ConfigError::new(format!(
            "log: {filter:?} is no filter such as info or info,optivex_server=debug: {error}"
        ))
    })?;
    let logs = tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .with_writer(stderr)
        .with_span_events(FmtSpan::NONE);
    let installed = match format {
        LogFormat::Human => logs.with_ansi(stderr().is_terminal()).try_init(),
        LogFormat::Json => logs.json().flatten_event(true).try_init(),
    };
    installed.map_err(|error| anyhow!("cannot start logging: {error}"))
}
