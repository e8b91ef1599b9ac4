//! What a case works with: instruments, users and sessions of its own, a record, a seed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use optivex_proto::v1::{
    CancelAllOrdersRequest, CreateInstrumentRequest, ErrorReason, Instrument, LoginRequest, LoginResponse,
    ResumeUserRequest, SetUserRiskLimitsRequest, UserRiskLimits,
};

use crate::client::{Reply, Session};
use crate::launch::{Home, Launcher, Process};
use crate::record::Log;
use crate::score::{Measurement, Score};
use crate::subject::{self, Venue};
use crate::users::{Lease, User};
use crate::verdict::{Stop, Verdict};

/// Times that a login waits when it is THROTTLED.
const THROTTLED_MAX: usize = 10;
/// The longest of these waits.
const THROTTLED_WAIT: Duration = Duration::from_secs(60);

static NAMES: AtomicU64 = AtomicU64::new(1);

/// What the runner gives a case besides an exchange.
#[derive(Clone, Debug)]
pub struct Given {
    /// The record of the case.
    pub log: Log,
    /// What the case measures.
    pub score: Score,
    /// The seed of the case.
    pub seed: u64,
    /// How long one answer may take.
    pub patience: Duration,
    /// How long a case that measures loads the exchange.
    pub load_time: Duration,
}

/// A case's world. Clones share it.
#[derive(Clone, Debug)]
pub struct Context(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    venue: Venue,
    launcher: Option<Launcher>,
    given: Given,
    leases: Mutex<Vec<Lease>>,
}

impl Context {
    /// The world of one case.
    pub fn new(venue: Venue, launcher: Option<Launcher>, given: Given) -> Self {
        Self(Arc::new(Inner {
            venue,
            launcher,
            given,
            leases: Mutex::default(),
        }))
    }

    /// Where the exchange serves, `http://host:port`.
    pub fn url(&self) -> &str {
        &self.0.venue.url
    }

    /// The record of the case.
    pub fn log(&self) -> &Log {
        &self.0.given.log
    }

    /// How long one answer may take.
    pub fn patience(&self) -> Duration {
        self.0.given.patience
    }

    /// How long a case that measures loads the exchange.
    pub fn load_time(&self) -> Duration {
        self.0.given.load_time
    }

    /// Tells a number of the exchange, and the same of the echo. It judges nothing.
    pub fn measured(&self, measurement: Measurement) {
        self.0.given.score.add(measurement);
    }

    /// The seed of this case: the run's seed gives the same again.
    pub fn seed(&self) -> u64 {
        self.0.given.seed
    }

    /// Random numbers of this case. Draw all of them from one generator, in one task.
    pub fn random(&self) -> fastrand::Rng {
        fastrand::Rng::with_seed(self.seed())
    }

    /// A text that no other case and no other run uses: a symbol, a client id. 16 characters at most.
    pub fn unique(&self) -> String {
        let number = NAMES.fetch_add(1, Ordering::Relaxed);
        format!("{}.{}", run_name(), base36(number))
    }

    /// A connection without a login.
    pub async fn stranger(&self) -> Verdict<Session> {
        Session::connect(self.url(), "nobody", self.log(), self.patience()).await
    }

    /// An administrator's session. The user is shared: change nothing of it.
    pub async fn admin(&self) -> Verdict<Session> {
        self.login(&self.0.venue.pool.admin()).await
    }

    /// A viewer's session. The user is shared.
    pub async fn viewer(&self) -> Verdict<Session> {
        self.login(&self.0.venue.pool.viewer()).await
    }

    /// A session of a trader that no other case uses meanwhile. It has no open orders and no user
    /// limits, but it may have a past: positions, reports, done orders in other instruments.
    pub async fn trader(&self) -> Verdict<Session> {
        let lease = self.0.venue.pool.trader(false).await?;
        let user = lease.user.clone();
        if lease.dirty {
            self.clean(&user).await?;
        }
        self.keep(lease);
        self.login(&user).await
    }

    /// A session of a trader that nobody in this run used before; skips the case if there is none.
    pub async fn fresh_trader(&self) -> Verdict<Session> {
        let lease = self.0.venue.pool.trader(true).await?;
        let user = lease.user.clone();
        self.keep(lease);
        self.login(&user).await
    }

    fn keep(&self, lease: Lease) {
        self.0.leases.lock().unwrap_or_else(PoisonError::into_inner).push(lease);
    }

    /// A further session of this user, on a connection of its own.
    pub async fn login(&self, user: &User) -> Verdict<Session> {
        let session = Session::connect(self.url(), &user.username, self.log(), self.patience()).await?;
        let reply = log_in(&session, user).await?;
        let roles = reply.roles().collect();
        Ok(session.with_token(Some(&reply.token))?.of_user(user.clone(), roles))
    }

    /// Ends what an earlier case may have left, as far as the exchange can; the record stays silent.
    async fn clean(&self, user: &User) -> Verdict {
        let quiet = Log::default();
        let connect = async |user: &User| -> Verdict<Session> {
            let session = Session::connect(self.url(), &user.username, &quiet, self.patience()).await?;
            let reply = log_in(&session, user).await?;
            session.with_token(Some(&reply.token))
        };
        let admin = connect(&self.0.venue.pool.admin()).await?;
        let username = user.username.clone();
        // An exchange of the first stages knows none of these; then there is nothing to undo.
        let _ = admin
            .try_resume(ResumeUserRequest {
                username: username.clone(),
            })
            .await
            .either();
        let limits = SetUserRiskLimitsRequest {
            username,
            limits: Some(UserRiskLimits::default()),
        };
        let _ = admin.try_set_user_limits(limits).await.either();
        let trader = connect(user).await?;
        let _ = trader.try_cancel_all(CancelAllOrdersRequest::default()).await.either();
        Ok(())
    }

