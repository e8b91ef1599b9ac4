//! `optivex hash-password`.

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::{Context, bail};
use secrecy::{ExposeSecret, SecretString};

use crate::auth;

/// Reads a password and writes its hash to standard output.
pub fn hash_password() -> anyhow::Result<()> {
    let stdin = io::stdin();
    let password = if stdin.is_terminal() {
        let password =
            SecretString::from(rpassword::prompt_password("Password: ").context("cannot read the terminal")?);
        let again = SecretString::from(rpassword::prompt_password("Again: ").context("cannot read the terminal")?);
        if password.expose_secret() != again.expose_secret() {
            bail!("the two passwords differ");
        }
        password
    } else {
        read_line(stdin.lock())?
    };
    let hash = auth::hash_password(password.expose_secret())?;
    writeln!(io::stdout(), "{hash}").context("cannot write")?;
    Ok(())
}

/// One line, without its end; bounded, as a password is.
fn read_line(input: impl BufRead) -> anyhow::Result<SecretString> {
    let mut line = String::new();
    let most = auth::PASSWORD_BYTES_MAX as u64 + 2;
    input
        .take(most)
        .read_line(&mut line)
        .context("cannot read a line of text from standard input")?;
    let password = line.strip_suffix('\n').unwrap_or(&line);
    let password = password.strip_suffix('\r').unwrap_or(password);
    Ok(SecretString::from(password))
}
