//! Bounds of everything that a client can make grow. Part of the state: written with the first
//! record of a journal, so that a replay refuses what the exchange refused.

/// Bounds of the state; reaching one is refused with `CAPACITY` and its name in `limit_name`, but for the
/// last two, which bound what is remembered. They bound memory, and time: what a single command can cost
/// all others is in proportion to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Users.
    pub users_max: u32,
    /// Instruments.
    pub instruments_max: u32,
    /// Open orders of all users; 160 bytes each, 40 for a level of its own, and 125 for a client id.
    pub open_orders_max: u32,
    /// Open orders of one user.
    pub open_orders_per_user_max: u32,
    /// Price levels of one side of one book. A refused fill-or-kill order, and a market order whose amount
    /// a limit asks for, may walk through all of them: 30 to 50 ns each.
    pub price_levels_per_side_max: u32,
    /// Client ids of done orders that are kept for each user, beside those of its open orders.
    pub client_order_ids_per_user_max: u32,
    /// Moments that one rolling window keeps apart, 32 bytes each; a user has up to one window, and two
    /// for each instrument with limits. Beyond, its oldest half loses resolution on the
    /// safe side: it counts too long, never too short.
    pub rolling_window_moments_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            users_max: 100_000,
            instruments_max: 20_000,
            open_orders_max: ORDER_SLOTS_MAX,
            open_orders_per_user_max: 1_000_000,
            price_levels_per_side_max: 1_000_000,
            client_order_ids_per_user_max: 65_536,
            rolling_window_moments_max: 65_536,
        }
    }
}

/// Bits of an order id that say in which slot the order lies; the others count orders.
pub const ORDER_SLOT_BITS: u32 = 24;
/// Open orders that order ids can tell apart.
pub const ORDER_SLOTS_MAX: u32 = (1 << ORDER_SLOT_BITS) - 1;
