//! The state directory as files: what is there, what of it a backup keeps, and reading one file of it safely.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Component, Path, PathBuf};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use serde::{Deserialize, Serialize};

use super::{Damage, DamageKind, Error};

/// Certificate of the node: its id, role and cluster.
pub const NODE_CERT: &str = "certificates/swarm-node.crt";
/// New certificate while a renewal is half done; it counts if it fits the key and [`NODE_CERT`] does not.
pub const NODE_CERT_NEXT: &str = "certificates/.swarm-node.crt";
/// TLS key of the node; its PEM headers hold the raft data keys.
pub const NODE_KEY: &str = "certificates/swarm-node.key";
/// Trust root of the cluster.
pub const ROOT_CA: &str = "certificates/swarm-root-ca.crt";
/// What dockerd was told at init or join.
pub const ENGINE_STATE: &str = "docker-state.json";
/// The managers that the node knows, itself included.
pub const KNOWN_MANAGERS: &str = "state.json";
/// The raft log.
pub const WAL_DIR: &str = "raft/wal-v3-encrypted";
/// Snapshots of the raft log.
pub const SNAP_DIR: &str = "raft/snap-v3-encrypted";

/// Raft directories of engines before 17.06; today's engine migrates them once and then leaves them alone.
const LEGACY_RAFT_DIRS: [&str; 4] = ["raft/wal-v3", "raft/snap-v3", "raft/wal", "raft/snap"];

/// Certificates, keys and JSON files are a few kB; whatever is larger was not written by an engine.
const SMALL_FILE_MAX: u64 = 1 << 20;

/// An open state directory. Holds the directory itself, so that renaming it does not redirect later reads.
#[derive(Debug)]
pub struct StateDir {
    root: PathBuf,
    fd: OwnedFd,
}

/// What a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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

/// Whether a backup keeps a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Part of the backup.
    Keep,
    /// Left out, and listed as left out.
    LeaveOut(Reason),
}

/// Why a path is left out of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A preallocated segment or a half-written file: the engine would take its junk as a new segment.
    RaftTemporary,
    /// Tasks of this node, some with passwords in clear; the engine makes the directory anew.
    WorkerState,
    /// Sockets exist only while their process does.
    Socket,
    /// Pipes, devices and symbolic links: no engine puts them here.
    NotAFile,
}

/// One path below the state directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Relative to the state directory.
    pub path: PathBuf,
    /// What it is.
    pub kind: FileKind,
    /// Apparent size in bytes; 0 for all but regular files.
    pub size: u64,
    /// Whether a backup keeps it.
    pub verdict: Verdict,
}

/// Everything in a state directory, sorted by path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survey {
    /// All paths, the root itself not among them. What is below a left-out directory is not listed.
    pub found: Vec<Found>,
}

impl StateDir {
    /// Opens `root`, which may itself be reached through symbolic links (a moved data-root often is).
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, Error> {
        let root = root.into();
        let dir = File::open(&root).map_err(Error::read(&root))?;
        if !dir.metadata().map_err(Error::read(&root))?.is_dir() {
            return Err(Error::read(&root)(io::ErrorKind::NotADirectory.into()));
        }
        Ok(Self { root, fd: dir.into() })
    }

