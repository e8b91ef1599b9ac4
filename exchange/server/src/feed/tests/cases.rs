//! Single promises, one by one.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use expect_test::{Expect, expect};
use optivex_engine::types::{InstrumentId, Side, TradingPhase, UserId};
use optivex_proto::v1::subscribe_order_books_response::Event;
use optivex_proto::v1::{self, BookView, Delivery, ErrorReason};

use super::super::instruments::NEWS_MAX;
use super::super::log::SEGMENT_BYTES;
use super::super::tail::CONFLATED_TRADES_MAX;
use super::super::{Feed, FeedSettings, Frame, InstrumentsSubscription, Next, Subscription};
use super::receiver::{End, Receiver, books};
use super::venue::Venue;

const DEPTH: BookView = BookView::PriceDepth;
const ABC: InstrumentId = InstrumentId(0);

fn venue(settings: &FeedSettings) -> Venue {
    let mut venue = Venue::new(settings);
    venue.list("ABC", TradingPhase::Continuous);
    venue
}

fn narrow(channel_changes_max: usize) -> FeedSettings {
    FeedSettings {
        channel_changes_max,
        ..FeedSettings::default()
    }
}

/// So many changes of ABC, each of one level, without trades.
fn change(venue: &mut Venue, times: usize) {
    for _ in 0..times {
        assert!(venue.insert(0, ABC, Side::Buy, 100, 1));
    }
    venue.publish();
}

fn trade(venue: &mut Venue, times: usize) {
    for _ in 0..times {
        assert!(venue.insert(0, ABC, Side::Buy, 100, 1));
        assert!(venue.insert(1, ABC, Side::Sell, 100, 1));
    }
    venue.publish();
}

fn frame(subscription: &mut Subscription) -> Frame {
    subscription.set_chunk_bytes(1);
    match subscription.read() {
        Next::Frame(frame) => frame,
        other => panic!("{other:?}"),
    }
}

/// The next message.
fn message(subscription: &mut Subscription) -> Event {
    let mut events = frame(subscription).decode();
    assert_eq!(events.len(), 1);
    events.remove(0)
}

/// What a reader is sent, on a line a message.
fn told(subscription: &mut Subscription) -> String {
    let levels = |levels: &[v1::PriceLevel]| {
        let levels = levels
            .iter()
            .map(|level| format!("{}x{}/{}", level.price_e4, level.quantity, level.order_count));
        levels.collect::<Vec<_>>().join(" ")
    };
    let mut lines = String::new();
    subscription.set_chunk_bytes(1);
    loop {
        let line = match subscription.read() {
            Next::Idle => return lines,
            Next::Ended(error) => format!("ended {:?}", error.reason),
            Next::Frame(frame) => match frame.decode().remove(0) {
                Event::Subscribed(_) => continue,
                Event::Snapshot(book) => {
                    format!("{} [{}|{}]", book.book_seq, levels(&book.bids), levels(&book.asks))
                }
                Event::Update(update) => format!(
                    "{}>{} [{}|{}] trades {:?}",
                    update.prev_book_seq,
                    update.book_seq,
                    levels(&update.bids),
                    levels(&update.asks),
                    update.trades.iter().map(|trade| trade.trade_id).collect::<Vec<_>>(),
                ),
                Event::TopOfBook(top) => format!(
                    "{} top [{}|{}]",
                    top.book_seq,
                    levels(top.bid.as_slice()),
                    levels(top.ask.as_slice())
                ),
                Event::Heartbeat(heartbeat) => format!(
                    "heartbeat {} {:?}",
                    heartbeat.event_seq,
                    heartbeat
                        .books
                        .iter()
                        .map(|book| (book.symbol.as_str(), book.book_seq))
                        .collect::<Vec<_>>()
                ),
                Event::Gap(gap) => format!("gap {}..{}", gap.after_book_seq, gap.through_book_seq),
            },
        };
        lines += &line;
        lines += "\n";
        if line.starts_with("ended") {
            return lines;
        }
    }
}

