//! Looks for signs of life of a cluster in the vaults.

use std::{collections::BTreeMap, fmt, time::Duration};

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use swarmdr_archive::{ClusterId, SwarmNode, TrustedKeys, receipt::RECEIPT_MAX, untrusted::shown};
use swarmdr_vault::{Marker, Vault, VaultError, Version, read_range};

use super::{
    LastSign,
    document::{self, SignOfLife},
    fresh_for,
};
use crate::{config::Config, vaults::Connected};

/// Time that a vault may take: somebody waits for the swarm.
const VAULT_LIMIT: Duration = Duration::from_secs(45);

/// Most pages of a listing that are read, with a thousand versions each.
const MOST_PAGES: usize = 64;

/// Most keys that are looked into: a swarm has a few managers, and leaves a key for each that it had.
const MOST_KEYS: usize = 64;

/// Most versions of one key that are read.
const MOST_TRIED: usize = 12;

/// Difference of two answers of one clock that says nothing: they are rounded to seconds.
const CLOCK_STEP: SignedDuration = SignedDuration::from_secs(5);

/// What this host knows to be its own.
#[derive(Debug, Clone, Default)]
pub struct Own {
    /// Random id that the signs of this host carry. Its claim is no such mark: another host may have the swarm by now
    /// that this one once brought up.
    pub host: Option<String>,
    /// The latest time that its signs bear, by its own clock. A host that is a copy of another one's disk has the id of that
    /// one, which goes on to leave signs.
    pub signed: Option<Timestamp>,
}

impl Own {
    /// Reads what this host recorded.
    pub fn of_host(config: &Config) -> Self {
        LastSign::read(&config.state_dir)
            .map_or_else(Self::default, |last| Self { host: Some(last.host), signed: last.signed })
    }

    fn has(&self, sign: &SignOfLife) -> bool {
        self.host.as_ref() == Some(&sign.host) && self.signed.is_none_or(|signed| sign.at <= signed)
    }
}

/// When the old site was fenced, by the clock of each vault, by its address. Clocks of vaults are not compared with each other:
/// one may be hours ahead. Where a vault did not say what time it was, every sign counts.
pub type FencedAt = BTreeMap<String, Timestamp>;

/// A sign of another site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sign {
    pub vault: String,
    /// When the vault got it, by the vault's clock.
    pub stored_at: Timestamp,
    /// Seconds since then, by the vault's clock.
    pub age: i64,
    #[serde(flatten)]
    pub sign: SignOfLife,
}

impl Sign {
    /// Whether the site counts as alive.
    pub fn is_fresh(&self) -> bool {
        SignedDuration::from_secs(self.age) < fresh_for(self.sign.every)
    }

    /// Whether it may have been left after this time by the vault's clock, which may have been set back since.
    fn is_after(&self, time: Timestamp) -> bool {
        let seen_at = self.stored_at + SignedDuration::from_secs(self.age) + CLOCK_STEP;
        self.stored_at > time || seen_at < time
    }

    /// Seconds until it no longer counts, if no other follows.
    pub fn fresh_for(&self) -> i64 {
        (fresh_for(self.sign.every).as_secs() - self.age).max(0)
    }
}

impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { vault, age, sign, .. } = self;
        let (site, node, address) = (shown(&sign.site), &sign.node_id, shown(&sign.address));
        write!(f, "site {site} (node {node}, {address}) left a sign of life {age} s ago in {}", shown(vault))
    }
}

/// The newest sign of each node that is not this host's own, over all vaults.
#[derive(Debug, Default)]
pub struct Seen {
    pub signs: Vec<Sign>,
    /// Vaults that could not be asked, and what may hide a sign.
    pub doubts: Vec<String>,
    /// Those of the doubts that tell of something fresh behind which a sign may be, as one by a key that is not trusted here.
    pub hidden: Vec<String>,
    /// The urls of the vaults that could not be asked.
    pub unread: Vec<String>,
    /// Whether managers of the cluster leave signs, or ever did.
    pub is_used: bool,
}

impl Seen {
    /// Returns the sign that counts for longest; `None` if no other site lives, as far as is known. Signs up to the time at
    /// which the site was fenced do not count.
    pub fn fresh_foreign(&self, fenced: &FencedAt) -> Option<&Sign> {
        let counts =
            |sign: &&Sign| sign.is_fresh() && fenced.get(&sign.vault).is_none_or(|fenced| sign.is_after(*fenced));
        self.signs.iter().filter(counts).max_by_key(|sign| sign.fresh_for())
    }
}

/// Looks into all vaults at once. One that cannot be asked is a doubt and no error.
pub async fn look(vaults: &[Connected], cluster: &ClusterId, keys: &TrustedKeys, own: &Own, now: Timestamp) -> Seen {
    look_within(VAULT_LIMIT, vaults, cluster, keys, own, now).await
}

/// Does what [`look`] does, with the time that each vault may take.
pub async fn look_within(
    limit: Duration,
    vaults: &[Connected],
    cluster: &ClusterId,
    keys: &TrustedKeys,
    own: &Own,
    now: Timestamp,
) -> Seen {
    let looks = vaults.iter().map(async |connected| {
        let mut seen = Seen::default();
        let looking = look_into(connected.vault.as_ref(), cluster, keys, own, now, &mut seen);
        let failed = match tokio::time::timeout(limit, looking).await {
            Ok(looked) => looked.err().map(|error| error.to_string()),
            Err(_) => Some(format!("{} did not answer within {limit:?}", connected.settings.url)),
        };
        if let Some(why) = failed {
            seen.doubts.push(format!("whether another site left a sign of life there is not known: {why}"));
            seen.unread.push(connected.settings.url.clone());
        }
        seen
    });
    let mut all = Seen::default();
    for seen in join_all(looks).await {
        all.signs.extend(seen.signs);
        all.doubts.extend(seen.doubts);
        all.hidden.extend(seen.hidden);
        all.unread.extend(seen.unread);
        all.is_used |= seen.is_used;
    }
    all
}

