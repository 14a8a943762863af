//! Seals a snapshot into an archive in the spool. Runs after the engine is back.

use std::{
    fs::{File, OpenOptions},
    io,
    ops::ControlFlow,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::Arc,
};

use anyhow::{Context, Result};
use swarmdr_archive::{
    EntryKind, EntryPath, LeftOut, ManifestDraft, Recipient, SecretKey,
    limits::SIZE_MAX,
    writer::{self, Packing, Phase, Progress, Sealed, SourceEntry, SourceFile},
};

use super::{fitness, snapshot::Snapshot};
use crate::{
    host::{
        files::{
            copy::data_extents,
            mirror::{self, Copied, CopiedEntry},
        },
        shutdown::Shutdown,
    },
    outcome::progress::Progress as Bars,
};

/// Everything that goes into the archive, apart from the snapshot.
#[derive(Debug)]
pub struct Parts {
    pub manifest: ManifestDraft,
    pub inventory: serde_json::Value,
    pub recipients: Vec<Recipient>,
    pub level: i32,
    pub key: Arc<SecretKey>,
}

/// Seals the snapshot into the new file `out`, and reads that back. Blocks; a stop request ends it with an error and
/// leaves a useless file.
pub fn pack(snapshot: &Snapshot, parts: Parts, out: &Path, bars: Bars, shutdown: &Shutdown) -> Result<Sealed> {
    pack_copied((snapshot.dir(), &snapshot.copied), parts, out, bars, shutdown)
}

/// Seals a state directory that no engine writes to, as [`pack`] does with a snapshot of one.
pub fn pack_still(state_dir: &Path, parts: Parts, out: &Path, bars: Bars, shutdown: &Shutdown) -> Result<Sealed> {
    let listed = mirror::list_still(state_dir, &fitness::handling)?;
    pack_copied((state_dir, &listed), parts, out, bars, shutdown)
}

fn pack_copied(
    (dir, copied): (&Path, &Copied),
    parts: Parts,
    out: &Path,
    bars: Bars,
    shutdown: &Shutdown,
) -> Result<Sealed> {
    let entries = copied.entries.iter().map(source_entry).collect::<Result<Vec<_>, _>>()?;
    let left_out =
        copied.left_out.iter().map(|left| LeftOut { path: fitness::shown(&left.path), why: left.why.to_owned() });
    let packing = Packing {
        manifest: parts.manifest,
        entries,
        left_out: left_out.collect(),
        inventory: parts.inventory,
        recipients: &parts.recipients,
        level: parts.level,
        key: &parts.key,
    };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(out)
        .with_context(|| format!("failed to create {}", out.display()))?;
    let mut drawn = None;
    let progress = |progress: Progress| {
        let (phase, bar) =
            drawn.get_or_insert_with(|| (progress.phase, bars.bytes(word(progress.phase), progress.total)));
        if *phase == progress.phase {
            bar.set(progress.done);
        } else {
            drawn = Some((progress.phase, bars.bytes(word(progress.phase), progress.total)));
        }
        if shutdown.is_requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    writer::seal(packing, |entry| open(dir, entry), progress, &mut file)
        .with_context(|| format!("failed to pack the state into {}", out.display()))
}

fn word(phase: Phase) -> &'static str {
    match phase {
        Phase::Scan => "hash",
        Phase::Pack => "pack",
        Phase::Check => "check",
    }
}

/// Converts a copied entry to one of the archive. A wrong clock may have set times that an archive cannot hold, before
/// 1970 or after 2242: they become the nearest one that it can.
fn source_entry(copied: &CopiedEntry) -> Result<SourceEntry, swarmdr_archive::Error> {
    Ok(SourceEntry {
        path: EntryPath::in_state(&copied.path)?,
        kind: if copied.is_dir { EntryKind::Dir } else { EntryKind::File },
        mode: copied.mode,
        uid: copied.uid,
        gid: copied.gid,
        size: copied.size,
        mtime: u64::try_from(copied.mtime).unwrap_or(0).min(SIZE_MAX),
    })
}

fn open(snapshot: &Path, entry: &SourceEntry) -> io::Result<SourceFile<File>> {
    let file = File::open(snapshot.join(entry.path.state_relative()))?;
    let extents = data_extents(&file, entry.size)?;
    Ok(SourceFile { data: extents.iter().map(|it| it.offset..it.offset + it.length).collect(), file })
}
