//! The exchange under test: one that runs already, or one that the tests start.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use crate::launch::{Home, Launcher, Process, health};
use crate::users::{Pool, UsersFile};
use crate::verdict::{Stop, Verdict};

/// Where sessions go.
#[derive(Clone, Debug)]
pub struct Venue {
    /// `http://host:port`.
    pub url: String,
    /// Its users.
    pub pool: Arc<Pool>,
}

/// The exchange under test.
#[derive(Debug)]
pub struct Subject {
    /// How to start one, with `--launch`.
    pub launcher: Option<Launcher>,
    state: Mutex<State>,
    name: String,
    cases_at_a_time: usize,
}

#[derive(Debug)]
enum State {
    Target(Venue),
    Launched { running: Box<Running> },
    Down(Stop),
    Idle,
}

#[derive(Debug)]
struct Running {
    // Before the home: it must be dead when its directory goes.
    process: Process,
    _home: Home,
    venue: Venue,
}

impl Subject {
    /// One that runs already: no answer from it is trouble of ours.
    pub async fn target(url: &str, users: &Path, patience: Duration) -> anyhow::Result<Self> {
        let url = if url.contains("://") {
            url.to_owned()
        } else {
            format!("http://{url}")
        };
        let pool = Pool::new(UsersFile::read(users)?, false)?;
        // Whether health says SERVING is the boot stage's to judge; that somebody is there is ours.
        if let Err(error) = health(&url, "", patience).await
            && !error.starts_with("health answers")
        {
            anyhow::bail!("{url}: {error}");
        }
        Ok(Self::at(Venue { url, pool }))
    }

    /// One that is known to run there.
    pub fn at(venue: Venue) -> Self {
        Self {
            launcher: None,
            name: venue.url.clone(),
            cases_at_a_time: venue.pool.cases_at_a_time(),
            state: Mutex::new(State::Target(venue)),
        }
    }

    /// One that the tests start.
    pub fn launch(command: Vec<String>) -> Self {
        Self {
            name: command.join(" "),
            launcher: Some(Launcher { command }),
            cases_at_a_time: usize::MAX,
            state: Mutex::new(State::Idle),
        }
    }

    /// URL or command.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many cases its users allow at a time.
    pub fn cases_at_a_time(&self) -> usize {
        self.cases_at_a_time
    }

    /// Where the next case goes. Starts the exchange if it does not run; one that could not start
    /// is not tried again, one that died by itself is.
    pub async fn venue(&self) -> Verdict<Venue> {
        let mut state = self.state.lock().await;
        match &mut *state {
            State::Target(venue) => return Ok(venue.clone()),
            State::Down(stop) => return Err(stop.clone()),
            State::Launched { running } => {
                if running.process.lives().await {
                    return Ok(running.venue.clone());
                }
            }
            State::Idle => {}
        }
        match self.start().await {
            Ok(running) => {
                let venue = running.venue.clone();
                *state = State::Launched { running };
                Ok(venue)
            }
            Err(stop) => {
                *state = State::Down(stop.clone());
                Err(stop)
            }
        }
    }

    /// How the launched exchange died, if it did: for the hint of the case that saw it.
    pub async fn obituary(&self) -> Option<String> {
        match &mut *self.state.lock().await {
            State::Launched { running } => {
                let status = running.process.exited()?;
                Some(format!(
                    "the exchange ended by itself ({status}); {}",
                    running.process.output()
                ))
            }
            _ => None,
        }
    }

    /// Whether it came up whenever it was started.
    pub async fn serves(&self) -> bool {
        !matches!(*self.state.lock().await, State::Down(_))
    }

    async fn start(&self) -> Verdict<Box<Running>> {
        let Some(launcher) = &self.launcher else {
            return Err(Stop::trouble("nothing to launch"));
        };
        let (home, process, pool) = start(launcher).await?;
        let venue = Venue {
            url: process.url().to_owned(),
            pool,
        };
        Ok(Box::new(Running {
            process,
            _home: home,
            venue,
        }))
    }

    /// Ends what was launched.
    pub async fn stop(&self) {
        let mut state = self.state.lock().await;
        if let State::Launched { running } = &mut *state {
            let _ = running.process.kill().await;
        }
        if matches!(*state, State::Launched { .. }) {
            *state = State::Idle;
        }
    }
}

/// Starts an exchange with users and a data directory of its own.
pub(crate) async fn start(launcher: &Launcher) -> Verdict<(Home, Process, Arc<Pool>)> {
    let users = UsersFile::generated();
    let ours = |error: anyhow::Error| Stop::trouble(format!("{error:#}"));
    let home = Home::new(&users).map_err(ours)?;
    let pool = Pool::new(users, true).map_err(ours)?;
    let process = launcher.start(&home).await?;
    Ok((home, process, pool))
}
