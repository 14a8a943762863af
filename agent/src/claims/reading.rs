//! Reads the claims of a cluster in a vault, at a bounded cost whatever lies there.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use swarmdr_archive::{ClusterId, Digest, KeyId, TrustedKeys, receipt};
use swarmdr_vault::{Marker, Vault, Version, VersionRef, object_name::CLAIMS, read_range};

use super::{Claim, Name, READ_LIMIT, Release, document::VERSION};
use crate::vaults::Connected;

/// Maximum number of pages of a listing that are read, with a thousand versions each. A cluster has one claim for each
/// time that it was restored.
const MOST_PAGES: usize = 16;

/// Maximum number of objects that are read, the oldest first: what is put there later hides nothing that was there.
const MOST_READ: usize = 512;

/// Number of objects that are read at a time.
const AT_ONCE: usize = 8;

/// Number of objects that are named for a person; the others are counted.
const MOST_NAMED: usize = 8;

/// What is looked for in each vault.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    pub cluster: &'a ClusterId,
    /// Whose documents count.
    pub keys: &'a TrustedKeys,
    /// Time by this host's clock, for a vault without a clock of its own.
    pub here: Timestamp,
    /// Epochs that are read before all others, so that no number of other objects hides them.
    pub first: &'a [u32],
}

impl<'a> Query<'a> {
    pub fn new(cluster: &'a ClusterId, keys: &'a TrustedKeys, here: Timestamp) -> Self {
        Self { cluster, keys, here, first: &[] }
    }
}

/// A claim that counts, as one version of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub claim: Claim,
    /// SHA-256 of the document, which the claim after this one names.
    pub digest: Digest,
    pub signer: KeyId,
    /// Time of storing by the vault's clock.
    pub stored: Timestamp,
    pub at: VersionRef,
    pub size: u64,
}

/// A release that counts, as one version of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenRelease {
    pub release: Release,
    /// SHA-256 of the document.
    pub digest: Digest,
    pub signer: KeyId,
    pub at: VersionRef,
    pub size: u64,
}

/// What lies in one vault.
#[derive(Debug, Clone)]
pub struct Reading {
    pub vault: String,
    /// Time of reading by the vault's clock.
    pub now: Timestamp,
    /// Claims that promoters signed, with all versions of each key, oldest first.
    pub claims: Vec<Seen>,
    pub releases: Vec<SeenRelease>,
    /// Epochs whose key has any version: no create-only put works there.
    pub taken: BTreeSet<u32>,
    /// Objects that are no claim, and why: some are named, all are counted in `others`.
    pub strangers: Vec<String>,
    pub others: usize,
    /// False if there was more than is read, so a claim may have been missed.
    pub is_whole: bool,
}

/// Reads every vault at the same time. A vault that cannot be read gives an error of its own.
pub async fn read_all(vaults: &[Connected], query: Query<'_>) -> Vec<Result<Reading>> {
    read_all_within(READ_LIMIT, vaults, query).await
}

/// Does what [`read_all`] does, with the time that each vault may take.
pub async fn read_all_within(limit: Duration, vaults: &[Connected], query: Query<'_>) -> Vec<Result<Reading>> {
    let read = vaults.iter().map(async |connected| {
        let limited = tokio::time::timeout(limit, read(connected.vault.as_ref(), query));
        let said = limited.await.with_context(|| format!("no end within {limit:?}"));
        said.flatten().with_context(|| format!("the claims in {} cannot be read", connected.settings.url))
    });
    futures_util::future::join_all(read).await
}

/// Reads the claims in one vault.
pub async fn read(vault: &dyn Vault, query: Query<'_>) -> Result<Reading> {
    let Query { cluster, keys, here, first } = query;
    let (mut listed, is_whole) = list(vault, query).await?;
    let mut reading = Reading {
        vault: vault.address().to_owned(),
        now: vault.clock().await?.unwrap_or(here),
        claims: Vec::new(),
        releases: Vec::new(),
        taken: BTreeSet::new(),
        strangers: Vec::new(),
        others: 0,
        is_whole: true,
    };
    for version in &listed {
        match Name::parse(&version.at.key, cluster) {
            Some(Name::Claim(epoch)) if !version.is_delete_marker => drop(reading.taken.insert(epoch)),
            _ => {}
        }
    }
    // A delete marker hides a claim from others, not from here.
    listed.retain(|version| !version.is_delete_marker);
    listed.sort_by(|a, b| (a.modified, &a.at).cmp(&(b.modified, &b.at)));
    let (mut named, unnamed): (Vec<Version>, Vec<Version>) =
        listed.into_iter().partition(|it| Name::parse(&it.at.key, cluster).is_some() && receipt::is_size(it.size));
    for version in unnamed {
        reading.put_aside(&version, "it has neither the name nor the size of a claim");
    }
    reading.is_whole = is_whole && named.len() <= MOST_READ;
    // Stable: the oldest come first among those too.
    named.sort_by_key(|version| !is_of(version, cluster, first));
    let opened = stream::iter(named.into_iter().take(MOST_READ))
        .map(async |version| (open(vault, cluster, &version, keys).await, version))
        .buffered(AT_ONCE);
    let mut opened = std::pin::pin!(opened);
    while let Some((opened, version)) = opened.next().await {
        match opened {
            Ok(Opened::Claim(seen)) => reading.claims.push(*seen),
            Ok(Opened::Release(seen)) => reading.releases.push(*seen),
            Err(Unopened::Vault(error)) => return Err(error),
            Err(Unopened::Object(error)) => reading.put_aside(&version, &format!("{error:#}")),
        }
    }
    Ok(reading)
}

