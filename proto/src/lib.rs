//! The Optivex gRPC contract as Rust: messages, and with the feature `grpc` clients and servers.
//!
//! The text of the contract is in `optivex/v1/*.proto`; `README.md` explains it clause by clause.

/// Package `optivex.v1`.
#[allow(missing_docs, clippy::doc_lazy_continuation, rustdoc::invalid_html_tags)] // Generated; the proto files' comments are its docs.
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/optivex.v1.rs"));
}

/// The contract as an encoded `google.protobuf.FileDescriptorSet`, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
