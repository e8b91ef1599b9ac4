//! The faults, by the stage whose case finds them first.

use crate::Entry;

macro_rules! faults {
    ($($fault:ident, $name:literal, $what:literal, $case:literal, $clue:literal $(, also $($also:literal)+)?;)+) => {
        /// A fault that can be planted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Fault {
            $(#[doc = $what] $fault,)+
        }

        /// All of them.
        pub const CATALOGUE: &[Entry] = &[$(Entry {
            fault: Fault::$fault,
            name: $name,
            what: $what,
            case: $case,
            clue: $clue,
            also: &[$($($also),+)?],
        }),+];
    };
}

faults! {
    // boot

    // login

    // instruments

    // orders
    LastInFirstOut, "last-in-first-out", "At one price the newest order trades first.",
        "orders/time-priority", "the earlier order";

    // top

    // depth
    LevelsLeftAtZero, "levels-left-at-zero", "A level that emptied stays in snapshots, with quantity 0.",
        "depth/level-removed", "level";

    // tape
    FillBeforeAcceptance, "fill-before-acceptance", "An order's first fill is reported before its acceptance.",
        "tape/reports", "ACCEPTED";

    // order-types

    // limits
    OutstandingNotReleased, "outstanding-not-released", "What a cancel takes out of the book still counts as outstanding.",
        "limits/outstanding-quantity", "outstanding";

    // phases

    // races
    TradableOnceAnswered, "tradable-once-answered", "A new instrument is told before it can be traded, which is when its creation is answered.",
        "races/create-trade-subscribe", "can be traded";
    SymbolOfSeveral, "symbol-of-several", "Who creates the same symbol at the same time is answered the same: all succeed.",
        "races/one-symbol-at-once", "of them succeeded";
    RequestIdUnnoted, "request-id-unnoted", "A client_request_id is looked up before the first use of it is noted.",
        "races/one-creation-retried-at-once", "client_request_id";
    CancelOfACopy, "cancel-of-a-copy", "A cancel tells the open quantity as it was when the call came in.",
        "races/insert-against-cancel", "cancelled_quantity";
    CancelledBySeveral, "cancelled-by-several", "Who cancels an order at the same time is answered the same: all succeed.",
        "races/cancel-against-cancel", "of them succeeded";
    AmendOfACopy, "amend-of-a-copy", "An amend goes by the fills that there were when the call came in.",
        "races/amend-against-fill", "filled_quantity";
    LimitCheckedThenCounted, "limit-checked-then-counted", "A limit is checked and counted in two steps, between which others are checked.",
        "races/last-lot-of-a-limit", "3 fit under";
    EventOfTheMoment, "event-of-the-moment", "The answer to an insert tells the newest event instead of its own.",
        "races/one-global-order", "event_seq";
    BookOfBefore, "book-of-before", "GetOrderBook tells the book that was read the time before, under the event_seq of now.",
        "races/reply-before-market-data", "without the order";
    TapeWithASeam, "tape-with-a-seam", "Trades while a tape is being opened are in neither its past nor its future.",
        "races/tape-under-flow", "trades";
    ReportsWithASeam, "reports-with-a-seam", "Reports while their stream is being opened are in neither its past nor its future.",
        "races/reports-under-flow", "report_seq";
    CancellableOnceAnswered, "cancellable-once-answered", "A new order is told before it can be cancelled, which is when its insert is answered.",
        "races/market-data-before-reply", "cancelled";
    ClientIdOfTheConnection, "client-id-of-the-connection", "A client id is forgotten when its call is given up.",
        "races/lost-answer", "retry";
    ClientIdUnnoted, "client-id-unnoted", "A client id is looked up before the first use of it is noted.",
        "races/one-client-id-at-once", "client id";

    // precision

    // order-entry

    // clients

    // recovery
    AcknowledgedEarly, "acknowledged-early", "An order is acknowledged before it is durable.",
        "recovery/kill-under-load", "acknowledged";

    // load
}
