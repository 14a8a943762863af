//! Whether what lies in a state directory goes into an archive, found out before the engine is touched.
//!
//! What an engine starts from must be there, as a plain file or directory of a size that the archive takes: else the
//! backup is refused. What no engine wrote is not worth failing for: it is kept where it can be, and else left out, listed
//! and told.

use std::{
    fs::{self, Metadata},
    io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use swarmdr_archive::{EntryPath, Limits, limits::SIZE_MAX};

use crate::{
    fault::Fault,
    host::{
        mirror::{Handling, LeftOut},
        mounts,
        space::human_bytes,
    },
    swarm::state_dir::{FileKind, Reason, Verdict, WAL_DIR, classify, is_engines, is_needed},
};

/// More than a segment of the log has. An engine writes nothing else of this size but snapshots.
const STRAY_MAX: u64 = 64 * 1024 * 1024;

/// The list of this many files still fits into the archive's own.
const ENTRIES_MAX: u64 = 50_000;

const NOT_A_FILE: &str = "neither a file nor a directory";
const BAD_NAME: &str = "its name does not go into an archive: not UTF-8, a control character, a backslash, or too long";
const TOO_LARGE: &str = "larger than anything that an engine writes under such a name";

/// What a backup does with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fit {
    Keep,
    /// A file that only ever grows at its end.
    KeepLog,
    LeaveOut(&'static str),
    /// No engine wrote it, and the archive does not take it.
    Stray(&'static str),
    /// An engine needs it, and the archive does not take it.
    Refuse(&'static str),
}

/// What a look at the whole directory found.
#[derive(Debug, Default)]
pub struct Fitness {
    /// Bytes on disk of what is kept.
    pub allocated: u64,
    /// What is left out although no engine wrote it, in words.
    pub notes: Vec<String>,
    /// No hindrance to a backup; but a restore replaces the directory by one rename.
    pub mounted: Option<String>,
    entries: u64,
    /// Bytes of all files that are kept, holes counted.
    size: u64,
    largest: Option<(u64, PathBuf)>,
    strays: Vec<LeftOut>,
    refused: Option<(PathBuf, &'static str)>,
}

/// As [`crate::host::mirror`] wants to know it.
pub fn handling(path: &Path, metadata: &Metadata) -> Handling {
    match fit(path, metadata) {
        Fit::Keep => Handling::Keep,
        Fit::KeepLog => Handling::KeepLog,
        Fit::LeaveOut(why) | Fit::Stray(why) => Handling::LeaveOut(why),
        // Its size may be told by whoever packs it; what is no file must not be opened.
        Fit::Refuse(_) if metadata.is_file() => Handling::Keep,
        Fit::Refuse(why) => Handling::LeaveOut(why),
    }
}

fn fit(path: &Path, metadata: &Metadata) -> Fit {
    let kind = metadata.file_type();
    let unfit = |why| if is_needed(path) { Fit::Refuse(why) } else { Fit::Stray(why) };
    match classify(path, FileKind::of(kind)) {
        Verdict::LeaveOut(Reason::RaftTemporary) => {
            Fit::LeaveOut("preallocated or half-written: the engine would take it as its next log segment")
        }
        Verdict::LeaveOut(Reason::WorkerState) => {
            Fit::LeaveOut("tasks of this node, some with credentials in clear; the engine makes it anew")
        }
        Verdict::LeaveOut(Reason::Socket) if !is_needed(path) => {
            Fit::LeaveOut("a socket exists only while its process does")
        }
        Verdict::LeaveOut(Reason::Socket | Reason::NotAFile) => unfit(NOT_A_FILE),
        Verdict::Keep if EntryPath::in_state(path).is_err() => unfit(BAD_NAME),
        Verdict::Keep if kind.is_file() && is_too_large(path, metadata.len()) => unfit(TOO_LARGE),
        Verdict::Keep if kind.is_file() && path.starts_with(WAL_DIR) => Fit::KeepLog,
        Verdict::Keep => Fit::Keep,
    }
}

fn is_too_large(path: &Path, size: u64) -> bool {
    size > SIZE_MAX || size > STRAY_MAX && !is_engines(path)
}

/// Those of the left out that no engine wrote, in words.
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

/// Whatever bytes a name has.
pub fn shown(path: &Path) -> String {
    match path.to_str() {
        Some(text) if !text.contains(char::is_control) => text.to_owned(),
        _ => path.as_os_str().as_bytes().escape_ascii().to_string(),
    }
}

impl Fitness {
    /// Looks at a directory that an engine may be writing to. Refuses (exit 4) what could not become a backup.
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

    /// Whether to look inside.
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
            Fit::LeaveOut(_) => {}
            Fit::Stray(why) => self.strays.push(LeftOut { path: path.to_owned(), why }),
            Fit::Refuse(why) => self.refused = Some((path.to_owned(), why)),
        }
        false
    }

    fn check(&self, state_dir: &Path) -> Result<()> {
        let refuse = |what: String, advice: &str| Err(Fault::refused(what).advice(advice).into());
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
        exit::Exit,
        fault::Rendered,
        host::{copy::Patience, mirror::Writer},
        shutdown::Shutdown,
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

    /// Junk of every type, beside what an engine wrote.
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
        snapshot.copy(Writer::Still, &Patience { shutdown: &shutdown, until: None }).expect("copies");
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
