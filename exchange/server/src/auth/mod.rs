//! Who a client is: the users file, sessions and their tokens, roles.

mod clock;
mod password;
mod sessions;
mod throttle;
mod token;
mod users_file;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use optivex_engine::types::UserId;
use optivex_proto::v1::{ErrorReason, Role};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;
use tonic::metadata::MetadataMap;

use crate::error::Error;
use crate::telemetry;

pub use clock::{Clock, SystemClock};
pub use password::{Credential, HashError, PASSWORD_BYTES_MAX, hash as hash_password};
pub use users_file::{Roles, UserEntry, UsersFile, UsersFileError};

use sessions::{Entry, Sessions};
use throttle::{Peer, Throttle};

/// Logins that may wait for their password to be verified; more are throttled.
const LOGINS_WAITING_MAX: usize = 1024;

/// What authentication goes by.
#[derive(Clone, Debug)]
pub struct AuthSettings {
    /// How long a token works without being used.
    pub token_idle_timeout: Duration,
    /// Sessions of one user; beyond, the one that was idle longest ends, or the login is refused with
    /// `CAPACITY` if all are in use.
    pub sessions_per_user_max: usize,
}

impl Default for AuthSettings {
    fn default() -> Self {
        Self {
            token_idle_timeout: Duration::from_secs(12 * 60 * 60),
            sessions_per_user_max: 256,
        }
    }
}

/// One session of one user. An open stream holds it, which keeps its token from expiring.
#[derive(Clone, Debug)]
pub struct Session {
    /// The user in the engine.
    pub user: UserId,
    /// The user's name.
    pub username: Arc<str>,
    hold: Arc<Hold>,
}

impl Session {
    /// Waits until the session is ended: by a logout, or because the users file no longer has its user
    /// or gives it another password or fewer roles. Streams end with `INVALID_TOKEN` then.
    pub async fn ended(&self) -> SessionEnd {
        self.hold.entry.ended().await
    }

    /// Why the session ended, if it has.
    pub fn end(&self) -> Option<SessionEnd> {
        self.hold.entry.end()
    }

    /// What the user may do now.
    pub fn roles(&self) -> Roles {
        self.hold.entry.roles()
    }
}

/// Keeps a session from expiring.
#[derive(Debug)]
struct Hold {
    entry: Arc<Entry>,
    clock: Arc<dyn Clock>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.entry.released(self.clock.elapsed());
    }
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionEnd {
    /// The client logged out: its orders stay, also those that a report stream guarded.
    Logout,
    /// The users file took it away.
    Revoked,
}

/// A new session.
#[derive(Debug)]
pub struct Login {
    /// The bearer token; nobody else ever sees it.
    pub token: SecretString,
    /// What the user may do.
    pub roles: Roles,
    /// When the token stops working unless it is used.
    pub expires_unix_ns: i64,
}

/// What a new users file changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsersChange {
    /// Names that came.
    pub added: Vec<String>,
    /// Names that went.
    pub removed: Vec<String>,
    /// Names with another credential or other roles.
    pub changed: Vec<String>,
    /// Sessions that ended for it.
    pub sessions_revoked: usize,
}

/// The users and their sessions; cheap to clone.
#[derive(Clone, Debug)]
pub struct Auth {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: AuthSettings,
    clock: Arc<dyn Clock>,
    users: RwLock<Users>,
    sessions: Sessions,
    throttle: Mutex<Throttle>,
    /// Verifications at a time: each takes a core and as much memory as its hash asks for.
    verifications: Arc<Semaphore>,
    /// Logins that run or wait.
    logins: Semaphore,
}

#[derive(Debug, Default)]
struct Users {
    by_name: HashMap<Arc<str>, Arc<User>>,
    /// Verified for users without a hash, where others have one.
    decoy: Option<Arc<Credential>>,
}

#[derive(Debug)]
struct User {
    id: UserId,
    name: Arc<str>,
    credential: Credential,
    roles: Roles,
}

impl Default for Auth {
    fn default() -> Self {
        Self::new(AuthSettings::default(), Arc::new(SystemClock::default()))
    }
}

