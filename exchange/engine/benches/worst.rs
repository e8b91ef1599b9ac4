//! What a single command of an order book may cost at worst, and what a resting order costs in memory:
//! `cargo bench -p optivex-engine --bench worst`. See `benches/README.md`.
//!
//! Each case runs several times. A command's time is that of its fastest run, so that what the machine
//! did meanwhile does not count, and a case's is that of its slowest command.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use optivex_bench::{Goal, Row};
use optivex_engine::OrderBook;
use optivex_engine::order_book::{BookCommand, BookReport, BookReportKind, Remainder};
use optivex_engine::types::{OrderId, PRICE_E4_MAX, QUANTITY_MAX, Side};

/// Counts what is allocated.
struct Counting;

static BYTES: AtomicUsize = AtomicUsize::new(0);
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all work is the system allocator's; the counters are beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size(), Relaxed);
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        BYTES.fetch_add(size, Relaxed);
        BYTES.fetch_sub(layout.size(), Relaxed);
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const RUNS: usize = 5;
const MILLION: i64 = 1_000_000;

/// A book that is driven command by command.
struct Driver {
    book: OrderBook,
    reports: Vec<BookReport>,
    /// Of the run.
    times: Vec<Duration>,
}

impl Driver {
    fn apply(&mut self, command: BookCommand) -> BookReport {
        self.reports.clear();
        let started = Instant::now();
        self.book.apply(&[command], &mut self.reports);
        self.times.push(started.elapsed());
        self.reports[0]
    }

    fn insert(&mut self, side: Side, price_e4: i64, quantity: u32) -> OrderId {
        let report = self.apply(BookCommand::Insert {
            side,
            remainder: Remainder::Rests,
            quantity,
            price_e4,
        });
        assert_eq!(report.kind, BookReportKind::Accepted);
        report.order
    }

    fn cancel(&mut self, order: OrderId) -> BookReportKind {
        self.apply(BookCommand::Cancel { order }).kind
    }
}

/// SplitMix64.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

fn random_price(state: &mut u64) -> i64 {
    (random(state) % (2 * PRICE_E4_MAX as u64 + 1)) as i64 - PRICE_E4_MAX
}

/// Prints the row of a case with a single number.
fn tell(case: &str, unit: &str, value: f64, goal: Goal) {
    let row = Row {
        bench: "worst",
        case,
        unit,
        rounds: &[value],
        baseline: &[],
        goal,
    };
    row.print();
}

fn slowest(name: &str, goal: Goal, case: impl Fn(&mut Driver)) {
    let mut fastest: Vec<Duration> = Vec::new();
    for run in 0..RUNS {
        let mut driver = Driver {
            book: OrderBook::new(1),
            reports: Vec::with_capacity(MILLION as usize + 8),
            times: Vec::with_capacity(3 * MILLION as usize),
        };
        case(&mut driver);
        match run {
            0 => fastest = driver.times,
            _ => fastest
                .iter_mut()
                .zip(driver.times)
                .for_each(|(best, time)| *best = time.min(*best)),
        }
    }
    let slowest = fastest.iter().max().copied().unwrap_or_default();
    let all: Duration = fastest.iter().sum();
    println!(
        "{name:<52} {:>10} commands {:>8.1} ns each, slowest {:>9.1} µs",
        fastest.len(),
        all.as_secs_f64() / fastest.len() as f64 * 1e9,
        slowest.as_secs_f64() * 1e6
    );
    tell(
        &format!("slowest command: {name}"),
        "ms",
        slowest.as_secs_f64() * 1e3,
        goal,
    );
}

fn memory(name: &str, goal: Goal, price: impl Fn(&mut u64, i64) -> (Side, i64)) {
    let mut driver = Driver {
        book: OrderBook::new(1),
        reports: Vec::with_capacity(8),
        times: Vec::with_capacity(4 * MILLION as usize),
    };
    let before = BYTES.load(Relaxed);
    let mut state = 1;
    let mut orders: Vec<OrderId> = Vec::with_capacity(MILLION as usize);
    let ids = orders.capacity() * size_of::<OrderId>();
    for number in 0..MILLION {
        let (side, price_e4) = price(&mut state, number);
        orders.push(driver.insert(side, price_e4, 1));
    }
    let bytes = BYTES.load(Relaxed) - before - ids;
    let mut turn = |driver: &mut Driver| {
        for number in 0..MILLION {
            let at = (random(&mut state) % MILLION as u64) as usize;
            driver.cancel(orders[at]);
            let (side, price_e4) = price(&mut state, number);
            orders[at] = driver.insert(side, price_e4, 1);
        }
        driver.times.clear();
    };
    turn(&mut driver);
    let before = ALLOCATIONS.load(Relaxed);
    turn(&mut driver);
    let allocations = ALLOCATIONS.load(Relaxed) - before;
    let bytes_each = bytes as f64 / MILLION as f64;
    println!(
        "{name:<52} {bytes_each:>10.1} bytes an order, {allocations} allocations in 2,000,000 commands of a steady state"
    );
    tell(&format!("{name}: memory of each"), "bytes", bytes_each, goal);
    let none = if matches!(goal, Goal::None) {
        Goal::None
    } else {
        Goal::AtMost(0.0)
    };
    let case = format!("{name}: 2,000,000 commands of a steady state");
    tell(&case, "allocations", allocations as f64, none);
}

