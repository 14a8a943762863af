//! Copies a state directory on this host's disk, holes kept, in the shortest time.
//!
//! Only allocated extents are read: a fresh raft log is 64 MB of which 54 blocks are written (etcd
//! preallocates its segments). `copy_file_range(2)` lets a filesystem that can share extents (XFS,
//! btrfs) share them. Nothing is flushed here: the copy is scratch, and the engine waits for it.

use std::{
    fs::{self, DirBuilder, File, FileType, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use nix::{
    errno::Errno,
    fcntl::copy_file_range,
    unistd::{Whence, lseek},
};

use crate::shutdown::Shutdown;

/// One call of `copy_file_range`; between two calls a stop request is seen.
const CHUNK: usize = 32 * 1024 * 1024;

/// A path that the copy holds, relative to its root, with the attributes of the original.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopiedEntry {
    pub path: PathBuf,
    pub is_dir: bool,
    /// Permission bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Seconds since 1970.
    pub mtime: i64,
    /// Apparent size in bytes; 0 for a directory.
    pub size: u64,
}

/// A path that was left out, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    pub path: PathBuf,
    pub why: &'static str,
}

/// What a copy holds, sorted by path, parents before children; the first entry is the root itself,
/// with an empty path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Copied {
    pub entries: Vec<CopiedEntry>,
    pub left_out: Vec<LeftOut>,
    /// Bytes of data, holes not counted.
    pub bytes: u64,
}

/// Copies `from` into the existing, empty directory `to`.
///
/// `leave_out` gets each path relative to `from` with its unfollowed type, and says why it is not
/// wanted, or `None`. It must leave out whatever is neither a file nor a directory.
pub fn copy_tree(
    from: &Path,
    to: &Path,
    leave_out: &dyn Fn(&Path, FileType) -> Option<&'static str>,
    shutdown: &Shutdown,
) -> Result<Copied> {
    let mut copied = Copied::default();
    let root = fs::metadata(from).with_context(|| format!("failed to look at {}", from.display()))?;
    copied.entries.push(entry(PathBuf::new(), &root));
    let mut pending = vec![PathBuf::new()];
    while let Some(directory) = pending.pop() {
        for path in list(from, &directory)? {
            shutdown.check()?;
            let source = from.join(&path);
            let metadata =
                fs::symlink_metadata(&source).with_context(|| format!("failed to look at {}", source.display()))?;
            if let Some(why) = leave_out(&path, metadata.file_type()) {
                copied.left_out.push(LeftOut { path, why });
                continue;
            }
            let target = to.join(&path);
            if metadata.is_dir() {
                DirBuilder::new()
                    .mode(0o700)
                    .create(&target)
                    .with_context(|| format!("failed to create {}", target.display()))?;
                pending.push(path.clone());
            } else {
                copied.bytes += copy_file(&source, &target, shutdown)?;
            }
            copied.entries.push(entry(path, &metadata));
        }
    }
    copied.entries.sort_by(|a, b| a.path.cmp(&b.path));
    copied.left_out.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(copied)
}

fn list(root: &Path, directory: &Path) -> Result<Vec<PathBuf>> {
    let absolute = root.join(directory);
    let names = fs::read_dir(&absolute)
        .and_then(|entries| entries.map(|entry| Ok(directory.join(entry?.file_name()))).collect::<io::Result<Vec<_>>>())
        .with_context(|| format!("failed to list {}", absolute.display()))?;
    Ok(names)
}

fn entry(path: PathBuf, metadata: &fs::Metadata) -> CopiedEntry {
    CopiedEntry {
        path,
        is_dir: metadata.is_dir(),
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        mtime: metadata.mtime(),
        size: if metadata.is_dir() { 0 } else { metadata.size() },
    }
}

/// Copies one file, holes kept; answers with the bytes of data.
fn copy_file(from: &Path, to: &Path, shutdown: &Shutdown) -> Result<u64> {
    let copy = || -> Result<u64> {
        let source = File::open(from)?;
        let target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
        let size = source.metadata()?.len();
        target.set_len(size)?;
        let mut bytes = 0;
        for extent in data_extents(&source, size)? {
            copy_extent(&source, &target, &extent, shutdown)?;
            bytes += extent.length;
        }
        Ok(bytes)
    };
    copy().with_context(|| format!("failed to copy {} to {}", from.display(), to.display()))
}

/// A run of bytes that is not a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    pub offset: u64,
    pub length: u64,
}

