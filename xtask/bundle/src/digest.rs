//! SHA-256, and the id that a submission has by it.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use sha2::Digest as _;

/// A SHA-256 hash: 64 hex digits in lower case wherever it is written down.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

/// Text that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not {0}")]
pub struct NotThat(pub(crate) &'static str);

impl Digest {
    /// Of bytes at hand.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// Of all that a reader gives, and how many bytes that was.
    pub fn of_reader(mut reader: impl Read) -> io::Result<(Self, u64)> {
        let mut hasher = Hasher::default();
        let size = io::copy(&mut reader, &mut hasher)?;
        Ok((hasher.finish(), size))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl FromStr for Digest {
    type Err = NotThat;

    fn from_str(text: &str) -> Result<Self, NotThat> {
        unhex(text).map(Self).ok_or(NotThat("64 hex digits in lower case"))
    }
}

/// Hashes what is written to it.
#[derive(Clone, Debug, Default)]
pub struct Hasher(sha2::Sha256);

impl Hasher {
    /// Takes more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of all bytes so far.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a submission is called: the first 16 hex digits of its bundle's hash, so the same bundle has the same id.
/// Ids are a participant's own: two participants with the same bundle have the same id, and nothing in common.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubmissionId([u8; 8]);

impl From<&Digest> for SubmissionId {
    fn from(digest: &Digest) -> Self {
        let mut id = [0; 8];
        id.copy_from_slice(&digest.0[..8]);
        Self(id)
    }
}

impl fmt::Display for SubmissionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for SubmissionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl FromStr for SubmissionId {
    type Err = NotThat;

    fn from_str(text: &str) -> Result<Self, NotThat> {
        unhex(text)
            .map(Self)
            .ok_or(NotThat("the 16 hex digits of a submission's id"))
    }
}

fn hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// Strict, so that one hash has one text: it is a file's name, too.
fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let text = text.as_bytes();
    if text.len() != 2 * N {
        return None;
    }
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// Serialize and Deserialize by Display and FromStr.
macro_rules! serde_as_text {
    ($($name:ty),*) => {$(
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str($crate::digest::Text(std::marker::PhantomData))
            }
        }
    )*};
}
pub(crate) use serde_as_text;

/// Parses within the visitor, so that an error of a YAML file names the text's own place.
pub(crate) struct Text<T>(pub(crate) std::marker::PhantomData<T>);

impl<T: FromStr<Err: fmt::Display>> serde::de::Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

serde_as_text!(Digest, SubmissionId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_hash_and_its_id() {
        let digest = Digest::of(b"abc");
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest.to_string(), text);
        assert_eq!(text.parse(), Ok(digest));
        let id = SubmissionId::from(&digest);
        assert_eq!(id.to_string(), "ba7816bf8f01cfea");
        assert_eq!("ba7816bf8f01cfea".parse(), Ok(id));
        assert_eq!(Digest::of_reader(&b"abc"[..]).expect("read"), (digest, 3));
    }

    #[test]
    fn one_hash_has_one_text() {
        for wrong in [
            "",
            "BA7816BF8F01CFEA",
            "ba7816bf8f01cfe",
            "ba7816bf8f01cfeaa",
            "../../../../../..",
            "ba7816bf8f01cfe/",
            "ba7816bf8f01cfe\n",
            "０a7816bf8f01cf",
        ] {
            assert!(wrong.parse::<SubmissionId>().is_err(), "{wrong:?}");
            assert!(wrong.parse::<Digest>().is_err(), "{wrong:?}");
        }
    }
}
