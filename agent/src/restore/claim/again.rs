//! The claim of an earlier run, when the state that it had placed is to be formed after all.
//!
//! That run was cut short, and time has passed: another site may have claimed the swarm meanwhile. Vaults that cannot be read
//! could show it. Who named promoters relies on claims, so then nothing goes on without the vaults that have to answer, as in
//! a first run; anybody else is told. The same holds for a run that had made no claim.

use std::time::Duration;

use anyhow::Result;
use jiff::SignedDuration;

use super::{claimed::Claimed, rivals::latest};
use crate::{
    claims::{self, Claim, Ended, FRESH, Query, Reading, Record, Seen, Status, judge},
    outcome::{exit::Exit, failure::Failure},
    restore::{Restore, journal::Journal, ready::Backoff, silence::unknown},
    vaults::Connected,
};

/// Told where the earlier run had made no claim.
const NONE_MADE: &str =
    "the earlier run of this restore made no claim on the swarm, so another host may restore it as well";

/// What the vaults say of a restore that was cut short.
#[derive(Debug, PartialEq)]
enum Verdict {
    /// It may go on, with these doubts.
    GoOn(Vec<String>),
    /// Another site has the swarm.
    Lost(Box<Seen>),
    /// Somebody ended the claim of the earlier run, as one behind which nobody stands.
    Ended,
    /// Vaults that have to answer do not.
    Unknown(Vec<String>),
    /// Promoters are named, and the earlier run made no claim.
    Unclaimed,
}

/// What the verdict is found by.
struct Facts<'a> {
    own: Option<&'a Claim>,
    /// The last claim of this host, which is no rival.
    record: Option<Record>,
    /// Time since the earlier run began.
    elapsed: SignedDuration,
    /// Whether promoters are named.
    is_configured: bool,
    /// Whether the journal tells already what became of the claim.
    is_told: bool,
}

impl Restore<'_> {
    /// Refuses to form a swarm that another site has claimed since an earlier run of this host placed its state, and where
    /// that cannot be known and promoters are named, after a wait. Returns what is to be told.
    pub(in crate::restore) async fn require_claim(
        &self,
        journal: &Journal,
        fenced: bool,
        limit: Duration,
    ) -> Result<Vec<String>> {
        let (Some(means), false) = (self.means().await?, fenced) else { return Ok(Vec::new()) };
        if means.promoter.trusted.is_empty() {
            return Ok(Vec::new());
        }
        let claimed = journal.record.claim.as_ref();
        let cluster = &journal.record.plan.cluster_id;
        let facts = Facts {
            own: claimed.and_then(Claimed::claim),
            record: Record::read(self.run.config, cluster),
            elapsed: self.run.now.duration_since(journal.record.begun_at),
            is_configured: means.promoter.is_configured,
            is_told: claimed.is_some(),
        };
        let first: Vec<u32> = facts.own.iter().map(|own| own.epoch).collect();
        let mut backoff = Backoff::new();
        loop {
            let query = Query { first: &first, ..Query::new(cluster, &means.promoter.trusted, self.run.now) };
            let readings = claims::read_all(&means.vaults, query).await;
            let unread = match weigh(&means.vaults, &readings, &facts) {
                Verdict::GoOn(told) => return Ok(told),
                Verdict::Lost(seen) => return Err(lost(&seen)),
                Verdict::Ended => return Err(ended()),
                Verdict::Unclaimed => return Err(unclaimed()),
                Verdict::Unknown(unread) => unread,
            };
            if !backoff.wait(limit, "a vault that could show another site does not answer").await {
                return Err(unknown(&unread));
            }
        }
    }
}

