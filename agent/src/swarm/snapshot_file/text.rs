//! What is in a snapshot, decrypted on the way: swarmkit's `Snapshot`, given out object by object.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use zeroize::Zeroizing;

use super::CHUNK_LEN;
use crate::swarm::secretbox;
use crate::swarm::wire::{split_key, varint};

/// Objects beyond this are refused before memory is taken for them: a transaction has at most 1.5 MiB.
const OBJECT_MAX: u64 = 16 * 1024 * 1024;

/// Reads the parts of an opened snapshot in order. Wipes what it held.
pub(crate) struct Text<'f> {
    source: Source<'f>,
    /// Decrypted and not yet given out: `chunk[taken..]`.
    chunk: Zeroizing<Vec<u8>>,
    taken: usize,
    /// Offset in the file of what comes behind `chunk`.
    at: u64,
    /// Bytes of the snapshot that were given out.
    position: u64,
    /// Where the store ends, while reading in it.
    store_end: Option<u64>,
}

enum Source<'f> {
    Encrypted {
        file: &'f File,
        end: u64,
        cipher: secretbox::Text,
    },
    /// All of it is in the chunk.
    Decrypted,
}

/// One part of a snapshot.
pub(crate) enum Part {
    /// `ClusterSnapshot`: members and removed members.
    Membership(Zeroizing<Vec<u8>>),
    /// Field of `StoreSnapshot`, and the object.
    Object(u32, Zeroizing<Vec<u8>>),
}

/// Why there is no next part. The whole text was genuine, so what does not parse is a format unknown here.
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

    /// The next part; `None` at the end.
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
        // Never grows, so no copy is left behind that nobody wipes.
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

    /// Sees to it that `wanted` bytes are there, or all that are left.
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

    /// Offset in the file of what comes next; of a text that is opened in one piece always where that begins.
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
