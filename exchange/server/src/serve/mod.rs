//! `optivex serve`.

mod body;
mod gather;
mod health;
mod listener;
mod malformed;
mod methods;
mod recovery;
mod request;
mod signals;
mod tls;
mod users;

#[cfg(test)]
mod tests;

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use metrics_exporter_prometheus::PrometheusHandle;
use optivex_journal::recover::RecoveryReport;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::time::{Instant, interval, timeout_at};

use crate::auth::{Auth, AuthSettings, SystemClock, UsersFile};
use crate::config::{Settings, Users};
use crate::sequencer::{Exchange, ShutdownError, State};
use crate::telemetry::{self, MetricsListener};
use health::Health;
use listener::{Finisher, Limits, Listener};
use recovery::Started;
use request::Router;
use signals::{Asked, Signals};
use tls::Certificates;
use users::Reloader;

/// How often sessions that expired are forgotten.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// How long the process may take to end after the grace: what is left then waits for a disk that hangs.
const LATE: Duration = Duration::from_millis(500);

/// Runs the exchange until it is asked to stop.
pub fn run(settings: Settings) -> anyhow::Result<()> {
    telemetry::init_logging(&settings.log, settings.log_format)?;
    let metrics = settings
        .metrics_listen
        .map(|_| telemetry::install_metrics())
        .transpose()?;
    let users = users::read(&settings.users)?;
    raise_open_files(settings.max_connections);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(serve(&settings, users, metrics));
    // What still blocks must not hold up the end: everything that counts is durable.
    runtime.shutdown_background();
    result
}

/// Takes all the file descriptors that the system lets this process have: each connection is one.
fn raise_open_files(connections_max: usize) {
    // For the journal, history and what the runtime needs.
    const OTHERS: u64 = 512;
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
    if let Some(open_files) = getrlimit(Resource::Nofile).current
        && open_files < connections_max as u64 + OTHERS
    {
        tracing::warn!(
            open_files,
            connections_max,
            "fewer files may be open than connections are allowed"
        );
    }
}

async fn serve(settings: &Settings, users: UsersFile, metrics: Option<PrometheusHandle>) -> anyhow::Result<()> {
    let mut signals = Signals::install()?;
    let certificates = settings.tls.clone().map(Certificates::read).transpose()?.map(Arc::new);
    let (health, methods, standard) = health::standard_services().await?;
    let router = Arc::new(Router::new(methods, standard, settings.max_message_size));
    let limits = Limits::from(settings);
    let listener = Listener::bind(settings.listen, limits, certificates.clone(), Arc::clone(&router)).await?;
    let address = listener.local_addr().context("cannot listen")?;
    let connections = listener.finisher();
    tokio::spawn(listener.serve());
    if let (Some(address), Some(metrics)) = (settings.metrics_listen, metrics) {
        let listener = MetricsListener::bind(address).await?;
        tracing::info!(address = %listener.local_addr().unwrap_or(address), "metrics are at /metrics");
        tokio::spawn(listener.serve(metrics));
    }

    let auth = Auth::new(
        AuthSettings {
            token_idle_timeout: settings.token_idle_timeout,
            sessions_per_user_max: settings.max_sessions_per_user,
        },
        Arc::new(SystemClock::default()),
    );
    let started = {
        let (settings, auth) = (settings.clone(), auth.clone());
        tokio::task::spawn_blocking(move || recovery::start(&settings, &auth))
    };
    let started = tokio::select! {
        started = started => started.context("recovery died")??,
        // Recovery only reads what is durable: it can be left at any moment.
        () = signals.stop() => return Ok(()),
    };
    let exchange = started.running.exchange();
    let server = Server {
        router,
        health,
        connections,
        grace: settings.shutdown_grace,
    };
    let reloader = Reloader {
        users: settings.users.clone(),
        certificates,
        exchange: exchange.clone(),
        auth: auth.clone(),
        turn: Arc::default(),
    };
    let end = {
        let opening = async {
            reloader.begin(&users).await?;
            if settings.users == Users::Demo {
                users::list_demo_instruments(&exchange).await?;
            }
            server.router.open(started.routes.clone());
            // Before anybody is told that it serves.
            let state = exchange.state().borrow().clone();
            if let State::NotReady(why) = &state {
                tracing::error!(%why, "starting without taking commands");
            }
            server.health.set(state == State::Ready).await;
            tokio::spawn(follow(server.health.clone(), exchange.clone()));
            tokio::spawn(sweep(auth.clone()));
            announce(settings, address, &started.report);
            anyhow::Ok(())
        };
        tokio::select! {
            opened = opening => match opened {
                Ok(()) => until_stopped(&mut signals, &exchange, &reloader).await,
                Err(error) => Err(error),
            },
            () = signals.stop() => Ok(()),
        }
    };
    end_late(settings.shutdown_grace + LATE);
    let drained = tokio::select! {
        drained = server.drain(started) => drained,
        () = signals.stop() => {
            tracing::warn!("asked to stop twice: not waiting for clients");
            std::process::exit(1);
        }
    };
    end.and(drained)
}

