//! Names of people and machines.

use std::fmt;
use std::str::FromStr;

use crate::digest::{NotThat, serde_as_text};

/// A program's, participant's or machine's name, which is a Unix user's name, too: `[a-z][a-z0-9-]{0,30}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(String);

impl Name {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for Name {
    type Err = NotThat;

    fn from_str(text: &str) -> Result<Self, NotThat> {
        let rest = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let right =
            text.len() <= 31 && text.starts_with(|first: char| first.is_ascii_lowercase()) && text.bytes().all(rest);
        right
            .then(|| Self(text.to_owned()))
            .ok_or(NotThat("a name: [a-z][a-z0-9-]{0,30}"))
    }
}

serde_as_text!(Name);
