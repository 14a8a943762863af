//! The state directory as files: which there are, which of them a backup keeps, and how to read one safely.

mod survey;

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read},
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Component, Path, PathBuf},
};

use nix::{
    dir::Dir,
    fcntl::{OFlag, openat},
    sys::stat::Mode,
};

use super::{Damage, DamageKind, Error};

pub use survey::{FileKind, Found, Reason, Survey, Verdict, classify};

/// Certificate of the node, with its id, role and cluster.
pub const NODE_CERT: &str = "certificates/swarm-node.crt";
/// New certificate of an unfinished renewal. It is used if it fits the key and [`NODE_CERT`] does not.
pub const NODE_CERT_NEXT: &str = "certificates/.swarm-node.crt";
/// TLS key of the node; its PEM headers contain the raft data keys.
pub const NODE_KEY: &str = "certificates/swarm-node.key";
/// Root CA of the cluster.
pub const ROOT_CA: &str = "certificates/swarm-root-ca.crt";
/// Settings that dockerd got at init or join.
pub const ENGINE_STATE: &str = "docker-state.json";
/// Managers that the node knows, itself included.
pub const KNOWN_MANAGERS: &str = "state.json";
/// Directory of the raft log.
pub const WAL_DIR: &str = "raft/wal-v3-encrypted";
/// Directory of the snapshots of the raft log.
pub const SNAP_DIR: &str = "raft/snap-v3-encrypted";

/// Maximum size in bytes of certificates, keys and JSON files. They have a few kB; an engine did not write
/// a larger one.
const SMALL_FILE_MAX: u64 = 1 << 20;

/// An open state directory. It keeps the directory itself open, so that renaming it does not redirect later reads of
/// files. Listings ([`StateDir::names`], [`StateDir::survey`]) go by its path.
#[derive(Debug)]
pub struct StateDir {
    root: PathBuf,
    fd: OwnedFd,
}

impl StateDir {
    /// Opens `root`. The path may lead through symbolic links (a moved data-root often does).
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, Error> {
        let root = root.into();
        let dir = File::open(&root).map_err(Error::read(&root))?;
        if !dir.metadata().map_err(Error::read(&root))?.is_dir() {
            return Err(Error::read(&root)(io::ErrorKind::NotADirectory.into()));
        }
        Ok(Self { root, fd: dir.into() })
    }

    /// Returns the path at which this directory was opened.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Opens a regular file for reading; `None` if there is none of that name.
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

    /// Reads a file as [`StateDir::read_small`] does. If the file is missing, this is not a manager's state and an
    /// error is returned.
    pub fn read_required(&self, relative: &str) -> Result<Vec<u8>, Error> {
        let missing = || Error::Missing { root: self.root.clone(), file: relative.to_owned() };
        self.read_small(relative)?.ok_or_else(missing)
    }

    /// Returns the names in a directory below the root, sorted; empty if there is no such directory. A symbolic link on the
    /// way is an error.
    pub fn names(&self, relative: &str) -> Result<Vec<String>, Error> {
        let path = self.root.join(relative);
        let listed = match open_directory(&self.fd, Path::new(relative)) {
            Ok(mut directory) => list(&mut directory),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        };
        // An engine writes no name that is not UTF-8; the survey lists it.
        let readable = listed.map_err(Error::read(path))?.into_iter().filter_map(|name| name.into_string().ok());
        let mut names: Vec<String> = readable.collect();
        names.sort();
        Ok(names)
    }
}

/// Whether an engine needs this file or directory to start. Without it, or with a link in its place, the state
/// is not complete.
pub fn is_needed(relative: &Path) -> bool {
    let files = [NODE_CERT, NODE_CERT_NEXT, NODE_KEY, ROOT_CA, ENGINE_STATE, KNOWN_MANAGERS];
    let directories = ["certificates", "raft", WAL_DIR, SNAP_DIR];
    let is_in = |dir: &str, ending: &str| {
        relative.parent() == Some(Path::new(dir)) && relative.extension() == Some(OsStr::new(ending))
    };
    let named = files.into_iter().chain(directories).any(|path| relative == Path::new(path));
    named || is_in(WAL_DIR, "wal") || is_in(SNAP_DIR, "snap")
}

/// Whether an engine may have written this file: the files that it needs, and those that its repairs
/// and migrations left.
pub fn is_engines(relative: &Path) -> bool {
    let in_raft = relative.starts_with("raft");
    let ending = |ending: &str| relative.extension() == Some(OsStr::new(ending));
    is_needed(relative) || in_raft && ["wal", "snap", "broken"].into_iter().any(ending)
}

/// Opens a path component by component, so that a link planted in the middle is refused too.
fn open_below(root: &OwnedFd, relative: &Path) -> io::Result<File> {
    // Without O_NONBLOCK a planted pipe would block the agent for ever.
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

/// Opens a directory component by component, to list it: an empty path is the root. A listing has a position, so this
/// is never a second descriptor of an open one.
fn open_directory(root: &OwnedFd, relative: &Path) -> io::Result<Dir> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let from: OwnedFd = match relative.parent() {
        Some(_) => open_below(root, relative)?.into(),
        None => root.try_clone()?,
    };
    Ok(Dir::from_fd(openat(&from, ".", flags, Mode::empty())?)?)
}

/// The names in a directory, in no order.
fn list(directory: &mut Dir) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in directory.iter() {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name != "." && name != ".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

#[cfg(test)]
pub(super) mod tests {
    use std::{fs, os::unix::fs::symlink};

    use nix::unistd::mkfifo;

    use super::*;

    pub fn dir_with(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        dir
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

        // The path may lead through a link; the open directory stays the same when the link's target is renamed.
        symlink(&state, dir.path().join("swarm")).unwrap();
        let linked = StateDir::open(dir.path().join("swarm")).unwrap();
        fs::rename(&state, dir.path().join("aside")).unwrap();
        assert!(linked.read_small("raft/file").unwrap().is_some());
    }

    #[test]
    fn listings_follow_no_link_and_stay_in_the_directory_that_was_opened() {
        let dir =
            dir_with(&["elsewhere/wal-v3-encrypted/0.wal", "linked/state.json", "state/raft/wal-v3-encrypted/1.wal"]);
        symlink("../elsewhere", dir.path().join("linked/raft")).unwrap();
        let linked = StateDir::open(dir.path().join("linked")).unwrap();
        for listed in ["raft", WAL_DIR] {
            assert!(matches!(linked.names(listed), Err(Error::Read { .. })), "{listed}");
        }
        let survey = linked.survey().unwrap();
        let kinds: Vec<_> = survey.found.iter().map(|found| (found.path.to_str().unwrap(), found.kind)).collect();
        assert_eq!(kinds, [("raft", FileKind::Symlink), ("state.json", FileKind::File)]);
        assert!(!survey.has_log());

        let state = StateDir::open(dir.path().join("state")).unwrap();
        fs::rename(dir.path().join("state"), dir.path().join("aside")).unwrap();
        fs::rename(dir.path().join("linked"), dir.path().join("state")).unwrap();
        // Twice: one listing does not begin where another one ended.
        for _ in 0..2 {
            assert_eq!(state.names(WAL_DIR).unwrap(), ["1.wal"]);
            assert_eq!(state.names("").unwrap(), ["raft"]);
            assert!(state.survey().unwrap().has_log());
        }
        assert_eq!(state.names("absent").unwrap(), [""; 0]);
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
