//! From a data directory to running services.

use std::io;

use anyhow::Context;
use optivex_journal::recover::{RecoverOptions, Recovered, RecoveryReport, recover};
use optivex_journal::{EventSink, JournalError};
use optivex_proto::v1::admin_service_server::AdminServiceServer;
use optivex_proto::v1::auth_service_server::AuthServiceServer;
use optivex_proto::v1::execution_service_server::ExecutionServiceServer;
use optivex_proto::v1::risk_limits_service_server::RiskLimitsServiceServer;
use tonic::service::Routes;

use crate::auth::Auth;
use crate::config::Settings;
use crate::feed::{Feed, FeedSettings, FeedThread, SubscriptionLimits};
use crate::sequencer::{self, Exchange, Options, Parts, Running};
use crate::service::admin::AdminApi;
use crate::service::auth::AuthApi;
use crate::service::execution::ExecutionApi;
use crate::service::info::InfoApi;
use crate::service::risk_limits::RiskLimitsApi;

/// An exchange that runs.
#[derive(Debug)]
pub(super) struct Started {
    /// Its threads.
    pub(super) running: Running,
    /// The market data's thread.
    pub(super) feed: FeedThread,
    /// Its services.
    pub(super) routes: Routes,
    /// What recovery found.
    pub(super) report: RecoveryReport,
}

/// Recovers what the data directory holds and starts the exchange. Blocks for as long as it takes.
pub(super) fn start(settings: &Settings, auth: &Auth) -> anyhow::Result<Started> {
    #[cfg(feature = "faults")]
    crate::faults::prepare()?;
    let Recovered {
        engine,
        journal,
        snapshots,
        history_writer,
        history,
        report,
    } = recover(&recover_options(settings)).context("cannot open the exchange's data")?;
    let feed_settings = FeedSettings {
        subscriptions: SubscriptionLimits {
            subscriptions_max: settings.max_subscriptions,
            ..SubscriptionLimits::default()
        },
        ..FeedSettings::default()
    };
    let (feed, feed_sink, feed_thread) =
        Feed::start(&feed_settings, &engine).context("cannot start the market data")?;
    let history_of_snapshots = history.clone();
    let parts = Parts {
        engine,
        journal: Box::new(journal),
        sinks: vec![
            Box::new(feed_sink) as Box<dyn EventSink>,
            Box::new(history_writer) as Box<dyn EventSink>,
        ],
        // History first: recovery starts from a snapshot only if history reaches it.
        store_snapshot: Box::new(move |event_seq, snapshot| {
            let through = history_of_snapshots
                .sync()
                .map_err(|error| JournalError::from(io::Error::other(error)))?;
            snapshots.store(event_seq, snapshot)?;
            Ok(through)
        }),
    };
    #[cfg(feature = "faults")]
    let parts = crate::faults::parts(parts)?;
    let options = Options {
        snapshot_every: settings.snapshot_every,
        ..Options::default()
    };
    let running = sequencer::start(parts, options).context("cannot start the exchange")?;
    let exchange = running.exchange();
    Ok(Started {
        routes: routes(settings, &exchange, auth, &feed, history),
        running,
        feed: feed_thread,
        report,
    })
}

fn recover_options(settings: &Settings) -> RecoverOptions {
    let mut options = RecoverOptions::new(&settings.data_dir);
    options.journal.retention = settings.journal_keep.into();
    options
}

fn routes(
    settings: &Settings,
    exchange: &Exchange,
    auth: &Auth,
    feed: &Feed,
    history: optivex_journal::history::History,
) -> Routes {
    // The router judges sizes with a better answer; this is only so that tonic does not judge first.
    let size = settings.max_message_size;
    let info = InfoApi::new(feed.clone(), history.clone(), auth.clone(), exchange.state());
    let execution = ExecutionApi::new(exchange.clone(), auth.clone(), history);
    let risk_limits = RiskLimitsApi::new(exchange.clone(), auth.clone());
    let admin = AdminApi::new(exchange.clone(), auth.clone());
    Routes::new(AuthServiceServer::new(AuthApi::new(auth.clone())).max_decoding_message_size(size))
        .add_service(info.into_service(size))
        .add_service(ExecutionServiceServer::new(execution).max_decoding_message_size(size))
        .add_service(RiskLimitsServiceServer::new(risk_limits).max_decoding_message_size(size))
        .add_service(AdminServiceServer::new(admin).max_decoding_message_size(size))
}
