//! The backup that a standby keeps on its disk, for a day on which no vault answers: sealed as it was in the vault, and once
//! more as a state that was formed beforehand.
//!
//! One record names both files. It is replaced last, so it always names files that are whole; files that it does not name are
//! left of a run that was cut short, and the next one removes them.

use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use swarmdr_archive::{BackupId, ClusterId, Digest};

use crate::{config::Config, host::files::whole_file, outcome::failure::Failure};

/// Version of the record. Raised when an older agent could misread it.
const VERSION: u32 = 1;

const RECORD: &str = "kept.json";

/// Name of the key that signs states that were formed on this host. It is trusted on this host only.
const SEAL: &str = "seal.key";

/// What is kept, and what was found out about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    pub version: u32,
    pub backup: BackupId,
    pub cluster_id: ClusterId,
    /// Digest of the manifest of the backup.
    pub manifest: Digest,
    pub created_at: Timestamp,
    /// When the vault got it, by the vault's clock; absent if an older agent kept it. A key that ended later counts for it.
    #[serde(default)]
    pub stored: Option<Timestamp>,
    /// Vault that it came from.
    pub source: String,
    pub kept_at: Timestamp,
    /// Name of the archive's file in the directory.
    pub archive: String,
    /// The state that was formed beforehand; absent if there is none.
    pub formed: Option<Formed>,
    /// Why there is none, or why it is not needed.
    pub not_formed: Option<String>,
    /// What has to be looked after before a promotion.
    pub attention: Vec<String>,
    /// Set once this host serves: what is kept is history then.
    pub promoted_at: Option<Timestamp>,
}

/// A state that was formed beforehand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Formed {
    /// Name of its archive's file in the directory.
    pub archive: String,
    /// Digest of the manifest of its archive.
    pub manifest: Digest,
    /// Version of the engine that formed it.
    pub engine: String,
    /// The claim that the swarm carries.
    #[serde(default, skip_serializing_if = "Label::is_unknown")]
    pub claim: Label,
    pub at: Timestamp,
}

/// The claim that the swarm carries in a state, as its label has it: `null` in the record if it has none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Option<String>", into = "Option<String>")]
pub enum Label {
    /// Absent: the state was formed by an agent that knew no claims.
    #[default]
    Unknown,
    Nothing,
    Claim(String),
}

impl Label {
    fn is_unknown(&self) -> bool {
        *self == Self::Unknown
    }
}

impl From<Option<String>> for Label {
    fn from(label: Option<String>) -> Self {
        label.map_or(Self::Nothing, Self::Claim)
    }
}

impl From<Label> for Option<String> {
    fn from(label: Label) -> Self {
        match label {
            Label::Claim(label) => Some(label),
            Label::Unknown | Label::Nothing => None,
        }
    }
}

/// The directory of what is kept.
#[derive(Debug, Clone)]
pub struct Shelf {
    dir: PathBuf,
}

impl Shelf {
    pub fn of(config: &Config) -> Self {
        Self { dir: config.state_dir.join("standby") }
    }

    /// True if this host is, or was, a standby.
    pub fn is_there(&self) -> bool {
        self.dir.is_dir()
    }

    pub fn make(&self) -> Result<()> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.dir);
        made.with_context(|| format!("failed to make {}", self.dir.display()))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Path of the key that signs formed states, and of its public half.
    pub fn seal(&self) -> (PathBuf, PathBuf) {
        (self.path(SEAL), self.path(SEAL).with_extension("pub"))
    }

    /// Returns what is kept; `None` if there is nothing.
    pub fn read(&self) -> Result<Option<Kept>> {
        let path = self.path(RECORD);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text.with_context(|| format!("failed to read {}", path.display()))?,
        };
        let parsed = serde_json::from_str::<Kept>(&text).map_err(anyhow::Error::new).and_then(|kept| {
            anyhow::ensure!(kept.version == VERSION, "it is of version {}", kept.version);
            let names = [Some(&kept.archive), kept.formed.as_ref().map(|formed| &formed.archive)];
            anyhow::ensure!(names.into_iter().flatten().all(|name| is_plain(name)), "it names a file elsewhere");
            Ok(kept)
        });
        let kept = parsed.map_err(|cause| {
            Failure::failed(format!("{} does not say what is kept", path.display()))
                .advice("remove it, and run `swarmdr-agent standby`: it fetches the newest backup again")
                .because(cause)
        })?;
        Ok(Some(kept))
    }

    /// Replaces the record, and then removes the files that the new one does not name.
    pub fn replace(&self, kept: &Kept) -> Result<()> {
        let path = self.path(RECORD);
        whole_file::replace_json(&path, kept).with_context(|| format!("failed to write {}", path.display()))?;
        self.sweep(Some(kept));
        Ok(())
    }

    /// Removes the files that the record does not name, and logs those that stay. The caller is the one run that keeps.
    pub fn sweep(&self, kept: Option<&Kept>) {
        let (seal, public) = self.seal();
        let mut named = BTreeSet::from([self.path(RECORD), seal, public]);
        named.extend(kept.map(|kept| self.path(&kept.archive)));
        named.extend(kept.and_then(|kept| Some(self.path(&kept.formed.as_ref()?.archive))));
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten().filter(|it| !named.contains(&it.path())) {
            if let Err(error) = fs::remove_file(entry.path()) {
                tracing::warn!("{} could not be removed: {error}", entry.path().display());
            }
        }
    }

    /// Makes the renames of files in the directory durable.
    pub fn flush(&self) -> Result<()> {
        let flushed = fs::File::open(&self.dir).and_then(|dir| dir.sync_all());
        flushed.with_context(|| format!("failed to flush {}", self.dir.display()))
    }
}