fn weigh(vaults: &[Connected], readings: &[Result<Reading>], facts: &Facts<'_>) -> Verdict {
    let first = latest(readings, claims::owners(readings)).map(|(_, seen)| seen);
    let statuses = facts.own.map(|own| statuses(readings, own)).unwrap_or_default();
    let holds = statuses.iter().any(|status| matches!(status, Status::Holds | Status::SteppedDown));
    if let Some(seen) = first.filter(|seen| is_rival(seen, holds, readings, facts)) {
        return Verdict::Lost(Box::new(seen));
    }
    if !holds && statuses.contains(&Status::Released) {
        return Verdict::Ended;
    }
    let unread: Vec<(bool, String)> = readings
        .iter()
        .zip(vaults)
        .filter_map(|(reading, vault)| Some((vault.settings.required, format!("{:#}", reading.as_ref().err()?))))
        .collect();
    let is_needed = |(is_required, _): &&(bool, String)| *is_required || unread.len() == vaults.len();
    let needed: Vec<String> = unread.iter().filter(is_needed).map(|(_, why)| why.clone()).collect();
    match facts.is_configured {
        true if !needed.is_empty() => return Verdict::Unknown(needed),
        true if facts.own.is_none() => return Verdict::Unclaimed,
        _ => {}
    }
    let away = unread.into_iter().map(|(_, why)| format!("whether another site has this swarm is not known: {why}"));
    let none_made = (facts.own.is_none() && !facts.is_told).then(|| NONE_MADE.to_owned());
    Verdict::GoOn(away.chain(none_made).collect())
}

/// Whether the claim that counts is that of another site which came after the earlier run, or beat its claim. One that was
/// there before is what that run took over from. Clocks of vaults and of this host are not compared, only spans of time.
fn is_rival(seen: &Seen, holds: bool, readings: &[Result<Reading>], facts: &Facts<'_>) -> bool {
    let id = seen.claim.claim_id;
    match facts.own {
        Some(own) if own.claim_id == id => false,
        Some(own) if holds || seen.claim.epoch >= own.epoch => seen.claim.epoch >= own.epoch,
        _ if facts.record.as_ref().is_some_and(|record| record.claim_id == id) => false,
        _ => claims::age(readings.iter().flatten(), &seen.claim) < facts.elapsed.max(FRESH),
    }
}

/// What a claim is worth in each vault that has it.
fn statuses(readings: &[Result<Reading>], claim: &Claim) -> Vec<Status> {
    let ended = Ended::of(readings.iter().flatten());
    let entries = readings.iter().flatten().flat_map(|reading| judge(reading, &ended));
    entries.filter(|entry| entry.seen.claim.claim_id == claim.claim_id).map(|entry| entry.status).collect()
}

fn lost(seen: &Seen) -> anyhow::Error {
    Failure::new(
        Exit::NotOurTurn,
        format!(
            "{} claimed this swarm at {} with epoch {}, after an earlier run of this host had placed its state; nothing was changed by this run",
            seen.claim.site, seen.stored, seen.claim.epoch
        ),
    )
    .advice("see that it works there; then wipe this host")
    .advice("if that site is gone for good: --fenced, by which you vouch for that")
    .into()
}

fn ended() -> anyhow::Error {
    Failure::refused(
        "the claim of an earlier run of this host was ended before its swarm was back; nothing was changed by this run",
    )
    .advice("see who ended it, and why: `swarmdr-agent list --claims`")
    .advice(
        "if this host is to have the swarm: --fenced --force brings it back, and restores once more with a new claim",
    )
    .into()
}

fn unclaimed() -> anyhow::Error {
    Failure::refused("standby.promoters are configured, and an earlier run of this host placed its state without a claim; nothing was changed by this run")
        .advice("if you know that no other host restores this swarm: --without-claim, or --fenced")
        .into()
}

#[cfg(test)]
mod tests {
    use swarmdr_vault::{VaultSettings, testkit::memory::MemoryVault};

    use super::*;
    use crate::claims::{
        Stage,
        testkit::{claim, reading, second_at, seen},
    };

    const HOUR: i64 = 3600;

    fn vaults(required: [bool; 2]) -> Vec<Connected> {
        let vault = |(name, required): (&str, bool)| {
            let settings = VaultSettings { required, ..VaultSettings::new(format!("s3://{name}")) };
            Connected { settings, vault: std::sync::Arc::new(MemoryVault::new(name, None)) }
        };
        ["a", "b"].into_iter().zip(required).map(vault).collect()
    }

    /// The vault as it is three hours after the first second.
    fn with(claims: Vec<Seen>) -> Result<Reading> {
        Ok(Reading { now: second_at(3 * HOUR), ..reading("a", claims) })
    }

    fn away() -> Result<Reading> {
        Err(anyhow::anyhow!("away"))
    }

