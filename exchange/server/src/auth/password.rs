//! Passwords: hashes and their verification.

use std::fmt;

use argon2::password_hash::phc::{Output, PasswordHash};
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Argon2, Params};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Longest password, in bytes.
pub const PASSWORD_BYTES_MAX: usize = 1024;

/// Bounds of what one verification may cost, so that a users file cannot stall the exchange.
const MEMORY_KIB_MAX: u32 = 256 * 1024;
const PASSES_MAX: u32 = 32;
const LANES_MAX: u32 = 16;

/// What a user's password is compared with. It does not print.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// SHA-256 of a password that the users file states: in memory nothing needs more.
    Plain([u8; 32]),
    /// An argon2id hash.
    Argon2id(Box<PasswordHash>),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Credential::Plain(_) => "Plain(…)",
            Credential::Argon2id(_) => "Argon2id(…)",
        })
    }
}

impl Credential {
    /// From a password as it stands in the users file.
    pub fn plain(password: &str) -> Result<Self, &'static str> {
        check_length(password)?;
        Ok(Self::Plain(Sha256::digest(password).into()))
    }

    /// From a hash in the PHC string format.
    pub fn hashed(phc: &str) -> Result<Self, &'static str> {
        let hash = PasswordHash::new(phc)
            .map_err(|_| "not a password hash in the PHC string format ($argon2id$v=19$m=…,t=…,p=…$salt$hash)")?;
        if hash.algorithm.as_str() != "argon2id" {
            return Err("only argon2id hashes are known: make one with `optivex hash-password`");
        }
        if hash.salt.is_none() || hash.hash.is_none() {
            return Err("the hash lacks its salt or its output");
        }
        let params = Params::try_from(&hash).map_err(|_| "the hash has parameters that argon2 refuses")?;
        if params.m_cost() > MEMORY_KIB_MAX || params.t_cost() > PASSES_MAX || params.p_cost() > LANES_MAX {
            return Err("the hash costs too much to verify: at most m=262144 (256 MiB), t=32, p=16");
        }
        Ok(Self::Argon2id(Box::new(hash)))
    }

    /// A hash that no password has and that costs as much to verify as this one.
    pub(super) fn decoy(&self) -> Option<Result<Self, getrandom::Error>> {
        let Credential::Argon2id(hash) = self else { return None };
        let mut output = [0; 32];
        Some(getrandom::fill(&mut output).map(|()| {
            let mut decoy = hash.clone();
            decoy.hash = Output::new(&output).ok();
            Self::Argon2id(decoy)
        }))
    }

    /// Whether verification is slow on purpose.
    pub(super) fn is_slow(&self) -> bool {
        matches!(self, Credential::Argon2id(_))
    }

    fn matches(&self, password: &str) -> bool {
        match self {
            Credential::Plain(expected) => {
                let given: [u8; 32] = Sha256::digest(password).into();
                given.ct_eq(expected).into()
            }
            Credential::Argon2id(hash) => Argon2::default()
                .verify_password(password.as_bytes(), hash.as_ref())
                .is_ok(),
        }
    }
}

/// Compares a password with the credential of the user, if there is one, in a time that does not tell
/// whether there is: where any user has a hash, exactly one hash is verified, a decoy if need be.
pub(super) fn verify(credential: Option<&Credential>, decoy: Option<&Credential>, password: &str) -> bool {
    const NOBODY: Credential = Credential::Plain([0; 32]);
    match credential {
        Some(slow) if slow.is_slow() => {
            let _ = NOBODY.matches(password);
            slow.matches(password)
        }
        other => {
            let matched = other.unwrap_or(&NOBODY).matches(password);
            let _ = decoy.map(|decoy| decoy.matches(password));
            matched && other.is_some()
        }
    }
}

/// An argon2id hash in the PHC string format, with a new salt.
pub fn hash(password: &str) -> Result<String, HashError> {
    check_length(password).map_err(HashError::Length)?;
    let hash: PasswordHash = Argon2::default().hash_password(password.as_bytes())?;
    Ok(hash.to_string())
}

/// A password that cannot be hashed.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// Empty or too long.
    #[error("{0}")]
    Length(&'static str),
    /// argon2 or the source of randomness failed.
    #[error(transparent)]
    Argon2(#[from] argon2::password_hash::Error),
}

fn check_length(password: &str) -> Result<(), &'static str> {
    match password.len() {
        1..=PASSWORD_BYTES_MAX => Ok(()),
        _ => Err("a password has 1 to 1024 bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_verifies_its_own_password_only() {
        let hashed = Credential::hashed(&hash("correct horse").unwrap()).unwrap();
        let decoy = hashed.decoy().unwrap().unwrap();
        assert!(verify(Some(&hashed), Some(&decoy), "correct horse"));
        assert!(!verify(Some(&hashed), Some(&decoy), "battery staple"));
        assert!(!verify(None, Some(&decoy), "correct horse"));
        assert!(!verify(None, None, "correct horse"));
        let plain = Credential::plain("correct horse").unwrap();
        assert!(verify(Some(&plain), Some(&decoy), "correct horse"));
        assert!(verify(Some(&plain), None, "correct horse"));
        assert!(!verify(Some(&plain), None, "correct horse "));
    }

    #[test]
    fn hashes_that_are_refused() {
        let good = hash("x").unwrap();
        for (hash, why) in [
            ("", "not a password hash"),
            ("hunter2", "not a password hash"),
            (&good.replace("argon2id", "argon2i"), "only argon2id"),
            ("$argon2id$v=19$m=19456,t=2,p=1", "lacks its salt"),
            (&good.replace("m=19456", "m=99999999"), "costs too much"),
            (&good.replace("t=2", "t=1000"), "costs too much"),
        ] {
            let error = Credential::hashed(hash).unwrap_err();
            assert!(error.contains(why), "{hash}: {error}");
        }
    }

    #[test]
    fn lengths() {
        assert!(Credential::plain("").is_err());
        assert!(Credential::plain(&"x".repeat(1024)).is_ok());
        assert!(Credential::plain(&"x".repeat(1025)).is_err());
        assert!(hash("").is_err());
    }

    #[test]
    fn credentials_do_not_print() {
        let hashed = Credential::hashed(&hash("secret").unwrap()).unwrap();
        assert_eq!(format!("{hashed:?}"), "Argon2id(…)");
        assert_eq!(format!("{:?}", Credential::plain("secret").unwrap()), "Plain(…)");
    }
}
