//! Makes the claim of this host, so that of several hosts exactly one has it.
//!
//! 1. The newest claims are read. Another's that is fresh ends the attempt.
//! 2. The claim is put under the next epoch, which must be free.
//! 3. Once every claim that was on its way at that time is listed, all are judged as everybody judges them ([`judge`]).
//!    How long that takes depends on the server. One that refuses a second put under the key has refused all that came
//!    later, but for those that it was storing at that moment; one that takes it says nothing. Rivals may be under another
//!    key, unless there is one vault and all was seen in it.
//!
//! A fresh claim that was in a vault before this one, and was not seen when this one was made, wins as well, whatever it
//! follows.
//!
//! A claim that loses in one vault and is the first of all ([`turn`]) is made anew once its rivals have given way, so one
//! host goes on where each lost to the other, or to a claim that was given up.
//!
//! The vaults are asked one after the other, in the order of the configuration, so the first one that all can reach
//! decides, and the others record it.

mod earlier;
mod next;
mod turn;
mod vault;

use std::time::Duration;

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use swarmdr_archive::SecretKey;

use self::{
    earlier::Earlier,
    vault::{Answer, Put},
};
use super::{
    Claim, ClaimId, Demand, Draft, Made, Name, Outcome, Query, READ_LIMIT, Reading, Record, ReleaseKind, Seen, Stage,
    Terms,
    held::{before, holders, is_fresh},
    left, read_all_within, release,
};
use crate::{
    config::Config,
    keys::promoter::Promoter,
    outcome::{exit::Exit, failpoint, failure::Failure},
    vaults::Connected,
};

/// Number of epochs that are tried while somebody else puts junk under each.
const TRIES: u32 = 8;

/// Makes the claim, or goes on with the one that an earlier run of this host made. Fails with exit code 3 if another
/// site was first.
pub async fn make(
    config: &Config,
    vaults: &[Connected],
    promoter: &Promoter,
    draft: &Draft,
    terms: &Terms,
    now: Timestamp,
) -> Result<Outcome> {
    let signer = promoter.signer.as_ref().context("this host has no key that signs claims")?;
    let attempt = Attempt { config, vaults, promoter, signer, draft, terms, now };
    // Releases of earlier claims of this host that no vault took.
    let mut untaken = Vec::new();
    let mut tried = 0;
    for _ in 0..TRIES {
        let readings = attempt.read().await;
        match attempt.go_on_with_own(&readings).await? {
            Earlier::Holds(made) => {
                attempt.finish(&made.claim)?;
                return Ok(Outcome::Made(made));
            }
            Earlier::GivenUp(epoch) => {
                tried = epoch;
                continue;
            }
            Earlier::Nothing => {}
        }
        let left = attempt.end_left(&readings).await;
        if let Some(lost) = attempt.rival(&readings) {
            return Err(left.into_iter().fold(lost, Failure::advice).into());
        }
        attempt.require_whole(&readings)?;
        untaken.extend(left);
        match attempt.put(&readings, tried).await? {
            End::Done(outcome) => return Ok(outcome.telling(untaken)),
            End::KeyTaken(epoch) => tried = epoch,
        }
    }
    Err(Failure::refused(
        "no claim could be made: each time there was an object under its key that is no claim that counts",
    )
    .advice("`swarmdr-agent list --claims` names them: whoever puts them there can write to your vault")
    .advice("remove them, or use --without-claim if you know that no other host restores this swarm")
    .into())
}

struct Attempt<'a> {
    config: &'a Config,
    vaults: &'a [Connected],
    promoter: &'a Promoter,
    signer: &'a SecretKey,
    draft: &'a Draft,
    terms: &'a Terms,
    now: Timestamp,
}

enum End {
    Done(Outcome),
    /// The key of this epoch is of no use: an object that is no claim lies there, or a claim that was given up.
    KeyTaken(u32),
}

