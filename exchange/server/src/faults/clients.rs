//! An exchange that its slow, broken and hostile clients disturb.

use http::Response;
use tonic::body::Body;

use super::wire::{Call, Lens};

pub(super) fn before(_call: &Call) -> Option<Response<Body>> {
    None
}

pub(super) fn request(_call: &Call) -> Option<Lens> {
    None
}

pub(super) fn response(_call: &Call) -> Option<Lens> {
    None
}