/// The parts of the first `size` bytes that hold data, in order. A filesystem that does not know
/// holes reports one extent. Moves the file's position.
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
        let end = lseek(file, to_offset(start)?, Whence::SeekHole)?;
        let end = u64::try_from(end).expect("a file offset is not negative").min(size);
        if start >= end {
            break;
        }
        extents.push(Extent { offset: start, length: end - start });
        position = end;
    }
    Ok(extents)
}

fn to_offset(position: u64) -> io::Result<i64> {
    i64::try_from(position).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))
}

fn copy_extent(source: &File, target: &File, extent: &Extent, shutdown: &Shutdown) -> Result<()> {
    let mut from = to_offset(extent.offset)?;
    let mut to = from;
    let end = to_offset(extent.offset + extent.length)?;
    while from < end {
        shutdown.check()?;
        let wanted = usize::try_from(end - from).unwrap_or(CHUNK).min(CHUNK);
        match copy_file_range(source, Some(&mut from), target, Some(&mut to), wanted) {
            Ok(0) => bail!("the file became shorter while it was copied"),
            Ok(_) => {}
            // Old kernels and some filesystems cannot; then the bytes go through this process.
            Err(Errno::EXDEV | Errno::ENOSYS | Errno::EOPNOTSUPP | Errno::EINVAL) => {
                return copy_through(source, target, from, end, shutdown);
            }
            Err(errno) => return Err(io::Error::from(errno).into()),
        }
    }
    Ok(())
}

fn copy_through(source: &File, target: &File, mut position: i64, end: i64, shutdown: &Shutdown) -> Result<()> {
    use std::os::unix::fs::FileExt;
    let mut buffer = vec![0; 1024 * 1024];
    while position < end {
        shutdown.check()?;
        let wanted = usize::try_from(end - position).unwrap_or(buffer.len()).min(buffer.len());
        let offset = u64::try_from(position).expect("a file offset is not negative");
        let got = source.read_at(&mut buffer[..wanted], offset)?;
        if got == 0 {
            bail!("the file became shorter while it was copied");
        }
        target.write_all_at(&buffer[..got], offset)?;
        position += i64::try_from(got).expect("a buffer's length fits");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Seek, SeekFrom, Write},
        os::unix::{fs::FileTypeExt, net::UnixListener},
    };

    use super::*;

    #[test]
    fn holes_stay_holes_and_bytes_stay_bytes() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let from = dir.path().join("a.wal");
        let mut file = File::create(&from).expect("creates");
        file.set_len(64_000_000).expect("grows");
        file.seek(SeekFrom::Start(1_048_576)).expect("seeks");
        file.write_all(b"record").expect("writes");
        let to = dir.path().join("b.wal");
        let bytes = copy_file(&from, &to, &Shutdown::default()).expect("copies");
        assert!(bytes < 1_000_000, "copied {bytes} bytes of a nearly empty file");
        let copy = fs::metadata(&to).expect("is there");
        assert_eq!(copy.len(), 64_000_000);
        assert!(copy.blocks() * 512 < 1_000_000);
        assert!(fs::read(&from).expect("reads") == fs::read(&to).expect("reads"));
    }

    #[test]
    fn leaves_out_what_is_unwanted_and_special() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("raft/wal")).expect("creates");
        fs::create_dir(&to).expect("creates");
        fs::write(from.join("raft/wal/0.tmp"), b"junk").expect("writes");
        fs::write(from.join("raft/wal/0.wal"), b"data").expect("writes");
        let _listener = UnixListener::bind(from.join("control.sock")).expect("binds");
        let unwanted = |path: &Path, kind: FileType| {
            (kind.is_socket() || path.extension().is_some_and(|extension| extension == "tmp")).then_some("not wanted")
        };
        let copied = copy_tree(&from, &to, &unwanted, &Shutdown::default()).expect("copies");
        let kept: Vec<_> = copied.entries.iter().map(|entry| entry.path.to_str().expect("UTF-8")).collect();
        assert_eq!(kept, ["", "raft", "raft/wal", "raft/wal/0.wal"]);
        let left: Vec<_> = copied.left_out.iter().map(|left| left.path.to_str().expect("UTF-8")).collect();
        assert_eq!(left, ["control.sock", "raft/wal/0.tmp"]);
        assert!(!to.join("control.sock").exists());
        assert_eq!(copied.bytes, 4);
    }
}
