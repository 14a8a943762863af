//! `swarm-node.key`: the TLS key of the node, and in its PEM headers the keys that the raft log is closed with.
//!
//! In an autolocked state both are closed again with the unlock key.

mod private_key;

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE64, BASE64_NOPAD};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::data_key::DataKey;
use super::envelope::Envelope;
use super::state_dir::NODE_KEY;
use super::{Damage, Error};

const DEK: &str = "raft-dek";
const PENDING_DEK: &str = "raft-dek-pending";
const NEEDS_ROTATION: &str = "raft-dek-needs-rotation";
const KEK_VERSION: &str = "kek-version";
const UNLOCK_KEY_PREFIX: &str = "SWMKEY-1-";

/// The key that `docker swarm unlock` asks for, `SWMKEY-1-…`.
#[derive(Clone)]
pub struct UnlockKey(DataKey);

/// `swarm-node.key`, parsed but not opened.
pub struct KeyFile {
    block: pem::Pem,
    kek_version: u64,
}

/// What `swarm-node.key` says without being opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyFacts {
    /// Whether the unlock key is needed.
    pub autolocked: bool,
    /// The number by which swarm counts unlock keys; 0 before the first one.
    pub kek_version: u64,
    /// Whether a new data key is being taken into use.
    pub pending_data_key: bool,
    /// Whether the engine still owes the log a new data key.
    pub needs_rotation: bool,
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
pub(crate) mod tests {
    use super::super::testing::{bytes, key, seal};
    use super::*;

    /// 32 bytes of 7.
    pub(crate) const UNLOCK_KEY: &str = "SWMKEY-1-BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";
    /// Made with `openssl ec -aes256` and these 32 bytes as password: the form of engines before 17.12.
    const VECTOR: &str = "0FE6A28FD03E4299ADCCEE4647C7F737";
    const BODY: &str = "xWKwLN5PEjZQuNndrx6Ne3Pwux4JxOYU5TqZzxcItSNYLc1u5J5uf4howz9L/zjt\n\
        o2zMKMTGDDorLg9vieNKznMkl1v47Rhs2Oo3MeDBC5JlZS1Do7N2Ek3IW+osiT59\n\
        uSs/x2GEwq/KnTaRULXTOm2RzVDxq7YR+4Ua1XjOs3k=";
    const PUBLIC: &str = "0467dd83693e558fdc1b9c86f242187f492e3894b4eb1ea9dcd80b1cc6fdf83a99\
        20869d5eda21c07f9a9710c813ba474c805467f6df80beea5f549c304d4aabff";

    fn locked(headers: &[(&str, Vec<u8>)]) -> String {
        let headers = headers.iter().map(|(name, value)| format!("{name}: {}\n", BASE64.encode(value)));
        let headers: String = headers.collect();
        format!(
            "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nkek-version: 9\n{headers}\
             DEK-Info: AES-256-CBC,{VECTOR}\n\n{BODY}\n-----END EC PRIVATE KEY-----\n"
        )
    }

    /// Opens with [`UNLOCK_KEY`].
    pub(crate) fn a_locked_key_file() -> String {
        rotating()
    }

    fn rotating() -> String {
        let both = [(DEK, seal(&key(7), &[1; 32])), (PENDING_DEK, seal(&key(7), &[2; 32]))];
        locked(&both)
    }

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
        // The parser of PEM quotes lines without a colon.
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
