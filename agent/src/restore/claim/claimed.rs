//! What a restore wants of its claim, what became of it, and what the report says of that.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::claims::{Carried, Claim, ClaimId, Fenced, Made, Outcome, Verb};

/// How a restore claims its swarm.
#[derive(Debug, Clone)]
pub struct Claiming {
    pub verb: Verb,
    pub reason: Option<String>,
    /// How old managers were dealt with, as far as the caller did that.
    pub fence: Vec<Fenced>,
    /// True if the state was formed beforehand.
    pub formed: bool,
    /// What the swarm carries in a state that was formed beforehand.
    pub carried: Carried,
    /// Time that each vault gets to show its claims, and again to take this one; `None` if it gets what it needs.
    pub limit: Option<Duration>,
}

impl Default for Claiming {
    fn default() -> Self {
        let (verb, carried) = (Verb::Restore, Carried::Nothing);
        Self { verb, reason: None, fence: Vec::new(), formed: false, carried, limit: None }
    }
}

/// What became of the claim, as the journal keeps it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Claimed {
    /// `None` if no claim was made.
    pub made: Option<Made>,
    /// The claim that a vault may have taken, though none said so. Given up like one that was made.
    #[serde(default)]
    pub perhaps: Option<Box<Claim>>,
    /// True until the swarm carries the claim.
    pub is_owed: bool,
    /// What the operator should see when the swarm is back.
    pub attention: Vec<String>,
}

impl Claimed {
    pub(super) fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Made(made) => {
                tracing::info!("this host claimed the swarm with epoch {}", made.claim.epoch);
                let attention = made.attention.clone();
                Self { made: Some(*made), perhaps: None, is_owed: true, attention }
            }
            Outcome::NotMade { why, perhaps } => {
                let why = why.join("; ");
                let told = format!("no claim was made, so another host may restore this swarm as well: {why}");
                // If it is there, the site that it belongs to must know it for its own.
                Self { made: None, is_owed: perhaps.is_some(), perhaps, attention: vec![told] }
            }
        }
    }

    /// The claim of the restore that is, or may be, in a vault.
    pub fn claim(&self) -> Option<&Claim> {
        self.made.as_ref().map(|made| &made.claim).or(self.perhaps.as_deref())
    }
}

/// The part of a report that tells of the claim.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClaimReport {
    pub epoch: u32,
    pub id: ClaimId,
    pub vaults: Vec<String>,
    /// The claim that held before.
    pub superseded: Option<Claim>,
}

impl ClaimReport {
    pub fn of(made: &Made) -> Self {
        Self {
            epoch: made.claim.epoch,
            id: made.id(),
            vaults: made.vaults.clone(),
            superseded: made.superseded.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::testkit::claim;

    #[test]
    fn a_claim_that_a_vault_may_have_taken_is_the_restores_own_and_owed_to_the_swarm() {
        let why = || vec!["s3://v did not answer".to_owned()];
        let perhaps = Box::new(claim(3, 7, None));
        let claimed = Claimed::of(Outcome::NotMade { why: why(), perhaps: Some(perhaps.clone()) });
        assert_eq!((claimed.claim(), claimed.is_owed, claimed.made.is_some()), (Some(perhaps.as_ref()), true, false));
        assert!(claimed.attention[0].contains("no claim was made") && claimed.attention[0].contains("s3://v"));
        let none = Claimed::of(Outcome::NotMade { why: why(), perhaps: None });
        assert_eq!((none.claim(), none.is_owed, none.attention.len()), (None, false, 1), "nothing is owed");
        let made = Made {
            claim: claim(4, 8, None),
            vaults: vec!["s3://v".to_owned()],
            superseded: None,
            is_earlier: false,
            attention: vec!["s3://w is away".to_owned()],
        };
        let claimed = Claimed::of(Outcome::Made(Box::new(made.clone())));
        assert_eq!((claimed.claim(), claimed.is_owed), (Some(&made.claim), true));
        assert_eq!(claimed.attention, made.attention);
        // A journal of an agent that did not know of claims that may be there.
        let old = r#"{"made":null,"is_owed":false,"attention":[]}"#;
        assert_eq!(serde_json::from_str::<Claimed>(old).expect("is read"), Claimed::default());
        let kept = Claimed { perhaps: Some(perhaps), is_owed: true, ..Claimed::default() };
        let text = serde_json::to_string(&kept).expect("serialises");
        assert_eq!(
            serde_json::from_str::<Claimed>(&text).expect("is read"),
            kept,
            "a killed run leaves it to the next"
        );
    }
}
