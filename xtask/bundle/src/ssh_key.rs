//! Public keys of OpenSSH.

use std::fmt;
use std::str::FromStr;

use crate::digest::serde_as_text;

/// A public key: algorithm and base64, as in an `authorized_keys` line without options. The comment is dropped: it is
/// text that people choose, and it decides nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey {
    algorithm: &'static str,
    base64: String,
}

/// Why text is no public key.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("no public key of OpenSSH (such as `ssh-ed25519 AAAA…`, as ssh-keygen writes it to *.pub): {0}")]
pub struct NoPublicKey(&'static str);

/// Algorithms of keys, and of the signatures that can be made with each.
const ALGORITHMS: [(&str, &[&str]); 7] = [
    ("ssh-ed25519", &["ssh-ed25519"]),
    ("sk-ssh-ed25519@openssh.com", &["sk-ssh-ed25519@openssh.com"]),
    ("ecdsa-sha2-nistp256", &["ecdsa-sha2-nistp256"]),
    ("ecdsa-sha2-nistp384", &["ecdsa-sha2-nistp384"]),
    ("ecdsa-sha2-nistp521", &["ecdsa-sha2-nistp521"]),
    (
        "sk-ecdsa-sha2-nistp256@openssh.com",
        &["sk-ecdsa-sha2-nistp256@openssh.com"],
    ),
    ("ssh-rsa", &["rsa-sha2-512", "rsa-sha2-256"]),
];

impl PublicKey {
    /// Such as `ssh-ed25519`.
    pub fn algorithm(&self) -> &'static str {
        self.algorithm
    }

    /// The key itself.
    pub fn base64(&self) -> &str {
        &self.base64
    }

    /// What `HostKeyAlgorithms` calls the signatures of such a key.
    pub fn signature_algorithms(&self) -> &'static [&'static str] {
        ALGORITHMS
            .iter()
            .find(|(algorithm, _)| *algorithm == self.algorithm)
            .map_or(&[], |(_, signatures)| signatures)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.algorithm, self.base64)
    }
}

impl FromStr for PublicKey {
    type Err = NoPublicKey;

    fn from_str(text: &str) -> Result<Self, NoPublicKey> {
        if text.trim_end_matches('\n').contains(['\n', '\r', '\0']) {
            return Err(NoPublicKey("it has more than one line"));
        }
        let mut words = text.split_ascii_whitespace();
        let word = words.next().unwrap_or_default();
        let Some((algorithm, _)) = ALGORITHMS.iter().find(|(algorithm, _)| *algorithm == word) else {
            return Err(NoPublicKey("it does not start with the name of an algorithm"));
        };
        let base64 = words.next().unwrap_or_default();
        let digits = base64.trim_end_matches('=');
        let right = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
        if !base64.len().is_multiple_of(4) || base64.len() - digits.len() > 2 || !digits.bytes().all(right) {
            return Err(NoPublicKey("the key is not in base64"));
        }
        // The key starts with its algorithm's name again, after a length of four bytes; ed25519 has one length only.
        if !base64.starts_with("AAAA") || base64.len() < 64 || (*algorithm == "ssh-ed25519" && base64.len() != 68) {
            return Err(NoPublicKey("the key is cut off"));
        }
        Ok(Self {
            algorithm,
            base64: base64.to_owned(),
        })
    }
}

serde_as_text!(PublicKey);

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKmjWCJ3ZnV2ZzVqZ3F3ZXJ0eXVpb3Bhc2RmZ2hqa2x6";

    #[test]
    fn public_keys() {
        for (text, expected) in [
            (ED25519.to_owned(), Ok(ED25519)),
            (format!("{ED25519} alice@laptop\n"), Ok(ED25519)),
            (String::new(), Err("it does not start with the name of an algorithm")),
            (
                format!("command=\"rm\" {ED25519}"),
                Err("it does not start with the name of an algorithm"),
            ),
            (format!("{ED25519}\n{ED25519}"), Err("it has more than one line")),
            ("ssh-ed25519 AAAA$(id)".to_owned(), Err("the key is not in base64")),
            ("ssh-ed25519".to_owned(), Err("the key is cut off")),
            (ED25519[..72].to_owned(), Err("the key is cut off")),
        ] {
            let parsed = text.parse::<PublicKey>();
            match expected {
                Ok(expected) => assert_eq!(parsed.map(|key| key.to_string()), Ok(expected.to_owned()), "{text}"),
                Err(why) => assert_eq!(parsed, Err(NoPublicKey(why)), "{text}"),
            }
        }
    }
}
