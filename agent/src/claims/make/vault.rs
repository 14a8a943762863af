//! The claim in one vault: it is put there, and judged once every claim that was on its way is listed.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use swarmdr_vault::{NO_PROGRESS, Upload, Vault, VaultError, store};
use tempfile::NamedTempFile;

use super::{Attempt, lost};
use crate::{
    claims::{Claim, Ended, Name, Query, Reading, Seen, held::overlooked, judge, newest, read},
    outcome::{failpoint, failure::Failure},
};

/// Least time to wait on a server that enforces the condition; it waits twice as long as the put took, if that is more.
const LEAST_SETTLE: Duration = Duration::from_millis(500);

/// What one vault did with the claim.
pub(super) enum Answer {
    Held,
    /// Another claim holds there.
    Lost {
        why: Failure,
        /// Whether this one is there as well.
        stored: bool,
    },
    /// It is there, and void, by a claim that does not hold.
    Void,
    KeyTaken {
        /// Whether a claim lies there that was given up, and not an object that is none.
        by_claim: bool,
    },
    Denied(anyhow::Error),
    Failed(anyhow::Error),
    /// It was put, and whether it holds is not known.
    Unsure(anyhow::Error),
}

impl Answer {
    /// Whether the claim may be in the vault, whatever it is worth there.
    pub(super) fn may_be_stored(&self) -> bool {
        match self {
            Answer::Held | Answer::Void | Answer::Failed(_) | Answer::Unsure(_) => true,
            Answer::Lost { stored, .. } => *stored,
            Answer::KeyTaken { .. } | Answer::Denied(_) => false,
        }
    }
}

/// A claim that is put into one vault after the other.
pub(super) struct Put<'a> {
    pub(super) claim: &'a Claim,
    pub(super) packed: &'a [u8],
    /// What was seen before it was made.
    pub(super) readings: &'a [Result<Reading>],
    /// Whether every rival must be under the same key: there is no other vault, and no claim that one of them may not see.
    pub(super) is_on_one_key: bool,
}

impl Put<'_> {
    pub(super) fn has_seen(&self, seen: &Seen) -> bool {
        let mut known = self.readings.iter().flatten().flat_map(|reading| &reading.claims);
        known.any(|known| known.claim.claim_id == seen.claim.claim_id)
    }
}

impl Attempt<'_> {
    /// Puts the claim into one vault, within the limit. The wait for it to settle comes on top.
    pub(super) async fn put_in_time(&self, vault: &dyn Vault, put: &Put<'_>) -> Result<Answer> {
        let put = self.put_into(vault, put);
        let Some(limit) = self.terms.limit else { return put.await };
        match tokio::time::timeout(limit + self.config.standby.claim_settle.duration(), put).await {
            Ok(answer) => answer,
            // As after a reply that was lost: it may be there.
            Err(_) => Ok(Answer::Failed(anyhow!("it did not answer within {limit:?}"))),
        }
    }

    /// Puts the claim into one vault.
    async fn put_into(&self, vault: &dyn Vault, put: &Put<'_>) -> Result<Answer> {
        let Put { claim, packed, .. } = put;
        let file = file_of(packed)?;
        let upload = Upload::of_file(Name::Claim(claim.epoch).key(&claim.cluster_id), file.path(), self.now)?;
        let begun = Instant::now();
        let stored = match store(vault, &upload, NO_PROGRESS).await {
            Ok(_) => true,
            Err(VaultError::AlreadyExists { .. }) => false,
            Err(error @ VaultError::AccessDenied { .. }) => return Ok(Answer::Denied(error.into())),
            Err(error) => return Ok(Answer::Failed(error.into())),
        };
        failpoint::reach("claim-put");
        if stored {
            let (took, since) = (begun.elapsed(), Instant::now());
            let settle = self.settle(vault, &upload, put.is_on_one_key, took).await;
            // What the questions took has passed as well.
            tokio::time::sleep(settle.saturating_sub(since.elapsed())).await;
        }
        let reading = match read(vault, Query { first: &[claim.epoch], ..self.query() }).await {
            Ok(reading) => reading,
            // It may be there, and nobody knows whether it was the first.
            Err(error) => return Ok(Answer::Unsure(error.context("whether the claim holds there is not known"))),
        };
        let entries = judge(&reading, &Ended::of(put.readings.iter().flatten().chain([&reading])));
        if !self.terms.fenced
            && let Some(first) = overlooked(&entries, &reading, claim, |seen| put.has_seen(seen))
        {
            return Ok(Answer::Lost { why: lost(first, &reading), stored });
        }
        match newest(&entries) {
            Some(seen) if seen.claim.claim_id == claim.claim_id => Ok(Answer::Held),
            Some(seen) if stored || seen.claim.epoch >= claim.epoch => {
                Ok(Answer::Lost { why: lost(seen, &reading), stored })
            }
            // Beaten by one that was given up, where nothing holds.
            None if stored => Ok(Answer::Void),
            _ => Ok(Answer::KeyTaken { by_claim: entries.iter().any(|entry| entry.seen.claim.epoch == claim.epoch) }),
        }
    }

    /// Returns how long to wait until all claims that were on their way are listed. What the server says about the key of
    /// this one says nothing about rivals under other keys.
    async fn settle(&self, vault: &dyn Vault, upload: &Upload, is_on_one_key: bool, took: Duration) -> Duration {
        let whole = self.config.standby.claim_settle.duration();
        if !is_on_one_key {
            return whole;
        }
        let is_enforced = matches!(vault.put(upload, NO_PROGRESS).await, Err(VaultError::AlreadyExists { .. }));
        let others = match vault.list_versions(&upload.key, None).await {
            Ok(page) => page.versions.iter().filter(|version| version.at.key == upload.key).count() > 1,
            Err(_) => true,
        };
        if is_enforced && !others { (2 * took).max(LEAST_SETTLE).min(whole) } else { whole }
    }
}

fn file_of(bytes: &[u8]) -> Result<NamedTempFile> {
    let mut file = NamedTempFile::new().context("failed to make a temporary file")?;
    file.write_all(bytes).with_context(|| format!("failed to write {}", file.path().display()))?;
    Ok(file)
}
