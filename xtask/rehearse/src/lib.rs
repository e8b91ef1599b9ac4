//! The whole program on one machine.
