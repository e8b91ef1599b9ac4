//! A client in Python, its stubs generated from proto/ as any participant would.

use std::fs;

use crate::exchange::Exchange;
use crate::tools::{python, repository, succeeds};

#[test]
fn a_client_in_python() {
    let exchange = Exchange::start();
    let stubs = exchange.home.path().join("stubs");
    fs::create_dir(&stubs).expect("can make a folder");
    let proto = repository().join("proto");
    let mut files: Vec<_> = fs::read_dir(proto.join("optivex/v1"))
        .expect("the contract is there")
        .map(|entry| entry.expect("can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "proto"))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    succeeds(
        python()
            .args(["-m", "grpc_tools.protoc", "-I"])
            .arg(&proto)
            .arg("--python_out")
            .arg(&stubs)
            .arg("--grpc_python_out")
            .arg(&stubs)
            .args(&files),
    );
    let said = succeeds(
        python()
            .arg(repository().join("exchange/server/tests/e2e/client.py"))
            .arg(&exchange.address)
            .env("PYTHONPATH", &stubs)
            .env("PYTHONDONTWRITEBYTECODE", "1"),
    );
    assert!(said.ends_with("all as it must be\n"), "{said}");
}