impl Attempt<'_> {
    /// Reads all vaults, and the claim that this host made last before all others.
    async fn read(&self) -> Vec<Result<Reading>> {
        let own = Record::read(self.config, &self.draft.cluster_id).map(|record| record.epoch);
        let first: Vec<u32> = own.into_iter().collect();
        read_all_within(self.vault_limit(), self.vaults, Query { first: &first, ..self.query() }).await
    }

    fn vault_limit(&self) -> Duration {
        self.terms.limit.map_or(READ_LIMIT, |limit| limit.min(READ_LIMIT))
    }

    fn query(&self) -> Query<'_> {
        Query::new(&self.draft.cluster_id, &self.promoter.trusted, self.now)
    }

    fn own(&self) -> Option<ClaimId> {
        Record::read(self.config, &self.draft.cluster_id).map(|record| record.claim_id)
    }

    /// Describes the claim of another site that has just claimed the swarm.
    fn rival(&self, readings: &[Result<Reading>]) -> Option<Failure> {
        let own = self.own();
        let is_rival = |seen: &Seen| {
            let is_fresh = is_fresh(readings.iter().flatten(), &seen.claim, self.now);
            !self.terms.fenced && own != Some(seen.claim.claim_id) && is_fresh
        };
        holders(readings).into_iter().find(|(_, seen)| is_rival(seen)).map(|(reading, seen)| lost(&seen, reading))
    }

    /// Stops where not all claims could be looked at.
    fn require_whole(&self, readings: &[Result<Reading>]) -> Result<()> {
        let hidden: Vec<String> =
            readings.iter().flatten().filter(|it| !it.is_whole).flat_map(Reading::findings).collect();
        // What the operator vouches for is not known from the vault. The findings are told with the claim.
        if hidden.is_empty() || self.terms.fenced {
            return Ok(());
        }
        let failure = hidden.into_iter().fold(
            Failure::refused("whether another site has this swarm is not known: too many objects lie among the claims"),
            |failure, found| failure.advice(found),
        );
        Err(failure
            .advice("remove them: whoever put them there can write to your vault")
            .advice("or use --fenced if the site of every claim that may be hidden is gone for good")
            .advice("or use --without-claim if you know that no other host restores this swarm")
            .into())
    }

    /// Puts the claim into each vault, and judges it in each. Fails if another one holds in any of them.
    async fn put(&self, readings: &[Result<Reading>], tried: u32) -> Result<End> {
        let claim = self.next_claim(readings, tried)?;
        Record::new(claim.cluster_id.clone(), claim.epoch, claim.claim_id, Stage::Begun).write(self.config)?;
        failpoint::reach("claim-noted");
        let packed = self.sign(&claim)?;
        let is_on_one_key = tried == 0 && self.is_on_one_key(readings);
        let put = Put { claim: &claim, packed: &packed, readings, is_on_one_key };
        let (mut held, mut denied, mut failed) = (Vec::new(), Vec::new(), Vec::new());
        let mut is_sure = readings.iter().any(Result::is_ok);
        // Whether any vault may have it, and those that may take its release.
        let (mut may_exist, mut tried) = (false, Vec::new());
        for connected in self.vaults {
            let url = connected.settings.url.clone();
            let answer = self.put_in_time(connected.vault.as_ref(), &put).await;
            may_exist |= answer.as_ref().is_ok_and(Answer::may_be_stored);
            tried.extend((!matches!(answer, Ok(Answer::Denied(_)))).then(|| connected.clone()));
            match answer {
                Ok(Answer::Held) => held.push(url),
                Ok(Answer::KeyTaken { .. }) if !may_exist => return Ok(End::KeyTaken(claim.epoch)),
                // Elsewhere it may hold; that vault would never have it.
                Ok(Answer::Void | Answer::KeyTaken { by_claim: true }) => {
                    match self.give_up(&claim, true, &tried).await {
                        None => return Ok(End::KeyTaken(claim.epoch)),
                        Some(advice) => {
                            failed.push(format!("{url} does not take the claim for one that holds: {advice}"))
                        }
                    }
                }
                Ok(Answer::KeyTaken { by_claim: false }) => failed.push(format!(
                    "{url} does not have the claim: an object that is none lies under {}",
                    Name::Claim(claim.epoch).key(&claim.cluster_id)
                )),
                Ok(Answer::Denied(error)) => denied.push(format!("{url} does not have the claim: {error:#}")),
                Ok(Answer::Failed(error)) => failed.push(format!("{url} does not have the claim: {error:#}")),
                Ok(Answer::Unsure(error)) => {
                    is_sure = false;
                    failed.push(format!("{url}: {error:#}"));
                }
                Ok(Answer::Lost { why, .. }) => {
                    let is_first = may_exist && self.comes_first(&put, connected.vault.address()).await;
                    return match self.give_up(&claim, may_exist, &tried).await {
                        None if is_first => Ok(End::KeyTaken(claim.epoch)),
                        undone => Err(undone.into_iter().fold(why, Failure::advice).into()),
                    };
                }
                Err(error) => {
                    let undone = self.give_up(&claim, may_exist, &tried).await;
                    undone.iter().for_each(|advice| tracing::warn!("{advice}"));
                    return Err(error);
                }
            }
        }
        if held.is_empty() {
            // Where it may be there anyway, the next run goes on with it.
            match may_exist {
                true => self.finish(&claim)?,
                false => Record::forget(self.config, claim.claim_id),
            }
            return self.without(denied, failed, is_sure, may_exist.then(|| Box::new(claim))).map(End::Done);
        }
        if let Err(error) = self.finish(&claim) {
            // This run ends here, so nobody stands behind the claim.
            let undone = self.give_up(&claim, true, &tried).await;
            undone.iter().for_each(|advice| tracing::warn!("{advice}"));
            return Err(error);
        }
        let superseded = before(readings, &claim);
        let mut attention = [denied, failed].concat();
        attention.extend(readings.iter().flatten().flat_map(Reading::findings));
        let made = Made { claim, vaults: held, superseded, is_earlier: false, attention };
        Ok(End::Done(Outcome::Made(Box::new(made))))
    }

    /// Ends the claim after it lost in one of the vaults: in all that were tried, because one that did not answer may have
    /// taken it, and whoever brought a void one into another vault could take it for one that holds. Returns an advice if no
    /// vault took the release.
    async fn give_up(&self, claim: &Claim, may_exist: bool, tried: &[Connected]) -> Option<String> {
        let limit = self.vault_limit();
        let mut is_ended = !may_exist;
        for connected in tried.iter().filter(|_| may_exist) {
            let vaults = std::slice::from_ref(connected);
            let why = "another site's claim holds";
            let release = release(vaults, self.signer, claim, ReleaseKind::Undone, why, self.now);
            match tokio::time::timeout(limit, release).await {
                Ok(Ok(_)) => is_ended = true,
                Ok(Err(error)) => tracing::warn!("{error:#}"),
                Err(_) => tracing::warn!("{} took no release of the claim within {limit:?}", connected.settings.url),
            }
        }
        if is_ended {
            Record::forget(self.config, claim.claim_id);
            return None;
        }
        if let Some(record) = Record::of_host(self.config).filter(|record| record.claim_id == claim.claim_id) {
            left::note_undone(self.config, &record);
        }
        Some(step_down(claim))
    }

    /// Goes on without a claim if the caller's demand lets it. `is_sure` if the claims of others were seen in some vault,
    /// and this host's lies in none.
    fn without(
        &self,
        denied: Vec<String>,
        failed: Vec<String>,
        is_sure: bool,
        perhaps: Option<Box<Claim>>,
    ) -> Result<Outcome> {
        let may = match self.terms.demand {
            Demand::Always => false,
            Demand::UnlessUnknown => failed.is_empty() || is_sure,
            Demand::IfPossible => true,
        };
        let all = [denied.clone(), failed].concat();
        if may {
            return Ok(Outcome::NotMade { why: all, perhaps });
        }
        let mut failure = Failure::failed("no vault took this host's claim on the swarm; nothing was changed");
        if !denied.is_empty() {
            failure = failure.advice(
                "let these credentials write below claims/, with a lock: packaging/aws/policy-restore.json shows how",
            );
        }
        failure = failure.advice("or use --without-claim if you know that no other host restores this swarm");
        failure = perhaps.iter().fold(failure, |failure, claim| failure.advice(step_down(claim)));
        if all.is_empty() {
            bail!(failure);
        }
        Err(failure.because(anyhow::anyhow!(all.join("; "))).into())
    }
}

/// What ends a claim that may be there, and behind which nobody stands.
fn step_down(claim: &Claim) -> String {
    format!(
        "a vault may have taken the claim all the same: `swarmdr-agent step-down --claim {}` ends it, unless this command is run again",
        claim.epoch
    )
}

/// Describes the claim that was first.
fn lost(seen: &Seen, reading: &Reading) -> Failure {
    let Claim { site, epoch, verb, addresses, .. } = &seen.claim;
    let at = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    Failure::new(
        Exit::NotOurTurn,
        format!(
            "another site has this swarm: {site} ({at}) claimed it at {} by `{}`, epoch {epoch}, in {}; nothing was changed",
            seen.stored,
            verb.word(),
            reading.vault
        ),
    )
    .advice("see that it works there; then nothing is left to do here")
    .advice("if that site is gone for good: --fenced, by which you vouch for that")
}
