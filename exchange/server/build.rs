//! Generates the server side of `InfoService` a second time, with a response type of its own for
//! `SubscribeOrderBooks`: that stream sends bytes that were encoded once for all its readers.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=../../proto/optivex");
    let descriptors = protox::compile(["optivex/v1/info.proto"], ["../../proto"])?;
    tonic_prost_build::configure()
        .build_client(false)
        .extern_path(".optivex.v1", "::optivex_proto::v1")
        .extern_path(".optivex.v1.SubscribeOrderBooksResponse", "crate::feed::Frame")
        .compile_fds(descriptors)?;
    Ok(())
}
