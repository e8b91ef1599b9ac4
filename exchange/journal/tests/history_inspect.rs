//! Verify, export and book on data directories that a real engine wrote, while it goes on.

mod history_support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use expect_test::expect;
use history_support::commands::{Commands, Exchange, INSTRUMENTS};
use optivex_engine::command::{InsertOrder, OrderTerms};
use optivex_engine::types::{
    ClientOrderId, InstrumentId, OrderId, OrderStatus, OrderType, SelfTradePrevention, Side, TimeInForce, UserId,
};
use optivex_engine::{Command, Engine, Event, Input};
use optivex_journal::Reader;
use optivex_journal::inspect::{
    BookOptions, ExportFormat, ExportOptions, ExportWhat, InspectError, SnapshotVerdict, VerifyOptions, book, export,
    verify,
};
use optivex_journal::replay::Replay;
use tempfile::TempDir;

fn exported(options: &ExportOptions) -> (u64, String) {
    let mut out = Vec::new();
    let rows = export(options, &mut out).expect("exports");
    (rows, String::from_utf8(out).expect("text"))
}

fn options(directory: &Path, what: ExportWhat, format: ExportFormat) -> ExportOptions {
    ExportOptions {
        format,
        ..ExportOptions::new(directory, what)
    }
}

#[test]
fn exports_hold_what_happened() {
    let directory = TempDir::new().expect("a directory");
    // Beside the running exchange.
    let mut exchange = Exchange::start(directory.path());
    let events = exchange.run(&mut Commands::new(21), 3_000);
    let engine = &exchange.recovered.engine;

    let trades: Vec<u64> = events
        .iter()
        .flat_map(|event| event.trades.iter().map(|trade| trade.trade_id.0))
        .collect();
    assert!(trades.len() > 100);
    let (rows, text) = exported(&options(directory.path(), ExportWhat::Trades, ExportFormat::Csv));
    assert_eq!(rows, trades.len() as u64);
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let ids: Vec<u64> = reader
        .records()
        .map(|row| row.expect("a row")[0].parse().expect("a number"))
        .collect();
    assert_eq!(ids, trades);

    let (rows, text) = exported(&options(directory.path(), ExportWhat::Events, ExportFormat::JsonLines));
    assert_eq!(rows, 3_000);
    for (line, event) in text.lines().zip(&events) {
        let row: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(row["event_seq"], event.event_seq);
        assert_eq!(row["time_unix_ns"], event.time_unix_ns);
        assert_eq!(row["reports"], event.reports.len());
    }

    // Every order has one row: as it ended, or as it is.
    let mut orders = BTreeMap::new();
    for report in events.iter().flat_map(|event| &event.reports) {
        orders.insert(report.order.order_id.0, report.order);
    }
    let (rows, text) = exported(&options(directory.path(), ExportWhat::Orders, ExportFormat::JsonLines));
    assert_eq!(rows, orders.len() as u64);
    for line in text.lines() {
        let row: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let order = orders
            .remove(&row["order_id"].as_u64().expect("a number"))
            .expect("once");
        assert_eq!(row["filled_quantity"], order.filled_quantity);
        assert_eq!(row["status"] == "ORDER_STATUS_OPEN", order.status == OrderStatus::Open);
        let username = engine.usernames().nth(order.user.0 as usize).expect("known");
        assert_eq!(row["username"], username);
    }
}

#[test]
fn exports_of_a_part() {
    let directory = TempDir::new().expect("a directory");
    let mut exchange = Exchange::start(directory.path());
    let mut commands = Commands::new(22);
    exchange.run(&mut commands, 300);
    exchange.snapshot();
    exchange.run(&mut commands, 300);
    let mut options = options(directory.path(), ExportWhat::Events, ExportFormat::Csv);
    let (_, all) = exported(&options);
    let lines: Vec<&str> = all.lines().collect();
    options.first_event_seq = 400;
    options.last_event_seq = Some(410);
    let (rows, part) = exported(&options);
    assert_eq!(rows, 11);
    let part: Vec<&str> = part.lines().collect();
    assert_eq!(part[0], lines[0]);
    assert_eq!(part[1..], lines[400..411]);

    options.last_event_seq = Some(601);
    let error = export(&options, &mut Vec::new()).expect_err("too far");
    assert_eq!(
        error.to_string(),
        "the journal ends at event 600: there is no event 601"
    );
}

