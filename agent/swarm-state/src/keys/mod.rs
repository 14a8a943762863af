//! `swarm-node.key`: the TLS key of the node, and in its PEM headers the data keys that encrypt the raft log.
//!
//! In an autolocked state both are encrypted with the unlock key.

mod private_key;

use std::{fmt, str::FromStr};

use data_encoding::{BASE64, BASE64_NOPAD};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Damage, Error, data_key::DataKey, envelope::Envelope, state_dir::NODE_KEY};

pub(crate) const DEK: &str = "raft-dek";
pub(crate) const PENDING_DEK: &str = "raft-dek-pending";
const NEEDS_ROTATION: &str = "raft-dek-needs-rotation";
const KEK_VERSION: &str = "kek-version";
const UNLOCK_KEY_PREFIX: &str = "SWMKEY-1-";

/// Unlock key of an autolocked swarm, `SWMKEY-1-…`, for which `docker swarm unlock` asks.
#[derive(Clone)]
pub struct UnlockKey(DataKey);

/// A `swarm-node.key` that is parsed but not decrypted.
pub struct KeyFile {
    block: pem::Pem,
    kek_version: u64,
}

/// Facts about `swarm-node.key` that need no decryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyFacts {
    /// Whether the unlock key is needed.
    pub autolocked: bool,
    /// Number that swarm gives to the unlock key; 0 before the first one.
    pub kek_version: u64,
    /// Whether the engine is changing to a new data key.
    pub pending_data_key: bool,
    /// Whether the engine must still change the log to a new data key.
    pub needs_rotation: bool,
}

/// Decrypted content of a key file.
#[derive(Debug)]
pub struct RaftKeys {
    /// Data keys in the order in which to try them. A pending one is newer and comes first.
    pub data_keys: Vec<DataKey>,
    /// Public half of the TLS key, an uncompressed point; to be compared with that of the certificate.
    pub public_key: Vec<u8>,
}

impl KeyFile {
    /// Parses the PEM text without decrypting anything.
    pub fn parse(bytes: &[u8]) -> Result<Self, Damage> {
        // The parser's error message may quote a header line, and with it a key.
        let block = pem::parse(bytes).map_err(|_| Damage::corrupt(NODE_KEY, 0, "not PEM with well-formed headers"))?;
        let mut key = Self { block, kek_version: 0 };
        if let Some(version) = key.header(KEK_VERSION) {
            let why = "the header kek-version is no number";
            key.kek_version = version.parse().map_err(|_| damaged_header(bytes, KEK_VERSION, why))?;
        }
        if key.header(DEK).is_none() {
            return Err(Damage::incomplete(NODE_KEY, 0, "has no header raft-dek: not a manager's key"));
        }
        for header in [DEK, PENDING_DEK] {
            let Some(value) = key.header(header) else {
                continue;
            };
            let decoded = BASE64.decode(value.as_bytes()).map(Zeroizing::new);
            let decoded = decoded.map_err(|_| damaged_header(bytes, header, "is not base64"))?;
            Envelope::parse(&decoded).map_err(|error| damaged_header(bytes, header, error.why))?;
        }
        Ok(key)
    }

    /// Whether an unlock key is needed.
    pub fn is_locked(&self) -> bool {
        private_key::is_locked(&self.block)
    }

    /// Whether the engine is changing to a new data key: the log may contain entries of both keys.
    fn has_pending_key(&self) -> bool {
        self.header(PENDING_DEK).is_some()
    }

    /// Whether the engine must still change the log to a new data key, for example after autolock was switched on.
    fn needs_rotation(&self) -> bool {
        self.header(NEEDS_ROTATION).is_some()
    }

    /// Returns the facts that need no decryption.
    pub fn facts(&self) -> KeyFacts {
        KeyFacts {
            autolocked: self.is_locked(),
            kek_version: self.kek_version,
            pending_data_key: self.has_pending_key(),
            needs_rotation: self.needs_rotation(),
        }
    }

    /// Decrypts the data keys and the TLS key. `unlock_key` is ignored for a state that is not autolocked.
    ///
    /// A wrong unlock key decrypts no part. If it decrypts some parts but not others, the others are damaged.
    pub fn open(&self, unlock_key: Option<&UnlockKey>) -> Result<RaftKeys, OpenError> {
        let unlock_key = match (self.is_locked(), unlock_key) {
            (false, _) => None,
            (true, None) => return Err(OpenError::Locked),
            (true, Some(key)) => Some(key),
        };
        let tls = private_key::open(&self.block, unlock_key);
        let headers: Vec<_> = [PENDING_DEK, DEK]
            .into_iter()
            .filter_map(|header| Some((header, self.open_header(self.header(header)?, unlock_key))))
            .collect();
        if unlock_key.is_some() && tls.is_none() && headers.iter().all(|(_, key)| key.is_none()) {
            return Err(OpenError::WrongUnlockKey);
        }
        let damaged = |what: &str| Damage::corrupt(NODE_KEY, 0, format!("{what} does not open"));
        let mut data_keys = Vec::new();
        for (header, key) in headers {
            data_keys.push(key.ok_or_else(|| damaged(&format!("the header {header}")))?);
        }
        let tls = tls.ok_or_else(|| damaged("the TLS key"))?;
        Ok(RaftKeys { data_keys, public_key: tls.public })
    }

