//! EC2 through the real SDK: against a server with canned answers, and against moto.

mod errors;
mod moto;
mod requests;
mod server;
mod support;
mod waiting;
