//! Single promises, one by one.