async fn look_into(
    vault: &dyn Vault,
    cluster: &ClusterId,
    keys: &TrustedKeys,
    own: &Own,
    here: Timestamp,
    seen: &mut Seen,
) -> Result<(), VaultError> {
    let listed = newest_versions(vault, cluster).await?;
    if listed.keys.is_empty() && !listed.is_cut {
        return Ok(());
    }
    seen.is_used = true;
    let now = vault.clock().await?.unwrap_or(here);
    if listed.is_cut {
        let what = format!("more than {MOST_KEYS} nodes left signs of life there; not all were read");
        let doubt = format!("{}: {what}", vault.address());
        seen.hidden.push(doubt.clone());
        seen.doubts.push(doubt);
    }
    for ((node, host), versions) in listed.keys {
        let mut key = Key { vault, node, host, keys, own, now };
        key.newest_foreign(&versions, seen).await?;
    }
    Ok(())
}

/// A manager, and the id of its host.
type Place = (SwarmNode, String);

/// The newest versions of each key of a cluster.
#[derive(Debug, Default)]
struct Listed {
    keys: Vec<(Place, Vec<Version>)>,
    /// Whether there are more keys than are read.
    is_cut: bool,
}

/// Lists the newest versions of each key. The older ones of a key are passed over.
async fn newest_versions(vault: &dyn Vault, cluster: &ClusterId) -> Result<Listed, VaultError> {
    let under = document::prefix(cluster);
    let mut listed = Listed::default();
    let mut after: Option<Marker> = None;
    for _ in 0..MOST_PAGES {
        let page = vault.list_versions(&under, after.as_ref()).await?;
        for version in page.versions {
            let Some((node, host)) = version.at.key.strip_prefix(&under).and_then(document::place_of) else { continue };
            let place = (SwarmNode { cluster: cluster.clone(), node }, host);
            let is_full = listed.keys.len() == MOST_KEYS;
            match listed.keys.last_mut().filter(|(last, _)| *last == place) {
                Some((_, versions)) if versions.len() <= MOST_TRIED => versions.push(version),
                Some(_) => {}
                None if is_full => {
                    listed.is_cut = true;
                    return Ok(listed);
                }
                None => listed.keys.push((place, vec![version])),
            }
        }
        let Some(next) = page.next else { return Ok(listed) };
        // More of a key of which there is enough, or that is no node's, is passed over.
        let is_wanted = |((node, host), versions): &(Place, Vec<Version>)| {
            document::key_of(node, host) == next.key && versions.len() <= MOST_TRIED
        };
        let is_wanted = listed.keys.last().is_some_and(is_wanted);
        after = Some(if is_wanted { next } else { Marker::after_key(next.key) });
    }
    listed.is_cut = true;
    Ok(listed)
}

/// One node's key in one vault.
struct Key<'a> {
    vault: &'a dyn Vault,
    node: SwarmNode,
    host: String,
    keys: &'a TrustedKeys,
    own: &'a Own,
    now: Timestamp,
}

impl Key<'_> {
    /// Finds the newest sign of another site, below this host's own and below what is no sign.
    async fn newest_foreign(&mut self, versions: &[Version], seen: &mut Seen) -> Result<(), VaultError> {
        let (mut junk, mut why, mut is_found) = (0, String::new(), false);
        let mut no_sign = |reason: String| {
            junk += 1;
            why = reason;
        };
        for version in versions.iter().take(MOST_TRIED) {
            let age = self.now.duration_since(version.modified);
            if age > fresh_for(u32::MAX) {
                break;
            }
            // What is below a delete marker is read anyway.
            if version.is_delete_marker {
                continue;
            }
            match self.read(version).await? {
                Ok(sign) if self.own.has(&sign) => {}
                Ok(sign) => {
                    let (vault, stored_at) = (self.vault.address().to_owned(), version.modified);
                    let sign = Sign { vault, stored_at, age: age.as_secs(), sign };
                    is_found = sign.is_fresh();
                    seen.signs.push(sign);
                    break;
                }
                Err(reason) => no_sign(reason),
            }
        }
        if junk > 0 {
            let key = document::key_of(&self.node, &self.host);
            let doubt = format!(
                "{}: {junk} of the newest versions of {key} are no sign of life, which may hide one: {why}",
                self.vault.address()
            );
            seen.hidden.extend((!is_found).then(|| doubt.clone()));
            seen.doubts.push(doubt);
        }
        Ok(())
    }

    /// Reads one version; the inner error says why it does not count.
    async fn read(&self, version: &Version) -> Result<Result<SignOfLife, String>, VaultError> {
        if version.size > RECEIPT_MAX {
            return Ok(Err(format!("it has {} bytes", version.size)));
        }
        match read_range(self.vault, &version.at, 0..version.size).await {
            Ok(packed) => Ok(SignOfLife::open(&packed, &self.keys.at(version.modified), &self.node, &self.host)
                .map_err(|error| format!("{error:#}"))),
            // It was replaced meanwhile, where a vault keeps one version only, or pruned.
            Err(VaultError::NotFound { .. }) => Ok(Err("it is not there any more".to_owned())),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
pub mod tests;
