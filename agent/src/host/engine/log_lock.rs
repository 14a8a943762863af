//! Checks whether a process has the raft log of a state directory open.
//!
//! An engine locks the segments of its log for as long as it may write them (etcd `wal.go`, `fileutil.TryLockFile`:
//! open file description locks, fcntl(2)). Testing for a lock only requires reading the file, so this works in the
//! sandbox of the unit too, which may not see what other processes have open.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
};

use anyhow::{Context, Result};
use nix::{
    fcntl::{FcntlArg, fcntl},
    libc,
};
use swarm_state::state_dir::WAL_DIR;

/// True while some process holds a segment of the log.
pub fn is_held(state_dir: &Path) -> Result<bool> {
    let log = state_dir.join(WAL_DIR);
    let look = || -> io::Result<bool> {
        for entry in fs::read_dir(&log)? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "wal") {
                continue;
            }
            match File::open(&path) {
                Ok(segment) if is_locked(&segment)? => return Ok(true),
                Ok(_) => {}
                // Segments that a snapshot made superfluous are removed at any time.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    };
    look().with_context(|| format!("failed to find out whether a process has the raft log in {} open", log.display()))
}

/// True if this process has a file of the log open; `None` where that may not be seen, as in the sandbox. Files are
/// compared by inode, not by name: the engine may see them under another path.
pub fn is_open_in(pid: u32, state_dir: &Path) -> Result<Option<bool>> {
    let log = state_dir.join(WAL_DIR);
    let look = || -> io::Result<bool> {
        let segments = fs::read_dir(&log)?.filter_map(|entry| entry.and_then(|entry| entry.metadata()).ok());
        let segments: BTreeSet<(u64, u64)> = segments.map(|it| (it.dev(), it.ino())).collect();
        for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
            match fs::metadata(entry?.path()) {
                Ok(open) if segments.contains(&(open.dev(), open.ino())) => return Ok(true),
                // A process that may list them need not be allowed to examine them (proc(5), ptrace access mode).
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(error),
                // Files are closed at any time.
                _ => {}
            }
        }
        Ok(false)
    };
    match look() {
        Ok(open) => Ok(Some(open)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("failed to look at the open files of process {pid}")),
    }
}

/// True if a lock conflicts with one over the whole file; takes none.
fn is_locked(file: &File) -> io::Result<bool> {
    let mut lock = whole_file(libc::F_WRLCK);
    fcntl(file, FcntlArg::F_GETLK(&mut lock))?;
    Ok(lock.l_type != libc::F_UNLCK as libc::c_short)
}

fn whole_file(kind: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use std::process;

    use super::*;

    #[test]
    fn a_lock_of_another_file_description_is_seen_and_so_is_its_end() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let log = dir.path().join(WAL_DIR);
        fs::create_dir_all(&log).expect("creates");
        assert!(!is_held(dir.path()).expect("looks"), "there is no segment");
        fs::write(log.join("0.tmp"), "").expect("writes");
        let segment = File::create(log.join("0000000000000000-0000000000000000.wal")).expect("creates");
        assert!(!is_held(dir.path()).expect("looks"), "no process holds it");
        fcntl(&segment, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_WRLCK))).expect("locks");
        assert!(is_held(dir.path()).expect("looks"));
        assert_eq!(is_open_in(process::id(), dir.path()).expect("looks"), Some(true));
        fcntl(&segment, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_UNLCK))).expect("unlocks");
        assert!(!is_held(dir.path()).expect("looks"));
        drop(segment);
        assert_eq!(is_open_in(process::id(), dir.path()).expect("looks"), Some(false));
        assert_eq!(is_open_in(u32::MAX, dir.path()).expect("looks"), None);
        assert!(is_held(&dir.path().join("none")).is_err());
    }
}
