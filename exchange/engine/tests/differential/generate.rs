//! Where randomness comes from: a seed makes a profile (the venue of one episode) and genes (its
//! commands, before they are decoded against what has happened so far).

use optivex_engine::Limits;
use optivex_engine::types::{PRICE_E4_MAX, TradingPhase};

/// One command as raw numbers. Small numbers are plain commands, so that shrinking towards 0 makes
/// failures simple; `decode.rs` says what each place means.
pub(crate) type Gene = [u16; 8];

/// SplitMix64 (Steele, Lea, Flood 2014): fixed, so a printed seed always means the same commands.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn gene(&mut self) -> Gene {
        let (a, b) = (self.next(), self.next());
        std::array::from_fn(|i| ((if i < 4 { a } else { b }) >> (16 * (i % 4))) as u16)
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[(self.next() % choices.len() as u64) as usize]
    }
}

/// An instrument of a profile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listing {
    pub(crate) tick: i64,
    pub(crate) multiplier: i64,
    /// Around which orders come, in ticks.
    pub(crate) mid: i64,
    pub(crate) phase: TradingPhase,
}

/// The venue of one episode.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    pub(crate) seed: u64,
    pub(crate) users: u32,
    /// The first so many are created at once, the others as the episode goes.
    pub(crate) created: usize,
    pub(crate) listings: Vec<Listing>,
    pub(crate) limits: Limits,
    /// Rolling windows keep fewer moments than come: the engine may then refuse too much, as its
    /// setting says, but never too little.
    pub(crate) coarse_windows: bool,
    /// How many out of 16 limits are set when limits are replaced.
    pub(crate) strictness: u16,
    /// Prices lie far apart and few orders leave, so that books become deep.
    pub(crate) deep: bool,
    /// Call auctions follow each other, with small orders, so that prices are often equally good.
    pub(crate) auctions: bool,
    /// Little time passes between commands, or much.
    pub(crate) hurry: bool,
}

impl Profile {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x0970_1E87);
        let listings = (0..10).map(|_| listing(&mut random)).collect();
        let coarse_windows = random.next() % 8 == 7;
        let deep = random.next() % 16 == 15;
        let mut limits = Limits {
            users_max: 7,
            instruments_max: 8,
            open_orders_max: random.one_of(&[1000, 120, 40, 12]),
            open_orders_per_user_max: random.one_of(&[1000, 60, 20, 5]),
            price_levels_per_side_max: random.one_of(&[1000, 30, 8, 3]),
            client_order_ids_per_user_max: random.one_of(&[16, 5, 1, 0]),
            rolling_window_moments_max: if coarse_windows {
                random.one_of(&[2, 0, 1, 3, 4, 8, 16])
            } else {
                65_536
            },
        };
        if deep {
            limits.open_orders_max = 1000;
            limits.open_orders_per_user_max = 1000;
            limits.price_levels_per_side_max = 1000;
        }
        Self {
            seed,
            users: 3 + (random.next() % 4) as u32,
            created: if deep { 1 } else { 1 + (random.next() % 4) as usize },
            listings,
            limits,
            coarse_windows,
            deep,
            auctions: !deep && random.next() % 4 == 3,
            strictness: if deep { 0 } else { random.one_of(&[3, 1, 6, 12]) },
            hurry: random.next().is_multiple_of(2),
        }
    }
}

const PHASES: [TradingPhase; 5] = [
    TradingPhase::Continuous,
    TradingPhase::Continuous,
    TradingPhase::Auction,
    TradingPhase::Auction,
    TradingPhase::Halted,
];

fn listing(random: &mut Random) -> Listing {
    let tick = random.one_of(&[100, 1, 5, 25, 10_000, 7, 1_000_000_000, PRICE_E4_MAX]);
    let mid = random.one_of(&[100, 0, 2, -3, -500, 12_345]);
    let multiplier = random.one_of(&[1, 1, 10, 250, 1_000_000]);
    // Some tens of lots some ticks from zero are to stay within the bound on notional.
    let fits = |mid: i64, multiplier: i64| {
        let farthest = i128::from(tick) * i128::from(mid.abs() + 8) * i128::from(multiplier);
        farthest * 40 <= 100_000_000_000_000
    };
    let multiplier = if fits(0, multiplier) { multiplier } else { 1 };
    let mid = if fits(mid, multiplier) { mid } else { 0 };
    Listing {
        tick,
        multiplier,
        mid,
        phase: random.one_of(&PHASES),
    }
}
