//! Whether claims work here: who may make one, and how this vault tells hosts apart that make one at the same time.

use std::io::Write;

use anyhow::{Context, Result};
use jiff::Timestamp;
use swarmdr_archive::BackupId;
use swarmdr_vault::{NO_PROGRESS, Upload, Vault, VaultError, object_name::DOCTOR};

use super::{Check, Diagnosis};
use crate::{
    config::Config,
    host::random,
    keys::{identities, promoter, signing},
};

/// Number of creates at the same time.
const RACERS: usize = 16;

const CONTENT: &[u8] = b"swarmdr-agent doctor tried how many of several may create this object. It holds nothing.\n";

/// Checks the promoters of this host.
pub fn keys(config: &Config, diagnosis: &mut Diagnosis) {
    const NAME: &str = "claims.promoters";
    let known = match promoter::configured(config) {
        Ok(known) => known,
        Err(error) => return diagnosis.add(Check::failed(NAME, &error)),
    };
    let Ok(identities) = identities::configured(config) else {
        // The check of the keys says what is wrong with it.
        return;
    };
    let derived = identities.signing_keys(promoter::PURPOSE);
    let is_manager = config.signing_key_path().exists();
    let own = config.standby.promoter_key.as_ref().and_then(|path| signing::read(path).ok());
    let can_claim = own.iter().chain(&derived).map(|key| key.public()).find(|key| known.iter().any(|it| it == key));
    let count = known.iter().count();
    diagnosis.add(match (count, can_claim, is_manager) {
        (1.., Some(key), true) => {
            Check::fail(NAME, format!("this host makes backups and has the promoter's key {key}: who breaks into it can take the swarm over"))
                .fix("keep the age identity, or the promoter's key, off the managers; or make a promoter's key of its own with `swarmdr-agent keygen --promoter`")
        }
        (1.., Some(key), false) => Check::ok(NAME, format!("this host can claim the swarm, with the promoter's key {key}")),
        (1.., None, _) => Check::ok(NAME, format!("claims of {count} promoters count here, and this host is none of them")),
        (0, _, true) => Check::warn(NAME, "no promoter is named, so this manager does not notice if another site takes the swarm over")
            .fix("write the key that `swarmdr-agent keygen --promoter` shows on the host that restores into standby.promoters"),
        (0, _, false) if derived.is_empty() && own.is_none() => {
            Check::ok(NAME, "this host can claim no swarm: it has neither an age identity nor a promoter's key")
        }
        (0, _, false) => Check::ok(NAME, "claims are signed with the key of this host's identity"),
    });
}

/// Lets several creates of one key race, and says by what two sites are told apart here.
pub async fn race(vault: &dyn Vault, now: Timestamp) -> Check {
    const NAME: &str = "claims.race";
    match winners(vault, now).await {
        Ok(1) => Check::ok(
            NAME,
            format!("of {RACERS} creates at the same time one was accepted: this vault enforces If-None-Match"),
        ),
        Ok(0) => Check::warn(NAME, format!("none of {RACERS} creates at the same time was accepted"))
            .fix("run `swarmdr-agent doctor` again"),
        Ok(accepted) => Check::ok(
            NAME,
            format!(
                "{accepted} of {RACERS} creates at the same time were accepted: two sites are told apart by the oldest version only"
            ),
        ),
        Err(error) => Check::failed(NAME, &error),
    }
}

async fn winners(vault: &dyn Vault, now: Timestamp) -> Result<usize> {
    let mut file = tempfile::NamedTempFile::new().context("failed to make a temporary file")?;
    file.write_all(CONTENT).context("failed to write a temporary file")?;
    let key = format!("{DOCTOR}race/{}", BackupId::new(now, random::tag()?));
    let upload = Upload::of_file(key, file.path(), now)?;
    let answers = futures_util::future::join_all((0..RACERS).map(|_| vault.put(&upload, NO_PROGRESS))).await;
    let mut accepted = 0;
    for answer in answers {
        match answer {
            Ok(_) => accepted += 1,
            Err(VaultError::AlreadyExists { .. }) => {}
            // A conflict, or a server that is asked too much at once.
            Err(error) if error.is_transient() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(accepted)
}

#[cfg(test)]
mod tests {
    use swarmdr_archive::Identities;
    use swarmdr_vault::{LockMode, LockPolicy, testkit::memory::MemoryVault};

    use super::*;
    use crate::{config::TrustedKey, observe::doctor::Level};

    fn vault() -> MemoryVault {
        MemoryVault::new("v", Some(LockPolicy { mode: LockMode::Compliance, days: 1 }))
    }

    #[tokio::test]
    async fn the_race_says_what_the_vault_gives() {
        let now = "2026-11-21T10:00:00Z".parse().expect("is a time");
        let strict = race(&vault(), now).await;
        assert!(strict.level == Level::Ok && strict.found.contains("enforces"), "{strict:?}");
        let lenient = race(&vault().ignoring_conditions(), now).await;
        assert!(lenient.level == Level::Ok && lenient.found.starts_with("16 of 16"), "{lenient:?}");
    }

    #[test]
    fn a_manager_that_could_take_the_swarm_over_is_told_in_red() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let mut config = Config { state_dir: dir.path().to_owned(), ..Config::default() };
        let level = |config: &Config| {
            let mut diagnosis = Diagnosis::default();
            keys(config, &mut diagnosis);
            diagnosis.checks[0].level
        };
        assert_eq!(level(&config), Level::Ok, "no manager");
        signing::load_or_make(&config).expect("makes it");
        assert_eq!(level(&config), Level::Warn, "a manager without promoters");
        let identities = Identities::generate();
        let key = identities.signing_keys(promoter::PURPOSE)[0].public().to_string();
        config.standby.promoters = vec![TrustedKey::Always(key)];
        assert_eq!(level(&config), Level::Ok);
        let path = dir.path().join("identity.txt");
        std::fs::write(&path, identities.to_file_string().as_bytes()).expect("writes");
        config.identity_file = Some(path);
        assert_eq!(level(&config), Level::Fail);
    }
}
