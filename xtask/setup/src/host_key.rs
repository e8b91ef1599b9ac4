//! The second host key: made by the machine itself, over a connection that the first one secured.

use std::time::{Duration, Instant};

use crate::apply::{self, Error};
use crate::facts::{self, Asks, Facts};
use crate::keys::PublicKey;
use crate::operations::environment;
use crate::ssh::{self, Connection, Host, Ssh, Stdin};
use crate::step::{Action, Command, SHORT, Step, Who};

const KEY: &str = "/etc/ssh/ssh_host_ed25519_key";
const NEXT: &str = "/etc/ssh/optivex_next_host_key";
/// How long sshd may take to show its new key once it was told.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a machine shows, and what it is to show next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// Its host key; None if it has none of the kind.
    pub shown: Option<PublicKey>,
    /// Its next one, made beside it, and shown to nobody yet.
    pub next: PublicKey,
}

/// Has the machine make its next host key, so that others can be told of it before [`replace`] has it shown.
///
/// # Errors
/// See [`Error`].
pub fn prepare(connection: &Connection<'_>) -> Result<Prepared, Error> {
    let shown = shown(connection)?.1;
    Ok(Prepared {
        shown,
        next: make(connection)?,
    })
}

/// Has the machine make a new host key in place of `old`, and returns it once the machine was reached by it alone.
///
/// `pin` is called with the new key before anything shows it, and has to write it down beside the old one
/// ([`Host::host_keys`] takes both). Whoever was cut off in the middle connects with both, and calls this again: it
/// goes on from wherever that was.
///
/// # Errors
/// See [`Error`], and whatever `pin` says.
pub fn replace<E: From<Error>>(
    ssh: &Ssh,
    connection: &Connection<'_>,
    old: &PublicKey,
    pin: impl FnOnce(&PublicKey) -> Result<(), E>,
) -> Result<PublicKey, E> {
    let (facts, shown) = shown(connection)?;
    let name = || connection.host().name.clone();
    let new = match shown {
        Some(shown) if shown != *old => {
            pin(&shown)?;
            shown
        }
        _ => {
            let new = make(connection)?;
            pin(&new)?;
            let to = format!("{KEY}.pub");
            let (from, public_part) = (
                format!("{NEXT}.pub"),
                Command::new(&Who::Root, &["rm", "-f", "--", &to]),
            );
            let mv = |from: &str, to: &str| Command::new(&Who::Root, &["mv", "-f", "-T", "--", from, to]);
            // The public part is nobody's business but people's: that it is missing stops nothing.
            step(
                connection,
                "putting its public part in place",
                Action::Either(mv(&from, &to), public_part),
            )?;
            // Were the power cut right after the key has moved, it must not be an empty one.
            step(
                connection,
                "writing the new host key through to the disk",
                Action::Run(Command::new(&Who::Root, &["sync", "--", NEXT])),
            )?;
            step(
                connection,
                "putting the new host key in place",
                Action::Run(mv(NEXT, KEY)),
            )?;
            new
        }
    };
    match environment::reload(&facts) {
        Some(reload) => apply::run(connection, &reload)?,
        None => Err(Error::Answer {
            name: name(),
            what: "neither systemd nor /run/sshd.pid: sshd cannot be told of its new host key".to_owned(),
        })?,
    }
    reached(ssh, connection, &new)?;
    Ok(new)
}

/// Of the private part itself: what the machine shows.
fn shown(connection: &Connection<'_>) -> Result<(Facts, Option<PublicKey>), Error> {
    let facts = facts::read(connection, |_| {
        let mut asks = Asks::default();
        asks.answers.insert(KEY.to_owned(), public(KEY));
        asks
    })?;
    let shown = facts.answers.get(KEY).and_then(|text| text.parse().ok());
    Ok((facts, shown))
}

/// The next one: what a run that was cut off has made will do.
fn make(connection: &Connection<'_>) -> Result<PublicKey, Error> {
    let name = &connection.host().name;
    // Half of one, where the power failed: ssh-keygen would ask whether to write over it, and nobody answers.
    let remove = Command::new(&Who::Root, &["rm", "-f", "--", NEXT]);
    let action = Action::Either(public(NEXT), remove);
    step(connection, "removing half of a key", action)?;
    let make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", NEXT];
    let action = Action::Either(public(NEXT), Command::new(&Who::Root, &make));
    step(connection, "making the machine's own host key", action)?;
    read(connection, NEXT)
}

fn public(path: &str) -> Command {
    Command::new(&Who::Root, &["ssh-keygen", "-y", "-P", "", "-f", path])
}

fn step(connection: &Connection<'_>, what: &str, action: Action) -> Result<(), Error> {
    let what = what.to_owned();
    apply::run(
        connection,
        &Step {
            what,
            action,
            limit: SHORT,
        },
    )
}

fn read(connection: &Connection<'_>, path: &str) -> Result<PublicKey, Error> {
    let host = connection.host();
    let text = public(path).text(&host.login, SHORT).map_err(ssh::Error::from)?;
    let output = connection.run("reading the new host key", &text, Stdin::Nothing, SHORT)?;
    String::from_utf8_lossy(&output.stdout)
        .parse()
        .map_err(|error| Error::Answer {
            name: host.name.clone(),
            what: format!("its new host key: {error}"),
        })
}

/// By the new key and no other. sshd reads its keys a moment after it was told to.
fn reached(ssh: &Ssh, connection: &Connection<'_>, new: &PublicKey) -> Result<(), Error> {
    let host = Host {
        host_keys: vec![new.clone()],
        ..connection.host().clone()
    };
    let until = Instant::now() + PATIENCE;
    loop {
        match ssh.connect(&host, connection.log()) {
            Ok(_) => return Ok(()),
            Err(ssh::Error::HostKey { .. }) if Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(200));
            }
            Err(error) => return Err(error.into()),
        }
    }
}
