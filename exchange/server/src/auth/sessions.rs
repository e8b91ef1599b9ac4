//! Sessions: who holds which token, until when, and what ends it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use optivex_engine::types::UserId;
use tokio::sync::watch;

use super::SessionEnd;
use super::token::TokenHash;
use super::users_file::Roles;

/// One session as the table keeps it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) user: UserId,
    pub(super) username: Arc<str>,
    token: TokenHash,
    roles: AtomicU8,
    activity: Mutex<Activity>,
    end: watch::Sender<Option<SessionEnd>>,
}

#[derive(Debug)]
struct Activity {
    /// Requests and streams that hold the session now.
    uses: u32,
    last_used: Duration,
}

impl Entry {
    pub(super) fn roles(&self) -> Roles {
        Roles::from_bits(self.roles.load(Ordering::Relaxed))
    }

    pub(super) fn set_roles(&self, roles: Roles) {
        self.roles.store(roles.bits(), Ordering::Relaxed);
    }

    /// Ends when the session does.
    pub(super) async fn ended(&self) -> SessionEnd {
        let mut end = self.end.subscribe();
        match end.wait_for(Option::is_some).await {
            Ok(end) => end.unwrap_or(SessionEnd::Revoked),
            // The sender lives in self.
            Err(_) => SessionEnd::Revoked,
        }
    }

    /// Why the session ended, if it has.
    pub(super) fn end(&self) -> Option<SessionEnd> {
        *self.end.borrow()
    }

    pub(super) fn released(&self, now: Duration) {
        let mut activity = self.activity();
        activity.uses = activity.uses.saturating_sub(1);
        activity.last_used = now;
    }

    fn activity(&self) -> MutexGuard<'_, Activity> {
        self.activity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long nobody has used it; none while somebody does.
    fn idle(&self, now: Duration) -> Option<Duration> {
        let activity = self.activity();
        (activity.uses == 0).then(|| now.saturating_sub(activity.last_used))
    }
}

/// All sessions.
#[derive(Debug)]
pub(super) struct Sessions {
    idle_timeout: Duration,
    per_user_max: usize,
    table: RwLock<Table>,
}

#[derive(Debug, Default)]
struct Table {
    by_token: HashMap<TokenHash, Arc<Entry>>,
    by_user: HashMap<Arc<str>, Vec<Arc<Entry>>>,
}

impl Table {
    fn remove(&mut self, entry: &Arc<Entry>) {
        self.by_token.remove(&entry.token);
        if let Some(of_user) = self.by_user.get_mut(&entry.username) {
            of_user.retain(|other| !Arc::ptr_eq(other, entry));
            if of_user.is_empty() {
                self.by_user.remove(&entry.username);
            }
        }
    }
}

impl Sessions {
    pub(super) fn new(idle_timeout: Duration, per_user_max: usize) -> Self {
        Self {
            idle_timeout,
            per_user_max,
            table: RwLock::default(),
        }
    }

    /// Begins a session; `Err` says how many one user may have when all of them are in use.
    pub(super) fn begin(
        &self,
        token: TokenHash,
        user: UserId,
        username: &Arc<str>,
        roles: Roles,
        now: Duration,
    ) -> Result<(), usize> {
        let entry = Arc::new(Entry {
            user,
            username: Arc::clone(username),
            token,
            roles: AtomicU8::new(roles.bits()),
            activity: Mutex::new(Activity {
                uses: 0,
                last_used: now,
            }),
            end: watch::Sender::new(None),
        });
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let of_user = table.by_user.get(username).map_or(&[][..], Vec::as_slice);
        if of_user.len() >= self.per_user_max {
            let idlest = of_user
                .iter()
                .filter_map(|entry| Some((entry.idle(now)?, entry)))
                .max_by_key(|(idle, _)| *idle);
            let Some((_, idlest)) = idlest else {
                return Err(self.per_user_max);
            };
            let idlest = Arc::clone(idlest);
            end(&mut table, &idlest, SessionEnd::Revoked);
        }
        table.by_token.insert(token, Arc::clone(&entry));
        table.by_user.entry(Arc::clone(username)).or_default().push(entry);
        drop(table);
        self.gauge();
        Ok(())
    }

    /// Takes hold of the session of a token, if it is alive; [`Entry::released`] lets go.
    pub(super) fn hold(&self, token: &TokenHash, now: Duration) -> Option<Arc<Entry>> {
        let entry = {
            let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(table.by_token.get(token)?)
        };
        {
            let mut activity = entry.activity();
            let expired = activity.uses == 0 && now.saturating_sub(activity.last_used) >= self.idle_timeout;
            // Under the lock: who ends a session looks here for whether somebody uses it.
            if !expired && entry.end().is_none() {
                activity.uses += 1;
                activity.last_used = now;
                drop(activity);
                return Some(entry);
            }
        }
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        end(&mut table, &entry, SessionEnd::Revoked);
        drop(table);
        self.gauge();
        None
    }

    /// Ends one session.
    pub(super) fn end(&self, entry: &Arc<Entry>, why: SessionEnd) {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        end(&mut table, entry, why);
        drop(table);
        self.gauge();
    }

    /// Ends the sessions of a user.
    pub(super) fn revoke(&self, username: &str) -> usize {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let entries = table.by_user.get(username).cloned().unwrap_or_default();
        for entry in &entries {
            end(&mut table, entry, SessionEnd::Revoked);
        }
        drop(table);
        self.gauge();
        entries.len()
    }

    /// Gives the sessions of a user other roles.
    pub(super) fn set_roles(&self, username: &str, roles: Roles) {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        for entry in table.by_user.get(username).into_iter().flatten() {
            entry.set_roles(roles);
        }
    }

    /// Forgets sessions that expired.
    pub(super) fn sweep(&self, now: Duration) {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let expired: Vec<_> = table
            .by_token
            .values()
            .filter(|entry| entry.idle(now).is_some_and(|idle| idle >= self.idle_timeout))
            .cloned()
            .collect();
        for entry in &expired {
            end(&mut table, entry, SessionEnd::Revoked);
        }
        drop(table);
        self.gauge();
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.table.read().unwrap_or_else(PoisonError::into_inner).by_token.len()
    }

    #[allow(clippy::cast_precision_loss)] // A gauge.
    fn gauge(&self) {
        metrics::gauge!("optivex_sessions").set(self.len() as f64);
    }
}

fn end(table: &mut Table, entry: &Arc<Entry>, why: SessionEnd) {
    table.remove(entry);
    // Under the session's own lock, see `hold`. The first reason stands.
    let activity = entry.activity();
    entry.end.send_if_modified(|end| {
        let first = end.is_none();
        end.get_or_insert(why);
        first
    });
    drop(activity);
}
