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
    TopBeginsEmpty, "top-begins-empty", "The first message of a top of book shows no levels: they come with the next change.",
        "top/first", "bid is None";
    EmptySideAtZero, "empty-side-at-zero", "An empty side is told as a level at price 0.",
        "top/empty", "An empty side is absent";
    PriceZeroIsNoPrice, "price-zero-is-no-price", "A best level at price 0 is taken for an empty side.",
        "top/empty", "price_e4: 0";
    TopAtNewPricesOnly, "top-at-new-prices-only", "The top of book is told when its price changes, and not when its lots do.",
        "top/changes", "quantity: 8";
    StaleTop, "stale-top", "A best level that went stays the best until a better one comes.",
        "top/next-level", "1001";
    OneSideOfTop, "one-side-of-top", "When both sides of the top change in one event, only the bid is told.",
        "top/random-flow", "ask";
    OneSequenceForAll, "one-sequence-for-all", "One book_seq counts the changes of all books of a subscription.",
        "top/two-symbols", "book_seq", also "depth";
    RefusedSymbolsLast, "refused-symbols-last", "Symbols that are refused are told behind the others, not in the order asked for.",
        "top/unknown-symbol", "statuses", also "depth";
    AllMeansAllSoFar, "all-means-all-so-far", "A subscription of all instruments never has one that came later.",
        "top/new-instrument", "came later", also "depth";
    ViewHasADefault, "view-has-a-default", "A subscription without a view gets the top of book.",
        "top/no-view", "INVALID_FIELD";
    OneHeartbeat, "one-heartbeat", "A stream has one heartbeat, and no second one.",
        "top/heartbeat", "heartbeat", also "depth";
    HeartbeatFirst, "heartbeat-first", "A heartbeat overtakes the changes that it says were sent.",
        "top/heartbeat", "sent before it", also "depth";
    ConflatedKeepsFirst, "conflated-keeps-first", "While changes come, a conflated subscriber is told the first of them and not the last.",
        "top/conflated", "newest state";

    // depth
    ChecksumOfUnsigned, "checksum-of-unsigned", "The checksum takes prices for unsigned numbers.",
        "depth/snapshot", "checksum";
    LazyBook, "lazy-book", "A book exists from its first order on, not from the instrument's creation.",
        "depth/empty-book", "book is absent";
    ChecksumOverWholeBook, "checksum-over-whole-book", "The checksum of a book that was cut to a depth is that of the whole book.",
        "depth/get-depth", "checksum over the levels of this message";
    DepthCutsTheBest, "depth-cuts-the-best", "A book cut to a depth has its worst levels.",
        "depth/get-depth", "bids";
    UnknownBookIsEmpty, "unknown-book-is-empty", "An instrument that does not exist has an empty book, instead of an error.",
        "depth/get-unknown", "UNKNOWN_INSTRUMENT";
    SnapshotOneEventOld, "snapshot-one-event-old", "A book that is asked for is as it was when it was asked for the time before, with the event_seq of now.",
        "depth/snapshot-event", "book_seq";
    SnapshotBookSeqAhead, "snapshot-book-seq-ahead", "A snapshot's book_seq is one more than what it shows.",
        "depth/snapshot", "book_seq";
    UpdatesTellDifferences, "updates-tell-differences", "An update tells by how much a level changed, where its new total belongs.",
        "depth/updates", "changed bids";
    BookSeqSkips, "book-seq-skips", "An event with several trades takes more than one book_seq.",
        "depth/one-event", "book_seq", also "orders";
    FirstTradeOnly, "first-trade-only", "An update has the first trade of its event alone.",
        "depth/one-event", "trades";
    LevelsLeftAtZero, "levels-left-at-zero", "A level that emptied stays in snapshots, with quantity 0.",
        "depth/level-removed", "quantity: 0";
    TradedLevelsStay, "traded-levels-stay", "A level that a trade empties is not sent as removed.",
        "depth/level-removed", "asks of the mirror";
    BookSeqForNothing, "book-seq-for-nothing", "A cancel-all that finds nothing moves the book_seq.",
        "depth/no-change", "changed no level";
    NewBookWithoutSnapshot, "new-book-without-snapshot", "In a subscription of all, an instrument that comes later has updates without a snapshot.",
        "depth/all-symbols", "snapshot of the book before its first update";
    HeartbeatsWhenSilent, "heartbeats-when-silent", "Heartbeats come on silent streams only.",
        "depth/heartbeats", "busy";
    LostAfterSnapshot, "lost-after-snapshot", "The first change after a snapshot of a book that has levels is lost.",
        "depth/random-flow", "prev_book_seq";
    LimitsSnapshotOnly, "limits-snapshot-only", "A limited depth cuts the snapshot and not the updates.",
        "depth/limited", "asks (price, lots)";
    EnteringForgotten, "entering-forgotten", "At a limited depth, a level that moves up into the view is not sent.",
        "depth/limited", "asks (price, lots) after";
    LeavingForgotten, "leaving-forgotten", "At a limited depth, a level that is pushed out of the view is not removed.",
        "depth/limited-random-flow", "at book_seq";
    OutsideSent, "outside-sent", "At a limited depth, a change outside the view is sent as an update of nothing.",
        "depth/limited-outside", "book_seq";
    OutsideCounted, "outside-counted", "At a limited depth, an update follows on the book_seq before, though that was not sent.",
        "depth/limited-outside", "prev_book_seq";
    HeartbeatOverWholeBook, "heartbeat-over-whole-book", "At a limited depth, the checksum of a heartbeat is that of the whole book.",
        "depth/limited-random-flow", "checksum of the heartbeat";
    ConflatedLosesTrades, "conflated-loses-trades", "Merged updates have the trades of the last one, without a Gap.",
        "depth/conflated", "trades of the updates";
    ConflatedKeepsFirstTotals, "conflated-keeps-first-totals", "Merged updates have the first totals of a level instead of the last.",
        "depth/conflated", "at book_seq";
    ConflatedForgetsTheVoid, "conflated-forgets-the-void", "Changes that cancel out in merging are not sent, nor their book_seq.",
        "depth/conflated-cancelled-out", "book_seq";
    ResumeSkipsOne, "resume-skips-one", "A resumed subscription goes on one change too late.",
        "depth/resume", "prev_book_seq";
    ResumeRepeatsOne, "resume-repeats-one", "A resumed subscription begins with the change that the subscriber holds.",
        "depth/resume", "prev_book_seq";
    ResumesFromTheFuture, "resumes-from-the-future", "A point to resume from that lies in the future is waited for.",
        "depth/resume-future", "CANNOT_RESUME";

    // tape
    FillBeforeAcceptance, "fill-before-acceptance", "An order's first fill is reported before its acceptance.",
        "tape/reports", "ACCEPTED";
    AcceptedAsMatched, "accepted-as-matched", "An acceptance shows the order as it is after matching.",
        "tape/reports", "accepted order";
    BuyerIsAggressor, "buyer-is-aggressor", "A fill's aggressor is whoever buys.",
        "tape/reports-both-sides", "aggressor";
    RestingSideNotTold, "resting-side-not-told", "A fill is reported to the incoming order's user alone.",
        "tape/reports-both-sides", "FILL of order";
    OtherSideTold, "other-side-told", "The resting order's user is told the incoming order's fill as well.",
        "tape/reports-both-sides", "order_id";
    EverybodysReports, "everybodys-reports", "A report stream has the reports of all users.",
        "tape/reports-own", "order_id";
    ReportSeqOfAll, "report-seq-of-all", "One report_seq counts the reports of all users.",
        "tape/reports", "report_seq, without gaps";
    FilledStaysOpen, "filled-stays-open", "The report of an order's last fill shows it as open.",
        "tape/reports-both-sides", "status";
    CancelAllReportsOne, "cancel-all-reports-one", "A cancel-all is one report, whatever it cancelled.",
        "tape/reports-cancel", "report of each cancelled order";
    CancelForgetsFills, "cancel-forgets-fills", "The report of a cancel shows nothing as traded.",
        "tape/reports-cancel", "filled_quantity";
    RetriesReported, "retries-reported", "The retry of a client id is reported as another acceptance.",
        "tape/reports-none", "order_id";
    NewestStreamOnly, "newest-stream-only", "A user's newest report stream silences the others.",
        "tape/reports-own", "ACCEPTED";
    ReportsRepeatOne, "reports-repeat-one", "A report stream from the past begins at the report that it should begin after.",
        "tape/reports-history", "report_seq";
    ReportsTellOrdersAsTheyStand, "reports-tell-orders-as-they-stand", "Past reports show their orders as they stand now.",
        "tape/reports-history", "the same as when they were new";
    ReportsWaitForTheFuture, "reports-wait-for-the-future", "A report stream from the future on is granted.",
        "tape/reports-future", "CANNOT_RESUME";
    HeartbeatOfTheStart, "heartbeat-of-the-start", "Heartbeats of a report stream tell the report_seq of its start.",
        "tape/reports-heartbeat", "report_seq";
    FilledByThisFill, "filled-by-this-fill", "A report's filled quantity is of its fill alone, not of the order's life.",
        "tape/reports-random-flow", "filled_quantity";
    TapeTellsBothSides, "tape-tells-both-sides", "The tape has each trade twice, for the buyer and for the seller.",
        "tape/trades", "each once";
    TapeTellsRestingSide, "tape-tells-resting-side", "The tape's aggressor is the resting side.",
        "tape/trades", "aggressor_side";
    TradeIdsByInstrument, "trade-ids-by-instrument", "Each instrument counts its own trade ids.",
        "tape/trade-ids", "trade_id above the one before";
    TapeBeginsWithThePast, "tape-begins-with-the-past", "A tape of what comes now begins with all there was.",
        "tape/trades-first", "through_trade_id";
    TapeKnowsNoStart, "tape-knows-no-start", "The first message of a tape says that it is complete from the first trade on.",
        "tape/trades-first", "through_trade_id of the first message";
    TapeRepeatsOne, "tape-repeats-one", "A tape from the past begins at the trade that it should begin after.",
        "tape/trades-history", "trades after";
    TapeLosesTheSeam, "tape-loses-the-seam", "A tape from the past loses the first trade that is new.",
        "tape/trades-history", "trades after";
    TapeOfFirstSymbol, "tape-of-first-symbol", "A tape of several instruments has the first one's trades alone.",
        "tape/trades-symbols", "symbol";
    TapeOfAllSymbols, "tape-of-all-symbols", "A tape of some instruments has all trades.",
        "tape/trades-symbols", "only trades of the instruments asked for";
    SilentTape, "silent-tape", "A tape says nothing while there are no trades.",
        "tape/trades-silent", "empty batch";
    HasMoreWhenFull, "has-more-when-full", "A page that is full is taken for one that is not the last.",
        "tape/list-trades", "has_more";
    ListRepeatsOne, "list-repeats-one", "A page of trades begins with the last trade of the page before.",
        "tape/list-trades", "trade_id";
    UnknownTradesAreNone, "unknown-trades-are-none", "An instrument that does not exist has no trades, instead of an error.",
        "tape/list-trades-unknown", "UNKNOWN_INSTRUMENT";
    TapeOfOneAnEvent, "tape-of-one-an-event", "Of an order that trades several times the tape has the first trade alone.",
        "tape/tape-complete", "trades of the tape";

    // order-types

    // limits
    OutstandingNotReleased, "outstanding-not-released", "What a cancel takes out of the book still counts as outstanding.",
        "limits/outstanding-quantity", "outstanding";

    // phases

    // races

    // precision

    // order-entry

    // clients

    // recovery
    AcknowledgedEarly, "acknowledged-early", "An order is acknowledged before it is durable.",
        "recovery/kill-under-load", "acknowledged";
    TailTwice, "tail-twice", "Recovery applies the last insert of the journal twice.",
        "recovery/kill-under-load", "that nobody sent";
    ClientIdsForgotten, "client-ids-forgotten", "A restart forgets client ids, so that a retry inserts again.",
        "recovery/kill-under-load", "the answer to the retry";
    PositionsForgotten, "positions-forgotten", "Positions begin anew with a restart.",
        "recovery/state", "positions after the restart";
    PriorityForgotten, "priority-forgotten", "After a restart the newest order at a price trades first.",
        "recovery/state", "earlier order at its price";
    CancelsNotKept, "cancels-not-kept", "Cancels are not in the journal: a restart brings the orders back.",
        "recovery/state", "the book after the restart";
    PhasesNotKept, "phases-not-kept", "A restart forgets phases: instruments are in their first one.",
        "recovery/venue", "instruments after the restart";
    SuspensionsNotKept, "suspensions-not-kept", "A restart forgets suspensions.",
        "recovery/venue", "USER_SUSPENDED";
    LimitsNotKept, "limits-not-kept", "A restart forgets risk limits.",
        "recovery/venue", "limits";
    CreationIdsNotKept, "creation-ids-not-kept", "A restart forgets the client ids of creations.",
        "recovery/venue", "DUPLICATE_SYMBOL";
    TradeIdsFromOne, "trade-ids-from-one", "A restart counts trade ids from 1 again.",
        "recovery/numbers", "trade_id after those before";
    WindowsForgotten, "windows-forgotten", "A restart empties rolling windows.",
        "recovery/limits", "rolling";
    RestartIsADisconnect, "restart-is-a-disconnect", "A restart cancels what cancel_on_disconnect guards.",
        "recovery/disconnect", "status";
    StopCancelsAll, "stop-cancels-all", "An ordered stop cancels all open orders.",
        "recovery/stop", "after the restart";
    TailCutWhileRecovering, "tail-cut-while-recovering", "A crash during recovery loses the journal's tail.",
        "recovery/kill-during-recovery", "second crash";

    // load
}
