//! The claim of a restore: of several hosts that restore the same swarm, one goes on.
//!
//! It is made when everything is ready and before the engine is stopped, so a host that comes second has changed nothing.
//! A restore that is undone gives it up. Once the swarm is back, it carries the claim as a label.

mod again;
mod carried;
pub mod claimed;
mod rivals;

use std::time::Duration;

use anyhow::{Result, anyhow};
use swarm_state::Examined;
use swarmdr_archive::{ClusterId, Digest, reader::Head};

use super::{Prepared, Restore, RestorePlan, change::Change, journal};
use crate::{
    archive::source::Source,
    claims::{
        self, Carried, Claim, Demand, Draft, FRESH, Fenced, PromotedFrom, Query, Record, ReleaseKind, Stage, Terms,
        label, left,
    },
    keys::promoter::Promoter,
    outcome::{failpoint, failure::Failure},
    vaults::Connected,
};

pub use carried::origin;
use claimed::{Claimed, Claiming};

/// Time to give up a claim while a restore is undone, or after it was interrupted: the vaults may be gone.
const RELEASE_LIMIT: Duration = Duration::from_secs(20);

/// Said where nothing can sign a claim and nobody asked for one.
const NO_KEY: &str = "this host has no age identity and no standby.promoter_key, so no claim is made: another host may restore this swarm as well";

/// The keys and vaults that claims need.
struct Means {
    promoter: Promoter,
    vaults: Vec<Connected>,
}

impl Restore<'_> {
    /// Returns what claims need; `None` for a run that makes none, and where every vault is a directory of this host that
    /// nobody configured.
    async fn means(&self) -> Result<Option<Means>> {
        if self.claiming.is_none() { Ok(None) } else { self.means_to_release().await }
    }

    /// Returns what the release of a claim needs, which a run that makes none may owe too.
    async fn means_to_release(&self) -> Result<Option<Means>> {
        let config = self.run.config;
        if config.vault.is_empty() {
            return Ok(None);
        }
        let promoter = Promoter::find(config, &self.keyring.identities)?;
        Ok(Some(Means { promoter, vaults: self.vaults.get(config).await?.to_vec() }))
    }

    /// Claims the swarm for the restore of this record, right before the engine is stopped. Fails with exit code 3 if
    /// another site was first.
    pub(super) async fn claim(
        &self,
        record: &mut journal::Record,
        prepared: &Prepared,
        state: &Examined,
    ) -> Result<()> {
        let inventory = state.inventory.as_ref().or(record.recorded.as_ref());
        let carried = inventory.map_or(Carried::Unknown, |inventory| label::in_state(inventory).into());
        record.claim = self.claim_for(&mut record.plan, prepared, carried).await?;
        Ok(())
    }

    /// Claims the swarm for a plan. `carried`: what the swarm of the backup carries. Returns what became of that;
    /// `None` if no claim is to be made.
    pub(super) async fn claim_for(
        &self,
        plan: &mut RestorePlan,
        prepared: &Prepared,
        carried: Carried,
    ) -> Result<Option<Claimed>> {
        let (Some(claiming), Some(means)) = (&self.claiming, self.means().await?) else { return Ok(None) };
        failpoint::reach("claim");
        let made = match &means.promoter.signer {
            Some(_) => {
                let draft = self.draft(plan, prepared, claiming);
                let terms = Terms { carried, ..terms(claiming, prepared, &means.promoter) };
                let attempt =
                    claims::make(self.run.config, &means.vaults, &means.promoter, &draft, &terms, self.run.now);
                let before = Record::read(self.run.config, &plan.cluster_id);
                let attempt = self.run.shutdown.or_interrupted(attempt).await;
                if self.run.shutdown.is_requested() {
                    self.give_up_unfinished(&means, &plan.cluster_id, before.as_ref()).await;
                }
                attempt?
            }
            None if means.promoter.is_configured => return Err(no_key()),
            None => {
                plan.notes.push(NO_KEY.to_owned());
                return Ok(None);
            }
        };
        failpoint::reach("claimed");
        Ok(Some(Claimed::of(made)))
    }

    /// Gives up the claim of a restore that is undone, or did not come about. Returns a warning if that failed.
    pub(super) async fn give_up_claim_of(&self, record: &journal::Record) -> Option<String> {
        self.give_up(record.claim.as_ref().filter(|_| !record.is_on_claim_of_previous())).await
    }

    /// Gives a claim up: what it was made for is undone, or did not come about. Returns a warning if that failed.
    pub(super) async fn give_up(&self, claimed: Option<&Claimed>) -> Option<String> {
        let claim = claimed?.claim()?;
        let release = async {
            match self.means_to_release().await? {
                Some(means) => self.release(&means, claim, "the restore was undone").await,
                None => Ok(()),
            }
        };
        let released = tokio::time::timeout(RELEASE_LIMIT, release).await;
        let problem = match released {
            Ok(Ok(())) => {
                Record::forget(self.run.config, claim.claim_id);
                return None;
            }
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => format!("no vault answered within {} s", RELEASE_LIMIT.as_secs()),
        };
        if let Some(record) = Record::of_host(self.run.config).filter(|record| record.claim_id == claim.claim_id) {
            left::note_undone(self.run.config, &record);
        }
        let minutes = FRESH.as_mins();
        Some(format!(
            "this host's claim {} on the swarm could not be given up ({problem}): for {minutes} minutes other hosts need --fenced, and a site that works is superseded until `swarmdr-agent step-down --claim {0}`",
            claim.epoch
        ))
    }

    fn draft(&self, plan: &RestorePlan, prepared: &Prepared, claiming: &Claiming) -> Draft {
        let head = &prepared.found.head;
        let addr = plan.readdress.as_ref().map_or(plan.raft_addr, |target| target.addr);
        let mut fence = claiming.fence.clone();
        if fence.is_empty() {
            fence = fenced(prepared);
        }
        Draft {
            cluster_id: plan.cluster_id.clone(),
            site: claims::site(self.run.config),
            addresses: vec![addr],
            promoted_from: PromotedFrom { backup: plan.id, manifest_digest: backups_manifest(plan, head) },
            verb: claiming.verb,
            reason: claiming.reason.clone(),
            fence,
            formed: claiming.formed,
        }
    }

    /// Releases what a run that was asked to end may have claimed. The record from before this run is that of an earlier
    /// one, whose swarm may be alive.
    async fn give_up_unfinished(&self, means: &Means, cluster: &ClusterId, before: Option<&Record>) {
        let record = Record::read(self.run.config, cluster).filter(|record| before != Some(record));
        let Some(record) = record else { return };
        let first = [record.epoch];
        let query = Query { first: &first, ..Query::new(cluster, &means.promoter.trusted, self.run.now) };
        let release = async {
            let readings = claims::read_all(&means.vaults, query).await;
            let own = readings
                .iter()
                .flatten()
                .flat_map(|reading| &reading.claims)
                .find(|seen| seen.claim.claim_id == record.claim_id);
            match own {
                Some(seen) => self.release(means, &seen.claim, "the run was interrupted").await,
                None => Ok(()),
            }
        };
        match tokio::time::timeout(RELEASE_LIMIT, release).await {
            Ok(Ok(())) => Record::forget(self.run.config, record.claim_id),
            Ok(Err(error)) => tracing::warn!("{error:#}"),
            Err(_) => tracing::warn!("no vault answered, so the claim of this run stays: others wait until it is old"),
        }
    }

    async fn release(&self, means: &Means, claim: &Claim, reason: &str) -> Result<()> {
        let signer = means.promoter.signer.as_ref().ok_or_else(|| anyhow!("there is no key that signs claims"))?;
        let missed = claims::release(&means.vaults, signer, claim, ReleaseKind::Undone, reason, self.run.now).await?;
        missed.iter().for_each(|missed| tracing::warn!("{missed}"));
        Ok(())
    }
}

