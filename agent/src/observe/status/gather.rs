//! Gathers the status from the vaults and from this host.

use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::future::{OptionFuture, join, join_all};
use jiff::{SignedDuration, Timestamp};
use swarmdr_archive::{ClusterId, TrustedKeys};
use swarmdr_vault::{
    Lock, Vault, VersionRef,
    catalog::{self, Bounds, Filter, Skipped, clusters_of, order},
};

use super::{Drilled, Due, Level, Newest, OwnSign, SpoolStatus, Standby, Status, VaultStatus, claimed, living, tidied};
use crate::{
    archive::removals::{memory::Memory, object::Object, removed::Removed},
    backup::spool::{self, Spool},
    config::{Config, images::Check, schedule::Schedule},
    downtime::stop_history::StopHistory,
    observe::{history::History, verb::Verb},
    restore::{
        drill::{Receipt, receipts},
        images::memory::ImagesChecked,
        interrupted::unfinished,
    },
    vaults::{self, Connected},
};

/// Time after which a vault that does not answer counts as unreachable: monitors do not wait longer.
const VAULT_LIMIT: Duration = Duration::from_secs(45);

/// Number of findings of a vault that are listed.
const FINDINGS_LISTED: usize = 10;

/// Gathers the status of a cluster. Without `cluster`, it is the one that this host last backed up, or all if there is
/// none.
pub async fn gather(
    config: &Config,
    keys: &TrustedKeys,
    cluster: Option<&ClusterId>,
    now: Timestamp,
) -> Result<Status> {
    let history = History::read(&config.state_dir);
    let own = || history.backup.as_ref()?.cluster.parse().ok();
    let filter = Filter { cluster: cluster.cloned().or_else(own), ..Filter::default() };
    let connected = vaults::connect(config).await?;
    let memory = remembered(config, filter.cluster.as_ref());
    let living = OptionFuture::from(memory.as_ref().map(|memory| living::objects(config, &memory.cluster)));
    let looking = join_all(connected.iter().map(|vault| look(vault, &filter, keys, now)));
    let claimed = claimed::look(config, &connected, filter.cluster.as_ref(), now);
    let left_drained = tidied::left_over(config, filter.cluster.as_ref());
    let ((looked, living), (claims, left_drained)) = join(join(looking, living), join(claimed, left_drained)).await;
    let (vaults, receipts): (Vec<_>, Vec<_>) = looked.into_iter().unzip();
    let mut status = Status {
        at: now,
        level: Level::Ok,
        reasons: Vec::new(),
        schedule: None,
        vaults,
        spool: look_into_spool(config)?,
        absences: StopHistory::read(&config.state_dir),
        last_run: history.runs.of(Verb::Backup).and_then(|runs| runs.last.clone()),
        last_backup: history.backup.clone(),
        last_proof: history.proof.clone(),
        drills: Drilled::new(&config.drill, &receipts.concat()),
        unfinished_restore: unfinished::on_this_host(config),
        removed: None,
        claims: claims?,
        images: images(config, filter.cluster.as_ref(), now),
        sign_of_life: OwnSign::read(config, filter.cluster.as_ref(), now),
        standby: Standby::of_host(config),
        left_drained,
        history,
    };
    status.removed = memory.and_then(|memory| removed_since(&memory, status.newest(), &living.flatten()?));
    if let Some(schedule) = Schedule::from_config(&config.schedule)? {
        let newest = status.freshest();
        status.schedule = Some(Due::new(&schedule, newest, grace(config, &schedule, now), now));
    }
    status.judge();
    Ok(status)
}

/// Returns what this host found out last about the images of the cluster, if that is not long ago.
fn images(config: &Config, cluster: Option<&ClusterId>, now: Timestamp) -> Option<ImagesChecked> {
    let checked = ImagesChecked::read(&config.state_dir)?;
    // Without `images.check` somebody looked once, and nobody looks again.
    let is_of_today = config.images.check != Check::Off || !checked.is_due(now, SignedDuration::from_hours(48));
    (checked.is_recent(now) && is_of_today && cluster.is_none_or(|cluster| *cluster == checked.cluster))
        .then_some(checked)
}

