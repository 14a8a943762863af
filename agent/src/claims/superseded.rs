//! A swarm that another site has taken over: what it still does is lost.

use std::fmt;

use jiff::Timestamp;

use super::{Claim, Name};
use crate::outcome::failure::Failure;

/// The claim of the other site, as the cause of a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superseded {
    pub claim: Claim,
    /// When the vault got the claim.
    pub since: Timestamp,
    pub vault: String,
    /// False while the claim may be that of a restore which is undone, or a vault could not be read.
    pub is_settled: bool,
}

impl Superseded {
    /// Returns the claim that caused the error, if there is one in its chain.
    pub fn find(error: &anyhow::Error) -> Option<&Self> {
        error.chain().find_map(|link| link.downcast_ref())
    }

    /// Refuses a backup, and says what to do.
    pub fn refuse(self) -> anyhow::Error {
        let key = Name::Claim(self.claim.epoch).key(&self.claim.cluster_id);
        Failure::refused("another site has this swarm, so what this one does now is lost; no backup was made")
            .advice(format!(
                "if that is meant: move the work to {}, then take this swarm apart (`docker swarm leave --force` on each node)",
                self.claim.site
            ))
            .advice(format!("if that restore never came about and nothing runs there: `swarmdr-agent step-down --claim {}`, with a promoter's key, ends {key}", self.claim.epoch))
            .because(anyhow::Error::new(self))
            .into()
    }
}

impl fmt::Display for Superseded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Claim { site, epoch, verb, reason, .. } = &self.claim;
        write!(
            f,
            "{site} claimed this swarm at {} by `{}` (epoch {epoch}, in {})",
            self.since,
            verb.word(),
            self.vault
        )?;
        match reason {
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Superseded {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        claims::testkit::{claim, second_at},
        outcome::{exit::Exit, failure::Rendered},
    };

    #[test]
    fn a_refusal_says_who_when_and_what_to_do_and_is_found_again() {
        let claim = Claim { reason: Some("fire".to_owned()), ..claim(3, 9, None) };
        let superseded = Superseded { claim, since: second_at(0), vault: "s3://v".to_owned(), is_settled: true };
        let error = superseded.clone().refuse().context("a backup");
        assert_eq!(Superseded::find(&error), Some(&superseded));
        let rendered = Rendered::of(&error);
        assert_eq!(rendered.exit, Exit::Refused);
        let text = rendered.to_string();
        for wanted in ["site-9", "2026-11-21T10:00:00Z", "epoch 3", "s3://v", "fire", "step-down", "00000003.claim"] {
            assert!(text.contains(wanted), "{wanted}: {text}");
        }
    }
}
