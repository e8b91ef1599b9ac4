//! `uat-daemon`.

fn main() {}
