//! What the claims in the vaults say about the swarm of this host.

use jiff::Timestamp;
use serde::Serialize;
use swarmdr_archive::{ClusterId, NodeId, TrustedKeys};
use swarmdr_vault::VersionRef;

use super::{
    Claim, ClaimId, Ended, FRESH, Memory, Query, Reading, Record, Release, ReleaseKind, Seen, Status, Superseded,
    copies::{self, Missing, is_denied},
    held::{age, since},
    judge, owner, read_all,
};
use crate::{config::Config, keys::promoter::Promoter, vaults::Connected};

/// The swarm of this host, as its engine says, or as it is remembered.
#[derive(Debug, Clone)]
pub struct Here {
    pub cluster: ClusterId,
    /// The node that this host is in it.
    pub node: Option<NodeId>,
    /// The claim that the swarm carries, if it has one.
    pub label: Option<ClaimId>,
}

impl From<Memory> for Here {
    fn from(memory: Memory) -> Self {
        Self { cluster: memory.cluster_id, node: memory.node, label: memory.label }
    }
}

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
    /// Those of them whose claims the credentials may not read.
    #[serde(skip)]
    pub denied: Vec<String>,
    /// What some vault lacks, of the own claim and of releases.
    #[serde(skip)]
    pub missing: Vec<Missing>,
    /// The releases of claims that never counted.
    #[serde(skip)]
    pub undone: Vec<Release>,
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
    /// What is judged where nothing else is known.
    pub(crate) fn of(standing: Standing) -> Self {
        let (findings, unread, denied, undone) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (missing, own) = (Vec::new(), Vec::new());
        let (is_settled, has_stepped_down) = (false, false);
        Self { standing, findings, unread, denied, missing, undone, own, is_settled, has_stepped_down }
    }

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

/// Reads all vaults and judges.
pub async fn of_this_host(
    config: &Config,
    vaults: &[Connected],
    promoter: &Promoter,
    here: &Here,
    now: Timestamp,
) -> Judged {
    if promoter.trusted.is_empty() {
        return Judged::of(Standing::NotJudged);
    }
    let record = Record::read(config, &here.cluster);
    let memory = Memory::read(config, Some(&here.cluster));
    let first: Vec<u32> =
        record.iter().map(|record| record.epoch).chain(memory.iter().filter_map(|it| it.epoch)).collect();
    let query = Query { first: &first, ..Query::new(&here.cluster, &promoter.trusted, now) };
    let known = Known::of(here, record.as_ref(), memory.as_ref());
    known.judge(read_all(vaults, query).await, &promoter.trusted)
}

/// What this host knows of claims without the vaults.
struct Known {
    /// The claims of its own swarm.
    own: Vec<ClaimId>,
    /// Releases of claims that never counted. The vault that has one may be away.
    undone: Vec<Release>,
}

impl Known {
    fn of(here: &Here, record: Option<&Record>, memory: Option<&Memory>) -> Self {
        let carried = memory.filter(|memory| memory.node == here.node).map(|memory| memory.carried.clone());
        let own =
            here.label.into_iter().chain(record.map(|record| record.claim_id)).chain(carried.into_iter().flatten());
        Self { own: own.collect(), undone: memory.map(|memory| memory.undone.clone()).unwrap_or_default() }
    }

    fn judge(&self, read: Vec<anyhow::Result<Reading>>, keys: &TrustedKeys) -> Judged {
        let mut judged = Judged::of(Standing::Unknown);
        let mut readings = Vec::new();
        for reading in read {
            match reading {
                Ok(reading) => readings.push(reading),
                Err(error) => {
                    let told = format!("{error:#}");
                    judged.denied.extend(is_denied(&error).then(|| told.clone()));
                    judged.unread.push(told);
                }
            }
        }
        judged.findings.extend(readings.iter().flat_map(Reading::findings));
        let ended = Ended::of(&readings).and(&self.undone);
        judged.standing = whose(&readings, &ended, &self.own, &mut judged.findings);
        if let Standing::Own { claim } = &judged.standing {
            judged.own = versions_of(&readings, claim.claim_id);
            judged.has_stepped_down = has_stepped_down(claim, &readings, &ended);
        }
        let own = match &judged.standing {
            Standing::Own { claim } => Some(claim),
            _ => None,
        };
        judged.missing = copies::missing(&readings, own, keys);
        let released = readings.iter().flat_map(|reading| &reading.releases).map(|seen| &seen.release);
        judged.undone = released.filter(|release| release.kind == ReleaseKind::Undone).cloned().collect();
        judged.is_settled = judged.unread.is_empty() && is_settled(&judged.standing, &readings);
        judged
    }
}

/// Whether the claim of another site is older than a restore takes, by the clock of the vault that has it longest, and no release of it can
/// have been missed in what was read.
fn is_settled(standing: &Standing, readings: &[Reading]) -> bool {
    let Standing::Superseded { claim, .. } = standing else { return false };
    readings.iter().all(|reading| reading.is_whole) && age(readings, claim) >= FRESH
}

fn has_stepped_down(claim: &Claim, readings: &[Reading], ended: &Ended) -> bool {
    let mut entries = readings.iter().flat_map(|reading| judge(reading, ended));
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
fn whose(readings: &[Reading], ended: &Ended, own: &[ClaimId], findings: &mut Vec<String>) -> Standing {
    if readings.is_empty() {
        return Standing::Unknown;
    }
    let held: Vec<(&Reading, Seen)> =
        readings.iter().filter_map(|reading| Some((reading, owner(&judge(reading, ended))?.clone()))).collect();
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
            let since = since(readings, &seen.claim).unwrap_or(seen.stored);
            Standing::Superseded { claim: seen.claim, since, vault: reading.vault.clone() }
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
        let cut = Reading { is_whole: false, ..at(FRESH) };
        assert!(!is_settled(&superseded, &[cut]), "a release may be hidden");
        let second = jiff::SignedDuration::from_secs(1);
        assert!(!is_settled(&superseded, &[at(FRESH - second)]));
        assert!(is_settled(&superseded, &[at(FRESH)]));
        assert!(!is_settled(&Standing::Own { claim: first.claim.clone() }, &[at(FRESH)]));
    }

    #[test]
    fn the_highest_epoch_in_any_vault_says_whose_the_swarm_is() {
        let told = |readings: &[Reading], own: &[ClaimId]| {
            let mut findings = Vec::new();
            let standing = whose(readings, &Ended::of(readings), own, &mut findings);
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
