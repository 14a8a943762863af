//! Whether another site of the cluster shows signs of life in the vaults, which forbid to bring it up a second time.
//!
//! A site that is cut off cannot be probed, but what it leaves in a vault can be seen.

use std::time::Duration;

use anyhow::Result;
use swarmdr_archive::ClusterId;

use super::{Restore, ready::Backoff};
use crate::{
    claims::life::{self, Own, Seen, Sign},
    outcome::failure::Failure,
};

impl Restore<'_> {
    /// Refuses while another site is alive, after a wait for its silence. Returns what makes the silence doubtful.
    pub(super) async fn await_silence(&self, limit: Duration, cluster: &ClusterId) -> Result<Vec<String>> {
        let mut backoff = Backoff::new();
        loop {
            let seen = self.signs_of_life(cluster, None).await?;
            let Some(sign) = seen.fresh_foreign(None) else { return Ok(seen.doubts) };
            if !backoff.wait(limit, &awaited(sign)).await {
                return Err(alive(sign));
            }
        }
    }

    /// Looks for signs of life of other sites in all vaults. `limit`: time that each gets, if not the usual one.
    pub(crate) async fn signs_of_life(&self, cluster: &ClusterId, limit: Option<Duration>) -> Result<Seen> {
        let config = self.run.config;
        let own = Own::of_host(config);
        let vaults = self.vaults.get(config).await?;
        let (keys, now) = (&self.keyring.trusted, jiff::Timestamp::now());
        Ok(match limit {
            Some(limit) => life::look_within(limit, vaults, cluster, keys, &own, now).await,
            None => life::look(vaults, cluster, keys, &own, now).await,
        })
    }
}

/// Does not change while the same sign is waited for, so that it is logged once.
fn awaited(sign: &Sign) -> String {
    format!("the sign of life that site {} left at {} counts", sign.sign.site, sign.stored_at)
}

fn alive(sign: &Sign) -> anyhow::Error {
    Failure::refused(format!("another site of this swarm is alive: {sign}"))
        .advice("if it works, this swarm need not be brought back")
        .advice(format!(
            "if it is dead, its sign counts for {} s more: `--wait {}s` waits for that",
            sign.fresh_for(),
            sign.fresh_for() + 30
        ))
        .advice("if it was shut down or cut off for good, use --fenced")
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        claims::life::look::tests::sign,
        outcome::{exit::Exit, failure::Rendered},
    };

    #[test]
    fn a_refusal_names_the_site_and_how_long_its_sign_counts() {
        let rendered = Rendered::of(&alive(&sign("fra1", 100)));
        assert_eq!(rendered.exit, Exit::Refused);
        assert!(rendered.what.contains("site fra1") && rendered.what.contains("100 s ago"), "{rendered}");
        assert!(rendered.advice.iter().any(|advice| advice.contains("`--wait 350s`")), "{rendered}");
        assert!(rendered.advice.iter().any(|advice| advice.contains("--fenced")), "{rendered}");
    }
}
