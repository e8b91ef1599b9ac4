//! Stage 9: limits that every order must pass before it reaches a book.

mod amounts;
mod form;
mod outstanding;
mod release;
mod rolling;
mod rules;
mod sliding;

use optivex_proto::v1::{InstrumentRiskLimits, RollingWindowLimit, UserRiskLimits};

use crate::case::{Case, Stage};
use crate::context::Context;
use crate::model::venue_flow::{Kinds, Limits, drive};
use crate::run;
use crate::verdict::Verdict;

/// The stage.
pub const STAGE: Stage = Stage {
    slug: "risk",
    title: "Risk limits",
    number: 9,
    core: true,
    builds_on: &["orders"],
    cases: &[
        Case::new(
            "outstanding-quantity",
            "Lots in open orders reach their limit with both sides added, and not a lot more.",
            "risk_limits.proto InstrumentRiskLimits.max_outstanding_quantity",
            run!(outstanding::quantity),
        ),
        Case::new(
            "outstanding-amount",
            "|price| x quantity x multiplier of open orders reaches its limit with both sides added.",
            "risk_limits.proto InstrumentRiskLimits.max_outstanding_amount_e4",
            run!(outstanding::amount),
        ),
        Case::new(
            "user-outstanding",
            "A user's limits are over all instruments, both sides added.",
            "risk_limits.proto UserRiskLimits",
            run!(outstanding::of_user),
        ),
        Case::new(
            "order-quantity",
            "Lots in one order reach their limit, and not a lot more.",
            "risk_limits.proto InstrumentRiskLimits.max_order_quantity",
            run!(outstanding::order_quantity),
        ),
        Case::new(
            "order-quantity-amended",
            "For an amend, the order's lots count as they are, and what it adds.",
            "risk_limits.proto InstrumentRiskLimits.max_order_quantity",
            run!(outstanding::order_quantity_amended),
        )
        .wants(TYPES),
        Case::new(
            "position",
            "Lots held, long or short, if every open order of one side traded, reach their limit.",
            "risk_limits.proto InstrumentRiskLimits.max_position",
            run!(outstanding::position),
        ),
        Case::new(
            "released-by-cancel",
            "A cancel and a cancel-all release what they take off the book.",
            "risk_limits.proto InstrumentRiskLimits.max_outstanding_quantity",
            run!(release::by_cancel),
        ),
        Case::new(
            "released-by-amend",
            "An amend to less releases what it takes off the book.",
            "risk_limits.proto InstrumentRiskLimits.max_outstanding_quantity",
            run!(release::by_amend),
        )
        .wants(TYPES),
        Case::new(
            "released-by-fill",
            "A fill releases what it trades, of the resting and of the incoming order.",
            "risk_limits.proto InstrumentRiskLimits.max_outstanding_quantity",
            run!(release::by_fill),
        ),
        Case::new(
            "released-by-remainder",
            "What an IMMEDIATE_OR_CANCEL order leaves untraded is outstanding no more.",
            "risk_limits.proto RiskLimitsService; execution.proto TimeInForce",
            run!(release::by_remainder),
        ),
        Case::new(
            "released-by-market-remainder",
            "What a market order leaves untraded is outstanding no more.",
            "risk_limits.proto RiskLimitsService; execution.proto OrderType",
            run!(release::by_market_remainder),
        )
        .wants(TYPES),
        Case::new(
            "released-by-self-trade",
            "What self-trade prevention cancels is outstanding no more.",
            "risk_limits.proto RiskLimitsService; execution.proto SelfTradePrevention",
            run!(release::by_self_trade),
        )
        .wants(TYPES),
        Case::new(
            "counts-whole",
            "An insert counts whole, whether it may rest or not and whatever it would trade.",
            "risk_limits.proto RiskLimitsService",
            run!(amounts::whole),
        ),
        Case::new(
            "counts-whole-types",
            "FILL_OR_KILL and market orders count whole, whatever they would trade.",
            "risk_limits.proto RiskLimitsService",
            run!(amounts::whole_of_types),
        )
        .wants(TYPES),
        Case::new(
            "market-amount",
            "For a market order the amount is of what it would trade.",
            "risk_limits.proto RiskLimitsService",
            run!(amounts::market_order),
        )
        .wants(TYPES),
        Case::new(
            "amend-growth",
            "An amend counts by how much it makes the open quantity or amount grow; refused, it changes nothing.",
            "risk_limits.proto RiskLimitsService",
            run!(amounts::amends),
        )
        .wants(TYPES),
        Case::new(
            "others-untouched",
            "One user's limits never touch another user, nor another instrument.",
            "risk_limits.proto InstrumentRiskLimits",
            run!(rules::others),
        ),
        Case::new(
            "no-trace",
            "A refused order leaves no trace in book or tape, and does not use its client id up.",
            "risk_limits.proto RiskLimitsService; execution.proto InsertOrderRequest.client_order_id",
            run!(rules::no_trace),
        ),
        Case::new(
            "replace-and-lift",
            "Setting limits replaces all of them, counts for the next order, and what is absent is lifted.",
            "risk_limits.proto SetUserRiskLimitsRequest.limits, SetInstrumentRiskLimitsRequest.limits",
            run!(rules::replaced),
        ),
        Case::new(
            "order-of-judgement",
            "User limits are judged before those of the instrument, and limits after tick and client id.",
            "risk_limits.proto RiskLimitsService; common.proto errors",
            run!(rules::judgement),
        ),
        Case::new(
            "order-of-judgement-types",
            "Limits are judged after what is known of the order, the phase, WOULD_CROSS and CANNOT_FILL.",
            "risk_limits.proto RiskLimitsService; common.proto errors",
            run!(rules::judgement_of_types),
        )
        .wants(&["order-types", "phases"]),
        Case::new(
            "usage",
            "Usage tells every limit that is set, and every outstanding sum that is not zero.",
            "risk_limits.proto GetRiskUsageResponse",
            run!(rules::usage),
        ),
        Case::new(
            "form",
            "A negative limit and a window out of range are INVALID_FIELD.",
            "risk_limits.proto RiskLimitsService, RollingWindowLimit",
            run!(form::fields),
        ),
        Case::new(
            "roles",
            "Reading one's own limits wants ROLE_TRADER; anything else ROLE_ADMIN.",
            "risk_limits.proto RiskLimitsService",
            run!(form::roles),
        ),
        Case::new(
            "message-rate",
            "Inserts and cancels are messages, a cancel-all is one, and cancels are never refused.",
            "risk_limits.proto UserRiskLimits.message_rate_rolling_limit",
            run!(rolling::messages),
        ),
        Case::new(
            "message-rate-types",
            "Amends are messages, also those that change nothing; refused ones do not count.",
            "risk_limits.proto UserRiskLimits.message_rate_rolling_limit",
            run!(rolling::messages_of_types),
        )
        .wants(TYPES),
        Case::new(
            "message-rate-refused",
            "Only accepted commands count, and not the retry of a client id.",
            "risk_limits.proto RiskLimitsService",
            run!(rolling::refused_do_not_count),
        ),
        Case::new(
            "rolling-quantity",
            "Lots inserted count in their window, cancelled and traded ones too, both sides added.",
            "risk_limits.proto InstrumentRiskLimits.order_quantity_rolling_limit",
            run!(rolling::quantity),
        ),
        Case::new(
            "rolling-quantity-amended",
            "An amend counts in the window by what it adds, and gives nothing back.",
            "risk_limits.proto InstrumentRiskLimits.order_quantity_rolling_limit",
            run!(rolling::quantity_amended),
        )
        .wants(TYPES),
        Case::new(
            "rolling-amount",
            "Amounts inserted count in their window, cancelled and traded ones too, both sides added.",
            "risk_limits.proto InstrumentRiskLimits.order_amount_rolling_limit",
            run!(rolling::amount),
        ),
        Case::new(
            "rolling-amount-amended",
            "An amend counts in the window by what it adds, and gives nothing back.",
            "risk_limits.proto InstrumentRiskLimits.order_amount_rolling_limit",
            run!(rolling::amount_amended),
        )
        .wants(TYPES),
        Case::new(
            "rolling-keeps-counting",
            "A window counts from the moment when a limit of its kind was first set, also while it is lifted.",
            "risk_limits.proto RollingWindowLimit",
            run!(rolling::keeps_counting),
        ),
        Case::new(
            "rolling-slides",
            "At most `limit` in any window of this length, whatever moment it starts at; and then again.",
            "risk_limits.proto RollingWindowLimit",
            run!(rolling::slides),
        )
        .within(300),
        Case::new(
            "rolling-messages-slide",
            "At most `limit` messages in any window, wherever it starts, and RetryInfo tells when the next one passes.",
            "risk_limits.proto UserRiskLimits.message_rate_rolling_limit; common.proto ErrorReason.RATE_LIMIT",
            run!(sliding::messages),
        )
        .within(300),
        Case::new(
            "random-flow",
            "Any sequence of inserts and cancels is judged by the limits as the contract says.",
            "risk_limits.proto RiskLimitsService",
            run!(random),
        )
        .within(300),
        Case::new(
            "random-flow-types",
            "Any sequence of inserts of all types, amends and cancels is judged by the limits as the contract says.",
            "risk_limits.proto RiskLimitsService",
            run!(random_of_types),
        )
        .within(300)
        .wants(TYPES),
    ],
};

