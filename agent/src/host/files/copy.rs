//! Copies single files on this host's disk quickly, and keeps holes.
//!
//! Only allocated extents are read: a fresh raft log has 64 MB, of which 54 blocks are written (etcd preallocates its
//! segments). `copy_file_range(2)` lets a filesystem that can share extents (XFS, btrfs) share them.

use std::{fs::File, io, os::unix::fs::FileExt, time::Instant};

use anyhow::{Result, anyhow};
use nix::{
    errno::Errno,
    fcntl::copy_file_range,
    unistd::{Whence, lseek},
};

use crate::{host::shutdown::Shutdown, outcome::failure::Failure};

/// The size of one `copy_file_range`; between two calls the limits are checked.
const CHUNK: usize = 8 * 1024 * 1024;

/// The size of one read when looking for the end of what was written.
const BLOCK: u64 = 64 * 1024;

/// The end of the time that a copy may take.
#[derive(Debug, Clone)]
pub struct Deadline {
    pub at: Instant,
    /// The message of the error once this time is over.
    pub message: String,
}

/// The limits of a copy: a stop request, and perhaps a deadline.
#[derive(Debug)]
pub struct CopyLimits<'a> {
    pub shutdown: &'a Shutdown,
    pub deadline: Option<Deadline>,
}

impl CopyLimits<'_> {
    /// Returns an error once a stop was requested or the deadline is over.
    pub fn check(&self) -> Result<()> {
        self.shutdown.check()?;
        match &self.deadline {
            Some(deadline) if Instant::now() >= deadline.at => Err(Failure::failed(&deadline.message).into()),
            _ => Ok(()),
        }
    }
}

/// A run of bytes that is not a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    pub offset: u64,
    pub length: u64,
}

/// Makes `target` the same as the first `size` bytes of `source` from the byte `from` on, which must not be beyond the
/// end of either, and replaces what `target` had there. Returns the bytes of data that were copied.
pub fn copy_from(source: &File, target: &File, from: u64, size: u64, limits: &CopyLimits<'_>) -> Result<u64> {
    target.set_len(from)?;
    target.set_len(size)?;
    let mut bytes = 0;
    for extent in extents_from(source, from, size)? {
        copy_extent(source, target, &extent, limits)?;
        bytes += extent.length;
    }
    Ok(bytes)
}

/// Returns the [`data_extents`] from the byte `from` on.
pub fn extents_from(file: &File, from: u64, size: u64) -> io::Result<Vec<Extent>> {
    let mut extents = data_extents(file, size)?;
    extents.retain(|extent| extent.offset + extent.length > from);
    if let Some(first) = extents.first_mut()
        && first.offset < from
    {
        *first = Extent { offset: from, length: first.offset + first.length - from };
    }
    Ok(extents)
}

/// The parts of the first `size` bytes that hold data, in order. A filesystem that does not support holes reports one
/// extent. Moves the file's position.
pub fn data_extents(file: &File, size: u64) -> io::Result<Vec<Extent>> {
    let mut extents = Vec::new();
    let mut position = 0;
    while position < size {
        let start = match lseek(file, to_offset(position)?, Whence::SeekData) {
            Ok(start) => u64::try_from(start).expect("a file offset is not negative"),
            Err(Errno::ENXIO) => break,
            Err(Errno::EINVAL) => return Ok(vec![Extent { offset: 0, length: size }]),
            Err(errno) => return Err(errno.into()),
        };
        let end = match lseek(file, to_offset(start)?, Whence::SeekHole) {
            Ok(end) => u64::try_from(end).expect("a file offset is not negative").min(size),
            // The file became shorter since.
            Err(Errno::ENXIO) => break,
            Err(errno) => return Err(errno.into()),
        };
        if start >= end {
            break;
        }
        extents.push(Extent { offset: start, length: end - start });
        position = end;
    }
    Ok(extents)
}

/// The end of what was written in a preallocated file: one past the last byte of the first `size` that is not zero.
pub fn written_end(file: &File, size: u64) -> io::Result<u64> {
    let mut buffer = vec![0; usize::try_from(BLOCK).expect("fits")];
    for extent in data_extents(file, size)?.iter().rev() {
        let mut end = extent.offset + extent.length;
        while end > extent.offset {
            let start = end.saturating_sub(BLOCK).max(extent.offset);
            let block = &mut buffer[..usize::try_from(end - start).expect("fits")];
            file.read_exact_at(block, start)?;
            if let Some(last) = block.iter().rposition(|byte| *byte != 0) {
                return Ok(start + last as u64 + 1);
            }
            end = start;
        }
    }
    Ok(0)
}