impl Kept {
    pub fn path(&self, shelf: &Shelf) -> PathBuf {
        shelf.path(&self.archive)
    }

    /// True if it waits for a promotion.
    pub fn waits(&self) -> bool {
        self.promoted_at.is_none()
    }

    pub const fn version() -> u32 {
        VERSION
    }
}

/// Name of the file of a backup's archive.
pub fn archive_name(id: BackupId) -> String {
    format!("{id}.swarmdr")
}

/// Name of the file of a state that was formed from a backup.
pub fn formed_name(id: BackupId) -> String {
    format!("{id}.formed.swarmdr")
}

fn is_plain(name: &str) -> bool {
    Path::new(name).file_name().is_some_and(|file| file == name)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn kept(id: &str) -> Kept {
        let id: BackupId = id.parse().expect("is an id");
        Kept {
            version: VERSION,
            backup: id,
            cluster_id: "c".parse().expect("is an id"),
            manifest: Digest::of(b"manifest"),
            created_at: id.created_at(),
            stored: None,
            source: "s3://vault/prod".to_owned(),
            kept_at: id.created_at(),
            archive: archive_name(id),
            formed: None,
            not_formed: None,
            attention: Vec::new(),
            promoted_at: None,
        }
    }

    fn shelf(dir: &Path) -> Shelf {
        let shelf = Shelf::of(&Config { state_dir: dir.to_owned(), ..Config::default() });
        shelf.make().expect("makes");
        shelf
    }

    #[test]
    fn the_old_files_go_when_the_new_record_names_others() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let shelf = shelf(dir.path());
        assert_eq!(shelf.read().expect("reads"), None);
        let (old, new) = (kept("20261121T030000Z-00000001"), kept("20261122T030000Z-00000001"));
        for kept in [&old, &new] {
            fs::write(kept.path(&shelf), "sealed").expect("writes");
        }
        fs::write(shelf.seal().0, "key").expect("writes");
        shelf.replace(&old).expect("writes");
        assert!(!new.path(&shelf).exists(), "nothing names it yet");
        fs::write(new.path(&shelf), "sealed").expect("writes");
        shelf.replace(&new).expect("writes");
        assert_eq!(shelf.read().expect("reads"), Some(new.clone()));
        assert!(new.path(&shelf).exists() && !old.path(&shelf).exists() && shelf.seal().0.exists());
    }

    #[test]
    fn a_record_that_leads_elsewhere_or_is_of_another_version_is_refused() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let shelf = shelf(dir.path());
        let of = kept("20261121T030000Z-00000001");
        for wrong in [
            Kept { archive: "../../etc/passwd".to_owned(), ..of.clone() },
            Kept { archive: String::new(), ..of.clone() },
            Kept { version: VERSION + 1, ..of },
        ] {
            fs::write(shelf.path(RECORD), serde_json::to_vec(&wrong).expect("is JSON")).expect("writes");
            let error = shelf.read().expect_err("is refused");
            assert!(error.to_string().contains("kept.json"), "{error:#}");
        }
    }
    #[test]
    fn a_state_that_was_formed_before_claims_is_not_one_without_a_claim() {
        let digest = Digest::of(b"manifest");
        let formed = |claim: &str| {
            let text = format!(
                r#"{{"archive":"a","manifest":"{digest}","engine":"26.1.5"{claim},"at":"2026-11-21T10:00:00Z"}}"#
            );
            serde_json::from_str::<Formed>(&text).expect("is a record")
        };
        for (written, label) in [
            ("", Label::Unknown),
            (r#","claim":null"#, Label::Nothing),
            (r#","claim":"07""#, Label::Claim("07".to_owned())),
        ] {
            let read = formed(written);
            assert_eq!(read.claim, label);
            let again = serde_json::to_string(&read).expect("serialises");
            assert_eq!(serde_json::from_str::<Formed>(&again).expect("reads"), read, "it stays what it is");
        }
    }
}
