//! Signing keys in the file formats of minisign: Ed25519 with an 8-byte key id.
//!
//! A public key file is two lines, `untrusted comment: …` and base64 of `Ed`, key id, key. A secret key file is two
//! lines, the second of them base64 of algorithm, derivation, checksum algorithm, salt, limits, key id, seed,
//! public key, checksum.

mod public;
mod secret;

use jiff::Timestamp;
pub use public::PublicKey;
pub use secret::SecretKey;

pub use crate::key_id::KeyId;

use crate::error::Error;

const COMMENT: &str = "untrusted comment: ";
const ALGORITHM: &[u8; 2] = b"Ed";
const PUBLIC_LEN: usize = 42;
const SECRET_LEN: usize = 158;

/// Public keys whose signatures are trusted, each with the end of the trust if it has one.
#[derive(Clone, Debug, Default)]
pub struct TrustedKeys(Vec<Trusted>);

/// Trusted key. A key with an end is trusted for what existed before that time. This type does not know when the signed
/// bytes were stored. The caller knows, and compares with [`TrustedKeys::until`] or uses [`TrustedKeys::at`].
#[derive(Clone, Copy, Debug)]
struct Trusted {
    key: PublicKey,
    until: Option<Timestamp>,
}

impl TrustedKeys {
    /// Returns an empty set, which trusts no key.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a key without an end. Two keys may have the same id; a signature by either of them is trusted.
    pub fn insert(&mut self, key: PublicKey) {
        self.insert_until(key, None);
    }

    /// Adds a key that is trusted for what is older than `until`. If a key is added twice, the earlier end counts.
    pub fn insert_until(&mut self, key: PublicKey, until: Option<Timestamp>) {
        match self.0.iter_mut().find(|known| known.key == key) {
            Some(known) => known.until = known.until.into_iter().chain(until).min(),
            None => self.0.push(Trusted { key, until }),
        }
    }

    /// Returns the time when the trust in this key ends; `None` if it does not end, or if the key is not in the set.
    pub fn until(&self, key: &PublicKey) -> Option<Timestamp> {
        self.0.iter().find(|known| known.key == *key)?.until
    }

    /// Returns the keys that are trusted for what was stored at this time.
    #[must_use]
    pub fn at(&self, time: Timestamp) -> Self {
        Self(self.0.iter().filter(|known| known.until.is_none_or(|until| time < until)).copied().collect())
    }

    /// Returns the keys with this id.
    pub fn with_id(&self, key_id: KeyId) -> impl Iterator<Item = &PublicKey> {
        self.iter().filter(move |key| key.key_id == key_id)
    }

    /// Returns all keys, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &PublicKey> {
        self.0.iter().map(|known| &known.key)
    }

    /// Whether the set has no key.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn unknown(&self, key_id: KeyId) -> Error {
        let ids: Vec<_> = self.iter().map(|key| key.key_id.to_string()).collect();
        let trusted = if ids.is_empty() { "none".to_owned() } else { ids.join(", ") };
        Error::UnknownKey { key_id, trusted }
    }
}

impl FromIterator<PublicKey> for TrustedKeys {
    fn from_iter<I: IntoIterator<Item = PublicKey>>(keys: I) -> Self {
        let mut trusted = Self::new();
        keys.into_iter().for_each(|key| trusted.insert(key));
        trusted
    }
}

impl From<PublicKey> for TrustedKeys {
    fn from(key: PublicKey) -> Self {
        Self(vec![Trusted { key, until: None }])
    }
}

/// Returns the base64 line of a bare key or of a two-line key file.
fn key_line(text: &str) -> Option<&str> {
    let mut lines = text.trim_end().lines();
    let first = lines.next()?;
    let line = if first.starts_with(COMMENT) { lines.next()? } else { first };
    lines.next().is_none().then(|| line.trim())
}

pub(crate) fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the caller measured the slice")
}