    fn open_header(&self, value: &str, unlock_key: Option<&UnlockKey>) -> Option<DataKey> {
        let bytes = Zeroizing::new(BASE64.decode(value.as_bytes()).ok()?);
        let envelope = Envelope::parse(&bytes).ok()?;
        match unlock_key {
            Some(key) => DataKey::from_slice(&envelope.open(std::slice::from_ref(&key.0)).ok()?),
            None => DataKey::from_slice(envelope.in_clear()?),
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.block.headers().get(name)
    }
}

/// Rewrites an autolocked `swarm-node.key` so that an engine starts without the unlock key, which is the only way to
/// run force-new-cluster on such a state. `kek-version` becomes 0, so the manager encrypts the file again by itself
/// with the unlock key in its raft log. The result is as secret as the unlock key.
pub fn unlocked(bytes: &[u8], unlock_key: &UnlockKey) -> Result<Zeroizing<Vec<u8>>, Error> {
    let file = KeyFile::parse(bytes)?;
    let keys = file.open(Some(unlock_key)).map_err(|error| error.of(&file))?;
    if !file.is_locked() {
        return Ok(Zeroizing::new(bytes.to_vec()));
    }
    let damaged = || Damage::corrupt(NODE_KEY, 0, "the TLS key does not open");
    let tls = private_key::open(&file.block, Some(unlock_key)).ok_or_else(damaged)?;
    let tag = private_key::open_tag(&file.block);
    let mut text = Zeroizing::new(String::with_capacity(1024));
    text.push_str(&format!("-----BEGIN {}-----\n{KEK_VERSION}: 0\n", tag));
    let names = if file.has_pending_key() { &[PENDING_DEK, DEK][..] } else { &[DEK] };
    for (name, key) in names.iter().zip(&keys.data_keys) {
        // A MaybeEncryptedRecord of algorithm 0: field 2, 32 bytes.
        let mut record = Zeroizing::new(vec![0x12, 32]);
        record.extend_from_slice(key.bytes());
        let value = Zeroizing::new(BASE64.encode(&record));
        text.push_str(name);
        text.push_str(": ");
        text.push_str(&value);
        text.push('\n');
    }
    if file.needs_rotation() {
        text.push_str(&format!("{NEEDS_ROTATION}: true\n"));
    }
    text.push('\n');
    let body = Zeroizing::new(BASE64.encode(&tls.der));
    for line in body.as_bytes().chunks(64) {
        text.push_str(std::str::from_utf8(line).expect("base64 is ASCII"));
        text.push('\n');
    }
    text.push_str(&format!("-----END {}-----\n", tag));
    Ok(Zeroizing::new(text.as_bytes().to_vec()))
}

/// Reason why a key file was not decrypted.
#[derive(Debug, PartialEq, Eq)]
pub enum OpenError {
    /// The file is autolocked, and no unlock key was given.
    Locked,
    /// The unlock key decrypts none of the encrypted parts.
    WrongUnlockKey,
    /// Some parts can be decrypted and others cannot, or a decrypted part is not a key.
    Damaged(Damage),
}

impl OpenError {
    pub(crate) fn of(self, file: &KeyFile) -> Error {
        match self {
            Self::Damaged(damage) => damage.into(),
            Self::Locked | Self::WrongUnlockKey => {
                Error::WrongUnlockKey { file: NODE_KEY.to_owned(), kek_version: file.kek_version }
            }
        }
    }
}

impl From<Damage> for OpenError {
    fn from(damage: Damage) -> Self {
        Self::Damaged(damage)
    }
}

impl UnlockKey {
    /// Returns the raw bytes, which are also the password of the TLS key.
    fn bytes(&self) -> &[u8; 32] {
        self.0.bytes()
    }
}

impl FromStr for UnlockKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let malformed = Error::MalformedUnlockKey;
        let encoded = text.trim().strip_prefix(UNLOCK_KEY_PREFIX);
        let encoded = encoded.ok_or(malformed("it must begin with SWMKEY-1-"))?;
        let bytes = BASE64_NOPAD.decode(encoded.as_bytes()).map(Zeroizing::new);
        let bytes = bytes.map_err(|_| malformed("what follows SWMKEY-1- is not base64"))?;
        let key = DataKey::from_slice(&bytes);
        key.map(Self).ok_or(malformed("what follows SWMKEY-1- is not 32 bytes long"))
    }
}