/// Amends and order types other than limit orders that rest or are IMMEDIATE_OR_CANCEL.
const TYPES: &[&str] = &["order-types"];

/// Catches: whatever comes of combinations: a lost decrement after partial fills; sums of one side only;
/// an off-by-one.
async fn random(context: Context) -> Verdict {
    drive(&context, Kinds::Core, &limits()).await
}

/// Catches: the same after amends and self-trade prevention.
async fn random_of_types(context: Context) -> Verdict {
    drive(&context, Kinds::All, &limits()).await
}

fn limits() -> [Limits; 3] {
    let window = |limit| {
        Some(RollingWindowLimit {
            limit,
            window_in_seconds: 86_400,
        })
    };
    let outstanding = InstrumentRiskLimits {
        max_outstanding_quantity: Some(30),
        max_outstanding_amount_e4: Some(250),
        ..InstrumentRiskLimits::default()
    };
    let position = InstrumentRiskLimits {
        max_position: Some(25),
        max_order_quantity: Some(8),
        ..InstrumentRiskLimits::default()
    };
    let rolling = InstrumentRiskLimits {
        order_quantity_rolling_limit: window(120),
        order_amount_rolling_limit: window(1_200),
        ..InstrumentRiskLimits::default()
    };
    let of_user = UserRiskLimits {
        max_outstanding_quantity: Some(28),
        max_outstanding_amount_e4: Some(300),
        ..UserRiskLimits::default()
    };
    [
        (UserRiskLimits::default(), outstanding),
        (UserRiskLimits::default(), position),
        (of_user, rolling),
    ]
}
