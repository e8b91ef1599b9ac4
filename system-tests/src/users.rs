//! Users of the exchange under test, lent to cases so that no two cases share a trader.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use optivex_proto::v1::Role;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::verdict::{Stop, Verdict};

/// Traders of an exchange that the tests start.
pub const TRADERS: usize = 200;
/// Its administrators.
pub const ADMINS: usize = 5;
/// Its viewers.
pub const VIEWERS: usize = 2;
/// Bytes of a users file.
const FILE_MAX: u64 = 16 << 20;
const NONE_UNUSED: &str = "needs a user that nobody used before: --launch has more";
/// How long a case waits for a user before that is our trouble.
const WAIT: Duration = Duration::from_secs(300);

/// One user of the users file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Name.
    pub username: String,
    /// Password, in the clear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// `viewer`, `trader`, `admin`.
    pub roles: Vec<String>,
}

impl User {
    fn has(&self, role: &str) -> bool {
        self.roles.iter().any(|known| known == role)
    }

    /// The roles as the contract names them.
    pub fn contract_roles(&self) -> Vec<Role> {
        let of = |role: &String| match role.as_str() {
            "viewer" => Some(Role::Viewer),
            "trader" => Some(Role::Trader),
            "admin" => Some(Role::Admin),
            _ => None,
        };
        let mut roles: Vec<Role> = self.roles.iter().filter_map(of).collect();
        roles.sort_by_key(|role| *role as i32);
        roles
    }
}

/// The users file of the launch convention.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsersFile {
    /// The users.
    pub users: Vec<User>,
}

impl UsersFile {
    /// Users for an exchange that the tests start; the passwords are random.
    pub fn generated() -> Self {
        let mut random = fastrand::Rng::new();
        let mut user = |username: String, role: &str| User {
            username,
            password: Some(std::iter::repeat_with(|| random.alphanumeric()).take(16).collect()),
            roles: vec![role.to_owned()],
        };
        let mut users = Vec::new();
        users.extend((1..=TRADERS).map(|number| user(format!("trader-{number:03}"), "trader")));
        users.extend((1..=ADMINS).map(|number| user(format!("admin-{number}"), "admin")));
        users.extend((1..=VIEWERS).map(|number| user(format!("viewer-{number}"), "viewer")));
        Self { users }
    }

    /// Reads a users file; every user that the tests are to use needs its password in the clear.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        use anyhow::Context;
        let place = || format!("users file {}", path.display());
        let length = std::fs::metadata(path).with_context(place)?.len();
        anyhow::ensure!(length <= FILE_MAX, "{}: larger than {FILE_MAX} bytes", place());
        let text = std::fs::read_to_string(path).with_context(place)?;
        serde_yaml::from_str(&text).with_context(place)
    }

    /// Writes it as JSON, which is YAML: readable without a YAML library.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        use anyhow::Context;
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(path, text).with_context(|| format!("users file {}", path.display()))
    }
}

/// The users of one exchange. Traders are lent to one case at a time; administrators and viewers are
/// shared.
#[derive(Debug)]
pub struct Pool {
    admins: Vec<User>,
    viewers: Vec<User>,
    traders: usize,
    free: Mutex<Free>,
    returned: Notify,
}

#[derive(Debug)]
struct Free {
    unused: VecDeque<User>,
    used: VecDeque<User>,
    turns: HashMap<&'static str, usize>,
}

impl Pool {
    /// A pool of the users of a file that have a password. `fresh`: nobody used them yet.
    pub fn new(file: UsersFile, fresh: bool) -> anyhow::Result<Arc<Self>> {
        let usable: Vec<User> = file.users.into_iter().filter(|user| user.password.is_some()).collect();
        let only = |role: &str| -> Vec<User> {
            usable
                .iter()
                .filter(|user| user.has(role) && user.roles.len() == 1)
                .cloned()
                .collect()
        };
        let (traders, admins, viewers) = (only("trader"), only("admin"), only("viewer"));
        anyhow::ensure!(
            traders.len() >= 8 && !admins.is_empty() && !viewers.is_empty(),
            "the users file needs at least 8 users that are only trader, 1 only admin and 1 only viewer, \
             with their passwords in the clear; it has {}, {} and {}",
            traders.len(),
            admins.len(),
            viewers.len()
        );
        let count = traders.len();
        let (unused, used) = if fresh {
            (traders, Vec::new())
        } else {
            (Vec::new(), traders)
        };
        Ok(Arc::new(Self {
            admins,
            viewers,
            traders: count,
            free: Mutex::new(Free {
                unused: unused.into(),
                used: used.into(),
                turns: HashMap::new(),
            }),
            returned: Notify::new(),
        }))
    }

