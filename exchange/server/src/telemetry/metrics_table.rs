//! Which metrics there are.

use anyhow::{Context, anyhow};
use metrics::Unit;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Upper ends of the buckets of durations, in seconds: from a fast answer to a lost one.
const SECONDS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_2, 0.000_3, 0.000_5, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0,
    2.0, 5.0, 10.0,
];
/// Upper ends of the buckets of numbers of things.
const COUNTS: &[f64] = &[
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0, 5_000.0, 10_000.0, 100_000.0,
];
/// Upper ends of the buckets of sizes, in bytes.
const BYTES: &[f64] = &[
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
];

enum Kind {
    Counter,
    Gauge,
    Histogram,
}
use Kind::{Counter, Gauge, Histogram};

/// What is counted here; the sequencer describes its own. README.md has all of them for people.
const METRICS: &[(&str, Kind, Unit, &str)] = &[
    (
        "optivex_rpcs_total",
        Counter,
        Unit::Count,
        "Requests by method and status code",
    ),
    (
        "optivex_rpc_seconds",
        Histogram,
        Unit::Seconds,
        "From receipt of a unary request to its answer, by method",
    ),
    ("optivex_streams", Gauge, Unit::Count, "Open streams by method"),
    ("optivex_connections", Gauge, Unit::Count, "Open connections"),
    (
        "optivex_connections_refused_total",
        Counter,
        Unit::Count,
        "Connections that were closed at once, by reason",
    ),
    ("optivex_sessions", Gauge, Unit::Count, "Sessions"),
    (
        "optivex_logins_total",
        Counter,
        Unit::Count,
        "Attempts to log in by outcome",
    ),
    (
        "optivex_feed_subscribers",
        Gauge,
        Unit::Count,
        "Market data subscriptions by kind of stream",
    ),
    (
        "optivex_feed_messages_total",
        Counter,
        Unit::Count,
        "Messages sent to subscribers by kind of stream",
    ),
    (
        "optivex_feed_gaps_total",
        Counter,
        Unit::Count,
        "Gaps told to subscribers",
    ),
    (
        "optivex_feed_too_slow_total",
        Counter,
        Unit::Count,
        "Subscribers that fell too far behind, by kind of stream",
    ),
    (
        "optivex_feed_lag_events",
        Gauge,
        Unit::Count,
        "Durable events that market data has not shown yet",
    ),
    (
        "optivex_ready",
        Gauge,
        Unit::Count,
        "1 while the exchange takes commands",
    ),
];

/// Starts to count. Before anything that counts is made: a handle made earlier counts nothing.
pub fn install() -> anyhow::Result<PrometheusHandle> {
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)
        .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), BYTES))
        .and_then(|builder| builder.set_buckets(COUNTS))
        .context("cannot set up metrics")?
        .build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|error| anyhow!("cannot set up metrics: {error}"))?;
    for (name, kind, unit, help) in METRICS {
        match kind {
            Counter => metrics::describe_counter!(*name, *unit, *help),
            Gauge => metrics::describe_gauge!(*name, *unit, *help),
            Histogram => metrics::describe_histogram!(*name, *unit, *help),
        }
    }
    Ok(handle)
}
