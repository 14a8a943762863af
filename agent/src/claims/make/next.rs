//! The claim that follows those that were seen.

use anyhow::Result;
use swarmdr_archive::receipt;

use super::Attempt;
use crate::{
    claims::{Carried, Claim, ClaimId, Draft, Ended, Reading, document::VERSION, held::followed, name::MOST},
    outcome::failure::Failure,
};

/// Epochs that are passed over at least where claims may be unseen.
const GAP: u32 = 1000;

impl Attempt<'_> {
    /// Returns the claim under the next epoch that is free and above `tried`.
    pub(super) fn next_claim(&self, readings: &[Result<Reading>], tried: u32) -> Result<Claim> {
        let read: Vec<&Reading> = readings.iter().flatten().collect();
        let last = last(&read);
        let previous = followed(&read).map(|seen| seen.digest);
        let is_free = |epoch: &u32| !read.iter().any(|reading| reading.taken.contains(epoch));
        let next = match self.sees_all(readings) {
            true => last.saturating_add(1),
            false => self.blind_epoch(last),
        };
        let from = next.max(tried.saturating_add(1));
        let epoch = (from..=MOST).find(is_free).ok_or_else(|| none_is_left(last))?;
        let Draft { cluster_id, site, addresses, promoted_from, verb, reason, fence, formed } = self.draft.clone();
        Ok(Claim {
            version: VERSION,
            epoch,
            cluster_id,
            previous,
            claim_id: ClaimId::make()?,
            site,
            addresses,
            promoted_from,
            verb,
            at: self.now,
            reason,
            fence,
            formed,
        })
    }

    /// The epoch of a claim whose maker may have missed some. Those that were made without sight of each other cannot count
    /// on from the last one, so the clock orders them: the minutes since 1970.
    fn blind_epoch(&self, last: u32) -> u32 {
        let minutes = u32::try_from(self.now.as_second() / 60).unwrap_or(0);
        last.saturating_add(GAP).max(minutes)
    }

    /// Whether no claim can have been missed.
    fn sees_all(&self, readings: &[Result<Reading>]) -> bool {
        let is_seen = |id| readings.iter().flatten().flat_map(|it| &it.claims).any(|seen| seen.claim.claim_id == id);
        let is_carried_seen = match self.terms.carried {
            Carried::Nothing => true,
            Carried::Claim(id) => is_seen(id),
            Carried::Unknown => false,
        };
        is_carried_seen && readings.iter().all(|reading| reading.as_ref().is_ok_and(|reading| reading.is_whole))
    }

    /// Whether every host that makes a claim now means the same epoch.
    pub(super) fn is_on_one_key(&self, readings: &[Result<Reading>]) -> bool {
        let has_junk = readings.iter().flatten().any(|reading| reading.others > 0);
        self.vaults.len() == 1 && self.sees_all(readings) && !has_junk
    }

    pub(super) fn sign(&self, claim: &Claim) -> Result<Vec<u8>> {
        let about = format!("claim {} of cluster {}", claim.epoch, claim.cluster_id);
        let mtime = u64::try_from(claim.at.as_second()).unwrap_or(0);
        Ok(receipt::seal(self.signer, &serde_json::to_vec_pretty(claim)?, &about, mtime)?)
    }
}

/// Returns the last epoch. One so high that nothing can follow, as a thief of a promoter's key would choose, does not count
/// once it is ended.
fn last(read: &[&Reading]) -> u32 {
    let ended = Ended::of(read.iter().copied());
    let claims = || read.iter().flat_map(|reading| &reading.claims).map(|seen| &seen.claim);
    let all = claims().map(|claim| claim.epoch).max();
    let living = || claims().filter(|claim| !ended.has_undone(claim.claim_id)).map(|claim| claim.epoch).max();
    all.filter(|epoch| *epoch < MOST).or_else(living).unwrap_or(0)
}

fn none_is_left(last: u32) -> Failure {
    Failure::refused(format!("no epoch is left for a claim after {last}"))
        .advice(format!("`swarmdr-agent step-down --claim {last}` ends that claim, if nobody stands behind it"))
        .advice("if a promoter's key was stolen: take it out of standby.promoters of every host")
        .advice("or use --without-claim if you know that no other host restores this swarm")
}
