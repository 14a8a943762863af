//! What a restore is about to do, on disk before it is done.
//!
//! One file in the agent's scratch directory of the data root, so on the filesystem of the state that is moved. It is
//! replaced as a whole, by rename and with flushes, before each phase; whoever finds it knows how far a run came that
//! was killed. When all is done it stays as the receipt: which backup this host was restored from, and when.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use jiff::Timestamp;
use rustix::{fs::FallocateFlags, io::Errno};
use serde::{Deserialize, Serialize};
use swarmdr_archive::{BackupId, manifest::Counts};

use super::plan::RestorePlan;
use crate::{fault::Fault, faults, host::placement, swarm::Inventory, whole_file};

/// Raised when an older agent could misread the file.
const VERSION: u32 = 1;

/// Reserved for notes beyond twice the record, in bytes: for the file's name, and filesystems that allocate in large units.
const NOTES: u64 = 256 * 1024;

/// Reserved for the old engine, in bytes, which writes to its disk when it starts: a log segment that it allocates in
/// advance (64 MB, etcd `wal/file_pipeline.go`), and what is small beside that. With less it comes up without its swarm
/// (seen on 26.1.5 with none and with 16 MiB: `write …/worker/tasks.db: no space left on device`).
pub(crate) const START: u64 = 80 * 1024 * 1024;

const NOTES_FILE: &str = "restore.reserve-notes";
const START_FILE: &str = "restore.reserve-start";

/// Space that is kept for later, in files beside the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reserve {
    /// For notes on a disk that is full.
    Notes,
    /// For the engine that is started on the way back.
    Start,
}

/// What is being done, or was about to be. In the order of a restore that works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The new state is staged; nothing of the host has changed.
    Ready,
    Stop,
    Aside,
    Place,
    Start,
    /// The key of an autolocked state lies open on disk.
    Unlock,
    /// The engine was asked, or is about to be: what it has is a running swarm from here on.
    Init,
    /// At another address: this host's engine joins the swarm of a second one.
    Join,
    /// The old manager is asked to be none, or is about to be: from here on the swarm may be this host's alone.
    Demote,
    /// It is.
    Remove,
    Confirm,
    /// The way back.
    Undo,
    /// A receipt.
    Done,
}

/// The file's content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub version: u32,
    pub phase: Phase,
    /// When the run began.
    pub begun_at: Timestamp,
    pub plan: RestorePlan,
    /// Where the state that was there is moved to; `None` if there was none.
    pub aside: Option<PathBuf>,
    pub counts: Counts,
    /// What must come back. Not kept in a receipt.
    pub recorded: Option<Inventory>,
    /// At another address: the node that this host became. Absent until it has the whole state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joined: Option<String>,
    /// `swarm-node.key` of an autolocked state as it was backed up, closed: it takes the place of the open one.
    pub locked_key: Option<String>,
    /// The receipt of an earlier restore: valid again if this one is undone.
    pub previous: Option<Box<Record>>,
}

/// A restore that is under way, or a receipt.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    pub record: Record,
}

impl Phase {
    /// The same word as in the file.
    pub fn word(self) -> &'static str {
        match self {
            Phase::Ready => "ready",
            Phase::Stop => "stop",
            Phase::Aside => "aside",
            Phase::Place => "place",
            Phase::Start => "start",
            Phase::Unlock => "unlock",
            Phase::Init => "init",
            Phase::Join => "join",
            Phase::Demote => "demote",
            Phase::Remove => "remove",
            Phase::Confirm => "confirm",
            Phase::Undo => "undo",
            Phase::Done => "done",
        }
    }
}

impl Record {
    pub fn new(
        begun_at: Timestamp,
        plan: RestorePlan,
        aside: Option<PathBuf>,
        counts: Counts,
        recorded: Inventory,
    ) -> Self {
        Self {
            version: VERSION,
            phase: Phase::Ready,
            begun_at,
            plan,
            aside,
            counts,
            recorded: Some(recorded),
            joined: None,
            locked_key: None,
            previous: None,
        }
    }

