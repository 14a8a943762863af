//! Reads the tar inside the payload and compares it block by block with the list in `contents.json`.

use std::io::{self, Read};

use tar::{EntryType, GnuExtSparseHeader, GnuSparseHeader, Header};

use super::{Body, Head, Visitor};
use crate::{
    contents::{CONTENTS_NAME, Contents, EntryKind, FileEntry},
    digest::Digest,
    error::{Error, Result},
    extents::Extents,
    limits::Limits,
    stream::{HashReader, read_full},
    tar_header::{self, BLOCK},
};

/// The decompressed tar. It is hashed while it is read, and cannot be longer than signed.
pub(super) struct TarStream<'a> {
    inner: HashReader<&'a mut dyn Read>,
    size: u64,
}

impl<'a> TarStream<'a> {
    pub(super) fn new(inner: &'a mut dyn Read, size: u64) -> Self {
        Self { inner: HashReader::new(inner), size }
    }

    /// Fills `buffer`. Returns an error if this goes beyond the signed size.
    pub(super) fn fill(&mut self, buffer: &mut [u8]) -> Result<()> {
        if self.inner.count() + buffer.len() as u64 > self.size {
            return Err(self.wrong_size());
        }
        let read = read_full(&mut self.inner, buffer).map_err(Error::damaged("compression"))?;
        if read < buffer.len() {
            return Err(self.wrong_size());
        }
        Ok(())
    }

    fn block(&mut self) -> Result<[u8; BLOCK]> {
        let mut block = [0; BLOCK];
        self.fill(&mut block)?;
        Ok(block)
    }

    fn skip_padding(&mut self, size: u64, name: &str) -> Result<()> {
        let mut padding = [0; BLOCK];
        let padding = &mut padding[..tar_header::padding(size)];
        self.fill(padding)?;
        if padding.iter().any(|&byte| byte != 0) {
            return Err(Error::EntryMismatch { path: name.to_owned(), what: "padding" });
        }
        Ok(())
    }

    /// Checks that the stream ends here and returns its digest.
    pub(super) fn finish(mut self) -> Result<Digest> {
        let more = read_full(&mut self.inner, &mut [0]).map_err(Error::damaged("compression"))?;
        if more != 0 || self.inner.count() != self.size {
            return Err(self.wrong_size());
        }
        Ok(self.inner.finish().2)
    }

    fn wrong_size(&self) -> Error {
        Error::SizeMismatch { what: "the tar in the payload", expected: self.size }
    }
}

/// Reads `contents.json`, then each entry that it lists, then the end of the tar.
pub(super) fn walk(
    tar: &mut TarStream<'_>,
    head: &Head,
    limits: &Limits,
    visitor: &mut dyn Visitor,
) -> Result<Contents> {
    let contents = read_contents(tar, head, limits)?;
    let failed = |source| Error::Visit { path: CONTENTS_NAME.to_owned(), source };
    visitor.contents(head, &contents).map_err(failed)?;
    for entry in &contents.files {
        read_entry(tar, entry, limits, visitor)?;
    }
    for _ in 0..2 {
        let block = tar.block()?;
        if block != [0; BLOCK] {
            return Err(unexpected(&block, "its end"));
        }
    }
    Ok(contents)
}

fn read_contents(tar: &mut TarStream<'_>, head: &Head, limits: &Limits) -> Result<Contents> {
    let block = tar.block()?;
    let header = Header::from_byte_slice(&block);
    let size = header.entry_size().map_err(|_| unexpected(&block, CONTENTS_NAME))?;
    let mtime = head.manifest.created_at.as_second().max(0) as u64;
    if tar_header::contents(CONTENTS_NAME, size, mtime).as_bytes() != &block {
        return Err(unexpected(&block, CONTENTS_NAME));
    }
    if size > limits.contents_bytes {
        return Err(Error::limit("the size of contents.json", limits.contents_bytes));
    }
    // Checked before memory is allocated: a large size in a header costs an attacker nothing.
    if size > tar.size {
        return Err(tar.wrong_size());
    }
    let mut bytes = vec![0; size as usize];
    tar.fill(&mut bytes)?;
    tar.skip_padding(size, CONTENTS_NAME)?;
    Contents::parse(&bytes, limits)
}

fn read_entry(tar: &mut TarStream<'_>, entry: &FileEntry, limits: &Limits, visitor: &mut dyn Visitor) -> Result<()> {
    read_long_name(tar, entry)?;
    let extents = read_header(tar, entry, limits)?;
    let mut body = Body::new(tar, entry, &extents);
    let visited = visitor.entry(entry, &mut body);
    let (stream_error, digest) = body.finish();
    if let Some(error) = stream_error {
        return Err(error);
    }
    visited.map_err(|source| Error::Visit { path: entry.path.to_string(), source })?;
    if entry.kind == EntryKind::File && entry.sha256 != Some(digest) {
        return Err(Error::DigestMismatch { what: format!("`{}`", entry.path) });
    }
    tar.skip_padding(extents.stored(), entry.path.as_str())
}

