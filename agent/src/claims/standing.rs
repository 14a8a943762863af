//! What the claims in the vaults say about the swarm of this host.

use jiff::Timestamp;
use serde::Serialize;
use swarmdr_archive::ClusterId;
use swarmdr_vault::VersionRef;

use super::{Claim, ClaimId, FRESH, Reading, Record, Seen, Status, Superseded, judge, owner, read_all};
use crate::{config::Config, keys::promoter::Promoter, vaults::Connected};

/// The standing of this host's swarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "standing")]
pub enum Standing {
    /// No promoter is known here, so no claim is judged.
    NotJudged,
    /// There is no claim that holds.
    Unclaimed,
    /// The newest claim is that of this swarm.
    Own { claim: Claim },
    /// Another site has the swarm: what this one does now is lost.
    Superseded { claim: Claim, since: Timestamp, vault: String },
    /// No vault could be read.
    Unknown,
}

/// The standing, and what was seen on the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Judged {
    #[serde(flatten)]
    pub standing: Standing,
    /// Objects among the claims that are none, and sites that disagree.
    pub findings: Vec<String>,
    /// Vaults that could not be read, and why.
    pub unread: Vec<String>,
    /// The versions that hold this swarm's own claim, by the address of their vault.
    #[serde(skip)]
    pub own: Vec<(String, VersionRef)>,
    /// Whether the claim of another site can no longer be that of a restore which is undone: it is not fresh, and every
    /// vault was read, so no release was missed.
    #[serde(skip)]
    pub is_settled: bool,
    /// Whether the claim is this swarm's own, and its site has stepped down.
    #[serde(skip)]
    pub has_stepped_down: bool,
}

impl Judged {
    /// Returns the claim of the site that has the swarm, if that is another one.
    pub fn superseded(&self) -> Option<Superseded> {
        match self.standing.clone() {
            Standing::Superseded { claim, since, vault } => {
                Some(Superseded { claim, since, vault, is_settled: self.is_settled })
            }
            _ => None,
        }
    }
}

/// Reads all vaults and judges. `label` is the claim that the swarm of this host carries, if it has one.
pub async fn of_this_host(
    config: &Config,
    vaults: &[Connected],
    promoter: &Promoter,
    cluster: &ClusterId,
    label: Option<ClaimId>,
    now: Timestamp,
) -> Judged {
    if promoter.trusted.is_empty() {
        let (findings, unread, own) = (Vec::new(), Vec::new(), Vec::new());
        let standing = Standing::NotJudged;
        return Judged { standing, findings, unread, own, is_settled: false, has_stepped_down: false };
    }
    let record = Record::read(config, cluster).map(|record| record.claim_id);
    let own: Vec<ClaimId> = label.into_iter().chain(record).collect();
    let read = read_all(vaults, cluster, &promoter.trusted, now).await;
    let (mut findings, mut unread) = (Vec::new(), Vec::new());
    let mut readings = Vec::new();
    for reading in read {
        match reading {
            Ok(reading) => readings.push(reading),
            Err(error) => unread.push(format!("{error:#}")),
        }
    }
    findings.extend(readings.iter().flat_map(Reading::findings));
    let standing = judged(&readings, &own, &mut findings);
    let own = match &standing {
        Standing::Own { claim } => versions_of(&readings, claim.claim_id),
        _ => Vec::new(),
    };
    let is_settled = unread.is_empty() && is_settled(&standing, &readings);
    let has_stepped_down = has_stepped_down(&standing, &readings);
    Judged { standing, findings, unread, own, is_settled, has_stepped_down }
}

/// Whether the claim of another site is older than a restore takes, by the clock of its vault.
fn is_settled(standing: &Standing, readings: &[Reading]) -> bool {
    let Standing::Superseded { since, vault, .. } = standing else { return false };
    let of_vault = readings.iter().find(|reading| reading.vault == *vault);
    of_vault.is_some_and(|reading| reading.now.duration_since(*since) >= FRESH)
}

fn has_stepped_down(standing: &Standing, readings: &[Reading]) -> bool {
    let Standing::Own { claim } = standing else { return false };
    let mut entries = readings.iter().flat_map(|reading| judge(reading, readings));
    entries.any(|entry| entry.seen.claim.claim_id == claim.claim_id && entry.status == Status::SteppedDown)
}

