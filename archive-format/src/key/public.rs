//! Public keys, bare or in a `.pub` file.

use std::{fmt, str::FromStr};

use data_encoding::BASE64;
use ring::signature::{ED25519, UnparsedPublicKey};

use super::{ALGORITHM, COMMENT, KeyId, PUBLIC_LEN, SECRET_LEN, array, key_line};
use crate::error::{Error, Result};

/// A key that verifies signatures. Displayed as base64, the form that `minisign -P` takes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey {
    pub(super) key_id: KeyId,
    pub(super) key: [u8; 32],
}

impl PublicKey {
    /// Returns the id that signatures by this key carry.
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// Returns the content of a `.pub` file, which stock minisign can read.
    pub fn to_minisign_string(&self) -> String {
        format!("{COMMENT}minisign public key {}\n{self}\n", self.key_id)
    }

    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.key).verify(message, signature).is_ok()
    }
}

impl FromStr for PublicKey {
    type Err = Error;

    /// Parses a bare base64 line or a whole `.pub` file.
    fn from_str(text: &str) -> Result<Self> {
        let refuse = |reason| Error::InvalidKey { which: "public", reason };
        let line = key_line(text).ok_or(refuse("it is neither one base64 line nor a two-line minisign .pub file"))?;
        let bytes = BASE64.decode(line.as_bytes()).map_err(|_| refuse("it is not base64"))?;
        if bytes.len() == SECRET_LEN {
            return Err(refuse("it is a secret key; give the public one, from the .pub file"));
        }
        if bytes.len() != PUBLIC_LEN || &bytes[..2] != ALGORITHM {
            return Err(refuse("it is not an Ed25519 key of minisign, which starts with RW"));
        }
        Ok(Self { key_id: KeyId(array(&bytes[2..10])), key: array(&bytes[10..]) })
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&ALGORITHM[..], &self.key_id.0, &self.key].concat();
        f.write_str(&BASE64.encode(&bytes))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

serde_as_string!(PublicKey);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails may panic")]
mod tests {
    use super::*;

    const PUBLIC: &str = "RWS4LEL81GcVm2XBEDpc/GTR1E92Il1kyIDqOKCG/yv93qdWlty04K+z";

    #[test]
    fn public_key_is_read_bare_and_from_its_file() {
        let key: PublicKey = PUBLIC.parse().unwrap();
        assert_eq!(key.key_id().to_string(), "9B1567D4FC422CB8");
        assert_eq!(key.to_string(), PUBLIC);
        let file = key.to_minisign_string();
        assert_eq!(file, format!("untrusted comment: minisign public key 9B1567D4FC422CB8\n{PUBLIC}\n"));
        assert_eq!(file.parse::<PublicKey>().unwrap(), key);
    }
}
