//! Claims of other sites, before and after this host makes its own.

use std::net::SocketAddr;

use anyhow::Result;
use swarmdr_archive::ClusterId;

use super::NO_KEY;
use crate::{
    claims::{self, Claim, Query, Reading, Record},
    host::network,
    restore::{Restore, RestorePlan},
};

impl Restore<'_> {
    /// Returns where the site of the newest claim answers, unless that is this host itself. Vaults that cannot be read
    /// say nothing here: the claim that is made later needs them.
    pub(in crate::restore) async fn claimed_addresses(&self, cluster: &ClusterId) -> Result<Vec<(SocketAddr, String)>> {
        let Some(means) = self.means().await? else { return Ok(Vec::new()) };
        let readings =
            claims::read_all(&means.vaults, Query::new(cluster, &means.promoter.trusted, self.run.now)).await;
        let Some((_, seen)) = latest(&readings, claims::holders(&readings)) else { return Ok(Vec::new()) };
        if Record::read(self.run.config, cluster).is_some_and(|record| record.claim_id == seen.claim.claim_id) {
            return Ok(Vec::new());
        }
        let local = network::local_addresses()?;
        let others = seen.claim.addresses.iter().filter(|addr| !network::has(&local, addr.ip()));
        Ok(others.map(|addr| (*addr, seen.claim.site.clone())).collect())
    }

    /// Describes for a dry run who has the newest claim, and whether this host could make one.
    pub async fn claim_notes(&self, plan: &RestorePlan, fenced: bool) -> Result<Vec<String>> {
        let config = self.run.config;
        let Some(means) = self.means().await? else { return Ok(Vec::new()) };
        if means.promoter.signer.is_none() {
            return Ok(vec![NO_KEY.to_owned()]);
        }
        let mut notes = Vec::new();
        if !means.promoter.is_believed_by_managers(config)? {
            notes.push("the key that signs this host's claims is not among standby.promoters here: managers that know only those do not believe it".to_owned());
        }
        let cluster = &plan.cluster_id;
        let readings =
            claims::read_all(&means.vaults, Query::new(cluster, &means.promoter.trusted, self.run.now)).await;
        notes.extend(readings.iter().filter_map(|reading| reading.as_ref().err()).map(|error| format!("{error:#}")));
        let own = Record::read(config, cluster).map(|record| record.claim_id);
        notes.push(match latest(&readings, claims::holders(&readings)) {
            None => "no site has claimed this swarm; a restore claims it for this host".to_owned(),
            Some((_, seen)) => {
                let Claim { site, epoch, claim_id, .. } = &seen.claim;
                let is_own = own == Some(*claim_id);
                let is_fresh = claims::is_fresh(readings.iter().flatten(), &seen.claim, self.run.now);
                let could = match (is_own, is_fresh && !fenced) {
                    (true, _) => "that is this host; a restore goes on with it, or claims the swarm again",
                    (false, true) => "that is so recent that a restore would end with exit code 3",
                    (false, false) => "a restore claims it for this host",
                };
                format!("{site} claimed this swarm at {} with epoch {epoch}: {could}", seen.stored)
            }
        });
        Ok(notes)
    }
}

/// The claim that counts of those in all vaults.
pub(super) fn latest<'a>(
    readings: &[Result<Reading>],
    shown: Vec<(&'a Reading, claims::Seen)>,
) -> Option<(&'a Reading, claims::Seen)> {
    claims::foremost(&readings.iter().flatten().collect::<Vec<_>>(), shown)
}
