//! Stage 4: orders are inserted, matched in price-time priority at the resting price, and cancelled.

use crate::case::{Case, Stage};
use crate::run;

mod cancels;
mod inserts;
mod lists;
mod matching;
mod positions;
mod random;
mod refusals;
mod retries;

/// The stage.
#[rustfmt::skip]
pub const STAGE: Stage = Stage {
    slug: "orders",
    title: "Orders",
    number: 4,
    core: true,
    builds_on: &["instruments"],
    cases: &[
        Case::new("rests", "An order that finds nothing to trade with rests in the book, whole.", "execution.proto ExecutionService.InsertOrder", run!(inserts::rests)).base(),
        Case::new("ids", "Order ids are unique over all instruments and increase; every accepted command is one event.", "execution.proto InsertOrderResponse.order_id; common.proto event_seq", run!(inserts::ids)),
        Case::new("no-cross", "A buy below the best ask and a sell above the best bid do not trade.", "execution.proto InsertOrderRequest.price_e4, ORDER_TYPE_LIMIT", run!(inserts::no_cross)),
        Case::new("connection-lost", "Orders belong to the user: they outlive the connection that inserted them.", "execution.proto ExecutionService", run!(inserts::connection_lost)),
        Case::new("books-apart", "Orders of one instrument do not trade with those of another.", "common.proto Instrument", run!(inserts::books_apart)),

        Case::new("resting-price", "A trade is at the resting order's price.", "common.proto Trade.price_e4", run!(matching::resting_price)).base(),
        Case::new("limit-edge", "A limit order trades at its price or better, and not one tick worse.", "execution.proto ORDER_TYPE_LIMIT", run!(matching::limit_edge)),
        Case::new("price-priority", "The better price trades first, whenever it came.", "common.proto TRADING_PHASE_CONTINUOUS, price-time priority", run!(matching::price_priority)),
        Case::new("time-priority", "At one price the earlier order trades first.", "common.proto TRADING_PHASE_CONTINUOUS, price-time priority", run!(matching::time_priority)),
        Case::new("partial-keeps-place", "An order that was filled in part keeps its place.", "common.proto TRADING_PHASE_CONTINUOUS, price-time priority", run!(matching::partial_keeps_place)),
        Case::new("place-at-new-level", "A level that emptied begins anew: no order has an older order's place.", "common.proto TRADING_PHASE_CONTINUOUS, price-time priority", run!(matching::level_again)),
        Case::new("sweep", "An order trades through the levels that it reaches, best first, and what remains rests at its limit.", "execution.proto InsertOrderResponse.fills", run!(matching::sweep)),
        Case::new("negative-prices", "Price priority holds below zero and across it.", "execution.proto InsertOrderRequest.price_e4, negative prices are allowed", run!(matching::negative_prices)),
        Case::new("fills-add-up", "Over many fills, filled and open quantity add up to the order's, on both sides.", "execution.proto Order.filled_quantity", run!(matching::fills_add_up)),

        Case::new("cancel", "A cancelled order leaves the book with all that remained, and trades no more.", "execution.proto ExecutionService.CancelOrder", run!(cancels::cancel)).base(),
        Case::new("cancel-remainder", "Cancelling an order that was filled in part tells the lots that will never trade.", "execution.proto CancelOrderResponse.cancelled_quantity", run!(cancels::remainder)),
        Case::new("cancel-in-queue", "A cancel in the middle of a level leaves the other orders in their places.", "common.proto TRADING_PHASE_CONTINUOUS, price-time priority", run!(cancels::in_queue)),
        Case::new("cancel-done", "Cancelling an order that is filled or cancelled already is ORDER_DONE.", "common.proto ERROR_REASON_ORDER_DONE", run!(cancels::done)),
        Case::new("cancel-unknown", "Cancelling what never was an order is UNKNOWN_ORDER.", "common.proto ERROR_REASON_UNKNOWN_ORDER", run!(cancels::unknown)),
        Case::new("cancel-others", "Another user's order is UNKNOWN_ORDER, and stays.", "execution.proto ExecutionService", run!(cancels::others)),
        Case::new("cancel-all", "Cancel-all ends all open orders that fit by instrument and side, and no others, in one event.", "execution.proto CancelAllOrdersRequest", run!(cancels::all)),
        Case::new("cancel-all-others", "Cancel-all touches only the calling user's orders, and finding none is an event too.", "execution.proto ExecutionService.CancelAllOrders; common.proto event_seq", run!(cancels::all_of_one_user)),

        Case::new("list", "Open orders are listed by order_id, page by page; one that is done is found by its id.", "execution.proto ListOrdersRequest", run!(lists::pages)),
        Case::new("list-defaults", "An order is shown as it stands, with defaults filled in.", "execution.proto Order", run!(lists::defaults)),
        Case::new("list-client-id", "An order is found by its client id, open or not; an unknown id gives an empty page.", "execution.proto ListOrdersRequest.client_order_id", run!(lists::by_client_id)),

        Case::new("invalid-fields", "A field that is missing or out of range is INVALID_FIELD with its name, and leaves no trace.", "common.proto ERROR_REASON_INVALID_FIELD", run!(refusals::invalid_fields)),
        Case::new("edges-accepted", "What lies just inside every bound is accepted.", "common.proto, bounds", run!(refusals::edges)),
        Case::new("tick", "A price that is no multiple of the tick size is INVALID_TICK.", "common.proto ERROR_REASON_INVALID_TICK", run!(refusals::tick)),
        Case::new("notional", "|price| × quantity × multiplier of an order is at most 10^14.", "common.proto ERROR_REASON_NOTIONAL_TOO_LARGE", run!(refusals::notional)),
        Case::new("unknown-instrument", "An order for an instrument that does not exist is UNKNOWN_INSTRUMENT.", "common.proto ERROR_REASON_UNKNOWN_INSTRUMENT", run!(refusals::unknown_instrument)),
        Case::new("first-reason", "Where several reasons apply, the first in the contract's order tells.", "common.proto, errors", run!(refusals::first_reason)),

        Case::new("retry", "The same client id and content again answer as the first time and insert nothing.", "execution.proto InsertOrderRequest.client_order_id", run!(retries::same)),
        Case::new("retry-done", "A retry answers as the first time also when the order was filled or cancelled since.", "execution.proto InsertOrderRequest.client_order_id", run!(retries::done)),
        Case::new("retry-trade", "A retry of an order that traded tells the same fills and trades nothing.", "execution.proto InsertOrderRequest.client_order_id", run!(retries::traded)),
        Case::new("client-id-reused", "A client id with another content is CLIENT_ID_REUSED, whatever differs.", "common.proto ERROR_REASON_CLIENT_ID_REUSED", run!(retries::reused)),
        Case::new("refused-keeps-id", "A refused insert does not use its client id up.", "execution.proto InsertOrderRequest.client_order_id", run!(retries::refused)),
        Case::new("client-id-of-user", "Client ids are each user's own.", "execution.proto InsertOrderRequest.client_order_id", run!(retries::of_user)),

        Case::new("positions", "Positions tell lots held, long or short, and money paid and received.", "execution.proto Position", run!(positions::both_sides)),
        Case::new("positions-open", "Positions tell what is in open orders, by side.", "execution.proto Position.open_buy_quantity", run!(positions::open)),
        Case::new("positions-through-zero", "A position goes from long through flat to short, and its profit is kept.", "execution.proto ListPositionsResponse.positions", run!(positions::through_zero)),

        Case::new("random-flow", "Random orders and cancels of several users come out as in a reference book.", "execution.proto ExecutionService; common.proto price-time priority", run!(random::flow)).within(300),
    ],
};
