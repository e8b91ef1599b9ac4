//! `optivex replay lobster` against the real program.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::exchange::Exchange;
use crate::tools::{Said, repository, said};

fn replay(exchange: &Exchange, messages: &Path, books: &Path, more: &[&str]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_optivex"));
    command
        .args(["replay", "lobster", "--target", &exchange.url(), "--messages"])
        .arg(messages)
        .arg("--books")
        .arg(books)
        .arg("--users")
        .arg(exchange.home.path().join("users.yaml"))
        .args(more);
    said(&mut command)
}

fn ours(name: &str) -> PathBuf {
    repository().join("exchange/server/tests/data").join(name)
}

/// The number at the end of the line that starts so.
fn number(said: &Said, name: &str) -> u64 {
    let line = said
        .stdout
        .lines()
        .find_map(|line| line.trim_start().strip_prefix(name));
    let word = line.and_then(|rest| rest.split_whitespace().next());
    word.and_then(|word| word.parse().ok())
        .unwrap_or_else(|| panic!("no {name} in {}{}", said.stdout, said.stderr))
}

#[test]
fn our_own_recording_is_the_same_after_each_message() {
    let exchange = Exchange::start();
    let (messages, books) = (ours("flow_message_4.csv"), ours("flow_orderbook_4.csv"));
    let first = replay(&exchange, &messages, &books, &[]);
    assert!(first.ok, "{}{}", first.stdout, first.stderr);
    assert_eq!(number(&first, "messages"), 41);
    assert_eq!(number(&first, "differences"), 0);
    assert_eq!(number(&first, "levels compared"), 304);
    assert_eq!(number(&first, "taken from the row"), 4);
    assert_eq!(number(&first, "checked"), 7);

    // Again on the same exchange: another instrument, other client ids.
    let second = replay(&exchange, &messages, &books, &[]);
    assert!(second.ok, "{}{}", second.stdout, second.stderr);
    assert!(second.stdout.contains("LOBSTER-2"), "{}", second.stdout);

    // A book that is not empty would trade with the recording.
    let refused = replay(&exchange, &messages, &books, &["--symbol", "LOBSTER"]);
    assert!(!refused.ok);
    assert!(refused.stderr.contains("not empty"), "{}", refused.stderr);
}

#[test]
fn what_is_not_as_recorded_is_told() {
    let exchange = Exchange::start();
    let books = exchange.home.path().join("books.csv");
    let rows = std::fs::read_to_string(ours("flow_orderbook_4.csv")).expect("is in the repository");
    let wrong = rows.replacen("100100,24,100000,8,", "100100,24,100000,9,", 1);
    assert_ne!(rows, wrong);
    std::fs::write(&books, wrong).expect("can write");
    let told = replay(&exchange, &ours("flow_message_4.csv"), &books, &[]);
    assert!(!told.ok);
    assert!(
        told.stderr.contains("message 3: bid 100000: 8 lots, recorded 9"),
        "{}{}",
        told.stdout,
        told.stderr
    );

    std::fs::write(&books, "1,2,3\n").expect("can write");
    let told = replay(&exchange, &ours("flow_message_4.csv"), &books, &[]);
    assert!(!told.ok);
    assert!(told.stderr.contains("books.csv: line 1: 3 fields"), "{}", told.stderr);
}

/// The real recording lies beside the repository, not in it.
#[test]
fn four_hundred_messages_of_nasdaq() {
    let shared = std::env::var_os("OPTIVEX_SHARED").map_or_else(|| repository().join("../shared"), PathBuf::from);
    let data = shared.join("data");
    let messages = data.join("lobster_aapl_2012-06-21_message_10_first400.csv");
    if !messages.exists() {
        // Past the test runner, which keeps what a passing test prints to itself.
        let told = format!(
            "\nNOT CHECKED: {} is not there; OPTIVEX_SHARED names its folder\n",
            data.display()
        );
        std::io::stderr()
            .write_all(told.as_bytes())
            .expect("standard error is open");
        return;
    }
    let exchange = Exchange::start();
    let books = data.join("lobster_aapl_2012-06-21_orderbook_10_first400.csv");
    let said = replay(&exchange, &messages, &books, &["--symbol", "AAPL"]);
    assert!(said.ok, "{}{}", said.stdout, said.stderr);
    assert_eq!(number(&said, "messages"), 400);
    assert_eq!(number(&said, "differences"), 0);
    assert_eq!(
        number(&said, "checked"),
        56,
        "every execution is of the order that NASDAQ says"
    );
    assert!(number(&said, "levels compared") >= 8_000);
    println!("{}", said.stdout);
}
