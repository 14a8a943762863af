//! The claim of a restore: of several hosts that restore the same swarm, one goes on.
//!
//! It is made when everything is ready and before the engine is stopped, so a host that comes second has changed nothing.
//! A restore that is undone gives it up. Once the swarm is back, it carries the claim as a label.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Result, anyhow};
use serde::{Deserialize, Serialize};
use swarmdr_archive::{ClusterId, Digest, reader::Head};

use super::{
    Prepared, Restore, RestorePlan,
    change::Change,
    journal::{self, Journal},
};
use crate::{
    archive::source::Source,
    claims::{
        self, Claim, ClaimId, Demand, Draft, FRESH, Fenced, Made, Outcome, PromotedFrom, Reading, Record, Terms, Verb,
        label,
    },
    host::{engine::Engine, name::hostname, network},
    keys::promoter::Promoter,
    outcome::{exit::Exit, failpoint, failure::Failure},
    vaults::{self, Connected},
};

/// Time to give up a claim while a restore is undone, or after it was interrupted: the vaults may be gone.
const RELEASE_LIMIT: Duration = Duration::from_secs(20);

/// Said where nothing can sign a claim and nobody asked for one.
const NO_KEY: &str = "this host has no age identity and no standby.promoter_key, so no claim is made: another host may restore this swarm as well";

/// How a restore claims its swarm.
#[derive(Debug, Clone)]
pub struct Claiming {
    pub verb: Verb,
    pub reason: Option<String>,
    /// How old managers were dealt with, as far as the caller did that.
    pub fence: Vec<Fenced>,
    /// True if the state was formed beforehand.
    pub formed: bool,
    /// Claims whose sites are known to be alive.
    pub living: Vec<ClaimId>,
    /// Time that each vault gets to show its claims, and again to take this one; `None` if it gets what it needs.
    pub limit: Option<Duration>,
}

impl Default for Claiming {
    fn default() -> Self {
        Self { verb: Verb::Restore, reason: None, fence: Vec::new(), formed: false, living: Vec::new(), limit: None }
    }
}

/// What became of the claim, as the journal keeps it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Claimed {
    /// `None` if no claim was made.
    pub made: Option<Made>,
    /// True until the swarm carries the claim.
    pub is_owed: bool,
    /// What the operator should see when the swarm is back.
    pub attention: Vec<String>,
}

/// The part of a report that tells of the claim.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClaimReport {
    pub epoch: u32,
    pub id: ClaimId,
    pub vaults: Vec<String>,
    /// The claim that held before.
    pub superseded: Option<Claim>,
}

impl ClaimReport {
    pub fn of(made: &Made) -> Self {
        Self {
            epoch: made.claim.epoch,
            id: made.id(),
            vaults: made.vaults.clone(),
            superseded: made.superseded.clone(),
        }
    }
}

/// The keys and vaults that claims need.
struct Means {
    promoter: Promoter,
    vaults: Vec<Connected>,
}

