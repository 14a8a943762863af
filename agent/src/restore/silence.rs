//! Whether another site of the cluster shows signs of life in the vaults, which forbid to bring it up a second time.
//!
//! A site that is cut off cannot be probed, but what it leaves in a vault can be seen.

use std::time::Duration;

use anyhow::{Error, Result};
use jiff::Timestamp;
use swarmdr_archive::ClusterId;

use super::{Prepared, Restore, ready::Backoff};
use crate::{
    claims::{
        self, Query, Reading,
        life::{self, Own, Seen, Sign},
    },
    keys::promoter::Promoter,
    outcome::failure::Failure,
    vaults::Connected,
};

/// A look at signs of life that the caller made itself. It is repeated right before the claim: what lies in between may take
/// long.
#[derive(Debug, Clone)]
pub struct Looked {
    /// Signs up to this time do not count: the site was fenced then.
    pub after: Option<Timestamp>,
    /// Time that each vault gets.
    pub limit: Option<Duration>,
    /// Vaults that did not answer, and are not waited for again.
    pub unread: Vec<String>,
    /// Makes the refusal.
    pub refuse: fn(&Sign) -> Error,
}

impl Restore<'_> {
    /// Refuses while another site is alive, after a wait for its silence, and while a vault that could say so is not read,
    /// if signs of life or claims are used. Returns what makes the silence doubtful.
    pub(super) async fn await_silence(&self, limit: Duration, cluster: &ClusterId) -> Result<Vec<String>> {
        let mut backoff = Backoff::new();
        loop {
            let seen = self.signs_of_life(cluster, None, &[]).await?;
            let (what, refusal) = match seen.fresh_foreign(None) {
                Some(sign) => (awaited(sign), alive(sign)),
                None => match self.unwitnessed(cluster, &seen).await? {
                    unread if unread.is_empty() => return Ok(seen.doubts),
                    unread => ("a vault that could show another site does not answer".to_owned(), unknown(&unread)),
                },
            };
            if !backoff.wait(limit, &what).await {
                return Err(refusal);
            }
        }
    }

    /// Looks again at what the caller of this restore looked at itself.
    pub(super) async fn look_again(&self, prepared: &Prepared) -> Result<()> {
        let Some(looked) = prepared.looked() else { return Ok(()) };
        let look = self.signs_of_life(&prepared.manifest().cluster_id, looked.limit, &looked.unread);
        let seen = self.run.shutdown.or_interrupted(look).await?;
        match seen.fresh_foreign(looked.after) {
            Some(sign) => Err((looked.refuse)(sign)),
            None => Ok(()),
        }
    }

    /// Looks for signs of life of other sites in all vaults but some. `limit`: time that each gets, if not the usual one.
    pub(crate) async fn signs_of_life(
        &self,
        cluster: &ClusterId,
        limit: Option<Duration>,
        but: &[String],
    ) -> Result<Seen> {
        let config = self.run.config;
        let own = Own::of_host(config);
        let all = self.vaults.get(config).await?;
        let vaults: Vec<Connected> = all.iter().filter(|vault| !but.contains(&vault.settings.url)).cloned().collect();
        let (keys, now) = (&self.keyring.trusted, Timestamp::now());
        Ok(match limit {
            Some(limit) => life::look_within(limit, &vaults, cluster, keys, &own, now).await,
            None => life::look(&vaults, cluster, keys, &own, now).await,
        })
    }

    /// Returns what could not be read of the vaults that have to answer, if signs of life or claims are used: somebody who
    /// relies on them must not be overlooked because a vault is away.
    async fn unwitnessed(&self, cluster: &ClusterId, seen: &Seen) -> Result<Vec<String>> {
        let config = self.run.config;
        if config.vault.is_empty() {
            return Ok(Vec::new());
        }
        let promoter = Promoter::find(config, &self.keyring.identities)?;
        let vaults = self.vaults.get(config).await?;
        let readings = match self.claiming {
            Some(_) => claims::read_all(vaults, Query::new(cluster, &promoter.trusted, self.run.now)).await,
            // A rehearsal, which no claim of others concerns.
            None => Vec::new(),
        };
        Ok(unwitnessed(vaults, seen, &readings, promoter.is_configured))
    }
}