fn versions_of(readings: &[Reading], id: ClaimId) -> Vec<(String, VersionRef)> {
    let seen = |reading: &Reading| {
        let seen = reading.claims.iter().find(|seen| seen.claim.claim_id == id)?;
        Some((reading.vault.clone(), seen.at.clone()))
    };
    readings.iter().filter_map(seen).collect()
}

/// Judges what was read. The highest epoch in any vault counts: a vault that did not answer on the day of a claim does
/// not have it.
fn judged(readings: &[Reading], own: &[ClaimId], findings: &mut Vec<String>) -> Standing {
    if readings.is_empty() {
        return Standing::Unknown;
    }
    let held: Vec<(&Reading, Seen)> =
        readings.iter().filter_map(|reading| Some((reading, owner(&judge(reading, readings))?.clone()))).collect();
    let Some(epoch) = held.iter().map(|(_, seen)| seen.claim.epoch).max() else { return Standing::Unclaimed };
    let (ours, others): (Vec<_>, Vec<_>) = held
        .into_iter()
        .filter(|(_, seen)| seen.claim.epoch == epoch)
        .partition(|(_, seen)| own.contains(&seen.claim.claim_id));
    match (ours.into_iter().next(), others.into_iter().next()) {
        (Some((_, seen)), other) => {
            findings.extend(other.map(|(reading, other)| {
                format!("{}: {} claimed the swarm there with the same epoch {epoch}", reading.vault, other.claim.site)
            }));
            Standing::Own { claim: seen.claim }
        }
        (None, Some((reading, seen))) => {
            Standing::Superseded { claim: seen.claim, since: seen.stored, vault: reading.vault.clone() }
        }
        (None, None) => Standing::Unclaimed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::testkit::{claim, reading, seen};

    #[test]
    fn a_claim_that_may_still_be_undone_is_not_settled() {
        let first = seen(claim(1, 1, None), 0);
        let superseded = Standing::Superseded {
            claim: first.claim.clone(),
            since: first.stored,
            vault: reading("a", Vec::new()).vault,
        };
        let at = |age| Reading { now: first.stored + age, ..reading("a", vec![first.clone()]) };
        let second = jiff::SignedDuration::from_secs(1);
        assert!(!is_settled(&superseded, &[at(FRESH - second)]));
        assert!(is_settled(&superseded, &[at(FRESH)]));
        assert!(!is_settled(&Standing::Own { claim: first.claim.clone() }, &[at(FRESH)]));
    }

    #[test]
    fn the_highest_epoch_in_any_vault_says_whose_the_swarm_is() {
        let told = |readings: &[Reading], own: &[ClaimId]| {
            let mut findings = Vec::new();
            let standing = judged(readings, own, &mut findings);
            let word = match standing {
                Standing::Superseded { claim, .. } => format!("superseded {}", claim.epoch),
                Standing::Own { claim } => format!("own {}", claim.epoch),
                other => format!("{other:?}"),
            };
            (word, findings.len())
        };
        let first = || seen(claim(1, 1, None), 0);
        let second = || seen(claim(2, 2, Some(&first())), 5);
        let (a, b) = (reading("a", vec![first(), second()]), reading("b", vec![first()]));
        let is = |word: &str, findings| (word.to_owned(), findings);
        assert_eq!(told(&[], &[]), is("Unknown", 0));
        assert_eq!(told(&[reading("a", Vec::new())], &[]), is("Unclaimed", 0));
        assert_eq!(told(&[a.clone(), b.clone()], &[ClaimId::of(1)]), is("superseded 2", 0));
        assert_eq!(told(&[b.clone(), a.clone()], &[ClaimId::of(2)]), is("own 2", 0));
        assert_eq!(told(std::slice::from_ref(&b), &[]), is("superseded 1", 0));
        // Two sites that could not see each other's vault: each goes on, and is told.
        let rival = reading("b", vec![first(), seen(claim(2, 3, Some(&first())), 5)]);
        assert_eq!(told(&[a.clone(), rival.clone()], &[ClaimId::of(2)]), is("own 2", 1));
        assert_eq!(told(&[a, rival], &[ClaimId::of(3)]), is("own 2", 1));
    }
}