/// The bytes that were appended to a preallocated file from `from` on: up to the first block of zeros, or `size`.
/// `None` if they are more than `most`.
///
/// Extents do not help: space that was allocated ahead counts as data as soon as any process has read it, which fills
/// the page cache with zeros (`SEEK_DATA`, lseek(2); seen on ext4 after `inspect` of a log: 64 MB to copy instead of
/// 200 kB).
pub fn appended(file: &File, from: u64, size: u64, most: u64) -> io::Result<Option<Vec<u8>>> {
    let mut found = Vec::new();
    loop {
        let at = from + found.len() as u64;
        let len = BLOCK.min(size.saturating_sub(at));
        if len == 0 {
            return Ok(Some(found));
        }
        let before = found.len();
        found.resize(before + usize::try_from(len).expect("fits"), 0);
        file.read_exact_at(&mut found[before..], at)?;
        if found[before..].iter().all(|byte| *byte == 0) {
            found.truncate(before);
            return Ok(Some(found));
        }
        if found.len() as u64 > most {
            return Ok(None);
        }
    }
}

fn to_offset(position: u64) -> io::Result<i64> {
    i64::try_from(position).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))
}

fn shorter() -> anyhow::Error {
    let error = io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter while it was copied");
    anyhow!(error)
}

fn copy_extent(source: &File, target: &File, extent: &Extent, limits: &CopyLimits<'_>) -> Result<()> {
    let mut from = to_offset(extent.offset)?;
    let mut to = from;
    let end = to_offset(extent.offset + extent.length)?;
    while from < end {
        limits.check()?;
        let wanted = usize::try_from(end - from).unwrap_or(CHUNK).min(CHUNK);
        match copy_file_range(source, Some(&mut from), target, Some(&mut to), wanted) {
            Ok(0) => return Err(shorter()),
            Ok(_) => {}
            // Old kernels and some filesystems do not support it; then the bytes go through this process.
            Err(Errno::EXDEV | Errno::ENOSYS | Errno::EOPNOTSUPP | Errno::EINVAL) => {
                return copy_through(source, target, from, end, limits);
            }
            Err(errno) => return Err(io::Error::from(errno).into()),
        }
    }
    Ok(())
}

fn copy_through(source: &File, target: &File, mut position: i64, end: i64, limits: &CopyLimits<'_>) -> Result<()> {
    let mut buffer = vec![0; 1024 * 1024];
    while position < end {
        limits.check()?;
        let wanted = usize::try_from(end - position).unwrap_or(buffer.len()).min(buffer.len());
        let offset = u64::try_from(position).expect("a file offset is not negative");
        let got = source.read_at(&mut buffer[..wanted], offset)?;
        if got == 0 {
            return Err(shorter());
        }
        target.write_all_at(&buffer[..got], offset)?;
        position += i64::try_from(got).expect("a buffer's length fits");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::{Seek, SeekFrom, Write},
        os::unix::fs::MetadataExt,
    };

    use super::*;

    fn limits(shutdown: &Shutdown) -> CopyLimits<'_> {
        CopyLimits { shutdown, deadline: None }
    }

    #[test]
    fn holes_stay_holes_and_bytes_stay_bytes() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let from = dir.path().join("a.wal");
        let mut file = File::options().read(true).write(true).create_new(true).open(&from).expect("creates");
        file.set_len(64_000_000).expect("grows");
        file.seek(SeekFrom::Start(1_048_576)).expect("seeks");
        file.write_all(b"record").expect("writes");
        assert_eq!(written_end(&file, 64_000_000).expect("reads"), 1_048_576 + 6);
        let to = dir.path().join("b.wal");
        let target = File::create_new(&to).expect("creates");
        let bytes = copy_from(&file, &target, 0, 64_000_000, &limits(&Shutdown::default())).expect("copies");
        assert!(bytes < 1_000_000, "copied {bytes} bytes of a nearly empty file");
        let copy = fs::metadata(&to).expect("is there");
        assert_eq!(copy.len(), 64_000_000);
        assert!(copy.blocks() * 512 < 1_000_000);
        assert!(fs::read(&from).expect("reads") == fs::read(&to).expect("reads"));
    }

    #[test]
    fn a_tail_is_replaced_and_what_was_before_it_stays() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let (from, to) = (dir.path().join("a"), dir.path().join("b"));
        fs::write(&from, b"0123456789").expect("writes");
        fs::write(&to, b"abcdefghijklmnop").expect("writes");
        let (source, target) =
            (File::open(&from).expect("opens"), File::options().write(true).open(&to).expect("opens"));
        copy_from(&source, &target, 4, 10, &limits(&Shutdown::default())).expect("copies");
        assert_eq!(fs::read(&to).expect("reads"), b"abcd456789");
    }

    #[test]
    fn nothing_is_copied_after_the_deadline() {
        let shutdown = Shutdown::default();
        let deadline = Deadline { at: Instant::now(), message: "the copy took 1000 ms".to_owned() };
        let over = CopyLimits { shutdown: &shutdown, deadline: Some(deadline) };
        assert!(format!("{:#}", over.check().expect_err("is over")).contains("1000 ms"));
        shutdown.request("a test");
        limits(&shutdown).check().expect_err("a stop was requested");
    }
}
