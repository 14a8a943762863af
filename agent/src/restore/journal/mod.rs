//! The write-ahead journal of a restore: each step is on disk before it is taken.
//!
//! One file in the agent's work directory below the data root, so on the filesystem of the state that is moved. It is
//! replaced as a whole, by rename and with flushes, before each phase, so a later run knows how far a killed one
//! had come. After a restore that succeeded it stays, complete, and says which backup this host was restored from, and
//! when.

mod phase;
mod record;
mod reserve;

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

pub use phase::Phase;
pub use record::Record;
use record::VERSION;
pub(super) use reserve::Reserve;
pub(crate) use reserve::START;

use super::images::renew::{Owed, OwedService, joined};
use crate::{
    host::files::{placement, whole_file},
    outcome::{failpoint, failure::Failure},
};
/// The journal of a restore that is under way or complete.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    pub record: Record,
}

impl Journal {
    /// Reads the journal of the last restore into this data root; `None` if there was none.
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
            Failure::failed(format!("{} is not a journal that this agent can continue", path.display()))
                .advice("run the version of the agent that wrote it")
                .advice("or find out which directory next to it is the state to keep, and move the journal away")
                .because(cause)
        })?;
        Ok(Some(Self { path, record }))
    }

    /// Writes the first record; from here on a later run finds the restore.
    pub fn begin(data_root: &Path, mut record: Record) -> Result<Self> {
        let before = Self::read(data_root)?.map(|journal| journal.record).filter(|record| record.phase == Phase::Done);
        record.previous = before.map(|before| Box::new(Record { previous: None, ..before }));
        let journal = Self { path: path_in(data_root), record };
        let make = DirBuilder::new().recursive(true).mode(0o700).create(journal.dir());
        make.with_context(|| format!("failed to make {}", journal.dir().display()))?;
        sync_dir(data_root).with_context(|| format!("failed to flush {}", data_root.display()))?;
        let begun = journal.reserve().and_then(|()| journal.write());
        begun.inspect_err(|_| release_all(journal.dir()))?;
        Ok(journal)
    }

    /// Records the next phase; the caller acts after this.
    pub fn enter(&mut self, phase: Phase) -> Result<()> {
        self.record.phase = phase;
        self.write()
    }

    /// Completes the journal.
    pub fn finish(&mut self) -> Result<()> {
        let Record { recorded, locked_key, previous, .. } = &mut self.record;
        (*recorded, *locked_key, *previous) = (None, None, None);
        let written = self.enter(Phase::Done);
        release_all(self.dir());
        written
    }

    /// Writes what was noted in the record of a completed journal.
    pub fn note(&self) -> Result<()> {
        self.write()
    }

    /// Notes in a completed journal that the services have followed their images, but for these.
    pub fn followed(&mut self, services: Vec<OwedService>) -> Result<()> {
        let follow = self.record.follow.take().unwrap_or_default();
        let earlier = self.record.owed.take().unwrap_or_default();
        let rules = joined(&follow, &earlier.rules);
        self.record.owed = (!services.is_empty()).then_some(Owed { rules, services });
        self.write()
    }

    /// Drops a restore that did not take place: the completed record of the one before is valid again.
    pub fn forget(mut self) -> Result<()> {
        release_all(self.dir());
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

    /// Reserves space for later writes.
    fn reserve(&self) -> Result<()> {
        let record = serde_json::to_vec_pretty(&self.record)?.len() as u64;
        Reserve::ALL.into_iter().try_for_each(|reserve| reserve.make(self.dir(), record))
    }

    /// Frees reserved space; false if there is none left.
    pub(super) fn release(&self, reserve: Reserve) -> bool {
        reserve.release(self.dir())
    }

    /// Frees space that a run reserved whose journal is gone.
    pub(super) fn release_left(data_root: &Path) {
        release_all(&placement::work_dir(data_root));
    }

    fn dir(&self) -> &Path {
        self.path.parent().expect("it lies in the scratch directory")
    }

    fn write(&self) -> Result<()> {
        let write = || {
            failpoint::fail(&format!("journal-{}", self.record.phase.word()))?;
            whole_file::replace_json(&self.path, &self.record)
        };
        let mut written = write();
        if matches!(&written, Err(error) if is_full(error)) && self.release(Reserve::Notes) {
            written = write();
        }
        written.with_context(|| format!("failed to write the journal {}", self.path.display()))
    }
}

fn release_all(dir: &Path) {
    for reserve in Reserve::ALL {
        reserve.release(dir);
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
    use swarmdr_archive::manifest::Counts;

    fn record(data_root: &Path) -> Record {
        let recorded = swarm_state::Inventory::empty(swarm_state::inventory::Cluster::default());
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
        assert_eq!(fs::metadata(Reserve::Start.path_in(journal.dir())).expect("is there").len(), START);
        journal.enter(Phase::Undo).expect("writes");
        assert_eq!(names(), 3, "nothing is given up without need");
        journal.finish().expect("writes");
        assert_eq!(names(), 1);
    }

    #[test]
    fn the_last_completed_restore_outlives_one_that_was_undone() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let mut first = Journal::begin(dir.path(), record(dir.path())).expect("writes");
        first.finish().expect("writes");
        let completed = Journal::read(dir.path()).expect("reads").expect("is there").record;
        assert_eq!(completed.restored().expect("is one").0, completed.plan.id);
        assert_eq!((&completed.recorded, &completed.locked_key), (&None, &None));

        let second = Journal::begin(dir.path(), record(dir.path())).expect("writes");
        assert_eq!(Journal::read(dir.path()).expect("reads").expect("is there").record.phase, Phase::Ready);
        second.forget().expect("goes back");
        assert_eq!(Journal::read(dir.path()).expect("reads").expect("is there").record, completed);
    }

    #[test]
    fn what_is_owed_keeps_its_rules() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let rules = |text: &[&str]| text.iter().map(|rule| rule.parse().expect("is a rule")).collect::<Vec<_>>();
        let mut journal = Journal::begin(dir.path(), record(dir.path())).expect("writes");
        journal.finish().expect("writes");
        let web = OwedService { id: "w1".to_owned(), image: "old/web".to_owned() };
        for (follow, services, expected) in [
            (Some(rules(&["old=new"])), vec![web.clone()], Some(rules(&["old=new"]))),
            (Some(rules(&["a=b"])), vec![web.clone()], Some(rules(&["a=b", "old=new"]))),
            (None, vec![web.clone()], Some(rules(&["a=b", "old=new"]))),
            (None, Vec::new(), None),
        ] {
            journal.record.follow = follow;
            journal.followed(services.clone()).expect("writes");
            journal = Journal::read(dir.path()).expect("reads").expect("is there");
            assert_eq!(
                (&journal.record.follow, &journal.record.owed),
                (&None, &expected.map(|rules| Owed { rules, services }))
            );
        }
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
}
