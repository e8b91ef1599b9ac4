//! The users file: who may log in.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use serde::Deserialize;

/// One user. It has no `Debug`, so that no log ever shows its password.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Name.
    pub username: String,
    /// Password in the clear: for tests.
    pub password: Option<String>,
    /// Or its argon2id hash as a PHC string (`$argon2id$v=19$…`): for venues that people use. The system tests
    /// have passwords in the clear only.
    pub password_hash: Option<String>,
    /// Roles.
    pub roles: Vec<Role>,
}

/// A role of a user; `optivex_proto::v1::Role` is its name on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sees market data.
    Viewer,
    /// Has orders.
    Trader,
    /// Runs the venue.
    Admin,
}

/// Reads a users file.
pub fn read(path: &Path) -> anyhow::Result<Vec<User>> {
    let place = || format!("users file {}", path.display());
    let text = fs::read_to_string(path).with_context(place)?;
    parse(&text).with_context(place)
}

fn parse(text: &str) -> anyhow::Result<Vec<User>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct UsersFile {
        users: Vec<User>,
    }
    let UsersFile { users } = serde_yaml::from_str(text)?;
    let mut names = HashSet::new();
    for User {
        username,
        password,
        password_hash,
        ..
    } in &users
    {
        ensure!(names.insert(username), "{username:?} is there twice");
        ensure!(
            password.is_some() != password_hash.is_some(),
            "{username:?} needs a password or a password_hash, and not both"
        );
    }
    Ok(users)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_files() {
        let cases = [
            ("{users: []}", Ok(0)),
            ("{users: [{username: a, password: x, roles: [trader, admin]}]}", Ok(1)),
            ("{users: [{username: a, password_hash: $argon2id$, roles: []}]}", Ok(1)),
            (
                "{users: [{username: a, roles: [trader]}]}",
                Err("\"a\" needs a password"),
            ),
            (
                "{users: [{username: a, password: x, roles: []}, {username: a, password: y, roles: []}]}",
                Err("\"a\" is there twice"),
            ),
            ("{users: [{username: a, password: x, roles: [king]}]}", Err("king")),
            ("", Err("users")),
        ];
        for (text, expected) in cases {
            match (parse(text), expected) {
                (Ok(users), Ok(count)) => assert_eq!(users.len(), count, "{text}"),
                (Err(error), Err(told)) => assert!(format!("{error:#}").contains(told), "{text}: {error:#}"),
                (Ok(_), Err(told)) => panic!("{text}: taken; expected: {told}"),
                (Err(error), Ok(_)) => panic!("{text}: {error:#}"),
            }
        }
    }
}