impl Change<'_> {
    /// Notes that a swarm may carry the claim from now on. Call this before the state is placed.
    pub(super) fn use_claim(&self) -> Result<()> {
        match self.record().claim.as_ref().and_then(Claimed::claim) {
            Some(claim) => Record::advance(self.restore.run.config, claim.claim_id, Stage::Used),
            None => Ok(()),
        }
    }
}

/// Returns the digest of the backup's manifest. The archive of a state that was formed beforehand names it as the one
/// before.
fn backups_manifest(plan: &RestorePlan, head: &Head) -> Digest {
    head.manifest.previous.filter(|_| plan.formed).unwrap_or(head.manifest_digest)
}

fn terms(claiming: &Claiming, prepared: &Prepared, promoter: &Promoter) -> Terms {
    let demand = demand(&prepared.found.source, promoter.is_configured, prepared.is_fenced());
    Terms { fenced: prepared.is_fenced(), carried: Carried::Nothing, demand, limit: claiming.limit }
}

/// What has to be if no vault takes the claim. With an archive in a file the vaults may be gone as well; where claims
/// were asked for, the operator has to vouch then.
fn demand(source: &Source, is_configured: bool, is_fenced: bool) -> Demand {
    match (source, is_configured) {
        (Source::File(_), true) if is_fenced => Demand::IfPossible,
        (_, true) => Demand::Always,
        (Source::Vault { .. }, false) => Demand::UnlessUnknown,
        (Source::File(_), false) => Demand::IfPossible,
    }
}

/// How the old managers of the backup were dealt with.
fn fenced(prepared: &Prepared) -> Vec<Fenced> {
    let manifest = &prepared.found.head.manifest;
    let how = if prepared.is_fenced() { "the operator vouches for it" } else { "did not answer" };
    let others = manifest.managers.iter().map(|manager| manager.addr.clone());
    others.map(|address| Fenced { address, how: how.to_owned() }).collect()
}

fn no_key() -> anyhow::Error {
    Failure::usage(
        "standby.promoters are configured, and this host has no key to sign a claim with; nothing was changed",
    )
    .advice("name an age identity (identity_file, --identity), from which the key is derived, or standby.promoter_key")
    .advice("or use --without-claim if you know that no other host restores this swarm")
    .into()
}

#[cfg(test)]
mod tests;