#[test]
fn rows_look_like_this() {
    let directory = TempDir::new().expect("a directory");
    let mut exchange = Exchange::start(directory.path());
    exchange.run(&mut Commands::new(23), 60);
    drop(exchange);
    let head = |what, format, skip: usize| {
        let (_, text) = exported(&options(directory.path(), what, format));
        let mut lines: Vec<&str> = text.lines().collect();
        lines.drain(1..skip);
        lines.truncate(4);
        lines.join("\n")
    };
    expect![[r#"
        trade_id,event_seq,time_unix_ns,symbol,price_e4,quantity,aggressor_side,buy_order_id,buyer,sell_order_id,seller
        1,16,1700000029250661844,SYM2,999990,14,SIDE_BUY,134217734,user2,117440517,user1
        2,19,1700000034621941809,SYM1,999980,6,SIDE_SELL,83886083,user4,184549383,user1
        3,24,1700000049481733706,SYM2,999980,12,SIDE_SELL,150994950,user4,268435467,user2"#]]
    .assert_eq(&head(ExportWhat::Trades, ExportFormat::Csv, 1));
    expect![[r#"
        order_id,client_order_id,username,symbol,side,type,time_in_force,post_only,self_trade_prevention,price_e4,quantity,filled_quantity,status,cancel_reason,created_unix_ns,event_seq
        67108867,c92565,user1,SYM2,SIDE_BUY,ORDER_TYPE_LIMIT,TIME_IN_FORCE_IMMEDIATE_OR_CANCEL,false,SELF_TRADE_PREVENTION_CANCEL_RESTING,1000010,11,0,ORDER_STATUS_CANCELLED,CANCEL_REASON_TIME_IN_FORCE,1700000018499277349,12
        117440517,c18909,user1,SYM2,SIDE_SELL,ORDER_TYPE_LIMIT,TIME_IN_FORCE_GOOD_TILL_CANCELLED,false,SELF_TRADE_PREVENTION_CANCEL_INCOMING,999990,14,14,ORDER_STATUS_FILLED,CANCEL_REASON_UNSPECIFIED,1700000024355990727,16
        134217734,,user2,SYM2,SIDE_BUY,ORDER_TYPE_MARKET,TIME_IN_FORCE_IMMEDIATE_OR_CANCEL,false,SELF_TRADE_PREVENTION_CANCEL_BOTH,0,17,14,ORDER_STATUS_CANCELLED,CANCEL_REASON_TIME_IN_FORCE,1700000029250661844,16"#]].assert_eq(&head(ExportWhat::Orders, ExportFormat::Csv, 1));
    expect![[r#"
        event_seq,time_unix_ns,command,username,symbol,order_id,client_order_id,side,type,time_in_force,post_only,self_trade_prevention,price_e4,quantity,phase,status,filled_quantity,trades,reports,detail
        7,1700000007097210759,create_instrument,user1,SYM3,,,,,,,,,,TRADING_PHASE_CONTINUOUS,,,0,0,"currency EUR, multiplier 1, tick_size_e4 5: Test, with a ""quote"""
        8,1700000010347624701,insert_order,user1,SYM3,16777216,,SIDE_SELL,ORDER_TYPE_LIMIT,TIME_IN_FORCE_GOOD_TILL_CANCELLED,false,SELF_TRADE_PREVENTION_CANCEL_INCOMING,1000045,7,,ORDER_STATUS_OPEN,0,0,1,
        9,1700000012332491894,insert_order,user2,SYM3,33554433,,SIDE_BUY,ORDER_TYPE_LIMIT,TIME_IN_FORCE_GOOD_TILL_CANCELLED,false,SELF_TRADE_PREVENTION_CANCEL_BOTH,999975,7,,ORDER_STATUS_OPEN,0,0,1,"#]].assert_eq(&head(ExportWhat::Events, ExportFormat::Csv, 7));
    expect![[r#"
        {"trade_id":1,"event_seq":16,"time_unix_ns":1700000029250661844,"symbol":"SYM2","price_e4":999990,"quantity":14,"aggressor_side":"SIDE_BUY","buy_order_id":134217734,"buyer":"user2","sell_order_id":117440517,"seller":"user1"}
        {"trade_id":3,"event_seq":24,"time_unix_ns":1700000049481733706,"symbol":"SYM2","price_e4":999980,"quantity":12,"aggressor_side":"SIDE_SELL","buy_order_id":150994950,"buyer":"user4","sell_order_id":268435467,"seller":"user2"}
        {"trade_id":4,"event_seq":25,"time_unix_ns":1700000056152834106,"symbol":"SYM2","price_e4":999975,"quantity":2,"aggressor_side":"SIDE_BUY","buy_order_id":285212678,"buyer":"user1","sell_order_id":268435467,"seller":"user2"}
        {"trade_id":5,"event_seq":26,"time_unix_ns":1700000059537601477,"symbol":"SYM1","price_e4":1000035,"quantity":11,"aggressor_side":"SIDE_SELL","buy_order_id":234881033,"buyer":"user4","sell_order_id":301989899,"seller":"user2"}"#]].assert_eq(&head(ExportWhat::Trades, ExportFormat::JsonLines, 2));

    let empty = TempDir::new().expect("a directory");
    drop(Exchange::start(empty.path()));
    let (rows, text) = exported(&options(empty.path(), ExportWhat::Trades, ExportFormat::Csv));
    assert_eq!(rows, 0);
    assert_eq!(
        Some(text.trim_end()),
        head(ExportWhat::Trades, ExportFormat::Csv, 1).lines().next()
    );
}

fn engine_at(directory: &Path, event_seq: u64) -> Engine {
    let mut replay = Replay::from_genesis(&Reader::open(directory).expect("opens")).expect("starts");
    let mut event = Event::default();
    while replay.engine().event_seq() < event_seq {
        assert!(replay.step(&mut event).expect("accepted"));
    }
    replay.into_engine()
}

#[test]
fn books_of_the_past() {
    let directory = TempDir::new().expect("a directory");
    let mut exchange = Exchange::start(directory.path());
    let mut commands = Commands::new(24);
    exchange.run(&mut commands, 500);
    exchange.snapshot();
    exchange.run(&mut commands, 500);
    for at in [7, 100, 499, 500, 501, 800, 1_000] {
        let engine = engine_at(directory.path(), at);
        for index in 0..INSTRUMENTS {
            let id = InstrumentId(index);
            let options = BookOptions {
                data_directory: directory.path().to_owned(),
                symbol: format!("SYM{}", index + 1),
                at_event_seq: Some(at),
            };
            let got = book(&options).expect("there");
            assert_eq!(got.event_seq, at);
            assert_eq!(got.book_seq, engine.book_seq(id));
            assert_eq!(got.bids, engine.levels(id, Side::Buy).collect::<Vec<_>>());
            assert_eq!(got.asks, engine.levels(id, Side::Sell).collect::<Vec<_>>());
            for (side, orders) in [(Side::Buy, &got.bid_orders), (Side::Sell, &got.ask_orders)] {
                let expected: Vec<OrderId> = engine.resting_orders(id, side).map(|order| order.order_id).collect();
                let ids: Vec<OrderId> = orders.iter().map(|resting| resting.order.order_id).collect();
                assert_eq!(ids, expected);
            }
            let mut text = Vec::new();
            got.write_text(&mut text).expect("written");
            let text = String::from_utf8(text).expect("text");
            let orders = got.bid_orders.len() + got.ask_orders.len();
            assert_eq!(text.matches("lots of order").count(), orders);
        }
    }
    let ask = |symbol: &str, at_event_seq| {
        book(&BookOptions {
            data_directory: directory.path().to_owned(),
            symbol: symbol.to_owned(),
            at_event_seq,
        })
    };
    assert_eq!(ask("SYM1", None).expect("there").event_seq, 1_000);
    assert!(matches!(
        ask("SYM1", Some(3)),
        Err(InspectError::UnknownSymbol { event_seq: 3, .. })
    ));
    assert!(matches!(
        ask("SYM1", Some(1_001)),
        Err(InspectError::NotReached {
            asked: 1_001,
            last_event_seq: 1_000
        })
    ));
}

#[test]
fn a_book_looks_like_this() {
    let directory = TempDir::new().expect("a directory");
    let mut exchange = Exchange::start(directory.path());
    exchange.run(&mut Commands::new(25), 40);
    let mut text = Vec::new();
    let options = BookOptions {
        data_directory: directory.path().to_owned(),
        symbol: "SYM1".to_owned(),
        at_event_seq: None,
    };
    book(&options).expect("there").write_text(&mut text).expect("written");
    expect![[r#"
        SYM1 TRADING_PHASE_CONTINUOUS, event 40, time_unix_ns 1700000096618435896, book_seq 10
        last trade at 99.9950
        ask             100.0035             10 lots in 1 orders
                                             10 lots of order 117440515 by user1
        ask              99.9980             19 lots in 1 orders
                                             19 lots of order 100663296 by user1
        ask              99.9975             14 lots in 1 orders
                                             14 lots of order 268435457 by user2 (c81101)
        ask              99.9950             19 lots in 1 orders
                                             19 lots of order 218103814 by user1 (c65422)
    "#]]
    .assert_eq(&String::from_utf8(text).expect("text"));
}

/// A client's text cannot pass for a line of the book, or command the terminal that shows it.
#[test]
fn a_client_id_stays_on_its_line() {
    let directory = TempDir::new().expect("a directory");
    let mut exchange = Exchange::start(directory.path());
    let mut commands = Commands::new(25);
    exchange.run(&mut commands, 7);
    let input = Input {
        time_unix_ns: i64::MAX,
        command: Command::InsertOrder(InsertOrder {
            user: UserId(0),
            instrument: InstrumentId(0),
            terms: OrderTerms {
                side: Side::Buy,
                price_e4: 5,
                quantity: 1,
                order_type: OrderType::Limit,
                time_in_force: TimeInForce::GoodTillCancelled,
                post_only: false,
                self_trade_prevention: SelfTradePrevention::CancelIncoming,
            },
            client_order_id: ClientOrderId::from("\u{1b}[2J\nbid 1").expect("short"),
        }),
    };
    exchange.accept(&input);
    let mut text = Vec::new();
    let options = BookOptions {
        data_directory: directory.path().to_owned(),
        symbol: "SYM1".to_owned(),
        at_event_seq: None,
    };
    book(&options).expect("there").write_text(&mut text).expect("written");
    let text = String::from_utf8(text).expect("text");
    assert_eq!(
        text.lines().last(),
        Some(r"                                      1 lots of order 16777216 by user1 (\u{1b}[2J\nbid 1)"),
    );
}

#[test]
fn verify_compares_snapshots_with_the_replay() {
    let directory = TempDir::new().expect("a directory");
    let mut exchange = Exchange::start(directory.path());
    let mut commands = Commands::new(26);
    exchange.run(&mut commands, 300);
    let first = exchange.snapshot();
    exchange.run(&mut commands, 300);
    let second = exchange.snapshot();
    exchange.run(&mut commands, 10);
    let digest = exchange.digest();

    let verify_options = VerifyOptions {
        data_directory: directory.path().to_owned(),
    };
    let mut text = Vec::new();
    let report = verify(&verify_options, &mut text).expect("readable");
    assert!(report.is_sound());
    assert_eq!((report.first_event_seq, report.last_event_seq), (1, 610));
    assert_eq!(report.digest, digest);
    assert_eq!(
        report.snapshots,
        [(first, SnapshotVerdict::Equal), (second, SnapshotVerdict::Equal)]
    );
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let text = String::from_utf8(text).expect("text").replace(&hex, "DIGEST");
    expect![[r#"
        first event: 1
        last event: 610
        records replayed: 610
        digest: DIGEST
        snapshot 300: equal
        snapshot 600: equal
        sound: yes
    "#]]
    .assert_eq(&text);

    // A state of another exchange, sealed as it should be, under the name of this event.
    let other = TempDir::new().expect("a directory");
    let mut other_exchange = Exchange::start(other.path());
    other_exchange.run(&mut Commands::new(27), 600);
    let wrong = other_exchange.recovered.engine.snapshot();
    exchange.recovered.snapshots.store(second, &wrong).expect("durable");
    let report = verify(&verify_options, &mut Vec::new()).expect("readable");
    assert!(!report.is_sound());
    assert!(matches!(
        report.snapshots[..],
        [(_, SnapshotVerdict::Equal), (_, SnapshotVerdict::Differs { expected, .. })] if expected != digest
    ));
    drop(exchange);

    let mut files: Vec<_> = fs::read_dir(directory.path().join("snapshots"))
        .expect("readable")
        .map(|entry| entry.expect("readable").path())
        .collect();
    files.sort();
    fs::write(&files[0], b"nothing").expect("written");
    let report = verify(&verify_options, &mut Vec::new()).expect("readable");
    assert!(matches!(report.snapshots[0], (_, SnapshotVerdict::Unreadable(_))));
}

#[test]
fn there_must_be_a_journal() {
    let directory = TempDir::new().expect("a directory");
    let options = ExportOptions::new(directory.path(), ExportWhat::Trades);
    let error = export(&options, &mut Vec::new()).expect_err("none");
    assert!(error.to_string().starts_with("there is no journal in"), "{error}");
}
