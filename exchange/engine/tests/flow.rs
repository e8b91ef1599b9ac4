//! The order flows of the benchmarks come to what another program worked out for the same seeds.

#[path = "../benches/support/flow.rs"]
#[allow(dead_code, unreachable_pub)]
mod flow;

use flow::{Flow, PROFILES, Totals};

#[test]
fn flows_come_to_the_known_totals() {
    let known = [
        Totals {
            trades: 7_813,
            quantity: 148_726,
            notional: 4_873_458_582,
            resting: 78_610,
        },
        Totals {
            trades: 91_631,
            quantity: 556_626,
            notional: 18_239_394_348,
            resting: 18_155,
        },
        Totals {
            trades: 90_727,
            quantity: 926_034,
            notional: 30_344_433_220,
            resting: 22_781,
        },
        Totals {
            trades: 17_878,
            quantity: 607_417,
            notional: 607_117_250_912,
            resting: 17_488,
        },
        Totals {
            trades: 7_926,
            quantity: 152_486,
            notional: 4_996_660_258,
            resting: 78_419,
        },
        Totals {
            trades: 91_380,
            quantity: 559_371,
            notional: 18_329_839_166,
            resting: 18_309,
        },
        Totals {
            trades: 90_719,
            quantity: 935_772,
            notional: 30_663_665_107,
            resting: 22_687,
        },
        Totals {
            trades: 17_715,
            quantity: 599_448,
            notional: 598_964_209_680,
            resting: 17_762,
        },
    ];
    for (at, expected) in known.into_iter().enumerate() {
        let profile = PROFILES[at % PROFILES.len()];
        let flow = Flow::new(profile, 100_000, 7 + (at / PROFILES.len()) as u64);
        assert_eq!(flow.expected, expected, "{profile:?}");
    }
}
