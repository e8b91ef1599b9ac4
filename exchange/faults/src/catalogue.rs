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

    // risk
    OutstandingOfBuys, "outstanding-of-buys", "Only buy orders count as outstanding.",
        "risk/outstanding-quantity", "both sides";
    AmountOfBuys, "amount-of-buys", "The outstanding amount is that of buy orders.",
        "risk/outstanding-amount", "both sides";
    UserLimitsByInstrument, "user-limits-by-instrument", "A user's limit counts each instrument for itself.",
        "risk/user-outstanding", "over all instruments";
    LimitOffByOne, "limit-off-by-one", "One more than the limit is taken.",
        "risk/order-quantity", "not a lot more", also "races";
    PositionWithoutOrders, "position-without-orders", "The position limit looks at lots held, not at what open orders may add.",
        "risk/position", "if every open order";
    OutstandingNotReleased, "outstanding-not-released", "What a cancel takes off the book still counts as outstanding.",
        "risk/released-by-cancel", "release", also "recovery";
    FillNotReleased, "fill-not-released", "What a resting order has traded still counts as outstanding.",
        "risk/released-by-fill", "fill releases", also "orders";
    RemainderOutstanding, "remainder-outstanding", "The remainder of an order that does not rest counts as outstanding.",
        "risk/released-by-remainder", "outstanding no more";
    SelfTradeNotReleased, "self-trade-not-released", "What self-trade prevention cancels still counts as outstanding.",
        "risk/released-by-self-trade", "outstanding no more";
    CountsWhatRests, "counts-what-rests", "Of an insert only what would rest is held against the limits.",
        "risk/counts-whole", "counts whole";
    MarketAmountFree, "market-amount-free", "A market order counts no amount.",
        "risk/market-amount", "market order";
    AmendCountsWhole, "amend-counts-whole", "An amend counts its whole new quantity, not what it adds.",
        "risk/amend-growth", "grow";
    LimitsOfAnybody, "limits-of-anybody", "Limits in an instrument are kept by the instrument: the first user's hold for all.",
        "risk/others-untouched", "never touch another user";
    LimitedIdKept, "limited-id-kept", "An order that a limit refused has used its client id up.",
        "risk/no-trace", "client id";
    LimitsMerged, "limits-merged", "Setting a user's limits keeps those that are absent.",
        "risk/replace-and-lift", "replaces all";
    InstrumentLimitsFirst, "instrument-limits-first", "The instrument's limits are judged before the user's.",
        "risk/order-of-judgement", "User limits are judged before";
    UsageOfLimits, "usage-of-limits", "Usage leaves out what has no limit.",
        "risk/usage", "not zero";
    NegativeIsNone, "negative-is-none", "A negative limit is taken for none.",
        "risk/form", "negative limit";
    LimitsForAllToSee, "limits-for-all-to-see", "Any trader may read the limits of any other.",
        "risk/roles", "ROLE_ADMIN";
    CancelsUncounted, "cancels-uncounted", "A cancel is no message.",
        "risk/message-rate", "cancels are messages";
    RetriesCount, "retries-count", "The retry of a client id counts as a message.",
        "risk/message-rate-refused", "retry";
    WindowOfBuys, "window-of-buys", "Rolling limits count buy orders only.",
        "risk/rolling-quantity", "both sides";
    WindowForgottenWhenLifted, "window-forgotten-when-lifted", "A rolling window begins anew when limits are set.",
        "risk/rolling-keeps-counting", "while it is lifted";
    TumblingWindow, "tumbling-window", "Windows follow one another, each beginning with nothing, instead of sliding.",
        "risk/rolling-slides", "any window";

    // phases
    AuctionTrades, "auction-trades", "Orders trade as they come in an AUCTION, too.",
        "phases/auction-rests", "nothing trades";
    AuctionTakesAll, "auction-takes-all", "An AUCTION takes orders that may not rest.",
        "phases/auction-refuses", "PHASE_FORBIDS";
    SurplusIgnored, "surplus-ignored", "The auction price maximises volume and does not look at what is left.",
        "phases/uncross-random", "contract's rule";
    LastPriceIgnored, "last-price-ignored", "Of equally good auction prices the lowest is taken, whatever the last trade was.",
        "phases/uncross-price", "nearest to the last trade";
    UncrossAtAsks, "uncross-at-asks", "An uncross trades at each ask's own price.",
        "phases/uncross-random", "at the price";
    UncrossWithoutSelfTrades, "uncross-without-self-trades", "An uncross cancels an ask that meets a bid of its own user.",
        "phases/uncross-priority", "own orders too";
    UncrossFromAuction, "uncross-from-auction", "Only an AUCTION is uncrossed: a crossed book that was halted stays crossed.",
        "phases/uncross-after-halt", "from HALTED";
    StaleIndicative, "stale-indicative", "A cancel in an AUCTION leaves the indicative price as it was.",
        "phases/indicative", "if it uncrossed now";
    HaltTakesOrders, "halt-takes-orders", "HALTED takes orders that rest.",
        "phases/halted", "only cancels";
    CloseKeepsOrders, "close-keeps-orders", "CLOSED cancels no orders.",
        "phases/closed", "every open order is cancelled";
    SamePhaseCounts, "same-phase-counts", "The current phase again is a change of the book.",
        "phases/same-phase", "changes nothing";
    NoPhaseIsContinuous, "no-phase-is-continuous", "A phase change without a phase goes to CONTINUOUS.",
        "phases/phase-refusals", "a phase";
    SuspensionKeepsOrders, "suspension-keeps-orders", "A suspension leaves the user's orders in the book.",
        "phases/suspend", "cancels the user's open orders";
    SuspendedMayNotLook, "suspended-may-not-look", "A suspended user's orders and positions are refused to it.",
        "phases/suspend-others", "may still look";
    CommentCut, "comment-cut", "A comment that is too long is cut instead of refused.",
        "phases/suspend-refusals", "at most 256 bytes";

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