/// Returns what this host remembers of the backup that it made last; `None` unless removals are watched, or if another
/// cluster is asked for.
fn remembered(config: &Config, cluster: Option<&ClusterId>) -> Option<Memory> {
    let memory = config.watch.removals.then(|| Memory::read(&config.state_dir)).flatten();
    memory.filter(|memory| cluster.is_none_or(|cluster| *cluster == memory.cluster))
}

/// Compares what lives with the last backup; `None` if another manager has made a newer one, whose objects this host
/// does not know.
fn removed_since(memory: &Memory, newest: Option<&Newest>, living: &[Object]) -> Option<Removed> {
    let is_last = newest.is_none_or(|newest| newest.place.id == memory.backup);
    is_last.then(|| memory.removed(living))
}

/// How late a backup may be: time for the next manager in line to take over, for its backup, and for a tick of the
/// timer before and after.
fn grace(config: &Config, schedule: &Schedule, now: Timestamp) -> SignedDuration {
    match config.watch.grace {
        Some(configured) => configured.signed(),
        None => schedule.takeover_after(now) + SignedDuration::from_mins(45),
    }
}

async fn look(
    connected: &Connected,
    filter: &Filter,
    keys: &TrustedKeys,
    now: Timestamp,
) -> (VaultStatus, Vec<Receipt>) {
    let settings = &connected.settings;
    let mut status = VaultStatus {
        url: settings.url.clone(),
        required: settings.required,
        error: None,
        newest: None,
        freshest: None,
        findings: Vec::new(),
    };
    let mut receipts = Vec::new();
    let walk = walk(connected, filter, keys, now, (&mut status, &mut receipts));
    let walked = tokio::time::timeout(VAULT_LIMIT, walk).await;
    let failed = match walked {
        Ok(result) => result.err().map(|error| format!("{error:#}")),
        Err(_) => Some(format!("{} did not answer within {} s", settings.url, VAULT_LIMIT.as_secs())),
    };
    status.error = failed;
    (status, receipts)
}

async fn walk(
    connected: &Connected,
    filter: &Filter,
    keys: &TrustedKeys,
    now: Timestamp,
    (status, receipts): (&mut VaultStatus, &mut Vec<Receipt>),
) -> Result<()> {
    for cluster in clusters_of(connected.vault.as_ref(), filter).await?.names {
        newest(connected.vault.as_ref(), &cluster, filter, (keys, now), status).await?;
        let drills = receipts::newest(connected.vault.as_ref(), &cluster, keys, now).await?;
        receipts.extend(drills.receipts);
        let room = FINDINGS_LISTED.saturating_sub(status.findings.len());
        status.findings.extend(drills.others.into_iter().take(room));
    }
    Ok(())
}

/// Finds the newest backup of a cluster, and puts it into `status` if it is newer than those of the clusters before.
async fn newest(
    vault: &dyn Vault,
    cluster: &ClusterId,
    filter: &Filter,
    (keys, now): (&TrustedKeys, Timestamp),
    status: &mut VaultStatus,
) -> Result<()> {
    let findings = &mut status.findings;
    let on_bad = |entry: catalog::Entry| {
        if findings.len() < FINDINGS_LISTED {
            findings.push(entry.to_string());
        }
        Ok(())
    };
    let mut view =
        catalog::view(vault, cluster, filter, keys, now, (Bounds::default(), &mut Skipped::default()), on_bad).await?;
    status.freshest = status.freshest.max(view.freshest(now).map(|place| place.id));
    let Some(index) = view.newest(now) else { return Ok(()) };
    let ((entry, head), place) = (view.entries.swap_remove(index), view.places.swap_remove(index));
    let manifest = head.manifest;
    let known = status.newest.as_ref().map(|known| known.place.clone());
    if order::newest(&[place.clone()].into_iter().chain(known).collect::<Vec<_>>(), |_| true, now) != Some(0) {
        return Ok(());
    }
    let lock = read_lock(vault, &entry.at, &mut status.findings).await?;
    status.newest = Some(Newest {
        id: manifest.id.to_string(),
        created_at: manifest.created_at,
        stored_at: entry.modified,
        cluster_id: manifest.cluster_id,
        hostname: manifest.hostname,
        size: entry.size,
        proof: manifest.proof,
        lock: lock.flatten(),
        lock_unread: lock.is_none(),
        place,
    });
    Ok(())
}

