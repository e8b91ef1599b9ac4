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

    // precision

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

    // load
}
