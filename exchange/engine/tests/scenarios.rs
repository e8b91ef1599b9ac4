//! The rulebook: what the exchange does in the cases that people argue about, one table a subject.

#[path = "scenarios/market.rs"]
mod market;
#[path = "scenarios/priority.rs"]
mod priority;