/// Returns what could not be read of the vaults that have to answer; nothing if neither signs of life nor claims are used.
fn unwitnessed(vaults: &[Connected], seen: &Seen, readings: &[Result<Reading>], is_configured: bool) -> Vec<String> {
    let is_claimed = readings.iter().flatten().any(|reading| !reading.claims.is_empty());
    if !(is_configured || seen.is_used || is_claimed) {
        return Vec::new();
    }
    let mut unread = Vec::new();
    for (index, vault) in vaults.iter().enumerate() {
        let url = &vault.settings.url;
        let claims = readings.get(index).and_then(|reading| reading.as_ref().err());
        if !vault.settings.required && vaults.len() > 1 {
            continue;
        }
        match (seen.unread.contains(url), claims) {
            (_, Some(error)) => unread.push(format!("{error:#}")),
            (true, None) => unread.push(format!("the signs of life in {url} cannot be read")),
            (false, None) => {}
        }
    }
    unread
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

fn unknown(unread: &[String]) -> Error {
    Failure::refused("whether another site of this swarm is alive, or has claimed it, is not known")
        .advice("run it again when that vault answers; `--wait 15m` waits for it")
        .advice("if every other site is off or cut off for good, use --fenced")
        .advice("a [[vault]] with `required = false` may be away")
        .because(anyhow::anyhow!(unread.join("; ")))
        .into()
}

#[cfg(test)]
mod tests {
    use swarmdr_vault::{VaultSettings, testkit::memory::MemoryVault};

    use super::*;
    use crate::{
        claims::{
            life::look::tests::sign,
            testkit::{claim, reading, seen},
        },
        outcome::{exit::Exit, failure::Rendered},
    };

    fn vault(name: &str, required: bool) -> Connected {
        let settings = VaultSettings { required, ..VaultSettings::new(format!("s3://{name}")) };
        Connected { settings, vault: std::sync::Arc::new(MemoryVault::new(name, None)) }
    }

    #[test]
    fn a_vault_that_is_away_stops_only_who_relies_on_what_it_shows() {
        let (none, claimed) = (|| Ok(reading("a", Vec::new())), || Ok(reading("a", vec![seen(claim(1, 1, None), 0)])));
        let denied = || Err(anyhow::anyhow!("denied"));
        let signs = |unread: &[&str], is_used| Seen {
            unread: unread.iter().map(|name| format!("s3://{name}")).collect(),
            is_used,
            ..Seen::default()
        };
        let two = [vault("a", true), vault("b", true)];
        let count = |vaults: &[Connected], seen: Seen, readings: &[Result<Reading>], is_configured| {
            unwitnessed(vaults, &seen, readings, is_configured).len()
        };
        // Nobody ever left a sign or a claim.
        assert_eq!(count(&two, signs(&["b"], false), &[none(), denied()], false), 0);
        assert_eq!(count(&two[..1], signs(&["a"], false), &[denied()], false), 0);
        // Promoters are named; another vault has signs; another one has a claim.
        assert_eq!(count(&two, signs(&["b"], false), &[none(), denied()], true), 1);
        assert_eq!(count(&two, signs(&["b"], true), &[none(), none()], false), 1);
        assert_eq!(count(&two, signs(&[], false), &[claimed(), denied()], false), 1);
        assert_eq!(count(&two[..1], signs(&["a"], false), &[denied()], true), 1);
        assert_eq!(count(&two, signs(&[], true), &[claimed(), none()], true), 0);
        // One that may be away, but for the only one.
        let other = [vault("a", true), vault("b", false)];
        assert_eq!(count(&other, signs(&["b"], true), &[claimed(), denied()], true), 0);
        assert_eq!(count(&other[1..], signs(&["b"], true), &[denied()], true), 1);
        let rendered = Rendered::of(&unknown(&["s3://b: denied".to_owned()]));
        assert_eq!(rendered.exit, Exit::Refused);
        assert!(rendered.to_string().contains("s3://b: denied"), "{rendered}");
    }

    #[test]
    fn a_refusal_names_the_site_and_how_long_its_sign_counts() {
        let rendered = Rendered::of(&alive(&sign("fra1", 100)));
        assert_eq!(rendered.exit, Exit::Refused);
        assert!(rendered.what.contains("site fra1") && rendered.what.contains("100 s ago"), "{rendered}");
        assert!(rendered.advice.iter().any(|advice| advice.contains("`--wait 350s`")), "{rendered}");
        assert!(rendered.advice.iter().any(|advice| advice.contains("--fenced")), "{rendered}");
    }
}
