//! Any message of the contract as proto3 JSON.

use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor, SerializeOptions};
use serde_json::Value;

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(optivex_proto::FILE_DESCRIPTOR_SET).expect("optivex-proto's descriptor set is whole")
});

/// Fields whose values are nobody's business in a report.
const SECRETS: [&str; 2] = ["password", "token"];

/// The request or the answer of an rpc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// Input.
    Request,
    /// Output.
    Answer,
}

/// A method of the contract by its path, `/package.Service/Method`.
fn method(path: &str) -> Option<MethodDescriptor> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    POOL.get_service_by_name(service)?
        .methods()
        .find(|known| known.name() == method)
}

/// An encoded message of a method as JSON; what is none of the contract's as its length.
pub fn of(path: &str, half: Half, bytes: &[u8]) -> Value {
    let Some(method) = method(path) else {
        return format!("{} bytes", bytes.len()).into();
    };
    let descriptor = match half {
        Half::Request => method.input(),
        Half::Answer => method.output(),
    };
    shown(descriptor, bytes)
}

/// An encoded message of the contract by its full name, as JSON.
pub fn message(name: &str, bytes: &[u8]) -> Value {
    match POOL.get_message_by_name(name) {
        Some(descriptor) => shown(descriptor, bytes),
        None => format!("{} bytes", bytes.len()).into(),
    }
}

fn shown(descriptor: MessageDescriptor, bytes: &[u8]) -> Value {
    let decoded = DynamicMessage::decode(descriptor, bytes)
        .map_err(|error| error.to_string())
        .and_then(|message| {
            message
                .serialize_with_options(serde_json::value::Serializer, &SerializeOptions::new())
                .map_err(|error| error.to_string())
        });
    match decoded {
        Ok(mut value) => {
            mask(&mut value);
            value
        }
        Err(error) => format!("{} bytes, not to be shown: {error}", bytes.len()).into(),
    }
}

fn mask(value: &mut Value) {
    if let Value::Object(fields) = value {
        for secret in SECRETS {
            if let Some(value) = fields.get_mut(secret) {
                *value = "(not shown)".into();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use optivex_proto::v1::{InsertOrderRequest, LoginRequest, Side};
    use prost::Message;

    use super::*;

    #[test]
    fn the_contracts_messages_are_proto3_json_and_passwords_are_masked() {
        let order = InsertOrderRequest {
            symbol: "ACME".into(),
            side: Side::Buy.into(),
            price_e4: -5,
            quantity: 2,
            ..Default::default()
        };
        let login = LoginRequest {
            username: "a".into(),
            password: "b".into(),
        };
        let cases = [
            (
                of(
                    "/optivex.v1.ExecutionService/InsertOrder",
                    Half::Request,
                    &order.encode_to_vec(),
                ),
                r#"{"symbol":"ACME","side":"SIDE_BUY","priceE4":"-5","quantity":"2"}"#,
            ),
            (
                of("/optivex.v1.AuthService/Login", Half::Request, &login.encode_to_vec()),
                r#"{"username":"a","password":"(not shown)"}"#,
            ),
            (of("/optivex.v1.AuthService/Fly", Half::Request, b"abc"), r#""3 bytes""#),
        ];
        for (got, wanted) in cases {
            let wanted: Value = serde_json::from_str(wanted).expect("JSON");
            assert_eq!(got, wanted);
        }
    }
}
