//! An instrument with its book, from the same event on.

use crate::book::Book;
use crate::command::CreateInstrument;
use crate::position::amount_e4;
use crate::refusal::Refusal;
use crate::types::{Indicative, Instrument, InstrumentId, NOTIONAL_E4_MAX, TradingPhase};

/// An instrument and its book.
#[derive(Debug)]
pub(crate) struct Listing {
    /// As it stands.
    pub(crate) instrument: Instrument,
    /// As it was asked for: what a retry is compared with.
    pub(crate) created: CreateInstrument,
    /// Event of its creation.
    pub(crate) created_event_seq: u64,
    /// Its book.
    pub(crate) book: Book,
    /// Last visible change of the book.
    pub(crate) book_seq: u64,
    /// Price of the last trade.
    pub(crate) last_trade_price_e4: Option<i64>,
}

impl Listing {
    /// A new instrument.
    pub(crate) fn new(id: InstrumentId, created: CreateInstrument, event_seq: u64, time_unix_ns: i64) -> Self {
        let book = Book::new(created.tick_size_e4);
        let instrument = Instrument {
            id,
            symbol: created.symbol,
            description: created.description.clone(),
            currency: created.currency,
            multiplier: created.multiplier,
            tick_size_e4: created.tick_size_e4,
            phase: created.initial_phase,
            created_unix_ns: time_unix_ns,
        };
        let mut listing = Self {
            instrument,
            created,
            created_event_seq: event_seq,
            book,
            book_seq: 0,
            last_trade_price_e4: None,
        };
        listing.set_phase(listing.instrument.phase);
        listing
    }

    /// The instrument as its creation answered.
    pub(crate) fn as_created(&self) -> Instrument {
        Instrument {
            phase: self.created.initial_phase,
            ..self.instrument.clone()
        }
    }

    /// Phase of the book.
    pub(crate) fn phase(&self) -> TradingPhase {
        self.instrument.phase
    }

    /// Moves the book to a phase; orders are the caller's.
    pub(crate) fn set_phase(&mut self, phase: TradingPhase) {
        self.instrument.phase = phase;
        self.book.set_auction(phase == TradingPhase::Auction);
    }

    /// What an uncross would do; only in an auction.
    pub(crate) fn indicative(&self) -> Option<Indicative> {
        self.book
            .indicative(self.instrument.tick_size_e4, self.last_trade_price_e4)
    }

    /// What an uncross would do, in any phase.
    pub(crate) fn uncross(&self) -> Option<Indicative> {
        self.book
            .uncross(self.instrument.tick_size_e4, self.last_trade_price_e4)
    }

    /// Refuses with the phase of the book.
    pub(crate) fn phase_forbids(&self) -> Refusal {
        Refusal::PhaseForbids { phase: self.phase() }
    }

    /// Refuses a price between ticks.
    pub(crate) fn check_tick(&self, price_e4: i64) -> Result<(), Refusal> {
        let tick_size_e4 = self.instrument.tick_size_e4;
        if price_e4 % tick_size_e4 != 0 && !(fault!(TickUncheckedBelowZero) && price_e4 < 0) {
            return Err(Refusal::InvalidTick { tick_size_e4 });
        }
        Ok(())
    }

    /// Refuses an amount that sums could not carry.
    #[inline]
    pub(crate) fn check_notional(&self, price_e4: i64, quantity: i64) -> Result<(), Refusal> {
        // 64 bits hold quantity × multiplier of what passed the checks of form, and what may pass this one.
        #[cfg(not(feature = "faults"))]
        let amount_e4 = price_e4
            .unsigned_abs()
            .checked_mul((quantity * self.instrument.multiplier) as u64)
            .map(i128::from);
        #[cfg(feature = "faults")]
        let amount_e4 = Some(crate::faults::notional(
            price_e4,
            quantity,
            self.instrument.multiplier,
            self.amount_e4(price_e4, quantity),
        ));
        match amount_e4 {
            Some(amount_e4) if amount_e4 <= NOTIONAL_E4_MAX => Ok(()),
            _ => Err(Refusal::NotionalTooLarge),
        }
    }

    /// |price| × quantity × multiplier, in 1e-4.
    pub(crate) fn amount_e4(&self, price_e4: i64, quantity: i64) -> i128 {
        amount_e4(price_e4, quantity, self.instrument.multiplier)
    }
}
