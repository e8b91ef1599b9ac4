//! What there is to be covered: rpcs and reasons, and what is promised of each reason, read from the
//! contract's own descriptors and comments.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use prost::Message;
use prost_types::{FileDescriptorProto, FileDescriptorSet};
use tonic::Code;

/// What the comment of an `ErrorReason` promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Promise {
    pub(crate) code: Code,
    /// Keys of the metadata that are always there.
    pub(crate) keys: BTreeSet<String>,
    /// Keys that are there where they make sense.
    pub(crate) keys_at_times: BTreeSet<String>,
    pub(crate) retry_info: bool,
}

/// The contract.
pub(crate) struct Catalogue {
    /// As paths: `/optivex.v1.AuthService/Login`.
    pub(crate) rpcs: BTreeSet<String>,
    /// By name without the prefix; UNSPECIFIED is none.
    pub(crate) reasons: BTreeMap<String, Promise>,
}

pub(crate) static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
    let set = FileDescriptorSet::decode(optivex_proto::FILE_DESCRIPTOR_SET).expect("descriptors");
    let ours: Vec<_> = set.file.iter().filter(|file| file.package() == "optivex.v1").collect();
    let mut rpcs = BTreeSet::new();
    for service in ours.iter().flat_map(|file| &file.service) {
        for method in &service.method {
            rpcs.insert(format!("/optivex.v1.{}/{}", service.name(), method.name()));
        }
    }
    let reasons = ours
        .iter()
        .find_map(|file| reasons(file))
        .expect("the enum ErrorReason");
    assert!(!rpcs.is_empty() && !reasons.is_empty());
    Catalogue { rpcs, reasons }
});

fn reasons(file: &FileDescriptorProto) -> Option<BTreeMap<String, Promise>> {
    let index = file.enum_type.iter().position(|kind| kind.name() == "ErrorReason")?;
    let comment = |value: usize| {
        // Path of a comment: field enum_type (5), which, field value (2), which.
        let path = [5, index, 2, value].map(|part| i32::try_from(part).expect("a small number"));
        let info = file.source_code_info.as_ref().expect("descriptors with comments");
        let location = info.location.iter().find(|location| location.path == path);
        location
            .expect("a comment of each value")
            .leading_comments()
            .replace('\n', " ")
    };
    let mut promises = BTreeMap::new();
    let mut previous = None;
    for (number, value) in file.enum_type[index].value.iter().enumerate() {
        if value.number() == 0 {
            continue;
        }
        let promise = promise(&comment(number), previous.as_ref());
        let name = value.name().strip_prefix("ERROR_REASON_").expect("the prefix");
        promises.insert(name.to_owned(), promise.clone());
        previous = Some(promise);
    }
    Some(promises)
}

fn promise(comment: &str, previous: Option<&Promise>) -> Promise {
    let (code, rest) = comment.trim().split_once(": ").expect("a status code, then words");
    let mut promise = Promise {
        code: code_of(code),
        keys: BTreeSet::new(),
        keys_at_times: BTreeSet::new(),
        retry_info: rest.contains("RetryInfo"),
    };
    if rest.contains("the same metadata") {
        let previous = previous.expect("a reason before it");
        promise.keys.clone_from(&previous.keys);
        promise.keys_at_times.clone_from(&previous.keys_at_times);
    }
    if let Some((_, keys)) = rest.split_once("metadata \"") {
        // Every second piece stands between quotes; the piece after it may narrow it.
        let pieces: Vec<_> = keys.split('"').collect();
        for pair in pieces.chunks(2) {
            let after = pair.get(1).copied().unwrap_or_default();
            let at_times = after.starts_with(" (for ") || after.starts_with(" where known");
            let keys = if at_times {
                &mut promise.keys_at_times
            } else {
                &mut promise.keys
            };
            keys.insert(pair[0].to_owned());
        }
    }
    promise
}

fn code_of(name: &str) -> Code {
    match name {
        "INVALID_ARGUMENT" => Code::InvalidArgument,
        "UNAUTHENTICATED" => Code::Unauthenticated,
        "PERMISSION_DENIED" => Code::PermissionDenied,
        "NOT_FOUND" => Code::NotFound,
        "ALREADY_EXISTS" => Code::AlreadyExists,
        "FAILED_PRECONDITION" => Code::FailedPrecondition,
        "RESOURCE_EXHAUSTED" => Code::ResourceExhausted,
        "OUT_OF_RANGE" => Code::OutOfRange,
        "UNAVAILABLE" => Code::Unavailable,
        other => panic!("no status code: {other:?}"),
    }
}

/// What came over the sockets of all scenarios so far.
#[derive(Default)]
pub(crate) struct Covered {
    /// Paths that were answered, not refused.
    pub(crate) answered: BTreeSet<String>,
    /// Paths that refused.
    pub(crate) refused: BTreeSet<String>,
    /// Reasons told by a status.
    pub(crate) reasons: BTreeSet<String>,
    /// Reasons told by `OrderEntry` in a `CommandError`.
    pub(crate) reasons_by_entry: BTreeSet<String>,
}

/// The one of this process.
pub(crate) fn covered() -> MutexGuard<'static, Covered> {
    static COVERED: LazyLock<Mutex<Covered>> = LazyLock::new(Mutex::default);
    COVERED.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn promises_are_read_from_the_comments() {
    let keys = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let expected = |code, always: &[&str], at_times: &[&str], retry_info| Promise {
        code,
        keys: keys(always),
        keys_at_times: keys(at_times),
        retry_info,
    };
    let breach = ["limit_name", "limit", "current", "attempted"];
    for (reason, promise) in [
        ("INVALID_FIELD", expected(Code::InvalidArgument, &["field"], &[], false)),
        ("CANNOT_RESUME", expected(Code::OutOfRange, &[], &[], false)),
        (
            "RISK_LIMIT",
            expected(Code::FailedPrecondition, &breach, &["symbol"], false),
        ),
        (
            "RATE_LIMIT",
            expected(Code::ResourceExhausted, &breach, &["symbol"], true),
        ),
        ("NOT_READY", expected(Code::Unavailable, &[], &["leader"], false)),
        ("THROTTLED", expected(Code::ResourceExhausted, &[], &[], true)),
        (
            "CAPACITY",
            expected(Code::ResourceExhausted, &["limit_name", "limit"], &[], false),
        ),
    ] {
        assert_eq!(CATALOGUE.reasons[reason], promise, "{reason}");
    }
}
