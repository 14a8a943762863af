//! Secret keys without a password, and signing.

use std::fmt;

use data_encoding::BASE64;
use ring::{
    rand::SecureRandom,
    signature::{Ed25519KeyPair, KeyPair},
};
use zeroize::Zeroizing;

use super::{ALGORITHM, COMMENT, KeyId, PUBLIC_LEN, PublicKey, SECRET_LEN, array, key_line};
use crate::{
    digest::Digest,
    error::{Error, Result},
};

/// A key that signs archives. Each copy is wiped from memory when it is dropped.
#[derive(Clone)]
pub struct SecretKey {
    seed: Zeroizing<[u8; 32]>,
    public: PublicKey,
}

impl SecretKey {
    /// Generates a key with a random id. Fails only if the system provides no randomness.
    pub fn generate(random: &dyn SecureRandom) -> Result<Self> {
        let refuse = |_| Error::InvalidKey { which: "secret", reason: "the system gives no randomness to make it" };
        let mut seed = Zeroizing::new([0; 32]);
        let mut key_id = KeyId([0; 8]);
        random.fill(seed.as_mut()).map_err(refuse)?;
        random.fill(&mut key_id.0).map_err(refuse)?;
        let key = public_half(&seed);
        Ok(Self { seed, public: PublicKey { key_id, key } })
    }

    /// Makes the key of a seed. Its id is the start of the SHA-256 of the public key, so one seed always gives one key.
    pub fn from_seed(seed: Zeroizing<[u8; 32]>) -> Self {
        let key = public_half(&seed);
        let key_id = KeyId(array(&Digest::of(&key).as_bytes()[..8]));
        Self { seed, public: PublicKey { key_id, key } }
    }

    /// Reads the content of a secret key file that has no password (`minisign -G -W`).
    pub fn from_minisign_str(text: &str) -> Result<Self> {
        let refuse = |reason| Error::InvalidKey { which: "secret", reason };
        let line = key_line(text).ok_or(refuse("it is not a two-line minisign secret key file"))?;
        let bytes = Zeroizing::new(BASE64.decode(line.as_bytes()).map_err(|_| refuse("it is not base64"))?);
        if bytes.len() == PUBLIC_LEN {
            return Err(refuse("it is a public key; give the secret one"));
        }
        if bytes.len() != SECRET_LEN || &bytes[..2] != ALGORITHM {
            return Err(refuse("it is not an Ed25519 key of minisign"));
        }
        match &bytes[2..4] {
            b"\0\0" => from_fields(&bytes[54..]),
            b"Sc" => Err(refuse(
                "it is protected by a password, which an unattended agent cannot type; \
                 make one without by `minisign -G -W`, or take the password off by `minisign -C -W -s FILE`",
            )),
            _ => Err(refuse("it is protected in a way that is not known here")),
        }
    }

    /// Returns the content of a secret key file without a password, which stock minisign can read.
    pub fn to_minisign_string(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new(vec![0; SECRET_LEN]);
        bytes[..2].copy_from_slice(ALGORITHM);
        bytes[4..6].copy_from_slice(b"B2");
        bytes[54..62].copy_from_slice(&self.public.key_id.0);
        bytes[62..94].copy_from_slice(self.seed.as_ref());
        bytes[94..126].copy_from_slice(&self.public.key);
        let line = Zeroizing::new(BASE64.encode(&bytes));
        // Stock minisign writes this comment with or without a password.
        Zeroizing::new(format!("{COMMENT}minisign encrypted secret key\n{}\n", line.as_str()))
    }

    /// Returns the public half of this key.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        let pair = Ed25519KeyPair::from_seed_unchecked(self.seed.as_ref()).expect("a seed is 32 bytes");
        array(pair.sign(message).as_ref())
    }
}

fn public_half(seed: &[u8; 32]) -> [u8; 32] {
    let pair = Ed25519KeyPair::from_seed_unchecked(seed).expect("a seed is 32 bytes");
    array(pair.public_key().as_ref())
}

/// Reads key id, seed, public key and checksum. The checksum of a key without a password is zero, so the function
/// checks instead that the two halves belong together.
fn from_fields(fields: &[u8]) -> Result<SecretKey> {
    let (key_id, seed, key) = (&fields[..8], &fields[8..40], &fields[40..72]);
    Ed25519KeyPair::from_seed_and_public_key(seed, key).map_err(|_| Error::InvalidKey {
        which: "secret",
        reason: "its two halves do not belong together; the file is damaged",
    })?;
    let public = PublicKey { key_id: KeyId(array(key_id)), key: array(key) };
    Ok(SecretKey { seed: Zeroizing::new(array(seed)), public })
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({})", self.public.key_id)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails may panic")]
mod tests {
    use super::*;
    use ring::rand::SystemRandom;

    const PUBLIC: &str = "RWS4LEL81GcVm2XBEDpc/GTR1E92Il1kyIDqOKCG/yv93qdWlty04K+z";

    #[test]
    fn secret_key_round_trips_and_hides_itself() {
        let key = SecretKey::generate(&SystemRandom::new()).unwrap();
        let text = key.to_minisign_string();
        let again = SecretKey::from_minisign_str(&text).unwrap();
        assert_eq!(again.public(), key.public());
        assert_eq!(again.sign(b"x"), key.sign(b"x"));
        assert_eq!(format!("{key:?}"), format!("SecretKey({})", key.public().key_id()));
    }

    #[test]
    fn one_seed_gives_one_key_that_reads_back() {
        let key = SecretKey::from_seed(Zeroizing::new([7; 32]));
        assert_eq!(key.public(), SecretKey::from_seed(Zeroizing::new([7; 32])).public());
        assert_ne!(key.public(), SecretKey::from_seed(Zeroizing::new([8; 32])).public());
        let again = SecretKey::from_minisign_str(&key.to_minisign_string()).unwrap();
        assert_eq!(again.public(), key.public());
    }

    #[test]
    fn mixed_up_damaged_and_protected_keys_are_told_apart() {
        let key = SecretKey::generate(&SystemRandom::new()).unwrap();
        let secret = key.to_minisign_string();
        let reason = |result: Result<()>| match result {
            Err(Error::InvalidKey { reason, .. }) => reason,
            other => panic!("{other:?}"),
        };
        let read_secret = |text: &str| reason(SecretKey::from_minisign_str(text).map(drop));
        let read_public = |text: &str| reason(text.parse::<PublicKey>().map(drop));
        assert!(read_public(&secret).contains("secret key"));
        assert!(read_secret(PUBLIC).contains("public key"));
        assert!(read_public("RWS4").contains("not an Ed25519"));
        assert!(read_public("one\ntwo").contains("neither"));

        let mut bytes = BASE64.decode(secret.lines().nth(1).unwrap().as_bytes()).unwrap();
        bytes[2..4].copy_from_slice(b"Sc");
        assert!(read_secret(&BASE64.encode(&bytes)).contains("minisign -G -W"));
        bytes[2..4].copy_from_slice(b"\0\0");
        bytes[62] ^= 1;
        assert!(read_secret(&BASE64.encode(&bytes)).contains("damaged"));
    }
}
