//! Random order flow with readers of every kind that read at random moments.

use std::collections::BTreeMap;

use optivex_engine::types::{InstrumentId, Side, TradingPhase};
use optivex_proto::v1::{BookView, Delivery, ErrorReason};
use proptest::prelude::*;

use super::super::FeedSettings;
use super::super::log::SEGMENT_BYTES;
use super::receiver::{End, Held, Receiver, books};
use super::venue::Venue;

const BOOKS: u32 = 3;

#[derive(Clone, Debug)]
enum Step {
    Insert {
        user: u32,
        book: u32,
        buy: bool,
        price_e4: i64,
        quantity: i64,
    },
    Cancel(usize),
    CancelAll {
        user: u32,
        book: u32,
    },
    SetPhase(u32, TradingPhase),
    List,
    Publish,
    Tick,
    Subscribe {
        kind: usize,
        symbols: u8,
        chunk_bytes: usize,
    },
    Poll {
        reader: usize,
        max: usize,
    },
    Leave(usize),
    Resume(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let phase = prop_oneof![
        4 => Just(TradingPhase::Continuous),
        2 => Just(TradingPhase::Auction),
        1 => Just(TradingPhase::Halted),
    ];
    prop_oneof![
        40 => (0..3u32, 0..BOOKS, any::<bool>(), -6..6i64, 1..5i64).prop_map(|(user, book, buy, price_e4, quantity)| {
            Step::Insert { user, book, buy, price_e4, quantity }
        }),
        8 => any::<usize>().prop_map(Step::Cancel),
        1 => (0..3u32, 0..BOOKS).prop_map(|(user, book)| Step::CancelAll { user, book }),
        2 => (0..BOOKS, phase).prop_map(|(book, phase)| Step::SetPhase(book, phase)),
        1 => Just(Step::List),
        10 => Just(Step::Publish),
        5 => Just(Step::Tick),
        3 => (0..KINDS.len(), any::<u8>(), prop_oneof![Just(1), Just(100), Just(SEGMENT_BYTES)])
            .prop_map(|(kind, symbols, chunk_bytes)| Step::Subscribe { kind, symbols, chunk_bytes }),
        20 => (any::<usize>(), prop_oneof![0..4usize, 0..40usize, Just(usize::MAX)])
            .prop_map(|(reader, max)| Step::Poll { reader, max }),
        1 => any::<usize>().prop_map(Step::Leave),
        1 => any::<usize>().prop_map(Step::Resume),
    ]
}

const KINDS: [(BookView, i32, Delivery); 10] = [
    (BookView::PriceDepth, 0, Delivery::Lossless),
    (BookView::PriceDepth, 0, Delivery::Unspecified),
    (BookView::PriceDepth, 0, Delivery::Conflated),
    (BookView::PriceDepth, 1, Delivery::Lossless),
    (BookView::PriceDepth, 3, Delivery::Lossless),
    (BookView::PriceDepth, 3, Delivery::Conflated),
    (BookView::PriceDepth, 1_000, Delivery::Lossless),
    (BookView::PriceDepth, i32::MAX, Delivery::Conflated),
    (BookView::TopOfBook, 0, Delivery::Lossless),
    (BookView::TopOfBook, 0, Delivery::Conflated),
];

fn run(steps: &[Step], settings: &FeedSettings) {
    let mut venue = Venue::new(settings);
    for book in 0..BOOKS {
        venue.list(&format!("B{book}"), TradingPhase::Continuous);
    }
    let mut readers: Vec<Receiver> = Vec::new();
    for step in steps {
        match *step {
            Step::Insert {
                user,
                book,
                buy,
                price_e4,
                quantity,
            } => {
                let side = if buy { Side::Buy } else { Side::Sell };
                venue.insert(user, InstrumentId(book), side, price_e4, quantity);
            }
            Step::Cancel(order) => {
                venue.cancel(order);
            }
            Step::CancelAll { user, book } => {
                venue.cancel_all(user, InstrumentId(book));
            }
            Step::SetPhase(book, phase) => {
                venue.set_phase(InstrumentId(book), phase);
            }
            Step::List => {
                let count = venue.truth.len();
                if count < 6 {
                    venue.list(&format!("A{count}"), TradingPhase::Auction);
                }
            }
            Step::Publish => venue.publish(),
            Step::Tick => venue.tick(),
            Step::Subscribe {
                kind,
                symbols,
                chunk_bytes,
            } => {
                let (view, depth, delivery) = KINDS[kind];
                let mut request = books(view, depth, delivery);
                if symbols % 2 == 1 {
                    let named = (0..BOOKS).filter(|book| symbols >> (book + 1) & 1 == 1);
                    request.symbols = named.map(|book| format!("B{book}")).collect();
                    request.symbols.push("NONE".to_owned());
                }
                let mut reader = Receiver::new(&mut venue, request);
                if let Some(subscription) = &mut reader.subscription {
                    subscription.set_chunk_bytes(chunk_bytes);
                }
                readers.push(reader);
            }
            Step::Poll { reader, max } => {
                if !readers.is_empty() {
                    let at = reader % readers.len();
                    if readers[at].poll(&venue, max) == End::TooSlow {
                        readers.swap_remove(at);
                    }
                }
            }
            Step::Leave(reader) => {
                if !readers.is_empty() {
                    readers.swap_remove(reader % readers.len());
                }
            }
            Step::Resume(reader) => {
                if !readers.is_empty() {
                    let left = readers.swap_remove(reader % readers.len());
                    readers.extend(resume(&mut venue, left));
                }
            }
        }
    }
    venue.tick();
    for reader in &mut readers {
        if reader.drain(&venue) == End::Idle {
            assert!(reader.heartbeats > 0);
            assert_eq!(reader.poll(&venue, 1), End::Idle);
            reader.check_newest(&venue);
        }
    }
    assert!(readers.is_empty() || venue.unpublished.is_empty());
}

fn resume(venue: &mut Venue, left: Receiver) -> Option<Receiver> {
    let resumable = left.request.view() == BookView::PriceDepth
        && left.request.depth == 0
        && left.request.delivery() != Delivery::Conflated;
    if !resumable {
        return None;
    }
    let mut request = left.request.clone();
    request.resume_after.clear();
    let held: BTreeMap<String, Held> = left.books.clone();
    drop(left);
    let mut resumed = Receiver::resume(venue, request, held.clone());
    // The first message tells how each symbol fared.
    resumed.poll(venue, 1);
    for (symbol, reason) in &resumed.statuses {
        match reason {
            ErrorReason::CannotResume => assert!(held.contains_key(symbol)),
            ErrorReason::UnknownInstrument => assert_eq!(symbol, "NONE"),
            reason => assert_eq!(*reason, ErrorReason::Unspecified),
        }
    }
    Some(resumed)
}

/// Rings that hold everything: nobody is ever too slow, and every resume succeeds.
fn wide() -> FeedSettings {
    FeedSettings::default()
}

/// Rings of a few changes: readers fall behind all the time.
fn narrow() -> FeedSettings {
    FeedSettings {
        channel_changes_max: 16,
        ..FeedSettings::default()
    }
}

/// So few bytes in all that old changes of one book give way to new ones of another.
fn cramped() -> FeedSettings {
    FeedSettings {
        kept_bytes_max: 20_000,
        ..FeedSettings::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn readers_hold_the_truth_with_room_enough(steps in prop::collection::vec(step(), 1..800)) {
        run(&steps, &wide());
    }

    #[test]
    fn readers_hold_the_truth_with_narrow_rings(steps in prop::collection::vec(step(), 1..800)) {
        run(&steps, &narrow());
    }

    #[test]
    fn readers_hold_the_truth_with_little_memory(steps in prop::collection::vec(step(), 1..800)) {
        run(&steps, &cramped());
    }
}
