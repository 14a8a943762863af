//! The end of a claim behind which nobody stands, as after a restore that was killed for good.
//!
//! The release is for good, so somebody who stands behind the claim must not be overlooked: one that is fresh may be that of a
//! host which restores at this moment, and a vault that is away may be the one that shows a sign of life.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow};
use swarmdr_archive::ClusterId;

use super::{StepDown, Target};
use crate::{
    claims::{
        self, Claim, ClaimId, Ended, FRESH, Query, Reading, Record, ReleaseKind, Status, age, judge, lacking,
        life::{self, Own, Seen, Sign},
    },
    keys::promoter::Promoter,
    outcome::failure::Failure,
    vaults::Connected,
};

/// A claim that is named.
#[derive(Debug, Clone)]
pub struct Dead {
    pub epoch: u32,
    /// Which one, where several claims have the epoch.
    pub id: Option<ClaimId>,
    pub cluster: Option<ClusterId>,
    /// Whether somebody has seen that its site is dead, whatever its signs of life say.
    pub despite_sign_of_life: bool,
}

impl StepDown<'_> {
    /// Finds the claim, and refuses if somebody may stand behind it.
    pub(super) async fn dead_claim(&self, connected: &[Connected], promoter: &Promoter, dead: &Dead) -> Result<Target> {
        let cluster = match &dead.cluster {
            Some(cluster) => cluster.clone(),
            None => self.cluster(connected).await?,
        };
        let query = Query { first: &[dead.epoch], ..Query::new(&cluster, &promoter.trusted, self.run.now) };
        let readings = claims::read_all(connected, query).await;
        let (claim, is_repeated) = choose(&readings, dead, &cluster)?;
        let kind = ReleaseKind::Undone;
        let lacking = lacking(connected, &readings, &claim, kind);
        let unread = readings.iter().filter_map(|reading| reading.as_ref().err()).map(|error| format!("{error:#}"));
        let mut findings: Vec<String> = unread.collect();
        if !is_repeated {
            let (keys, own) = (&self.keyring.trusted, Own::default());
            let mut seen = life::look(connected, &cluster, keys, &own, self.run.now).await;
            if dead.despite_sign_of_life {
                findings.extend(seen.signs.drain(..).filter(Sign::is_fresh).map(|sign| sign.to_string()));
                seen.hidden.clear();
            }
            let made_here = Record::read(self.run.config, &cluster).is_some_and(|it| it.claim_id == claim.claim_id);
            require_dead(connected, &readings, &seen, &claim, made_here)?;
            findings.extend(seen.doubts);
        }
        Ok(Target { kind, claim, lacking, is_repeated, findings })
    }
}

/// Returns the claim that is meant, and whether it was ended before, in some of the vaults.
fn choose(readings: &[Result<Reading>], dead: &Dead, cluster: &ClusterId) -> Result<(Claim, bool)> {
    let (epoch, ended) = (dead.epoch, Ended::of(readings.iter().flatten()));
    let with = |statuses: &[Status]| -> BTreeMap<ClaimId, Claim> {
        let entries = readings.iter().flatten().flat_map(|reading| judge(reading, &ended));
        let wanted = entries.filter(|entry| statuses.contains(&entry.status)).map(|entry| entry.seen.claim);
        let wanted = wanted.filter(|claim| claim.epoch == epoch && dead.id.is_none_or(|id| id == claim.claim_id));
        wanted.map(|claim| (claim.claim_id, claim)).collect()
    };
    // A site that stepped down keeps those before it superseded, also once it is gone.
    let mut held = with(&[Status::Holds, Status::SteppedDown]);
    if held.len() > 1 {
        let several =
            Failure::usage(format!("several claims on swarm {cluster} have epoch {epoch}, in different vaults"));
        let named =
            held.values().map(|claim| format!("name one with --id: {} is of site {}", claim.claim_id, claim.site));
        return Err(named.fold(several, Failure::advice).into());
    }
    if let Some((_, claim)) = held.pop_first() {
        return Ok((claim, false));
    }
    let is_missing = |claim: &Claim| {
        let of_it = |release: &claims::Release| {
            (release.epoch, release.claim_id, release.kind) == (epoch, claim.claim_id, ReleaseKind::Undone)
        };
        readings.iter().flatten().any(|it| !it.releases.iter().any(|seen| of_it(&seen.release)))
    };
    let released = with(&[Status::Released]).into_values().find(is_missing);
    let released = released.ok_or_else(|| {
        Failure::refused(format!("no claim of epoch {epoch} on swarm {cluster} holds, so there is nothing to end"))
            .advice("`swarmdr-agent list --claims` shows the claims")
    })?;
    Ok((released, true))
}

