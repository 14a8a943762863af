//! The claim that follows those that were seen.

use anyhow::{Context, Result};
use swarmdr_archive::{Digest, receipt};

use super::Attempt;
use crate::claims::{Claim, ClaimId, Draft, Reading, Status, document::VERSION, judge};

impl Attempt<'_> {
    pub(super) fn next_claim(&self, readings: &[Result<Reading>]) -> Result<Claim> {
        let read: Vec<&Reading> = readings.iter().flatten().collect();
        let judged = read.iter().flat_map(|reading| judge(reading, read.iter().copied()));
        let (mut last, mut previous) = (0, None::<(u32, Digest)>);
        for entry in judged {
            let epoch = entry.seen.claim.epoch;
            last = last.max(epoch);
            let is_void = matches!(entry.status, Status::Void { .. });
            if !is_void && previous.is_none_or(|(before, _)| before < epoch) {
                previous = Some((epoch, entry.seen.digest));
            }
        }
        let is_free = |epoch: &u32| !read.iter().any(|reading| reading.taken.contains(epoch));
        let epoch = (last + 1..).find(is_free).context("every epoch is taken")?;
        let Draft { cluster_id, site, addresses, promoted_from, verb, reason, fence, formed } = self.draft.clone();
        Ok(Claim {
            version: VERSION,
            epoch,
            cluster_id,
            previous: previous.map(|(_, digest)| digest),
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

    pub(super) fn sign(&self, claim: &Claim) -> Result<Vec<u8>> {
        let about = format!("claim {} of cluster {}", claim.epoch, claim.cluster_id);
        let mtime = u64::try_from(claim.at.as_second()).unwrap_or(0);
        Ok(receipt::seal(self.signer, &serde_json::to_vec_pretty(claim)?, &about, mtime)?)
    }
}
