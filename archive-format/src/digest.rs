//! SHA-256 digests, written as 64 lower-case hex digits.

use std::{
    fmt,
    io::{self, Read},
    str::FromStr,
};

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

use crate::error::Error;

/// Bytes that are read at a time.
const BUFFER: usize = 256 * 1024;

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Returns the digest of bytes in memory.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Reads to the end. Returns the number of bytes and their digest.
    pub fn of_reader(mut input: impl Read) -> io::Result<(u64, Self)> {
        let mut hasher = Hasher::default();
        let mut buffer = vec![0; BUFFER];
        loop {
            match input.read(&mut buffer) {
                Ok(0) => return Ok(hasher.finish()),
                Ok(read) => hasher.update(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns the raw bytes, for protocols that need another encoding (S3 needs base64).
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(crate) fn finish(hasher: Sha256) -> Self {
        Self(hasher.finalize().into())
    }
}

/// Counts and hashes bytes as they come.
#[derive(Clone, Debug, Default)]
pub struct Hasher {
    sha256: Sha256,
    count: u64,
}

impl Hasher {
    /// Appends bytes to what is hashed.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.count += bytes.len() as u64;
    }

    /// Number of bytes so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The number of bytes, and the digest of all of them.
    pub fn finish(self) -> (u64, Digest) {
        (self.count, Digest::finish(self.sha256))
    }
}

impl From<[u8; 32]> for Digest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok();
        bytes.and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or(Error::InvalidDigest)
    }
}

serde_as_string!(Digest);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails may panic")]
mod tests {
    use super::*;

    #[test]
    fn hex_round_trips() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").to_string(), empty);
        assert_eq!(empty.parse::<Digest>().unwrap(), Digest::of(b""));
        assert!(empty.to_uppercase().parse::<Digest>().is_err());
        assert!(empty[2..].parse::<Digest>().is_err());
    }

    #[test]
    fn a_reader_is_hashed_to_its_end() {
        let bytes: Vec<u8> = (0..=255).cycle().take(2 * BUFFER + 1).collect();
        let expected = (bytes.len() as u64, Digest::of(&bytes));
        assert_eq!(Digest::of_reader(&bytes[..]).unwrap(), expected);
        assert_eq!(Digest::of_reader(io::empty()).unwrap(), (0, Digest::of(b"")));
        let mut hasher = Hasher::default();
        bytes.chunks(1000).for_each(|chunk| hasher.update(chunk));
        assert_eq!((hasher.count(), hasher.finish()), (expected.0, expected));
    }
}
