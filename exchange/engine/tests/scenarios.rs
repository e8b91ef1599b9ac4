//! The rulebook: what the exchange does in the cases that people argue about, one table a subject.

#[path = "scenarios/auction.rs"]
mod auction;
#[path = "scenarios/capacity.rs"]
mod capacity;
#[path = "scenarios/client_ids.rs"]
mod client_ids;
#[path = "scenarios/market.rs"]
mod market;
#[path = "scenarios/phases.rs"]
mod phases;
#[path = "scenarios/positions.rs"]
mod positions;
#[path = "scenarios/priority.rs"]
mod priority;
#[path = "scenarios/reasons.rs"]
mod reasons;
#[path = "scenarios/risk_limits.rs"]
mod risk_limits;
#[path = "scenarios/rolling_windows.rs"]
mod rolling_windows;
#[path = "scenarios/self_trade.rs"]
mod self_trade;
#[path = "scenarios/suspension.rs"]
mod suspension;
#[path = "scenarios/time_in_force.rs"]
mod time_in_force;
