//! Whether the content of a state directory fits into an archive, checked before the engine is touched.
//!
//! The files and directories from which an engine starts must be plain ones, of a size that the archive takes;
//! otherwise the backup is refused. Files that no engine wrote are no reason to fail: they are kept if possible, and
//! otherwise excluded, listed and reported.

use std::{
    fs::{self, Metadata},
    io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use swarm_state::state_dir::{FileKind, Reason, Verdict, WAL_DIR, classify, is_engines, is_needed};
use swarmdr_archive::{EntryPath, Limits, limits::SIZE_MAX};

use crate::{
    host::files::{
        mirror::{Handling, LeftOut},
        mounts,
        space::human_bytes,
    },
    outcome::failure::Failure,
};

/// Largest file that is kept although no engine writes it, in bytes: more than a log segment has. The only larger files
/// that an engine writes are snapshots.
const STRAY_MAX: u64 = 64 * 1024 * 1024;

/// Most entries of a backup: a list of this many still fits into the archive's `contents.json`.
const ENTRIES_MAX: u64 = 50_000;

const NOT_A_FILE: &str = "neither a file nor a directory";
const BAD_NAME: &str = "its name does not go into an archive: not UTF-8, a control character, a backslash, or too long";
const TOO_LARGE: &str = "larger than anything that an engine writes under such a name";

/// Treatment of a path in a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fit {
    Keep,
    /// A file that only ever grows at its end.
    KeepLog,
    Exclude(&'static str),
    /// Excluded and reported: no engine wrote it, and the archive does not take it.
    Stray(&'static str),
    /// Reason to refuse the backup: an engine needs it, and the archive does not take it.
    Refuse(&'static str),
}

/// Result of the check of a whole directory.
#[derive(Debug, Default)]
pub struct Fitness {
    /// Allocated size of the files and directories that are kept, in bytes.
    pub allocated: u64,
    /// A line for each excluded path that no engine wrote.
    pub notes: Vec<String>,
    /// A line about mounts in the directory. They are no hindrance to a backup, but to a restore, which replaces the
    /// directory by one rename.
    pub mounted: Option<String>,
    entries: u64,
    /// Bytes of all files that are kept, counting holes.
    size: u64,
    largest: Option<(u64, PathBuf)>,
    strays: Vec<LeftOut>,
    refused: Option<(PathBuf, &'static str)>,
}

/// Treatment of a path in the terms of [`crate::host::files::mirror`].
pub fn handling(path: &Path, metadata: &Metadata) -> Handling {
    match fit(path, metadata) {
        Fit::Keep => Handling::Keep,
        Fit::KeepLog => Handling::KeepLog,
        Fit::Exclude(why) | Fit::Stray(why) => Handling::Exclude(why),
        // Packing reports what is wrong with a file; anything but a file must not be opened.
        Fit::Refuse(_) if metadata.is_file() => Handling::Keep,
        Fit::Refuse(why) => Handling::Exclude(why),
    }
}

fn fit(path: &Path, metadata: &Metadata) -> Fit {
    let kind = metadata.file_type();
    let unfit = |why| if is_needed(path) { Fit::Refuse(why) } else { Fit::Stray(why) };
    match classify(path, FileKind::of(kind)) {
        Verdict::Exclude(Reason::RaftTemporary) => {
            Fit::Exclude("preallocated or half-written: the engine would take it as its next log segment")
        }
        Verdict::Exclude(Reason::WorkerState) => {
            Fit::Exclude("tasks of this node, some with credentials in clear; the engine makes it again")
        }
        Verdict::Exclude(Reason::Socket) if !is_needed(path) => {
            Fit::Exclude("a socket exists only while its process does")
        }
        Verdict::Exclude(Reason::Socket | Reason::NotAFile) => unfit(NOT_A_FILE),
        Verdict::Keep if EntryPath::in_state(path).is_err() => unfit(BAD_NAME),
        Verdict::Keep if kind.is_file() && is_too_large(path, metadata.len()) => unfit(TOO_LARGE),
        Verdict::Keep if kind.is_file() && path.starts_with(WAL_DIR) => Fit::KeepLog,
        Verdict::Keep => Fit::Keep,
    }
}

fn is_too_large(path: &Path, size: u64) -> bool {
    size > SIZE_MAX || size > STRAY_MAX && !is_engines(path)
}

/// Returns a line for each excluded path that no engine wrote.
pub fn strays(left_out: &[LeftOut]) -> Vec<String> {
    let is_stray = |left: &&LeftOut| [NOT_A_FILE, BAD_NAME, TOO_LARGE].contains(&left.why);
    let told = |left: &LeftOut| {
        format!(
            "{} in the state directory is not in the backup ({}); no engine put it there",
            shown(&left.path),
            left.why
        )
    };
    left_out.iter().filter(is_stray).map(told).collect()
}

/// Text of a path that may have any bytes.
pub fn shown(path: &Path) -> String {
    match path.to_str() {
        Some(text) if !text.contains(char::is_control) => text.to_owned(),
        _ => path.as_os_str().as_bytes().escape_ascii().to_string(),
    }
}

impl Fitness {
    /// Checks a directory that an engine may be writing to. Refuses (exit 4) one that could not become a backup.
    pub fn of(state_dir: &Path) -> Result<Self> {
        let mut found = Self::default();
        let mut pending = vec![PathBuf::new()];
        while let Some(directory) = pending.pop() {
            let absolute = state_dir.join(&directory);
            let entries = match fs::read_dir(&absolute) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && directory != Path::new("") => continue,
                entries => entries.with_context(|| format!("failed to list {}", absolute.display()))?,
            };
            for entry in entries {
                let name = entry.with_context(|| format!("failed to list {}", absolute.display()))?.file_name();
                let path = directory.join(name);
                let metadata = match fs::symlink_metadata(state_dir.join(&path)) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    looked => looked.with_context(|| format!("failed to look at {}", shown(&state_dir.join(&path))))?,
                };
                if found.take_in(&path, &metadata) {
                    pending.push(path);
                }
            }
        }
        found.check(state_dir)?;
        found.notes = strays(&found.strays);
        found.mounted = mounted(state_dir)?;
        Ok(found)
    }

    /// Counts one path. Returns true for a directory to be listed.
    fn take_in(&mut self, path: &Path, metadata: &Metadata) -> bool {
        match fit(path, metadata) {
            Fit::Keep | Fit::KeepLog => {
                self.entries += 1;
                self.allocated += metadata.blocks() * 512;
                let size = if metadata.is_file() { metadata.len() } else { 0 };
                self.size = self.size.saturating_add(size);
                if self.largest.as_ref().is_none_or(|(largest, _)| *largest < size) {
                    self.largest = Some((size, path.to_owned()));
                }
                return metadata.is_dir();
            }
            Fit::Exclude(_) => {}
            Fit::Stray(why) => self.strays.push(LeftOut { path: path.to_owned(), why }),
            Fit::Refuse(why) => self.refused = Some((path.to_owned(), why)),
        }
        false
    }

    fn check(&self, state_dir: &Path) -> Result<()> {
        let refuse = |what: String, advice: &str| Err(Failure::refused(what).advice(advice).into());
        if let Some((path, why)) = &self.refused {
            return refuse(
                format!("{} cannot be backed up: {why}, and an engine needs it", shown(&state_dir.join(path))),
                "make it a plain file or directory, as an engine makes it: stop the engine, move what belongs there into its \
                 place, start the engine, and try again",
            );
        }
        let (entries, size) = (self.entries + self.strays.len() as u64, Limits::default().total_bytes);
        if entries <= ENTRIES_MAX && self.size <= size {
            return Ok(());
        }
        let largest = self.largest.as_ref().map_or_else(String::new, |(size, path)| {
            format!("; the largest is {} with {}", shown(path), human_bytes(*size))
        });
        refuse(
            format!(
                "{} holds {entries} files of {} in all, and an archive takes {ENTRIES_MAX} of {}{largest}",
                state_dir.display(),
                human_bytes(self.size),
                human_bytes(size)
            ),
            "move what no engine wrote out of it: an engine keeps a handful of files there",
        )
    }
}

fn mounted(state_dir: &Path) -> Result<Option<String>> {
    let points = mounts::within(state_dir)?;
    Ok((!points.is_empty()).then(|| {
        format!(
            "something is mounted at {}: `restore` and `recover-quorum` refuse that on this host",
            mounts::list(&points)
        )
    }))
}

#[cfg(test)]
mod tests {
    use std::{
        ffi::OsStr,
        fs::File,
        os::unix::{ffi::OsStrExt, fs::symlink, net::UnixListener},
    };

    use nix::{sys::stat::Mode, unistd::mkfifo};

    use super::*;
    use crate::{
        backup::snapshot::Snapshot,
        host::{
            files::{copy::CopyLimits, mirror::Writer},
            shutdown::Shutdown,
        },
        outcome::{exit::Exit, failure::Rendered},
    };

    const SEGMENT: &str = "raft/wal-v3-encrypted/0000000000000000-0000000000000000.wal";
    const SNAPSHOT: &str = "raft/snap-v3-encrypted/0000000000000001-0000000000000001.snap";

    fn state() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a scratch directory");
        for file in ["state/docker-state.json", "state/certificates/swarm-node.crt", &format!("state/{SEGMENT}")] {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().expect("has one")).expect("is made");
            fs::write(path, file).expect("is written");
        }
        fs::create_dir(dir.path().join("state/raft/snap-v3-encrypted")).expect("is made");
        dir
    }

    fn sparse(path: &Path, size: u64) {
        File::create(path).expect("is made").set_len(size).expect("grows");
    }

    /// Creates junk of every type next to the engine's files.
    fn plant(state: &Path) -> UnixListener {
        mkfifo(&state.join("pipe"), Mode::S_IRWXU).expect("is made");
        symlink("/etc", state.join("certificates/link")).expect("is made");
        fs::hard_link(state.join("docker-state.json"), state.join("hard-link")).expect("is made");
        fs::write(state.join(OsStr::from_bytes(b"latin-\xe9")), "x").expect("is written");
        fs::create_dir(state.join("raft/tab\there")).expect("is made");
        fs::write(state.join("raft/tab\there/inside"), "x").expect("is written");
        sparse(&state.join("sparse"), 9 << 30);
        sparse(&state.join("dump.sql"), STRAY_MAX + 1);
        fs::create_dir(state.join("worker")).expect("is made");
        UnixListener::bind(state.join("control.sock")).expect("binds")
    }

    #[test]
    fn junk_of_every_type_is_kept_or_left_out_and_told() {
        let dir = state();
        let state = dir.path().join("state");
        let _socket = plant(&state);
        let found = Fitness::of(&state).expect("nothing of it is worth failing for");
        let mut snapshot = Snapshot::begin(&state, &dir.path().join("snapshot")).expect("begins");
        let shutdown = Shutdown::default();
        snapshot.copy(Writer::Still, &CopyLimits { shutdown: &shutdown, deadline: None }).expect("copies");
        snapshot.complete().expect("completes");
        let mut told = snapshot.strays();
        let mut foretold = found.notes.clone();
        told.sort();
        foretold.sort();
        assert_eq!(told, foretold);
        for junk in ["pipe", "certificates/link", "latin-\\xe9", "raft/tab\\there", "sparse", "dump.sql"] {
            let line = format!("{junk} in the state directory is not in the backup");
            assert!(told.iter().any(|told| told.starts_with(&line)), "{junk} in {told:?}");
        }
        assert_eq!(told.len(), 6, "{told:?}");
        assert!(snapshot.dir().join("hard-link").exists() && snapshot.dir().join(SEGMENT).exists());
        for entry in &snapshot.copied.entries {
            EntryPath::in_state(&entry.path).expect("goes into the archive");
        }
    }

    #[test]
    fn what_an_engine_needs_is_not_left_out() {
        type Damage = fn(&Path);
        let damages: [(&str, Damage); 5] = [
            ("docker-state.json", |path| symlink("/elsewhere", path).expect("is made")),
            ("certificates/swarm-node.crt", |path| mkfifo(path, Mode::S_IRWXU).expect("is made")),
            (SEGMENT, |path| sparse(path, SIZE_MAX + 1)),
            (SNAPSHOT, |path| drop(UnixListener::bind(path).expect("binds"))),
            ("raft/snap-v3-encrypted", |path| symlink("/elsewhere", path).expect("is made")),
        ];
        for (file, damage) in damages {
            let dir = state();
            let path = dir.path().join("state").join(file);
            let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
            damage(&path);
            let rendered = Rendered::of(&Fitness::of(&dir.path().join("state")).expect_err("is refused"));
            assert!(rendered.exit == Exit::Refused && rendered.what.contains(file), "{rendered}");
            assert_eq!(rendered.advice.len(), 1, "{rendered}");
        }
    }

    #[test]
    fn a_snapshot_is_as_large_as_the_swarm_and_a_directory_is_not_as_full_as_a_disk() {
        let dir = state();
        let state = dir.path().join("state");
        sparse(&state.join(SNAPSHOT), 1 << 30);
        let found = Fitness::of(&state).expect("is a large swarm");
        assert_eq!(found.notes, Vec::<String>::new());
        for n in 0..9 {
            sparse(&state.join(format!("raft/snap-v3-encrypted/{n}.snap")), SIZE_MAX);
        }
        let rendered = Rendered::of(&Fitness::of(&state).expect_err("is refused"));
        assert!(rendered.exit == Exit::Refused && rendered.what.contains("the largest is raft/snap"), "{rendered}");
    }
}
