//! `uat-gate`.

fn main() {}
