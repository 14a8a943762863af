//! Snapshot files: the store at one index of the log, as one single closed record.
//!
//! The parts that matter are read in the order in which they are needed, not in the order in the file, and never as a
//! whole: etcd's snappb.snapshot {checksum, data} holds raftpb.Snapshot {data, metadata} holds an envelope.

mod layout;
mod text;

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use layout::{Layout, Outer};
pub(crate) use text::{Bad as TextBad, Part, Text};

use super::data_key::DataKey;
use super::envelope::Algorithm;
use super::secretbox::{self, TAG_LEN};
use super::state_dir::{SNAP_DIR, StateDir};
use super::wal::SnapshotMark;
use super::{Damage, DamageKind, Error, fernet};

/// Bytes read at a time; a multiple of the block lengths of all ciphers in use.
const CHUNK_LEN: usize = 256 * 1024;
/// Fernet is text in base64 that must be opened in one piece; only engines in FIPS mode write it.
const FERNET_MAX: u64 = 256 * 1024 * 1024;

/// A snapshot file whose structure and checksum hold.
#[derive(Debug)]
pub(crate) struct SnapshotFile {
    /// Path below the state directory.
    pub(crate) name: String,
    pub(crate) mark: SnapshotMark,
    /// Bytes that the checksum went over.
    pub(crate) bytes: u64,
    file: File,
    layout: Layout,
}

/// The newest snapshot that an engine would start from (`None` in a young swarm), and what is wrong with the newest of all, if that is another one:
/// an engine renames what it cannot read and goes on to the next older (etcd `snap/snapshotter.go`, `loadMatching`).
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

/// Newest first.
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

    /// Confirms that the record was closed with one of `keys`, and starts reading what is in it.
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

    /// Raft ids of the members at that index, sorted.
    pub(crate) fn voters(&self) -> &[u64] {
        &self.layout.voters
    }

    fn data_len(&self) -> u64 {
        self.layout.data.end - self.layout.data.start
    }
}

/// Reads a part of a file in pieces of [`CHUNK_LEN`], only the last of which may be shorter.
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

/// Reads the structure of a file without looking at its checksum; says whether there is one.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz_layout(file: &File, len: u64) -> bool {
    let outer = Outer::read(file, len);
    outer.and_then(|outer| Layout::read(file, &outer)).is_ok()
}

/// Reads what is in a snapshot.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz_text(data: &[u8]) -> Text<'static> {
    Text::decrypted(zeroize::Zeroizing::new(data.to_vec()), 0)
}