/// Refuses if somebody stands behind the claim, and where that is not known.
fn require_dead(
    vaults: &[Connected],
    readings: &[Result<Reading>],
    seen: &Seen,
    claim: &Claim,
    made_here: bool,
) -> Result<()> {
    let (id, epoch) = (claim.claim_id.to_string(), claim.epoch);
    if let Some(sign) = seen.signs.iter().find(|sign| sign.is_fresh() && sign.sign.claim_id.as_ref() == Some(&id)) {
        return Err(Failure::refused(format!("somebody stands behind claim {epoch}: {sign}"))
            .advice("run `swarmdr-agent step-down` there, without --claim")
            .advice("if you have seen that it is dead: --despite-sign-of-life")
            .into());
    }
    if !seen.hidden.is_empty() {
        return Err(Failure::refused(format!(
            "somebody may stand behind claim {epoch}: not every sign of life can be read"
        ))
        .advice("trust the keys of all managers: trusted_keys, or --trust for this run")
        .advice("if you have seen that the site of the claim is dead: --despite-sign-of-life")
        .because(anyhow!(seen.hidden.join("; ")))
        .into());
    }
    let age = age(readings.iter().flatten(), claim);
    if !made_here && age < FRESH {
        let rest = (FRESH - age).as_secs() / 60 + 1;
        return Err(Failure::refused(format!("the host of claim {epoch} may be restoring the swarm at this moment"))
            .advice(format!("run it again in {rest} min, once the claim is {} min old", FRESH.as_mins()))
            .advice(format!("or at once on the host that made it, of site {}", claim.site))
            .into());
    }
    let is_unread = |(vault, reading): &(&Connected, &Result<Reading>)| {
        reading.is_err() || seen.unread.contains(&vault.settings.url)
    };
    let unread: Vec<&Connected> = vaults.iter().zip(readings).filter(is_unread).map(|(vault, _)| vault).collect();
    let needed = unread.iter().filter(|vault| vault.settings.required || unread.len() == vaults.len());
    let needed: Vec<&str> = needed.map(|vault| vault.settings.url.as_str()).collect();
    if needed.is_empty() {
        return Ok(());
    }
    Err(Failure::refused(format!("whether somebody stands behind claim {epoch} is not known"))
        .advice("run it again when that vault answers")
        .advice("a [[vault]] with `required = false` may be away while another one answers")
        .because(anyhow!("{} cannot be read", needed.join(", ")))
        .into())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::SignedDuration;
    use swarmdr_vault::{VaultSettings, testkit::memory::MemoryVault};

    use super::*;
    use crate::{
        claims::{
            Seen as SeenClaim,
            life::look::tests::sign,
            testkit::{claim, cluster, reading, released, second_at, seen},
        },
        outcome::{exit::Exit, failure::Rendered},
    };

    fn vaults(required: bool) -> [Connected; 2] {
        ["a", "b"].map(|name| Connected {
            settings: VaultSettings { required, ..VaultSettings::new(format!("s3://{name}")) },
            vault: Arc::new(MemoryVault::new(name, None)),
        })
    }

    fn dead(epoch: u32, id: Option<ClaimId>) -> Dead {
        Dead { epoch, id, cluster: None, despite_sign_of_life: false }
    }

    /// The vault as it is some time after the first second.
    fn at(name: &str, claims: Vec<SeenClaim>, after: SignedDuration) -> Result<Reading> {
        Ok(Reading { now: second_at(0) + after, ..reading(name, claims) })
    }

    fn away() -> Result<Reading> {
        Err(anyhow!("away"))
    }

    #[test]
    fn a_claim_is_ended_in_every_vault_however_often_it_takes() {
        let of = seen(claim(2, 2, None), 0);
        let ended = || at("a", vec![of.clone()], FRESH).map(|it| Reading { releases: vec![released(&of)], ..it });
        let held = || at("b", vec![of.clone()], FRESH);
        let chosen = |readings: &[Result<Reading>], epoch| {
            choose(readings, &dead(epoch, None), &cluster()).map(|(claim, is_repeated)| (claim.claim_id, is_repeated))
        };
        let lacks =
            |readings: &[Result<Reading>]| lacking(&vaults(true), readings, &of.claim, ReleaseKind::Undone).len();
        assert_eq!(chosen(&[held(), held()], 2).expect("holds"), (ClaimId::of(2), false));
        assert_eq!(lacks(&[held(), held()]), 2);
        // A run that was killed, or that reached one vault, is ended by the next one.
        assert_eq!(chosen(&[ended(), held()], 2).expect("is missing in one"), (ClaimId::of(2), true));
        assert_eq!((lacks(&[ended(), held()]), lacks(&[ended(), away()])), (1, 1));
        for (readings, epoch) in [([ended(), ended()], 2), ([held(), held()], 3), ([away(), away()], 2)] {
            let error = chosen(&readings, epoch).expect_err("there is nothing to end");
            assert_eq!(Rendered::of(&error).exit, Exit::Refused);
        }
        assert_eq!(lacks(&[ended(), ended()]), 0);
    }

    #[test]
    fn a_site_that_stepped_down_and_is_gone_supersedes_nobody_for_ever() {
        let of = seen(claim(2, 2, None), 0);
        let mut release = released(&of);
        release.release.kind = ReleaseKind::SteppedDown;
        let gone = [at("a", vec![of.clone()], FRESH).map(|it| Reading { releases: vec![release], ..it })];
        let (chosen, is_repeated) = choose(&gone, &dead(2, None), &cluster()).expect("it counts still");
        assert_eq!((chosen.claim_id, is_repeated), (ClaimId::of(2), false));
        assert_eq!(lacking(&vaults(true)[..1], &gone, &chosen, ReleaseKind::Undone).len(), 1);
    }

    /// Each was made without sight of the other one, within a minute.
    #[test]
    fn of_two_claims_with_one_epoch_somebody_says_which_one_is_dead() {
        let (x, y) = (seen(claim(7, 1, None), 0), seen(claim(7, 2, None), 5));
        let readings = [at("a", vec![x], FRESH), at("b", vec![y], FRESH)];
        let error = choose(&readings, &dead(7, None), &cluster()).expect_err("either may be meant");
        let rendered = Rendered::of(&error);
        assert_eq!(rendered.exit, Exit::Usage);
        assert!(rendered.to_string().contains(&format!("--id: {} is of site site-2", ClaimId::of(2))), "{rendered}");
        for id in [1, 2].map(ClaimId::of) {
            let chosen = choose(&readings, &dead(7, Some(id)), &cluster()).expect("is named");
            assert_eq!((chosen.0.claim_id, chosen.1), (id, false));
        }
        choose(&readings, &dead(7, Some(ClaimId::of(3))), &cluster()).expect_err("is nowhere");
    }

    #[test]
    fn nobody_ends_a_claim_behind_which_somebody_may_stand() {
        let of = seen(claim(2, 2, None), 0);
        let second = SignedDuration::from_secs(1);
        let both = |age| [at("a", vec![of.clone()], age), at("b", vec![of.clone()], age)];
        let refused = |vaults: &[Connected], readings: &[Result<Reading>], seen: &Seen, made_here| {
            let refused = require_dead(vaults, readings, seen, &of.claim, made_here).err()?;
            let rendered = Rendered::of(&refused);
            assert_eq!(rendered.exit, Exit::Refused);
            Some(rendered.to_string())
        };
        let (none, required, optional) = (Seen::default(), vaults(true), vaults(false));
        assert_eq!(refused(&required, &both(FRESH), &none, false), None);
        // A restore that goes on at this moment; on its own host it has ended.
        let told = refused(&required, &both(FRESH - second), &none, false).expect("is fresh");
        assert!(told.contains("in 1 min") && told.contains("site-2"), "{told}");
        assert_eq!(refused(&required, &both(FRESH - second), &none, true), None);
        // Its site lives, and leaves its signs in the vault that is away.
        let mut living = sign("site-2", 10);
        living.sign.claim_id = Some(of.claim.claim_id.to_string());
        let lives = Seen { signs: vec![living], ..Seen::default() };
        assert!(
            refused(&required, &both(FRESH), &lives, true).is_some_and(|told| told.contains("stands behind claim 2"))
        );
        // They bear a key that this host does not trust.
        let hidden = Seen { hidden: vec!["3 are no sign of life".to_owned()], ..Seen::default() };
        assert!(refused(&required, &both(FRESH), &hidden, true).is_some_and(|told| told.contains("3 are no sign")));
        let unread = Seen { unread: vec!["s3://b".to_owned()], ..Seen::default() };
        let one = || [at("a", vec![of.clone()], FRESH), away()];
        for (readings, seen) in [(both(FRESH), &unread), (one(), &none)] {
            let told = refused(&required, &readings, seen, true).expect("a vault is away");
            assert!(told.contains("s3://b cannot be read"), "{told}");
            assert_eq!(refused(&optional, &readings, seen, true), None);
        }
    }
}
