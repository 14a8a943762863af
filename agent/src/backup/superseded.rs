//! Whether another site has taken the swarm over: asked before the engine is touched, and once more right before that.

use anyhow::Result;
use swarmdr_archive::ClusterId;
use swarmdr_vault::renew_version;

use super::{Backup, Uploader};
use crate::{
    claims::{Judged, Memory, Superseded, label, standing},
    host::engine::Engine,
    keys::promoter::Promoter,
    vaults::Connected,
};

impl Backup<'_> {
    /// Refuses (exit 4) a backup of a swarm that another site has claimed. Vaults that cannot be read say nothing: an
    /// outage of theirs never stops a backup.
    pub(super) async fn require_not_superseded(
        &self,
        uploader: &mut Uploader,
        cluster: &ClusterId,
        dry_run: bool,
    ) -> Result<()> {
        let config = self.run.config;
        let promoter = Promoter::for_watching(config)?;
        if promoter.trusted.is_empty() {
            return Ok(());
        }
        let label = match label::read(&Engine::at(&config.engine.socket)).await {
            Ok(label) if dry_run => label,
            Ok(label) => {
                Memory::update(config, cluster, |memory| memory.label = label);
                label
            }
            Err(error) => {
                tracing::warn!("whether another site has this swarm is not known: {error:#}");
                return Ok(());
            }
        };
        let vaults = uploader.connected();
        let judged = standing::of_this_host(config, &vaults, &promoter, cluster, label, self.run.now).await;
        judged.unread.iter().for_each(|why| tracing::warn!("whether another site has this swarm is not known: {why}"));
        for finding in &judged.findings {
            if !uploader.attention.contains(finding) {
                uploader.attention.push(finding.clone());
            }
        }
        if !dry_run {
            self.renew(&vaults, &judged, uploader).await;
        }
        match judged.superseded() {
            Some(superseded) => Err(Superseded::refuse(superseded)),
            None => Ok(()),
        }
    }

    /// Keeps the claim of this swarm locked as long as its backups go on: otherwise a lifecycle rule removes it one day,
    /// and the old site works on.
    async fn renew(&self, vaults: &[Connected], judged: &Judged, uploader: &mut Uploader) {
        for (vault, at) in &judged.own {
            let Some(connected) = vaults.iter().find(|connected| connected.vault.address() == vault) else { continue };
            if let Err(error) = renew_version(connected.vault.as_ref(), at, self.run.now).await {
                let told = format!("the lock of this swarm's claim was not renewed: {error}");
                if !uploader.attention.contains(&told) {
                    uploader.attention.push(told);
                }
            }
        }
    }
}
