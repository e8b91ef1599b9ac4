//! A user: suspension, open orders, accounts, limits over all instruments.

use crate::client_ids::ClientIds;
use crate::order::NIL;
use crate::refusal::Refusal;
use crate::risk::RollingWindow;
use crate::types::{InstrumentId, UserRiskLimits, Username};

/// A user.
#[derive(Debug)]
pub(crate) struct User {
    /// Name.
    pub(crate) name: Username,
    /// Why it may not trade.
    pub(crate) suspension: Option<String>,
    /// Last execution report.
    pub(crate) report_seq: u64,
    /// Open order with the lowest id; the list goes on in the orders' nodes.
    pub(crate) first_order: u32,
    /// Open order with the highest id.
    pub(crate) last_order: u32,
    /// How many are open.
    pub(crate) open_orders: u32,
    /// Lots in open orders.
    pub(crate) open_quantity: i64,
    /// Amount of open orders, in 1e-4.
    pub(crate) open_amount_e4: i128,
    /// Client ids.
    pub(crate) client_ids: ClientIds,
    /// Limits over all instruments.
    pub(crate) limits: UserRiskLimits,
    /// Messages, from the first limit on them on.
    pub(crate) messages: Option<RollingWindow>,
    /// The account of the last insert: the next one is often for the same instrument.
    pub(crate) recent: Option<(InstrumentId, u32)>,
    /// Accounts by instrument, ascending.
    accounts: Vec<(InstrumentId, u32)>,
}

impl User {
    /// Without anything.
    pub(crate) fn new(name: Username) -> Self {
        Self {
            name,
            suspension: None,
            report_seq: 0,
            first_order: NIL,
            last_order: NIL,
            open_orders: 0,
            open_quantity: 0,
            open_amount_e4: 0,
            client_ids: ClientIds::default(),
            limits: UserRiskLimits::default(),
            messages: None,
            recent: None,
            accounts: Vec::new(),
        }
    }

    /// Whether it has a limit over all instruments, or counts for one.
    #[inline(always)]
    pub(crate) fn is_limited(&self) -> bool {
        let limits = &self.limits;
        limits.max_outstanding_quantity.is_some()
            || limits.max_outstanding_amount_e4.is_some()
            || self.messages.is_some()
    }

    /// Refuses what a suspended user may not do.
    pub(crate) fn check_not_suspended(&self) -> Result<(), Refusal> {
        match &self.suspension {
            None => Ok(()),
            Some(comment) => Err(Refusal::UserSuspended {
                comment: comment.clone(),
            }),
        }
    }

    /// The account in an instrument, if it was ever needed.
    #[inline(always)]
    pub(crate) fn account(&self, instrument: InstrumentId) -> Option<u32> {
        match self.recent {
            Some((recent, account)) if recent == instrument => Some(account),
            _ => self.find_account(instrument),
        }
    }

    fn find_account(&self, instrument: InstrumentId) -> Option<u32> {
        let at = self
            .accounts
            .binary_search_by_key(&instrument, |(instrument, _)| *instrument);
        Some(self.accounts[at.ok()?].1)
    }

    /// Adds an account; the user has none in this instrument.
    pub(crate) fn add_account(&mut self, instrument: InstrumentId, account: u32) {
        let at = self.accounts.partition_point(|(other, _)| *other < instrument);
        self.accounts.insert(at, (instrument, account));
    }

    /// All accounts, by instrument.
    pub(crate) fn accounts(&self) -> impl Iterator<Item = u32> {
        self.accounts.iter().map(|(_, account)| *account)
    }
}
