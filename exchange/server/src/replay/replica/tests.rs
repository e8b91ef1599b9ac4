//! The bookkeeping against recordings, without an exchange: the book here is the replica's own.

use expect_test::{Expect, expect};

use super::super::lobster::{messages, rows};
use super::*;

/// Carries messages out on the replica alone and tells what is not as recorded.
fn replayed(messages_csv: &str, rows_csv: &str) -> String {
    let messages: Vec<Message> = messages(messages_csv.as_bytes())
        .map(|item| item.expect("a message"))
        .collect();
    let rows: Vec<Row> = rows(rows_csv.as_bytes()).map(|item| item.expect("a row")).collect();
    assert_eq!(messages.len(), rows.len());
    let mut replica = Replica::default();
    let mut view = View::of(&rows[0]);
    let mut told = String::new();
    let mut tell = |number: usize, what: String| told.push_str(&format!("{number}: {what}\n"));
    replica.seed(&rows[0], &messages[0]).expect("the first row fits");
    let (mut compared, mut taken, mut same, mut unknown) = (0, 0, 0, 0);
    for (index, (message, row)) in messages.iter().zip(&rows).enumerate() {
        match replica.step(message) {
            Ok(step) => match step.priority {
                Priority::NoTrade => {}
                Priority::Same => same += 1,
                Priority::Unknown => unknown += 1,
                Priority::Other(why) => tell(index + 1, why),
            },
            Err(why) => tell(index + 1, why),
        }
        let (levels, found) = compare(&replica.levels(), row, &view, message);
        compared += levels;
        for level in found {
            if level.untold {
                taken += 1;
            } else {
                tell(index + 1, level.to_string());
            }
            replica
                .adopt(level.side, level.price_e4, level.recorded)
                .expect("can be adopted");
        }
        let (_, still) = compare(&replica.levels(), row, &view, message);
        assert_eq!(still, [], "message {}", index + 1);
        view = View::of(row);
    }
    told.push_str(&format!(
        "{compared} levels compared, {taken} taken; executions: {same} of the order named, {unknown} unknown\n"
    ));
    told
}

fn check(messages_csv: &str, rows_csv: &str, expected: &Expect) {
    expected.assert_eq(&replayed(messages_csv, rows_csv));
}

