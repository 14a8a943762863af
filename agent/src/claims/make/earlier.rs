//! The claim of an earlier run of this host, which was killed.

use anyhow::Result;

use super::{Attempt, lost};
use crate::claims::{
    Claim, Ended, FRESH, Made, REUSE, Reading, Record, Seen, Stage, Status,
    held::{age, before, holders, overlooked, unread},
    judge,
};

/// What became of it.
pub(super) enum Earlier {
    /// There is none that counts.
    Nothing,
    Holds(Box<Made>),
    /// It was void in some vault, so this run ended it. Another one above this epoch takes its place.
    GivenUp(u32),
}

impl Attempt<'_> {
    /// Returns the claim of an earlier run if it is recent and holds. It is judged again once it must have settled: the
    /// earlier run may have been killed before it did that.
    pub(super) async fn go_on_with_own(&self, readings: &[Result<Reading>]) -> Result<Earlier> {
        let Some(record) = Record::read(self.config, &self.draft.cluster_id) else { return Ok(Earlier::Nothing) };
        let mut claims = readings.iter().flatten().flat_map(|reading| &reading.claims);
        let own = claims.find(|seen| seen.claim.claim_id == record.claim_id);
        if own.is_none_or(|own| age(readings.iter().flatten(), &own.claim) >= REUSE) {
            return Ok(Earlier::Nothing);
        }
        tracing::info!("an earlier run of this host claimed the swarm with epoch {}; going on with that", record.epoch);
        tokio::time::sleep(self.config.standby.claim_settle.duration()).await;
        let again = self.read().await;
        let holding = holders(&again);
        let is_rival = |seen: &Seen| {
            let is_fresh = !self.terms.fenced && age(again.iter().flatten(), &seen.claim) < FRESH;
            seen.claim.claim_id != record.claim_id && (is_fresh || seen.claim.epoch >= record.epoch)
        };
        if holding.iter().any(|(_, seen)| is_rival(seen)) {
            return Ok(Earlier::Nothing);
        }
        let held = holding.iter().filter(|(_, seen)| seen.claim.claim_id == record.claim_id);
        let (vaults, claims): (Vec<String>, Vec<Claim>) =
            held.map(|(reading, seen)| (reading.vault.clone(), seen.claim.clone())).unzip();
        let Some(claim) = claims.into_iter().next() else { return Ok(Earlier::Nothing) };
        if Self::is_void_somewhere(&again, &claim) {
            // That vault alone would say that the site before has the swarm.
            let undone = self.give_up(&claim, true, self.vaults).await;
            undone.iter().for_each(|advice| tracing::warn!("{advice}"));
            return Ok(Earlier::GivenUp(claim.epoch));
        }
        self.require_first(&again, &claim)?;
        let superseded = before(&again, &claim);
        let attention = [unread(&again), again.iter().flatten().flat_map(Reading::findings).collect()].concat();
        Ok(Earlier::Holds(Box::new(Made { claim, vaults, superseded, is_earlier: true, attention })))
    }

    /// Notes that the claim may be used from now on. That of a swarm which is here already stays as it is.
    pub(super) fn finish(&self, claim: &Claim) -> Result<()> {
        match Record::read(self.config, &claim.cluster_id).filter(|record| record.claim_id == claim.claim_id) {
            Some(record) if !record.is_bare() => Ok(()),
            _ => Record::new(claim.cluster_id.clone(), claim.epoch, claim.claim_id, Stage::Won).write(self.config),
        }
    }

    /// Ends the claim that a killed run of this host left before it had placed anything by it: it could come before that of
    /// a site that works, and what takes its place may be undone. Returns an advice if no vault took the release.
    pub(super) async fn end_left(&self, readings: &[Result<Reading>]) -> Option<String> {
        let record = Record::read(self.config, &self.draft.cluster_id).filter(Record::is_bare)?;
        let ended = Ended::of(readings.iter().flatten());
        let mut seen = readings.iter().flatten().flat_map(|reading| &reading.claims);
        let own = seen.find(|seen| seen.claim.claim_id == record.claim_id && !ended.has_undone(record.claim_id))?;
        self.give_up(&own.claim, true, self.vaults).await
    }

    /// Stops where a claim that the earlier run did not see, as it was killed before it looked again, was there before its own.
    /// The claim before the own one it did see.
    fn require_first(&self, readings: &[Result<Reading>], claim: &Claim) -> Result<()> {
        let ended = Ended::of(readings.iter().flatten());
        for reading in readings.iter().flatten().filter(|_| !self.terms.fenced) {
            let entries = judge(reading, &ended);
            if let Some(first) = overlooked(&entries, reading, claim, |seen| claim.previous == Some(seen.digest)) {
                return Err(lost(first, reading).into());
            }
        }
        Ok(())
    }

    /// Whether a claim lost in any vault, to one that does not hold there any more.
    fn is_void_somewhere(readings: &[Result<Reading>], claim: &Claim) -> bool {
        let ended = Ended::of(readings.iter().flatten());
        let mut entries = readings.iter().flatten().flat_map(|reading| judge(reading, &ended));
        entries.any(|it| it.seen.claim.claim_id == claim.claim_id && matches!(it.status, Status::Void { .. }))
    }
}
