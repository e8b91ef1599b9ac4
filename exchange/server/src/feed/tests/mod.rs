//! The feed without sockets and clocks: a real engine, the writer, and readers that believe nothing.

mod cases;
mod random;
mod receiver;
mod threads;
mod venue;
