//! LOBSTER's files: one message a line, and the book after it.
//!
//! Format: <https://lobsterdata.com/info/DataStructure.php>. Messages are `time,type,order id,size,price,
//! direction`; a row of the book is `ask price,ask size,bid price,bid size` for each level, best first.
//! Prices are in ten-thousandths, as `price_e4`.

use std::io::Read;

use optivex_proto::v1::Side;

/// Dummy price of a level that is not there; bids have it negative.
const NO_LEVEL_PRICE: i64 = 9_999_999_999;
/// Levels a side; LOBSTER itself goes to 200.
const LEVELS_MAX: usize = 1_000;
const PRICE_MAX: i64 = 10_000_000_000_000;
const SIZE_MAX: i64 = 1_000_000_000;

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Since midnight.
    pub time_ns: u64,
    /// What happened.
    pub kind: Kind,
}

/// What happened to which order: size in lots, of the resting order's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Type 1: a new limit order rests.
    Insert(Change),
    /// Type 2: an order got smaller by this size.
    Reduce(Change),
    /// Type 3: an order was deleted; the size is all that was left of it.
    Delete(Change),
    /// Type 4: a visible order traded.
    Execute(Change),
    /// Type 5: a hidden order traded; the visible book does not change.
    ExecuteHidden(Change),
    /// Type 7: trading stopped or went on.
    Halt(Halt),
}

/// The order, and by how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// LOBSTER's id.
    pub order_id: u64,
    /// Lots.
    pub size: i64,
    /// Price of the order.
    pub price_e4: i64,
    /// Side of the resting order.
    pub side: Side,
}

/// Steps of a trading halt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Halt {
    /// Nothing trades, nothing is quoted.
    Stop,
    /// Quotes may come again.
    Quote,
    /// Trading goes on.
    Resume,
}

impl Kind {
    /// The order and size, if the message is about one.
    pub fn change(&self) -> Option<&Change> {
        match self {
            Kind::Insert(change)
            | Kind::Reduce(change)
            | Kind::Delete(change)
            | Kind::Execute(change)
            | Kind::ExecuteHidden(change) => Some(change),
            Kind::Halt(_) => None,
        }
    }
}

/// One price level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// Price.
    pub price_e4: i64,
    /// Lots.
    pub quantity: i64,
}

/// The best levels of a book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// So many levels a side the file has room for.
    pub depth: usize,
    /// Best first.
    pub bids: Vec<Level>,
    /// Best first.
    pub asks: Vec<Level>,
}

impl Row {
    /// The levels of one side.
    pub fn side(&self, side: Side) -> &[Level] {
        match side {
            Side::Buy => &self.bids,
            _ => &self.asks,
        }
    }
}

/// Why a file cannot be read on.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct ParseError {
    /// From 1.
    pub line: u64,
    /// What is wrong there.
    pub what: String,
}

/// Reads messages.
pub fn messages(input: impl Read) -> impl Iterator<Item = Result<Message, ParseError>> {
    records(input).map(|record| {
        let record = record?;
        message(&record.fields).map_err(|what| record.error(what))
    })
}

/// Reads rows of the book.
pub fn rows(input: impl Read) -> impl Iterator<Item = Result<Row, ParseError>> {
    let mut depth = None;
    records(input).map(move |record| {
        let record = record?;
        let row = row(&record.fields).map_err(|what| record.error(what))?;
        let first = *depth.get_or_insert(row.depth);
        if row.depth != first {
            return Err(record.error(format!("{} levels a side, {first} before", row.depth)));
        }
        Ok(row)
    })
}

struct Record {
    line: u64,
    fields: Vec<String>,
}

impl Record {
    fn error(&self, what: String) -> ParseError {
        ParseError { line: self.line, what }
    }
}

fn records(input: impl Read) -> impl Iterator<Item = Result<Record, ParseError>> {
    csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .quoting(false)
        .trim(csv::Trim::All)
        .from_reader(input)
        .into_records()
        .enumerate()
        .map(|(index, record)| {
            let counted = index as u64 + 1;
            let record = record.map_err(|error| ParseError {
                line: error.position().map_or(counted, csv::Position::line),
                what: match error.kind() {
                    csv::ErrorKind::Utf8 { .. } => "not text".to_owned(),
                    _ => error.to_string(),
                },
            })?;
            Ok(Record {
                line: record.position().map_or(counted, csv::Position::line),
                fields: record.iter().map(str::to_owned).collect(),
            })
        })
}

