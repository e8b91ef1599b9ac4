//! Protobuf form of the state. Versions: a reader knows the versions before its own; fields are only added.

/// Version that is written.
pub(super) const VERSION: u32 = 1;

/// Fields of the whole state: a [`Header`], then messages of the other types, one kind after the other, so that
/// there is one form of one state; the seal comes last.
pub(super) mod tag {
    /// Of [`Header`](super::Header).
    pub(crate) const HEADER: u8 = 1;
    /// Of [`User`](super::User), by id.
    pub(crate) const USER: u8 = 2;
    /// Of [`Instrument`](super::Instrument), by id.
    pub(crate) const INSTRUMENT: u8 = 3;
    /// Of [`Order`](super::Order), by instrument, bids before asks, then in priority.
    pub(crate) const ORDER: u8 = 4;
    /// Of [`Account`](super::Account), by user, then instrument; without those that say nothing.
    pub(crate) const ACCOUNT: u8 = 5;
    /// Of [`ClientId`](super::ClientId), by user: first the ids of open orders by id, then those of done orders in
    /// the order they got done.
    pub(crate) const CLIENT_ID: u8 = 6;
    /// SHA-256 of everything before it.
    pub(crate) const SEAL: u8 = 15;
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Header {
    #[prost(uint32, tag = "1")]
    pub(super) version: u32,
    #[prost(message, optional, tag = "2")]
    pub(super) limits: Option<Limits>,
    #[prost(uint64, tag = "3")]
    pub(super) event_seq: u64,
    #[prost(sint64, tag = "4")]
    pub(super) time_unix_ns: i64,
    #[prost(uint64, tag = "5")]
    pub(super) last_order_id: u64,
    #[prost(uint64, tag = "6")]
    pub(super) last_trade_id: u64,
    /// Next one last.
    #[prost(uint32, repeated, tag = "7")]
    pub(super) free_slots: Vec<u32>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Limits {
    #[prost(uint32, tag = "1")]
    pub(super) users_max: u32,
    #[prost(uint32, tag = "2")]
    pub(super) instruments_max: u32,
    #[prost(uint32, tag = "3")]
    pub(super) open_orders_max: u32,
    #[prost(uint32, tag = "4")]
    pub(super) open_orders_per_user_max: u32,
    #[prost(uint32, tag = "5")]
    pub(super) price_levels_per_side_max: u32,
    #[prost(uint32, tag = "6")]
    pub(super) client_order_ids_per_user_max: u32,
    #[prost(uint32, tag = "7")]
    pub(super) rolling_window_moments_max: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct User {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, optional, tag = "2")]
    pub(super) suspension: Option<String>,
    #[prost(uint64, tag = "3")]
    pub(super) report_seq: u64,
    #[prost(message, optional, tag = "4")]
    pub(super) message_rate: Option<WindowLimit>,
    #[prost(int64, optional, tag = "5")]
    pub(super) max_outstanding_quantity: Option<i64>,
    #[prost(int64, optional, tag = "6")]
    pub(super) max_outstanding_amount_e4: Option<i64>,
    #[prost(message, optional, tag = "7")]
    pub(super) messages: Option<Window>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Instrument {
    #[prost(uint32, tag = "1")]
    pub(super) creator: u32,
    #[prost(string, tag = "2")]
    pub(super) symbol: String,
    #[prost(string, tag = "3")]
    pub(super) description: String,
    #[prost(string, tag = "4")]
    pub(super) currency: String,
    #[prost(int64, tag = "5")]
    pub(super) multiplier: i64,
    #[prost(int64, tag = "6")]
    pub(super) tick_size_e4: i64,
    #[prost(uint32, tag = "7")]
    pub(super) initial_phase: u32,
    #[prost(string, tag = "8")]
    pub(super) client_request_id: String,
    #[prost(uint64, tag = "9")]
    pub(super) created_event_seq: u64,
    #[prost(sint64, tag = "10")]
    pub(super) created_unix_ns: i64,
    #[prost(uint32, tag = "11")]
    pub(super) phase: u32,
    #[prost(uint64, tag = "12")]
    pub(super) book_seq: u64,
    #[prost(sint64, optional, tag = "13")]
    pub(super) last_trade_price_e4: Option<i64>,
}

/// A resting order: limit, good till cancelled.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Order {
    #[prost(uint32, tag = "1")]
    pub(super) instrument: u32,
    #[prost(uint32, tag = "2")]
    pub(super) side: u32,
    #[prost(uint64, tag = "3")]
    pub(super) order_id: u64,
    #[prost(uint32, tag = "4")]
    pub(super) user: u32,
    #[prost(string, tag = "5")]
    pub(super) client_order_id: String,
    #[prost(sint64, tag = "6")]
    pub(super) price_e4: i64,
    #[prost(int64, tag = "7")]
    pub(super) quantity: i64,
    #[prost(int64, tag = "8")]
    pub(super) filled_quantity: i64,
    #[prost(sint64, tag = "9")]
    pub(super) created_unix_ns: i64,
    #[prost(bool, tag = "10")]
    pub(super) post_only: bool,
    #[prost(uint32, tag = "11")]
    pub(super) self_trade_prevention: u32,
    #[prost(uint64, tag = "12")]
    pub(super) event_seq: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Account {
    #[prost(uint32, tag = "1")]
    pub(super) user: u32,
    #[prost(uint32, tag = "2")]
    pub(super) instrument: u32,
    #[prost(message, optional, tag = "3")]
    pub(super) quantity: Option<Int128>,
    #[prost(message, optional, tag = "4")]
    pub(super) cash_e4: Option<Int128>,
    #[prost(message, optional, tag = "5")]
    pub(super) order_quantity: Option<WindowLimit>,
    #[prost(message, optional, tag = "6")]
    pub(super) order_amount: Option<WindowLimit>,
    #[prost(int64, optional, tag = "7")]
    pub(super) max_outstanding_quantity: Option<i64>,
    #[prost(int64, optional, tag = "8")]
    pub(super) max_outstanding_amount_e4: Option<i64>,
    #[prost(int64, optional, tag = "9")]
    pub(super) max_order_quantity: Option<i64>,
    #[prost(int64, optional, tag = "10")]
    pub(super) max_position: Option<i64>,
    #[prost(message, optional, tag = "11")]
    pub(super) quantities: Option<Window>,
    #[prost(message, optional, tag = "12")]
    pub(super) amounts: Option<Window>,
}

/// Key of [`ClientId::user`].
pub(super) const CLIENT_ID_USER_KEY: u8 = 1 << 3;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ClientId {
    #[prost(uint32, tag = "1")]
    pub(super) user: u32,
    #[prost(string, tag = "2")]
    pub(super) client_order_id: String,
    #[prost(bool, tag = "3")]
    pub(super) done: bool,
    #[prost(uint32, tag = "4")]
    pub(super) instrument: u32,
    #[prost(uint32, tag = "5")]
    pub(super) side: u32,
    #[prost(sint64, tag = "6")]
    pub(super) price_e4: i64,
    #[prost(int64, tag = "7")]
    pub(super) quantity: i64,
    #[prost(uint32, tag = "8")]
    pub(super) order_type: u32,
    #[prost(uint32, tag = "9")]
    pub(super) time_in_force: u32,
    #[prost(bool, tag = "10")]
    pub(super) post_only: bool,
    #[prost(uint32, tag = "11")]
    pub(super) self_trade_prevention: u32,
    #[prost(uint64, tag = "12")]
    pub(super) order_id: u64,
    #[prost(uint64, tag = "13")]
    pub(super) event_seq: u64,
    #[prost(uint64, tag = "14")]
    pub(super) report_seq: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct WindowLimit {
    #[prost(int64, tag = "1")]
    pub(super) limit: i64,
    #[prost(int32, tag = "2")]
    pub(super) window_in_seconds: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Window {
    /// Oldest first.
    #[prost(message, repeated, tag = "1")]
    pub(super) moments: Vec<Moment>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Moment {
    #[prost(sint64, tag = "1")]
    pub(super) time_unix_ns: i64,
    #[prost(message, optional, tag = "2")]
    pub(super) amount: Option<Int128>,
}

/// Two's complement.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Int128 {
    #[prost(sint64, tag = "1")]
    pub(super) high: i64,
    #[prost(uint64, tag = "2")]
    pub(super) low: u64,
}

impl From<i128> for Int128 {
    fn from(value: i128) -> Self {
        Self {
            high: (value >> 64) as i64,
            low: value as u64,
        }
    }
}

impl From<&Int128> for i128 {
    fn from(value: &Int128) -> Self {
        (i128::from(value.high) << 64) | i128::from(value.low)
    }
}
