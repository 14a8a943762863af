//! What is made sure before a site takes the swarm over: the old one is gone, and not too much is lost.

use anyhow::{Error, Result};
use jiff::Timestamp;

use super::{
    Promotion, Ready,
    choice::PATIENCE,
    fence::{self, Way},
};
use crate::{
    claims::life::FencedAt,
    observe::hooks::{FENCE, Hooks},
    outcome::{failpoint, failure::Failure, phases::Phases},
    restore::{Looked, Restore},
    vaults::Connected,
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
        let mut fenced = FencedAt::new();
        if way == Way::Hook && !self.terms.dry_run {
            phases.begin("fence");
            self.run.shutdown.or_interrupted(fence::run(hooks, &manifest)).await?;
            failpoint::reach("fenced");
            // Signs that were left while the program worked are older than this.
            fenced = fenced_at(self.vaults.get(self.run.config).await.unwrap_or_default()).await;
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
        let alive = seen.fresh_foreign(&fenced);
        let looked = Looked { fenced, limit, unread, doubts: seen.doubts.clone(), refuse: fence::alive, refuse_blind };
        ready.prepared.note_look((!self.terms.despite_sign_of_life).then_some(looked));
        if let Some(sign) = alive {
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
}

/// Asks each vault what time it is. The time of this host counts for one without a clock, as for the age of what lies there.
async fn fenced_at(vaults: &[Connected]) -> FencedAt {
    let clocks = vaults.iter().map(async |vault| {
        let asked = tokio::time::timeout(PATIENCE, vault.vault.clock()).await.ok()?.ok()?;
        Some((vault.vault.address().to_owned(), asked.unwrap_or_else(Timestamp::now)))
    });
    futures_util::future::join_all(clocks).await.into_iter().flatten().collect()
}

fn no_witness() -> Error {
    Failure::refused("no vault answers, so neither a claim nor a sign of life of another site can be seen")
        .advice("if you know that no other host has or takes this swarm: --fenced")
        .advice("or run it again when a vault answers")
        .into()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::SignedDuration;
    use swarmdr_vault::{
        VaultSettings,
        testkit::{
            injector::{Injected, InjectingVault, broken},
            memory::MemoryVault,
        },
    };

    use super::*;
    use crate::claims::life::{Seen, Sign, look::tests::sign};

    /// The clocks of two vaults are hours apart, one is a directory, and one does not answer.
    #[tokio::test]
    async fn each_vault_says_by_its_own_clock_what_was_left_before_the_fence() {
        let connected =
            |vault: Arc<dyn swarmdr_vault::Vault>| Connected { settings: VaultSettings::new(vault.address()), vault };
        let here = Timestamp::now();
        let clock = |name: &str, now| connected(Arc::new(MemoryVault::new(name, None).with_clock_from(now)));
        let silent = InjectingVault::new(Arc::new(MemoryVault::new("silent", None)), |_| {
            Injected::Before(broken("silent", "any"))
        });
        let vaults =
            [clock("right", here), clock("ahead", here + SignedDuration::from_hours(3)), connected(Arc::new(silent))];
        let fenced = fenced_at(&vaults).await;
        let (right, ahead) = (fenced["memory://right"], fenced["memory://ahead"]);
        let second = SignedDuration::from_secs(1);
        let left = |vault: &str, stored_at| Seen {
            signs: vec![Sign { vault: format!("memory://{vault}"), stored_at, ..sign("fra1", 1) }],
            ..Seen::default()
        };
        for (vault, stored_at, lives) in [
            ("right", right - second, false),
            ("right", right + second, true),
            ("ahead", ahead - second, false),
            ("ahead", ahead + second, true),
            ("silent", here - second, true),
        ] {
            let seen = left(vault, stored_at);
            assert_eq!(seen.fresh_foreign(&fenced).is_some(), lives, "{vault} {stored_at}");
        }
    }
}