/// Reads the lock of the newest backup; `None` if it cannot be read. The backup is there anyway.
async fn read_lock(vault: &dyn Vault, at: &VersionRef, findings: &mut Vec<String>) -> Result<Option<Option<Lock>>> {
    match vault.head(at).await {
        Ok(head) => Ok(Some(head.lock)),
        Err(error) if error.is_transient() => Err(error).context("failed to read the newest backup"),
        Err(error) => {
            findings.push(format!("the lock of the newest backup is not known: {error}"));
            Ok(None)
        }
    }
}

fn look_into_spool(config: &Config) -> Result<SpoolStatus> {
    let spool = Spool::at(&config.spool_dir());
    let waiting = spool.waiting()?;
    Ok(SpoolStatus {
        archives: waiting.len() as u64,
        bytes: waiting.iter().map(|spooled| spooled.size).sum(),
        oldest: waiting.first().map(|spooled| spooled.id.created_at()),
        damaged: spool.damaged()?.len() as u64,
        full: spool::is_full(&waiting, &config.spool),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        archive::removals::memory::tests::memory,
        observe::status::tests::{fine, newest as newest_of},
    };
    use swarmdr_vault::testkit::{
        archives::{cluster_id, lives, minute},
        injector::without_locks_to_read,
    };

    #[test]
    fn only_the_last_backup_is_compared_with_what_lives() {
        let remembered = memory(3, "c", &["a", "b"]);
        let living = memory(4, "c", &["b"]).objects;
        for (newest, compared) in [
            (Some("20261121T030000Z-00000001"), true),
            // Another manager made it.
            (Some("20261121T040000Z-00000001"), false),
            // No vault answers.
            (None, true),
        ] {
            let removed = removed_since(&remembered, newest.map(newest_of).as_ref(), &living);
            let words = removed.map(|removed| removed.words());
            assert_eq!(words.as_deref(), compared.then_some("service a"), "{newest:?}");
        }
    }

    #[test]
    fn nothing_is_remembered_unless_it_is_wanted() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let mut config = Config { state_dir: dir.path().to_owned(), ..Config::default() };
        memory(3, "c", &["a"]).replace(dir.path());
        assert_eq!(remembered(&config, None), None);
        config.watch.removals = true;
        let of = |cluster: &str| remembered(&config, Some(&cluster.parse().expect("is an id")));
        assert_eq!((of("c"), of("d")), (Some(memory(3, "c", &["a"])), None));
        assert_eq!(remembered(&config, None), Some(memory(3, "c", &["a"])));
    }

    #[tokio::test]
    async fn a_lock_that_cannot_be_read_hides_no_backup() {
        let life = lives::all().await.into_iter().next().expect("is a life");
        let (now, filter) = (minute(life.now), Filter::cluster(cluster_id()));
        let vault = without_locks_to_read(life.vaults[0].clone());
        let mut of = fine().vaults.remove(0);
        (of.newest, of.freshest) = (None, None);
        newest(&vault, &cluster_id(), &filter, (&life.keys, now), &mut of).await.expect("is no reason to fail");
        assert!(of.newest.is_some_and(|newest| newest.lock_unread));
        assert!(of.findings.iter().any(|told| told.contains("is not known")), "{:?}", of.findings);
    }

    #[tokio::test]
    async fn no_life_of_a_vault_accuses_anybody() {
        for life in lives::all().await {
            let (now, filter) = (minute(life.now), Filter::cluster(cluster_id()));
            let mut status = Status { at: now, ..fine() };
            status.vaults.truncate(life.vaults.len());
            for (vault, of) in life.vaults.iter().zip(&mut status.vaults) {
                (of.newest, of.freshest) = (None, None);
                newest(vault.as_ref(), &cluster_id(), &filter, (&life.keys, now), of).await.expect("answers");
            }
            status.judge();
            let said: Vec<String> = status.reasons.iter().map(|reason| reason.text.clone()).collect();
            life.assert_no_accusation("status", &said);
        }
    }
}
