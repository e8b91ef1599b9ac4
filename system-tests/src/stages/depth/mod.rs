//! Stage 6: price depth. A mirror kept by the contract's rule equals every later snapshot.

use crate::case::{Case, Stage};
use crate::run;

mod follower;
mod limited;
mod slow;
mod snapshots;
mod updates;

/// The stage.
#[rustfmt::skip]
pub const STAGE: Stage = Stage {
    slug: "depth",
    title: "Price depth",
    number: 6,
    core: true,
    builds_on: &["orders"],
    cases: &[
        Case::new("snapshot", "A subscription begins with a snapshot of the book: all levels, best first, with a checksum.", "info.proto BookSnapshot", run!(snapshots::first)).base(),
        Case::new("empty-book", "An empty book has book_seq 0, no levels, and the checksum of nothing.", "info.proto BookSnapshot; common.proto book_seq", run!(snapshots::empty)),
        Case::new("get-depth", "GetOrderBook gives at most so many levels a side, with the checksum over these.", "info.proto GetOrderBookRequest.depth, BookSnapshot.checksum", run!(snapshots::get_depth)),
        Case::new("get-unknown", "The book of an instrument that does not exist is UNKNOWN_INSTRUMENT.", "common.proto ERROR_REASON_UNKNOWN_INSTRUMENT", run!(snapshots::get_unknown)),
        Case::new("snapshot-event", "Everything up to a snapshot's event_seq is in it.", "info.proto BookSnapshot.event_seq", run!(snapshots::up_to_event)).within(300),

        Case::new("updates", "Every event that changes the book is one update: the new totals of the changed levels.", "info.proto BookUpdate", run!(updates::each)).base(),
        Case::new("one-event", "An order that trades through levels and rests is one update, with all its trades.", "common.proto, one event makes at most one change a book; info.proto BookUpdate.trades", run!(updates::one_event)),
        Case::new("level-removed", "A level that empties, by trade or cancel, is sent with quantity 0 and is gone from snapshots.", "common.proto PriceLevel.quantity", run!(updates::removed)),
        Case::new("no-change", "What is refused or changes no level moves no book_seq.", "common.proto book_seq", run!(updates::no_change)),
        Case::new("two-symbols", "Each book of a subscription has a book_seq of its own, without gaps.", "common.proto book_seq", run!(updates::two_symbols)),
        Case::new("all-symbols", "A subscription of all instruments has those to come, with a snapshot before the first update.", "info.proto SubscribeOrderBooksRequest.symbols", run!(updates::all_symbols)),
        Case::new("unknown-symbol", "An unknown symbol fails alone, in the order asked for.", "info.proto Subscribed.statuses", run!(updates::unknown_symbol)),
        Case::new("heartbeats", "Heartbeats come on busy and on silent streams, with book_seq and checksum of the books that changed.", "info.proto Heartbeat, BookState", run!(updates::heartbeats)),
        Case::new("random-flow", "Under a random flow a mirror equals a reference book at every book_seq, and every snapshot.", "info.proto, the rule for a subscriber of PRICE_DEPTH", run!(updates::random_flow)).within(300),

        Case::new("limited", "At a limited depth, a level that leaves the view is sent with quantity 0, one that enters it is sent whole.", "info.proto SubscribeOrderBooksRequest.depth", run!(limited::view)),
        Case::new("limited-outside", "A change outside the view is not sent, and the next update follows on what was.", "info.proto SubscribeOrderBooksRequest.depth", run!(limited::outside)),
        Case::new("limited-random-flow", "Under a random flow a mirror of limited depth equals the best levels of a reference book.", "info.proto SubscribeOrderBooksRequest.depth", run!(limited::random_flow)).within(300),

        Case::new("conflated", "A conflated subscriber that reads late gets the newest state and all trades, or a Gap.", "info.proto DELIVERY_CONFLATED", run!(slow::conflated)).within(300),
        Case::new("conflated-cancelled-out", "A conflated subscriber gets the newest book_seq even where changes cancelled out.", "info.proto DELIVERY_CONFLATED", run!(slow::cancelled_out)),
        Case::new("resume", "A subscription goes on after a book_seq with the updates that were missed, or says CANNOT_RESUME and starts with a snapshot.", "info.proto SubscribeOrderBooksRequest.resume_after", run!(slow::resume)),
        Case::new("resume-future", "A point to resume from that lies in the future is CANNOT_RESUME, and the subscription starts with a snapshot.", "common.proto ERROR_REASON_CANNOT_RESUME", run!(slow::resume_future)),
    ],
};
