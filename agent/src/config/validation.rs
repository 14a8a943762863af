//! The rules of the configuration that its types do not enforce.

use std::{ops::RangeInclusive, path::Path};

use anyhow::Result;

use super::{Config, Encryption, schedule::Schedule};
use crate::outcome::failure::Failure;

/// Highest level. Those above need more memory than the agent promises to use (zstd 1.5.4: 55 MiB at 12, 92 MiB at 19).
const MAX_COMPRESSION_LEVEL: i32 = 12;

/// Bounds of `max_pause`: less leaves an engine no time to stop, and more is too late for a failsafe.
const PAUSE_SECONDS: RangeInclusive<u32> = 5..=3600;

/// Bounds of `max_freeze_ms`. The upper one is the time after which a manager's raft messages time out (swarmkit
/// `raft.go`, `SendTimeout`).
const FREEZE_MS: RangeInclusive<u32> = 50..=2000;

impl Config {
    /// Checks the values that have limits, and the keys against each other.
    pub fn validate(&self) -> Result<()> {
        self.validate_encryption()?;
        if !(1..=MAX_COMPRESSION_LEVEL).contains(&self.backup.compression_level) {
            return Err(Failure::usage(format!(
                "backup.compression_level is {}; write 1 to {MAX_COMPRESSION_LEVEL}",
                self.backup.compression_level
            ))
            .into());
        }
        self.validate_pauses()?;
        let keys = [&self.signing_key, &self.identity_file, &self.restore.unlock_key_file];
        for path in keys.into_iter().flatten().chain([&self.state_dir]) {
            require_absolute(path)?;
        }
        for vault in &self.vault {
            vault
                .target()
                .map_err(|cause| Failure::usage(format!("cannot use the vault `{}`", vault.url)).because(cause))?;
        }
        if self.spool.max_count == 0 {
            return Err(Failure::usage(
                "spool.max_count is 0; write 1 or more: every archive passes through the spool",
            )
            .into());
        }
        for path in self.watch.textfile_dir.iter().chain([&self.watch.hooks_dir]) {
            require_absolute(path)?;
        }
        self.validate_network()?;
        self.validate_images()?;
        self.validate_join()?;
        self.validate_grow()?;
        self.validate_standby()?;
        self.validate_streams()?;
        self.validate_externals()?;
        self.watch.ping()?;
        Schedule::from_config(&self.schedule)?;
        self.validate_on_change()?;
        Ok(())
    }

    fn validate_pauses(&self) -> Result<()> {
        let (max_pause, max_freeze_ms) = (self.backup.max_pause.count(), self.backup.max_freeze_ms.count());
        if !PAUSE_SECONDS.contains(&max_pause) {
            let (least, most) = PAUSE_SECONDS.into_inner();
            return Err(Failure::usage(format!("backup.max_pause is {max_pause} s; write {least} to {most}")).into());
        }
        if !FREEZE_MS.contains(&max_freeze_ms) {
            let (least, most) = FREEZE_MS.into_inner();
            return Err(Failure::usage(format!("backup.max_freeze_ms is {max_freeze_ms}; write {least} to {most}"))
                .advice("the other managers give up on one that is silent for 2 s; `mode = \"cold\"` has no such limit")
                .into());
        }
        Ok(())
    }

    fn validate_encryption(&self) -> Result<()> {
        let remote = self.vault.iter().find(|vault| vault.url.starts_with("s3://"));
        match (self.encryption, self.recipients.is_empty()) {
            (Some(Encryption::Age), true) => Err(Failure::usage("encryption is `age` but recipients is empty")
                .advice("make an identity with `age-keygen -o identity.txt`, keep it off this host, and write its `age1…` line into recipients")
                .into()),
            (Some(Encryption::None), false) => Err(Failure::usage("encryption is `none` but recipients are named")
                .advice("remove one of the two settings")
                .into()),
            (None, true) if remote.is_some() => Err(Failure::usage(format!(
                "the vault {} leaves this host, and no recipients are named: an archive holds every secret and the CA key of the swarm",
                remote.map(|vault| vault.url.as_str()).unwrap_or_default()
            ))
            .advice("make an identity with `age-keygen -o identity.txt`, keep it off this host, and write its `age1…` line into recipients")
            .advice("or write `encryption = \"none\"` if the bucket's own encryption is enough for you")
            .into()),
            _ => Ok(()),
        }
    }
}

pub fn require_absolute(path: &Path) -> Result<()> {
    if path.is_absolute() {
        return Ok(());
    }
    Err(Failure::usage(format!("the path `{}` in the configuration is not absolute", path.display())).into())
}