    fn free(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many cases may run at a time so that none waits for a trader for ever.
    pub fn cases_at_a_time(&self) -> usize {
        (self.traders / 8).max(1)
    }

    /// A shared administrator.
    pub fn admin(&self) -> User {
        self.shared("admin", &self.admins)
    }

    /// A shared viewer.
    pub fn viewer(&self) -> User {
        self.shared("viewer", &self.viewers)
    }

    fn shared(&self, role: &'static str, users: &[User]) -> User {
        let mut free = self.free();
        let turn = free.turns.entry(role).or_default();
        *turn += 1;
        users[*turn % users.len()].clone()
    }

    /// Lends a trader. Never-used ones are kept for those who need one while half of them are gone.
    pub async fn trader(self: &Arc<Self>, fresh: bool) -> Verdict<Lease> {
        let waiting = async {
            loop {
                let returned = self.returned.notified();
                match self.take(fresh) {
                    Some(lease) => return Ok(lease),
                    None if fresh => return Err(Stop::skipped(NONE_UNUSED)),
                    None => returned.await,
                }
            }
        };
        tokio::time::timeout(WAIT, waiting)
            .await
            .unwrap_or_else(|_| Err(Stop::trouble("no trader came free: the users file has too few")))
    }

    fn take(self: &Arc<Self>, fresh: bool) -> Option<Lease> {
        let mut free = self.free();
        let keep = self.traders / 2;
        let prefer_used = !fresh && free.unused.len() <= keep;
        let mut dirty = prefer_used;
        let mut user = match prefer_used {
            true => free.used.pop_front(),
            false => free.unused.pop_front(),
        };
        if user.is_none() && !fresh {
            dirty = !dirty;
            user = match dirty {
                true => free.used.pop_front(),
                false => free.unused.pop_front(),
            };
        }
        user.map(|user| Lease {
            user,
            dirty,
            pool: Arc::clone(self),
        })
    }
}

/// A trader lent to a case; goes back when dropped.
#[derive(Debug)]
pub struct Lease {
    /// The trader.
    pub user: User,
    /// Whether somebody used it before: it may have orders, limits and a past.
    pub dirty: bool,
    pool: Arc<Pool>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool.free().used.push_back(self.user.clone());
        self.pool.returned.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(traders: usize, fresh: bool) -> Arc<Pool> {
        let mut file = UsersFile::generated();
        let mut left = traders;
        file.users.retain(|user| {
            let kept = !user.has("trader") || left > 0;
            left -= usize::from(kept && user.has("trader"));
            kept
        });
        Pool::new(file, fresh).expect("enough")
    }

    #[tokio::test]
    async fn nobody_shares_a_trader() {
        let pool = pool(8, true);
        let mut leases = Vec::new();
        for _ in 0..8 {
            leases.push(pool.trader(false).await.expect("one is free"));
        }
        let names: std::collections::HashSet<&str> = leases.iter().map(|lease| lease.user.username.as_str()).collect();
        assert_eq!(names.len(), 8);
        assert!(pool.take(false).is_none());
        let returned = leases.swap_remove(3).user.username.clone();
        let again = pool.trader(false).await.expect("it came back");
        assert_eq!((again.user.username.as_str(), again.dirty), (returned.as_str(), true));
    }

    #[tokio::test]
    async fn half_of_the_unused_traders_are_kept_for_those_who_need_one() {
        let pool = pool(8, true);
        for turn in 0..20 {
            let lease = pool.trader(false).await.expect("one is free");
            assert_eq!(lease.dirty, turn >= 4, "turn {turn}");
        }
        let fresh: Vec<Lease> = [(); 4].iter().filter_map(|()| pool.take(true)).collect();
        assert_eq!(fresh.len(), 4);
        assert!(fresh.iter().all(|lease| !lease.dirty));
        assert!(matches!(pool.trader(true).await, Err(Stop::Skipped(_))));
    }

    #[test]
    fn files_that_cannot_do() {
        let wrong = [
            "users: [{username: a, roles: [trader]}]",
            "users: [{username: a, password: b, roles: [trader, admin]}]",
            "users: []",
        ];
        for text in wrong {
            let file: UsersFile = serde_yaml::from_str(text).expect("YAML");
            let error = Pool::new(file, false).expect_err(text).to_string();
            assert!(error.contains("at least 8"), "{error}");
        }
    }
}
