//! Layout of a snapshot file: positions of its parts, found by reading only the few bytes between them.

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt};

use crate::{
    envelope::Algorithm,
    secretbox::NONCE_LEN,
    wal::SnapshotMark,
    wire::{Fields, Malformed, split_key, varint},
};

/// Maximum length of the metadata in bytes. It lists the members of the cluster, with a few bytes for each.
const METADATA_MAX: u64 = 64 * 1024;

/// The outermost message. All offsets are from the start of the file.
#[derive(Debug)]
pub(super) struct Outer {
    /// CRC-32C over `data`.
    pub(super) checksum: u32,
    pub(super) data: Range<u64>,
}

/// Content of [`Outer::data`].
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) mark: SnapshotMark,
    pub(super) voters: Vec<u64>,
    pub(super) algorithm: Algorithm,
    /// Encrypted data.
    pub(super) data: Range<u64>,
    pub(super) nonce: Option<[u8; NONCE_LEN]>,
}

#[derive(Debug)]
pub(super) enum Bad {
    Read(io::Error),
    /// Offset and reason.
    Corrupt(u64, &'static str),
}

enum Value {
    Number(u64),
    Bytes(Range<u64>),
}

/// Reads fields one after the other, and skips over their bytes without reading them.
struct Walk<'f> {
    file: &'f File,
    at: u64,
    end: u64,
}

impl Outer {
    pub(super) fn read(file: &File, len: u64) -> Result<Self, Bad> {
        let mut walk = Walk { file, at: 0, end: len };
        let checksum = walk.number(1)?;
        let checksum = u32::try_from(checksum).map_err(|_| Bad::Corrupt(0, "a checksum beyond 32 bits"))?;
        let data = walk.bytes(2)?;
        walk.finish(0)?;
        Ok(Self { checksum, data })
    }
}

impl Layout {
    pub(super) fn read(file: &File, outer: &Outer) -> Result<Self, Bad> {
        let Range { start, end } = outer.data;
        let mut snapshot = Walk { file, at: start, end };
        let envelope = snapshot.bytes(1)?;
        let metadata = snapshot.bytes(2)?;
        snapshot.finish(start)?;
        let (mark, voters) = read_metadata(file, metadata)?;

        let mut walk = Walk { file, at: envelope.start, end: envelope.end };
        let (mut algorithm, mut data, mut nonce) = (Algorithm::None, 0..0, None);
        while walk.at < walk.end {
            let at = walk.at;
            match walk.field()? {
                (1, Value::Number(number)) => {
                    let unknown = Bad::Corrupt(at, "closed by an unknown algorithm");
                    algorithm = Algorithm::from_number(number).ok_or(unknown)?;
                }
                (2, Value::Bytes(range)) => data = range,
                (3, Value::Bytes(range)) if range.end - range.start == NONCE_LEN as u64 => {
                    let mut bytes = [0; NONCE_LEN];
                    file.read_exact_at(&mut bytes, range.start).map_err(Bad::Read)?;
                    nonce = Some(bytes);
                }
                _ => return Err(Bad::Corrupt(at, "a field that the engine never writes")),
            }
        }
        Ok(Self { mark, voters, algorithm, data, nonce })
    }
}

impl Walk<'_> {
    fn number(&mut self, tag: u32) -> Result<u64, Bad> {
        let at = self.at;
        match self.field()? {
            (found, Value::Number(number)) if found == tag => Ok(number),
            _ => Err(Bad::Corrupt(at, "another field belongs here")),
        }
    }

    fn bytes(&mut self, tag: u32) -> Result<Range<u64>, Bad> {
        let at = self.at;
        match self.field()? {
            (found, Value::Bytes(range)) if found == tag => Ok(range),
            _ => Err(Bad::Corrupt(at, "another field belongs here")),
        }
    }

    /// Checks that nothing follows. If something does, a length in the message that began at `start` is wrong.
    fn finish(&self, start: u64) -> Result<(), Bad> {
        if self.at == self.end { Ok(()) } else { Err(Bad::Corrupt(start, "more follows than belongs here")) }
    }

    fn field(&mut self) -> Result<(u32, Value), Bad> {
        let start = self.at;
        // Maximum length of a tag and a length.
        let mut head = [0; 20];
        let len = (self.end - self.at).min(head.len() as u64) as usize;
        self.file.read_exact_at(&mut head[..len], self.at).map_err(Bad::Read)?;
        let corrupt = |why| Bad::Corrupt(start, why);
        let (key, key_len) = varint(&head[..len]).map_err(corrupt)?;
        let (number, number_len) = varint(&head[key_len..len]).map_err(corrupt)?;
        self.at += (key_len + number_len) as u64;
        match split_key(key) {
            (tag, 0) => Ok((tag, Value::Number(number))),
            (tag, 2) if number <= self.end - self.at => {
                let range = self.at..self.at + number;
                self.at = range.end;
                Ok((tag, Value::Bytes(range)))
            }
            (_, 2) => Err(corrupt("a field is longer than what it is in: the file is cut off")),
            _ => Err(corrupt("a field of a type that the engine never writes")),
        }
    }
}

/// Reads raftpb.SnapshotMetadata {conf_state, index, term}.
fn read_metadata(file: &File, range: Range<u64>) -> Result<(SnapshotMark, Vec<u64>), Bad> {
    let len = range.end - range.start;
    if len > METADATA_MAX {
        return Err(Bad::Corrupt(range.start, "metadata longer than any cluster needs"));
    }
    let mut bytes = vec![0; len as usize];
    file.read_exact_at(&mut bytes, range.start).map_err(Bad::Read)?;
    parse_metadata(&bytes).map_err(|bad| Bad::Corrupt(range.start + bad.at as u64, bad.why))
}

fn parse_metadata(bytes: &[u8]) -> Result<(SnapshotMark, Vec<u64>), Malformed> {
    let mut mark = SnapshotMark { index: 0, term: 0 };
    let mut voters = Vec::new();
    for field in Fields::new(bytes) {
        let field = field?;
        match field.tag {
            1 => {
                for member in Fields::new(field.bytes()?) {
                    let member = member?;
                    if member.tag == 1 {
                        voters.push(member.number()?);
                    }
                }
            }
            2 => mark.index = field.number()?,
            3 => mark.term = field.number()?,
            _ => return field.unknown(),
        }
    }
    voters.sort_unstable();
    Ok((mark, voters))
}
