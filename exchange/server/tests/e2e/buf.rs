//! `buf curl`, which asks for reflection v1.

use std::process::Command;

use serde_json::{Value, json};

use crate::exchange::Exchange;
use crate::tools::{self, said, succeeds};

fn curl(exchange: &Exchange, args: &[&str], path: &str) -> Command {
    let mut command = tools::buf();
    command
        .args([
            "curl",
            "--http2-prior-knowledge",
            "--protocol",
            "grpc",
            "--reflect-protocol",
            "grpc-v1",
        ])
        .args(args)
        .arg(format!("{}{path}", exchange.url()));
    command
}

fn call(exchange: &Exchange, token: Option<&str>, method: &str, request: &Value) -> Command {
    let request = request.to_string();
    let bearer = format!("Authorization: Bearer {}", token.unwrap_or_default());
    let mut args = vec!["--data", request.as_str()];
    if token.is_some() {
        args.extend(["--header", bearer.as_str()]);
    }
    curl(exchange, &args, &format!("/{method}"))
}

#[test]
fn a_session_over_reflection_v1() {
    let exchange = Exchange::start();
    let methods = succeeds(&mut curl(&exchange, &["--list-methods"], ""));
    for method in [
        "optivex.v1.AuthService/Login",
        "optivex.v1.InfoService/SubscribeOrderBooks",
    ] {
        assert!(methods.contains(method), "{method} is not in {methods}");
    }

    let login = |username: &str| {
        let request = json!({"username": username, "password": format!("{username}-password")});
        let answer = tools::json(&mut call(&exchange, None, "optivex.v1.AuthService/Login", &request));
        answer["token"].as_str().expect("a token").to_owned()
    };
    let admin = login("admin");
    let create = json!({"symbol": "ACME", "currency": "EUR", "multiplier": 1, "tickSizeE4": 100});
    let created = tools::json(&mut call(
        &exchange,
        Some(&admin),
        "optivex.v1.AdminService/CreateInstrument",
        &create,
    ));
    assert_eq!(created["instrument"]["symbol"], "ACME", "{created}");
    let order = json!({"symbol": "ACME", "side": "SIDE_BUY", "priceE4": -500, "quantity": 2});
    let alice = login("alice");
    let inserted = tools::json(&mut call(
        &exchange,
        Some(&alice),
        "optivex.v1.ExecutionService/InsertOrder",
        &order,
    ));
    assert_eq!(inserted["openQuantity"], "2", "{inserted}");
    let book = tools::json(&mut call(
        &exchange,
        Some(&alice),
        "optivex.v1.InfoService/GetOrderBook",
        &json!({"symbol": "ACME"}),
    ));
    assert_eq!(book["book"]["bids"][0]["priceE4"], "-500", "{book}");

    let refused = said(&mut call(
        &exchange,
        Some(&alice),
        "optivex.v1.AdminService/CreateInstrument",
        &create,
    ));
    assert!(!refused.ok);
    let error: Value = serde_json::from_str(&refused.stderr).expect("buf prints the error as JSON");
    assert_eq!(error["code"], "permission_denied", "{error}");
    assert_eq!(error["details"][0]["type"], "google.rpc.ErrorInfo", "{error}");
}
