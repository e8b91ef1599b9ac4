//! `deploy`.

fn main() {}
