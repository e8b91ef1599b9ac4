//! What EC2 refuses, in words, with what to do about it.

use std::error::Error;
use std::fmt::Debug;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ec2::operation::RequestId;

/// Most of a message that is told; EC2's own are shorter.
const MESSAGE_BYTES: usize = 600;

/// Why something was not done on EC2.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{doing}: {message}{}\n{}", details(code, request), kind.advice())]
pub struct Ec2Error {
    doing: String,
    kind: Kind,
    message: String,
    code: Option<String>,
    request: Option<String>,
}

/// What there is to do about it, which is what callers tell errors apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Too many requests, also after all attempts.
    Throttled,
    /// AWS has no such machine free in that zone.
    NoCapacity,
    /// That instance type is not to be had there at all.
    NotOffered,
    /// The account may not have more of these.
    Quota,
    /// Credentials that were good.
    Expired,
    /// No credentials, or ones that cannot be used.
    NoCredentials,
    /// Credentials that AWS does not know.
    WrongCredentials,
    /// Credentials that may not do this.
    NotAllowed,
    /// The account is not ready for EC2.
    Account,
    /// No such image, or not for this account and region.
    Image,
    /// No such subnet.
    Subnet,
    /// The subnet has no address left.
    Addresses,
    /// The client token was used before, for a machine that was to be different.
    Mismatch,
    /// Something of that name is there, and not ours.
    Taken,
    /// Something else still needs it.
    InUse,
    /// It is not there, or not yet everywhere.
    NotFound,
    /// The machine ended before it ran.
    Ended,
    /// It took longer than it may.
    TimedOut,
    /// AWS's own fault.
    Server,
    /// No answer from there.
    Unreachable,
    /// What was to be asked for can be seen to be wrong.
    Request,
    /// An answer that lacks something, or cannot be read.
    Answer,
    /// All else.
    Other,
}

impl Kind {
    /// By the code of EC2's error.
    fn of(code: &str) -> Self {
        match code {
            "RequestLimitExceeded"
            | "Throttling"
            | "ThrottlingException"
            | "RequestThrottled"
            | "EC2ThrottledException"
            | "SlowDown" => Self::Throttled,
            "InsufficientInstanceCapacity"
            | "InsufficientCapacity"
            | "InsufficientHostCapacity"
            | "InsufficientReservedInstanceCapacity" => Self::NoCapacity,
            "Unsupported" | "UnsupportedOperation" | "InvalidInstanceType" => Self::NotOffered,
            "VcpuLimitExceeded"
            | "InstanceLimitExceeded"
            | "VolumeLimitExceeded"
            | "MaxIOPSLimitExceeded"
            | "NetworkInterfaceLimitExceeded"
            | "ResourceCountExceeded"
            | "KeyPairLimitExceeded"
            | "SecurityGroupLimitExceeded"
            | "RulesPerSecurityGroupLimitExceeded" => Self::Quota,
            "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" => Self::Expired,
            "AuthFailure"
            | "InvalidClientTokenId"
            | "SignatureDoesNotMatch"
            | "MissingAuthenticationToken"
            | "UnrecognizedClientException" => Self::WrongCredentials,
            "UnauthorizedOperation" | "AccessDenied" | "AccessDeniedException" => Self::NotAllowed,
            "Blocked" | "OptInRequired" | "PendingVerification" | "AccountDisabled" => Self::Account,
            "InvalidSubnetID.NotFound" | "InvalidSubnetID.Malformed" | "InvalidSubnet" => Self::Subnet,
            "InsufficientFreeAddressesInSubnet" | "InsufficientAddressCapacity" => Self::Addresses,
            "IdempotentParameterMismatch" => Self::Mismatch,
            "InvalidKeyPair.Duplicate"
            | "InvalidGroup.Duplicate"
            | "InvalidLaunchTemplateName.AlreadyExistsException" => Self::Taken,
            "DependencyViolation" | "InvalidGroup.InUse" | "ResourceInUse" => Self::InUse,
            "InternalError" | "InternalFailure" | "ServiceUnavailable" | "Unavailable" => Self::Server,
            _ if code.starts_with("InvalidAMIID.") => Self::Image,
            _ if code.ends_with(".NotFound") || code.ends_with(".NotFoundException") => Self::NotFound,
            _ => Self::Other,
        }
    }