fn main() {
    slowest(
        "a million orders on one level, cancelled inside out",
        Goal::AtMost(5.0),
        |driver| {
            let orders: Vec<OrderId> = (0..MILLION).map(|_| driver.insert(Side::Buy, 100, 1)).collect();
            let (older, younger) = orders.split_at(orders.len() / 2);
            for (younger, older) in younger.iter().zip(older.iter().rev()) {
                driver.cancel(*younger);
                driver.cancel(*older);
            }
        },
    );
    slowest("one order through 500,000 makers of one level", Goal::None, |driver| {
        for _ in 0..500_000 {
            driver.insert(Side::Sell, 100, 1);
        }
        driver.insert(Side::Buy, 100, 500_001);
    });
    slowest("one order through 100,000 levels", Goal::AtMost(5.0), |driver| {
        for price in 0..100_000 {
            driver.insert(Side::Sell, 7 * price, 1);
        }
        driver.insert(Side::Buy, MILLION, 100_001);
    });
    slowest(
        "random prices of the whole range, then cancelled",
        Goal::AtMost(5.0),
        |driver| {
            let mut state = 1;
            let mut orders = Vec::with_capacity(MILLION as usize);
            for _ in 0..MILLION {
                let price = random_price(&mut state);
                let side = if price < 0 { Side::Buy } else { Side::Sell };
                orders.push(driver.insert(side, price, 1));
            }
            while !orders.is_empty() {
                let at = random(&mut state) as usize % orders.len();
                driver.cancel(orders.swap_remove(at));
            }
        },
    );
    slowest("a touch that jumps across a deep book", Goal::AtMost(5.0), |driver| {
        for price in 0..250_000 {
            driver.insert(Side::Buy, -PRICE_E4_MAX + 11 * price, 1);
            driver.insert(Side::Sell, PRICE_E4_MAX - 11 * price, 1);
        }
        let mut state = 1;
        for _ in 0..200_000 {
            let price = random_price(&mut state) / 2;
            let side = if random(&mut state) & 1 == 0 {
                Side::Buy
            } else {
                Side::Sell
            };
            let order = driver.insert(side, price, 1);
            driver.cancel(order);
        }
    });
    slowest(
        "levels that come and go at the ends of chunks",
        Goal::AtMost(5.0),
        |driver| {
            let mut state = 1;
            let mut orders = Vec::new();
            for _ in 0..500_000 {
                let chunk = (random(&mut state) % 40_000) as i64;
                orders.push(driver.insert(Side::Sell, chunk * 1024 + chunk % 2 * 1023, 1));
                if orders.len() > 1_000 {
                    let at = random(&mut state) as usize % orders.len();
                    driver.cancel(orders.swap_remove(at));
                }
            }
        },
    );
    slowest("stale, foreign and impossible ids", Goal::AtMost(5.0), |driver| {
        let order = driver.insert(Side::Buy, 1, QUANTITY_MAX as u32);
        driver.cancel(order);
        let mut state = 1;
        for _ in 0..MILLION {
            assert_eq!(driver.cancel(OrderId(random(&mut state))), BookReportKind::Refused);
            assert_eq!(driver.cancel(order), BookReportKind::Refused);
        }
    });
    memory("a million orders at 1,000 prices", Goal::AtMost(64.0), |state, _| {
        let price = (random(state) % 1_000) as i64;
        (if price < 500 { Side::Buy } else { Side::Sell }, price)
    });
    memory(
        "a million orders at 1,000,000 prices",
        Goal::AtMost(64.0),
        |state, _| {
            let price = (random(state) % MILLION as u64) as i64;
            (if price < MILLION / 2 { Side::Buy } else { Side::Sell }, price)
        },
    );
    memory(
        "a million orders at prices of the whole range",
        Goal::None,
        |state, _| {
            let price = random_price(state);
            (if price < 0 { Side::Buy } else { Side::Sell }, price)
        },
    );
}
