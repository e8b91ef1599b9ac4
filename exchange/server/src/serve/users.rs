//! The users file at start and on SIGHUP; the demo's users and instruments.

use std::sync::Arc;

use anyhow::{Context, bail};
use arrayvec::ArrayString;
use optivex_engine::Command;
use optivex_engine::command::CreateInstrument;
use optivex_engine::types::{Symbol, TradingPhase, Username};
use optivex_proto::v1::{ErrorReason, Role};

use super::tls::Certificates;
use crate::auth::{Auth, Credential, Roles, UserEntry, UsersChange, UsersFile};
use crate::config::Users;
use crate::sequencer::{Answer, Exchange, State};

/// The demo's users; each one's password is its name.
const DEMO_USERS: [(&str, &[Role]); 4] = [
    ("alice", &[Role::Trader]),
    ("bob", &[Role::Trader]),
    ("viewer", &[Role::Viewer]),
    ("admin", &[Role::Admin]),
];

/// The demo's instruments: symbol, description, currency, multiplier, tick size.
const DEMO_INSTRUMENTS: [(&str, &str, &str, i64, i64); 3] = [
    ("DEMO", "Demo share", "EUR", 1, 100),
    ("FUT-DEC", "Demo future, ten per point", "EUR", 10, 2_500),
    ("SPREAD", "Demo calendar spread, may be negative", "EUR", 10, 500),
];

/// Reads the users.
pub(super) fn read(source: &Users) -> anyhow::Result<UsersFile> {
    Ok(match source {
        Users::File(path) => UsersFile::read(path)?,
        Users::Demo => demo_users().context("demo users")?,
    })
}

fn demo_users() -> anyhow::Result<UsersFile> {
    let mut users = Vec::new();
    for (name, roles) in DEMO_USERS {
        users.push(UserEntry {
            username: Username::from(name).map_err(|_| anyhow::anyhow!("a name is too long"))?,
            credential: Credential::plain(name).map_err(anyhow::Error::msg)?,
            roles: Roles::of(roles),
        });
    }
    Ok(UsersFile::new(users))
}

/// Makes the users known to the exchange, then lets them in. A full disk holds it up.
async fn admit(file: &UsersFile, exchange: &Exchange, auth: &Auth) -> anyhow::Result<UsersChange> {
    while !register(file, exchange).await? {
        ready(exchange).await?;
    }
    Ok(auth.set_users(file, |name| exchange.user(name))?)
}

/// Makes the users known to the exchange, unless it takes no commands now.
async fn register(file: &UsersFile, exchange: &Exchange) -> anyhow::Result<bool> {
    match exchange.register_users(file.usernames()).await {
        Ok(()) => Ok(true),
        Err(error) if error.reason == ErrorReason::NotReady => {
            tracing::warn!("new users cannot be registered yet: {}", error.message);
            Ok(false)
        }
        Err(error) => bail!("cannot register the users: {}", error.message),
    }
}

/// Waits until the exchange takes commands.
async fn ready(exchange: &Exchange) -> anyhow::Result<()> {
    let mut state = exchange.state();
    let state = state
        .wait_for(|state| !matches!(state, State::NotReady(_)))
        .await
        .context("the exchange ended")?
        .clone();
    match state {
        State::Ready | State::NotReady(_) => Ok(()),
        State::Stopping => bail!("the exchange is stopping"),
        State::Failed(why) => bail!("{why}"),
    }
}

/// Lists the demo's instruments, those that are not there yet.
pub(super) async fn list_demo_instruments(exchange: &Exchange) -> anyhow::Result<()> {
    let user = exchange.user("admin").context("the demo has no admin")?;
    let text = |text: &'static str| ArrayString::from(text).map_err(|_| anyhow::anyhow!("{text} is too long"));
    for (symbol, description, currency, multiplier, tick_size_e4) in DEMO_INSTRUMENTS {
        if exchange.instrument(symbol).is_some() {
            continue;
        }
        let instrument = CreateInstrument {
            user,
            symbol: Symbol::from(symbol).map_err(|_| anyhow::anyhow!("{symbol} is too long"))?,
            description: description.to_owned(),
            currency: text(currency)?,
            multiplier,
            tick_size_e4,
            initial_phase: TradingPhase::Continuous,
            client_request_id: ArrayString::new(),
        };
        instrument.validate()?;
        match exchange.submit(Command::CreateInstrument(instrument)).await {
            Answer::Event(_) => {}
            answer => bail!("cannot list {symbol}: {}", exchange.error(answer).message),
        }
    }
    Ok(())
}

/// What is read again on SIGHUP.
#[derive(Clone, Debug)]
pub(super) struct Reloader {
    pub(super) users: Users,
    pub(super) certificates: Option<Arc<Certificates>>,
    pub(super) exchange: Exchange,
    pub(super) auth: Auth,
    /// One at a time.
    pub(super) turn: Arc<tokio::sync::Mutex<()>>,
}

impl Reloader {
    /// Lets the first users in. Where the disk is full, those that are new follow when it has room: the
    /// others can see their books, orders and positions meanwhile.
    pub(super) async fn begin(&self, file: &UsersFile) -> anyhow::Result<()> {
        let known = |name: &str| self.exchange.user(name);
        if register(file, &self.exchange).await? {
            self.auth.set_users(file, known)?;
        } else {
            self.auth.set_users(&file.only(|name| known(name).is_some()), known)?;
            tokio::spawn(self.clone().reload());
        }
        Ok(())
    }

    /// Reads users and certificates again; what has an error stays as it was.
    pub(super) async fn reload(self) {
        let _turn = self.turn.lock().await;
        match self.reload_users().await {
            Ok(change) => tracing::info!(
                added = ?change.added, removed = ?change.removed, changed = ?change.changed,
                sessions_revoked = change.sessions_revoked, "users file reloaded"
            ),
            Err(error) => tracing::error!("the users stay as they were: {error:#}"),
        }
        if let Some(certificates) = &self.certificates {
            match certificates.reload() {
                Ok(()) => tracing::info!("certificates reloaded"),
                Err(error) => tracing::error!("the certificates stay as they were: {error:#}"),
            }
        }
    }

    async fn reload_users(&self) -> anyhow::Result<UsersChange> {
        let source = self.users.clone();
        let file = tokio::task::spawn_blocking(move || read(&source)).await??;
        admit(&file, &self.exchange, &self.auth).await
    }
}
