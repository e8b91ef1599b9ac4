//! Messages that do not decode: tonic calls that `INTERNAL`, the contract `INVALID_FIELD`.

use http::{HeaderMap, HeaderName};
use tonic::{Code, Status};

use crate::error::{Error, REASON_TRAILER};

/// A name that was read before need not be read for each look.
pub(super) static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// How tonic begins what it says of a message that is no message.
const DOES_NOT_DECODE: &str = "failed to decode Protobuf message: ";
const IS_MISSING: &str = "Missing request message.";

/// Tells the contract's error where these headers or trailers carry tonic's.
pub(super) fn retell(headers: &mut HeaderMap) {
    // Nearly every request ends here.
    if headers.get(&GRPC_STATUS).is_none_or(|code| code != "13") || headers.contains_key(REASON_TRAILER) {
        return;
    }
    let Some(error) = Status::from_header_map(headers).as_ref().and_then(error) else {
        return;
    };
    let mut told = HeaderMap::new();
    // It fits: it is made of text.
    if Status::from(error).add_header(&mut told).is_ok() {
        headers.remove("grpc-message");
        for (name, value) in &told {
            headers.insert(name, value.clone());
        }
    }
}

fn error(status: &Status) -> Option<Error> {
    debug_assert_eq!(status.code(), Code::Internal);
    let what = match status.message() {
        IS_MISSING => return Some(Error::invalid_field("request", "the message is missing")),
        message => message.strip_prefix(DOES_NOT_DECODE)?,
    };
    // "Message.field: InnerMessage.inner: what is wrong".
    let mut parts: Vec<_> = what.split(": ").collect();
    let why = parts
        .split_off(parts.iter().take_while(|part| is_field(part)).count())
        .join(": ");
    let fields: Vec<_> = parts.iter().filter_map(|part| Some(part.split_once('.')?.1)).collect();
    let field = if fields.is_empty() {
        "request".to_owned()
    } else {
        fields.join(".")
    };
    Some(Error::invalid_field(&field, &why))
}

fn is_field(part: &str) -> bool {
    let is_name = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    part.split_once('.')
        .is_some_and(|(message, field)| is_name(message) && is_name(field))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_retold() {
        for (code, message, expected) in [
            (
                Code::Internal,
                "Missing request message.",
                Some(("request", "the message is missing")),
            ),
            (
                Code::Internal,
                "failed to decode Protobuf message: LoginRequest.username: invalid string value: data is not UTF-8",
                Some(("username", "invalid string value: data is not UTF-8")),
            ),
            (
                Code::Internal,
                "failed to decode Protobuf message: OrderEntryRequest.command: InsertOrderRequest.quantity: invalid varint",
                Some(("command.quantity", "invalid varint")),
            ),
            (
                Code::Internal,
                "failed to decode Protobuf message: buffer underflow",
                Some(("request", "buffer underflow")),
            ),
            (Code::Internal, "something else", None),
            (
                Code::Unknown,
                "failed to decode Protobuf message: buffer underflow",
                None,
            ),
        ] {
            let mut headers = HeaderMap::new();
            Status::new(code, message).add_header(&mut headers).unwrap();
            let before = headers.clone();
            retell(&mut headers);
            match expected {
                None => assert_eq!(headers, before),
                Some((field, why)) => {
                    let status = Status::from_header_map(&headers).unwrap();
                    assert_eq!(status.code(), Code::InvalidArgument);
                    assert_eq!(status.message(), format!("{field}: {why}"));
                    assert_eq!(headers[REASON_TRAILER], "INVALID_FIELD");
                    let info = tonic_types::StatusExt::get_details_error_info(&status).unwrap();
                    assert_eq!(info.metadata["field"], field);
                }
            }
        }
    }
}
