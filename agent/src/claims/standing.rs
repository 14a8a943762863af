//! What the claims in the vaults say about the swarm of this host.

use jiff::Timestamp;
use serde::Serialize;
use swarmdr_archive::{ClusterId, NodeId, TrustedKeys};
use swarmdr_vault::VersionRef;

use super::{
    Claim, ClaimId, Ended, Memory, Origin, Query, Reading, Record, Release, ReleaseKind, Seen, Status, Superseded,
    copies::{self, Missing, is_denied},
    held::{foremost, is_fresh, since},
    judge,
    memory::Later,
    own::{newest_own, own},
    owner, read_all,
};
use crate::{config::Config, keys::promoter::Promoter, vaults::Connected};

/// The swarm of this host, as its engine says, or as it is remembered.
#[derive(Debug, Clone)]
pub struct Here {
    pub cluster: ClusterId,
    /// The node that this host is in it.
    pub node: Option<NodeId>,
    /// The claim that the swarm carries, if it has one that can be read.
    pub label: Option<ClaimId>,
    pub origin: Origin,
}

impl From<Memory> for Here {
    fn from(memory: Memory) -> Self {
        Self { cluster: memory.cluster_id, node: memory.node, label: memory.label, origin: memory.origin }
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
    /// No vault could be read, or the one that has the newest claim could not.
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
    /// Claims of the same epoch as the own one that came after it.
    #[serde(skip)]
    pub later: Vec<Later>,
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
        let (missing, own, later) = (Vec::new(), Vec::new(), Vec::new());
        let (is_settled, has_stepped_down) = (false, false);
        Self { standing, findings, unread, denied, missing, undone, own, later, is_settled, has_stepped_down }
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
    known.judge(read_all(vaults, query).await, &promoter.trusted, now)
}

/// What this host knows of claims without the vaults.
#[derive(Default)]
struct Known {
    /// The claims of its own swarm.
    own: Vec<ClaimId>,
    /// The newest of them, with its epoch. The vault that has it may be away.
    newest: Option<(ClaimId, u32)>,
    /// Releases of claims that never counted. The vault that has one may be away.
    undone: Vec<Release>,
    /// Claims that came after own ones of the same epoch. The vault that shows it may be away.
    later: Vec<Later>,
}

impl Known {
    fn of(here: &Here, record: Option<&Record>, memory: Option<&Memory>) -> Self {
        let own = own(here, memory, record);
        Self {
            newest: newest_own(&own, memory, record),
            own,
            undone: memory.map(|memory| memory.undone.clone()).unwrap_or_default(),
            later: memory.map(|memory| memory.later.clone()).unwrap_or_default(),
        }
    }

    /// Returns the own claim that came before this one, as far as that was seen once.
    fn before(&self, claim: &Claim) -> Option<ClaimId> {
        let later = self.later.iter().find(|later| later.claim == claim.claim_id && self.own.contains(&later.than));
        later.map(|later| later.than)
    }

    /// Returns the epoch of the own claim if it comes after this one, no vault that was read shows it, and nobody ended it.
    fn after(&self, claim: &Claim, readings: &[Reading], ended: &Ended) -> Option<u32> {
        let (id, epoch) = self.newest.filter(|(id, epoch)| *epoch > claim.epoch && !ended.has_undone(*id))?;
        let mut seen = readings.iter().flat_map(|reading| &reading.claims);
        (!seen.any(|seen| seen.claim.claim_id == id)).then_some(epoch)
    }

