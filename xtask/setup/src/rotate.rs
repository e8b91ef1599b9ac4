//! `rotate-keys`: every key replaced, none of the machines out of reach at any moment.
//!
//! For the manager's key: [`crate::keys::next_manager`], then on each machine [`manager`] with both keys admitted, a
//! connection with the new key, [`manager`] with the new one alone, and at last [`crate::keys::adopt`].
//!
//! For a machine's own key: [`prepare`] makes the next one, [`crate::link`] has the other side admit that, [`swap`]
//! puts it in the old one's place. For host keys: [`crate::host_key::replace`].

use crate::apply::{self, Error};
use crate::facts::{self, Asks, Facts};
use crate::keys::PublicKey;
use crate::operations::{block, key};
use crate::spec::{Learned, Role, Spec};
use crate::ssh::Connection;
use crate::step::{Command, Content, Step, Who};

const ABOUT: &str = "the program manager";

/// Admits these keys of the manager's to the login user, and no longer those that are gone, whoever wrote them there.
///
/// # Errors
/// See [`Error`].
pub fn manager(connection: &Connection<'_>, admitted: &[PublicKey], gone: &[PublicKey]) -> Result<(), Error> {
    let login = connection.host().login.clone();
    let mut path = String::new();
    let facts = facts::read(connection, |base| {
        let mut asks = Asks::default();
        path = format!("{}/.ssh/authorized_keys", base.home(&login));
        asks.text(&base.user(&login), &path);
        asks
    })?;
    let before = facts.text(&path);
    let text = with_manager(before, admitted, gone);
    if text != before {
        let who = facts.base.user(&login);
        apply::run(
            connection,
            &Step::put("admitting the manager's keys", &who, &path, Content::Text(text), 0o600),
        )?;
    }
    Ok(())
}

fn with_manager(text: &str, admitted: &[PublicKey], gone: &[PublicKey]) -> String {
    let kept = text.lines().filter(|line| {
        !line
            .split_ascii_whitespace()
            .any(|word| gone.iter().chain(admitted).any(|key| key.base64() == word))
    });
    let kept: String = kept.map(|line| format!("{line}\n")).collect();
    let lines: Vec<String> = admitted.iter().map(ToString::to_string).collect();
    block::replaced(&kept, ABOUT, &lines)
}

/// Has the machine make its next own key beside the one in use, and tells the public part.
///
/// # Errors
/// See [`Error`].
pub fn prepare(connection: &Connection<'_>, spec: &Spec) -> Result<Learned, Error> {
    let (path, name) = (own_key(spec), spec.name.as_str());
    let next = format!("{path}.next");
    let ask = || read_key(connection, name, &next);
    let mut facts = ask()?;
    if !facts.answers.contains_key(&key::answer(&next)) {
        let who = facts.base.user(name);
        let file = format!("{}/{next}", facts.base.home(name));
        let make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", &file];
        apply::run(
            connection,
            &Step::run("removing half of a key", &who, &["rm", "-f", "--", &file]),
        )?;
        apply::run(connection, &Step::run("making the next key", &who, &make))?;
        facts = ask()?;
    }
    let answer = facts
        .answers
        .get(&key::answer(&next))
        .map(String::as_str)
        .unwrap_or_default();
    let public: PublicKey = answer.parse().map_err(|error| Error::Answer {
        name: connection.host().name.clone(),
        what: format!("{next}: {error}"),
    })?;
    Ok(match spec.role {
        Role::Dev { .. } => Learned {
            uat_key: Some(public),
            results_key: None,
        },
        Role::Uat { .. } => Learned {
            uat_key: None,
            results_key: Some(public),
        },
    })
}

/// Puts the next key in the place of the one in use; nothing, where there is none.
///
/// # Errors
/// See [`Error`].
pub fn swap(connection: &Connection<'_>, spec: &Spec) -> Result<(), Error> {
    let (path, name) = (own_key(spec), spec.name.as_str());
    let next = format!("{path}.next");
    let facts = read_key(connection, name, &next)?;
    if !facts.answers.contains_key(&key::answer(&next)) {
        return Ok(());
    }
    let (who, home) = (facts.base.user(name), facts.base.home(name));
    // The private part is what counts, and goes last.
    for suffix in [".pub", ""] {
        let argv = [
            "mv",
            "-f",
            "-T",
            "--",
            &format!("{home}/{next}{suffix}"),
            &format!("{home}/{path}{suffix}"),
        ];
        apply::run(connection, &Step::run("putting the next key in place", &who, &argv))?;
    }
    Ok(())
}

fn own_key(spec: &Spec) -> &'static str {
    match spec.role {
        Role::Dev { .. } => key::UAT,
        Role::Uat { .. } => key::RESULTS,
    }
}

fn read_key(connection: &Connection<'_>, name: &str, path: &str) -> Result<Facts, Error> {
    Ok(facts::read(connection, |base| {
        let mut asks = Asks::default();
        let who: Who = base.user(name);
        let file = format!("{}/{path}", base.home(name));
        let command = Command::new(&who, &["ssh-keygen", "-y", "-P", "", "-f", &file]);
        asks.answers.insert(key::answer(path), command);
        asks
    })?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operations::testing;
    use expect_test::expect;

    #[test]
    fn the_managers_keys() {
        let (old, new) = (testing::key("old1"), testing::key("new1"));
        let by_cloud_init = format!("{old} optivex manager\n{} somebody\n", testing::key("else"));
        let both = with_manager(&by_cloud_init, &[old.clone(), new.clone()], &[]);
        let one = with_manager(&both, std::slice::from_ref(&new), &[old]);
        expect![[r#"
            ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKmjWCJ3ZnV2ZzVqZ3F3ZXJ0eXVpb3Bhc2RmZ2hqelse somebody
            # optivex begin: the program manager
            ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKmjWCJ3ZnV2ZzVqZ3F3ZXJ0eXVpb3Bhc2RmZ2hqold1
            ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKmjWCJ3ZnV2ZzVqZ3F3ZXJ0eXVpb3Bhc2RmZ2hqnew1
            # optivex end: the program manager
            --
            ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKmjWCJ3ZnV2ZzVqZ3F3ZXJ0eXVpb3Bhc2RmZ2hqelse somebody
            # optivex begin: the program manager
            ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKmjWCJ3ZnV2ZzVqZ3F3ZXJ0eXVpb3Bhc2RmZ2hqnew1
            # optivex end: the program manager
        "#]]
        .assert_eq(&format!("{both}--\n{one}"));
        assert_eq!(with_manager(&one, &[new], &[]), one);
    }
}
