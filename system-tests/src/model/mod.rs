//! Simple reference models of what an exchange of the contract must come to: slow on purpose, so
//! that a reader can see that they are right.

pub mod book;
pub mod book_flow;
pub mod venue;
pub mod venue_flow;
