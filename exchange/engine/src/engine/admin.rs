//! Users, instruments, phases, suspensions and limits.

use crate::command::{CreateInstrument, InvalidField, validate_instrument_limits, validate_user_limits};
use crate::engine::{Applied, Engine, accepted};
use crate::event::{Event, Outcome};
use crate::instrument::Listing;
use crate::refusal::Refusal;
use crate::risk::RollingWindow;
use crate::types::{
    CancelReason, InstrumentId, InstrumentRiskLimits, OrderId, Side, TEXT_BYTES_MAX, TradingPhase, UserId,
    UserRiskLimits, Username,
};
use crate::user::User;

impl Engine {
    pub(super) fn register_user(
        &mut self,
        username: Username,
        now: i64,
        event: &mut Event,
    ) -> Result<Applied, Refusal> {
        if username.is_empty() {
            return Err(InvalidField::new("username", "1 to 64 bytes").into());
        }
        let known = self.user_ids.get(&username).copied();
        if known.is_none() && self.users.len() >= self.limits.users_max as usize {
            return Err(Refusal::Capacity {
                limit_name: "users_max",
                limit: self.limits.users_max.into(),
            });
        }
        self.begin(now, event);
        let user = known.unwrap_or_else(|| {
            let user = UserId(self.users.len() as u32);
            self.users.push(User::new(username));
            self.user_ids.insert(username, user);
            user
        });
        accepted(Outcome::UserRegistered(user), event)
    }

    pub(super) fn create_instrument(
        &mut self,
        command: &CreateInstrument,
        now: i64,
        event: &mut Event,
    ) -> Result<Applied, Refusal> {
        command.validate()?;
        self.known_user(command.user)?;
        let request = (command.user, command.client_request_id);
        if let Some(first) = self.client_requests.get(&request) {
            let listing = &self.listings[first.0 as usize];
            if listing.created != *command {
                return Err(Refusal::ClientIdReused);
            }
            return Ok(Applied::InstrumentRepeated {
                instrument: Box::new(listing.as_created()),
                event_seq: listing.created_event_seq,
            });
        }
        if self.symbols.contains_key(&command.symbol) {
            return Err(Refusal::DuplicateSymbol);
        }
        if self.listings.len() >= self.limits.instruments_max as usize {
            return Err(Refusal::Capacity {
                limit_name: "instruments_max",
                limit: self.limits.instruments_max.into(),
            });
        }
        self.begin(now, event);
        let instrument = InstrumentId(self.listings.len() as u32);
        let listing = Listing::new(instrument, command.clone(), self.event_seq, now);
        let answer = Box::new(listing.instrument.clone());
        self.listings.push(listing);
        self.symbols.insert(command.symbol, instrument);
        if !command.client_request_id.is_empty() {
            self.client_requests.insert(request, instrument);
        }
        accepted(Outcome::InstrumentCreated(answer), event)
    }

    pub(super) fn set_trading_phase(
        &mut self,
        instrument: InstrumentId,
        phase: TradingPhase,
        now: i64,
        event: &mut Event,
    ) -> Result<Applied, Refusal> {
        let listing = self.known_listing(instrument)?;
        let before = listing.phase();
        if before == TradingPhase::Closed && phase != before {
            return Err(listing.phase_forbids());
        }
        self.begin(now, event);
        if phase != before || fault!(SamePhaseCounts) {
            match phase {
                TradingPhase::Continuous if fault!(UncrossFromAuction) && before != TradingPhase::Auction => {}
                TradingPhase::Continuous => self.market(instrument).uncross(event),
                TradingPhase::Closed if fault!(CloseKeepsOrders) => {}
                TradingPhase::Closed => self.cancel_book(instrument, event),
                TradingPhase::Auction | TradingPhase::Halted => {}
            }
            self.listings[instrument.0 as usize].set_phase(phase);
            self.publish(instrument, Some(phase), event);
        }
        accepted(Outcome::PhaseSet(instrument, phase), event)
    }

    /// Cancels all orders of a book, by id.
    fn cancel_book(&mut self, instrument: InstrumentId, event: &mut Event) {
        let book = &self.listings[instrument.0 as usize].book;
        let mut ids: Vec<OrderId> = [Side::Buy, Side::Sell]
            .into_iter()
            .flat_map(|side| book.levels(side))
            .flat_map(|level| self.orders.queue(level))
            .map(|order| order.order_id)
            .collect();
        ids.sort_unstable();
        for id in ids {
            if let Some(slot) = self.orders.find(id) {
                self.market(instrument)
                    .cancel_resting(slot, CancelReason::Closed, event);
            }
        }
    }

    pub(super) fn suspend_user(
        &mut self,
        user: UserId,
        comment: &str,
        now: i64,
        event: &mut Event,
    ) -> Result<Applied, Refusal> {
        if comment.len() > TEXT_BYTES_MAX {
            return Err(InvalidField::new("comment", "at most 256 bytes").into());
        }
        self.known_user(user)?;
        self.begin(now, event);
        let user_state = &mut self.users[user.0 as usize];
        user_state.suspension = Some(comment.to_owned());
        let first = fault!(SuspensionKeepsOrders, crate::order::NIL, user_state.first_order);
        let cancelled = self.cancel_where(first, CancelReason::Suspended, |_| true, event);
        accepted(Outcome::UserSuspended(user, cancelled), event)
    }

    pub(super) fn resume_user(&mut self, user: UserId, now: i64, event: &mut Event) -> Result<Applied, Refusal> {
        self.known_user(user)?;
        self.begin(now, event);
        self.users[user.0 as usize].suspension = None;
        accepted(Outcome::UserResumed(user), event)
    }

    pub(super) fn set_user_risk_limits(
        &mut self,
        user: UserId,
        limits: &UserRiskLimits,
        now: i64,
        event: &mut Event,
    ) -> Result<Applied, Refusal> {
        validate_user_limits(limits)?;
        self.known_user(user)?;
        self.begin(now, event);
        let user_state = &mut self.users[user.0 as usize];
        user_state.limits = *limits;
        if limits.message_rate.is_some() {
            user_state.messages.get_or_insert_with(RollingWindow::default);
        }
        accepted(Outcome::UserRiskLimitsSet(user), event)
    }

    pub(super) fn set_instrument_risk_limits(
        &mut self,
        user: UserId,
        instrument: InstrumentId,
        limits: &InstrumentRiskLimits,
        now: i64,
        event: &mut Event,
    ) -> Result<Applied, Refusal> {
        validate_instrument_limits(limits)?;
        self.known_user(user)?;
        self.known_listing(instrument)?;
        self.begin(now, event);
        let account = self.account_for(user, instrument);
        let risk = self.accounts[account as usize].risk.get_or_insert_default();
        risk.limits = *limits;
        if fault!(WindowForgottenWhenLifted) {
            (risk.quantities, risk.amounts) = (None, None);
        }
        if limits.order_quantity.is_some() {
            risk.quantities.get_or_insert_with(RollingWindow::default);
        }
        if limits.order_amount.is_some() {
            risk.amounts.get_or_insert_with(RollingWindow::default);
        }
        accepted(Outcome::InstrumentRiskLimitsSet(user, instrument), event)
    }
}
