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

    // limits
    OutstandingNotReleased, "outstanding-not-released", "What a cancel takes out of the book still counts as outstanding.",
        "limits/outstanding-quantity", "outstanding";

    // phases

    // races

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

    // clients

    // recovery
    AcknowledgedEarly, "acknowledged-early", "An order is acknowledged before it is durable.",
        "recovery/kill-under-load", "acknowledged";

    // load
}
