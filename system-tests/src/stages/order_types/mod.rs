//! Stage 8: amend, immediate-or-cancel, fill-or-kill, post-only, self-trade prevention, market orders.

mod amend;
mod flow;
mod immediate;
mod post_only;
mod reused;
mod self_trade;

use crate::case::{Case, Stage};
use crate::run;

/// The stage.
pub const STAGE: Stage = Stage {
    slug: "order-types",
    title: "Order types and amends",
    number: 8,
    core: false,
    builds_on: &["orders"],
    cases: &[
        Case::new(
            "amend-less-keeps-priority",
            "The same price with less quantity keeps its priority.",
            "execution.proto AmendOrderRequest",
            run!(amend::less_keeps_priority),
        ),
        Case::new(
            "amend-same-keeps-priority",
            "The same price with the same quantity keeps its priority, so that a retry is harmless.",
            "execution.proto AmendOrderRequest",
            run!(amend::same_keeps_priority),
        ),
        Case::new(
            "amend-more-goes-behind",
            "More quantity moves an order behind what rests at the price.",
            "execution.proto AmendOrderRequest",
            run!(amend::more_goes_behind),
        ),
        Case::new(
            "amend-price-goes-behind",
            "Another price moves an order behind what rests there, and leaves nothing where it was.",
            "execution.proto AmendOrderRequest",
            run!(amend::price_goes_behind),
        ),
        Case::new(
            "amend-trades",
            "An amend may trade, at the resting orders' prices, and the remainder rests at its new price.",
            "execution.proto AmendOrderRequest; common.proto Trade.price_e4",
            run!(amend::trades),
        ),
        Case::new(
            "amend-total-quantity",
            "The new quantity is the total: what was filled is included.",
            "execution.proto AmendOrderRequest.quantity",
            run!(amend::total_quantity),
        ),
        Case::new(
            "amend-ends",
            "At or below what was filled, the order ends as CANCELLED with reason USER, its only report.",
            "execution.proto AmendOrderRequest.quantity",
            run!(amend::ends),
        ),
        Case::new(
            "amend-reports",
            "An amend is reported as AMENDED before its fills, with the order as it is afterwards.",
            "execution.proto ExecutionKind",
            run!(amend::reports),
        ),
        Case::new(
            "amend-refusals",
            "A refused amend changes nothing, and says why.",
            "execution.proto AmendOrderRequest; common.proto ErrorReason",
            run!(amend::refusals),
        ),
        Case::new(
            "amend-client-id",
            "An order is amended by the user's id too, and only by its user.",
            "execution.proto AmendOrderRequest.order, ExecutionService",
            run!(amend::client_id),
        ),
        Case::new(
            "ioc",
            "IMMEDIATE_OR_CANCEL trades what it can within its price, and the remainder is cancelled.",
            "execution.proto TimeInForce.IMMEDIATE_OR_CANCEL",
            run!(immediate::immediate_or_cancel),
        ),
        Case::new(
            "fok",
            "FILL_OR_KILL trades whole or is rejected with CANNOT_FILL, and then nothing happened.",
            "execution.proto TimeInForce.FILL_OR_KILL",
            run!(immediate::fill_or_kill),
        ),
        Case::new(
            "fok-own-orders",
            "A user's own orders do not count as liquidity for FILL_OR_KILL.",
            "execution.proto SelfTradePrevention",
            run!(immediate::fok_own_orders),
        ),
        Case::new(
            "market",
            "A MARKET order trades at any price, best first, and never rests.",
            "execution.proto OrderType.MARKET",
            run!(immediate::market_order),
        ),
        Case::new(
            "market-negative-prices",
            "A MARKET order trades at negative prices, best first on both sides.",
            "execution.proto OrderType.MARKET, InsertOrderRequest.price_e4",
            run!(immediate::market_negative),
        ),
        Case::new(
            "market-form",
            "A MARKET order has price_e4 0 and a time in force other than GOOD_TILL_CANCELLED.",
            "execution.proto OrderType.MARKET",
            run!(immediate::market_form),
        ),
        Case::new(
            "defaults",
            "An order stands with its defaults filled in.",
            "execution.proto Order, OrderType, TimeInForce, SelfTradePrevention",
            run!(immediate::defaults),
        ),
        Case::new(
            "retry-of-trade",
            "The retry of an order that traded answers as the first time and trades nothing.",
            "execution.proto InsertOrderRequest.client_order_id",
            run!(immediate::retry),
        ),
        Case::new(
            "client-id-terms",
            "A client id with another type, time in force, post_only or self-trade prevention is CLIENT_ID_REUSED.",
            "execution.proto InsertOrderRequest.client_order_id; common.proto ErrorReason.CLIENT_ID_REUSED",
            run!(reused::terms),
        ),
        Case::new(
            "post-only",
            "A post-only order rests, or is rejected with WOULD_CROSS instead of trading.",
            "execution.proto InsertOrderRequest.post_only",
            run!(post_only::rests_or_refused),
        ),
        Case::new(
            "post-only-own-orders",
            "A user's own orders do make a post-only order cross.",
            "execution.proto SelfTradePrevention",
            run!(post_only::own_orders),
        ),
        Case::new(
            "post-only-amend",
            "An amend may trade by the post-only choice of its insert: WOULD_CROSS, and nothing changed.",
            "execution.proto AmendOrderRequest",
            run!(post_only::amended),
        ),
        Case::new(
            "post-only-form",
            "post_only is only for orders that may rest.",
            "execution.proto InsertOrderRequest.post_only",
            run!(post_only::form),
        ),
        Case::new(
            "stp-cancel-incoming",
            "CANCEL_INCOMING, the default: the incoming order's remainder is cancelled, the resting one stays.",
            "execution.proto SelfTradePrevention.CANCEL_INCOMING",
            run!(self_trade::cancel_incoming),
        ),
        Case::new(
            "stp-cancel-resting",
            "CANCEL_RESTING: the resting order is cancelled, and matching goes on.",
            "execution.proto SelfTradePrevention.CANCEL_RESTING",
            run!(self_trade::cancel_resting),
        ),
        Case::new(
            "stp-cancel-both",
            "CANCEL_BOTH: the resting order and the incoming order's remainder are cancelled.",
            "execution.proto SelfTradePrevention.CANCEL_BOTH",
            run!(self_trade::cancel_both),
        ),
        Case::new(
            "stp-incoming-choice",
            "The incoming order's choice counts.",
            "execution.proto SelfTradePrevention",
            run!(self_trade::incoming_choice),
        ),
        Case::new(
            "stp-amend",
            "An amend may trade by the self-trade choice of its insert.",
            "execution.proto AmendOrderRequest",
            run!(self_trade::amended),
        ),
        Case::new(
            "stp-other-sessions",
            "Another order of the same user counts whatever session inserted it.",
            "execution.proto SelfTradePrevention",
            run!(self_trade::sessions),
        ),
        Case::new(
            "random-flow",
            "Any sequence of inserts of all types, amends and cancels does what the contract says.",
            "execution.proto ExecutionService",
            run!(flow::random),
        )
        .within(300),
    ],
};
