//! Signing keys in the file formats of minisign: Ed25519 with an 8-byte key id.
//!
//! A public key file is two lines, `untrusted comment: …` and base64 of `Ed`, key id, key. A secret key file is two lines, the second
//! base64 of algorithm, derivation, checksum algorithm, salt, limits, key id, seed, public key, checksum.

mod public;
mod secret;

use std::fmt;

use jiff::Timestamp;
pub use public::PublicKey;
pub use secret::SecretKey;

use crate::error::Error;

const COMMENT: &str = "untrusted comment: ";
const ALGORITHM: &[u8; 2] = b"Ed";
const PUBLIC_LEN: usize = 42;
const SECRET_LEN: usize = 158;

/// Eight random bytes that name a key pair; displays as minisign prints it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId(pub(crate) [u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", u64::from_le_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// The public keys whose signatures count, and until when.
#[derive(Clone, Debug, Default)]
pub struct TrustedKeys(Vec<Trusted>);

/// A key that has an end counts for what was there before it. Nothing here knows when that was: whoever stored the
/// bytes does, and compares with [`TrustedKeys::until`], or takes [`TrustedKeys::at`] that time.
#[derive(Clone, Copy, Debug)]
struct Trusted {
    key: PublicKey,
    until: Option<Timestamp>,
}

impl TrustedKeys {
    /// Trusts nobody yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts one more key. Two keys may have one id; a signature counts if either made it.
    pub fn insert(&mut self, key: PublicKey) {
        self.insert_until(key, None);
    }

    /// Trusts one more key for what is older than `until`. Of a key that is named twice the earlier end counts.
    pub fn insert_until(&mut self, key: PublicKey, until: Option<Timestamp>) {
        match self.0.iter_mut().find(|known| known.key == key) {
            Some(known) => known.until = known.until.into_iter().chain(until).min(),
            None => self.0.push(Trusted { key, until }),
        }
    }

    /// When the trust in this key ends; `None` if it does not, or if there is none.
    pub fn until(&self, key: &PublicKey) -> Option<Timestamp> {
        self.0.iter().find(|known| known.key == *key)?.until
    }

    /// Those whose signatures count on what came at this time.
    #[must_use]
    pub fn at(&self, time: Timestamp) -> Self {
        Self(self.0.iter().filter(|known| known.until.is_none_or(|until| time < until)).copied().collect())
    }

    /// The keys of this id.
    pub fn with_id(&self, key_id: KeyId) -> impl Iterator<Item = &PublicKey> {
        self.iter().filter(move |key| key.key_id == key_id)
    }

    /// All keys, in the order in which they were inserted.
    pub fn iter(&self) -> impl Iterator<Item = &PublicKey> {
        self.0.iter().map(|known| &known.key)
    }

    /// Whether no signature can count.
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

/// The base64 line of a bare key or of a two-line key file.
fn key_line(text: &str) -> Option<&str> {
    let mut lines = text.trim_end().lines();
    let first = lines.next()?;
    let line = if first.starts_with(COMMENT) { lines.next()? } else { first };
    lines.next().is_none().then(|| line.trim())
}

pub(crate) fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the caller measured the slice")
}
