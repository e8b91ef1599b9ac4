//! Market data: books as subscribers see them, and the streams that carry their changes.