/// Ends the process with failure if it is still there by then. What is acknowledged is durable; files that
/// cannot be closed must not hold up whoever waits for the end.
fn end_late(after: Duration) {
    std::thread::spawn(move || {
        std::thread::sleep(after);
        tracing::error!("the end takes too long, so the process stops here");
        std::process::exit(1);
    });
}

/// Until somebody wants the exchange to stop, or it cannot go on.
async fn until_stopped(signals: &mut Signals, exchange: &Exchange, reloader: &Reloader) -> anyhow::Result<()> {
    let mut state = exchange.state();
    let failed = async {
        match state.wait_for(|state| matches!(state, State::Failed(_))).await {
            Ok(state) => match &*state {
                State::Failed(why) => why.to_string(),
                _ => String::new(),
            },
            Err(_) => "its threads are gone".to_owned(),
        }
    };
    tokio::pin!(failed);
    loop {
        tokio::select! {
            why = &mut failed => bail!("the exchange cannot go on: {why}"),
            asked = signals.next() => match asked {
                Asked::Stop => return Ok(()),
                Asked::Reload => {
                    tokio::spawn(reloader.clone().reload());
                }
            },
        }
    }
}

/// One line for people and for programs that start this one.
fn announce(settings: &Settings, address: std::net::SocketAddr, report: &RecoveryReport) {
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    let from = match (report.created, report.snapshot) {
        (true, _) => "new journal".to_owned(),
        (false, None) => format!("{} events replayed", report.replayed),
        (false, Some(snapshot)) => format!("snapshot of event {snapshot} and {} events replayed", report.replayed),
    };
    let cut = if report.cut.is_some() { ", torn tail cut" } else { "" };
    let line = format!(
        "optivex {} serves {scheme}://{address}: event {}, {from}{cut} in {:.3} s, data in {}",
        env!("CARGO_PKG_VERSION"),
        report.last_event_seq,
        report.duration.as_secs_f64(),
        settings.data_dir.display(),
    );
    // Nobody may be there to read it.
    if let Err(error) = writeln!(std::io::stdout(), "{line}") {
        tracing::warn!(%error, "{line}");
    }
}

/// Tells the health as the sequencer does, which also tells the log.
async fn follow(health: Health, exchange: Exchange) {
    let mut state = exchange.state();
    loop {
        let now = state.borrow_and_update().clone();
        health.set(now == State::Ready).await;
        if matches!(now, State::Stopping | State::Failed(_)) || state.changed().await.is_err() {
            return;
        }
    }
}

async fn sweep(auth: Auth) {
    let mut every = interval(SWEEP_EVERY);
    loop {
        every.tick().await;
        auth.sweep();
    }
}

/// What is taken down at the end.
struct Server {
    router: Arc<Router>,
    health: Health,
    connections: Finisher,
    grace: Duration,
}

impl Server {
    /// Takes no more, makes everything durable and answers it, ends streams, and leaves clients to
    /// themselves that do not take what is theirs.
    async fn drain(&self, started: Started) -> anyhow::Result<()> {
        let deadline = Instant::now() + self.grace;
        tracing::info!("stopping");
        self.router.drain();
        self.health.set(false).await;
        let patience = self.grace * 3 / 4;
        let stopped = started.running.shutdown(patience).await;
        self.router.stop();
        let closed = timeout_at(deadline, self.connections.finish()).await;
        if closed.is_err() {
            tracing::warn!("some clients did not take their last answers in time");
        }
        // After its last reader.
        let feed = started.feed;
        let feed = tokio::task::spawn_blocking(move || feed.stop());
        let _ = timeout_at(deadline + Duration::from_millis(100), feed).await;
        match stopped {
            Ok(()) => {
                tracing::info!("stopped; everything is durable");
                Ok(())
            }
            Err(ShutdownError::Failed(why)) => bail!("the exchange cannot go on: {why}"),
            Err(error) => Err(error.into()),
        }
    }
}
