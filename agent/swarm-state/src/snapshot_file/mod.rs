//! Snapshot files: the store at one index of the log, as one single encrypted record.
//!
//! The parts are read in the order in which they are needed, not in the order of the file, and never as a whole. etcd's
//! snappb.snapshot {checksum, data} contains raftpb.Snapshot {data, metadata}, which contains an envelope.

mod layout;
mod text;

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt};

use layout::{Layout, Outer};
pub(crate) use text::{Bad as TextBad, Part, Text};

use super::{
    Damage, DamageKind, Error,
    data_key::DataKey,
    envelope::Algorithm,
    fernet,
    secretbox::{self, TAG_LEN},
    state_dir::{SNAP_DIR, StateDir},
    wal::SnapshotMark,
};

/// Number of bytes read at a time: a multiple of the block lengths of all ciphers in use.
const CHUNK_LEN: usize = 256 * 1024;
/// Maximum size of a Fernet snapshot in bytes. It is text in base64 that must be decrypted as a whole; only engines in
/// FIPS mode write it.
const FERNET_MAX: u64 = 256 * 1024 * 1024;

/// A snapshot file whose structure and checksum are good.
#[derive(Debug)]
pub(crate) struct SnapshotFile {
    /// Path below the state directory.
    pub(crate) name: String,
    pub(crate) mark: SnapshotMark,
    /// Number of bytes that the checksum covers.
    pub(crate) bytes: u64,
    file: File,
    layout: Layout,
}

/// Returns the newest snapshot from which an engine would start (`None` in a young swarm), and the damage of the newest
/// snapshot if an engine would skip it. An engine renames a snapshot that it cannot read and tries the next older one
/// (etcd `snap/snapshotter.go`, `loadMatching`).
pub(crate) fn readable(dir: &StateDir) -> Result<(Option<SnapshotFile>, Option<Damage>), Error> {
    let mut passed_over = None;
    for name in names(dir)? {
        match SnapshotFile::open(dir, &name) {
            Ok(snapshot) => return Ok((Some(snapshot), passed_over)),
            Err(Error::Damaged(damage)) => {
                passed_over.get_or_insert(damage);
            }
            Err(error) => return Err(error),
        }
    }
    Ok((None, passed_over))
}

/// Returns the names of the snapshots, newest first.
fn names(dir: &StateDir) -> Result<Vec<String>, Error> {
    let names = dir.names(SNAP_DIR)?;
    Ok(names.into_iter().rev().filter(|name| name.ends_with(".snap")).collect())
}

impl SnapshotFile {
    fn open(dir: &StateDir, name: &str) -> Result<Self, Error> {
        let path = format!("{SNAP_DIR}/{name}");
        let read = |error| Error::read(dir.root().join(&path))(error);
        let file = dir.open_file(&path)?;
        let file = file.ok_or_else(|| Damage::incomplete(&path, 0, "the snapshot went away"))?;
        let len = file.metadata().map_err(read)?.len();
        let bad = |bad| match bad {
            layout::Bad::Read(error) => read(error),
            layout::Bad::Corrupt(at, why) => Damage::corrupt(&path, at, format!("not a raft snapshot: {why}")).into(),
        };
        let outer = Outer::read(&file, len).map_err(bad)?;
        let mut checksum = 0;
        let update = |piece: &[u8]| checksum = crc32c::crc32c_append(checksum, piece);
        for_each_piece(&file, outer.data.clone(), update).map_err(read)?;
        if checksum != outer.checksum {
            let why = "the checksum of the snapshot does not fit";
            return Err(Damage::corrupt(&path, 0, why).into());
        }
        let layout = Layout::read(&file, &outer).map_err(bad)?;
        let mark = layout.mark;
        if super::hex_pair(name, ".snap") != Some((mark.term, mark.index)) {
            let why = format!("holds index {} of term {}, unlike its name", mark.index, mark.term);
            return Err(Damage::corrupt(path, 0, why).into());
        }
        Ok(Self { name: path, mark, bytes: outer.data.end - outer.data.start, file, layout })
    }

