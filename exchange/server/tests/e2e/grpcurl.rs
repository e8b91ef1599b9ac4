//! grpcurl 1.8.6, which knows reflection v1alpha only.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Deserializer, Value, json};

use crate::exchange::Exchange;
use crate::tools::{self, said, succeeds};

fn grpcurl(before: &[&str], exchange: &Exchange, after: &[&str]) -> Command {
    let mut command = tools::grpcurl();
    command
        .arg("-plaintext")
        .args(before)
        .arg(&exchange.address)
        .args(after);
    command
}

fn call(exchange: &Exchange, token: Option<&str>, method: &str, request: &Value) -> Command {
    let request = request.to_string();
    let bearer = format!("authorization: Bearer {}", token.unwrap_or_default());
    let mut before = vec!["-d", &request];
    if token.is_some() {
        before.extend(["-H", &bearer]);
    }
    grpcurl(&before, exchange, &[method])
}

fn login(exchange: &Exchange, username: &str) -> String {
    let request = json!({"username": username, "password": format!("{username}-password")});
    let answer = tools::json(&mut call(exchange, None, "optivex.v1.AuthService/Login", &request));
    answer["token"].as_str().expect("a token").to_owned()
}

/// A subscription in a grpcurl of its own.
struct Watch {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Watch {
    fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("grpcurl starts");
        let stdout = child.stdout.take().expect("is piped");
        Self {
            child,
            lines: BufReader::new(stdout).lines(),
        }
    }

    /// The next message; grpcurl prints each as an object over several lines.
    fn next(&mut self) -> Value {
        let mut text = String::new();
        for line in self.lines.by_ref() {
            text.push_str(&line.expect("text"));
            text.push('\n');
            if text.starts_with('{') && text.ends_with("\n}\n") || text == "{}\n" {
                return serde_json::from_str(&text).expect("JSON");
            }
        }
        panic!("grpcurl ended: {text}");
    }

