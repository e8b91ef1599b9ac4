//! Streams of orders that go wrong.

use http::{Request, Response};
use tonic::body::Body;
use tonic::service::Routes;

use super::wire::{Call, Lens};

pub(super) fn before(_call: &Call, _request: &mut Request<Body>) -> Option<Response<Body>> {
    None
}

pub(super) fn request(_call: &Call) -> Option<Lens> {
    None
}

pub(super) fn after(_call: &Call, answer: Response<Body>, _routes: &Routes) -> Response<Body> {
    answer
}

pub(super) fn response(_call: &Call) -> Option<Lens> {
    None
}
