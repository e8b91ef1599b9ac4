//! The exchange: optivex serve, and tools over its journals.

fn main() {}
