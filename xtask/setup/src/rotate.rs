//! `rotate-keys`: every key replaced, none of the machines out of reach at any moment.
//!
//! For the manager's key: [`crate::keys::next_manager`], then on each machine [`manager`] with both keys admitted, a
//! connection with the new key, [`manager`] with the new one alone, and at last [`crate::keys::adopt`].
//!
//! For a machine's own key: [`prepare`] makes the next one, [`crate::link`] has the other side admit both, [`swap`]
//! puts it in the old one's place, and [`crate::link`] has the other side forget the old one. The same for host keys, by
//! [`crate::host_key::prepare`] and [`crate::host_key::replace`]. So at no moment does one side show what the other
//! does not know.
//!
//! For the key that signs results: [`signing`], which keeps the old ones' signatures good.

use crate::apply::{self, Error};
use crate::facts::{self, Asks, Facts};
use crate::keys::PublicKey;
use crate::operations::{block, key};
use crate::spec::{Role, Spec, paths};
use crate::ssh::Connection;
use crate::step::{Command, Content, LONG, Step, Who};

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

/// A machine's own keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnKeys {
    /// The one in use; None if there is none.
    pub used: Option<PublicKey>,
    /// The one that is to take its place.
    pub next: PublicKey,
}

/// Has the machine make its next own key beside the one in use, and tells the public parts of both.
///
/// # Errors
/// See [`Error`].
pub fn prepare(connection: &Connection<'_>, spec: &Spec) -> Result<OwnKeys, Error> {
    let (path, name) = (own_key(spec), spec.name.as_str());
    let next = format!("{path}.next");
    let ask = || read_keys(connection, name, &[path, &next]);
    let mut facts = ask()?;
    let steps = making(&facts, name, path);
    if !steps.is_empty() {
        run_all(connection, &steps)?;
        facts = ask()?;
    }
    let read = |path: &str| {
        let answer = facts.answers.get(&key::answer(path)).map(|text| text.parse());
        answer.transpose().map_err(|error| Error::Answer {
            name: connection.host().name.clone(),
            what: format!("{path}: {error}"),
        })
    };
    Ok(OwnKeys {
        used: read(path)?,
        next: read(&next)?.ok_or_else(|| Error::Answer {
            name: connection.host().name.clone(),
            what: format!("{next}: it was made, and is not there"),
        })?,
    })
}

/// Puts the next key in the place of the one in use; nothing, where there is none.
///
/// # Errors
/// See [`Error`].
pub fn swap(connection: &Connection<'_>, spec: &Spec) -> Result<(), Error> {
    let (path, name) = (own_key(spec), spec.name.as_str());
    let facts = read_keys(connection, name, &[&format!("{path}.next")])?;
    run_all(connection, &swapping(&facts, name, path))
}

fn run_all(connection: &Connection<'_>, steps: &[Step]) -> Result<(), Error> {
    steps.iter().try_for_each(|step| apply::run(connection, step))
}

/// The next key, where there is none: half of one is what a run that was cut off has left.
fn making(facts: &Facts, name: &str, path: &str) -> Vec<Step> {
    let next = format!("{path}.next");
    if facts.answers.contains_key(&key::answer(&next)) {
        return Vec::new();
    }
    let (who, file) = (facts.base.user(name), format!("{}/{next}", facts.base.home(name)));
    let make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", &file];
    vec![
        Step::run("removing half of a key", &who, &["rm", "-f", "--", &file]),
        Step::run("making the next key", &who, &make),
    ]
}

/// The next key in the place of the one in use, where there is a next one.
fn swapping(facts: &Facts, name: &str, path: &str) -> Vec<Step> {
    let next = format!("{path}.next");
    if !facts.answers.contains_key(&key::answer(&next)) {
        return Vec::new();
    }
    let (who, home) = (facts.base.user(name), facts.base.home(name));
    let (path, next) = (format!("{home}/{path}"), format!("{home}/{next}"));
    let step = |argv: &[&str]| Step::run("putting the next key in place", &who, argv);
    let public = (format!("{next}.pub"), format!("{path}.pub"));
    vec![
        // ssh takes a public part beside the private one for its own: without one it looks into the private one.
        step(&["rm", "-f", "--", &public.1]),
        // From here on the next one is the one in use.
        step(&["mv", "-f", "-T", "--", &next, &path]),
        step(&["mv", "-f", "-T", "--", &public.0, &public.1]),
    ]
}

/// Has UAT's daemon take a new key to sign results with; signatures by those before stay good.
///
/// # Errors
/// See [`Error`].
pub fn signing(connection: &Connection<'_>, spec: &Spec) -> Result<(), Error> {
    let facts = facts::read(connection, |_| Asks::default())?;
    let daemon = format!("{}/uat-daemon", paths::BIN);
    let command = Command::new(&facts.base.user(spec.name.as_str()), &[&daemon, "rotate-signing-key"])
        .env("CK_TESTS_DIR", paths::TESTS)
        .env("CK_DEPLOYMENT_DIR", paths::SPOOL);
    apply::run(
        connection,
        &Step::command("replacing the key that signs results", command).within(LONG),
    )
}

fn own_key(spec: &Spec) -> &'static str {
    match spec.role {
        Role::Dev { .. } => key::UAT,
        Role::Uat { .. } => key::RESULTS,
    }
}

fn read_keys(connection: &Connection<'_>, name: &str, paths: &[&str]) -> Result<Facts, Error> {
    Ok(facts::read(connection, |base| {
        let mut asks = Asks::default();
        let who: Who = base.user(name);
        for path in paths {
            let file = format!("{}/{path}", base.home(name));
            let command = Command::new(&who, &["ssh-keygen", "-y", "-P", "", "-f", &file]);
            asks.answers.insert(key::answer(path), command);
        }
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

    #[test]
    fn a_machines_own_key() {
        let next = testing::with(testing::debian(), |facts| {
            let answer = key::answer(&format!("{}.next", key::UAT));
            facts.answers.insert(answer, "ssh-ed25519 AAAA".to_owned());
        });
        let told = |steps: Vec<Step>| steps.iter().map(|step| format!("{step}\n")).collect::<String>();
        let cases = [("no next one", testing::debian()), ("a next one", next)].map(|(name, facts)| {
            let made = told(making(&facts, "alice", key::UAT));
            let swapped = told(swapping(&facts, "alice", key::UAT));
            format!("{name}, made:\n{made}{name}, put in place:\n{swapped}")
        });
        expect![[r#"
            no next one, made:
            alice$ rm -f -- /home/alice/.ssh/id_uat.next
            alice$ ssh-keygen -q -t ed25519 -N '' -C alice -f /home/alice/.ssh/id_uat.next
            no next one, put in place:
            a next one, made:
            a next one, put in place:
            alice$ rm -f -- /home/alice/.ssh/id_uat.pub
            alice$ mv -f -T -- /home/alice/.ssh/id_uat.next /home/alice/.ssh/id_uat
            alice$ mv -f -T -- /home/alice/.ssh/id_uat.next.pub /home/alice/.ssh/id_uat.pub
        "#]]
        .assert_eq(&cases.concat());
    }
}
