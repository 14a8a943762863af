//! The files of a state directory, and which of them a backup keeps.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, fs::FileTypeExt},
    path::{Component, Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::AtFlags,
    libc,
    sys::stat::{FileStat, fstatat},
};

use super::{NODE_CERT, NODE_KEY, ROOT_CA, StateDir, WAL_DIR, list, open_directory};
use crate::Error;

/// Raft directories of engines before 17.06. Today's engine migrates them once and does not touch them again.
const LEGACY_RAFT_DIRS: [&str; 4] = ["raft/wal-v3", "raft/snap-v3", "raft/wal", "raft/snap"];

/// Kind of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link; never followed.
    Symlink,
    /// A unix socket.
    Socket,
    /// A pipe or a device node.
    Special,
}

/// Decision whether a backup keeps a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The path is part of the backup.
    Keep,
    /// The path is excluded, and listed as excluded.
    Exclude(Reason),
}

/// Reason why a path is excluded from a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A preallocated segment or a half-written file: the engine would take its content for a new segment.
    RaftTemporary,
    /// Tasks of this node, some with passwords in clear; the engine makes the directory again.
    WorkerState,
    /// A socket exists only while its process does.
    Socket,
    /// A pipe, device or symbolic link: no engine puts these here.
    NotAFile,
}

/// A path below the state directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Path relative to the state directory.
    pub path: PathBuf,
    /// Kind of the file.
    pub kind: FileKind,
    /// Apparent size in bytes; 0 for anything but a regular file.
    pub size: u64,
    /// Whether a backup keeps it.
    pub verdict: Verdict,
}

/// List of everything in a state directory, sorted by path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// All paths except the root itself. Paths below an excluded directory are not listed.
    pub found: Vec<Found>,
}

impl StateDir {
    /// Lists everything, with a verdict for each path.
    pub fn survey(&self) -> Result<Survey, Error> {
        let mut found = Vec::new();
        let mut pending = vec![PathBuf::new()];
        while let Some(directory) = pending.pop() {
            let path = self.root.join(&directory);
            let mut open = open_directory(&self.fd, &directory).map_err(Error::read(&path))?;
            for name in list(&mut open).map_err(Error::read(&path))? {
                let relative = directory.join(&name);
                let stat = match fstatat(&open, name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
                    Ok(stat) => stat,
                    // A running engine renames and removes files at any time.
                    Err(Errno::ENOENT) => continue,
                    Err(errno) => return Err(Error::read(self.root.join(relative))(errno.into())),
                };
                let one = Found::of(relative, &stat);
                if one.kind == FileKind::Directory && one.verdict == Verdict::Keep {
                    pending.push(one.path.clone());
                }
                found.push(one);
            }
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Survey { found })
    }
}

/// Decides whether a backup keeps a path; `relative` is relative to the state directory.
pub fn classify(relative: &Path, kind: FileKind) -> Verdict {
    let first = relative.components().next();
    let in_raft = first == Some(Component::Normal(OsStr::new("raft")));
    let temporary = relative.extension() == Some(OsStr::new("tmp"));
    match kind {
        FileKind::Socket => Verdict::Exclude(Reason::Socket),
        FileKind::Symlink | FileKind::Special => Verdict::Exclude(Reason::NotAFile),
        _ if first == Some(Component::Normal(OsStr::new("worker"))) => Verdict::Exclude(Reason::WorkerState),
        _ if in_raft && temporary => Verdict::Exclude(Reason::RaftTemporary),
        FileKind::File | FileKind::Directory => Verdict::Keep,
    }
}

impl FileKind {
    /// Returns the kind of a path, without following a link.
    pub fn of(file_type: fs::FileType) -> Self {
        if file_type.is_file() {
            Self::File
        } else if file_type.is_dir() {
            Self::Directory
        } else if file_type.is_symlink() {
            Self::Symlink
        } else if file_type.is_socket() {
            Self::Socket
        } else {
            Self::Special
        }
    }
}

impl Found {
    fn of(path: PathBuf, stat: &FileStat) -> Self {
        let kind = match stat.st_mode & libc::S_IFMT {
            libc::S_IFREG => FileKind::File,
            libc::S_IFDIR => FileKind::Directory,
            libc::S_IFLNK => FileKind::Symlink,
            libc::S_IFSOCK => FileKind::Socket,
            _ => FileKind::Special,
        };
        let size = if kind == FileKind::File { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 };
        Self { verdict: classify(&path, kind), path, kind, size }
    }
}