fn message(fields: &[String]) -> Result<Message, String> {
    let [time, kind, order_id, size, price, direction] = fields else {
        return Err(format!("{} fields instead of 6", fields.len()));
    };
    let time_ns = seconds(time).ok_or_else(|| format!("time {time:?} is not in seconds"))?;
    if kind == "7" {
        let halt = match price.as_str() {
            "-1" => Halt::Stop,
            "0" => Halt::Quote,
            "1" => Halt::Resume,
            _ => return Err(format!("a halt's price is -1, 0 or 1, not {price:?}")),
        };
        return Ok(Message {
            time_ns,
            kind: Kind::Halt(halt),
        });
    }
    let change = Change {
        order_id: number(order_id, "order id")?,
        size: bounded(size, "size", 1..=SIZE_MAX)?,
        price_e4: bounded(price, "price", -PRICE_MAX..=PRICE_MAX)?,
        side: match direction.as_str() {
            "1" => Side::Buy,
            "-1" => Side::Sell,
            _ => return Err(format!("direction is 1 or -1, not {direction:?}")),
        },
    };
    let kind = match kind.as_str() {
        "1" => Kind::Insert(change),
        "2" => Kind::Reduce(change),
        "3" => Kind::Delete(change),
        "4" => Kind::Execute(change),
        "5" => Kind::ExecuteHidden(change),
        _ => return Err(format!("type is 1 to 5 or 7, not {kind:?}")),
    };
    Ok(Message { time_ns, kind })
}

fn row(fields: &[String]) -> Result<Row, String> {
    if fields.is_empty() || !fields.len().is_multiple_of(4) {
        return Err(format!("{} fields: no multiple of 4", fields.len()));
    }
    let depth = fields.len() / 4;
    if depth > LEVELS_MAX {
        return Err(format!("{depth} levels a side: more than {LEVELS_MAX}"));
    }
    let mut row = Row {
        depth,
        bids: Vec::new(),
        asks: Vec::new(),
    };
    let mut ended = [false; 2];
    for (index, level) in fields.chunks_exact(4).enumerate() {
        let [ask, ask_size, bid, bid_size] = level else {
            continue;
        };
        let sides = [
            (&mut row.asks, ask, ask_size, "ask", 1),
            (&mut row.bids, bid, bid_size, "bid", -1),
        ];
        for ((levels, price, size, name, worse), ended) in sides.into_iter().zip(&mut ended) {
            let what = |field: &str| format!("{name} {field} {}", index + 1);
            let price_e4: i64 = number(price, &what("price"))?;
            let quantity: i64 = number(size, &what("size"))?;
            if quantity == 0 && price_e4 == worse * NO_LEVEL_PRICE {
                *ended = true;
                continue;
            }
            if *ended {
                return Err(format!("{} stands behind a level that is not there", what("price")));
            }
            let quantity = bounded(size, &what("size"), 1..=i64::MAX / 2)?;
            let price_e4 = bounded(price, &what("price"), -PRICE_MAX..=PRICE_MAX)?;
            let previous: Option<&Level> = levels.last();
            if previous.is_some_and(|best| (price_e4 - best.price_e4) * worse <= 0) {
                return Err(format!("{} is not worse than the one before", what("price")));
            }
            levels.push(Level { price_e4, quantity });
        }
    }
    Ok(row)
}

fn number<T: std::str::FromStr>(text: &str, name: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| format!("{name} {text:?} is not a whole number in range"))
}

fn bounded(text: &str, name: &str, range: std::ops::RangeInclusive<i64>) -> Result<i64, String> {
    let value = number(text, name)?;
    if range.contains(&value) {
        return Ok(value);
    }
    Err(format!("{name} {value} is not in {} to {}", range.start(), range.end()))
}

