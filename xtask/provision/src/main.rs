//! `provision`.

fn main() {}