    /// What to do, for people.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Throttled => {
                "AWS takes fewer requests from this account than it got, also after all retries. What is made stays \
                 made: run it again in some minutes, perhaps with a smaller --parallel."
            }
            Self::NoCapacity => {
                "AWS has no such machine free in this subnet's zone now. Run it again later, which makes what is \
                 missing, or give the role another instance_type, or the program a subnet in another zone."
            }
            Self::NotOffered => {
                "This instance type cannot be had in this subnet's zone, or not with this image: give the role another \
                 instance_type, or the program a subnet in another zone."
            }
            Self::Quota => {
                "The account's quota for this region is used up: ask for more under Service Quotas in the AWS console \
                 (for machines: Running On-Demand instances, in vCPUs), or give the role a smaller instance_type. Then \
                 run it again, which makes what is missing."
            }
            Self::Expired => {
                "The credentials have expired, or this machine's clock is wrong. Log in again (such as `aws sso login`) \
                 and run it again: it goes on where it stopped."
            }
            Self::NoCredentials => {
                "Say who you are: AWS_PROFILE with `aws sso login`, a profile in ~/.aws/config, or AWS_ACCESS_KEY_ID \
                 and AWS_SECRET_ACCESS_KEY."
            }
            Self::WrongCredentials => {
                "AWS does not know these credentials: check AWS_PROFILE and the AWS_… variables, whether the region \
                 is enabled for the account, and this machine's clock."
            }
            Self::NotAllowed => {
                "These credentials may not do that: use other ones (AWS_PROFILE), or have the permission that is named \
                 added; infra/README.md lists all that are needed."
            }
            Self::Account => {
                "The account is not ready for EC2: sign in to the AWS console, which says what it waits for."
            }
            Self::Image => {
                "Correct aws.ami in the inventory: image ids differ from region to region, and the account must be \
                 allowed to use the image."
            }
            Self::Subnet => "Correct aws.subnet in the inventory: it must be in aws.region, and of this account.",
            Self::Addresses => {
                "Give the program a larger subnet (aws.subnet in the inventory), or free addresses in it."
            }
            Self::Mismatch => {
                "An earlier run asked for this machine with other settings, and EC2 may have made it. See what \
                 `cargo xtask provision plan` finds: a machine that is there is adopted; one that is not is asked for \
                 under its next generation."
            }
            Self::Taken => {
                "Something of that name is there without our tag, so it is not touched. If it is a leftover, remove it \
                 in the AWS console; if not, give the program another id."
            }
            Self::InUse => {
                "Something that is not the program's still uses it: find it in the AWS console (network interfaces, \
                 other security groups' rules), take it out, and run it again."
            }
            Self::NotFound => "It is gone, or so new that AWS does not know it everywhere yet: run it again.",
            Self::Ended => "Run it again, which asks for a new machine.",
            Self::TimedOut => "It may still come: run it again, which goes on where it stopped.",
            Self::Server => "A fault within AWS (https://health.aws.amazon.com): run it again later.",
            Self::Unreachable => {
                "Check the network, HTTPS_PROXY, AWS_ENDPOINT_URL if it is set, and aws.region in the inventory."
            }
            Self::Request => "Nothing was asked of AWS.",
            Self::Answer => "This is no answer as EC2 gives it: check what AWS_ENDPOINT_URL and HTTPS_PROXY lead to.",
            Self::Other => "AWS's own words say what is wrong; what was made before stays made.",
        }
    }

    /// Whether the very same may work later, without anybody changing anything.
    pub fn passes(self) -> bool {
        matches!(
            self,
            Self::Throttled | Self::NoCapacity | Self::NotFound | Self::TimedOut | Self::Server | Self::Unreachable
        )
    }
}

fn details(code: &Option<String>, request: &Option<String>) -> String {
    match (code, request) {
        (None, None) => String::new(),
        (Some(code), None) => format!(" ({code})"),
        (None, Some(request)) => format!(" (request {request})"),
        (Some(code), Some(request)) => format!(" ({code}, request {request})"),
    }
}

impl Ec2Error {
    /// One that we found ourselves.
    pub(super) fn ours(kind: Kind, doing: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            doing: doing.into(),
            kind,
            message: message.into(),
            code: None,
            request: None,
        }
    }

    /// An answer without something that EC2 always sends.
    pub(super) fn lacks(doing: &str, what: &str) -> Self {
        Self::ours(Kind::Answer, doing, format!("the answer lacks {what}"))
    }

    /// It took too long.
    pub(super) fn timed_out(doing: impl Into<String>, bound: Duration, last: &str) -> Self {
        Self::ours(
            Kind::TimedOut,
            doing,
            format!("not within {} s: {last}", bound.as_secs()),
        )
    }

    /// One of the SDK's.
    pub(super) fn sdk<E, R>(doing: impl Into<String>, error: SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
        R: Debug + 'static,
    {
        let doing = doing.into();
        if let SdkError::ServiceError(service) = &error {
            let meta = service.err().meta();
            let message = meta.message().unwrap_or("no message");
            if let Some(code) = meta.code() {
                return Self {
                    doing,
                    kind: Kind::of(code),
                    message: told(message),
                    code: Some(code.to_owned()),
                    request: meta.request_id().map(str::to_owned),
                };
            }
        }
        let kind = match &error {
            _ if cause::<CredentialsError>(&error).is_some() => Kind::NoCredentials,
            SdkError::DispatchFailure(_) | SdkError::TimeoutError(_) => Kind::Unreachable,
            SdkError::ResponseError(_) | SdkError::ServiceError(_) => Kind::Answer,
            _ => Kind::Other,
        };
        Self::ours(kind, doing, told(&chain(&error)))
    }

    /// What there is to do about it.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// EC2's code, such as `InsufficientInstanceCapacity`.
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }
}

/// A message on one line, without the encoded part that only AWS can read.
fn told(message: &str) -> String {
    let message = message
        .split("Encoded authorization failure message")
        .next()
        .unwrap_or_default();
    let mut line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.len() > MESSAGE_BYTES {
        line.truncate(line.floor_char_boundary(MESSAGE_BYTES));
        line.push('…');
    }
    line
}

/// All causes, each once: many of the SDK's repeat their own cause.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let this = error.to_string();
        if !text.ends_with(&this) {
            text = format!("{text}: {this}");
        }
        next = error.source();
    }
    text
}

fn cause<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}