/// `34200.004241176` in nanoseconds.
fn seconds(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = fraction.len();
    if fraction.is_empty() || digits > 18 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = u32::try_from(digits).ok()?;
    let fraction: u64 = fraction.parse().ok()?;
    let nanos = match digits {
        0..=9 => fraction * 10_u64.pow(9 - digits),
        _ => fraction / 10_u64.pow(digits - 9),
    };
    let whole: u64 = whole.parse().ok()?;
    whole.checked_mul(1_000_000_000)?.checked_add(nanos)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn shown<T: std::fmt::Debug>(items: impl Iterator<Item = Result<T, ParseError>>) -> String {
        items
            .map(|item| match item {
                Ok(item) => format!("{item:?}\n"),
                Err(error) => format!("{error}\n"),
            })
            .collect()
    }

    #[test]
    fn messages_of_every_type() {
        let text = "34200.004241176,1,16113575,18,5853300,1\n\
                    34200.1,2,7,5,-100,-1\n34201,3,7,5,100,1\n1.000000001,4,7,5,100,1\n1.5,5,0,1,101,-1\n\
                    3.0,7,0,0,-1,-1\n3.0,7,0,0,0,-1\n3.0,7,0,0,1,-1\n";
        expect![[r#"
            Message { time_ns: 34200004241176, kind: Insert(Change { order_id: 16113575, size: 18, price_e4: 5853300, side: Buy }) }
            Message { time_ns: 34200100000000, kind: Reduce(Change { order_id: 7, size: 5, price_e4: -100, side: Sell }) }
            Message { time_ns: 34201000000000, kind: Delete(Change { order_id: 7, size: 5, price_e4: 100, side: Buy }) }
            Message { time_ns: 1000000001, kind: Execute(Change { order_id: 7, size: 5, price_e4: 100, side: Buy }) }
            Message { time_ns: 1500000000, kind: ExecuteHidden(Change { order_id: 0, size: 1, price_e4: 101, side: Sell }) }
            Message { time_ns: 3000000000, kind: Halt(Stop) }
            Message { time_ns: 3000000000, kind: Halt(Quote) }
            Message { time_ns: 3000000000, kind: Halt(Resume) }
        "#]]
        .assert_eq(&shown(messages(text.as_bytes())));
    }

    #[test]
    fn malformed_messages_are_told_with_their_line() {
        let text = "1.0,1,1,1,100,1\n\
                    1.0,1,1,1,100\n\
                    soon,1,1,1,100,1\n\
                    1.,1,1,1,100,1\n\
                    1.0,6,1,1,100,1\n\
                    1.0,1,-1,1,100,1\n\
                    1.0,1,1,0,100,1\n\
                    1.0,1,1,1000000001,100,1\n\
                    1.0,1,1,1,99999999999999999999,1\n\
                    1.0,1,1,1,10000000000001,1\n\
                    1.0,1,1,1,100,0\n\
                    1.0,7,0,0,2,-1\n\
                    99999999999999999999.0,1,1,1,100,1\n";
        expect![[r#"
            Message { time_ns: 1000000000, kind: Insert(Change { order_id: 1, size: 1, price_e4: 100, side: Buy }) }
            line 2: 5 fields instead of 6
            line 3: time "soon" is not in seconds
            line 4: time "1." is not in seconds
            line 5: type is 1 to 5 or 7, not "6"
            line 6: order id "-1" is not a whole number in range
            line 7: size 0 is not in 1 to 1000000000
            line 8: size 1000000001 is not in 1 to 1000000000
            line 9: price "99999999999999999999" is not a whole number in range
            line 10: price 10000000000001 is not in -10000000000000 to 10000000000000
            line 11: direction is 1 or -1, not "0"
            line 12: a halt's price is -1, 0 or 1, not "2"
            line 13: time "99999999999999999999.0" is not in seconds
        "#]]
        .assert_eq(&shown(messages(text.as_bytes())));
    }

    #[test]
    fn bytes_that_are_no_text_are_told() {
        let text = b"1.0,1,1,1,100,1\n1.0,1,\xff,1,100,1\n";
        assert!(
            shown(messages(&text[..])).contains("line 2: not text"),
            "{}",
            shown(messages(&text[..]))
        );
    }

    #[test]
    fn rows_and_what_is_wrong_with_them() {
        let text = "102,5,101,6,103,1,100,2\n\
                    102,5,101,6,9999999999,0,-9999999999,0\n\
                    9999999999,0,101,6,9999999999,0,-9999999999,0\n\
                    102,5,101,6\n\
                    102,5,101\n\
                    102,5,101,6,102,1,100,2\n\
                    102,5,101,6,103,1,101,2\n\
                    102,0,101,6,103,1,100,2\n\
                    9999999999,0,101,6,103,1,100,2\n\
                    102,5,101,x,103,1,100,2\n";
        expect![[r#"
            Row { depth: 2, bids: [Level { price_e4: 101, quantity: 6 }, Level { price_e4: 100, quantity: 2 }], asks: [Level { price_e4: 102, quantity: 5 }, Level { price_e4: 103, quantity: 1 }] }
            Row { depth: 2, bids: [Level { price_e4: 101, quantity: 6 }], asks: [Level { price_e4: 102, quantity: 5 }] }
            Row { depth: 2, bids: [Level { price_e4: 101, quantity: 6 }], asks: [] }
            line 4: 1 levels a side, 2 before
            line 5: 3 fields: no multiple of 4
            line 6: ask price 2 is not worse than the one before
            line 7: bid price 2 is not worse than the one before
            line 8: ask size 1 0 is not in 1 to 4611686018427387903
            line 9: ask price 2 stands behind a level that is not there
            line 10: bid size 1 "x" is not a whole number in range
        "#]]
        .assert_eq(&shown(rows(text.as_bytes())));
    }
}
