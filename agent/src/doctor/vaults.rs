//! The vaults, one by one: there, versioned, locking, on time, and with a backup in them.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use swarmdr_archive::manifest::Manifest;
use swarmdr_archive::{BackupId, TrustedKeys};

use super::{Check, Diagnosis, engine::Manager, tamper};
use crate::{
    config::Config,
    signing,
    vault::{
        LockMode, LockPolicy, Vault,
        catalog::{
            self, CatalogError, Filter,
            chain::{Remembered, rolled_back},
        },
    },
    witness::Witness,
};

/// AWS refuses requests whose time is a quarter of an hour off; locks and ids are off by as much.
const SKEW_WARN: SignedDuration = SignedDuration::from_secs(60);
const SKEW_FAIL: SignedDuration = SignedDuration::from_mins(10);

/// Answers with the newest good backup over all of them.
pub async fn check(
    config: &Config,
    manager: Option<&Manager>,
    now: Timestamp,
    diagnosis: &mut Diagnosis,
) -> Option<BackupId> {
    let cluster = manager.map(|manager| manager.facts.swarm.cluster_id.clone());
    let filter = Filter { cluster, ..Filter::default() };
    let keys = signing::own_and_trusted(config).unwrap_or_default();
    let (mut newest, mut whole) = (None, true);
    for settings in config.vaults() {
        let of = settings.url.as_str();
        let ready = async {
            let vault = settings.target()?.connect().await?;
            vault.check().await?;
            anyhow::Ok(vault)
        };
        let vault = match ready.await {
            Ok(vault) => vault,
            Err(error) => {
                whole = false;
                diagnosis.add(Check::failed("vault.ready", &error).of(of));
                continue;
            }
        };
        diagnosis.add(Check::ok("vault.ready", what_is_ready(vault.lock_policy())).of(of));
        diagnosis.add(mode(vault.lock_policy()).of(of));
        diagnosis.add(clock(vault.as_ref()).await.of(of));
        for found in tamper::check(vault.as_ref(), now).await {
            diagnosis.add(found.of(of));
        }
        diagnosis.add(unfinished(vault.as_ref()).await.of(of));
        let (found, check) = newest_in(&vault, &filter, &keys, now).await;
        newest = newest.max(found);
        diagnosis.add(check.of(of));
    }
    if let Some(cluster) = filter.cluster.filter(|_| whole) {
        diagnosis.add(rollback(config, &cluster, newest.as_ref()));
    }
    newest.map(|newest| newest.id)
}

/// Whether what this host knows to have been stored is still there.
fn rollback(config: &Config, cluster: &str, newest: Option<&Remembered>) -> Check {
    const NAME: &str = "vault.rollback";
    let witness = Witness::of(config);
    let known = witness.read(cluster);
    if let Some(newest) = newest {
        witness.note(newest.clone());
    }
    match known {
        Some(known) if rolled_back(&known, newest.map(|newest| newest.id)) => {
            Check::fail(NAME, format!("backup {} was stored and is in no vault: the newest was taken away", known.id))
                .fix("find out who can delete in the vaults; look for it in copies of them")
        }
        Some(known) => Check::ok(NAME, format!("the vaults have what this host knows to be stored ({})", known.id)),
        None => Check::ok(NAME, "this host remembers no backup to compare with"),
    }
}

fn what_is_ready(policy: Option<LockPolicy>) -> &'static str {
    match policy {
        Some(_) => "the bucket is there, keeps versions, and has Object Lock",
        None => "the directory can be written to",
    }
}

fn mode(policy: Option<LockPolicy>) -> Check {
    const NAME: &str = "vault.mode";
    match policy {
        Some(LockPolicy { mode: LockMode::Compliance, days }) => {
            Check::ok(NAME, format!("backups are locked in COMPLIANCE mode for {days} days"))
        }
        Some(LockPolicy { mode: LockMode::Governance, days }) => {
            Check::warn(NAME, format!("backups are locked in GOVERNANCE mode for {days} days: some may lift that"))
                .fix("write lock = { mode = \"COMPLIANCE\", … } unless you know who has s3:BypassGovernanceRetention")
        }
        None => Check::warn(NAME, "a directory cannot lock: whoever owns its host can delete every backup")
            .fix("add a vault in a bucket with Object Lock"),
    }
}

async fn clock(vault: &dyn Vault) -> Check {
    const NAME: &str = "vault.clock";
    match vault.clock().await {
        Ok(None) => Check::ok(NAME, "it has the clock of this host"),
        Ok(Some(theirs)) => judge_clock(theirs.duration_since(Timestamp::now())),
        Err(error) => Check::failed(NAME, &error.into()),
    }
}

fn judge_clock(ahead: SignedDuration) -> Check {
    const NAME: &str = "vault.clock";
    let found = format!("the vault's clock and this host's are {} s apart", ahead.as_secs().abs());
    let fix = "set the clock of this host (chrony, systemd-timesyncd)";
    match ahead.abs() {
        off if off > SKEW_FAIL => Check::fail(NAME, found).fix(fix),
        off if off > SKEW_WARN => Check::warn(NAME, found).fix(fix),
        _ => Check::ok(NAME, found),
    }
}

async fn unfinished(vault: &dyn Vault) -> Check {
    const NAME: &str = "vault.leftovers";
    match vault.unfinished().await {
        Ok(keys) if keys.is_empty() => Check::ok(NAME, "no unfinished uploads"),
        Ok(keys) => Check::warn(
            NAME,
            format!("{} unfinished uploads, which cost money and hold no backup", keys.len()),
        )
        .fix("a lifecycle rule that aborts incomplete multipart uploads after a day (AbortIncompleteMultipartUpload)"),
        Err(error) => Check::failed(NAME, &error.into()),
    }
}

async fn newest_in(
    vault: &Arc<dyn Vault>,
    filter: &Filter,
    keys: &TrustedKeys,
    now: Timestamp,
) -> (Option<Remembered>, Check) {
    const NAME: &str = "vault.newest";
    match catalog::find_latest(std::slice::from_ref(vault), filter, keys, now).await {
        Ok(latest) => {
            let id = latest.head.manifest.id;
            let check = match latest.findings.lines().as_slice() {
                [] => Check::ok(NAME, format!("{id} verifies, and its history holds together")),
                [first, ..] => Check::warn(NAME, format!("{id} verifies, but: {first}"))
                    .fix("see `swarmdr-agent list`: somebody may have been at the vault"),
            };
            let Manifest { cluster_id: cluster, sequence, .. } = latest.head.manifest;
            (Some(Remembered { cluster, id, sequence }), check)
        }
        Err(error @ CatalogError::SeveralClusters { .. }) => {
            (None, Check::warn(NAME, error.to_string()).fix("run this on a manager of the swarm that is meant"))
        }
        Err(CatalogError::NothingGood { findings, .. }) if findings.is_empty() => {
            (None, Check::warn(NAME, "there is no backup yet").fix("run `swarmdr-agent backup`"))
        }
        Err(error) => {
            let fix = "check trusted_keys, and see `swarmdr-agent list`";
            (None, Check::fail(NAME, error.to_string()).fix(fix))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn a_clock_is_judged_by_how_far_it_is_off() {
        let level = |seconds| judge_clock(SignedDuration::from_secs(seconds)).level;
        assert_eq!(
            [level(0), level(-60), level(61), level(-600), level(601)].map(|level| level as u8),
            [0, 0, 1, 1, 2]
        );
        assert_eq!(level(7200), Level::Fail);
    }
}
