//! Writes the tar of the state: `contents.json`, then every entry that it lists.

use std::io::{self, Read, Seek, SeekFrom, Write};

use sha2::{Digest as _, Sha256};

use super::{
    SourceEntry, SourceFile,
    progress::Meter,
    scan::{Scanned, check_end, failed, read_exactly},
};
use crate::{
    contents::{CONTENTS_NAME, Contents, EntryKind, FileEntry},
    digest::Digest,
    error::{Error, Result},
    limits::Limits,
    stream::{CHUNK, hash_zeros},
    tar_header::{self, BLOCK},
};

pub(super) fn write_contents(tar: &mut dyn Write, contents: &Contents, mtime: u64, limits: &Limits) -> Result<()> {
    let mut bytes = serde_json::to_vec(contents).expect("contents have string keys only");
    bytes.push(b'\n');
    if bytes.len() as u64 > limits.contents_bytes {
        return Err(Error::limit("the size of contents.json", limits.contents_bytes));
    }
    let header = tar_header::contents(CONTENTS_NAME, bytes.len() as u64, mtime);
    put(tar, header.as_bytes())?;
    put(tar, &bytes)?;
    put_padding(tar, bytes.len() as u64)
}

/// Writes the header and the data of an entry, and checks that its content has not changed since the first pass.
pub(super) fn write_entry<F: Read + Seek>(
    tar: &mut dyn Write,
    source: &SourceEntry,
    listed: &FileEntry,
    scanned: &Scanned,
    open: &mut impl FnMut(&SourceEntry) -> io::Result<SourceFile<F>>,
    meter: &mut Meter<'_>,
) -> Result<()> {
    put(tar, &tar_header::long_name(listed))?;
    put(tar, &tar_header::entry(listed, &scanned.extents))?;
    if source.kind == EntryKind::Dir {
        return Ok(());
    }
    let mut file = open(source).map_err(|error| failed(source, error))?.file;
    let digest = write_data(tar, source, scanned, &mut file, meter)?;
    check_end(source, &mut file)?;
    if scanned.digest != Some(digest) {
        return Err(Error::SourceChanged { path: source.path.to_string(), what: "its content is another one" });
    }
    put_padding(tar, scanned.extents.stored())
}

/// Copies the data extents, and hashes them and the holes between them.
fn write_data<F: Read + Seek>(
    tar: &mut dyn Write,
    source: &SourceEntry,
    scanned: &Scanned,
    file: &mut F,
    meter: &mut Meter<'_>,
) -> Result<Digest> {
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; scanned.extents.stored().min(CHUNK as u64) as usize];
    let mut position = 0;
    for range in scanned.extents.data() {
        hash_zeros(&mut hasher, range.start - position);
        meter.add(range.start - position)?;
        position = range.start;
        file.seek(SeekFrom::Start(position)).map_err(|error| failed(source, error))?;
        while position < range.end {
            let step = (range.end - position).min(CHUNK as u64) as usize;
            read_exactly(source, file, &mut chunk[..step])?;
            hasher.update(&chunk[..step]);
            put(tar, &chunk[..step])?;
            position += step as u64;
            meter.add(step as u64)?;
        }
    }
    hash_zeros(&mut hasher, source.size - position);
    meter.add(source.size - position)?;
    Ok(Digest::finish(hasher))
}

/// Writes the two zero blocks that end a tar.
pub(super) fn write_end(tar: &mut dyn Write) -> Result<()> {
    put(tar, &[0; 2 * BLOCK])
}

fn put_padding(tar: &mut dyn Write, length: u64) -> Result<()> {
    put(tar, &[0; BLOCK][..tar_header::padding(length)])
}

fn put(tar: &mut dyn Write, bytes: &[u8]) -> Result<()> {
    tar.write_all(bytes).map_err(Error::write)
}