impl Restore<'_> {
    /// Returns what claims need; `None` for a run that makes none, and where every vault is a directory of this host that
    /// nobody configured.
    async fn means(&self) -> Result<Option<Means>> {
        let config = self.run.config;
        if self.claiming.is_none() || config.vault.is_empty() {
            return Ok(None);
        }
        let promoter = Promoter::find(config, &self.keyring.identities)?;
        Ok(Some(Means { promoter, vaults: vaults::connect(config).await? }))
    }

    /// Claims the swarm for the restore of this record, right before the engine is stopped. Fails with exit code 3 if
    /// another site was first.
    pub(super) async fn claim(&self, record: &mut journal::Record, prepared: &Prepared) -> Result<()> {
        record.claim = self.claim_for(&mut record.plan, prepared).await?;
        Ok(())
    }

    /// Claims the swarm for a plan. Returns what became of that; `None` if no claim is to be made.
    pub(super) async fn claim_for(&self, plan: &mut RestorePlan, prepared: &Prepared) -> Result<Option<Claimed>> {
        let (Some(claiming), Some(means)) = (&self.claiming, self.means().await?) else { return Ok(None) };
        failpoint::reach("claim");
        let made = match &means.promoter.signer {
            Some(_) => {
                let draft = self.draft(plan, prepared, claiming);
                let terms = terms(claiming, prepared, &means.promoter);
                let attempt =
                    claims::make(self.run.config, &means.vaults, &means.promoter, &draft, &terms, self.run.now);
                let attempt = self.run.shutdown.or_interrupted(attempt).await;
                if self.run.shutdown.is_requested() {
                    self.give_up_unfinished(&means, &plan.cluster_id).await;
                }
                attempt?
            }
            None if means.promoter.is_configured => return Err(no_key()),
            None => {
                plan.notes.push(NO_KEY.to_owned());
                return Ok(None);
            }
        };
        Ok(Some(match made {
            Outcome::Made(made) => {
                tracing::info!("this host claimed the swarm with epoch {}", made.claim.epoch);
                let attention = made.attention.clone();
                Claimed { made: Some(*made), is_owed: true, attention }
            }
            Outcome::NotMade(why) => {
                let why = why.join("; ");
                let told = format!("no claim was made, so another host may restore this swarm as well: {why}");
                Claimed { attention: vec![told], ..Claimed::default() }
            }
        }))
    }

    /// Gives a claim up: what it was made for is undone, or did not come about. Returns a warning if that failed.
    pub(super) async fn give_up(&self, claimed: Option<&Claimed>) -> Option<String> {
        let made = claimed?.made.as_ref()?;
        let release = async {
            match self.means().await? {
                Some(means) => self.release(&means, &made.claim, "the restore was undone").await,
                None => Ok(()),
            }
        };
        let released = tokio::time::timeout(RELEASE_LIMIT, release).await;
        let problem = match released {
            Ok(Ok(())) => {
                Record::forget(self.run.config, made.id());
                return None;
            }
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => format!("no vault answered within {} s", RELEASE_LIMIT.as_secs()),
        };
        let minutes = FRESH.as_mins();
        Some(format!(
            "this host's claim {} on the swarm could not be given up ({problem}): for {minutes} minutes other hosts need --fenced",
            made.claim.epoch
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
            site: site(self.run.config),
            addresses: vec![addr],
            promoted_from: PromotedFrom { backup: plan.id, manifest_digest: origin(plan, head) },
            verb: claiming.verb,
            reason: claiming.reason.clone(),
            fence,
            formed: claiming.formed,
        }
    }

    /// Releases what a run that was asked to end may have claimed.
    async fn give_up_unfinished(&self, means: &Means, cluster: &ClusterId) {
        let Some(record) = Record::read(self.run.config, cluster) else { return };
        let release = async {
            let readings = claims::read_all(&means.vaults, cluster, &means.promoter.trusted, self.run.now).await;
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
        let missed = claims::release(&means.vaults, signer, claim, reason, self.run.now).await?;
        missed.iter().for_each(|missed| tracing::warn!("{missed}"));
        Ok(())
    }

    /// Refuses to form a swarm that another site has claimed since an earlier run of this host placed its state. Vaults
    /// that cannot be read say nothing.
    pub(super) async fn require_claim(&self, journal: &Journal, fenced: bool) -> Result<()> {
        let own = journal.record.claim.as_ref().and_then(|claimed| claimed.made.as_ref());
        let (Some(own), Some(means), false) = (own, self.means().await?, fenced) else { return Ok(()) };
        let cluster = &own.claim.cluster_id;
        let readings = claims::read_all(&means.vaults, cluster, &means.promoter.trusted, self.run.now).await;
        let later = newest_of(&readings).filter(|(_, seen)| seen.claim.epoch > own.claim.epoch);
        let Some((_, seen)) = later else { return Ok(()) };
        Err(Failure::new(
            Exit::NotOurTurn,
            format!(
                "{} claimed this swarm at {} with epoch {}, after an earlier run of this host had placed its state; nothing was changed by this run",
                seen.claim.site, seen.stored, seen.claim.epoch
            ),
        )
        .advice("see that it works there; then wipe this host")
        .advice("if that site is gone for good: --fenced, by which you vouch for that")
        .into())
    }

    /// Returns where the site of the newest claim answers, unless that is this host itself. Vaults that cannot be read
    /// say nothing here: the claim that is made later needs them.
    pub(super) async fn claimed_addresses(&self, cluster: &ClusterId) -> Result<Vec<(SocketAddr, String)>> {
        let Some(means) = self.means().await? else { return Ok(Vec::new()) };
        let readings = claims::read_all(&means.vaults, cluster, &means.promoter.trusted, self.run.now).await;
        let Some((_, seen)) = newest_of(&readings) else { return Ok(Vec::new()) };
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
        let readings = claims::read_all(&means.vaults, cluster, &means.promoter.trusted, self.run.now).await;
        notes.extend(readings.iter().filter_map(|reading| reading.as_ref().err()).map(|error| format!("{error:#}")));
        let own = Record::read(config, cluster).map(|record| record.claim_id);
        notes.push(match newest_of(&readings) {
            None => "no site has claimed this swarm; a restore claims it for this host".to_owned(),
            Some((reading, seen)) => {
                let Claim { site, epoch, claim_id, .. } = &seen.claim;
                let is_own = own == Some(*claim_id);
                let is_fresh = reading.now.duration_since(seen.stored) < FRESH;
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

    /// Makes the swarm on this host carry the claim that its restore made, if that is still owed.
    pub async fn label_late(&self) -> Result<Vec<String>> {
        let engine = Engine::at(&self.run.config.engine.socket);
        let facts = engine.facts().await?;
        let Some(mut journal) = Journal::read(&facts.data_root)? else { return Ok(Vec::new()) };
        let plan = &journal.record.plan;
        let is_here = facts.swarm.cluster_id.as_ref() == Some(&plan.cluster_id)
            && (plan.readdress.is_some() || facts.swarm.node_id.as_ref() == Some(&plan.node_id));
        if journal.record.restored().is_none() || !is_here {
            return Ok(Vec::new());
        }
        Ok(carry(&engine, &mut journal).await)
    }
}

impl Change<'_> {
    /// Makes the swarm carry its claim; a failure is only told.
    pub(super) async fn label(&mut self) -> Vec<String> {
        failpoint::reach("label");
        carry(&self.engine, &mut self.journal).await
    }

    /// Gives the claim up: what it was made for is undone. Returns a warning if that failed.
    pub(super) async fn give_up_claim(&self) -> Option<String> {
        self.restore.give_up(self.record().claim.as_ref()).await
    }
}

/// Labels the swarm if that is owed, and notes it. Returns a warning if it did not work.
async fn carry(engine: &Engine, journal: &mut Journal) -> Vec<String> {
    let Some(claimed) = journal.record.claim.as_mut().filter(|claimed| claimed.is_owed) else { return Vec::new() };
    let Some(id) = claimed.made.as_ref().map(Made::id) else { return Vec::new() };
    match label::write(engine, id).await {
        Ok(_) => {
            claimed.is_owed = false;
            journal.note().err().map(|error| format!("{error:#}")).into_iter().collect()
        }
        Err(error) => vec![format!(
            "the swarm does not carry its claim yet, so managers that join it take it for superseded: {error:#}; run the same command again"
        )],
    }
}

/// Returns the digest of the backup's manifest. The archive of a state that was formed beforehand names it as the one
/// before.
fn origin(plan: &RestorePlan, head: &Head) -> Digest {
    head.manifest.previous.filter(|_| plan.formed).unwrap_or(head.manifest_digest)
}

fn newest_of(readings: &[Result<Reading>]) -> Option<(&Reading, claims::Seen)> {
    claims::holders(readings).into_iter().max_by_key(|(_, seen)| seen.claim.epoch)
}

fn terms(claiming: &Claiming, prepared: &Prepared, promoter: &Promoter) -> Terms {
    let demand = match (&prepared.found.source, promoter.is_configured) {
        (_, true) => Demand::Always,
        (Source::Vault { .. }, false) => Demand::UnlessDenied,
        (Source::File(_), false) => Demand::IfPossible,
    };
    let living = claiming.living.clone();
    Terms { fenced: prepared.is_fenced(), own: Vec::new(), living, demand, limit: claiming.limit }
}

/// How the old managers of the backup were dealt with.
fn fenced(prepared: &Prepared) -> Vec<Fenced> {
    let manifest = &prepared.found.head.manifest;
    let how = if prepared.is_fenced() { "the operator vouches for it" } else { "did not answer" };
    let others = manifest.managers.iter().map(|manager| manager.addr.clone());
    others.map(|address| Fenced { address, how: how.to_owned() }).collect()
}

/// Name of this site in claims.
pub fn site(config: &crate::config::Config) -> String {
    config.standby.site.clone().unwrap_or_else(hostname)
}

fn no_key() -> anyhow::Error {
    Failure::usage(
        "standby.promoters are configured, and this host has no key to sign a claim with; nothing was changed",
    )
    .advice("name an age identity (identity_file, --identity), from which the key is derived, or standby.promoter_key")
    .advice("or use --without-claim if you know that no other host restores this swarm")
    .into()
}