/// Reads the extra entry for a name that is too long for a header, if the listed name is.
fn read_long_name(tar: &mut TarStream<'_>, entry: &FileEntry) -> Result<()> {
    for (index, expected) in tar_header::long_name(entry).chunks(BLOCK).enumerate() {
        let block = tar.block()?;
        if block != *expected {
            let header = Header::from_byte_slice(&block);
            let long_name = index > 0 || header.entry_type() == EntryType::GNULongName;
            return Err(match long_name {
                true => mismatch(entry, "name"),
                false => unexpected(&block, entry.path.as_str()),
            });
        }
    }
    Ok(())
}

/// Reads the header with its sparse map, and compares it with the only header that the listed entry can have.
fn read_header(tar: &mut TarStream<'_>, entry: &FileEntry, limits: &Limits) -> Result<Extents> {
    let mut blocks = tar.block()?.to_vec();
    let header = Header::from_byte_slice(&blocks).clone();
    let extents = if header.entry_type() == EntryType::GNUSparse && entry.kind == EntryKind::File {
        let pairs = read_sparse_map(tar, &header, &mut blocks, limits)?;
        let extents = Extents::from_pairs(entry.size, &pairs).filter(Extents::is_sparse);
        let extents = extents.ok_or_else(|| mismatch(entry, "sparse map"))?;
        if extents.data().len() as u64 > limits.extents {
            return Err(too_many_extents(limits));
        }
        extents
    } else {
        Extents::whole(entry.size)
    };
    let expected = tar_header::entry(entry, &extents);
    if blocks != expected {
        return Err(explain(&blocks[..BLOCK], &expected[..BLOCK], entry));
    }
    Ok(extents)
}

fn read_sparse_map(
    tar: &mut TarStream<'_>,
    header: &Header,
    blocks: &mut Vec<u8>,
    limits: &Limits,
) -> Result<Vec<(u64, u64)>> {
    let Some(gnu) = header.as_gnu() else {
        return Ok(Vec::new());
    };
    let mut pairs = Vec::new();
    add_pairs(&mut pairs, &gnu.sparse)?;
    let mut more = gnu.is_extended();
    while more {
        // There can be one pair more than extents: the mark of a hole at the end.
        if pairs.len() as u64 > limits.extents {
            return Err(too_many_extents(limits));
        }
        let mut block = GnuExtSparseHeader::new();
        tar.fill(block.as_mut_bytes())?;
        blocks.extend_from_slice(block.as_bytes());
        add_pairs(&mut pairs, block.sparse())?;
        more = block.is_extended();
    }
    Ok(pairs)
}

fn too_many_extents(limits: &Limits) -> Error {
    Error::limit("the number of data extents of a file", limits.extents)
}

fn add_pairs(pairs: &mut Vec<(u64, u64)>, slots: &[GnuSparseHeader]) -> Result<()> {
    for slot in slots.iter().filter(|slot| !slot.is_empty()) {
        let pair = slot.offset().and_then(|offset| Ok((offset, slot.length()?)));
        pairs.push(pair.map_err(Error::damaged("tar"))?);
    }
    Ok(())
}

fn mismatch(entry: &FileEntry, what: &'static str) -> Error {
    Error::EntryMismatch { path: entry.path.to_string(), what }
}

/// Returns the error for a block in a place where `expected` belongs.
fn unexpected(block: &[u8], expected: &str) -> Error {
    let expected = match expected {
        "its end" => expected.to_owned(),
        name => format!("`{name}`"),
    };
    if block.iter().all(|&byte| byte == 0) {
        return Error::UnexpectedEntry { found: "its end".to_owned(), expected };
    }
    let header = Header::from_byte_slice(block);
    if !tar_header::has_checksum(header) {
        let source = io::Error::new(io::ErrorKind::InvalidData, "a header has a wrong checksum");
        return Error::damaged("tar")(source);
    }
    let name = tar_header::shown_name(header);
    match header.entry_type() {
        EntryType::Regular | EntryType::Directory | EntryType::GNUSparse => {
            Error::UnexpectedEntry { found: format!("`{name}`"), expected }
        }
        kind => Error::ForbiddenEntry { name, kind: tar_header::kind_name(kind) },
    }
}

/// Returns the error that names the first field in which a header differs from the listed entry.
fn explain(found: &[u8], expected: &[u8], entry: &FileEntry) -> Error {
    let [found_header, expected_header] = [found, expected].map(Header::from_byte_slice);
    let (ours, theirs) = (expected_header.as_old(), found_header.as_old());
    let forbidden = matches!(unexpected(found, ""), Error::ForbiddenEntry { .. } | Error::Damaged { .. });
    if forbidden || ours.name != theirs.name {
        return unexpected(found, entry.path.as_str());
    }
    let what = if ours.linkflag != theirs.linkflag {
        "kind"
    } else if ours.mode != theirs.mode {
        "mode"
    } else if ours.uid != theirs.uid || ours.gid != theirs.gid {
        "owner"
    } else if ours.size != theirs.size {
        "size"
    } else if ours.mtime != theirs.mtime {
        "time"
    } else {
        "header"
    };
    mismatch(entry, what)
}
