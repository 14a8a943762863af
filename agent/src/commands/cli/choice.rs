//! Arguments that several verbs share: which backups are meant, and which keys open them.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueHint};
use clap_complete::ArgValueCandidates;
use jiff::Timestamp;
use swarmdr_archive::{BackupId, ClusterId};
use swarmdr_vault::catalog::Filter;

use super::{candidates, time};
use crate::{archive::source, config::length};

/// Which backup is meant; exactly one way of saying it.
#[derive(Debug, Args)]
pub struct Choice {
    /// The backup with this id
    #[arg(value_name = "ID", group = "choice", add = ArgValueCandidates::new(candidates::backup_ids))]
    pub id: Option<BackupId>,

    /// The newest backup that verifies
    #[arg(long, group = "choice")]
    pub latest: bool,

    /// An archive in a file instead of a vault
    #[arg(long, value_name = "PATH", group = "choice", value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,

    /// Accept the newest backup of the vaults that can be reached, though another may hold a newer one
    #[arg(long)]
    pub any_vault: bool,

    #[command(flatten)]
    pub among: Among,
}

impl Choice {
    /// True if it names one backup, and not all that are admitted.
    pub fn is_of_one(&self) -> bool {
        self.file.is_some() || self.latest || self.id.is_some()
    }

    /// Returns what is meant; ages are counted from `now`.
    pub fn meant(&self, now: Timestamp) -> source::Choice {
        match &self.file {
            Some(file) => source::Choice::File(file.clone()),
            None => source::Choice::Vaults(Filter { id: self.id, ..self.admitted(now) }),
        }
    }

    /// Returns the filter of all that is admitted, whichever of them is meant.
    pub fn admitted(&self, now: Timestamp) -> Filter {
        Filter { any_vault: self.any_vault, ..self.among.filter(now) }
    }
}

/// Which backups come into question.
#[derive(Debug, Clone, Default, Args)]
pub struct Among {
    /// Only backups of this cluster
    #[arg(long, value_name = "CLUSTER", add = ArgValueCandidates::new(candidates::clusters))]
    pub cluster: Option<ClusterId>,

    /// Only backups taken before this time, as in 2026-11-21T10:15 (UTC)
    #[arg(long, value_name = "TIME", value_parser = time::moment)]
    pub before: Option<Timestamp>,

    /// Only backups that are not older than this: 90m, 26h, 3d, 2w
    #[arg(long, value_name = "LENGTH", value_parser = length::parse_age)]
    pub max_age: Option<Duration>,
}

impl Among {
    /// Whether all backups come into question.
    pub fn is_open(&self) -> bool {
        self.cluster.is_none() && self.before.is_none() && self.max_age.is_none()
    }

    /// Returns the filter of the backups that the flags admit; ages are counted from `now`.
    pub fn filter(&self, now: Timestamp) -> Filter {
        Filter {
            cluster: self.cluster.clone(),
            before: self.before,
            after: self.max_age.and_then(|age| now.checked_sub(age).ok()),
            ..Filter::default()
        }
    }
}

/// What is needed to believe and to open an archive, beyond the configuration.
#[derive(Debug, Args)]
pub struct Trust {
    /// Trust signatures of this key too: `RW…` or the absolute path of a .pub file (repeatable)
    #[arg(long = "trust", value_name = "KEY")]
    pub keys: Vec<String>,

    /// Open encrypted archives with the age identities in this file (repeatable)
    #[arg(long = "identity", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub identities: Vec<PathBuf>,
}

/// What opens an autolocked state; from a file, since anyone can read arguments.
#[derive(Debug, Args)]
pub struct Unlock {
    /// Open autolocked states with the unlock key (`SWMKEY-1-…`) in this file, instead of the configured one
    #[arg(long = "unlock-key", alias = "unlock-key-file", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub key_file: Option<PathBuf>,
}