impl fmt::Debug for UnlockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UnlockKey(..)")
    }
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let locked = self.is_locked();
        f.debug_struct("KeyFile").field("locked", &locked).finish_non_exhaustive()
    }
}

fn damaged_header(bytes: &[u8], header: &str, why: &str) -> Damage {
    let name = format!("\n{header}:");
    let at = bytes.windows(name.len()).position(|w| w == name.as_bytes()).map_or(0, |at| at + 1);
    Damage::corrupt(NODE_KEY, at as u64, format!("header {header}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{
        key_file::{PUBLIC, UNLOCK_KEY, locked, rotating},
        states::{bytes, key, seal},
    };

    fn open(text: &str, unlock_key: Option<&str>) -> Result<RaftKeys, OpenError> {
        let unlock_key = unlock_key.map(|key| key.parse().unwrap());
        KeyFile::parse(text.as_bytes()).unwrap().open(unlock_key.as_ref())
    }

    #[test]
    fn a_key_file_of_the_old_form_opens_with_its_unlock_key() {
        let facts = KeyFile::parse(rotating().as_bytes()).unwrap().facts();
        assert!(facts.autolocked && facts.pending_data_key && !facts.needs_rotation && facts.kek_version == 9);
        let keys = open(&rotating(), Some(UNLOCK_KEY)).unwrap();
        assert_eq!(data_encoding::HEXLOWER.encode(&keys.public_key), PUBLIC);
        let data_keys: Vec<_> = keys.data_keys.iter().map(|key| *key.bytes()).collect();
        assert_eq!(data_keys, [[2; 32], [1; 32]], "the pending key is tried first");
    }

    #[test]
    fn an_unlocked_copy_opens_without_the_key_and_holds_the_same() {
        let unlocked = unlocked(rotating().as_bytes(), &UNLOCK_KEY.parse().unwrap()).unwrap();
        let text = std::str::from_utf8(&unlocked).unwrap();
        let file = KeyFile::parse(&unlocked).unwrap();
        assert!(!file.facts().autolocked && file.facts().kek_version == 0, "{text}");
        let keys = open(text, None).unwrap();
        assert_eq!(data_encoding::HEXLOWER.encode(&keys.public_key), PUBLIC);
        assert_eq!(keys.data_keys.len(), 2);
        assert_eq!(keys.data_keys[0].bytes(), &[2; 32]);
    }

    #[test]
    fn a_wrong_key_is_told_apart_from_damage() {
        let wrong = UNLOCK_KEY.replace("BwcH", "CAgI");
        let (dek, damaged_dek) = (seal(&key(7), &[1; 32]), seal(&key(8), &[1; 32]));
        let whole = locked(&[(DEK, dek.clone())]);
        let damaged_body = whole.replace("xWKw", "yWKw");
        let damaged_header = locked(&[(DEK, damaged_dek)]);
        assert_eq!(open(&whole, None).unwrap_err(), OpenError::Locked);
        assert_eq!(open(&whole, Some(&wrong)).unwrap_err(), OpenError::WrongUnlockKey);
        for (text, part) in [(damaged_body, "the TLS key"), (damaged_header, "the header raft-dek")] {
            match open(&text, Some(UNLOCK_KEY)).unwrap_err() {
                OpenError::Damaged(damage) => assert!(damage.why.contains(part), "{damage}"),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn nothing_shows_a_key() {
        let unlock_key: UnlockKey = UNLOCK_KEY.parse().unwrap();
        let keys = open(&rotating(), Some(UNLOCK_KEY)).unwrap();
        let file = KeyFile::parse(rotating().as_bytes()).unwrap();
        let shown = format!("{unlock_key:?} {keys:?} {file:?}");
        assert!(!shown.contains("Bwc") && !shown.contains(" 7, 7, 7") && !shown.contains("xWKw"), "{shown}");
        // The PEM parser quotes lines without a colon.
        let line = BASE64.encode(&bytes(2, &[0x5a; 32]));
        let text = format!("-----BEGIN PRIVATE KEY-----\nraft-dek {line}\n\nAAAA\n-----END PRIVATE KEY-----\n");
        let error = KeyFile::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(!error.contains(&line), "{error}");
    }

    #[test]
    fn only_an_unlock_key_is_taken_for_one() {
        let cases = [
            ("SWMKEY-1-BwcH", "not 32 bytes"),
            ("SWMKEY-2-BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc", "must begin with SWMKEY-1-"),
            ("SWMKEY-1-BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHB%c", "not base64"),
            ("", "must begin"),
        ];
        for (text, why) in cases {
            let error = text.parse::<UnlockKey>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
            assert!(text.is_empty() || !error.contains(text), "{error}");
        }
        let spaced = format!(" {UNLOCK_KEY}\n").parse::<UnlockKey>().unwrap();
        assert_eq!(spaced.bytes(), &[7; 32]);
    }
}
