//! Generates the code of the journal's records, without protoc.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    println!("cargo::rerun-if-changed=../../proto/optivex");
    let descriptors = protox::compile(["optivex/journal/v1/record.proto"], ["proto", "../../proto"])?;
    prost_build::Config::new()
        .extern_path(".optivex.v1", "::optivex_proto::v1")
        .compile_fds(descriptors)?;
    Ok(())
}
