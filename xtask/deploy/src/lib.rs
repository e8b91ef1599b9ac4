//! Hands a submission over to UAT, and shows its result.