#[test]
fn levels_enter_and_leave_a_limited_view() {
    let mut venue = venue(&FeedSettings::default());
    for price in [100, 98, 96, 94] {
        venue.insert(0, ABC, Side::Buy, price, 10);
    }
    let mut reader = venue
        .subscribe(&books(DEPTH, 2, Delivery::Lossless))
        .expect("a good request");
    let check = |venue: &mut Venue, reader: &mut Subscription, expected: Expect| {
        venue.publish();
        expected.assert_eq(&told(reader));
    };
    check(
        &mut venue,
        &mut reader,
        expect![[r#"
        4 [100x10/1 98x10/1|]
    "#]],
    );
    // Outside the view: not sent.
    venue.insert(0, ABC, Side::Buy, 90, 1);
    check(&mut venue, &mut reader, expect![[r#""#]]);
    // One enters at the top, one leaves; the chain skips what was not sent.
    venue.insert(0, ABC, Side::Buy, 101, 1);
    check(
        &mut venue,
        &mut reader,
        expect![[r#"
            4>6 [101x1/1 98x0/0|] trades []
        "#]],
    );
    // The best two trade away: the next two enter whole.
    venue.insert(1, ABC, Side::Sell, 100, 11);
    check(
        &mut venue,
        &mut reader,
        expect![[r#"
        6>7 [101x0/0 100x0/0 98x10/1 96x10/1|] trades [1, 2]
    "#]],
    );
    venue.cancel_all(0, ABC);
    check(
        &mut venue,
        &mut reader,
        expect![[r#"
        7>8 [98x0/0 96x0/0|] trades []
    "#]],
    );
}

/// A snapshot newer than the last change of its view: the chain holds for it, and for older readers.
#[test]
fn the_chain_of_a_view_starts_at_each_readers_snapshot() {
    let mut venue = venue(&FeedSettings::default());
    venue.insert(0, ABC, Side::Buy, 100, 1);
    let request = books(DEPTH, 1, Delivery::Lossless);
    let mut old = venue.subscribe(&request).expect("a good request");
    expect![[r#"
        1 [100x1/1|]
    "#]]
    .assert_eq(&told(&mut old));
    venue.insert(0, ABC, Side::Buy, 90, 1);
    let mut new = venue.subscribe(&request).expect("a good request");
    expect![[r#"
        2 [100x1/1|]
    "#]]
    .assert_eq(&told(&mut new));
    venue.insert(0, ABC, Side::Buy, 100, 1);
    venue.publish();
    expect![[r#"
        1>3 [100x2/2|] trades []
    "#]]
    .assert_eq(&told(&mut old));
    expect![[r#"
        2>3 [100x2/2|] trades []
    "#]]
    .assert_eq(&told(&mut new));
}

#[test]
fn what_cancels_out_is_told_to_conflated_readers() {
    let mut venue = venue(&FeedSettings::default());
    let mut depth = venue
        .subscribe(&books(DEPTH, 0, Delivery::Conflated))
        .expect("a good request");
    let mut top = venue
        .subscribe(&books(BookView::TopOfBook, 0, Delivery::Conflated))
        .expect("a good request");
    told(&mut depth);
    told(&mut top);
    venue.insert(0, ABC, Side::Buy, 100, 1);
    venue.cancel_all(0, ABC);
    venue.publish();
    expect![[r#"
        0>2 [100x0/0|] trades []
    "#]]
    .assert_eq(&told(&mut depth));
    expect![[r#"
        2 top [|]
    "#]]
    .assert_eq(&told(&mut top));
}

#[test]
fn a_lossless_reader_may_be_as_far_behind_as_the_settings_say() {
    for (changes, is_too_slow) in [(64, false), (65, true)] {
        let mut venue = venue(&narrow(64));
        let mut reader = Receiver::new(&mut venue, books(DEPTH, 0, Delivery::Lossless));
        assert_eq!(reader.drain(&venue), End::Idle);
        change(&mut venue, changes);
        let expected = if is_too_slow { End::TooSlow } else { End::Idle };
        assert_eq!(reader.drain(&venue), expected, "{changes} changes");
    }
}

#[test]
fn too_slow_is_the_last_word() {
    let mut venue = venue(&narrow(8));
    let mut reader = venue
        .subscribe(&books(DEPTH, 0, Delivery::Lossless))
        .expect("a good request");
    told(&mut reader);
    change(&mut venue, 9);
    for _ in 0..3 {
        expect![[r#"
            ended TooSlow
        "#]]
        .assert_eq(&told(&mut reader));
        venue.tick();
    }
}

#[test]
fn changes_beyond_the_ring_come_merged_without_a_gap() {
    let mut venue = venue(&narrow(16));
    let mut reader = Receiver::new(&mut venue, books(DEPTH, 0, Delivery::Conflated));
    assert_eq!(reader.drain(&venue), End::Idle);
    for _ in 0..20 {
        change(&mut venue, 50);
        venue.cancel_all(0, ABC);
        trade(&mut venue, 5);
        venue.tick();
    }
    assert_eq!(reader.drain(&venue), End::Idle);
    reader.check_newest(&venue);
    assert_eq!((reader.gaps, reader.updates), (0, 1));
    assert_eq!(reader.books["ABC"].trades.len(), 100);
}

#[test]
fn ten_thousand_trades_are_kept_for_a_conflated_reader_and_no_more() {
    for settings in [FeedSettings::default(), narrow(100)] {
        for (trades, gaps) in [(CONFLATED_TRADES_MAX, 0), (CONFLATED_TRADES_MAX + 1, 1)] {
            let mut venue = venue(&settings);
            let mut reader = Receiver::new(&mut venue, books(DEPTH, 0, Delivery::Conflated));
            let mut awake = Receiver::new(&mut venue, books(DEPTH, 0, Delivery::Conflated));
            assert_eq!(reader.drain(&venue), End::Idle);
            for _ in 0..10 {
                trade(&mut venue, trades / 10);
                assert_eq!(awake.drain(&venue), End::Idle);
            }
            trade(&mut venue, trades % 10);
            assert_eq!(reader.drain(&venue), End::Idle);
            reader.check_newest(&venue);
            assert_eq!((reader.gaps, awake.gaps), (gaps, 0), "{trades} trades");
        }
    }
}

#[test]
fn a_resume_goes_on_exactly_where_it_left_or_says_that_it_cannot() {
    let mut venue = venue(&narrow(16));
    change(&mut venue, 40);
    // Evicted by an eighth at a time: between 14 and 16 changes are kept.
    for book_seq in 0..=42 {
        let mut request = books(DEPTH, 0, Delivery::Lossless);
        request.resume_after = vec![v1::BookCursor {
            symbol: "ABC".to_owned(),
            book_seq,
        }];
        let mut reader = venue.subscribe(&request).expect("a good request");
        let Event::Subscribed(subscribed) = message(&mut reader) else {
            panic!("the first message")
        };
        let reason = subscribed.statuses[0].reason();
        match book_seq {
            0..=23 | 41.. => assert_eq!(reason, ErrorReason::CannotResume, "{book_seq}"),
            26..=40 => assert_eq!(reason, ErrorReason::Unspecified, "{book_seq}"),
            _ => {}
        }
        if reason == ErrorReason::CannotResume {
            assert!(matches!(message(&mut reader), Event::Snapshot(_)));
            continue;
        }
        for next in book_seq + 1..=40 {
            let Event::Update(update) = message(&mut reader) else {
                panic!("an update")
            };
            assert_eq!((update.prev_book_seq, update.book_seq), (next - 1, next));
        }
        assert!(matches!(reader.read(), Next::Idle));
    }
}

#[test]
fn a_heartbeat_each_interval_and_one_for_many_when_the_reader_sleeps() {
    let mut venue = venue(&FeedSettings::default());
    let mut reader = venue
        .subscribe(&books(DEPTH, 0, Delivery::Lossless))
        .expect("a good request");
    venue.tick();
    expect![[r#"
        0 [|]
        heartbeat 4 [("ABC", 0)]
    "#]]
    .assert_eq(&told(&mut reader));
    venue.tick();
    expect![[r#"
        heartbeat 4 []
    "#]]
    .assert_eq(&told(&mut reader));
    change(&mut venue, 1);
    venue.tick();
    change(&mut venue, 1);
    venue.tick();
    change(&mut venue, 1);
    expect![[r#"
        0>1 [100x1/1|] trades []
        1>2 [100x2/2|] trades []
        heartbeat 6 [("ABC", 2)]
        2>3 [100x3/3|] trades []
    "#]]
    .assert_eq(&told(&mut reader));
}

/// Who is behind is sent what is kept, not a copy of it.
#[test]
fn readers_of_the_same_changes_share_their_bytes() {
    let mut venue = venue(&FeedSettings::default());
    let request = books(DEPTH, 0, Delivery::Lossless);
    let mut readers = [(); 3].map(|()| venue.subscribe(&request).expect("a good request"));
    for reader in &mut readers {
        told(reader);
        reader.set_chunk_bytes(SEGMENT_BYTES);
    }
    change(&mut venue, 2_000);
    let frame = |reader: &mut Subscription| match reader.read() {
        Next::Frame(frame) => frame,
        other => panic!("{other:?}"),
    };
    let [first, others @ ..] = readers.each_mut().map(frame);
    assert!(first.decode().len() > 100);
    for other in others {
        assert!(first.shares_bytes_with(&other));
    }
}

#[test]
fn what_is_kept_is_bounded_whatever_readers_do() {
    let settings = FeedSettings {
        kept_bytes_max: 200_000,
        ..FeedSettings::default()
    };
    let mut venue = Venue::new(&settings);
    for book in 0..20 {
        venue.list(&format!("B{book}"), TradingPhase::Continuous);
    }
    let kinds = [
        books(DEPTH, 0, Delivery::Lossless),
        books(DEPTH, 0, Delivery::Conflated),
        books(DEPTH, 3, Delivery::Conflated),
        books(BookView::TopOfBook, 0, Delivery::Lossless),
    ];
    let mut readers = kinds.map(|request| Receiver::new(&mut venue, request));
    for reader in &mut readers {
        assert_eq!(reader.drain(&venue), End::Idle);
    }
    for round in 0..5_000 {
        let book = InstrumentId(round % 20);
        venue.insert(round % 3, book, Side::Buy, i64::from(round), 1);
        venue.insert(1, book, Side::Sell, i64::from(round / 2), 1);
        venue.publish();
        assert!(venue.hub.kept_bytes() <= settings.kept_bytes_max);
    }
    drop(readers);
    venue.publish();
    // Only the whole books are kept now, for those who resume.
    assert_eq!(venue.hub.channels(), 20);
}

#[test]
fn a_new_writer_shows_what_the_engine_has() {
    let mut venue = venue(&FeedSettings::default());
    venue.list("XYZ", TradingPhase::Auction);
    trade(&mut venue, 3);
    for price in [90, 95] {
        venue.insert(0, InstrumentId(1), Side::Buy, price, 2);
        venue.insert(1, InstrumentId(1), Side::Sell, price - 1, 1);
    }
    venue.set_phase(ABC, TradingPhase::Halted);
    let (feed, mut hub, turns) = Feed::new(&FeedSettings::default());
    hub.seed(&venue.engine);
    // What it holds already is not applied again.
    hub.apply(&venue.unpublished);
    assert_eq!(hub.event_seq(), venue.engine.event_seq());
    assert_eq!(hub.last_trade_id(), venue.engine.last_trade_id());
    assert_eq!(
        feed.progress().applied.load(Ordering::Relaxed),
        venue.engine.event_seq()
    );
    venue.publish();
    let instruments = |hub: &super::super::hub::Hub| hub.instruments_after(None).cloned().collect::<Vec<Arc<_>>>();
    assert_eq!(instruments(&hub), instruments(&venue.hub));
    // From here on it is as good as the old one.
    std::mem::swap(&mut venue.hub, &mut hub);
    venue.feed = feed;
    let mut readers: Vec<_> = [(DEPTH, 0), (DEPTH, 1), (BookView::TopOfBook, 0)]
        .map(|(view, depth)| Receiver::new(&mut venue, books(view, depth, Delivery::Lossless)))
        .into();
    venue.set_phase(InstrumentId(1), TradingPhase::Continuous);
    venue.tick();
    for reader in &mut readers {
        assert_eq!(reader.drain(&venue), End::Idle);
        reader.check_newest(&venue);
    }
    drop(readers);
    drop(turns);
}

#[test]
fn a_book_has_so_many_views_and_no_more() {
    let mut settings = FeedSettings::default();
    settings.subscriptions.views_per_book_max = 2;
    let mut venue = venue(&settings);
    let mut open = Vec::new();
    for (depth, expected) in [
        (1, ErrorReason::Unspecified),
        (2, ErrorReason::Unspecified),
        (3, ErrorReason::Capacity),
        (1, ErrorReason::Unspecified),
        (0, ErrorReason::Unspecified),
    ] {
        let mut reader = venue
            .subscribe(&books(DEPTH, depth, Delivery::Lossless))
            .expect("a good request");
        let Event::Subscribed(subscribed) = message(&mut reader) else {
            panic!("the first message")
        };
        assert_eq!(subscribed.statuses[0].reason(), expected, "depth {depth}");
        open.push(reader);
    }
}

#[tokio::test]
async fn who_misses_news_of_instruments_is_too_slow() {
    for (changes, is_too_slow) in [(NEWS_MAX, false), (NEWS_MAX + 1, true)] {
        let mut venue = venue(&FeedSettings::default());
        venue.publish();
        let place = venue.feed.take_place(UserId(0), "instruments").expect("room");
        let (news, progress) = (Arc::clone(&venue.feed.0.news), Arc::clone(&venue.feed.0.progress));
        let listed = venue.hub.instruments_after(None).cloned().collect();
        let cursor = news.head();
        let mut reader = InstrumentsSubscription::new(news, progress, listed, 4, cursor, place);
        reader.next().await.expect("ABC");
        reader.next().await.expect("the mark");
        for change in 0..changes {
            let phase = if change % 2 == 0 {
                TradingPhase::Halted
            } else {
                TradingPhase::Continuous
            };
            venue.set_phase(ABC, phase);
        }
        venue.publish();
        if is_too_slow {
            assert_eq!(
                reader.next().await.map_err(|error| error.reason),
                Err(ErrorReason::TooSlow)
            );
        } else {
            for _ in 0..changes {
                reader.next().await.expect("all the news");
            }
        }
    }
}

/// Trades of one event of which not all are kept.
#[test]
fn a_trade_that_is_not_kept_is_a_gap_even_if_its_neighbours_are() {
    for (trades, gaps) in [(CONFLATED_TRADES_MAX - 3, 0), (CONFLATED_TRADES_MAX - 2, 1)] {
        let mut venue = venue(&narrow(16));
        for _ in 0..3 {
            venue.insert(0, ABC, Side::Buy, 100, 1);
        }
        let mut reader = Receiver::new(&mut venue, books(DEPTH, 0, Delivery::Conflated));
        assert_eq!(reader.drain(&venue), End::Idle);
        venue.insert(1, ABC, Side::Sell, 100, 3);
        trade(&mut venue, trades);
        // Nothing in the ring but changes without trades.
        change(&mut venue, 20);
        assert_eq!(reader.drain(&venue), End::Idle);
        reader.check_newest(&venue);
        assert_eq!(reader.gaps, gaps, "3 and {trades} trades");
    }
}

/// Changes that nobody followed have no checksum of their own.
#[test]
fn who_resumes_gets_a_checksum_of_what_nobody_followed() {
    let mut venue = venue(&FeedSettings::default());
    let request = books(DEPTH, 0, Delivery::Lossless);
    let mut reader = Receiver::new(&mut venue, request.clone());
    assert_eq!(reader.drain(&venue), End::Idle);
    let held = std::mem::take(&mut reader.books);
    drop(reader);
    change(&mut venue, 3);
    venue.tick();
    let mut reader = Receiver::resume(&mut venue, request, held);
    venue.tick();
    assert_eq!(reader.drain(&venue), End::Idle);
    reader.check_newest(&venue);
    assert_eq!((reader.updates, reader.heartbeats), (3, 1));
}

#[test]
fn who_is_welcomed_to_a_new_book_may_be_faster_than_the_writer() {
    let mut venue = Venue::new(&FeedSettings::default());
    let mut subscription = venue
        .subscribe(&books(BookView::PriceDepth, 0, Delivery::Lossless))
        .expect("a good request");
    venue.list("NEW", TradingPhase::Continuous);
    let created = venue.engine.event_seq();
    venue.publish();
    // As a reader sees it that the writer has woken in the middle of the event.
    venue.feed.progress().applied.store(0, Ordering::Release);
    let mut messages = std::iter::from_fn(|| match subscription.read() {
        Next::Frame(frame) => Some(frame.decode()),
        Next::Idle | Next::Ended(_) => None,
    })
    .flatten();
    let snapshot = messages.find_map(|event| match event {
        Event::Snapshot(snapshot) => Some(snapshot),
        _ => None,
    });
    assert_eq!(snapshot.expect("a snapshot").event_seq, created);
}