#[test]
fn our_own_recording() {
    let (messages, rows) = (
        include_str!("../../../tests/data/flow_message_4.csv"),
        include_str!("../../../tests/data/flow_orderbook_4.csv"),
    );
    check(
        messages,
        rows,
        &expect![[r#"
        304 levels compared, 4 taken; executions: 7 of the order named, 4 unknown
    "#]],
    );
}

/// One level a side, so that a case fits on two lines.
#[test]
fn what_is_a_difference_and_what_is_not() {
    let cases: [(&str, &str, &str, Expect); 9] = [
        (
            "a new level is what the message inserts",
            "1,1,1,5,100,1\n2,1,2,4,101,1\n",
            "110,1,100,5\n110,1,101,4\n",
            expect![[r#"
                4 levels compared, 0 taken; executions: 0 of the order named, 0 unknown
            "#]],
        ),
        (
            "another quantity than inserted is a difference",
            "1,1,1,5,100,1\n2,1,2,4,101,1\n",
            "110,1,100,5\n110,1,101,3\n",
            expect![[r#"
                2: bid 101: 4 lots, recorded 3
                4 levels compared, 0 taken; executions: 0 of the order named, 0 unknown
            "#]],
        ),
        (
            "a level that comes into view is taken from the row",
            "1,1,1,5,100,1\n2,3,1,5,100,1\n",
            "110,1,100,5\n110,1,90,7\n",
            expect![[r#"
                4 levels compared, 1 taken; executions: 0 of the order named, 0 unknown
            "#]],
        ),
        (
            "a level in view that changes untold is a difference",
            "1,1,1,5,100,1\n2,5,0,5,105,1\n",
            "110,1,100,5\n111,1,100,5\n",
            expect![[r#"
                2: ask 110: 1 lots, recorded 0
                5 levels compared, 1 taken; executions: 0 of the order named, 0 unknown
            "#]],
        ),
        (
            "a side with fewer levels than the file has room for is all in view",
            "1,3,1,5,110,-1\n2,5,0,5,105,1\n",
            "9999999999,0,100,5\n110,1,100,5\n",
            expect![[r#"
                2: ask 110: 0 lots, recorded 1
                3 levels compared, 0 taken; executions: 0 of the order named, 0 unknown
            "#]],
        ),
        (
            "an execution of an order behind another of the recording is a difference",
            "1,1,1,5,100,1\n2,1,2,4,100,1\n3,4,2,4,100,1\n",
            "110,1,100,5\n110,1,100,9\n110,1,100,5\n",
            expect![[r#"
                3: order 2 traded, here [Hit { key: Recorded(1), price_e4: 100, quantity: 4 }]
                6 levels compared, 0 taken; executions: 0 of the order named, 0 unknown
            "#]],
        ),
        (
            "an execution away from the best price is a difference",
            "1,1,1,5,100,1\n2,1,2,4,101,1\n3,4,1,4,100,1\n",
            "110,1,100,5\n110,1,101,4\n110,1,101,4\n",
            expect![[r#"
                3: order 1 traded, here [Hit { key: Recorded(2), price_e4: 101, quantity: 4 }]
                3: bid 101: 0 lots, recorded 4
                6 levels compared, 0 taken; executions: 0 of the order named, 0 unknown
            "#]],
        ),
        (
            "more lots than there are is a difference",
            "1,1,1,5,100,1\n2,3,7,6,100,1\n",
            "110,1,100,5\n110,1,100,5\n",
            expect![[r#"
                2: 6 lots at 100 are not in our book: 5 are
                4 levels compared, 0 taken; executions: 0 of the order named, 0 unknown
            "#]],
        ),
        (
            "an id that is not known takes from what was there before, not from what is known",
            "1,1,1,5,100,1\n2,2,7,6,100,1\n3,4,7,3,100,1\n4,4,1,5,100,1\n",
            "110,1,100,14\n110,1,100,8\n110,1,100,5\n110,1,99,1\n",
            expect![[r#"
                8 levels compared, 1 taken; executions: 1 of the order named, 1 unknown
            "#]],
        ),
    ];
    for (case, messages, rows, expected) in cases {
        println!("{case}");
        check(messages, rows, &expected);
    }
}

#[test]
fn a_first_row_that_does_not_show_the_first_message_is_refused() {
    let message = messages(&b"1,1,1,5,100,1\n"[..])
        .next()
        .expect("one")
        .expect("a message");
    let row = rows(&b"110,1,100,4\n"[..]).next().expect("one").expect("a row");
    assert!(Replica::default().seed(&row, &message).is_err());
}

#[test]
fn actions_of_each_type() {
    let message = |line: &str| messages(line.as_bytes()).next().expect("one").expect("a message");
    let row = rows(&b"110,30,100,20\n"[..]).next().expect("one").expect("a row");
    let mut replica = Replica::default();
    let mut text = String::new();
    let seed = replica.seed(&row, &message("1,1,1,5,100,1")).expect("fits");
    text.push_str(&format!("seed {seed:?}\n"));
    for line in [
        "1,1,1,5,100,1",
        "2,2,1,2,100,1",
        "3,2,99,4,110,-1",
        "4,4,99,15,100,1",
        "5,4,1,3,100,1",
        "6,3,98,26,110,-1",
        "7,5,0,1,105,1",
        "8,7,0,0,-1,-1",
    ] {
        let step = replica.step(&message(line)).expect("our book has the lots");
        text.push_str(&format!("{line}: {:?} {:?}\n", step.priority, step.actions));
    }
    assert_eq!(replica.levels(), Levels::default());
    expect![[r#"
        seed [Insert { key: Seed(1), side: Buy, price_e4: 100, quantity: 15 }, Insert { key: Seed(2), side: Sell, price_e4: 110, quantity: 30 }]
        1,1,1,5,100,1: NoTrade [Insert { key: Recorded(1), side: Buy, price_e4: 100, quantity: 5 }]
        2,2,1,2,100,1: NoTrade [Amend { key: Recorded(1), quantity: 3 }]
        3,2,99,4,110,-1: NoTrade [Amend { key: Seed(2), quantity: 26 }]
        4,4,99,15,100,1: Unknown [Execute { side: Sell, price_e4: 100, quantity: 15, hits: [Hit { key: Seed(1), price_e4: 100, quantity: 15 }] }]
        5,4,1,3,100,1: Same [Execute { side: Sell, price_e4: 100, quantity: 3, hits: [Hit { key: Recorded(1), price_e4: 100, quantity: 3 }] }]
        6,3,98,26,110,-1: NoTrade [Cancel { key: Seed(2) }]
        7,5,0,1,105,1: NoTrade []
        8,7,0,0,-1,-1: NoTrade [Phase(Halted)]
    "#]].assert_eq(&text);
}