    /// The next message with this field.
    fn until(&mut self, field: &str) -> Value {
        loop {
            let message = self.next();
            if let Some(value) = message.get(field) {
                return value.clone();
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn lists_and_describes() {
    let exchange = Exchange::start();
    let services = succeeds(&mut grpcurl(&[], &exchange, &["list"]));
    let services: Vec<&str> = services.lines().collect();
    for service in [
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        "optivex.v1.AdminService",
        "optivex.v1.AuthService",
        "optivex.v1.ExecutionService",
        "optivex.v1.InfoService",
        "optivex.v1.RiskLimitsService",
    ] {
        assert!(services.contains(&service), "{service} is not in {services:?}");
    }
    let described = succeeds(&mut grpcurl(
        &[],
        &exchange,
        &["describe", "optivex.v1.InsertOrderRequest"],
    ));
    for field in [
        "string symbol = 1;",
        "int64 price_e4 = 3;",
        "string client_order_id = 9;",
    ] {
        assert!(described.contains(field), "{field} is not in {described}");
    }
    let methods = succeeds(&mut grpcurl(&[], &exchange, &["list", "optivex.v1.ExecutionService"]));
    assert!(methods.contains("optivex.v1.ExecutionService.OrderEntry"), "{methods}");
    let health = tools::json(&mut call(&exchange, None, "grpc.health.v1.Health/Check", &json!({})));
    assert_eq!(health["status"], "SERVING");
}

/// The session of README.md.
#[test]
fn a_trading_session() {
    let exchange = Exchange::start();
    let admin = login(&exchange, "admin");
    let alice = login(&exchange, "alice");
    let bob = login(&exchange, "bob");

    let create = json!({"symbol": "ACME", "currency": "EUR", "multiplier": 1, "tickSizeE4": 100});
    let created = tools::json(&mut call(
        &exchange,
        Some(&admin),
        "optivex.v1.AdminService/CreateInstrument",
        &create,
    ));
    assert_eq!(created["instrument"]["phase"], "TRADING_PHASE_CONTINUOUS", "{created}");

    let subscribe = json!({"symbols": ["ACME"], "view": "BOOK_VIEW_PRICE_DEPTH"});
    let mut watch = Watch::start(call(
        &exchange,
        Some(&bob),
        "optivex.v1.InfoService/SubscribeOrderBooks",
        &subscribe,
    ));
    assert_eq!(watch.until("subscribed")["statuses"][0]["symbol"], "ACME");
    assert_eq!(watch.until("snapshot")["symbol"], "ACME");

    let insert = |token: &str, side: &str, quantity: i64| {
        let order = json!({"symbol": "ACME", "side": side, "priceE4": 1_012_500, "quantity": quantity});
        tools::json(&mut call(
            &exchange,
            Some(token),
            "optivex.v1.ExecutionService/InsertOrder",
            &order,
        ))
    };
    let rests = insert(&alice, "SIDE_SELL", 10);
    assert_eq!(rests["status"], "ORDER_STATUS_OPEN", "{rests}");
    let update = watch.until("update");
    assert_eq!(
        update["asks"],
        json!([{"priceE4": "1012500", "quantity": "10", "orderCount": 1}])
    );
    assert_eq!(update["eventSeq"], rests["eventSeq"]);

    let trades = insert(&bob, "SIDE_BUY", 4);
    assert_eq!(trades["status"], "ORDER_STATUS_FILLED", "{trades}");
    let update = watch.until("update");
    assert_eq!(update["asks"][0]["quantity"], "6");
    assert_eq!(update["trades"][0]["quantity"], "4");
    assert_eq!(update["trades"][0]["aggressorSide"], "SIDE_BUY");

    let mut tape = call(
        &exchange,
        Some(&bob),
        "optivex.v1.InfoService/ListTrades",
        &json!({"symbol": "ACME"}),
    );
    assert_eq!(tools::json(&mut tape)["trades"][0]["priceE4"], "1012500");
    let positions = tools::json(&mut call(
        &exchange,
        Some(&bob),
        "optivex.v1.ExecutionService/ListPositions",
        &json!({}),
    ));
    assert_eq!(positions["positions"][0]["quantity"], "4", "{positions}");
}

#[test]
fn many_commands_on_one_stream() {
    let exchange = Exchange::start();
    let admin = login(&exchange, "admin");
    let alice = login(&exchange, "alice");
    let create = json!({"symbol": "ACME", "currency": "EUR", "multiplier": 1, "tickSizeE4": 100});
    succeeds(&mut call(
        &exchange,
        Some(&admin),
        "optivex.v1.AdminService/CreateInstrument",
        &create,
    ));
    let bearer = format!("authorization: Bearer {alice}");
    let requests: String = [
        json!({"requestId": 1, "insert": {"symbol": "ACME", "side": "SIDE_BUY", "priceE4": 100, "quantity": 3, "clientOrderId": "a"}}),
        json!({"requestId": 2, "insert": {"symbol": "ACME", "side": "SIDE_BUY", "priceE4": 150, "quantity": 3}}),
        json!({"requestId": 3, "cancel": {"clientOrderId": "a"}}),
    ]
    .iter()
    .map(Value::to_string)
    .collect();
    let answers = succeeds(&mut grpcurl(
        &["-H", &bearer, "-d", &requests],
        &exchange,
        &["optivex.v1.ExecutionService/OrderEntry"],
    ));
    let answers: Vec<Value> = Deserializer::from_str(&answers)
        .into_iter()
        .collect::<Result<_, _>>()
        .expect("JSON objects");
    assert_eq!(answers.len(), 3, "{answers:?}");
    assert_eq!(answers[0]["insert"]["status"], "ORDER_STATUS_OPEN");
    assert_eq!(answers[1]["error"]["reason"], "ERROR_REASON_INVALID_TICK");
    assert_eq!(answers[1]["error"]["metadata"]["tick_size_e4"], "100");
    assert_eq!(answers[2]["cancel"]["cancelledQuantity"], "3");
}

#[test]
fn errors_with_their_details() {
    let exchange = Exchange::start();
    let wrong = json!({"username": "alice", "password": "guess"});
    let refused = said(&mut call(&exchange, None, "optivex.v1.AuthService/Login", &wrong));
    assert!(!refused.ok);
    assert!(refused.stderr.contains("Code: Unauthenticated"), "{}", refused.stderr);
    assert!(refused.stderr.contains("INVALID_CREDENTIALS"), "{}", refused.stderr);

    let refused = said(&mut call(
        &exchange,
        None,
        "optivex.v1.InfoService/ListInstruments",
        &json!({}),
    ));
    assert!(refused.stderr.contains("Code: Unauthenticated"), "{}", refused.stderr);

    let alice = login(&exchange, "alice");
    let order = json!({"symbol": "NONE", "side": "SIDE_BUY", "priceE4": 100, "quantity": 1});
    let insert = |request: &Value| {
        let mut command = grpcurl(
            &[
                "-v",
                "-H",
                &format!("authorization: Bearer {alice}"),
                "-d",
                &request.to_string(),
            ],
            &exchange,
            &["optivex.v1.ExecutionService/InsertOrder"],
        );
        said(&mut command)
    };
    let refused = insert(&order);
    assert!(refused.stderr.contains("Code: NotFound"), "{}", refused.stderr);
    assert!(refused.stderr.contains("google.rpc.ErrorInfo"), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("\"reason\":\"UNKNOWN_INSTRUMENT\""),
        "{}",
        refused.stderr
    );
    // For clients that do not decode details.
    assert!(
        refused.stdout.contains("optivex-reason: UNKNOWN_INSTRUMENT"),
        "{}",
        refused.stdout
    );

    let refused = insert(&json!({"symbol": "NONE", "side": "SIDE_BUY", "priceE4": 100}));
    assert!(refused.stderr.contains("Code: InvalidArgument"), "{}", refused.stderr);
    assert!(refused.stderr.contains("\"field\":\"quantity\""), "{}", refused.stderr);
}