impl Auth {
    /// Without users.
    pub fn new(settings: AuthSettings, clock: Arc<dyn Clock>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let sessions = Sessions::new(settings.token_idle_timeout, settings.sessions_per_user_max);
        Self {
            inner: Arc::new(Inner {
                settings,
                clock,
                users: RwLock::default(),
                sessions,
                throttle: Mutex::default(),
                verifications: Arc::new(Semaphore::new((cores / 2).max(1))),
                logins: Semaphore::new(LOGINS_WAITING_MAX),
            }),
        }
    }

    /// Takes the users of a file; `id` knows each as the engine does. Ends the sessions of users that
    /// are gone, or have another credential, or lost a role.
    pub fn set_users(
        &self,
        file: &UsersFile,
        id: impl Fn(&str) -> Option<UserId>,
    ) -> Result<UsersChange, UnregisteredUser> {
        let mut next = Users {
            by_name: HashMap::with_capacity(file.users().len()),
            decoy: file.decoy().transpose()?,
        };
        for entry in file.users() {
            let name: Arc<str> = Arc::from(entry.username.as_str());
            let id = id(&name).ok_or_else(|| UnregisteredUser::Unknown(name.to_string()))?;
            let user = User {
                id,
                name: Arc::clone(&name),
                credential: entry.credential.clone(),
                roles: entry.roles,
            };
            next.by_name.insert(name, Arc::new(user));
        }
        let mut change = UsersChange::default();
        // Held until the sessions are judged: no login comes between.
        let mut users = self.inner.users.write().unwrap_or_else(PoisonError::into_inner);
        for (name, old) in &users.by_name {
            let Some(new) = next.by_name.get(name) else {
                change.removed.push(name.to_string());
                change.sessions_revoked += self.inner.sessions.revoke(name);
                continue;
            };
            if old.credential != new.credential || !new.roles.contains_all(old.roles) {
                change.changed.push(name.to_string());
                change.sessions_revoked += self.inner.sessions.revoke(name);
            } else if old.roles != new.roles {
                change.changed.push(name.to_string());
                self.inner.sessions.set_roles(name, new.roles);
            }
        }
        change.added = next
            .by_name
            .keys()
            .filter(|name| !users.by_name.contains_key(*name))
            .map(ToString::to_string)
            .collect();
        *users = next;
        drop(users);
        change.added.sort_unstable();
        change.removed.sort_unstable();
        change.changed.sort_unstable();
        Ok(change)
    }

    /// Trades a name and a password for a session: `INVALID_FIELD`, `INVALID_CREDENTIALS`,
    /// `THROTTLED`, or `CAPACITY`.
    pub async fn login(&self, username: &str, password: SecretString, peer: Option<IpAddr>) -> Result<Login, Error> {
        let inner = &self.inner;
        if username.is_empty() || username.len() > optivex_engine::types::USERNAME_BYTES_MAX {
            return Err(Error::invalid_field("username", "1 to 64 bytes"));
        }
        if !(1..=PASSWORD_BYTES_MAX).contains(&password.expose_secret().len()) {
            return Err(Error::invalid_field("password", "1 to 1024 bytes"));
        }
        let peer = Peer::from(peer);
        let Ok(_place) = inner.logins.try_acquire() else {
            return Err(throttled(Duration::from_secs(1)));
        };
        self.check_throttle(username, peer)?;
        let verified = self.verify(username, password, peer).await?;
        let mut throttle = inner.throttle.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(user) = verified else {
            throttle.failed(username, peer, inner.clock.elapsed());
            drop(throttle);
            metrics::counter!("optivex_logins_total", "outcome" => "refused").increment(1);
            return Err(Error::new(
                ErrorReason::InvalidCredentials,
                "wrong user name or password",
            ));
        };
        throttle.succeeded(username, peer);
        drop(throttle);
        self.begin_session(&user)
    }

    /// The user whose password this is.
    async fn verify(&self, username: &str, password: SecretString, peer: Peer) -> Result<Option<Arc<User>>, Error> {
        let inner = &self.inner;
        let (user, decoy) = {
            let users = inner.users.read().unwrap_or_else(PoisonError::into_inner);
            (users.by_name.get(username).cloned(), users.decoy.clone())
        };
        let slow = decoy.is_some() || user.as_ref().is_some_and(|user| user.credential.is_slow());
        if !slow {
            let credential = user.as_deref().map(|user| &user.credential);
            let matched = password::verify(credential, None, password.expose_secret());
            return Ok(user.filter(|_| matched));
        }
        let permit = Arc::clone(&inner.verifications)
            .acquire_owned()
            .await
            .map_err(|_| Error::not_ready("stopping"))?;
        // Guesses that queued up while others failed are judged by what has happened since.
        self.check_throttle(username, peer)?;
        let verification = tokio::task::spawn_blocking(move || {
            let credential = user.as_deref().map(|user| &user.credential);
            let matched = password::verify(credential, decoy.as_deref(), password.expose_secret());
            // Held to the end also when the client is gone: the work is not.
            drop(permit);
            user.filter(|_| matched)
        });
        verification.await.map_err(|_| Error::not_ready("stopping"))
    }