impl Survey {
    /// Returns the missing files without which this is not a manager's state, in a fixed order.
    pub fn missing(&self) -> Vec<&'static str> {
        let mut missing = Vec::new();
        for required in [NODE_CERT, NODE_KEY, ROOT_CA] {
            if !self.has_file(required) {
                missing.push(required);
            }
        }
        if !self.has_log() {
            missing.push(WAL_DIR);
        }
        missing
    }

    /// Whether there is at least one log segment. Without one an engine silently starts an empty swarm.
    pub fn has_log(&self) -> bool {
        let wal = Path::new(WAL_DIR);
        let segment = |f: &Found| f.path.parent() == Some(wal) && f.path.extension() == Some(OsStr::new("wal"));
        self.found.iter().any(segment)
    }

    /// Returns what an unclean stop, a repair or a migration left behind, sorted by path.
    pub fn leftovers(&self) -> Vec<&Found> {
        let left = |f: &&Found| {
            let name = f.path.file_name().unwrap_or_default().as_bytes();
            let broken = name.windows(7).any(|w| w == b".broken");
            let legacy = LEGACY_RAFT_DIRS.iter().any(|dir| f.path == Path::new(dir));
            broken || legacy || f.verdict == Verdict::Exclude(Reason::RaftTemporary)
        };
        self.found.iter().filter(left).collect()
    }

    /// Whether there is a regular file at this path.
    pub fn has_file(&self, relative: &str) -> bool {
        let path = Path::new(relative);
        let at = self.found.binary_search_by(|f| f.path.as_path().cmp(path));
        at.is_ok_and(|at| self.found[at].kind == FileKind::File)
    }

    /// Returns the apparent size of everything that a backup keeps, in bytes.
    pub fn kept_bytes(&self) -> u64 {
        let kept = self.found.iter().filter(|f| f.verdict == Verdict::Keep);
        kept.map(|f| f.size).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::{fs::symlink, net::UnixListener};

    use nix::{sys::stat::Mode, unistd::mkfifo};

    use super::{super::tests::dir_with, *};

    #[test]
    fn a_verdict_is_passed_on_every_path() {
        use FileKind::{Directory, File, Socket, Special, Symlink};
        let leave_out = Verdict::Exclude;
        let cases = [
            ("docker-state.json", File, Verdict::Keep),
            ("certificates/.swarm-node.crt", File, Verdict::Keep),
            ("raft", Directory, Verdict::Keep),
            ("raft/wal-v3-encrypted/0000000000000000-0000000000000000.wal", File, Verdict::Keep),
            ("raft/wal-v3-encrypted/0000000000000000-0000000000000000.wal.broken", File, Verdict::Keep),
            ("raft/wal-v3-encrypted/0.tmp", File, leave_out(Reason::RaftTemporary)),
            ("raft/wal.tmp", Directory, leave_out(Reason::RaftTemporary)),
            ("certificates/0.tmp", File, Verdict::Keep),
            ("worker", Directory, leave_out(Reason::WorkerState)),
            ("worker/tasks.db", File, leave_out(Reason::WorkerState)),
            ("control.sock", Socket, leave_out(Reason::Socket)),
            ("raft/elsewhere", Symlink, leave_out(Reason::NotAFile)),
            ("pipe", Special, leave_out(Reason::NotAFile)),
        ];
        for (path, kind, verdict) in cases {
            assert_eq!(classify(Path::new(path), kind), verdict, "{path}");
        }
    }

    #[test]
    fn a_survey_lists_all_but_what_is_below_left_out_directories() {
        let dir = dir_with(&["state.json", "worker/tasks.db", "raft/wal-v3-encrypted/0.tmp", "raft/wal/x.wal.broken"]);
        symlink("/etc", dir.path().join("link")).unwrap();
        mkfifo(&dir.path().join("pipe"), Mode::S_IRWXU).unwrap();
        let _socket = UnixListener::bind(dir.path().join("control.sock")).unwrap();
        let survey = StateDir::open(dir.path()).unwrap().survey().unwrap();
        let paths: Vec<_> = survey.found.iter().map(|found| found.path.to_str().unwrap()).collect();
        let expected = [
            "control.sock",
            "link",
            "pipe",
            "raft",
            "raft/wal",
            "raft/wal/x.wal.broken",
            "raft/wal-v3-encrypted",
            "raft/wal-v3-encrypted/0.tmp",
            "state.json",
            "worker",
        ];
        assert_eq!(paths, expected);
        let leftovers: Vec<_> = survey.leftovers().iter().map(|found| found.path.to_str().unwrap()).collect();
        assert_eq!(leftovers, ["raft/wal", "raft/wal/x.wal.broken", "raft/wal-v3-encrypted/0.tmp"]);
        assert_eq!(survey.missing(), [NODE_CERT, NODE_KEY, ROOT_CA, WAL_DIR]);
        assert_eq!(survey.kept_bytes(), 10 + 21);
        assert!(survey.has_file("state.json") && !survey.has_file("worker") && !survey.has_log());
    }
}
