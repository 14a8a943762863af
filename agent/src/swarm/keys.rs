//! `swarm-node.key`: the TLS key of the node, and in its PEM headers the keys that the raft log is closed with.
//!
//! In an autolocked state both are closed again with the unlock key.

mod private_key;

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE64, BASE64_NOPAD};
use zeroize::Zeroizing;

use super::envelope::Envelope;
use super::identity::KeyFacts;
use super::state_dir::NODE_KEY;
use super::{Damage, Error};

const DEK: &str = "raft-dek";
const PENDING_DEK: &str = "raft-dek-pending";
const NEEDS_ROTATION: &str = "raft-dek-needs-rotation";
const KEK_VERSION: &str = "kek-version";
const UNLOCK_KEY_PREFIX: &str = "SWMKEY-1-";

/// A key that raft entries and snapshots are closed with.
#[derive(Clone)]
pub struct DataKey(Zeroizing<[u8; 32]>);

/// The key that `docker swarm unlock` asks for, `SWMKEY-1-…`.
#[derive(Clone)]
pub struct UnlockKey(DataKey);

/// `swarm-node.key`, parsed but not opened.
pub struct KeyFile {
    block: pem::Pem,
    kek_version: u64,
}

/// What a key file holds, opened.
#[derive(Debug)]
pub struct RaftKeys {
    /// Data keys in the order in which to try them: a pending one is newer and comes first.
    pub data_keys: Vec<DataKey>,
    /// The public half of the TLS key, an uncompressed point; to be compared with the certificate's.
    pub public_key: Vec<u8>,
}

impl KeyFile {
    /// Parses the PEM text; opens nothing.
    pub fn parse(bytes: &[u8]) -> Result<Self, Damage> {
        // The parser's own error may quote a header line, and with it a key.
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

    /// Whether a new data key is being taken into use: entries of both keys may be in the log.
    fn has_pending_key(&self) -> bool {
        self.header(PENDING_DEK).is_some()
    }

    /// Whether the engine still owes the log a new data key, as after autolock was switched on.
    fn needs_rotation(&self) -> bool {
        self.header(NEEDS_ROTATION).is_some()
    }

    /// What can be said without opening anything.
    pub fn facts(&self) -> KeyFacts {
        KeyFacts {
            autolocked: self.is_locked(),
            kek_version: self.kek_version,
            pending_data_key: self.has_pending_key(),
            needs_rotation: self.needs_rotation(),
        }
    }

    /// Opens the data keys and the TLS key. `unlock_key` is ignored by a state that is not autolocked.
    ///
    /// A wrong unlock key opens nothing; if it opens one part and not another, that other part is damaged.
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

/// Rewrites an autolocked `swarm-node.key` so that an engine starts without the unlock key: the only way to
/// run force-new-cluster on such a state. `kek-version` becomes 0, upon which the manager closes the file again by
/// itself, with the unlock key that is in its raft log. The result is as secret as the unlock key.
pub fn unlocked(bytes: &[u8], unlock_key: &UnlockKey) -> Result<Zeroizing<Vec<u8>>, Error> {
    let file = KeyFile::parse(bytes)?;
    let keys = file.open(Some(unlock_key)).map_err(|error| error.of(&file))?;
    if !file.is_locked() {
        return Ok(Zeroizing::new(bytes.to_vec()));
    }
    let damaged = || Damage::corrupt(NODE_KEY, 0, "the TLS key does not open");
    let tls = private_key::open(&file.block, Some(unlock_key)).ok_or_else(damaged)?;
    let mut text = Zeroizing::new(String::with_capacity(1024));
    text.push_str(&format!("-----BEGIN {}-----\n{KEK_VERSION}: 0\n", private_key::OPEN_TAG));
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
    text.push_str(&format!("-----END {}-----\n", private_key::OPEN_TAG));
    Ok(Zeroizing::new(text.as_bytes().to_vec()))
}

/// Why a key file did not open.
#[derive(Debug, PartialEq, Eq)]
pub enum OpenError {
    /// Autolocked, and no unlock key was given.
    Locked,
    /// The unlock key opens none of the closed parts.
    WrongUnlockKey,
    /// Some part opens, another does not; or what opened is no key.
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

impl DataKey {
    pub(super) fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes| Self(Zeroizing::new(bytes)))
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl UnlockKey {
    /// The raw bytes: also the password of the TLS key.
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

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(..)")
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