    /// The earlier run began an hour ago.
    fn facts(own: Option<&Claim>, is_configured: bool) -> Facts<'_> {
        Facts { own, record: None, elapsed: SignedDuration::from_hours(1), is_configured, is_told: false }
    }

    #[test]
    fn a_site_that_came_since_stops_a_run_that_is_resumed_whether_it_had_a_claim_or_not() {
        let before = || seen(claim(1, 1, None), 0);
        let own = seen(claim(2, 2, Some(&before())), 2 * HOUR);
        let later = seen(claim(3, 3, Some(&own)), 2 * HOUR + 60);
        let two = vaults([true, true]);
        let is_lost = |claims: Vec<Seen>, own: Option<&Claim>| {
            let readings = [with(claims.clone()), with(claims)];
            matches!(weigh(&two, &readings, &facts(own, false)), Verdict::Lost(_))
        };
        assert!(!is_lost(vec![before(), own.clone()], Some(&own.claim)));
        assert!(is_lost(vec![before(), own.clone(), later.clone()], Some(&own.claim)));
        // It made none: what was there before it began is what it took over from.
        assert!(!is_lost(vec![before()], None));
        assert!(is_lost(vec![before(), later.clone()], None));
        assert!(is_lost(vec![before(), seen(claim(2, 4, Some(&before())), 3 * HOUR - 60)], None));
        // A rival of the same epoch, which the first vault got before.
        let rival = seen(claim(2, 4, Some(&before())), 2 * HOUR - 60);
        assert!(is_lost(vec![before(), own.clone(), rival], Some(&own.claim)));
        // Its own claim is in no vault that answers.
        assert!(!is_lost(vec![before()], Some(&own.claim)));
        assert!(is_lost(vec![seen(claim(1, 4, None), 2 * HOUR + 60)], Some(&own.claim)));
        let record = Record::new(before().claim.cluster_id, 2, own.claim.claim_id, Stage::Used);
        let with_record = Facts { record: Some(record), ..facts(None, false) };
        assert!(!matches!(weigh(&two, &[with(vec![before(), own])], &with_record), Verdict::Lost(_)));
    }

    #[test]
    fn a_vault_that_is_away_stops_who_named_promoters_and_is_told_to_others() {
        let own = seen(claim(1, 2, None), 2 * HOUR);
        let whole = || with(vec![own.clone()]);
        let told = |required: [bool; 2], readings: &[Result<Reading>], is_configured| {
            weigh(&vaults(required), readings, &facts(Some(&own.claim), is_configured))
        };
        assert_eq!(told([true, true], &[whole(), whole()], true), Verdict::GoOn(Vec::new()));
        assert_eq!(told([true, true], &[whole(), away()], true), Verdict::Unknown(vec!["away".to_owned()]));
        assert!(matches!(told([true, true], &[whole(), away()], false), Verdict::GoOn(told) if told.len() == 1));
        assert!(matches!(told([true, false], &[whole(), away()], true), Verdict::GoOn(told) if told.len() == 1));
        assert!(matches!(told([false, false], &[away(), away()], true), Verdict::Unknown(why) if why.len() == 2));
        assert!(matches!(told([false, false], &[away(), away()], false), Verdict::GoOn(told) if told.len() == 2));
    }

    #[test]
    fn a_run_without_a_claim_goes_on_only_where_nobody_named_promoters_and_is_told() {
        let (two, none) = (vaults([true, true]), || [with(Vec::new()), with(Vec::new())]);
        assert_eq!(weigh(&two, &none(), &facts(None, true)), Verdict::Unclaimed);
        assert_eq!(weigh(&two, &none(), &facts(None, false)), Verdict::GoOn(vec![NONE_MADE.to_owned()]));
        let told = Facts { is_told: true, ..facts(None, false) };
        assert_eq!(weigh(&two, &none(), &told), Verdict::GoOn(Vec::new()), "its journal has it");
    }

    #[test]
    fn a_claim_that_somebody_ended_forms_no_swarm() {
        let own = seen(claim(1, 2, None), 2 * HOUR);
        let mut reading = with(vec![own.clone()]).expect("is read");
        reading.releases.push(crate::claims::testkit::released(&own));
        assert_eq!(weigh(&vaults([true, true]), &[Ok(reading)], &facts(Some(&own.claim), false)), Verdict::Ended);
    }
}
