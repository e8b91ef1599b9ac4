//! Stage 7: the tape, and execution reports.

use crate::case::{Case, Stage};
use crate::run;

mod reports;
mod trades;

/// The stage.
#[rustfmt::skip]
pub const STAGE: Stage = Stage {
    slug: "tape",
    title: "Tape and execution reports",
    number: 7,
    core: true,
    builds_on: &["orders"],
    cases: &[
        Case::new("reports", "Everything that happens to a user's orders is reported: accepted before its fills, in the order it happened.", "execution.proto EXECUTION_KIND_ACCEPTED, ExecutionReport", run!(reports::order)).base(),
        Case::new("reports-both-sides", "A fill is reported to both users, with the order afterwards and who was the incoming one.", "execution.proto ExecutionReport.aggressor", run!(reports::both_sides)),
        Case::new("reports-cancel", "A cancel is reported with what remained untraded, and cancel-all reports each order.", "execution.proto EXECUTION_KIND_CANCELLED", run!(reports::cancels)),
        Case::new("reports-none", "What is refused, and the retry of a client id, is not reported.", "execution.proto ExecutionReport; common.proto event_seq", run!(reports::none)),
        Case::new("reports-own", "A user's reports are of its own orders only, in every session.", "execution.proto ExecutionService", run!(reports::own)),
        Case::new("reports-history", "Reports are told from any report_seq on, the same as when they were new.", "execution.proto SubscribeExecutionReportsRequest.after_report_seq", run!(reports::history)),
        Case::new("reports-future", "A report_seq that lies in the future is CANNOT_RESUME.", "common.proto ERROR_REASON_CANNOT_RESUME", run!(reports::future)),
        Case::new("reports-heartbeat", "When nothing was sent for a second, a heartbeat tells the last report_seq.", "execution.proto heartbeat_report_seq", run!(reports::heartbeat)),
        Case::new("reports-random-flow", "Under a random flow every user's reports, put together, give its orders as they stand.", "execution.proto ExecutionReport.order", run!(reports::random_flow)).within(300),

        Case::new("trades", "The tape has every trade once, as everybody sees it.", "common.proto Trade", run!(trades::live)).base(),
        Case::new("trade-ids", "Trade ids are unique over all instruments and increase.", "common.proto Trade.trade_id", run!(trades::ids)),
        Case::new("trades-first", "The first message of a tape is empty and tells from where on it is complete.", "info.proto SubscribeTradesResponse", run!(trades::first)),
        Case::new("trades-history", "A tape from a past trade on has all after it, those to come included.", "info.proto SubscribeTradesRequest.after_trade_id", run!(trades::history)),
        Case::new("trades-symbols", "A tape of some instruments has their trades alone; a tape of none named has all.", "info.proto SubscribeTradesRequest.symbols", run!(trades::symbols)),
        Case::new("trades-silent", "When there was no trade for a second, an empty batch tells that the tape is complete.", "info.proto SubscribeTradesResponse.through_trade_id", run!(trades::silent)),
        Case::new("list-trades", "Past trades are listed oldest first, page by page, and has_more tells whether there are more.", "info.proto ListTradesRequest, ListTradesResponse", run!(trades::pages)),
        Case::new("list-trades-unknown", "The trades of an instrument that does not exist are UNKNOWN_INSTRUMENT.", "common.proto ERROR_REASON_UNKNOWN_INSTRUMENT", run!(trades::unknown)),
        Case::new("tape-complete", "While users trade at the same time, the tape, the list and their fills are the same trades.", "info.proto SubscribeTrades; execution.proto Fill", run!(trades::complete)).within(300),
    ],
};
