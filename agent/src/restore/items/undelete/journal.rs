//! What a run has made in a swarm, on disk: an undo, or the next run, finds it however this one ends.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use swarm_state::inventory::ObjectKind;
use swarmdr_archive::ClusterId;

use super::request::Request;
use crate::{host::files::whole_file, outcome::failure::Failure};

/// Version of the file. Raised when an older agent could misread it.
const VERSION: u32 = 1;

/// The journal of one run. There is one for each swarm, in the state directory of the host from which it is changed.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    pub record: Record,
}

/// The content of the journal. It has names and ids, and no values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub version: u32,
    pub begun_at: Timestamp,
    /// The operator's wishes, to find out whether another run has the same. The backup is none of them: `--latest` is
    /// another one after the next backup.
    pub request: Request,
    /// Whether everything was made, and only the end of the run is missing.
    pub complete: bool,
    /// In the order in which they were made.
    pub entries: Vec<Entry>,
}

/// One object that is about to be made, or is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub kind: ObjectKind,
    /// Name in the living swarm.
    pub name: String,
    pub outcome: Outcome,
}

/// What is known of the making.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The engine was asked to create it, or is about to be, and there is no answer.
    Asked,
    /// It has this id.
    Created { id: String },
    /// The service of this id is about to get another spec. The one that it has is in this file.
    Updating { id: String, saved: PathBuf },
    /// The service of this id has got another spec.
    Updated { id: String, saved: PathBuf },
    /// One that somebody else made at the same time is used.
    Adopted,
    /// A secret or a config that no service uses is removed, or about to be, since another one takes its name. A
    /// config is in this file; the value of a secret cannot be read.
    Removed { saved: Option<PathBuf> },
}

impl Entry {
    /// Returns kind and name, as in messages.
    pub fn described(&self) -> String {
        format!("{} `{}`", self.kind, self.name)
    }

    /// Whether the swarm surely has what the run made.
    pub fn is_made(&self) -> bool {
        matches!(self.outcome, Outcome::Created { .. } | Outcome::Updated { .. })
    }
}

impl Record {
    pub fn new(begun_at: Timestamp, request: Request) -> Self {
        Self { version: VERSION, begun_at, request, complete: false, entries: Vec::new() }
    }
}

/// Directory of all journals, and of the specs that were replaced.
pub fn directory(state_dir: &Path) -> PathBuf {
    state_dir.join("undelete")
}

impl Journal {
    /// Reads the journal of a run that did not end; `None` if there is none.
    pub fn read(state_dir: &Path, cluster: &ClusterId) -> Result<Option<Self>> {
        let path = path_in(state_dir, cluster);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text.with_context(|| format!("failed to read the journal {}", path.display()))?,
        };
        let parse = || -> Result<Record> {
            let record: Record = serde_json::from_str(&text)?;
            ensure!(record.version == VERSION, "it is of version {}", record.version);
            Ok(record)
        };
        let record = parse().map_err(|cause| {
            Failure::failed(format!("{} is not a journal that this agent can continue", path.display()))
                .advice("run the version of the agent that wrote it")
                .advice("or look in the swarm for what it names, and move the journal away")
                .because(cause)
        })?;
        Ok(Some(Self { path, record }))
    }

    /// Writes the first record, before anything is made.
    pub fn begin(state_dir: &Path, cluster: &ClusterId, record: Record) -> Result<Self> {
        let dir = directory(state_dir);
        let make = DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        make.with_context(|| format!("failed to make {}", dir.display()))?;
        sync(state_dir).with_context(|| format!("failed to flush {}", state_dir.display()))?;
        let journal = Self { path: path_in(state_dir, cluster), record };
        journal.write()?;
        Ok(journal)
    }

    /// Records that something is about to be made; the caller acts after this.
    pub fn note(&mut self, kind: ObjectKind, name: &str, outcome: Outcome) -> Result<()> {
        self.record.entries.push(Entry { kind, name: name.to_owned(), outcome });
        self.write()
    }

    /// Records what has become of the last entry. In memory it is recorded also if the file cannot be written.
    pub fn settle(&mut self, outcome: Outcome) -> Result<()> {
        if let Some(last) = self.record.entries.last_mut() {
            last.outcome = outcome;
        }
        self.write()
    }

    /// Drops an entry, by its place, that was undone or never made. In memory it is dropped also if the file cannot be
    /// written.
    pub fn forget(&mut self, at: usize) -> Result<()> {
        if at < self.record.entries.len() {
            self.record.entries.remove(at);
        }
        self.write()
    }

    /// Records that everything was made.
    pub fn complete(&mut self) -> Result<()> {
        self.record.complete = true;
        self.write()
    }

    /// Removes the journal: the run has ended.
    pub fn finish(&self) -> Result<()> {
        let remove = || -> io::Result<()> {
            fs::remove_file(&self.path)?;
            self.path.parent().map_or(Ok(()), sync)
        };
        remove().with_context(|| format!("failed to remove the journal {}", self.path.display()))
    }

    fn write(&self) -> Result<()> {
        let written = whole_file::replace_json(&self.path, &self.record);
        written.with_context(|| format!("failed to write the journal {}", self.path.display()))
    }
}

fn path_in(state_dir: &Path, cluster: &ClusterId) -> PathBuf {
    directory(state_dir).join(format!("{cluster}.json"))
}

fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster() -> ClusterId {
        "c1".parse().expect("is an id")
    }

    fn record() -> Record {
        Record::new("2026-11-21T12:00:00Z".parse().expect("is a time"), Request::default())
    }

    #[test]
    fn what_was_noted_is_found_by_the_next_run_against_the_same_swarm() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        assert!(Journal::read(dir.path(), &cluster()).expect("reads nothing").is_none());
        let mut journal = Journal::begin(dir.path(), &cluster(), record()).expect("writes");
        journal.note(ObjectKind::Secret, "key", Outcome::Asked).expect("writes");
        let found = || Journal::read(dir.path(), &cluster()).expect("reads").expect("is there").record;
        assert_eq!(found().entries[0].outcome, Outcome::Asked);
        journal.settle(Outcome::Created { id: "s1".to_owned() }).expect("writes");
        assert_eq!(found(), journal.record);
        assert!(!found().complete);
        journal.complete().expect("writes");
        assert!(found().complete);
        assert!(Journal::read(dir.path(), &"c2".parse().expect("is an id")).expect("reads nothing").is_none());
        journal.finish().expect("removes");
        assert!(Journal::read(dir.path(), &cluster()).expect("reads nothing").is_none());
    }

    #[test]
    fn what_is_not_understood_is_an_error_that_names_the_file() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let later = Record { version: VERSION + 1, ..record() };
        for text in ["{".to_owned(), serde_json::to_string(&later).expect("serialises")] {
            fs::create_dir_all(directory(dir.path())).expect("makes");
            fs::write(path_in(dir.path(), &cluster()), text).expect("writes");
            let error = Journal::read(dir.path(), &cluster()).expect_err("is refused");
            assert!(error.to_string().contains("c1.json"), "{error}");
        }
    }
}