    fn judge(&self, read: Vec<anyhow::Result<Reading>>, keys: &TrustedKeys, now: Timestamp) -> Judged {
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
        judged.standing = whose(&readings, &ended, self, &mut judged);
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
        judged.is_settled = judged.unread.is_empty() && is_settled(&judged.standing, &readings, now);
        judged
    }
}

/// Whether the claim of another site is older than a restore takes, and no release of it can have been missed in what was read.
fn is_settled(standing: &Standing, readings: &[Reading], now: Timestamp) -> bool {
    let Standing::Superseded { claim, .. } = standing else { return false };
    readings.iter().all(|reading| reading.is_whole) && !is_fresh(readings, claim, now)
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
/// not have it. Two that were made without sight of each other may have the same one: the first that a vault got counts.
fn whose(readings: &[Reading], ended: &Ended, known: &Known, judged: &mut Judged) -> Standing {
    if readings.is_empty() {
        return Standing::Unknown;
    }
    let held: Vec<(&Reading, Seen)> =
        readings.iter().filter_map(|reading| Some((reading, owner(&judge(reading, ended))?.clone()))).collect();
    let all: Vec<&Reading> = readings.iter().collect();
    let Some((reading, first)) = foremost(&all, held.clone()) else { return Standing::Unclaimed };
    let Claim { epoch, claim_id, .. } = first.claim;
    if let Some(standing) = known.before(&first.claim).and_then(|own| before_it(readings, ended, own)) {
        return standing;
    }
    if !known.own.contains(&claim_id) {
        // The site before is no newer one because the vault that shows what came after it is away.
        if let Some(own) = known.after(&first.claim, readings, ended) {
            judged.findings.push(format!(
                "no vault that was read shows the claim of this swarm, epoch {own}: the newest there is epoch {epoch} of {}",
                first.claim.site
            ));
            return Standing::Unknown;
        }
        let since = since(readings, &first.claim).unwrap_or(first.stored);
        return Standing::Superseded { claim: first.claim, since, vault: reading.vault.clone() };
    }
    for (reading, other) in held.iter().filter(|(_, seen)| seen.claim.epoch == epoch && seen.claim.claim_id != claim_id)
    {
        let told = "claimed the swarm there with the same epoch, and later";
        judged.findings.push(format!("{}: {} {told}: {epoch}", reading.vault, other.claim.site));
        judged.later.push(Later { than: claim_id, claim: other.claim.claim_id });
    }
    Standing::Own { claim: first.claim }
}

/// The standing where the vault that shows an own claim to be the first is away: nobody is superseded by an outage. `None` if
/// that claim was ended since.
fn before_it(readings: &[Reading], ended: &Ended, own: ClaimId) -> Option<Standing> {
    let entries = readings.iter().flat_map(|reading| judge(reading, ended));
    let entries: Vec<_> = entries.filter(|entry| entry.seen.claim.claim_id == own).collect();
    match entries.first() {
        _ if ended.has_undone(own) => None,
        Some(entry) => Some(Standing::Own { claim: entry.seen.claim.clone() }),
        None => Some(Standing::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::{
        FRESH,
        testkit::{claim, reading, second_at, seen},
    };

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
        let is_settled =
            |standing: &Standing, readings: &[Reading]| super::is_settled(standing, readings, second_at(3600));
        assert!(!is_settled(&superseded, &[cut]), "a release may be hidden");
        let second = jiff::SignedDuration::from_secs(1);
        assert!(!is_settled(&superseded, &[at(FRESH - second)]));
        assert!(is_settled(&superseded, &[at(FRESH)]));
        assert!(!super::is_settled(&superseded, &[at(FRESH)], second_at(60)), "the vault's clock was set forward");
        assert!(!is_settled(&Standing::Own { claim: first.claim.clone() }, &[at(FRESH)]));
    }

    #[test]
    fn the_highest_epoch_in_any_vault_says_whose_the_swarm_is() {
        let told = |readings: &[Reading], own: &[ClaimId]| {
            let known = Known { own: own.to_vec(), ..Known::default() };
            let mut judged = Judged::of(Standing::Unknown);
            let standing = whose(readings, &Ended::of(readings), &known, &mut judged);
            let word = match standing {
                Standing::Superseded { claim, .. } => format!("superseded {}", claim.epoch),
                Standing::Own { claim } => format!("own {}", claim.epoch),
                other => format!("{other:?}"),
            };
            (word, judged.findings.len())
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
        // Two sites that could not see each other's vault: the first goes on, and is told.
        let rival = reading("b", vec![first(), seen(claim(2, 3, Some(&first())), 6)]);
        assert_eq!(told(&[a.clone(), rival.clone()], &[ClaimId::of(2)]), is("own 2", 1));
        assert_eq!(told(&[a, rival], &[ClaimId::of(3)]), is("superseded 2", 0));
    }
}
