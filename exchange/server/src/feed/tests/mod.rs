//! Tests of the feed without sockets.
