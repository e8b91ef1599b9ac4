//! Bearer tokens: 256 random bits, of which only the SHA-256 is kept.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use tonic::metadata::MetadataMap;

/// Characters of a token: 32 bytes in base64url without padding.
const TOKEN_CHARS: usize = 43;

/// What the exchange remembers of a token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TokenHash([u8; 32]);

impl std::fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

/// A new token and its hash.
pub(super) fn new() -> Result<(String, TokenHash), getrandom::Error> {
    let mut bits = [0; 32];
    getrandom::fill(&mut bits)?;
    let token = URL_SAFE_NO_PAD.encode(bits);
    let hash = hash(token.as_bytes());
    Ok((token, hash))
}

/// The hash of the token that a request bears: `authorization: Bearer TOKEN`.
pub(super) fn of_request(metadata: &MetadataMap) -> Option<TokenHash> {
    let value = metadata.get("authorization")?.as_bytes();
    let (scheme, rest) = value.split_at_checked("Bearer ".len())?;
    if !scheme.eq_ignore_ascii_case(b"Bearer ") {
        return None;
    }
    let token = rest.trim_ascii();
    (token.len() == TOKEN_CHARS).then(|| hash(token))
}

fn hash(token: &[u8]) -> TokenHash {
    TokenHash(Sha256::digest(token).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_read_as_http_writes_it() {
        let (token, expected) = new().unwrap();
        for (value, ok) in [
            (format!("Bearer {token}"), true),
            (format!("bearer {token}"), true),
            (format!("BEARER   {token} "), true),
            (format!("Basic {token}"), false),
            (format!("Bearer{token}"), false),
            (format!("Bearer {token}x"), false),
            (token.clone(), false),
            ("Bearer".to_owned(), false),
            (String::new(), false),
        ] {
            let mut metadata = MetadataMap::new();
            metadata.insert("authorization", value.parse().unwrap());
            assert_eq!(of_request(&metadata) == Some(expected), ok, "{value:?}");
            assert_eq!(of_request(&metadata).is_some(), ok, "{value:?}");
        }
        assert_eq!(of_request(&MetadataMap::new()), None);
    }

    #[test]
    fn tokens_differ() {
        let (a, _) = new().unwrap();
        let (b, _) = new().unwrap();
        assert_ne!(a, b);
        assert_eq!(a.len(), TOKEN_CHARS);
    }
}
