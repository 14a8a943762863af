//! Copies of signed documents into vaults that lack them, so that each vault alone says the same.
//!
//! A vault that was away when a claim was made, or that was added later, does not have it. Whoever reads only that vault
//! would take the site before for the owner. The bytes are the same: a copy needs no key.

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use swarmdr_archive::{Digest, KeyId, TrustedKeys, receipt};
use swarmdr_vault::{VaultError, VersionRef, read_range, store_bytes};

use super::{Claim, FRESH, Reading, Release, Seen, SeenRelease, held::age};
use crate::vaults::Connected;

/// Most copies of one run; the next one goes on.
const MOST: usize = 8;

/// A document that one vault has, and another one lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    from: String,
    to: String,
    at: VersionRef,
    size: u64,
    digest: Digest,
    /// Time by the clock of the vault that lacks it.
    when: Timestamp,
}

/// Finds what is missing where: the own claim of this host's swarm, and the releases of claims that are there.
///
/// A document whose key has ended by the clock of the other vault would not count there, so it is not missing.
pub fn missing(readings: &[Reading], own: Option<&Claim>, keys: &TrustedKeys) -> Vec<Missing> {
    let mut found = Vec::new();
    for to in readings.iter().filter(|to| to.is_whole) {
        let keys = keys.at(to.now);
        let counts = |signer: KeyId| keys.with_id(signer).next().is_some();
        let claim = own.and_then(|own| missing_claim(readings, own, to)).filter(|(_, seen)| counts(seen.signer));
        found.extend(claim.map(|(from, seen)| Missing::new(from, to, (&seen.at, seen.size, seen.digest))));
        for (from, seen) in missing_releases(readings, to) {
            if counts(seen.signer) {
                found.push(Missing::new(from, to, (&seen.at, seen.size, seen.digest)));
            }
        }
    }
    found.truncate(MOST);
    found
}

/// One that is fresh is not copied: it would be a rival there of those that came at the same time.
fn missing_claim<'a>(readings: &'a [Reading], own: &Claim, to: &Reading) -> Option<(&'a Reading, &'a Seen)> {
    let is_own = |seen: &&Seen| seen.claim.claim_id == own.claim_id && seen.claim.epoch == own.epoch;
    if to.claims.iter().any(|seen| is_own(&seen)) {
        return None;
    }
    if age(readings, own) < FRESH {
        return None;
    }
    readings.iter().find_map(|from| Some((from, from.claims.iter().find(is_own)?)))
}

/// The releases that a vault lacks of claims that it has, each once.
fn missing_releases<'a>(readings: &'a [Reading], to: &Reading) -> Vec<(&'a Reading, &'a SeenRelease)> {
    let mut found: Vec<(&Reading, &SeenRelease)> = Vec::new();
    let same = |a: &Release, b: &Release| (a.epoch, a.claim_id, a.kind) == (b.epoch, b.claim_id, b.kind);
    for from in readings {
        for seen in &from.releases {
            let Release { epoch, claim_id, .. } = seen.release;
            let is_there = to.claims.iter().any(|it| (it.claim.epoch, it.claim.claim_id) == (epoch, claim_id));
            let mut known = to.releases.iter().chain(found.iter().map(|(_, found)| *found));
            if is_there && !known.any(|known| same(&known.release, &seen.release)) {
                found.push((from, seen));
            }
        }
    }
    found
}

impl Missing {
    fn new(from: &Reading, to: &Reading, (at, size, digest): (&VersionRef, u64, Digest)) -> Self {
        Self { from: from.vault.clone(), to: to.vault.clone(), at: at.clone(), size, digest, when: to.now }
    }

    /// Copies it. Returns whether the credentials forbid that, and what to tell if it did not work.
    pub async fn copy(&self, vaults: &[Connected], keys: &TrustedKeys, now: Timestamp) -> Option<(bool, String)> {
        let error = self.try_to_copy(vaults, keys, now).await.err()?;
        let denied = is_denied(&error);
        let hint = match denied {
            true => "; copy the object by hand, with credentials that may write below claims/",
            false => "",
        };
        Some((denied, format!("{} lacks {}, which is in {}: {error:#}{hint}", self.to, self.at.key, self.from)))
    }

    async fn try_to_copy(&self, vaults: &[Connected], keys: &TrustedKeys, now: Timestamp) -> Result<()> {
        let find = |address: &str| vaults.iter().find(|connected| connected.vault.address() == address);
        let (from, to) = find(&self.from).zip(find(&self.to)).context("one of the vaults is gone")?;
        let packed = read_range(from.vault.as_ref(), &self.at, 0..self.size).await?;
        let opened = receipt::open(&packed, &keys.at(self.when)).context("it would not count there")?;
        ensure!(Digest::of(&opened.document) == self.digest, "it is another document now");
        store_bytes(to.vault.as_ref(), self.at.key.clone(), &packed, now).await?;
        tracing::info!("copied {} from {} to {}", self.at.key, self.from, self.to);
        Ok(())
    }
}

/// Whether the credentials forbid what was tried.
pub fn is_denied(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| matches!(cause.downcast_ref(), Some(VaultError::AccessDenied { .. })))
}
