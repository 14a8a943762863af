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
        life::{self, FencedAt, Own, Seen, Sign},
    },
    keys::promoter::Promoter,
    outcome::failure::Failure,
    vaults::Connected,
};

/// A look at signs of life that the caller made itself. It is repeated right before the claim: what lies in between may take
/// long.
#[derive(Debug, Clone)]
pub struct Looked {
    /// Signs up to these times do not count: the site was fenced then.
    pub fenced: FencedAt,
    /// Time that each vault gets.
    pub limit: Option<Duration>,
    /// Vaults that did not answer, and are not waited for again.
    pub unread: Vec<String>,
    /// What the caller tells itself.
    pub doubts: Vec<String>,
    /// Makes the refusal.
    pub refuse: fn(&Sign) -> Error,
    /// Makes the refusal where no vault answers; `None` if somebody vouches for what they would show.
    pub refuse_blind: Option<fn() -> Error>,
}

impl Looked {
    /// Judges the second look. Returns the doubts that the first one did not have.
    fn again(&self, seen: Seen, vaults: &[Connected]) -> Result<Vec<String>> {
        if let Some(sign) = seen.fresh_foreign(&self.fenced) {
            return Err((self.refuse)(sign));
        }
        let unread = [&self.unread[..], &seen.unread].concat();
        match self.refuse_blind {
            Some(refuse) if is_blind(vaults, &unread) => Err(refuse()),
            _ => Ok(seen.doubts.into_iter().filter(|doubt| !self.doubts.contains(doubt)).collect()),
        }
    }
}

/// Whether no vault that is configured shows any sign of life.
fn is_blind(vaults: &[Connected], unread: &[String]) -> bool {
    !vaults.is_empty() && vaults.iter().all(|vault| unread.contains(&vault.settings.url))
}

impl Restore<'_> {
    /// Refuses while another site is alive, after a wait for its silence, and while a vault that could say so is not read,
    /// if signs of life or claims are used. Returns what makes the silence doubtful.
    pub(super) async fn await_silence(&self, limit: Duration, cluster: &ClusterId) -> Result<Vec<String>> {
        let mut backoff = Backoff::new();
        loop {
            let seen = self.signs_of_life(cluster, None, &[]).await?;
            let (what, refusal) = match seen.fresh_foreign(&FencedAt::new()) {
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

    /// Looks again at what the caller of this restore looked at itself. Returns what makes the silence doubtful since.
    pub(super) async fn look_again(&self, prepared: &Prepared) -> Result<Vec<String>> {
        let Some(looked) = prepared.looked() else { return Ok(Vec::new()) };
        let look = self.signs_of_life(&prepared.manifest().cluster_id, looked.limit, &looked.unread);
        let seen = self.run.shutdown.or_interrupted(look).await?;
        looked.again(seen, self.vaults.get(self.run.config).await?)
    }

    /// Whether no vault answered a look at signs of life.
    pub(crate) async fn is_blind(&self, seen: &Seen) -> Result<bool> {
        Ok(is_blind(self.vaults.get(self.run.config).await?, &seen.unread))
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
        let is_relied_on = promoter.is_configured || config.standby.sign_of_life.is_some();
        Ok(unwitnessed(vaults, seen, &readings, is_relied_on))
    }
}

/// Returns what could not be read of the vaults that have to answer; nothing if neither signs of life nor claims are used.
/// Some vault has to, even if each of them may be away. `is_relied_on`: whether the configuration says that they are used.
fn unwitnessed(vaults: &[Connected], seen: &Seen, readings: &[Result<Reading>], is_relied_on: bool) -> Vec<String> {
    let is_claimed = readings.iter().flatten().any(|reading| !reading.claims.is_empty());
    if !(is_relied_on || seen.is_used || is_claimed) {
        return Vec::new();
    }
    let unread = vaults.iter().enumerate().filter_map(|(index, vault)| {
        let url = &vault.settings.url;
        let what = match readings.get(index).and_then(|reading| reading.as_ref().err()) {
            Some(error) => format!("{error:#}"),
            None if seen.unread.contains(url) => format!("the signs of life in {url} cannot be read"),
            None => return None,
        };
        Some((vault.settings.required, what))
    });
    let unread: Vec<(bool, String)> = unread.collect();
    let is_blind = unread.len() == vaults.len();
    unread.into_iter().filter(|(is_required, _)| *is_required || is_blind).map(|(_, what)| what).collect()
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

/// Refuses where a vault that could show another site was not read.
pub(super) fn unknown(unread: &[String]) -> Error {
    Failure::refused("whether another site of this swarm is alive, or has claimed it, is not known")
        .advice("run it again when that vault answers; `--wait 15m` waits for it")
        .advice("if every other site is off or cut off for good, use --fenced")
        .advice("a [[vault]] with `required = false` may be away while another one answers")
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
        // All may be away, and all are: nobody is left to see another site.
        let optional = [vault("a", false), vault("b", false)];
        let both_denied = || [denied(), denied()];
        assert_eq!(count(&optional, signs(&["a", "b"], false), &both_denied(), true), 2);
        assert_eq!(count(&optional, signs(&["a", "b"], false), &[], true), 2);
        assert_eq!(count(&optional, signs(&["a"], true), &[denied(), none()], true), 0);
        assert_eq!(count(&optional, signs(&["a", "b"], false), &both_denied(), false), 0, "the doubts are told");
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
    #[test]
    fn the_second_look_refuses_as_the_first_one_and_tells_what_is_new() {
        let vaults = [vault("a", true), vault("b", false)];
        let fenced = || Looked {
            fenced: FencedAt::new(),
            limit: None,
            unread: vec!["s3://a".to_owned()],
            doubts: vec!["a is away".to_owned()],
            refuse: alive,
            refuse_blind: None,
        };
        let looked = || Looked { refuse_blind: Some(|| Failure::refused("blind").into()), ..fenced() };
        let seen = |doubts: &[&str], unread: &[&str]| Seen {
            doubts: doubts.iter().map(|doubt| (*doubt).to_owned()).collect(),
            unread: unread.iter().map(|url| (*url).to_owned()).collect(),
            ..Seen::default()
        };
        assert_eq!(looked().again(seen(&["a is away", "junk in b"], &[]), &vaults).expect("goes on"), ["junk in b"]);
        let blind = || seen(&["b is away"], &["s3://b"]);
        let refused = looked().again(blind(), &vaults).expect_err("no vault answers by now");
        assert_eq!(Rendered::of(&refused).exit, Exit::Refused);
        assert_eq!(fenced().again(blind(), &vaults).expect("is vouched for"), ["b is away"]);
        let fresh = Seen { signs: vec![sign("fra1", 10)], ..Seen::default() };
        assert_eq!(Rendered::of(&looked().again(fresh, &vaults).expect_err("lives")).exit, Exit::Refused);
    }
}
