//! Content of a snapshot, decrypted while it is read: swarmkit's `Snapshot`, object by object.

use std::{fmt, fs::File, io, ops::Range, os::unix::fs::FileExt};

use zeroize::Zeroizing;

use super::CHUNK_LEN;
use crate::{
    secretbox,
    wire::{split_key, varint},
};

/// Maximum size of an object in bytes. Larger ones are refused before memory is allocated: a transaction has at
/// most 1.5 MiB.
const OBJECT_MAX: u64 = 16 * 1024 * 1024;

/// Reads the parts of a decrypted snapshot in order. Its memory is wiped when it is dropped.
pub(crate) struct Text<'f> {
    source: Source<'f>,
    /// Buffer; `chunk[taken..]` is decrypted and not yet returned.
    chunk: Zeroizing<Vec<u8>>,
    taken: usize,
    /// Offset in the file of the first byte after `chunk`.
    at: u64,
    /// Number of bytes of the snapshot that were returned.
    position: u64,
    /// End of the store, while reading in it.
    store_end: Option<u64>,
}

enum Source<'f> {
    Encrypted {
        file: &'f File,
        end: u64,
        cipher: secretbox::Text,
    },
    /// Everything is in the chunk.
    Decrypted,
}

/// One part of a snapshot.
pub(crate) enum Part {
    /// `ClusterSnapshot`: members and removed members.
    Membership(Zeroizing<Vec<u8>>),
    /// Field number in `StoreSnapshot`, and the object.
    Object(u32, Zeroizing<Vec<u8>>),
}

/// Reason why there is no next part. The whole text is authenticated, so a part that does not parse has a format that
/// is not known here.
#[derive(Debug)]
pub(crate) enum Bad {
    Read(io::Error),
    /// Offset in the file and reason.
    Unknown(u64, String),
}

impl<'f> Text<'f> {
    pub(super) fn encrypted(file: &'f File, text: Range<u64>, cipher: secretbox::Text) -> Self {
        let source = Source::Encrypted { file, end: text.end, cipher };
        Self::new(source, Zeroizing::new(Vec::new()), text.start)
    }

    pub(super) fn decrypted(text: Zeroizing<Vec<u8>>, offset: u64) -> Self {
        Self::new(Source::Decrypted, text, offset)
    }

    fn new(source: Source<'f>, chunk: Zeroizing<Vec<u8>>, at: u64) -> Self {
        Self { source, chunk, taken: 0, at, position: 0, store_end: None }
    }

    /// Returns the next part; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Part>, Bad> {
        loop {
            if self.store_end.is_some_and(|end| self.position >= end) {
                self.store_end = None;
            }
            self.refill(20)?;
            if self.taken == self.chunk.len() {
                return if self.store_end.is_none() { Ok(None) } else { self.unknown("ends within the store") };
            }
            let (tag, kind) = split_key(self.number()?);
            let value = self.number()?;
            let left = self.store_end.map(|end| end.checked_sub(self.position));
            if left.is_some_and(|left| left.is_none_or(|left| value > left)) {
                return self.unknown("an object that goes beyond the end of the store");
            }
            match (self.store_end, tag, kind) {
                (None, 1, 0) if value == 0 => {}
                (None, 1, 0) => return self.unknown("a snapshot of a newer version"),
                (None, 2, 2) => return Ok(Some(Part::Membership(self.bytes(value)?))),
                (None, 3, 2) => self.store_end = Some(self.position.saturating_add(value)),
                (Some(_), tag, 2) => return Ok(Some(Part::Object(tag, self.bytes(value)?))),
                _ => return self.unknown("a field that is not known here"),
            }
        }
    }

    fn number(&mut self) -> Result<u64, Bad> {
        self.refill(10)?;
        match varint(&self.chunk[self.taken..]) {
            Ok((number, len)) => {
                self.taken += len;
                self.position += len as u64;
                Ok(number)
            }
            Err(why) => self.unknown(why),
        }
    }

    fn bytes(&mut self, len: u64) -> Result<Zeroizing<Vec<u8>>, Bad> {
        if len > OBJECT_MAX {
            return self.unknown(&format!("an object of {len} bytes; the limit is {OBJECT_MAX}"));
        }
        let len = len as usize;
        // The buffer never grows, so it leaves no copy in memory that is not wiped.
        let mut bytes = Zeroizing::new(Vec::with_capacity(len));
        while bytes.len() < len {
            self.refill(1)?;
            let there = &self.chunk[self.taken..];
            if there.is_empty() {
                return self.unknown("ends within an object");
            }
            let take = there.len().min(len - bytes.len());
            bytes.extend_from_slice(&there[..take]);
            self.taken += take;
        }
        self.position += len as u64;
        Ok(bytes)
    }

    /// Makes sure that `wanted` bytes are in the buffer, or all that are left.
    fn refill(&mut self, wanted: usize) -> Result<(), Bad> {
        let Source::Encrypted { file, end, cipher } = &mut self.source else {
            return Ok(());
        };
        while self.chunk.len() - self.taken < wanted && self.at < *end {
            let left = self.taken..self.chunk.len();
            let kept = left.len();
            self.chunk.copy_within(left, 0);
            let len = (*end - self.at).min(CHUNK_LEN as u64) as usize;
            if self.chunk.capacity() == 0 {
                self.chunk.reserve_exact(CHUNK_LEN + 20);
            }
            self.chunk.resize(kept + len, 0);
            let fresh = &mut self.chunk[kept..];
            file.read_exact_at(fresh, self.at).map_err(Bad::Read)?;
            cipher.decrypt(fresh);
            self.taken = 0;
            self.at += len as u64;
        }
        Ok(())
    }

    /// Returns the offset in the file of the next byte. For a text that was decrypted as a whole, this is
    /// always its start.
    pub(crate) fn offset(&self) -> u64 {
        match self.source {
            Source::Encrypted { .. } => self.at - (self.chunk.len() - self.taken) as u64,
            Source::Decrypted => self.at,
        }
    }

    fn unknown<T>(&self, why: &str) -> Result<T, Bad> {
        Err(Bad::Unknown(self.offset(), why.to_owned()))
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Text").field("position", &self.position).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_ends_within_the_store() {
        // StoreSnapshot is field 3 of Snapshot, and membership field 2; nodes are field 1 of StoreSnapshot.
        let objects = |text: &[u8]| -> Result<usize, String> {
            let mut text = Text::decrypted(Zeroizing::new(text.to_vec()), 0);
            let mut objects = 0;
            loop {
                match text.next() {
                    Ok(Some(Part::Object(..))) => objects += 1,
                    Ok(Some(Part::Membership(_))) => {}
                    Ok(None) => return Ok(objects),
                    Err(Bad::Unknown(_, why)) => return Err(why),
                    Err(Bad::Read(error)) => return Err(error.to_string()),
                }
            }
        };
        assert_eq!(objects(b"\x1a\x08\x0a\x02xy\x0a\x02zz\x12\x01m"), Ok(2));
        // The object takes a byte of what follows the store, and so do its length, and its key.
        for beyond in [&b"\x1a\x03\x0a\x02xy"[..], b"\x1a\x01\x0a\x00", b"\x1a\x01\x8a\x01\x00"] {
            let why = objects(beyond).expect_err("goes beyond");
            assert!(why.contains("beyond the end of the store"), "{why}");
        }
        assert!(objects(b"\x1a\x08\x0a\x02xy").is_err(), "the text ends before the store does");
    }
}