    /// The backup that a receipt is about.
    pub fn restored(&self) -> Option<(BackupId, Timestamp)> {
        (self.phase == Phase::Done).then_some((self.plan.id, self.begun_at))
    }
}

impl Journal {
    /// What the last restore left in this data root; `None` if there was none.
    pub fn read(data_root: &Path) -> Result<Option<Self>> {
        let path = path_in(data_root);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text.with_context(|| format!("failed to read the journal {}", path.display()))?,
        };
        let parsed = serde_json::from_str::<Record>(&text).map_err(anyhow::Error::new).and_then(|record| {
            anyhow::ensure!(record.version == VERSION, "it is of version {}", record.version);
            Ok(record)
        });
        let record = parsed.map_err(|cause| {
            Fault::failed(format!("{} is no journal that this agent can go on with", path.display()))
                .advice("run the version of the agent that wrote it")
                .advice("or look which directory beside it is the state to keep, and move the journal away")
                .because(cause)
        })?;
        Ok(Some(Self { path, record }))
    }

    /// Writes the first record; from here on the restore can be found by a later run.
    pub fn begin(data_root: &Path, mut record: Record) -> Result<Self> {
        let before = Self::read(data_root)?.map(|journal| journal.record).filter(|record| record.phase == Phase::Done);
        record.previous = before.map(|before| Box::new(Record { previous: None, ..before }));
        let journal = Self { path: path_in(data_root), record };
        let make = DirBuilder::new().recursive(true).mode(0o700).create(journal.dir());
        make.with_context(|| format!("failed to make {}", journal.dir().display()))?;
        sync_dir(data_root).with_context(|| format!("failed to flush {}", data_root.display()))?;
        let begun = journal.reserve().and_then(|()| journal.write());
        begun.inspect_err(|_| journal.release_all())?;
        Ok(journal)
    }

    /// Keeps space for what is written later: forming a swarm is what fills a disk, and going back needs some.
    fn reserve(&self) -> Result<()> {
        let record = serde_json::to_vec_pretty(&self.record)?.len() as u64;
        for (reserve, size) in [(Reserve::Notes, 2 * record + NOTES), (Reserve::Start, START)] {
            let path = self.path_of(reserve);
            let allocate = || -> Result<()> {
                let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
                match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, size) {
                    // Filesystems that copy on write cannot promise space: ZFS, some network ones.
                    Err(Errno::OPNOTSUPP) => {}
                    allocated => allocated?,
                }
                Ok(file.sync_all()?)
            };
            allocate().with_context(|| format!("failed to reserve {size} bytes in {}", path.display()))?;
        }
        Ok(())
    }

    fn path_of(&self, reserve: Reserve) -> PathBuf {
        self.dir().join(match reserve {
            Reserve::Notes => NOTES_FILE,
            Reserve::Start => START_FILE,
        })
    }

    /// Says what is done next; the caller does it after this.
    pub fn enter(&mut self, phase: Phase) -> Result<()> {
        self.record.phase = phase;
        self.write()
    }

    /// All is done: keeps the receipt.
    pub fn finish(&mut self) -> Result<()> {
        let Record { recorded, locked_key, previous, .. } = &mut self.record;
        (*recorded, *locked_key, *previous) = (None, None, None);
        let written = self.enter(Phase::Done);
        self.release_all();
        written
    }

    /// The restore did not take place: what the last one left is valid again.
    pub fn forget(mut self) -> Result<()> {
        self.release_all();
        if let Some(previous) = self.record.previous.take() {
            self.record = *previous;
            return self.write();
        }
        let remove = || -> io::Result<()> {
            fs::remove_file(&self.path)?;
            sync_dir(self.dir())
        };
        remove().with_context(|| format!("failed to remove the journal {}", self.path.display()))
    }

    fn dir(&self) -> &Path {
        self.path.parent().expect("it lies in the scratch directory")
    }

    fn write(&self) -> Result<()> {
        let write = || {
            faults::fail(&format!("journal-{}", self.record.phase.word()))?;
            whole_file::replace_json(&self.path, &self.record)
        };
        let mut written = write();
        if matches!(&written, Err(error) if is_full(error)) && self.release(Reserve::Notes) {
            written = write();
        }
        written.with_context(|| format!("failed to write the journal {}", self.path.display()))
    }

    /// Gives reserved space back; false if there is none any more.
    pub(super) fn release(&self, reserve: Reserve) -> bool {
        fs::remove_file(self.path_of(reserve)).is_ok()
    }

    /// The same for space that a run reserved whose journal is gone.
    pub(super) fn release_left(data_root: &Path) {
        for name in [NOTES_FILE, START_FILE] {
            let _ = fs::remove_file(placement::work_dir(data_root).join(name));
        }
    }

    fn release_all(&self) {
        for reserve in [Reserve::Notes, Reserve::Start] {
            self.release(reserve);
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn path_in(data_root: &Path) -> PathBuf {
    placement::work_dir(data_root).join("restore.json")
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restore::plan::tests::a_plan;

    fn record(data_root: &Path) -> Record {
        let recorded = crate::inspection::tests::inventory_of(crate::swarm::inventory::Cluster::default());
        let now = "2026-11-21T12:00:00Z".parse().expect("is a time");
        Record::new(now, a_plan(data_root), Some(data_root.join("swarm.before-ID")), Counts::default(), recorded)
    }

    #[test]
    fn what_was_written_is_found_and_the_last_phase_counts() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        assert!(Journal::read(dir.path()).expect("reads nothing").is_none());
        let mut journal = Journal::begin(dir.path(), record(dir.path())).expect("writes");
        journal.enter(Phase::Place).expect("writes");
        let found = Journal::read(dir.path()).expect("reads").expect("is there");
        assert_eq!(found.record, Record { phase: Phase::Place, ..record(dir.path()) });
        assert_eq!(found.record.restored(), None);
        found.forget().expect("removes");
        assert!(Journal::read(dir.path()).expect("reads nothing").is_none());
    }

    #[test]
    fn space_is_kept_until_the_end() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let work_dir = placement::work_dir(dir.path());
        let names = || fs::read_dir(&work_dir).expect("lists").count();
        let mut journal = Journal::begin(dir.path(), record(dir.path())).expect("writes");
        assert_eq!(names(), 3);
        assert_eq!(fs::metadata(journal.path_of(Reserve::Start)).expect("is there").len(), START);
        journal.enter(Phase::Undo).expect("writes");
        assert_eq!(names(), 3, "nothing is given up without need");
        journal.finish().expect("writes");
        assert_eq!(names(), 1);
    }

    #[test]
    fn a_receipt_outlives_a_restore_that_was_undone() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let mut first = Journal::begin(dir.path(), record(dir.path())).expect("writes");
        first.finish().expect("writes");
        let receipt = Journal::read(dir.path()).expect("reads").expect("is there").record;
        assert_eq!(receipt.restored().expect("is one").0, receipt.plan.id);
        assert_eq!((&receipt.recorded, &receipt.locked_key), (&None, &None));

        let second = Journal::begin(dir.path(), record(dir.path())).expect("writes");
        assert_eq!(Journal::read(dir.path()).expect("reads").expect("is there").record.phase, Phase::Ready);
        second.forget().expect("goes back");
        assert_eq!(Journal::read(dir.path()).expect("reads").expect("is there").record, receipt);
    }

    #[test]
    fn what_is_not_understood_is_an_error_that_names_the_file() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let later = Record { version: VERSION + 1, ..record(dir.path()) };
        for text in ["{".to_owned(), serde_json::to_string(&later).expect("serialises")] {
            fs::create_dir_all(placement::work_dir(dir.path())).expect("creates");
            fs::write(path_in(dir.path()), text).expect("writes");
            let error = Journal::read(dir.path()).expect_err("is refused");
            assert!(error.to_string().contains("restore.json"), "{error}");
        }
    }

    #[test]
    fn phases_have_one_name() {
        for phase in [Phase::Ready, Phase::Stop, Phase::Unlock, Phase::Init, Phase::Join, Phase::Demote, Phase::Done] {
            assert_eq!(serde_json::to_value(phase).expect("serialises"), phase.word());
        }
    }
}