    /// Checks that the record was encrypted with one of `keys`, and starts to read its content.
    pub(crate) fn open_text(&self, dir: &StateDir, keys: &[DataKey]) -> Result<Text<'_>, Error> {
        let read = |error| Error::read(dir.root().join(&self.name))(error);
        for key in keys {
            let text = match self.layout.algorithm {
                Algorithm::None => None,
                Algorithm::SecretBox => self.open_secretbox(key).map_err(read)?,
                Algorithm::Fernet => self.open_fernet(key).map_err(read)?,
            };
            if let Some(text) = text {
                return Ok(text);
            }
        }
        let at = self.layout.data.start;
        if self.layout.algorithm == Algorithm::Fernet && self.data_len() > FERNET_MAX {
            let why = format!("a Fernet snapshot beyond {FERNET_MAX} bytes");
            return Err(Damage::new(DamageKind::BeyondLimit, &self.name, at, why).into());
        }
        let why = "the snapshot does not open with the keys in swarm-node.key";
        Err(Damage::corrupt(&self.name, at, why).into())
    }

    fn open_secretbox(&self, key: &DataKey) -> io::Result<Option<Text<'_>>> {
        let (Some(nonce), true) = (&self.layout.nonce, self.data_len() >= TAG_LEN as u64) else {
            return Ok(None);
        };
        let mut tag = [0; TAG_LEN];
        self.file.read_exact_at(&mut tag, self.layout.data.start)?;
        let text = self.layout.data.start + TAG_LEN as u64..self.layout.data.end;
        let (mut checksum, cipher) = secretbox::begin(key.bytes(), nonce);
        let mut last = Vec::new();
        for_each_piece(&self.file, text.clone(), |piece| {
            if piece.len() == CHUNK_LEN {
                checksum.update(piece);
            } else {
                last.extend_from_slice(piece);
            }
        })?;
        let opens = checksum.confirms(&last, &tag);
        Ok(opens.then(|| Text::encrypted(&self.file, text, cipher)))
    }

    fn open_fernet(&self, key: &DataKey) -> io::Result<Option<Text<'_>>> {
        if self.data_len() > FERNET_MAX {
            return Ok(None);
        }
        let mut token = vec![0; self.data_len() as usize];
        self.file.read_exact_at(&mut token, self.layout.data.start)?;
        let text = fernet::open(key.bytes(), &token);
        Ok(text.map(|text| Text::decrypted(text, self.layout.data.start)))
    }

    /// Returns the raft ids of the members at that index, sorted.
    pub(crate) fn voters(&self) -> &[u64] {
        &self.layout.voters
    }

    fn data_len(&self) -> u64 {
        self.layout.data.end - self.layout.data.start
    }
}

/// Reads a part of a file in pieces of [`CHUNK_LEN`]. Only the last piece may be shorter.
fn for_each_piece(file: &File, part: Range<u64>, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_LEN];
    let mut at = part.start;
    while at < part.end {
        let len = (part.end - at).min(CHUNK_LEN as u64) as usize;
        file.read_exact_at(&mut chunk[..len], at)?;
        each(&chunk[..len]);
        at += len as u64;
    }
    Ok(())
}

/// Reads the structure of a file without checking its checksum. Returns whether it has one.
#[cfg(any(test, feature = "testkit"))]
pub(crate) fn fuzz_layout(file: &File, len: u64) -> bool {
    let outer = Outer::read(file, len);
    outer.and_then(|outer| Layout::read(file, &outer)).is_ok()
}

/// Returns a reader of the decrypted content of a snapshot.
#[cfg(any(test, feature = "testkit"))]
pub(crate) fn fuzz_text(data: &[u8]) -> Text<'static> {
    Text::decrypted(zeroize::Zeroizing::new(data.to_vec()), 0)
}
