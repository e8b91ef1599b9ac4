//! The span of a request: which rpc, from where, by whom.

use std::fmt::Display;
use std::net::SocketAddr;

use tracing::{Instrument, Span, debug_span, field};

tokio::task_local! {
    // Not the current span: services have spans of their own inside.
    static REQUEST: Span;
}

/// A new request's span, at debug.
pub(crate) fn span(method: &str, peer: SocketAddr, id: impl Display) -> Span {
    debug_span!("rpc", method, %peer, request = %id, user = field::Empty)
}

/// Runs a request in its span.
pub(crate) async fn within<F: Future>(span: Span, request: F) -> F::Output {
    if span.is_disabled() {
        return request.await;
    }
    REQUEST.scope(span.clone(), request.instrument(span)).await
}

/// Tells whose request this is.
pub(crate) fn user(username: &str) {
    // An error means that this is in no request, or that nobody wants to know.
    let _ = REQUEST.try_with(|span| {
        span.record("user", username);
    });
}
