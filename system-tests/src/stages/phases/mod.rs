//! Stage 10: trading phases, the call auction and its uncross, the kill switch.

mod auction;
mod gates;
mod kill_switch;
mod limits;
mod told;

use crate::case::{Case, Stage};
use crate::run;

/// The stage.
pub const STAGE: Stage = Stage {
    slug: "phases",
    title: "Phases and auction",
    number: 10,
    core: false,
    builds_on: &["orders"],
    cases: &[
        Case::new(
            "auction-rests",
            "In an AUCTION orders rest and may cross, and nothing trades.",
            "common.proto TradingPhase.AUCTION",
            run!(auction::rests),
        ),
        Case::new(
            "auction-refuses",
            "In an AUCTION orders that may not rest are refused with PHASE_FORBIDS.",
            "common.proto TradingPhase.AUCTION, ErrorReason.PHASE_FORBIDS",
            run!(gates::auction),
        ),
        Case::new(
            "uncross-price",
            "An uncross is at the price that trades the most, then leaves the least, then nearest to the last trade.",
            "common.proto TradingPhase.CONTINUOUS",
            run!(auction::price),
        ),
        Case::new(
            "uncross-random",
            "Any crossed book uncrosses at the price of the contract's rule, in price-time priority.",
            "common.proto TradingPhase.CONTINUOUS",
            run!(auction::random),
        ),
        Case::new(
            "uncross-priority",
            "In an uncross orders trade in price-time priority, all at one price, own orders too.",
            "common.proto TradingPhase.CONTINUOUS, Trade; execution.proto SelfTradePrevention",
            run!(auction::priority),
        ),
        Case::new(
            "uncross-after-halt",
            "Entering CONTINUOUS uncrosses a crossed book, from HALTED too.",
            "common.proto TradingPhase.CONTINUOUS",
            run!(auction::after_halt),
        ),
        Case::new(
            "indicative",
            "The top of book tells in an AUCTION what would happen if it uncrossed now.",
            "info.proto TopOfBook.indicative",
            run!(auction::indicative),
        ),
        Case::new(
            "halted",
            "HALTED: orders rest, only cancels are taken.",
            "common.proto TradingPhase.HALTED",
            run!(gates::halted),
        ),
        Case::new(
            "closed",
            "CLOSED is final: every open order is cancelled, nothing is taken.",
            "common.proto TradingPhase.CLOSED",
            run!(gates::closed),
        ),
        Case::new(
            "same-phase",
            "The current phase again is an event that changes nothing.",
            "admin.proto SetTradingPhaseRequest.phase",
            run!(gates::same),
        ),
        Case::new(
            "closed-again",
            "CLOSED again is an event that changes nothing, as the current phase always is.",
            "admin.proto SetTradingPhaseRequest.phase",
            run!(gates::closed_again),
        ),
        Case::new(
            "told-to-followers",
            "Who follows instruments or books is told of every phase change, and of no other.",
            "info.proto SubscribeInstrumentsResponse.instrument, BookUpdate.phase, TopOfBook.phase",
            run!(told::followers),
        ),
        Case::new(
            "uncross-reports",
            "A fill of an uncross is reported to both users at the auction price, and neither order was the incoming one.",
            "execution.proto ExecutionReport.aggressor; common.proto Trade.aggressor_side",
            run!(told::uncross),
        ),
        Case::new(
            "limits-released",
            "What an uncross, CLOSED or a suspension takes off the book no longer counts for any limit.",
            "risk_limits.proto UserRiskLimits; common.proto TradingPhase; admin.proto SuspendUser",
            run!(limits::released),
        ),
        Case::new(
            "phase-refusals",
            "A phase change wants an administrator, a known instrument and a phase.",
            "admin.proto SetTradingPhaseRequest; common.proto ErrorReason",
            run!(gates::refusals),
        ),
        Case::new(
            "suspend",
            "A suspension cancels the user's open orders and refuses new ones with its comment until resumed.",
            "admin.proto SuspendUser, ResumeUser",
            run!(kill_switch::suspend),
        ),
        Case::new(
            "suspend-others",
            "A suspension touches no other user, and the suspended one may still look.",
            "admin.proto SuspendUser",
            run!(kill_switch::others),
        ),
        Case::new(
            "suspend-refusals",
            "A suspension wants an administrator, a known user and a comment of at most 256 bytes.",
            "admin.proto SuspendUserRequest",
            run!(kill_switch::refusals),
        ),
    ],
};
