//! Settings of backups that follow changes of the swarm.

use anyhow::Result;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use swarmdr_vault::{
    LockMode,
    settings::{
        LockSettings,
        unit_length::{Days, Seconds},
    },
};

use super::{Config, Mode, images::Check};
use crate::outcome::failure::Failure;

/// Shortest `at_most_every`: a backup with its checks and its upload takes some seconds on a small host.
const LEAST_DISTANCE: u32 = 10;

/// Shortest time that another manager waits before it takes over.
const LEAST_TAKEOVER: SignedDuration = SignedDuration::from_mins(1);

/// `schedule.on_change`: a backup follows what people change, in freeze mode, so that no container stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnChange {
    /// Seconds without a further change before the backup is made; default: 5.
    #[serde(default = "after")]
    pub after: Seconds,
    /// Seconds between two such backups at least. Changes without a pause are backed up this often too.
    #[serde(default = "at_most_every")]
    pub at_most_every: Seconds,
    /// Days for which such a backup is locked in vaults with locks; default: as any other. `prune` removes it after that
    /// unless `retention` keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock_days: Option<Days>,
}

fn after() -> Seconds {
    Seconds::new(5)
}

fn at_most_every() -> Seconds {
    Seconds::new(30)
}

impl OnChange {
    /// How long each manager in line waits for the one before it; see [`crate::backup::designation`].
    pub fn takeover_after(&self) -> SignedDuration {
        (self.at_most_every.signed() * 2).max(LEAST_TAKEOVER)
    }
}

impl Config {
    /// Returns the settings of a backup that follows a change: in freeze mode, with a lock of its own.
    pub fn for_changes(&self) -> Self {
        let mut config = self.clone();
        config.backup.mode = Mode::Freeze;
        // Registries are not asked for every image each half minute.
        if config.images.check == Check::WithBackup {
            config.images.check = Check::Daily;
        }
        let days = self.schedule.on_change.and_then(|on_change| on_change.lock_days);
        if let Some(days) = days.and_then(|days| u16::try_from(days.count()).ok()) {
            for vault in config.vault.iter_mut().filter(|vault| vault.url.starts_with("s3://")) {
                let mode = vault.lock.map_or(LockMode::Compliance, |lock| lock.mode);
                vault.lock = Some(LockSettings { mode, days });
            }
        }
        config
    }

    pub(super) fn validate_on_change(&self) -> Result<()> {
        let Some(on_change) = self.schedule.on_change else { return Ok(()) };
        let (after, distance) = (on_change.after.count(), on_change.at_most_every.count());
        if distance < LEAST_DISTANCE || after == 0 || after > distance {
            return Err(Failure::usage(format!(
                "schedule.on_change has after = {after} s and at_most_every = {distance} s"
            ))
            .advice(format!("write 1 s or more for `after`, and {LEAST_DISTANCE} s or more, not less than `after`, for `at_most_every`"))
            .into());
        }
        // The vaults check the number of days as they check that of any lock.
        for vault in self.for_changes().vault {
            vault
                .target()
                .map_err(|cause| Failure::usage("schedule.on_change.lock_days cannot be used").because(cause))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Result<Config> {
        let config: Config = toml::from_str(text)?;
        config.validate()?;
        Ok(config)
    }

    const VAULTS: &str = "encryption = \"none\"\n[[vault]]\nurl = \"s3://bucket/x\"\nregion = \"r\"\n\
                          lock = { mode = \"GOVERNANCE\", days = 30 }\n[[vault]]\nurl = \"file:///srv/vault\"\n";

    #[test]
    fn a_backup_after_a_change_freezes_and_has_its_own_lock() {
        let text =
            format!("{VAULTS}[schedule]\non_change = {{ after = \"5s\", at_most_every = \"30s\", lock_days = 3 }}");
        let config = config(&text).expect("is valid");
        let changed = config.for_changes();
        assert_eq!((config.backup.mode, changed.backup.mode), (Mode::Cold, Mode::Freeze));
        assert_ne!(changed.images.check, Check::WithBackup);
        let locks: Vec<_> = changed.vault.iter().map(|vault| vault.lock.map(|lock| lock.days)).collect();
        assert_eq!(locks, [Some(3), None]);
        let mode = |config: &Config| config.vault[0].lock.map(|lock| lock.mode);
        assert_eq!(mode(&changed), mode(&config));
        let without = Config { schedule: Default::default(), ..config.clone() };
        assert_eq!(without.for_changes().vault, config.vault);
    }

    #[test]
    fn lengths_that_cannot_work_are_refused() {
        for (wrong, said) in [
            ("after = 0", "after = 0 s"),
            ("after = 40", "after = 40 s"),
            ("at_most_every = 9", "at_most_every = 9 s"),
            ("lock_days = 0", "lock_days cannot be used"),
            ("often = 1", "often"),
        ] {
            let error = config(&format!("{VAULTS}[schedule]\non_change = {{ {wrong} }}")).expect_err(wrong);
            assert!(format!("{error:#}").contains(said), "{wrong}: {error:#}");
        }
        config(&format!("{VAULTS}[schedule]\non_change = {{}}")).expect("has defaults");
    }
}
