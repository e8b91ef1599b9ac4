//! `rehearse`.

fn main() {}
