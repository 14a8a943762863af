//! Swarmkit's `MaybeEncryptedRecord`, the envelope of every log entry, every snapshot and every data key.

use zeroize::Zeroizing;

use super::{
    data_key::DataKey,
    fernet,
    secretbox::{self, NONCE_LEN, TAG_LEN},
    wire::{Fields, Malformed},
};

/// Encryption of a record; the numbers are those of swarmkit's types.proto.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    /// Not encrypted: only data keys of a state that is not autolocked.
    None,
    SecretBox,
    Fernet,
}

impl Algorithm {
    pub(crate) fn from_number(number: u64) -> Option<Self> {
        Some(match number {
            0 => Self::None,
            1 => Self::SecretBox,
            2 => Self::Fernet,
            _ => return None,
        })
    }
}

/// An encrypted record, borrowed from the bytes that were read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Envelope<'a> {
    pub(crate) algorithm: Algorithm,
    data: &'a [u8],
    nonce: &'a [u8],
}

/// None of the keys decrypts a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DoesNotOpen;

impl<'a> Envelope<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut envelope = Self { algorithm: Algorithm::None, data: &[], nonce: &[] };
        for field in Fields::new(bytes) {
            let field = field?;
            match field.tag {
                1 => {
                    let why = "closed by an algorithm that this reader does not know";
                    envelope.algorithm =
                        Algorithm::from_number(field.number()?).ok_or(Malformed { at: field.at, why })?;
                }
                2 => envelope.data = field.bytes()?,
                3 => envelope.nonce = field.bytes()?,
                _ => return field.unknown(),
            }
        }
        Ok(envelope)
    }

    /// Decrypts the record with the first key that fits. A record that is not encrypted is refused, as the engine
    /// refuses it: otherwise anyone who can write to the disk could write to the log.
    pub(crate) fn open(&self, keys: &[DataKey]) -> Result<Zeroizing<Vec<u8>>, DoesNotOpen> {
        keys.iter().find_map(|key| self.open_with(key)).ok_or(DoesNotOpen)
    }

    fn open_with(&self, key: &DataKey) -> Option<Zeroizing<Vec<u8>>> {
        match self.algorithm {
            Algorithm::None => None,
            Algorithm::Fernet => fernet::open(key.bytes(), self.data),
            Algorithm::SecretBox => {
                let nonce: &[u8; NONCE_LEN] = self.nonce.try_into().ok()?;
                let (tag, text) = self.data.split_first_chunk::<TAG_LEN>()?;
                let (checksum, mut cipher) = secretbox::begin(key.bytes(), nonce);
                checksum.confirms(text, tag).then(|| {
                    let mut text = Zeroizing::new(text.to_vec());
                    cipher.decrypt(&mut text);
                    text
                })
            }
        }
    }

    /// Returns the content of a record that is not encrypted.
    pub(crate) fn in_clear(&self) -> Option<&'a [u8]> {
        (self.algorithm == Algorithm::None).then_some(self.data)
    }
}
