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

    // depth
    LevelsLeftAtZero, "levels-left-at-zero", "A level that emptied stays in snapshots, with quantity 0.",
        "depth/level-removed", "level";

    // tape
    FillBeforeAcceptance, "fill-before-acceptance", "An order's first fill is reported before its acceptance.",
        "tape/reports", "ACCEPTED";

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
        "order-entry/thousands-in-flight", "5,000";
    HalfCloseIsError, "half-close-is-error", "The end of a stream's commands is an error to its reader: CANCELLED.",
        "order-entry/half-close", "the stream to end with OK";
    HalfCloseDrops, "half-close-drops", "A half-close is taken for the end of the stream: what is not answered yet never is.",
        "order-entry/half-close", "the stream ended with OK";
    AnswersOfAllStreams, "answers-of-all-streams", "Answers are matched by request_id over all connections.",
        "order-entry/same-request-ids", "several streams";
    StreamForgetsSide, "stream-forgets-side", "A cancel-all on the stream takes both sides, whichever is asked for.",
        "order-entry/cancel-all", "cancelled_orders";
    StreamLooksAhead, "stream-looks-ahead", "Commands are checked as they come: one does not find the insert that is still on its way.",
        "order-entry/commands-follow-one-another", "the insert before it";
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
        "clients/stalled-conflated", "asks";
    SilenceUnnoticed, "silence-unnoticed", "There is no keepalive: a connection that fell silent is open for ever.",
        "clients/half-open", "a CANCELLED report with reason DISCONNECT";
    DisconnectIgnored, "disconnect-ignored", "cancel_on_disconnect is read, and forgotten.",
        "clients/cut", "a CANCELLED report with reason DISCONNECT";
    DisconnectToldAsUser, "disconnect-told-as-user", "Orders that a broken stream ends are told as cancelled by their user.",
        "clients/cut", "cancel_reason";
    DisconnectCancelsOlder, "disconnect-cancels-older", "A broken stream cancels orders that were there before it began, too.",
        "clients/cut", "the order that was there before the stream";
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

    // load
}
