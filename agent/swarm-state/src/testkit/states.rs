//! Writes raft logs as an engine does, for states into which no engine can be brought at will.

use std::{
    fs::{self, File},
    path::PathBuf,
};

use tempfile::TempDir;

use crate::{
    data_key::DataKey,
    secretbox,
    state_dir::{StateDir, WAL_DIR},
    wire,
};

/// Size in bytes that the engine allocates for the last segment.
const SEGMENT_LEN: u64 = 64_000_000;

/// Writer of a log, record by record.
pub(crate) struct LogWriter {
    dir: TempDir,
    key: DataKey,
    segment: Vec<u8>,
    number: u64,
    first_index: u64,
    checksum: u32,
    state: Vec<u8>,
}

impl LogWriter {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join(WAL_DIR)).unwrap();
        let mut log =
            Self { dir, key: key(7), segment: Vec::new(), number: 0, first_index: 0, checksum: 0, state: Vec::new() };
        log.head();
        log.mark(0, 0)
    }

    /// Encrypts the records that follow with another key.
    pub(crate) fn with_key(mut self, key: DataKey) -> Self {
        self.key = key;
        self
    }

    pub(crate) fn entry(self, term: u64, index: u64, text: &[u8]) -> Self {
        self.entry_of_kind(0, term, index, text)
    }

    pub(crate) fn conf_change(self, term: u64, index: u64, text: &[u8]) -> Self {
        self.entry_of_kind(1, term, index, text)
    }

    fn entry_of_kind(mut self, kind: u64, term: u64, index: u64, text: &[u8]) -> Self {
        let sealed = seal(&self.key, text);
        let entry = [number(1, kind), number(2, term), number(3, index), bytes(4, &sealed)].concat();
        self.record(2, &entry);
        self
    }

    pub(crate) fn state(mut self, term: u64, commit: u64) -> Self {
        self.state = [number(1, term), number(2, 0), number(3, commit)].concat();
        let state = self.state.clone();
        self.record(3, &state);
        self
    }

    pub(crate) fn mark(mut self, index: u64, term: u64) -> Self {
        self.record(5, &[number(1, index), number(2, term)].concat());
        self
    }

    /// Begins a new segment. The finished one keeps no preallocated space.
    pub(crate) fn cut(mut self, first_index: u64) -> Self {
        self.write(None);
        self.segment.clear();
        self.number += 1;
        self.first_index = first_index;
        self.head();
        let state = self.state.clone();
        self.record(3, &state);
        self
    }

    /// Appends bytes unchanged.
    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.segment.extend_from_slice(bytes);
        self
    }

    /// Removes the last `len` bytes, or all if there are fewer.
    pub(crate) fn drop_last(mut self, len: usize) -> Self {
        self.segment.truncate(self.segment.len().saturating_sub(len));
        self
    }

    pub(crate) fn len(&self) -> u64 {
        self.segment.len() as u64
    }

    /// Returns the segment that is being written.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.segment
    }

    /// Writes the last segment with its preallocated space.
    pub(crate) fn finish(self) -> Log {
        self.finish_with_len(SEGMENT_LEN)
    }

    pub(crate) fn finish_with_len(self, len: u64) -> Log {
        self.write(Some(len));
        let open = StateDir::open(self.dir.path()).unwrap();
        Log { open, dir: self.dir, key: self.key }
    }

    fn head(&mut self) {
        let checksum = number(2, u64::from(self.checksum));
        self.frame(&[number(1, 4), checksum].concat());
        self.record(1, &[number(1, 42), bytes(2, b"node"), bytes(3, b"10.0.0.1:2377")].concat());
    }

    fn record(&mut self, kind: u64, data: &[u8]) {
        self.checksum = crc32c::crc32c_append(self.checksum, data);
        let checksum = number(2, u64::from(self.checksum));
        self.frame(&[number(1, kind), checksum, bytes(3, data)].concat());
    }

    fn frame(&mut self, record: &[u8]) {
        let padding = record.len().next_multiple_of(8) - record.len();
        let top = if padding == 0 { 0 } else { 0x80 | padding as u64 };
        self.segment.extend_from_slice(&(record.len() as u64 | top << 56).to_le_bytes());
        self.segment.extend_from_slice(record);
        self.segment.resize(self.segment.len() + padding, 0);
    }

    fn write(&self, len: Option<u64>) {
        let path = self.dir.path().join(self.name());
        fs::write(&path, &self.segment).unwrap();
        if let Some(len) = len {
            File::options().write(true).open(&path).unwrap().set_len(len).unwrap();
        }
    }

    fn name(&self) -> String {
        format!("{WAL_DIR}/{:016x}-{:016x}.wal", self.number, self.first_index)
    }
}

/// A log on disk.
pub(crate) struct Log {
    pub(crate) open: StateDir,
    pub(crate) key: DataKey,
    dir: TempDir,
}

impl Log {
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }
}

pub(crate) fn key(byte: u8) -> DataKey {
    DataKey::from_slice(&[byte; 32]).unwrap()
}

/// Encrypts a record as swarmkit does, with a nonce of zeros.
pub(crate) fn seal(key: &DataKey, text: &[u8]) -> Vec<u8> {
    let nonce = [0; secretbox::NONCE_LEN];
    let mut boxed = text.to_vec();
    let (checksum, mut cipher) = secretbox::begin(key.bytes(), &nonce);
    cipher.decrypt(&mut boxed);
    let sealed = [checksum.compute(&boxed).as_slice(), &boxed].concat();
    [number(1, 1), bytes(2, &sealed), bytes(3, &nonce)].concat()
}

/// Returns a transaction. Each action is a verb (1 create, 2 update, 3 remove), a field of `StoreAction` and an object.
pub(crate) fn transaction(actions: &[(u64, u32, &[u8])]) -> Vec<u8> {
    let actions =
        actions.iter().flat_map(|(verb, tag, object)| bytes(2, &[number(1, *verb), bytes(*tag, object)].concat()));
    [number(1, 99), actions.collect()].concat()
}

/// Returns a secret or a config.
pub(crate) fn datum(id: &str, name: &str, data: &[u8]) -> Vec<u8> {
    let annotations = bytes(1, &bytes(1, name.as_bytes()));
    [bytes(1, id.as_bytes()), bytes(3, &[annotations, bytes(2, data)].concat())].concat()
}

pub(crate) fn number(tag: u32, value: u64) -> Vec<u8> {
    let mut field = varint(u64::from(tag) << 3);
    field.extend(varint(value));
    field
}

pub(crate) fn bytes(tag: u32, value: &[u8]) -> Vec<u8> {
    let mut field = varint(u64::from(tag) << 3 | 2);
    field.extend(varint(value.len() as u64));
    field.extend_from_slice(value);
    field
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut encoded = Vec::new();
    while value >= 0x80 {
        encoded.push(value as u8 | 0x80);
        value >>= 7;
    }
    encoded.push(value as u8);
    debug_assert!(wire::varint(&encoded).is_ok());
    encoded
}
