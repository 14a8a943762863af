//! What several verbs ask: which backups, and what opens them.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use clap_complete::ArgValueCandidates;
use jiff::Timestamp;
use swarmdr_archive::BackupId;

use super::time;
use crate::candidates;

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

    /// The newest of the vaults that answer will do, though one that does not may hold a newer one
    #[arg(long)]
    pub any_vault: bool,

    #[command(flatten)]
    pub among: Among,
}

/// Which backups come into question.
#[derive(Debug, Clone, Default, Args)]
pub struct Among {
    /// Only backups of this cluster
    #[arg(long, value_name = "CLUSTER", add = ArgValueCandidates::new(candidates::clusters))]
    pub cluster: Option<String>,

    /// Only backups taken before this time, as in 2026-11-21T10:15 (UTC)
    #[arg(long, value_name = "TIME", value_parser = time::moment)]
    pub before: Option<Timestamp>,

    /// Only backups that are not older than this: 90m, 26h, 3d, 2w
    #[arg(long, value_name = "LENGTH")]
    pub max_age: Option<time::Length>,
}

/// What is needed to believe and to open an archive, beyond the configuration.
#[derive(Debug, Args)]
pub struct Trust {
    /// Believe signatures of this key too: `RW…` or the absolute path of a .pub file (repeatable)
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