    fn check_throttle(&self, username: &str, peer: Peer) -> Result<(), Error> {
        let throttle = self.inner.throttle.lock().unwrap_or_else(PoisonError::into_inner);
        throttle
            .check(username, peer, self.inner.clock.elapsed())
            .map_err(throttled)
    }

    fn begin_session(&self, verified: &Arc<User>) -> Result<Login, Error> {
        let inner = &self.inner;
        let (token, hash) =
            token::new().map_err(|error| Error::not_ready(format!("no random bits for a token: {error}")))?;
        // The users file may have changed while the password was verified; read-locked until the
        // session is in the table, so that the next change finds it.
        let users = inner.users.read().unwrap_or_else(PoisonError::into_inner);
        let user = users
            .by_name
            .get(&verified.name)
            .filter(|user| user.credential == verified.credential)
            .ok_or_else(|| Error::new(ErrorReason::InvalidCredentials, "wrong user name or password"))?;
        inner
            .sessions
            .begin(hash, user.id, &user.name, user.roles, inner.clock.elapsed())
            .map_err(|max| {
                Error::new(
                    ErrorReason::Capacity,
                    "too many sessions of this user are in use: log out of some",
                )
                .with("limit_name", "sessions_per_user")
                .with("limit", max)
            })?;
        metrics::counter!("optivex_logins_total", "outcome" => "accepted").increment(1);
        let idle = i64::try_from(inner.settings.token_idle_timeout.as_nanos()).unwrap_or(i64::MAX);
        Ok(Login {
            token: token.into(),
            roles: user.roles,
            expires_unix_ns: inner.clock.unix_ns().saturating_add(idle),
        })
    }

    /// The session of a request's bearer token (`INVALID_TOKEN`), which has the role
    /// (`MISSING_ROLE`); `None` wants any role.
    pub fn authorize(&self, metadata: &MetadataMap, role: Option<Role>) -> Result<Session, Error> {
        let inner = &self.inner;
        let entry = token::of_request(metadata)
            .and_then(|token| inner.sessions.hold(&token, inner.clock.elapsed()))
            .ok_or_else(|| {
                Error::new(
                    ErrorReason::InvalidToken,
                    "no bearer token, or one that is unknown or expired",
                )
            })?;
        let session = Session {
            user: entry.user,
            username: Arc::clone(&entry.username),
            hold: Arc::new(Hold {
                entry,
                clock: Arc::clone(&inner.clock),
            }),
        };
        telemetry::request::user(&session.username);
        match role {
            Some(role) if !session.roles().contains(role) => Err(Error::new(
                ErrorReason::MissingRole,
                format!("wants {}", role.as_str_name()),
            )
            .with("role", role.as_str_name())),
            _ => Ok(session),
        }
    }

    /// Ends a session at its user's wish.
    pub fn logout(&self, session: &Session) {
        self.inner.sessions.end(&session.hold.entry, SessionEnd::Logout);
    }

    /// Forgets sessions that expired; called now and then.
    pub fn sweep(&self) {
        self.inner.sessions.sweep(self.inner.clock.elapsed());
    }

    /// How many sessions there are.
    pub fn sessions(&self) -> usize {
        self.inner.sessions.len()
    }
}

/// Users that cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum UnregisteredUser {
    /// The engine does not know the name.
    #[error("the exchange has no room for user {0}")]
    Unknown(String),
    /// No decoy hash could be made.
    #[error("no random bits: {0}")]
    Random(#[from] getrandom::Error),
}

fn throttled(wait: Duration) -> Error {
    metrics::counter!("optivex_logins_total", "outcome" => "throttled").increment(1);
    Error::new(ErrorReason::Throttled, "too many attempts to log in").retry_after(wait)
}
