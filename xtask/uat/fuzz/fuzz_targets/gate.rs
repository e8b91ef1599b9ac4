//! Whatever a client says to the gate.

#![no_main]

#[path = "../../tests/gate/fuzz_one.rs"]
mod fuzz_one;
#[allow(dead_code)] // The tests use more of it.
#[path = "../../tests/gate/room.rs"]
mod room;

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz_one::fuzz_one(input));
