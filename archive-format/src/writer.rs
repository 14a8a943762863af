//! Packs, compresses, encrypts and signs an archive in one pass over its output.
//!
//! The manifest stands before the payload and holds its digest, so room is kept for it: its size is known from the draft with the largest
//! numbers filled in, rounded up to a tar block. After the payload is written the real manifest goes there, filled up with
//! line feeds, which JSON ignores and the signature covers. Source files are read twice: `contents.json` holds their digests and comes first.

mod head;
mod layers;
mod progress;
mod scan;
mod state;

use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::{ControlFlow, Range};

pub use progress::{Phase, Progress};

use crate::contents::{Contents, EntryKind, FileEntry, LeftOut};
use crate::digest::Digest;
use crate::entry_path::EntryPath;
use crate::error::{Error, Result};
use crate::key::{SecretKey, TrustedKeys};
use crate::limits::{Limits, RECIPIENTS_MAX};
use crate::manifest::{Manifest, ManifestDraft, Payload};
use crate::reader;
use crate::recipients::Recipient;
use crate::stream::HashReader;
use crate::tar_header::{self, BLOCK};
use head::{Reserved, write_head};
use progress::{Meter, Metered};
use scan::Scanned;

/// Level of zstd that the agent uses.
pub const DEFAULT_LEVEL: i32 = 3;
/// Highest level of zstd. Packing takes below 15 MiB of memory at level 3, 20 at 9, 55 at 12, 95 at 19 (measured with zstd 1.5).
pub const MAX_LEVEL: i32 = 19;

/// What to pack, and how.
#[derive(Debug)]
pub struct Packing<'a> {
    /// The manifest but for the payload.
    pub manifest: ManifestDraft,
    /// Every directory and file, in any order; the state directory itself is [`STATE_ROOT`](crate::entry_path::STATE_ROOT).
    pub entries: Vec<SourceEntry>,
    /// What is deliberately not in `entries`.
    pub left_out: Vec<LeftOut>,
    /// The agent's document about the swarm.
    pub inventory: serde_json::Value,
    /// Who can read the archive. With none, everyone can.
    pub recipients: &'a [Recipient],
    /// zstd level, from 1 to [`MAX_LEVEL`].
    pub level: i32,
    /// Signs the manifest.
    pub key: &'a SecretKey,
}

/// A directory or file to pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceEntry {
    /// Its name in the archive.
    pub path: EntryPath,
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits, at most `0o7777`.
    pub mode: u32,
    /// Owning user.
    pub uid: u32,
    /// Owning group.
    pub gid: u32,
    /// Bytes, holes included; 0 for a directory.
    pub size: u64,
    /// Last change, in seconds since 1970.
    pub mtime: u64,
}

/// An opened file.
#[derive(Debug)]
pub struct SourceFile<F> {
    /// Positioned anywhere.
    pub file: F,
    /// Where data may lie, ascending, in bytes; elsewhere there are holes. `0..size` is always right, only slower.
    pub data: Vec<Range<u64>>,
}

/// A finished archive.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// The signed manifest.
    pub manifest: Manifest,
    /// SHA-256 of the manifest bytes, which the next backup of the vault names as `previous`.
    pub manifest_digest: Digest,
    /// Bytes of the archive.
    pub size: u64,
    /// SHA-256 of the archive, taken when it was read back.
    pub sha256: Digest,
}

/// Packs and signs, then reads the archive back and verifies its signature and payload digest.
///
/// `open` opens a file entry; it is called twice for each and must give the same content. `progress` is called after every 128 KiB of data and may stop
/// the work with `Break`. `out` must be empty; on an error it holds rubbish. The same input gives the same bytes, but for the
/// randomness of the encryption.
pub fn seal<F: Read + Seek, W: Read + Write + Seek>(
    packing: Packing<'_>,
    mut open: impl FnMut(&SourceEntry) -> std::io::Result<SourceFile<F>>,
    mut progress: impl FnMut(Progress) -> ControlFlow<()>,
    out: &mut W,
) -> Result<Sealed> {
    let Packing { manifest, mut entries, left_out, inventory, recipients, level, key } = packing;
    check_input(recipients, level)?;
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    let total = entries.iter().fold(0u64, |sum, entry| sum.saturating_add(entry.size));
    let limits = Limits::default();

    let mut meter = Meter::new(Phase::Scan, total, &mut progress);
    let scanned = scan::scan_all(&entries, &mut open, &limits, &mut meter)?;
    let files = entries.iter().zip(&scanned).map(listed).collect();
    let contents = Contents { files, left_out, inventory };
    contents.check(&limits)?;

    let reserved = Reserved::measure(&manifest, recipients, key)?;
    out.seek(SeekFrom::Start(reserved.head)).map_err(Error::write)?;
    let created_at = manifest.created_at.as_second().max(0) as u64;
    let mut meter = Meter::new(Phase::Pack, total, &mut progress);
    let (tar, stored) = layers::write(out, level, recipients, |tar| {
        state::write_contents(tar, &contents, created_at, &limits)?;
        for ((source, listed), scanned) in entries.iter().zip(&contents.files).zip(&scanned) {
            state::write_entry(tar, source, listed, scanned, &mut open, &mut meter)?;
        }
        state::write_end(tar)
    })?;

    let payload = Payload { size: stored.0, sha256: stored.1, tar_size: tar.0, tar_sha256: tar.1, ..reserved.payload };
    let manifest = manifest.with_payload(payload);
    manifest.check()?;
    reader::check_expansion(stored.0, tar.0, &limits)?;
    let padding = tar_header::padding(stored.0) + 2 * BLOCK;
    out.write_all(&vec![0; padding]).map_err(Error::write)?;
    write_head(out, &manifest, reserved.manifest_length, reserved.head, key)?;
    read_back(out, manifest, key, &mut progress)
}

fn check_input(recipients: &[Recipient], level: i32) -> Result<()> {
    if recipients.len() > RECIPIENTS_MAX {
        return Err(Error::limit("the number of recipients", RECIPIENTS_MAX as u64));
    }
    if !(1..=MAX_LEVEL).contains(&level) {
        return Err(Error::InvalidInput { reason: format!("the level {level} is not 1 to {MAX_LEVEL}") });
    }
    Ok(())
}

fn listed((source, scanned): (&SourceEntry, &Scanned)) -> FileEntry {
    let SourceEntry { path, kind, mode, uid, gid, size, mtime } = source.clone();
    FileEntry { path, kind, mode, uid, gid, size, mtime, sha256: scanned.digest }
}

/// Reads the archive from its start, as a stranger would, and hashes all of it.
fn read_back(
    out: &mut (impl Read + Seek),
    manifest: Manifest,
    key: &SecretKey,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Sealed> {
    let size = out.seek(SeekFrom::End(0)).map_err(Error::read)?;
    out.seek(SeekFrom::Start(0)).map_err(Error::read)?;
    let mut meter = Meter::new(Phase::Check, size, progress);
    let mut input = HashReader::new(Metered::new(out, &mut meter));
    let head = match reader::verify_stored(&mut input, &TrustedKeys::from(key.public())) {
        Ok(head) => head,
        Err(_) if input.finish().0.meter.cancelled => return Err(Error::Cancelled),
        Err(error) => return Err(error),
    };
    let (_, size, sha256) = input.finish();
    Ok(Sealed { manifest, manifest_digest: head.manifest_digest, size, sha256 })
}