    /// Where this directory was opened.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Opens one regular file for reading; `None` if there is none of that name.
    pub fn open_file(&self, relative: &str) -> Result<Option<File>, Error> {
        let path = self.root.join(relative);
        match open_below(&self.fd, Path::new(relative)) {
            Ok(file) if file.metadata().map_err(Error::read(&path))?.is_file() => Ok(Some(file)),
            Ok(_) => Err(Error::read(path)(io::Error::other("not a regular file"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::read(path)(error)),
        }
    }

    /// Reads a file of at most 1 MiB; `None` if there is none of that name.
    pub fn read_small(&self, relative: &str) -> Result<Option<Vec<u8>>, Error> {
        let Some(file) = self.open_file(relative)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        let read = file.take(SMALL_FILE_MAX + 1).read_to_end(&mut bytes);
        read.map_err(Error::read(self.root.join(relative)))?;
        if bytes.len() as u64 > SMALL_FILE_MAX {
            let why = format!("larger than the {SMALL_FILE_MAX} bytes this file can have");
            return Err(Damage::new(DamageKind::BeyondLimit, relative, SMALL_FILE_MAX, why).into());
        }
        Ok(Some(bytes))
    }

    /// As [`StateDir::read_small`], for a file without which this is no manager's state.
    pub fn read_required(&self, relative: &str) -> Result<Vec<u8>, Error> {
        let missing = || Error::Missing { root: self.root.clone(), file: relative.to_owned() };
        self.read_small(relative)?.ok_or_else(missing)
    }

    /// Names in a directory below the root, sorted; empty if there is no such directory.
    pub fn names(&self, relative: &str) -> Result<Vec<String>, Error> {
        let path = self.root.join(relative);
        let mut names = Vec::new();
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(names),
            Err(error) => return Err(Error::read(path)(error)),
        };
        for entry in entries {
            let name = entry.map_err(Error::read(&path))?.file_name();
            // A name that is no UTF-8 is none of the engine's; the survey lists it.
            names.extend(name.to_str().map(str::to_owned));
        }
        names.sort();
        Ok(names)
    }

    /// Lists everything, with a verdict on each path.
    pub fn survey(&self) -> Result<Survey, Error> {
        let mut found = Vec::new();
        let mut pending = vec![PathBuf::new()];
        while let Some(directory) = pending.pop() {
            let path = self.root.join(&directory);
            for entry in fs::read_dir(&path).map_err(Error::read(&path))? {
                let entry = entry.map_err(Error::read(&path))?;
                let metadata = match entry.metadata() {
                    Ok(metadata) => metadata,
                    // A running engine renames and removes files at any time.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(Error::read(entry.path())(error)),
                };
                let relative = directory.join(entry.file_name());
                let kind = FileKind::of(metadata.file_type());
                let verdict = classify(&relative, kind);
                if kind == FileKind::Directory && verdict == Verdict::Keep {
                    pending.push(relative.clone());
                }
                let size = if kind == FileKind::File { metadata.len() } else { 0 };
                found.push(Found { path: relative, kind, size, verdict });
            }
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Survey { found })
    }
}

/// Says whether a backup keeps a path; `relative` is relative to the state directory.
pub fn classify(relative: &Path, kind: FileKind) -> Verdict {
    let first = relative.components().next();
    let in_raft = first == Some(Component::Normal(OsStr::new("raft")));
    let temporary = relative.extension() == Some(OsStr::new("tmp"));
    match kind {
        FileKind::Socket => Verdict::LeaveOut(Reason::Socket),
        FileKind::Symlink | FileKind::Special => Verdict::LeaveOut(Reason::NotAFile),
        _ if first == Some(Component::Normal(OsStr::new("worker"))) => Verdict::LeaveOut(Reason::WorkerState),
        _ if in_raft && temporary => Verdict::LeaveOut(Reason::RaftTemporary),
        FileKind::File | FileKind::Directory => Verdict::Keep,
    }
}

/// Whether an engine starts from this file or directory. Without it, or with a link in its place, the state is not whole.
pub fn is_needed(relative: &Path) -> bool {
    let files = [NODE_CERT, NODE_CERT_NEXT, NODE_KEY, ROOT_CA, ENGINE_STATE, KNOWN_MANAGERS];
    let directories = ["certificates", "raft", WAL_DIR, SNAP_DIR];
    let is_in = |dir: &str, ending: &str| {
        relative.parent() == Some(Path::new(dir)) && relative.extension() == Some(OsStr::new(ending))
    };
    let named = files.into_iter().chain(directories).any(|path| relative == Path::new(path));
    named || is_in(WAL_DIR, "wal") || is_in(SNAP_DIR, "snap")
}

/// Whether an engine may have written this file: what it starts from, and what its repairs and migrations left.
pub fn is_engines(relative: &Path) -> bool {
    let in_raft = relative.starts_with("raft");
    let ending = |ending: &str| relative.extension() == Some(OsStr::new(ending));
    is_needed(relative) || in_raft && ["wal", "snap", "broken"].into_iter().any(ending)
}

impl FileKind {
    /// The kind of an unfollowed path.
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

impl Survey {
    /// The files without which this is no manager's state and that are not there, in a fixed order.
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

