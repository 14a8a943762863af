//! A look into one vault.

use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::future::try_join3;
use jiff::Timestamp;
use swarmdr_archive::{ClusterId, TrustedKeys};
use swarmdr_vault::{
    Lock, Vault, VersionRef,
    catalog::{self, Bounds, Filter, Skipped, clusters_of, order},
};

use super::{Newest, VaultStatus, points, streams};
use crate::{
    restore::drill::{Receipt, receipts},
    vaults::Connected,
};

/// Time after which a vault that does not answer counts as unreachable: monitors do not wait longer.
const VAULT_LIMIT: Duration = Duration::from_secs(45);

/// Number of findings of a vault that are listed.
pub const FINDINGS_LISTED: usize = 10;

/// What a vault shows.
#[derive(Debug)]
pub struct Looked {
    pub status: VaultStatus,
    pub receipts: Vec<Receipt>,
    pub streams: streams::InVault,
    pub points: points::InVault,
}

/// Looks into one vault. One that does not answer in time has an error, and what was seen until then.
pub async fn look(
    connected: &Connected,
    (filter, of_streams): (&Filter, &Filter),
    (keys, on_streams): (&TrustedKeys, &TrustedKeys),
    now: Timestamp,
) -> Looked {
    let settings = &connected.settings;
    let mut status = VaultStatus {
        url: settings.url.clone(),
        required: settings.required,
        error: None,
        newest: None,
        freshest: None,
        findings: Vec::new(),
    };
    let (mut receipts, mut streams) = (Vec::new(), streams::InVault::default());
    let mut points = points::InVault::default();
    let walk = walk(connected, filter, keys, now, (&mut status, &mut receipts));
    let of_points = points.look(connected.vault.as_ref(), of_streams, keys, now);
    let of_streams = streams.look(connected.vault.as_ref(), of_streams, on_streams, now);
    let walked = tokio::time::timeout(VAULT_LIMIT, try_join3(walk, of_streams, of_points)).await;
    let failed = match walked {
        Ok(result) => result.err().map(|error| format!("{error:#}")),
        Err(_) => Some(format!("{} did not answer within {} s", settings.url, VAULT_LIMIT.as_secs())),
    };
    status.error = failed;
    streams.is_whole = status.error.is_none();
    let room = FINDINGS_LISTED.saturating_sub(status.findings.len());
    status.findings.extend(streams.findings.drain(..).chain(points.findings.drain(..)).take(room));
    Looked { status, receipts, streams, points }
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
    let lock = read_lock(vault, &entry.at, "backup", &mut status.findings).await?;
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

/// Reads the lock of the newest archive; `None` if it cannot be read. The archive is there anyway.
pub async fn read_lock(
    vault: &dyn Vault,
    at: &VersionRef,
    what: &str,
    findings: &mut Vec<String>,
) -> Result<Option<Option<Lock>>> {
    match vault.head(at).await {
        Ok(head) => Ok(Some(head.lock)),
        Err(error) if error.is_transient() => Err(error).with_context(|| format!("failed to read the newest {what}")),
        Err(error) => {
            findings.push(format!("the lock of the newest {what} is not known: {error}"));
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::status::{Status, tests::fine};
    use swarmdr_vault::testkit::{
        archives::{cluster_id, lives, minute},
        injector::without_locks_to_read,
    };

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
