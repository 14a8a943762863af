//! What is made sure before a site takes the swarm over: the old one is gone, and not too much is lost.

use anyhow::{Error, Result};
use jiff::Timestamp;

use super::{
    Promotion, Ready,
    choice::PATIENCE,
    fence::{self, Way},
};
use crate::{
    observe::hooks::{FENCE, Hooks},
    outcome::{failpoint, failure::Failure, phases::Phases},
    restore::{Looked, Restore},
};

impl Promotion<'_> {
    /// Makes sure that the old site is gone, and that not too much is lost.
    pub(super) async fn make_sure(
        &self,
        restore: &Restore<'_>,
        ready: &mut Ready,
        hooks: &Hooks,
        phases: &mut Phases,
    ) -> Result<()> {
        let manifest = ready.prepared.manifest().clone();
        let way = Way::choose(self.terms.fenced, hooks.has(FENCE))?;
        self.require_a_witness(ready.chosen.is_vault_away)?;
        ready.lag = ready.chosen.age.require(self.terms.max_lag)?;
        ready.chosen.notes.extend(ready.chosen.age.told());
        let mut after = None;
        if way == Way::Hook && !self.terms.dry_run {
            phases.begin("fence");
            self.run.shutdown.or_interrupted(fence::run(hooks, &manifest)).await?;
            failpoint::reach("fenced");
            // Signs that were left while the program worked are older than this.
            after = Some(self.vaults_clock().await.unwrap_or_else(Timestamp::now));
        }
        if let Some(claiming) = &mut ready.claiming {
            claiming.fence = fence::told(&manifest, way, !self.terms.fenced);
        }
        phases.begin("life");
        let seen = self
            .run
            .shutdown
            .or_interrupted(restore.signs_of_life(&manifest.cluster_id, ready.chosen.patience(), &[]))
            .await?;
        self.require_a_witness(restore.is_blind(&seen).await?)?;
        // What comes until the claim may take long. Who overrules signs overrules those as well.
        let (limit, unread) = (ready.chosen.patience(), seen.unread.clone());
        let refuse_blind = (!self.terms.fenced).then_some(no_witness as fn() -> Error);
        let looked = Looked { after, limit, unread, doubts: seen.doubts.clone(), refuse: fence::alive, refuse_blind };
        ready.prepared.note_look((!self.terms.despite_sign_of_life).then_some(looked));
        if let Some(sign) = seen.fresh_foreign(after) {
            if !self.terms.despite_sign_of_life {
                return Err(fence::alive(sign));
            }
            ready.chosen.attention.push(format!("the old site may be alive: {sign}"));
        }
        if !ready.chosen.is_vault_away {
            ready.chosen.attention.extend(seen.doubts);
        }
        Ok(())
    }

    /// Refuses where no vault says whether another host takes the swarm over at this moment, unless somebody vouches.
    fn require_a_witness(&self, is_vault_away: bool) -> Result<()> {
        if is_vault_away && !self.terms.fenced { Err(no_witness()) } else { Ok(()) }
    }

    /// Returns the time by the vault whose clock is the most behind; `None` if none has a clock.
    async fn vaults_clock(&self) -> Option<Timestamp> {
        let connected = self.vaults.get(self.run.config).await.ok()?;
        let clocks = connected.iter().map(async |vault| {
            tokio::time::timeout(PATIENCE, vault.vault.clock()).await.ok().and_then(Result::ok).flatten()
        });
        futures_util::future::join_all(clocks).await.into_iter().flatten().min()
    }
}

fn no_witness() -> Error {
    Failure::refused("no vault answers, so neither a claim nor a sign of life of another site can be seen")
        .advice("if you know that no other host has or takes this swarm: --fenced")
        .advice("or run it again when a vault answers")
        .into()
}
