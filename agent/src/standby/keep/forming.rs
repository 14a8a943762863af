//! Whether the state of a backup is formed beforehand, and what was formed.

use anyhow::{Context, Result};
use jiff::Timestamp;
use swarmdr_archive::manifest::Manifest;

use super::{FORMING, Ready, Standby};
use crate::{
    archive::{
        fetched::Fetched,
        kept::{Formed, Kept, Shelf, formed_name},
        source::{Choice, Found, Source},
    },
    config::Config,
    host::{engine::EngineFacts, files::space},
    keys::Keyring,
    outcome::{failpoint, phases::Phases},
    standby::{form::Former, seal},
};

/// Whether the state is to be formed beforehand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Forming {
    Wanted,
    /// The reason why it is not.
    Not(String),
}

impl Forming {
    pub(super) fn of(manifest: &Manifest, keyring: &Keyring) -> Self {
        if manifest.managers.is_empty() {
            return Self::Not("a swarm of one manager leads at once in any case".to_owned());
        }
        if manifest.autolock {
            return Self::Not(
                "the swarm is autolocked: its state is formed on the day, with its unlock key".to_owned(),
            );
        }
        if manifest.is_encrypted() && keyring.identities.is_empty() {
            return Self::Not(
                "no identity is configured on this host, so the archive stays closed until the day".to_owned(),
            );
        }
        Self::Wanted
    }
}

impl Standby<'_> {
    /// True if nothing has to be formed, or what was formed is whole, and of the engine that is installed now.
    pub(super) async fn has_formed(&self, kept: &Kept, forming: &Forming, facts: &EngineFacts) -> bool {
        let Some(formed) = &kept.formed else { return matches!(forming, Forming::Not(_)) };
        if formed.engine != facts.version {
            return false;
        }
        let opened = async {
            let found = formed_source(self.run.config, kept, &self.keyring, self.run.now).await?;
            self.verified(&found).await
        };
        match opened.await {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!("the state that was formed beforehand is formed again: {error:#}");
                false
            }
        }
    }

    pub(super) async fn form(
        &self,
        ready: &Ready,
        local: &Found,
        shelf: &Shelf,
        phases: &mut Phases,
    ) -> Result<Formed> {
        let manifest = ready.manifest();
        space::require(
            &self.run.config.state_dir,
            manifest.payload.tar_size + FORMING,
            "the state that is formed beforehand",
        )?;
        let name = formed_name(manifest.id);
        let new = shelf.path(&format!("{name}.new"));
        let archive = Fetched::get(&self.run, local, &shelf.path("")).await?;
        let former = Former { run: self.run, keyring: &self.keyring, data_root: &ready.facts.data_root };
        let formed = former.form(local, archive, &new, phases).await?;
        failpoint::reach("standby-sealed");
        std::fs::rename(&new, shelf.path(&name)).context("failed to put the formed state on its place")?;
        shelf.flush()?;
        let claim = formed.claim.map(|claim| claim.to_string()).into();
        Ok(Formed { archive: name, manifest: formed.manifest, engine: formed.engine, claim, at: Timestamp::now() })
    }
}

/// Finds the state that was formed beforehand: its archive is signed by this host's own key, and names the kept backup.
pub async fn formed_source(config: &Config, kept: &Kept, keyring: &Keyring, now: Timestamp) -> Result<Found> {
    let formed = kept.formed.as_ref().context("no state was formed beforehand")?;
    let sealed = seal::keyring(config, keyring)?;
    let choice = Choice::File(Shelf::of(config).path(&formed.archive));
    let found = Source::find(config, &choice, &sealed.trusted, now).await?;
    let manifest = &found.head.manifest;
    anyhow::ensure!(
        manifest.previous == Some(kept.manifest) && manifest.id == kept.backup,
        "{} was not formed from backup {}",
        found.source,
        kept.backup
    );
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use swarmdr_archive::{Identities, manifest::Manager};

    use super::*;
    use crate::restore::plan::tests::manifest;

    #[test]
    fn a_state_is_formed_beforehand_if_it_can_be_opened_and_would_wait() {
        let with = |others: bool, autolock: bool, recipients: &[&str]| {
            let mut manifest = manifest();
            let manager = || Manager { node_id: "other".into(), addr: "10.0.0.5:2377".into(), hostname: None };
            manifest.managers = if others { vec![manager()] } else { Vec::new() };
            manifest.autolock = autolock;
            manifest.payload.recipients = recipients.iter().map(|text| (*text).to_owned()).collect();
            manifest
        };
        let closed = Keyring::without_archives(None);
        let open = Keyring { identities: Arc::new(Identities::generate()), ..closed.clone() };
        for (manifest, keyring, expected) in [
            (with(true, false, &["age1x"]), &open, None),
            (with(true, false, &[]), &closed, None),
            (with(true, false, &["age1x"]), &closed, Some("no identity")),
            (with(true, true, &["age1x"]), &open, Some("autolocked")),
            (with(false, false, &["age1x"]), &open, Some("one manager")),
        ] {
            match (Forming::of(&manifest, keyring), expected) {
                (Forming::Wanted, None) => {}
                (Forming::Not(why), Some(word)) if why.contains(word) => {}
                (found, expected) => panic!("{found:?} is not {expected:?}"),
            }
        }
    }
}
