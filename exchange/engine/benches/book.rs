//! The order book and the whole engine beside a baseline, on four profiles of flow: `cargo bench -p
//! optivex-engine --bench book`. See `benches/README.md`.
//!
//! ```text
//! book [--quick] [--rounds N] [--seed N] [--steps N] [PROFILE…]     the table
//! book --count CONTENDER PROFILE [--seed N] [--steps N]   one run between two marks, for callgrind
//! ```

#[path = "support/array_book.rs"]
mod array_book;
#[path = "support/books.rs"]
mod books;
#[path = "support/flow.rs"]
mod flow;
#[path = "support/rounds.rs"]
mod rounds;

use std::hint::black_box;
use std::time::Duration;

use books::{
    EngineFlow, array_book_totals, book_flow, book_totals, engine_flow, engine_totals, filled_array_book, filled_book,
    filled_engine, run_array_book, run_book, run_engine,
};
use flow::{Flow, PROFILES, Profile};
use optivex_bench::{Goal, Row};
use optivex_engine::Event;
use rounds::{Contender, measure};

/// Slices of a run; see `rounds`.
const SLICES: usize = 100;

struct Options {
    rounds: usize,
    seed: u64,
    steps: usize,
    profiles: Vec<Profile>,
    count: Option<String>,
}

fn main() {
    let options = options();
    match &options.count {
        Some(contender) => options
            .profiles
            .iter()
            .for_each(|profile| count(contender, *profile, &options)),
        None => table(&options),
    }
}

fn options() -> Options {
    let mut options = Options {
        rounds: 15,
        seed: 7,
        steps: 1_000_000,
        profiles: Vec::new(),
        count: None,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || {
            let text = words.next().unwrap_or_default();
            text.parse()
                .unwrap_or_else(|_| panic!("{word} wants a number, not {text:?}"))
        };
        match word.as_str() {
            "--rounds" => options.rounds = number() as usize,
            "--seed" => options.seed = number(),
            "--steps" => options.steps = number() as usize,
            "--count" => options.count = words.next(),
            // What `cargo xtask bench --quick` asks for.
            "--quick" => (options.rounds, options.steps) = (3, 200_000),
            // What cargo adds.
            "--bench" => {}
            name => match PROFILES.into_iter().find(|profile| profile.name() == name) {
                Some(profile) => options.profiles.push(profile),
                None => panic!("{name} is no profile: passive, aggressive, sweep, wide"),
            },
        }
    }
    if options.profiles.is_empty() {
        options.profiles = PROFILES.to_vec();
    }
    options
}

fn table(options: &Options) {
    println!("profile     contender          M ops/s   ns/op   ratio |  median  spread   ratio");
    for profile in &options.profiles {
        let flow = Flow::new(*profile, options.steps, options.seed);
        let book = book_flow(&flow);
        let engine = engine_flow(&flow, false);
        let engine_ids = engine_flow(&flow, true);
        for totals in [
            array_book_totals(&flow),
            book_totals(&book),
            engine_totals(&engine),
            engine_totals(&engine_ids),
        ] {
            assert_eq!(totals, flow.expected, "a contender is wrong");
        }
        let slice = |slice: usize| {
            let length = options.steps.div_ceil(SLICES);
            (slice * length).min(options.steps)..((slice + 1) * length).min(options.steps)
        };
        let engine_contender = |name, inputs| {
            Contender::new(name, move || {
                let inputs: &EngineFlow = inputs;
                let mut engine = filled_engine(inputs);
                let mut event = Event::default();
                move |at| {
                    run_engine(&mut engine, &inputs.measured[slice(at)], &mut event, |event| {
                        black_box(event);
                    })
                }
            })
        };
        let mut contenders = [
            Contender::new("baseline", || {
                let (mut book, mut next) = filled_array_book(&flow);
                let mut reports = Vec::with_capacity(4096);
                let steps = &flow.measured;
                move |at| {
                    run_array_book(&mut book, &mut next, &steps[slice(at)], &mut reports, |reports| {
                        black_box(reports);
                    })
                }
            }),
            Contender::new("book", || {
                let mut filled = filled_book(&book);
                let mut reports = Vec::with_capacity(4096);
                let commands = &book.measured;
                move |at| {
                    run_book(&mut filled, &commands[slice(at)], &mut reports, |reports| {
                        black_box(reports);
                    })
                }
            }),
            engine_contender("engine", &engine),
            engine_contender("engine, client ids", &engine_ids),
        ];
        let all = measure(options.rounds, SLICES, &mut contenders);
        let rates = |times: &[Duration]| -> Vec<f64> {
            let rate = |time: &Duration| options.steps as f64 / time.as_secs_f64() / 1e6;
            times.iter().map(rate).collect()
        };
        let baseline = rates(&all[0].rounds);
        for measured in &all[1..] {
            let goal = match measured.name {
                "book" => Goal::Ratio(times_cpp_orderbook(*profile, 2.5)),
                "engine" => Goal::Ratio(times_cpp_orderbook(*profile, 1.0)),
                _ => Goal::None,
            };
            let row = Row {
                bench: "book",
                case: &format!("{}, {}", measured.name, profile.name()),
                unit: "M commands/s",
                rounds: &rates(&measured.rounds),
                baseline: &baseline,
                goal,
            };
            row.print();
        }
        for measured in all {
            let nanoseconds = |time: Duration| time.as_secs_f64() / options.steps as f64 * 1e9;
            println!(
                "{:<11} {:<18} {:>7.2} {:>7.1} {:>7.2} | {:>7.1} {:>6.1}% {:>7.2}",
                profile.name(),
                measured.name,
                1e3 / nanoseconds(measured.quiet),
                nanoseconds(measured.quiet),
                measured.ratio,
                nanoseconds(measured.median),
                measured.spread * 100.0,
                measured.median_ratio,
            );
        }
    }
}

/// So many times the speed of cpp-orderbook, as a ratio to the baseline, which is faster: see `benches/README.md`.
fn times_cpp_orderbook(profile: Profile, times: f64) -> f64 {
    let of_baseline = match profile {
        Profile::Passive => 1.34,
        Profile::Aggressive => 1.42,
        Profile::Sweep => 1.43,
        Profile::Wide => 1.41,
    };
    (times / of_baseline * 100.0).round() / 100.0
}

/// Runs one contender once. Callgrind counts from `counted` on: `--toggle-collect='*counted*'`.
fn count(contender: &str, profile: Profile, options: &Options) {
    let flow = Flow::new(profile, options.steps, options.seed);
    match contender {
        "baseline" => {
            let (mut book, mut next) = filled_array_book(&flow);
            let mut reports = Vec::with_capacity(4096);
            counted(|| {
                run_array_book(&mut book, &mut next, &flow.measured, &mut reports, |reports| {
                    black_box(reports);
                });
            });
        }
        "book" => {
            let commands = book_flow(&flow);
            let mut book = filled_book(&commands);
            let mut reports = Vec::with_capacity(4096);
            counted(|| {
                run_book(&mut book, &commands.measured, &mut reports, |reports| {
                    black_box(reports);
                });
            });
        }
        "engine" | "engine-ids" => {
            let inputs = engine_flow(&flow, contender == "engine-ids");
            let mut engine = filled_engine(&inputs);
            let mut event = Event::default();
            counted(|| {
                run_engine(&mut engine, &inputs.measured, &mut event, |event| {
                    black_box(event);
                });
            });
        }
        other => panic!("{other} is no contender: baseline, book, engine, engine-ids"),
    }
}

#[inline(never)]
fn counted(mut run: impl FnMut()) {
    run();
}
