//! Header blocks of both tars. Equal fields are always encoded as equal bytes, so a reader can compare bytes.

use tar::{EntryType, GnuExtSparseHeader, GnuSparseHeader, Header};

use crate::{
    contents::{EntryKind, FileEntry},
    extents::Extents,
    limits::SIZE_MAX,
};

/// Size of a tar block in bytes.
pub(crate) const BLOCK: usize = 512;

/// Maximum length in bytes of a name in a header. A longer name is in a block of its own before the header.
const NAME_MAX: usize = 100;

/// Returns the number of bytes that pad the last block of a body.
pub(crate) fn padding(length: u64) -> usize {
    (length.next_multiple_of(BLOCK as u64) - length) as usize
}

/// Returns the header of a member of the outer tar: in POSIX ustar form, or in the form of GNU tar if octal digits
/// cannot hold the size.
pub(crate) fn member(name: &str, size: u64, mtime: u64) -> Header {
    let mut header = if size > SIZE_MAX { Header::new_gnu() } else { Header::new_ustar() };
    fill(&mut header, name, EntryType::Regular, 0o644, size, mtime);
    header.set_cksum();
    header
}

/// Appends a whole member of the outer tar: header, body and padding.
pub(crate) fn push_member(tar: &mut Vec<u8>, name: &str, body: &[u8], mtime: u64) {
    let size = body.len() as u64;
    tar.extend_from_slice(member(name, size, mtime).as_bytes());
    tar.extend_from_slice(body);
    tar.resize(tar.len() + padding(size), 0);
}

/// Whether this is the header of a regular file in the form of [`member`]. Owner, mode and time of a member have no
/// meaning, so they may be anything. `limit` is the most that the size may be, and tells whether it may need the form of
/// GNU tar; the size itself is not compared with it.
pub(crate) fn is_plain_file(header: &Header, limit: u64) -> bool {
    let zero = |field: &[u8]| field.iter().all(|&byte| byte == 0);
    let old = header.as_old();
    if old.linkflag != *b"0" || !zero(&old.linkname) {
        return false;
    }
    match (header.as_ustar(), header.as_gnu()) {
        (Some(ustar), _) => ustar.size[0] & 0x80 == 0 && zero(&ustar.prefix) && zero(&ustar.pad),
        (None, Some(gnu)) if limit > SIZE_MAX => {
            let size = header.entry_size().ok().filter(|&size| size > SIZE_MAX);
            // Behind the numbers of the device come only fields for sparse files and increments.
            size.is_some_and(|size| member("", size, 0).as_old().size == gnu.size) && zero(&header.as_bytes()[345..])
        }
        _ => false,
    }
}

/// Returns the header of `contents.json` in the payload.
pub(crate) fn contents(name: &str, size: u64, mtime: u64) -> Header {
    let mut header = Header::new_gnu();
    fill(&mut header, name, EntryType::Regular, 0o600, size, mtime);
    header.set_cksum();
    header
}

/// Returns the blocks before the header of an entry whose name does not fit into it; empty for other entries.
pub(crate) fn long_name(entry: &FileEntry) -> Vec<u8> {
    let name = name(entry);
    if name.len() <= NAME_MAX {
        return Vec::new();
    }
    let mut header = Header::new_gnu();
    let size = name.len() as u64 + 1;
    fill(&mut header, "././@LongLink", EntryType::GNULongName, 0o644, size, 0);
    header.set_cksum();
    let mut blocks = header.as_bytes().to_vec();
    blocks.extend_from_slice(name.as_bytes());
    blocks.resize((blocks.len() + 1).next_multiple_of(BLOCK), 0);
    blocks
}

/// Returns the header of an entry, with the blocks that continue its sparse map.
pub(crate) fn entry(entry: &FileEntry, extents: &Extents) -> Vec<u8> {
    let name = name(entry);
    let cut = &name.as_bytes()[..name.len().min(NAME_MAX)];
    let kind = match entry.kind {
        EntryKind::Dir => EntryType::Directory,
        EntryKind::File if extents.is_sparse() => EntryType::GNUSparse,
        EntryKind::File => EntryType::Regular,
    };
    let mut header = Header::new_gnu();
    fill(&mut header, "", kind, entry.mode, extents.stored(), entry.mtime);
    header.as_old_mut().name[..cut.len()].copy_from_slice(cut);
    header.set_uid(entry.uid.into());
    header.set_gid(entry.gid.into());
    let more = match kind {
        EntryType::GNUSparse => set_sparse(&mut header, entry.size, extents),
        _ => Vec::new(),
    };
    header.set_cksum();
    [&header.as_bytes()[..], &more].concat()
}

fn name(entry: &FileEntry) -> String {
    match entry.kind {
        EntryKind::File => entry.path.to_string(),
        EntryKind::Dir => format!("{}/", entry.path),
    }
}

fn fill(header: &mut Header, name: &str, kind: EntryType, mode: u32, size: u64, mtime: u64) {
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(size);
    header.set_mtime(mtime);
}

/// Writes the first four pairs into the header and returns the blocks with the others.
fn set_sparse(header: &mut Header, size: u64, extents: &Extents) -> Vec<u8> {
    let gnu = header.as_gnu_mut().expect("made as a GNU header");
    gnu.set_real_size(size);
    let mut pairs = extents.pairs().peekable();
    put_pairs(&mut gnu.sparse, &mut pairs);
    gnu.set_is_extended(pairs.peek().is_some());
    let mut blocks = Vec::new();
    while pairs.peek().is_some() {
        let mut block = GnuExtSparseHeader::new();
        put_pairs(&mut block.sparse, &mut pairs);
        block.isextended[0] = u8::from(pairs.peek().is_some());
        blocks.extend_from_slice(block.as_bytes());
    }
    blocks
}

fn put_pairs(slots: &mut [GnuSparseHeader], pairs: &mut impl Iterator<Item = (u64, u64)>) {
    for (slot, (offset, length)) in slots.iter_mut().zip(pairs) {
        slot.set_offset(offset);
        slot.set_length(length);
    }
}

/// Returns a name for a type flag, for messages.
pub(crate) fn kind_name(kind: EntryType) -> String {
    let name = match kind {
        EntryType::Symlink => "symbolic link",
        EntryType::Link => "hard link",
        EntryType::Char => "character device",
        EntryType::Block => "block device",
        EntryType::Fifo => "named pipe",
        EntryType::XHeader | EntryType::XGlobalHeader => "pax extension",
        EntryType::GNULongName => "long name",
        EntryType::GNULongLink => "long link name",
        other => return format!("entry of type {:?}", char::from(other.as_byte())),
    };
    name.to_owned()
}

/// Returns the name in a header, escaped for messages.
pub(crate) fn shown_name(header: &Header) -> String {
    let name = &header.as_old().name;
    let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
    name[..end].escape_ascii().to_string()
}

/// Whether the checksum field is right, which it is not in random bytes. Accepts the encoding of this crate and that
/// of GNU tar.
pub(crate) fn has_checksum(header: &Header) -> bool {
    let bytes = header.as_bytes();
    let sum = bytes.iter().enumerate().map(|(at, &byte)| match at {
        148..156 => u32::from(b' '),
        _ => u32::from(byte),
    });
    let sum: u32 = sum.sum();
    let field = &header.as_old().cksum;
    *field == *format!("{sum:07o}\0").as_bytes() || *field == *format!("{sum:06o}\0 ").as_bytes()
}
