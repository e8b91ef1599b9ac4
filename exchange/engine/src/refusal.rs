//! Why a command was refused. A refused command changes nothing and is not journaled.

use crate::command::InvalidField;
use crate::types::{InstrumentId, TradingPhase};

/// Why a command was refused; each is one `ErrorReason` of the contract unless it says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// `INVALID_FIELD`.
    #[error(transparent)]
    InvalidField(#[from] InvalidField),
    /// `INVALID_TICK`.
    #[error("the price is no multiple of the tick size {tick_size_e4}")]
    InvalidTick {
        /// The instrument's tick size, in 1e-4.
        tick_size_e4: i64,
    },
    /// `NOTIONAL_TOO_LARGE`.
    #[error("|price| × quantity × multiplier is over 10^14")]
    NotionalTooLarge,
    /// `UNKNOWN_INSTRUMENT`.
    #[error("no such instrument")]
    UnknownInstrument,
    /// `UNKNOWN_USER`.
    #[error("no such user")]
    UnknownUser,
    /// No open order of this user: `ORDER_DONE` if history knows it as this user's, else `UNKNOWN_ORDER`.
    #[error("no such open order")]
    OrderNotOpen,
    /// `DUPLICATE_SYMBOL`.
    #[error("the symbol is taken")]
    DuplicateSymbol,
    /// `CLIENT_ID_REUSED`.
    #[error("this client id was used with another content")]
    ClientIdReused,
    /// `PHASE_FORBIDS`.
    #[error("the book's phase forbids it")]
    PhaseForbids {
        /// The book's phase.
        phase: TradingPhase,
    },
    /// `WOULD_CROSS`.
    #[error("a post-only order would trade")]
    WouldCross,
    /// `CANNOT_FILL`.
    #[error("a fill-or-kill order cannot be filled whole")]
    CannotFill,
    /// `USER_SUSPENDED`.
    #[error("the user is suspended: {comment}")]
    UserSuspended {
        /// The administrator's words.
        comment: String,
    },
    /// `RISK_LIMIT`.
    #[error("risk limit {}: {} + {} is over {}", .0.limit_name, .0.current, .0.attempted, .0.limit)]
    RiskLimit(LimitBreach),
    /// `RATE_LIMIT`.
    #[error("rate limit {}: {} + {} is over {}", .breach.limit_name, .breach.current, .breach.attempted, .breach.limit)]
    RateLimit {
        /// What was breached.
        breach: LimitBreach,
        /// When the same command would pass if nothing else happened; the whole window if it never would.
        retry_after_ns: i64,
    },
    /// `CAPACITY`.
    #[error("the exchange keeps no more than {limit} ({limit_name})")]
    Capacity {
        /// Name of the field of [`crate::Limits`]; `order_ids` when the last order id was given out.
        limit_name: &'static str,
        /// Its value.
        limit: u64,
    },
}

/// A limit, and how a command would break it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitBreach {
    /// Field name in `UserRiskLimits` or `InstrumentRiskLimits` of the contract.
    pub limit_name: &'static str,
    /// Instrument, for an instrument's limit.
    pub instrument: Option<InstrumentId>,
    /// The limit.
    pub limit: i64,
    /// What counts already.
    pub current: i128,
    /// What this command would add.
    pub attempted: i128,
}
