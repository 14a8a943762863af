//! Whether another site has taken the swarm over: asked before the engine is touched, and once more right before that. What
//! the claim of this swarm needs to hold for long is done on the way.

use anyhow::Result;
use swarmdr_archive::SwarmNode;
use swarmdr_vault::renew_version;

use super::{Backup, Uploader};
use crate::{
    claims::{
        Claim, Judged, Memory, Origin, Superseded, label,
        standing::{self, Here, Standing},
    },
    host::engine::Engine,
    keys::promoter::Promoter,
    restore::claim::origin,
    vaults::Connected,
};

impl Backup<'_> {
    /// Refuses (exit 4) a backup of a swarm that another site has claimed. Vaults that cannot be read say nothing: an
    /// outage of theirs never stops a backup. One whose claims are denied is told.
    pub(super) async fn require_not_superseded(
        &self,
        uploader: &mut Uploader,
        own: &SwarmNode,
        dry_run: bool,
    ) -> Result<()> {
        let config = self.run.config;
        let promoter = Promoter::for_watching(config)?;
        if promoter.trusted.is_empty() {
            return Ok(());
        }
        let engine = Engine::at(&config.engine.socket);
        let asked = async { anyhow::Ok((label::read(&engine).await?, origin(&engine.facts().await?)?)) };
        let (label, origin) = match asked.await {
            Ok(asked) => asked,
            Err(error) => {
                tracing::warn!("whether another site has this swarm is not known: {error:#}");
                return Ok(());
            }
        };
        if !dry_run {
            Memory::update(config, &own.cluster, |memory| memory.see(&own.node, label, origin));
        }
        let here = Here { cluster: own.cluster.clone(), node: Some(own.node.clone()), label, origin };
        let vaults = uploader.connected();
        let judged = standing::of_this_host(config, &vaults, &promoter, &here, self.run.now).await;
        judged.unread.iter().for_each(|why| tracing::warn!("whether another site has this swarm is not known: {why}"));
        if !dry_run {
            Memory::update(config, &own.cluster, |memory| memory.learn(&judged));
        }
        judged.findings.iter().for_each(|finding| tell(uploader, finding));
        if promoter.is_configured {
            judged.denied.iter().for_each(|why| {
                tell(uploader, &format!("{why}; so whether another site has this swarm is not known from there"));
            });
        }
        match judged.superseded() {
            Some(superseded) => Err(Superseded::refuse(superseded)),
            None if dry_run => Ok(()),
            None => {
                self.renew(&vaults, &judged, uploader).await;
                self.copy_claims(&vaults, &judged, &promoter, uploader).await;
                self.label(&engine, &here, &judged, uploader).await;
                Ok(())
            }
        }
    }

    /// Keeps the claim of this swarm locked as long as its backups go on: otherwise a lifecycle rule removes it one day,
    /// and the old site works on.
    async fn renew(&self, vaults: &[Connected], judged: &Judged, uploader: &mut Uploader) {
        for (vault, at) in &judged.own {
            let Some(connected) = vaults.iter().find(|connected| connected.vault.address() == vault) else { continue };
            if let Err(error) = renew_version(connected.vault.as_ref(), at, self.run.now).await {
                tell(uploader, &format!("the lock of this swarm's claim was not renewed: {error}"));
            }
        }
    }

    /// Brings the claim of this swarm, and the releases of others, into the vaults that lack them. Credentials that may not
    /// are told only to those who asked for claims.
    async fn copy_claims(&self, vaults: &[Connected], judged: &Judged, promoter: &Promoter, uploader: &mut Uploader) {
        for missing in &judged.missing {
            match missing.copy(vaults, &promoter.trusted, self.run.now).await {
                Some((true, why)) if !promoter.is_configured => tracing::warn!("{why}"),
                Some((_, why)) => tell(uploader, &why),
                None => {}
            }
        }
    }

    /// Makes the swarm carry its claim again: its restore could not, or a program replaced the labels.
    async fn label(&self, engine: &Engine, here: &Here, judged: &Judged, uploader: &mut Uploader) {
        let Standing::Own { claim } = &judged.standing else { return };
        if here.label == Some(claim.claim_id) || !self.is_of_this_swarm(here, claim) {
            return;
        }
        match label::write(engine, claim.claim_id).await {
            Ok(_) => {
                tracing::info!("the swarm carries its claim {} again", claim.epoch);
                let Some(node) = &here.node else { return };
                let (label, config) = (Some(claim.claim_id), self.run.config);
                Memory::update(config, &here.cluster, |memory| memory.see(node, label, here.origin));
            }
            Err(error) => tell(uploader, &format!("the swarm does not carry its claim: {error:#}")),
        }
    }

    /// Whether this very swarm had the claim: it carried it while this host was the same node, or this host restored it
    /// so. A host that made a claim and was then joined to another site's swarm must not hand it over.
    fn is_of_this_swarm(&self, here: &Here, claim: &Claim) -> bool {
        let memory = Memory::read(self.run.config, Some(&here.cluster));
        let has_carried = |memory: Memory| memory.node == here.node && memory.carried.contains(&claim.claim_id);
        here.origin == Origin::Restored(claim.claim_id) || memory.is_some_and(has_carried)
    }
}

fn tell(uploader: &mut Uploader, what: &str) {
    if !uploader.attention.iter().any(|told| told == what) {
        uploader.attention.push(what.to_owned());
    }
}
