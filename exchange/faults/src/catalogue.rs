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
    HealthWantsToken, "health-wants-a-token", "Health is behind the login, as everything else.",
        "boot/health", "health answers Unauthenticated";
    ReflectionForgetsService, "reflection-forgets-a-service", "Reflection does not list one of the five services.",
        "boot/reflection", "AdminService is missing";
    ReflectionDescribesNothing, "reflection-describes-nothing", "Reflection lists the services, and describes none of them.",
        "boot/reflection", "no file descriptor";
    UnknownRpcCrashes, "unknown-rpc-crashes", "A call of a method that is not there is an exception in a handler: UNKNOWN.",
        "boot/unknown-rpc", "UNIMPLEMENTED", also "login";
    UndecodableResets, "undecodable-resets", "A request that does not decode kills its handler: no status comes.",
        "boot/garbage-request", "the connection broke";
    WorkerForEachConnection, "worker-for-each-connection", "32 workers serve one connection each; more find none.",
        "boot/many-connections", "connection", also "clients";

    // login
    SecondLoginEndsFirst, "second-login-ends-the-first", "A user has one session: a second login ends the first.",
        "login/token", "the token to work";
    ExpiryInSeconds, "expiry-in-seconds", "expires_unix_ns is in seconds.",
        "login/token", "expires_unix_ns";
    PasswordTrimmed, "password-trimmed", "Blanks behind a password are not compared.",
        "login/wrong-credentials", "the login succeeded";
    UnknownUserTold, "unknown-user-told", "A wrong user name and a wrong password are answered in different words.",
        "login/wrong-credentials", "whether the name or the password is wrong";
    TapeUnguarded, "tape-unguarded", "One rpc was forgotten: ListTrades wants no token.",
        "login/no-token", "INVALID_TOKEN";
    RefusalWithoutDetails, "refusal-without-details", "A refusal has its reason in the trailer, and no google.rpc.ErrorInfo.",
        "login/no-token", "no google.rpc.ErrorInfo";
    RefusalWithoutTrailer, "refusal-without-trailer", "A refusal has its reason in the details, and not in the trailer.",
        "login/unknown-token", "no trailer optivex-reason";
    TokenForEverybody, "token-for-everybody", "Any token will do: it is taken for the newest session's.",
        "login/unknown-token", "INVALID_TOKEN";
    TokenByItsBeginning, "token-by-its-beginning", "Of a token only the first characters are compared.",
        "login/unknown-token", "INVALID_TOKEN";
    ClientByConnection, "client-by-connection", "Who a client is is remembered by its connection: the first token on it counts.",
        "login/token-is-the-client", "whatever connection";
    RoleNotNamed, "role-not-named", "MISSING_ROLE does not say which role.",
        "login/roles", "has no \"role\"";
    TradersSetLimits, "traders-set-limits", "Setting risk limits wants no more than ROLE_TRADER.",
        "login/roles", "MISSING_ROLE";
    FormBeforeRole, "form-before-role", "The form of a request is judged before the role.",
        "login/order-of-reasons", "MISSING_ROLE";
    TapeForTraders, "tape-for-traders", "ListTrades wants ROLE_TRADER.",
        "login/any-role-reads", "any role";
    LogoutKeepsToken, "logout-keeps-the-token", "Logout answers, and does nothing.",
        "login/logout", "INVALID_TOKEN";
    LogoutEndsAll, "logout-ends-all-sessions", "Logout ends all sessions of its user.",
        "login/logout", "no other";
    LogoutForgetsStreams, "logout-forgets-streams", "After a logout the token is worthless, and open streams go on.",
        "login/logout-ends-streams", "the stream did not end", also "order-entry";
    UnknownRpcWantsRole, "unknown-rpc-wants-a-role", "Roles are looked up by method before it is known whether there is one.",
        "login/unknown-rpc", "UNIMPLEMENTED";
    TokenOfTheMoment, "token-of-the-moment", "Tokens are made of the user and the time: logins at the same time share one.",
        "login/many-logins", "a token of its own";

    // instruments
    DescriptionInAscii, "description-in-ascii", "What is not ASCII in a description becomes a question mark.",
        "instruments/create", "description";
    PageSkipsOne, "page-skips-one", "Each further page begins one instrument too late.",
        "instruments/list", "is missing";
    ListedAsCreated, "listed-as-created", "Instruments are listed in the order of their creation.",
        "instruments/list", "by symbol";
    OpensContinuous, "opens-continuous", "Every instrument opens in CONTINUOUS.",
        "instruments/phases", "phase";
    BookIdsReused, "book-ids-reused", "order_book_id is the number of one of four books that are shared.",
        "instruments/identity", "order_book_id that no other";
    DuplicateOverwrites, "duplicate-overwrites", "A symbol that is taken is created again, over the first.",
        "instruments/duplicate", "DUPLICATE_SYMBOL";
    DuplicateTakenForRetry, "duplicate-taken-for-retry", "The same symbol and content is taken for a retry, without an id.",
        "instruments/duplicate", "DUPLICATE_SYMBOL";
    DescriptionInCharacters, "description-in-characters", "A description's bound is counted in characters, not in bytes.",
        "instruments/malformed", "INVALID_FIELD";
    MultiplierDefaults, "multiplier-defaults", "A multiplier of 0 is taken for 1.",
        "instruments/malformed", "INVALID_FIELD";
    EdgeExcluded, "edge-excluded", "The largest multiplier is refused.",
        "instruments/edges", "at the edge of its range";
    CreateRetryUnknown, "create-retry-unknown", "client_request_id is ignored: a retry is DUPLICATE_SYMBOL.",
        "instruments/retry", "DUPLICATE_SYMBOL";
    CreateRetryBeforeDefaults, "create-retry-before-defaults", "A retry is compared before its defaults are filled in.",
        "instruments/retry", "defaults filled in";
    CreateRetryOfSession, "create-retry-of-session", "client_request_ids are remembered by session, not by user.",
        "instruments/retry", "DUPLICATE_SYMBOL";
    CreateRetryAnyContent, "create-retry-any-content", "A client_request_id answers as the first time, whatever the content.",
        "instruments/retry-other-content", "CLIENT_ID_REUSED";
    CreateIdsOfEverybody, "create-ids-of-everybody", "client_request_ids of all users are kept together.",
        "instruments/retry-of-another-user", "CLIENT_ID_REUSED";
    BookWithFirstOrder, "book-with-first-order", "An instrument gets its book with its first order.",
        "instruments/book-exists", "UNKNOWN_INSTRUMENT";
    UnknownIsEmpty, "unknown-is-empty", "An instrument that is not there has an empty book.",
        "instruments/unknown", "UNKNOWN_INSTRUMENT";
    NewInstrumentsNotSent, "new-instruments-not-sent", "SubscribeInstruments sends nothing but the list as it was.",
        "instruments/follow", "the new instrument";
    MarkTooEarly, "mark-too-early", "The mark that all instruments were sent comes before the last of them.",
        "instruments/follow", "before the mark";
    InstrumentsWithoutHeartbeat, "instruments-without-heartbeat", "A silent SubscribeInstruments does not say that it lives.",
        "instruments/follow-heartbeat", "a heartbeat";

    // orders
    OrdersOfLevelNotCounted, "orders-of-level-not-counted", "A price level always counts one order, however many rest there.",
        "orders/rests", "bids", also "depth";
    OrderIdsReused, "order-ids-reused", "An order's id is its place in a table, given again when the order is done.",
        "orders/ids", "an order_id above the one before";
    CancelTellsInsertsEvent, "cancel-tells-inserts-event", "A cancel's answer carries the event_seq of the order's insert.",
        "orders/ids", "an event_seq above the insert's";
    OneTickTooFar, "one-tick-too-far", "An order trades also at a price that is 0.0001 worse than its limit.",
        "orders/no-cross", "do not trade";
    OrdersOfSession, "orders-of-session", "Orders belong to the session that inserted them: another one of the same user does not find them.",
        "orders/connection-lost", "belong to the user";
    BooksShareTheirPrices, "books-share-their-prices", "The first order of a book also finds the first one of another book, if it rests at exactly its price.",
        "orders/books-apart", "do not trade";
    AggressorPrice, "aggressor-price", "A trade is at the incoming order's limit.",
        "orders/resting-price", "price_e4 and quantity of the fills", also "tape";
    LimitNeedsBetter, "limit-needs-better", "An order does not trade at its limit, only at better prices.",
        "orders/limit-edge", "at its price or better";
    OldestFirst, "oldest-first", "The oldest of all orders within reach trades first, whatever its price.",
        "orders/price-priority", "better price";
    LastInFirstOut, "last-in-first-out", "At one price the newest order trades first.",
        "orders/time-priority", "the earlier order", also "order-types";
    PartialFillLosesPlace, "partial-fill-loses-place", "An order that was filled in part goes to the end of its level.",
        "orders/partial-keeps-place", "keeps its place";
    CancelledPlaceTaken, "cancelled-place-taken", "A new order takes the place in time of one that was cancelled at its price.",
        "orders/place-at-new-level", "older order's place";
    OneLevelOnly, "one-level-only", "An order trades at one price only, and its remainder rests although it crosses.",
        "orders/sweep", "the levels that it reaches";
    PricesWithoutSign, "prices-without-sign", "Prices are put in order without their sign.",
        "orders/negative-prices", "below zero", also "precision";
    LostDecrement, "lost-decrement", "A level that traded in part is shown with what it held before.",
        "orders/fills-add-up", "asks", also "top" "depth";
    OpenQuantityWhole, "open-quantity-whole", "What rests of an order that traded is told as its whole quantity.",
        "orders/sweep", "open_quantity";
    CancelNotShown, "cancel-not-shown", "A cancelled order leaves the book, and market data goes on showing it.",
        "orders/cancel", "leaves the book", also "top" "depth";
    CancelTellsWhole, "cancel-tells-whole", "A cancel tells the order's whole quantity, also where a part was filled.",
        "orders/cancel-remainder", "cancelled_quantity";
    SwapRemove, "swap-remove", "Where an order is cancelled, the last of its level takes its place.",
        "orders/cancel-in-queue", "in their places";
    DoneOrdersForgotten, "done-orders-forgotten", "An order that is done is UNKNOWN_ORDER to a cancel.",
        "orders/cancel-done", "ORDER_DONE";
    UnknownOrdersDone, "unknown-orders-done", "An order that never was is ORDER_DONE to a cancel.",
        "orders/cancel-unknown", "UNKNOWN_ORDER";
    CancelOfOthers, "cancel-of-others", "Who knows an order's id can cancel it, whoever's it is.",
        "orders/cancel-others", "Another user's order";
    CancelAllIgnoresSide, "cancel-all-ignores-side", "Cancel-all ends the orders of both sides, whatever side it names.",
        "orders/cancel-all", "side";
    CancelAllOfEverybody, "cancel-all-of-everybody", "Cancel-all by a user without orders in the instrument ends those of another.",
        "orders/cancel-all-others", "only the calling user's orders";
    EmptyCancelAllIsNoEvent, "empty-cancel-all-is-no-event", "A cancel-all that finds nothing is no event: its event_seq is 0.",
        "orders/cancel-all-others", "an event_seq above";
    PagesLoseTheirLast, "pages-lose-their-last", "Between two pages of orders one is lost.",
        "orders/list", "order_ids of all pages";
    DefaultsNotFilledIn, "defaults-not-filled-in", "An order is shown as it was sent, without the defaults.",
        "orders/list-defaults", "type", also "order-types";
    ClientIdFilterIgnored, "client-id-filter-ignored", "A list of the order with a client id is the list of all open orders.",
        "orders/list-client-id", "client id";
    IdsCountedInCharacters, "ids-counted-in-characters", "The length of a client id is counted in characters; what is over in bytes is cut off.",
        "orders/invalid-fields", "client_order_id";
    LargestQuantityRefused, "largest-quantity-refused", "A quantity of 10^9 is refused: the bound is off by one.",
        "orders/edges-accepted", "quantity", also "precision";
    PricesRounded, "prices-rounded", "A price between two ticks is rounded towards zero and taken.",
        "orders/tick", "INVALID_TICK", also "precision";
    NotionalWithoutMultiplier, "notional-without-multiplier", "The bound of price times quantity forgets the multiplier.",
        "orders/notional", "multiplier", also "precision";
    SymbolsWithoutCase, "symbols-without-case", "An order finds its instrument also by small letters.",
        "orders/unknown-instrument", "small letters";
    ClientIdBeforeTick, "client-id-before-tick", "A client id's first answer is looked up before the tick is checked.",
        "orders/first-reason", "INVALID_TICK";
    RetryInsertsAgain, "retry-inserts-again", "A retry inserts a second order while the first is open.",
        "orders/retry", "insert nothing";
    RetryOfDoneInsertsAgain, "retry-of-done-inserts-again", "A retry inserts again once the first order is done.",
        "orders/retry-done", "filled or cancelled since";
    RetryWithoutFills, "retry-without-fills", "A retry's answer has lost the fills of the first.",
        "orders/retry-trade", "fills";
    ClientIdWithoutQuantity, "client-id-without-quantity", "A retry is not compared by quantity: another one gets the first answer.",
        "orders/client-id-reused", "CLIENT_ID_REUSED";
    RefusedUsesIdUp, "refused-uses-id-up", "An insert that was refused has used its client id up.",
        "orders/refused-keeps-id", "CLIENT_ID_REUSED";
    ClientIdsOfEverybody, "client-ids-of-everybody", "Client ids are unique over all users.",
        "orders/client-id-of-user", "each user's own";
    PaidWithoutMultiplier, "paid-without-multiplier", "Cash of a trade forgets the multiplier.",
        "orders/positions", "cash_e4", also "precision";
    OpenSellsForgotten, "open-sells-forgotten", "Positions count open orders of buyers only.",
        "orders/positions-open", "open_sell_quantity";
    PositionsUnsigned, "positions-unsigned", "A short position is a large number without a sign.",
        "orders/positions-through-zero", "short", also "precision";
    FlatPositionsForgotten, "flat-positions-forgotten", "Who holds nothing has no profit: cash is 0 with the position.",
        "orders/positions-through-zero", "cash_e4";
    LargeOrdersFirst, "large-orders-first", "At one price an order of more than 30 lots trades before the others.",
        "orders/random-flow", "price-time priority";

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
        "depth/all-symbols", "snapshot of the book before its first update", also "races";
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
    AmendLessLosesPlace, "amend-less-loses-place", "An amend to less quantity moves the order to the end of its level.",
        "order-types/amend-less-keeps-priority", "keeps its priority";
    AmendSameLosesPlace, "amend-same-loses-place", "An amend that changes nothing moves the order to the end of its level.",
        "order-types/amend-same-keeps-priority", "keeps its priority";
    AmendMoreKeepsPlace, "amend-more-keeps-place", "An amend to more quantity leaves the order where it stands.",
        "order-types/amend-more-goes-behind", "behind what rests";
    AmendedPriceKeepsTime, "amended-price-keeps-time", "An order that moves to another price stands there by the time of its insert.",
        "order-types/amend-price-goes-behind", "behind what rests";
    AmendLeavesItsLevel, "amend-leaves-its-level", "Market data goes on showing the level that an amended order left empty.",
        "order-types/amend-price-goes-behind", "nothing where it was";
    AmendNeverTrades, "amend-never-trades", "An amend does not trade: the book stays crossed.",
        "order-types/amend-trades", "An amend may trade";
    AmendAddsToFilled, "amend-adds-to-filled", "The new quantity of an amend is taken as what is to remain, without what was filled.",
        "order-types/amend-total-quantity", "total";
    AmendBelowFilledRefused, "amend-below-filled-refused", "An amend to what was filled, or less, is refused.",
        "order-types/amend-ends", "what was filled";
    EndReportedAsAmended, "end-reported-as-amended", "An amend that ends the order is reported as AMENDED.",
        "order-types/amend-ends", "CANCELLED";
    FillBeforeAmended, "fill-before-amended", "The first fill of an amended order is reported before its change.",
        "order-types/amend-reports", "AMENDED";
    AmendedPriceRounded, "amended-price-rounded", "An amend's price between two ticks is rounded and taken.",
        "order-types/amend-refusals", "INVALID_TICK";
    AmendOfOthers, "amend-of-others", "Who knows an order's id can amend it, whoever's it is.",
        "order-types/amend-client-id", "only by its user";
    ImmediateRests, "immediate-rests", "The remainder of an IMMEDIATE_OR_CANCEL order rests.",
        "order-types/ioc", "remainder";
    FillOrKillFillsPartly, "fill-or-kill-fills-partly", "A FILL_OR_KILL order trades what it can.",
        "order-types/fok", "CANNOT_FILL";
    FillOrKillLooksTooFar, "fill-or-kill-looks-too-far", "FILL_OR_KILL counts all that rests on the other side, also beyond its price.",
        "order-types/fok", "CANNOT_FILL";
    OwnOrdersFill, "own-orders-fill", "FILL_OR_KILL counts the user's own orders.",
        "order-types/fok-own-orders", "own orders do not count";
    MarketRests, "market-rests", "A MARKET order is a limit order at the worst price of the other side, and its remainder rests.",
        "order-types/market", "never rests";
    MarketNotBelowZero, "market-not-below-zero", "A MARKET order to sell takes 0 for its limit.",
        "order-types/market-negative-prices", "negative prices";
    MarketPriceIgnored, "market-price-ignored", "A MARKET order with a price is taken without it.",
        "order-types/market-form", "price_e4";
    MarketMayRest, "market-may-rest", "A MARKET order that asks to rest is taken as IMMEDIATE_OR_CANCEL.",
        "order-types/market-form", "GOOD_TILL_CANCELLED";
    MarketShownAsResting, "market-shown-as-resting", "A MARKET order is shown with the default of limit orders, GOOD_TILL_CANCELLED.",
        "order-types/defaults", "time_in_force";
    RetryComparedAsSent, "retry-compared-as-sent", "A retry that spells a default out is another content.",
        "order-types/retry-of-trade", "CLIENT_ID_REUSED", also "orders";
    ClientIdWithoutTerms, "client-id-without-terms", "A retry is not compared by time in force, post-only and self-trade prevention.",
        "order-types/retry-of-trade", "CLIENT_ID_REUSED";
    PostOnlyIgnored, "post-only-ignored", "A post-only order trades as any other.",
        "order-types/post-only", "WOULD_CROSS";
    PostOnlyTradesAtTouch, "post-only-trades-at-touch", "A post-only order at the best price of the other side trades: only a better one is a cross.",
        "order-types/post-only", "WOULD_CROSS";
    PostOnlyMissesOwn, "post-only-misses-own", "A post-only order that meets the user's own first is left to self-trade prevention.",
        "order-types/post-only-own-orders", "own orders";
    AmendForgetsPostOnly, "amend-forgets-post-only", "A post-only order that is amended may trade.",
        "order-types/post-only-amend", "WOULD_CROSS";
    PostOnlyFormIgnored, "post-only-form-ignored", "post_only of an order that may not rest is ignored.",
        "order-types/post-only-form", "orders that may rest";
    SelfTrades, "self-trades", "A user's orders trade with one another.",
        "order-types/stp-cancel-incoming", "the incoming order's remainder is cancelled";
    SelfTradeDefaultIsResting, "self-trade-default-is-resting", "Without a choice, self-trade prevention cancels the resting order.",
        "order-types/stp-cancel-incoming", "the default";
    CancelRestingEndsBoth, "cancel-resting-ends-both", "CANCEL_RESTING ends the incoming order too.",
        "order-types/stp-cancel-resting", "matching goes on";
    CancelBothEndsOne, "cancel-both-ends-one", "CANCEL_BOTH leaves the resting order.",
        "order-types/stp-cancel-both", "CANCEL_BOTH";
    RestingChoiceCounts, "resting-choice-counts", "Of two choices against self-trades that of the resting order counts.",
        "order-types/stp-incoming-choice", "The incoming order's choice counts";
    AmendForgetsSelfTradeChoice, "amend-forgets-self-trade-choice", "An amended order has the default choice against self-trades.",
        "order-types/stp-amend", "choice of its insert";
    SelfTradesOverSessions, "self-trades-over-sessions", "Self-trades are prevented within a session only.",
        "order-types/stp-other-sessions", "whatever session";
    SelfTradeSkipsNext, "self-trade-skips-next", "After self-trade prevention cancelled a resting order, the next of its level is passed over.",
        "order-types/random-flow", "Any sequence";

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
    AmendsUncounted, "amends-uncounted", "An amend is no message.",
        "risk/message-rate-types", "amends are messages";
    LimitsBeforeTheBook, "limits-before-the-book", "Limits are judged before what an order asks of the book.",
        "risk/order-of-judgement-types", "Limits are judged after";
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
    PricesInFloat, "prices-in-float", "Prices are kept as floating-point numbers of 32 bits.",
        "precision/four-decimals", "price";
    PaidWithoutSign, "paid-without-sign", "Who buys at a negative price pays, instead of being paid.",
        "precision/negative-prices", "cash_e4", also "orders";
    ZeroPriceIsMarket, "zero-price-is-market", "A limit order at 0 trades at any price.",
        "precision/zero-price", "Zero is a price";
    PricesClamped, "prices-clamped", "A price past its bound is taken as the bound.",
        "precision/price-bound", "INVALID_FIELD", also "orders";
    QuantitiesIn32Bits, "quantities-in-32-bits", "A quantity is cut to 32 bits.",
        "precision/quantity-bound", "quantity";
    NotionalWraps, "notional-wraps", "The bound of price times quantity times multiplier is checked in 64 bits, which overflow.",
        "precision/notional-bound", "overflow", also "orders";
    TickUncheckedBelowZero, "tick-unchecked-below-zero", "Below zero a price may lie between two ticks.",
        "precision/tick-edges", "INVALID_TICK", also "orders";
    ZeroMultiplierIsOne, "zero-multiplier-is-one", "A multiplier of 0 is taken as 1.",
        "precision/instrument-bounds", "multiplier";
    LevelsIn32Bits, "levels-in-32-bits", "The sum of what rests at a price has 32 bits.",
        "precision/sums-beyond-32-bits", "bids";
    CashInFloat, "cash-in-float", "Cash is kept as a floating-point number.",
        "precision/cash-beyond-53-bits", "cash_e4";
    ValuesWrap, "values-wrap", "A value that leaves int64 comes back at its other end.",
        "precision/values-stop-at-their-ends", "market_value_e4";
    AggressorPaysItsLimit, "aggressor-pays-its-limit", "Each side of a trade pays or receives its own limit, not the price of the trade.",
        "precision/positions-exact", "cash_e4", also "orders";
    LargeBooksCut, "large-books-cut", "A book is told with its first 1,000 levels only.",
        "precision/ten-thousand-levels", "the first wrong bid";

    // order-entry
    StreamKnowsNoAmend, "stream-knows-no-amend", "The stream takes inserts and cancels, and no amends.",
        "order-entry/every-command", "result amend";
    RefusalsOvertake, "refusals-overtake", "A refusal is sent at once, before answers that wait for the disk.",
        "order-entry/answers-in-order", "request_id";
    StreamCodeIsReason, "stream-code-is-reason", "CommandError.code is the number of the reason.",
        "order-entry/refusals-as-unary", "code";
    StreamForgetsRetry, "stream-forgets-retry", "CommandError does not say when to retry.",
        "order-entry/refusals-as-unary", "whether to retry later";
    StreamQueueDrops, "stream-queue-drops", "A stream's queue loses the command that comes when it grows.",
        "order-entry/thousands-in-flight", "request_id of answer 1025";
    HalfCloseIsError, "half-close-is-error", "The end of a stream's commands is an error to its reader: CANCELLED.",
        "order-entry/half-close", "the stream to end with OK";
    HalfCloseDrops, "half-close-drops", "A half-close is taken for the end of the stream: what is not answered yet never is.",
        "order-entry/half-close", "the stream ended with OK";
    AnswersOfAllStreams, "answers-of-all-streams", "Answers are matched by request_id over all connections.",
        "order-entry/same-request-ids", "several streams";
    StreamForgetsSide, "stream-forgets-side", "A cancel-all on the stream takes both sides, whichever is asked for.",
        "order-entry/cancel-all", "cancelled_orders";
    StreamCancelsACopy, "stream-cancels-a-copy", "A cancel on the stream tells what the insert left open, whatever changed the order since.",
        "order-entry/in-flight-together", "cancelled";
    StreamClientIdsApart, "stream-client-ids-apart", "Each stream keeps client ids of its own.",
        "order-entry/mixed-with-unary", "the answer to the retry";
    StreamEndCancels, "stream-end-cancels", "When a stream breaks, its user's orders are cancelled.",
        "order-entry/broken-stream", "open orders";
    StreamRoleOfCommands, "stream-role-of-commands", "The role is judged command by command, and the stream goes on.",
        "order-entry/wants-trader", "the stream to be refused";
    LogoutCancels, "logout-cancels", "Logout cancels the orders of its user.",
        "order-entry/logout-ends-it", "status";

    // clients
    BroadcastUnderLock, "broadcast-under-lock", "Readers of a book are sent to one after the other: one that does not read holds up all.",
        "clients/stalled-lossless", "by a subscriber that reads";
    MergedKeepsOneLevel, "merged-keeps-one-level", "Of changes that were merged, one level a side is sent.",
        "clients/stalled-conflated", "checksum";
    SilenceUnnoticed, "silence-unnoticed", "There is no keepalive: a connection that fell silent is open for ever.",
        "clients/half-open", "a CANCELLED report with reason DISCONNECT";
    DisconnectIgnored, "disconnect-ignored", "cancel_on_disconnect is read, and forgotten.",
        "clients/cut", "a CANCELLED report with reason DISCONNECT";
    DisconnectToldAsUser, "disconnect-told-as-user", "Orders that a broken stream ends are told as cancelled by their user.",
        "clients/cut", "cancel_reason";
    DisconnectCancelsOlder, "disconnect-cancels-older", "A broken stream cancels orders that were there before it began, too.",
        "clients/cut", "since it began";
    LogoutIsDisconnect, "logout-is-disconnect", "A report stream that a logout ended counts as broken.",
        "clients/logged-out", "until its session logged out";
    SubscribersBounded, "subscribers-bounded", "500 subscribers are all that there can be.",
        "clients/many-subscribers", "CAPACITY";
    SubscriptionsLeak, "subscriptions-leak", "Subscriptions that ended still count: a user has 1,000 in all.",
        "clients/come-and-go", "CAPACITY";
    GarbageEndsAccepting, "garbage-ends-accepting", "Whoever accepts connections dies of one whose first bytes are no HTTP/2.",
        "clients/garbage-bytes", "a login";
    AcceptWaits, "accept-waits", "The next connection is accepted when the last one has said something.",
        "clients/idle-connections", "a login";
    OversizedTruncated, "oversized-truncated", "A client id that is too long is cut off.",
        "clients/oversized", "the insert succeeded";
    AbandonedForgotten, "abandoned-forgotten", "The client id of an insert that its client gave up is forgotten, and not the order.",
        "clients/abandoned", "open orders";

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
    BusyExchangeLosesOrders, "busy-exchange-loses-orders", "With many inserts under way some are acknowledged and then lost.",
        "load/calls", "acknowledged";
    BusyStreamLosesOrders, "busy-stream-loses-orders", "With many commands unanswered some inserts are acknowledged and then lost.",
        "load/stream", "acknowledged", also "order-entry";
}
