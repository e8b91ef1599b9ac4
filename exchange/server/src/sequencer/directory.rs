//! Names of users and instruments to the engine's ids and back, for the threads that serve clients.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use optivex_engine::Engine;
use optivex_engine::event::Outcome;
use optivex_engine::types::{InstrumentId, UserId};

/// Written in the sequencer's turn, so that a name is known from the moment that the engine knows it.
#[derive(Debug, Default)]
pub(super) struct Directory {
    names: RwLock<Names>,
}

#[derive(Debug, Default)]
struct Names {
    users: HashMap<Arc<str>, UserId>,
    instruments: HashMap<Arc<str>, InstrumentId>,
    /// The index is the instrument's id.
    symbols: Vec<Arc<str>>,
}

impl Directory {
    /// Everybody and everything that the engine knows.
    pub(super) fn new(engine: &Engine) -> Self {
        let mut names = Names::default();
        for (id, name) in (0..).zip(engine.usernames()) {
            names.users.insert(name.into(), UserId(id));
        }
        for instrument in engine.instruments() {
            names.add_instrument(instrument.id, &instrument.symbol);
        }
        Self {
            names: RwLock::new(names),
        }
    }

    /// Learns what an event made known; `username` is the one that its command registered.
    pub(super) fn learn(&self, outcome: &Outcome, username: Option<&str>) {
        match (outcome, username) {
            (Outcome::UserRegistered(id), Some(username)) => {
                let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
                names.users.insert(username.into(), *id);
            }
            (Outcome::InstrumentCreated(instrument), _) => {
                let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
                names.add_instrument(instrument.id, &instrument.symbol);
            }
            _ => {}
        }
    }

    pub(super) fn user(&self, username: &str) -> Option<UserId> {
        self.read(|names| names.users.get(username).copied())
    }

    pub(super) fn instrument(&self, symbol: &str) -> Option<InstrumentId> {
        self.read(|names| names.instruments.get(symbol).copied())
    }

    pub(super) fn symbol(&self, instrument: InstrumentId) -> Option<Arc<str>> {
        self.read(|names| names.symbols.get(instrument.0 as usize).cloned())
    }

    fn read<T>(&self, read: impl FnOnce(&Names) -> T) -> T {
        read(&self.names.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Names {
    fn add_instrument(&mut self, id: InstrumentId, symbol: &str) {
        let symbol: Arc<str> = symbol.into();
        debug_assert_eq!(
            self.symbols.len(),
            id.0 as usize,
            "instruments come in the order of their ids"
        );
        self.symbols.push(symbol.clone());
        self.instruments.insert(symbol, id);
    }
}