impl Reading {
    fn put_aside(&mut self, version: &Version, why: &str) {
        self.others += 1;
        if self.strangers.len() < MOST_NAMED {
            self.strangers.push(format!("{} is no claim that counts: {why}", version.at.key));
        }
    }

    /// Describes what lies there besides claims; empty if nothing does.
    pub fn findings(&self) -> Vec<String> {
        let vault = &self.vault;
        let mut found: Vec<String> = self.strangers.iter().map(|stranger| format!("{vault}: {stranger}")).collect();
        let unnamed = self.others - self.strangers.len();
        if unnamed > 0 {
            found.push(format!("{vault}: {unnamed} more objects among the claims are none"));
        }
        if !self.is_whole {
            found.push(format!("{vault}: there are more objects among the claims than are read, so one may be hidden"));
        }
        found
    }
}

/// Returns the clusters that have objects among the claims of a vault, as far as that can be found out in few requests.
pub async fn clusters(vault: &dyn Vault) -> Result<BTreeSet<ClusterId>> {
    let (mut found, mut after) = (BTreeSet::new(), None);
    for _ in 0..MOST_PAGES {
        let page = vault.list_versions(CLAIMS, after.as_ref()).await?;
        let names = page.versions.iter().filter_map(|version| version.at.key.strip_prefix(CLAIMS)?.split_once('/'));
        found.extend(names.filter_map(|(cluster, _)| cluster.parse().ok()));
        let Some(next) = page.next else { break };
        // `0` sorts right after `/`, so this skips the other claims of the same cluster.
        after = match next.key.strip_prefix(CLAIMS).and_then(|rest| rest.split_once('/')) {
            Some((cluster, _)) => Some(Marker::after_key(format!("{CLAIMS}{cluster}0"))),
            None => Some(next),
        };
    }
    Ok(found)
}

/// Lists all versions, and says whether they are all. Those of the epochs that come first are among them in any case.
async fn list(vault: &dyn Vault, query: Query<'_>) -> Result<(Vec<Version>, bool)> {
    let (mut listed, is_whole) = list_under(vault, &Name::prefix(query.cluster)).await?;
    if is_whole {
        return Ok((listed, true));
    }
    listed.retain(|version| !is_of(version, query.cluster, query.first));
    for epoch in query.first {
        listed.extend(list_under(vault, &Name::Claim(*epoch).key(query.cluster)).await?.0);
    }
    Ok((listed, false))
}

/// Lists all versions below a prefix as far as that is bounded, and says whether they are all.
async fn list_under(vault: &dyn Vault, prefix: &str) -> Result<(Vec<Version>, bool)> {
    let (mut listed, mut after) = (Vec::new(), None);
    for _ in 0..MOST_PAGES {
        let page = vault.list_versions(prefix, after.as_ref()).await?;
        listed.extend(page.versions);
        after = page.next;
        if after.is_none() {
            return Ok((listed, true));
        }
    }
    Ok((listed, false))
}

fn is_of(version: &Version, cluster: &ClusterId, epochs: &[u32]) -> bool {
    epochs.iter().any(|epoch| Name::Claim(*epoch).key(cluster) == version.at.key)
}

enum Opened {
    Claim(Box<Seen>),
    Release(Box<SeenRelease>),
}

enum Unopened {
    /// The vault did not give the object, so nothing is known about it.
    Vault(anyhow::Error),
    /// The object is no claim.
    Object(anyhow::Error),
}

async fn open(
    vault: &dyn Vault,
    cluster: &ClusterId,
    version: &Version,
    keys: &TrustedKeys,
) -> Result<Opened, Unopened> {
    let packed = match read_range(vault, &version.at, 0..version.size).await {
        Ok(packed) => packed,
        // Removed since it was listed: junk that its owner took away again.
        Err(error @ swarmdr_vault::VaultError::NotFound { .. }) => return Err(Unopened::Object(error.into())),
        Err(error) => return Err(Unopened::Vault(error.into())),
    };
    judge_bytes(cluster, version, &packed, keys).map_err(Unopened::Object)
}

/// Verifies the signature, and that the document names the place that it was found at.
fn judge_bytes(cluster: &ClusterId, version: &Version, packed: &[u8], keys: &TrustedKeys) -> Result<Opened> {
    let opened = receipt::open(packed, &keys.at(version.modified))?;
    match Name::parse(&version.at.key, cluster) {
        Some(Name::Claim(epoch)) => {
            let claim: Claim = parse(&opened.document)?;
            require_place(claim.version, (claim.epoch, &claim.cluster_id), (epoch, cluster))?;
            let digest = Digest::of(&opened.document);
            Ok(Opened::Claim(Box::new(Seen {
                claim,
                digest,
                signer: opened.key_id,
                stored: version.modified,
                at: version.at.clone(),
                size: version.size,
            })))
        }
        Some(Name::Release { epoch, claim, .. }) => {
            let release: Release = parse(&opened.document)?;
            require_place(release.version, (release.epoch, &release.cluster_id), (epoch, cluster))?;
            ensure!(release.claim_id == claim, "it names another claim than its key");
            let digest = Digest::of(&opened.document);
            let (signer, at, size) = (opened.key_id, version.at.clone(), version.size);
            Ok(Opened::Release(Box::new(SeenRelease { release, digest, signer, at, size })))
        }
        None => bail!("it has another name"),
    }
}

fn parse<T: DeserializeOwned>(document: &[u8]) -> Result<T> {
    serde_json::from_slice(document).context("its document is of another kind")
}

fn require_place(version: u32, named: (u32, &ClusterId), found: (u32, &ClusterId)) -> Result<()> {
    ensure!(version == VERSION, "it is of version {version}");
    ensure!(named == found, "it names another place than the one it was found at");
    Ok(())
}
