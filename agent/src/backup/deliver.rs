//! From the spool into the vaults.

use anyhow::{Context, Result};

use super::Backup;
use crate::{
    signing,
    spool::Spool,
    vaults::{Archive, Connected, Kept},
};

impl Backup<'_> {
    /// Stores an archive in every vault. One that is not required may fail while another took it; then the
    /// archive stays in the spool until that one has it too.
    pub(super) async fn store(
        &self,
        vaults: &[Connected],
        spool: &Spool,
        archive: &Archive,
        attention: &mut Vec<String>,
    ) -> Result<Vec<Kept>> {
        let mut kept = Vec::new();
        let mut failed = None;
        for connected in vaults {
            let keep = connected.keep(archive, self.now, self.progress);
            match self.shutdown.or_interrupted(keep).await {
                Ok(one) => kept.push(one),
                Err(error) if connected.settings.required || self.shutdown.is_requested() => return Err(error),
                Err(error) => {
                    attention.push(format!("{error:#}"));
                    failed = Some(error);
                }
            }
        }
        match failed {
            None => spool.release(&archive.path)?,
            Some(error) if kept.is_empty() => return Err(error),
            Some(_) => {}
        }
        Ok(kept)
    }

    /// Sends what earlier runs could not, oldest first. The backup of this run is stored already, so a
    /// failure here is told and no error.
    pub(super) async fn send_waiting(
        &self,
        vaults: &[Connected],
        spool: &Spool,
        attention: &mut Vec<String>,
    ) -> Result<()> {
        let keys = signing::own_and_trusted(self.config)?;
        for waiting in spool.waiting()? {
            let (path, keys) = (waiting.path.clone(), keys.clone());
            let read = tokio::task::spawn_blocking(move || Archive::read(&path, &keys));
            let sent = match read.await.context("the check of a waiting archive ended unexpectedly")? {
                Ok(archive) => self.store(vaults, spool, &archive, attention).await.map(|_| ()),
                Err(error) => Err(error),
            };
            match sent {
                Ok(()) => tracing::info!(id = %waiting.id, "sent a backup that was waiting"),
                Err(error) => attention.push(format!("{} still waits: {error:#}", waiting.path.display())),
            }
        }
        Ok(())
    }
}