    /// Whether there is at least one log segment. Without one an engine starts an empty swarm in silence.
    pub fn has_log(&self) -> bool {
        let wal = Path::new(WAL_DIR);
        let segment = |f: &Found| f.path.parent() == Some(wal) && f.path.extension() == Some(OsStr::new("wal"));
        self.found.iter().any(segment)
    }

    /// What an unclean stop, a repair or a migration left behind, sorted by path.
    pub fn leftovers(&self) -> Vec<&Found> {
        let left = |f: &&Found| {
            let name = f.path.file_name().unwrap_or_default().as_bytes();
            let broken = name.windows(7).any(|w| w == b".broken");
            let legacy = LEGACY_RAFT_DIRS.iter().any(|dir| f.path == Path::new(dir));
            broken || legacy || f.verdict == Verdict::LeaveOut(Reason::RaftTemporary)
        };
        self.found.iter().filter(left).collect()
    }

    /// Whether a regular file is at this path.
    pub fn has_file(&self, relative: &str) -> bool {
        let path = Path::new(relative);
        let at = self.found.binary_search_by(|f| f.path.as_path().cmp(path));
        at.is_ok_and(|at| self.found[at].kind == FileKind::File)
    }

    /// Apparent size of what a backup keeps, in bytes.
    pub fn kept_bytes(&self) -> u64 {
        let kept = self.found.iter().filter(|f| f.verdict == Verdict::Keep);
        kept.map(|f| f.size).sum()
    }
}

/// Opens component by component, so that a link planted in the middle is refused too.
fn open_below(root: &OwnedFd, relative: &Path) -> io::Result<File> {
    // Without O_NONBLOCK a planted pipe would hold the agent for ever.
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let mut at = root.try_clone()?;
    for component in relative.components() {
        let Component::Normal(name) = component else {
            return Err(io::Error::other("not a path below the state directory"));
        };
        at = openat(&at, name, flags, Mode::empty())?;
    }
    Ok(at.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use nix::unistd::mkfifo;

    use super::*;

    fn dir_with(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        dir
    }

    #[test]
    fn a_verdict_is_passed_on_every_path() {
        use FileKind::{Directory, File, Socket, Special, Symlink};
        let leave_out = Verdict::LeaveOut;
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

    #[test]
    fn links_and_pipes_are_never_opened() {
        let dir = dir_with(&["outside/state.json", "state/raft/file"]);
        let state = dir.path().join("state");
        symlink("../outside/state.json", state.join("state.json")).unwrap();
        symlink("../outside", state.join("certificates")).unwrap();
        mkfifo(&state.join("docker-state.json"), Mode::S_IRWXU).unwrap();
        let open = StateDir::open(&state).unwrap();
        for path in ["state.json", "certificates/state.json", "docker-state.json", "raft", "../outside/state.json"] {
            assert!(matches!(open.read_small(path), Err(Error::Read { .. })), "{path}");
        }
        assert!(open.open_file("absent").unwrap().is_none());
        assert_eq!(open.read_small("raft/file").unwrap().unwrap(), b"state/raft/file");

        // The directory itself may be reached through a link, and stays the same when that link moves.
        symlink(&state, dir.path().join("swarm")).unwrap();
        let linked = StateDir::open(dir.path().join("swarm")).unwrap();
        fs::rename(&state, dir.path().join("aside")).unwrap();
        assert!(linked.read_small("raft/file").unwrap().is_some());
    }

    #[test]
    fn a_small_file_that_is_not_small_is_refused() {
        let dir = dir_with(&["state.json"]);
        let file = File::options().write(true).open(dir.path().join("state.json")).unwrap();
        file.set_len(SMALL_FILE_MAX).unwrap();
        let open = StateDir::open(dir.path()).unwrap();
        assert_eq!(open.read_small("state.json").unwrap().unwrap().len() as u64, SMALL_FILE_MAX);
        file.set_len(SMALL_FILE_MAX + 1).unwrap();
        let error = open.read_small("state.json").unwrap_err();
        assert!(matches!(error, Error::Damaged(Damage { kind: DamageKind::BeyondLimit, .. })), "{error:?}");
    }
}
