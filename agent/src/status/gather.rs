//! Asks the vaults and this host.

use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use swarmdr_archive::TrustedKeys;

use super::{Drilled, Due, Level, Newest, SpoolStatus, Status, VaultStatus};
use crate::{
    config::Config,
    drill::{Receipt, receipts},
    history::History,
    host::absences::Absences,
    restore::unfinished,
    schedule::Schedule,
    spool::{self, Spool},
    vault::{
        Vault,
        catalog::{self, Bounds, Filter, Strays, clusters_of, order},
    },
    vaults::{self, Connected},
};

/// A vault that says nothing for so long counts as unreachable: monitors do not wait longer.
const VAULT_LIMIT: Duration = Duration::from_secs(45);

/// Bad objects that are told one by one.
const FINDINGS_TOLD: usize = 10;

/// Looks at everything. Without `cluster`, the cluster that this host made its last backup of; if it made none, all.
pub async fn gather(config: &Config, keys: &TrustedKeys, cluster: Option<&str>, now: Timestamp) -> Result<Status> {
    let history = History::read(&config.state_dir);
    let own = history.backup.as_ref().map(|made| made.cluster.as_str());
    let filter = Filter { cluster: cluster.or(own).map(str::to_owned), ..Filter::default() };
    let connected = vaults::connect(config).await?;
    let looked = join_all(connected.iter().map(|vault| look(vault, &filter, keys, now))).await;
    let (vaults, receipts): (Vec<_>, Vec<_>) = looked.into_iter().unzip();
    let mut status = Status {
        at: now,
        level: Level::Ok,
        reasons: Vec::new(),
        schedule: None,
        vaults,
        spool: look_into_spool(config)?,
        absences: Absences::read(&config.state_dir),
        last_run: history.runs.get("backup").and_then(|runs| runs.last.clone()),
        last_backup: history.backup.clone(),
        last_proof: history.proof.clone(),
        drills: Drilled::new(&config.drill, &receipts.concat()),
        unfinished_restore: unfinished::on_this_host(config),
        history,
    };
    if let Some(schedule) = Schedule::from_config(&config.schedule)? {
        let newest = status.freshest();
        status.schedule = Some(Due::new(&schedule, newest, grace(config, &schedule, now), now));
    }
    status.judge();
    Ok(status)
}

/// Time for the next in line to take over, for its backup, and for a tick of the timer on either side.
fn grace(config: &Config, schedule: &Schedule, now: Timestamp) -> SignedDuration {
    match config.watch.grace {
        Some(seconds) => SignedDuration::from_secs(seconds.into()),
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
        let room = FINDINGS_TOLD.saturating_sub(status.findings.len());
        status.findings.extend(drills.others.into_iter().take(room));
    }
    Ok(())
}

/// The newest of a cluster, if it is newer than that of the clusters before.
async fn newest(
    vault: &dyn Vault,
    cluster: &str,
    filter: &Filter,
    (keys, now): (&TrustedKeys, Timestamp),
    status: &mut VaultStatus,
) -> Result<()> {
    let findings = &mut status.findings;
    let beside = |entry: catalog::Entry| {
        if findings.len() < FINDINGS_TOLD {
            findings.push(entry.to_string());
        }
        Ok(())
    };
    let mut view =
        catalog::view(vault, cluster, filter, keys, now, (Bounds::default(), &mut Strays::default()), beside).await?;
    status.freshest = status.freshest.max(view.freshest(now).map(|place| place.id));
    let Some(index) = view.newest(now) else { return Ok(()) };
    let ((entry, head), place) = (view.entries.swap_remove(index), view.places.swap_remove(index));
    let manifest = head.manifest;
    let known = status.newest.as_ref().map(|known| known.place.clone());
    if order::newest(&[place.clone()].into_iter().chain(known).collect::<Vec<_>>(), |_| true, now) != Some(0) {
        return Ok(());
    }
    let (lock, lock_unread) = match vault.head(&entry.at).await {
        Ok(head) => (head.lock, false),
        Err(error) if error.is_transient() => return Err(error).context("failed to read the newest backup"),
        // The backup is there all the same.
        Err(error) => {
            status.findings.push(format!("what lock the newest backup has is not known: {error}"));
            (None, true)
        }
    };
    status.newest = Some(Newest {
        id: manifest.id.to_string(),
        created_at: manifest.created_at,
        stored_at: entry.modified,
        cluster_id: manifest.cluster_id,
        hostname: manifest.hostname,
        size: entry.size,
        proof: manifest.proof,
        lock,
        lock_unread,
        place,
    });
    Ok(())
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
        status::tests::fine,
        vault::{
            catalog::testing::{CLUSTER, lives, minute},
            faulty::without_locks_to_read,
        },
    };

    #[tokio::test]
    async fn a_lock_that_cannot_be_read_hides_no_backup() {
        let life = lives::all().await.into_iter().next().expect("is a life");
        let (now, filter) = (minute(life.now), Filter::cluster(CLUSTER));
        let vault = without_locks_to_read(life.vaults[0].clone());
        let mut of = fine().vaults.remove(0);
        (of.newest, of.freshest) = (None, None);
        newest(&vault, CLUSTER, &filter, (&life.keys, now), &mut of).await.expect("is no reason to fail");
        assert!(of.newest.is_some_and(|newest| newest.lock_unread));
        assert!(of.findings.iter().any(|told| told.contains("is not known")), "{:?}", of.findings);
    }

    #[tokio::test]
    async fn no_life_of_a_vault_accuses_anybody() {
        for life in lives::all().await {
            let (now, filter) = (minute(life.now), Filter::cluster(CLUSTER));
            let mut status = Status { at: now, ..fine() };
            status.vaults.truncate(life.vaults.len());
            for (vault, of) in life.vaults.iter().zip(&mut status.vaults) {
                (of.newest, of.freshest) = (None, None);
                newest(vault.as_ref(), CLUSTER, &filter, (&life.keys, now), of).await.expect("answers");
            }
            status.judge();
            let said: Vec<String> = status.reasons.iter().map(|reason| reason.text.clone()).collect();
            life.assert_tame("status", &said);
        }
    }
}
