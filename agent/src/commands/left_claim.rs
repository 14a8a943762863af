//! Ends the claim that a run of this host left before it had placed anything, at the end of a run that did not go on with it.

use anyhow::Result;

use crate::{
    claims::{Record, left},
    config::Config,
    keys::promoter::Promoter,
    outcome::{exit::Exit, failure::Failure},
    run::Run,
    vaults::{self, Shared},
};

/// The claim that was left when a run began.
pub(super) struct LeftClaim(Option<Record>);

impl LeftClaim {
    /// Looks before the run does anything.
    pub(super) fn before(config: &Config) -> Self {
        Self(left::find(config))
    }

    /// Ends what is left after the run, and tells if that does not work: by the advice of a failure, or by exit 6. What this
    /// run itself failed to end was told by it.
    pub(super) async fn end(
        self,
        run: &Run<'_>,
        vaults: &Shared,
        promoter: impl FnOnce() -> Result<Promoter>,
        outcome: Result<Exit>,
    ) -> Result<Exit> {
        let Some(record) = left::find(run.config) else { return outcome };
        if record.is_owed() && self.0.as_ref() != Some(&record) {
            return outcome;
        }
        let ended = async {
            anyhow::Ok(left::end(run.config, vaults.get(run.config).await?, &promoter()?, &record, run.now).await)
        };
        let told = match ended.await {
            Ok(None) => return outcome,
            Ok(Some(told)) => told,
            Err(error) => left::told(&record, &format!("{error:#}")),
        };
        add(outcome, told)
    }
}

/// Does the same at the beginning of a run that makes no claim, with the keys that lie on this host. Returns what to tell.
pub(super) async fn end_at_once(run: &Run<'_>) -> Option<String> {
    let record = left::find(run.config)?;
    let ended = async {
        let (vaults, promoter) = (vaults::connect(run.config).await?, Promoter::at_hand(run.config)?);
        anyhow::Ok(left::end(run.config, &vaults, &promoter, &record, run.now).await)
    };
    ended.await.unwrap_or_else(|error| Some(left::told(&record, &format!("{error:#}"))))
}

/// Adds an action to a failure; a run that is done needs attention.
fn add(outcome: Result<Exit>, told: String) -> Result<Exit> {
    match outcome {
        Ok(exit) => {
            tracing::warn!("{told}");
            Ok(if exit == Exit::Done { Exit::Attention } else { exit })
        }
        Err(error) => Err(Failure::advise(error, told)),
    }
}
