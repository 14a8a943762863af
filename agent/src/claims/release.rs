//! Gives a claim up: the site says that it does not have the swarm any more.

use anyhow::{Context, Result};
use jiff::Timestamp;
use swarmdr_archive::{SecretKey, receipt};
use swarmdr_vault::{VaultError, store_bytes};

use super::{Claim, ClaimId, Name, Reading, Release, ReleaseKind, document::VERSION};
use crate::{outcome::failure::Failure, vaults::Connected};

/// Stores the release in each vault; at least one must take it. Returns a sentence for each that did not. Safe to
/// repeat.
pub async fn release(
    vaults: &[Connected],
    signer: &SecretKey,
    claim: &Claim,
    kind: ReleaseKind,
    reason: &str,
    now: Timestamp,
) -> Result<Vec<String>> {
    let release = Release {
        version: VERSION,
        epoch: claim.epoch,
        cluster_id: claim.cluster_id.clone(),
        claim_id: claim.claim_id,
        kind,
        site: claim.site.clone(),
        at: now,
        reason: reason.to_owned(),
    };
    let about = format!("release of claim {} of cluster {}", claim.epoch, claim.cluster_id);
    let mtime = u64::try_from(now.as_second()).unwrap_or(0);
    let packed = receipt::seal(signer, &serde_json::to_vec_pretty(&release)?, &about, mtime)?;
    let (mut taken, mut missed) = (false, Vec::new());
    for connected in vaults {
        let stored = put(connected, claim, &packed, now).await;
        match stored.with_context(|| format!("{} does not have the release", connected.settings.url)) {
            Ok(_) => taken = true,
            Err(error) => missed.push(format!("{error:#}")),
        }
    }
    if taken {
        return Ok(missed);
    }
    Err(Failure::failed(format!("no vault took the release of claim {}: others wait until it is old", claim.epoch))
        .because(anyhow::anyhow!(missed.join("; ")))
        .into())
}

/// Returns the vaults that are not known to have the release of a claim, of those that were read in this order.
pub fn lacking(vaults: &[Connected], readings: &[Result<Reading>], claim: &Claim, kind: ReleaseKind) -> Vec<Connected> {
    let of_it = |it: &Release| (it.epoch, it.claim_id, it.kind) == (claim.epoch, claim.claim_id, kind);
    let has = |reading: &Reading| reading.releases.iter().any(|seen| of_it(&seen.release));
    let unknown = vaults.iter().zip(readings).filter(|(_, reading)| !reading.as_ref().is_ok_and(has));
    unknown.map(|(vault, _)| vault.clone()).collect()
}

/// Stores the release under its name; under one that nobody can guess if something else lies there.
async fn put(connected: &Connected, claim: &Claim, packed: &[u8], now: Timestamp) -> Result<()> {
    let (epoch, vault) = (claim.epoch, connected.vault.as_ref());
    let key = |tail| Name::Release { epoch, claim: claim.claim_id, tail }.key(&claim.cluster_id);
    let stored = store_bytes(vault, key(None), packed, now).await;
    let is_taken = |error: &anyhow::Error| matches!(error.downcast_ref(), Some(VaultError::AlreadyExists { .. }));
    match stored {
        Err(error) if is_taken(&error) => store_bytes(vault, key(Some(ClaimId::make()?)), packed, now).await.map(drop),
        stored => stored.map(drop),
    }
}
