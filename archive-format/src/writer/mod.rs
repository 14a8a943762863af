//! Packs, compresses, encrypts and signs an archive in one pass over its output.
//!
//! The manifest precedes the payload and contains its digest, so space is reserved for it. Its size is known from the
//! draft with the largest possible numbers filled in, rounded up to a tar block. After the payload is written, the real
//! manifest is written there, padded with line feeds, which JSON ignores and the signature covers. Source files are
//! read twice: `contents.json` contains their digests and comes first.

mod head;
pub(crate) mod layers;
mod progress;
mod scan;
mod state;

use std::{
    io::{Read, Seek, SeekFrom, Write},
    ops::{ControlFlow, Range},
};

pub use progress::{Phase, Progress};

use crate::{
    contents::{Contents, EntryKind, FileEntry, LeftOut},
    digest::Digest,
    entry_path::EntryPath,
    error::{Error, Result},
    key::{SecretKey, TrustedKeys},
    limits::{Limits, RECIPIENTS_MAX},
    manifest::{Manifest, ManifestDraft, Payload},
    reader,
    recipients::Recipient,
    stream::HashReader,
    tar_header::{self, BLOCK},
};
use head::{Reserved, write_head};
use layers::{Layers, Passed};
use progress::{Meter, Metered};
use scan::Scanned;

/// zstd level that the agent uses.
pub const DEFAULT_LEVEL: i32 = 3;
/// Highest zstd level. Packing takes less than 15 MiB of memory at level 3, 20 at 9, 55 at 12, 95 at 19 (measured
/// with zstd 1.5).
pub const MAX_LEVEL: i32 = 19;

/// Inputs of [`seal`].
#[derive(Debug)]
pub struct Packing<'a> {
    /// Manifest without the payload.
    pub manifest: ManifestDraft,
    /// Every directory and file, in any order, with the state directory itself as
    /// [`STATE_ROOT`](crate::entry_path::STATE_ROOT).
    pub entries: Vec<SourceEntry>,
    /// Paths that are deliberately not in `entries`.
    pub left_out: Vec<LeftOut>,
    /// Inventory of the swarm, as the agent defines it.
    pub inventory: serde_json::Value,
    /// Recipients who can read the archive. If there are none, anyone can.
    pub recipients: &'a [Recipient],
    /// zstd level from 1 to [`MAX_LEVEL`].
    pub level: i32,
    /// Key that signs the manifest.
    pub key: &'a SecretKey,
}

/// A directory or file to pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceEntry {
    /// Path in the archive.
    pub path: EntryPath,
    /// File or directory.
    pub kind: EntryKind,
    /// Permission bits, at most `0o7777`.
    pub mode: u32,
    /// Owning user.
    pub uid: u32,
    /// Owning group.
    pub gid: u32,
    /// Size in bytes, holes included; 0 for a directory.
    pub size: u64,
    /// Time of the last change, in seconds since 1970.
    pub mtime: u64,
}

/// A file that was opened to be packed.
#[derive(Debug)]
pub struct SourceFile<F> {
    /// Open file, at any position.
    pub file: F,
    /// Ranges that may contain data, ascending, in bytes; the rest is holes. `0..size` is always correct, but slower.
    pub data: Vec<Range<u64>>,
}

/// A finished archive.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// The signed manifest.
    pub manifest: Manifest,
    /// SHA-256 of the manifest bytes. The next backup of the vault names it as `previous`.
    pub manifest_digest: Digest,
    /// Size of the archive in bytes.
    pub size: u64,
    /// SHA-256 of the archive, computed when it was read back.
    pub sha256: Digest,
}

/// Packs and signs, then reads the archive back and verifies its signature and payload digest.
///
/// `open` opens a file entry. It is called twice for each file, and must give the same content each time. `progress` is
/// called at least after every 128 KiB of data, and may stop the work with `Break`. `out` must be empty; after an error
/// its content is useless. The same input gives the same bytes, except for the randomness of the encryption.
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

    let reserved = Reserved::measure(&manifest, recipients)?;
    out.seek(SeekFrom::Start(reserved.head)).map_err(Error::write)?;
    let created_at = manifest.created_at.as_second().max(0) as u64;
    let mut meter = Meter::new(Phase::Pack, total, &mut progress);
    let mut tar = Layers::new(&mut *out, level, recipients)?;
    state::write_contents(&mut tar, &contents, created_at, &limits)?;
    for ((source, listed), scanned) in entries.iter().zip(&contents.files).zip(&scanned) {
        state::write_entry(&mut tar, source, listed, scanned, &mut open, &mut meter)?;
    }
    state::write_end(&mut tar)?;
    let Passed { plain: tar, stored, .. } = tar.finish().map_err(Error::write)?;

    let payload = Payload { size: stored.0, sha256: stored.1, tar_size: tar.0, tar_sha256: tar.1, ..reserved.payload };
    let manifest = manifest.with_payload(payload);
    manifest.check()?;
    reader::check_expansion(stored.0, tar.0, &limits)?;
    let padding = tar_header::padding(stored.0) + 2 * BLOCK;
    out.write_all(&vec![0; padding]).map_err(Error::write)?;
    write_head(out, &manifest, reserved.manifest_length, reserved.head, key)?;
    read_back(out, manifest, key, &mut progress)
}

/// Checks what the caller gives to [`Layers`].
pub(crate) fn check_input(recipients: &[Recipient], level: i32) -> Result<()> {
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

/// Reads the archive from its start, as any other reader would, and hashes all of it.
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
