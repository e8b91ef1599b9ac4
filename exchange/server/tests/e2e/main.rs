//! Where a user stands: real clients against the real program.

mod buf;
mod exchange;
mod grpcurl;
mod python;
mod replay;
mod tools;
