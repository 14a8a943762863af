//! The fetch of the newest backup, and the look at what was fetched before.

use std::path::Path;

use anyhow::{Context, Result};
use swarmdr_vault::catalog::Filter;

use super::Standby;
use crate::{
    archive::{
        fetched::Fetched,
        kept::{Shelf, archive_name},
        source::{Found, find_payload_mismatch},
    },
    host::files::space,
    outcome::failpoint,
    standby::seal,
};

/// Number of copies with a payload mismatch after which the run ends.
const MOST_MISMATCHES: usize = 8;

impl Standby<'_> {
    /// True if the kept archive is the one that was found, with every byte.
    pub(super) async fn is_whole(&self, path: &Path, found: &Found) -> bool {
        let local = self.local(found, path.to_owned());
        match self.verified(&local).await {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!("what is kept in {} is not whole, and is fetched again: {error:#}", path.display());
                false
            }
        }
    }

    /// Verifies every stored byte of an archive that is a local file.
    pub(super) async fn verified(&self, found: &Found) -> Result<Fetched> {
        let keyring = match found.head.manifest.previous {
            // It may be one that was formed here.
            Some(_) => seal::keyring_with(self.run.config, &self.keyring),
            None => self.keyring.clone(),
        };
        let fetched = Fetched::get(&self.run, found, &self.run.config.state_dir).await?;
        Ok(fetched.verify_stored(&keyring).await??)
    }

    /// Fetches the newest backup whose payload is what its head says, and puts it on the shelf. Its name is not yet in the
    /// record.
    pub(super) async fn fetch(&self, mut found: Found, shelf: &Shelf) -> Result<Found> {
        let mut filter = Filter { cluster: self.run.config.standby.cluster.clone(), ..Filter::default() };
        loop {
            let error = match self.fetch_one(&found, shelf).await {
                Ok(()) => return Ok(found),
                Err(error) => error,
            };
            let mismatch = find_payload_mismatch(&error).cloned().filter(|_| filter.except.len() < MOST_MISMATCHES);
            let mismatch = mismatch.ok_or(error)?;
            tracing::warn!("{mismatch}; going on to the next best copy");
            filter.except.push(mismatch);
            found = self.find(&filter).await?;
        }
    }

    pub(super) async fn fetch_one(&self, found: &Found, shelf: &Shelf) -> Result<()> {
        let source = &found.source;
        let state_dir = &self.run.config.state_dir;
        space::require(state_dir, 2 * found.head.archive_size, "the archive and a copy of it")?;
        // In the shelf: the scratch place of another run may be in memory.
        let fetched = Fetched::get(&self.run, found, &shelf.path("")).await?;
        let verified = fetched.verify_stored(&self.keyring).await;
        let verified = verified.and_then(|verified| verified.map_err(|why| source.payload_mismatch(why)));
        let fetched =
            verified.with_context(|| format!("backup {} from {source} is not whole", found.head.manifest.id))?;
        let name = archive_name(found.head.manifest.id);
        let new = shelf.path(&format!("{name}.new"));
        fetched.copy_to(new.clone()).await?;
        failpoint::reach("standby-fetched");
        std::fs::rename(&new, shelf.path(&name)).context("failed to put the archive on its place")?;
        shelf.flush()
    }
}
