//! How far a promotion has come, in a file below the state directory: what comes after the restore is done once, also if a
//! run is killed in between.

use std::{fs, io, path::PathBuf};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use swarmdr_archive::BackupId;

use crate::{config::Config, host::files::whole_file};

const FILE: &str = "promotion.json";

/// The last promotion of this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    pub backup: BackupId,
    pub begun_at: Timestamp,
    /// True once everything was done that comes after the restore.
    pub is_done: bool,
}

impl Progress {
    /// Reads it; `None` if this host was never promoted, or if the file cannot be read.
    pub fn read(config: &Config) -> Option<Self> {
        whole_file::read_json(&path(config))
    }

    pub fn write(&self, config: &Config) -> Result<()> {
        let path = path(config);
        let write = || -> io::Result<()> {
            fs::create_dir_all(&config.state_dir)?;
            whole_file::replace_json(&path, self)
        };
        write().with_context(|| format!("failed to write {}", path.display()))
    }
}

fn path(config: &Config) -> PathBuf {
    config.state_dir.join(FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_what_is_damaged_is_none() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let config = Config { state_dir: dir.path().join("state"), ..Config::default() };
        assert_eq!(Progress::read(&config), None);
        let backup: BackupId = "20261121T030000Z-00000001".parse().expect("is an id");
        let progress = Progress { backup, begun_at: backup.created_at(), is_done: false };
        progress.write(&config).expect("writes");
        assert_eq!(Progress::read(&config), Some(progress));
        fs::write(path(&config), "{").expect("writes");
        assert_eq!(Progress::read(&config), None);
    }
}