    /// A new instrument in continuous trading: multiplier 1, tick size 1.
    pub async fn instrument(&self) -> Verdict<Instrument> {
        self.instrument_with(|_| {}).await
    }

    /// A new instrument that differs.
    pub async fn instrument_with(&self, change: impl FnOnce(&mut CreateInstrumentRequest)) -> Verdict<Instrument> {
        let mut request = self.instrument_request();
        change(&mut request);
        let reply = self.admin().await?.create_instrument(request).await?;
        let at = reply.at().clone();
        reply
            .into_inner()
            .instrument
            .ok_or_else(|| at.fail("instrument is absent", "the instrument as every client now sees it"))
    }

    /// A request for a new instrument, not sent yet.
    pub fn instrument_request(&self) -> CreateInstrumentRequest {
        CreateInstrumentRequest {
            symbol: self.unique(),
            description: "system test".to_owned(),
            currency: "EUR".to_owned(),
            multiplier: 1,
            tick_size_e4: 1,
            ..CreateInstrumentRequest::default()
        }
    }

    /// Starts an exchange for this case alone, with users and a data directory of its own. Only in
    /// cases that say `.launches()`.
    pub async fn launch(&self) -> Verdict<Exchange> {
        let launcher = self.0.launcher.clone().ok_or_else(needs_launch)?;
        self.log().note("starts an exchange of its own");
        let (home, process, pool) = subject::start(&launcher).await?;
        let venue = Venue {
            url: process.url().to_owned(),
            pool,
        };
        Ok(Exchange {
            context: self.elsewhere(venue),
            process,
            home,
            launcher,
        })
    }

    fn elsewhere(&self, venue: Venue) -> Self {
        Self::new(venue, self.0.launcher.clone(), self.0.given.clone())
    }
}

/// Why a case that starts exchanges is skipped.
pub(crate) fn needs_launch() -> Stop {
    Stop::skipped("starts exchanges of its own: needs --launch")
}

async fn log_in(session: &Session, user: &User) -> Verdict<Reply<LoginResponse>> {
    let request = LoginRequest {
        username: user.username.clone(),
        password: user.password.clone().unwrap_or_default(),
    };
    for _ in 0..THROTTLED_MAX {
        match session.try_login(request.clone()).await.either() {
            Ok(reply) => return Ok(reply),
            // Many cases log in from one address: an exchange may slow that down.
            Err(refusal) if refusal.names(ErrorReason::Throttled) => {
                tokio::time::sleep(
                    refusal
                        .retry_after
                        .unwrap_or(Duration::from_secs(1))
                        .min(THROTTLED_WAIT),
                )
                .await;
            }
            Err(refusal) => return Err(refusal.fail(refusal.to_string(), "a login with the right password to succeed")),
        }
    }
    session.try_login(request).await.accepted()
}

/// An exchange of one case: its users and instruments by `Deref` to a [`Context`].
#[derive(Debug)]
pub struct Exchange {
    context: Context,
    // Before the home: it must be dead when its directory goes.
    process: Process,
    home: Home,
    launcher: Launcher,
}

impl Exchange {
    /// `kill -9` of the whole process group.
    pub async fn kill(&mut self) -> Verdict {
        self.log().note("kills the exchange (SIGKILL)");
        self.process.kill().await
    }

    /// SIGTERM, and waits for the end.
    pub async fn terminate(&mut self) -> Verdict {
        self.log().note("ends the exchange (SIGTERM)");
        self.process.terminate().await
    }

    /// Starts it again on the same data, at another port; sessions are to be made anew.
    pub async fn restart(&mut self) -> Verdict {
        self.log().note("starts the exchange again");
        self.process = self.launcher.start(&self.home).await?;
        self.context = self.context.elsewhere(Venue {
            url: self.process.url().to_owned(),
            pool: Arc::clone(&self.context.0.venue.pool),
        });
        Ok(())
    }

    /// Starts it again and kills it after so long, whether it serves by then or not.
    pub async fn restart_and_kill_after(&mut self, after: Duration) -> Verdict {
        self.log().note(&format!(
            "starts the exchange again and kills it after {} ms",
            after.as_millis()
        ));
        self.process = self.launcher.spawn(&self.home)?;
        let _ = tokio::time::timeout(after, self.process.wait_serving()).await;
        self.process.kill().await
    }

    /// A world of the case that is not this exchange's lifetime: for tasks.
    pub fn context(&self) -> Context {
        self.context.clone()
    }
}

impl std::ops::Deref for Exchange {
    type Target = Context;

    fn deref(&self) -> &Context {
        &self.context
    }
}

/// Five characters that differ from run to run.
fn run_name() -> &'static str {
    static NAME: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    NAME.get_or_init(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let number = since.as_nanos() / 1_000_000 % u128::from(36_u64.pow(6));
        format!("T{:0>6}", base36(number as u64))
    })
}

fn base36(mut number: u64) -> String {
    let mut text = Vec::new();
    loop {
        text.push(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[(number % 36) as usize]);
        number /= 36;
        if number == 0 {
            break;
        }
    }
    text.reverse();
    text.into_iter().map(char::from).collect()
}
