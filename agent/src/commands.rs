//! One file per verb: builds its context, calls the flow, prints the report.

pub mod backup;
pub mod bring_back;
pub mod completions;
pub mod config;
pub mod diff;
pub mod doctor;
pub mod drill;
pub mod inspect;
pub mod keygen;
pub mod list;
pub mod manual;
pub mod prune;
pub mod recover_quorum;
pub mod restore;
pub mod second_engine;
pub mod status;
pub mod verify;

use std::sync::Arc;

use anyhow::Result;
use jiff::Timestamp;
use swarmdr_archive::{Identities, TrustedKeys};

use crate::{
    cli::{Trust, Unlock},
    config::{Config, Loaded},
    exit::Exit,
    host::{
        absences::Absences,
        bring_back::{BroughtBack, finish},
        engine_units::EngineControl,
        leftovers::{self, Leftovers},
        stop_price::{self, Allowed},
    },
    identities,
    inspection::{Looker, Subject},
    progress::Progress,
    report::Output,
    restore::unfinished,
    shutdown::Shutdown,
    signing,
    swarm::UnlockKey,
    unlock_key::GivenKey,
};

/// After a run that may have stopped the engine, whatever became of it: what ran before runs again, or is told. So is what
/// earlier runs had left before this one began.
async fn as_it_was_found(config: &Config, left: &Leftovers, outcome: Result<Exit>) -> Result<Exit> {
    let back = match finish(config).await {
        Ok(back) => back,
        Err(error) => BroughtBack { attention: vec![format!("{error:#}")], ..BroughtBack::default() },
    };
    back.log();
    match outcome {
        Ok(Exit::Done) if !(back.attention.is_empty() && left.attention.is_empty()) => Ok(Exit::Attention),
        outcome => outcome,
    }
}

/// Ends what earlier runs left on this host, whatever they were; the host's lock must be held.
async fn left_by_others(config: &Config) -> Result<Leftovers> {
    let mut left = leftovers::clean(config).await?;
    left.notes.extend(unfinished::sweep(config));
    Ok(left)
}

/// What a stop of the engine ends here, if it may be stopped at all: asked before anything is touched.
async fn before_a_stop(config: &Config) -> Result<EngineControl> {
    let control = EngineControl::connect(config).await?;
    control.require_stoppable().await?;
    stop_price::require(&control, &Allowed::of_restore(config), &Absences::default()).await?;
    Ok(control)
}

/// What every verb gets.
#[derive(Debug)]
pub struct Context {
    pub loaded: Loaded,
    pub output: Output,
    pub progress: Progress,
    pub shutdown: Shutdown,
    pub now: Timestamp,
}

impl Context {
    /// Whose signatures are believed in this run.
    fn trusted(&self, trust: &Trust) -> Result<TrustedKeys> {
        signing::trusted(&self.loaded.config, &trust.keys)
    }

    /// What opens encrypted archives in this run; nothing if no identity is named anywhere.
    fn identities(&self, trust: &Trust) -> Result<Identities> {
        identities::find(&trust.identities, &self.loaded.config)
    }

    /// What looks into these. A host that trusts nobody can still look at its own directories.
    fn looker(&self, subjects: &[&Subject], trust: &Trust, unlock: &Unlock) -> Result<Looker<'_>> {
        let any_backup = subjects.iter().any(|subject| matches!(subject, Subject::Backup(_)));
        let (keys, identities) = match any_backup {
            true => (self.trusted(trust)?, self.identities(trust)?),
            false => (TrustedKeys::new(), Identities::none()),
        };
        Ok(Looker {
            config: &self.loaded.config,
            keys,
            identities: Arc::new(identities),
            unlock_key: unlock.read(&self.loaded.config)?,
            shutdown: &self.shutdown,
            progress: self.progress,
            now: self.now,
        })
    }
}

impl Unlock {
    /// The key, if one is named by the flag, by the configuration, or by a credential that stands for it.
    fn read(&self, config: &Config) -> Result<Option<UnlockKey>> {
        Ok(GivenKey::find(self.key_file.as_deref(), config)?.map(|key| key.for_state().clone()))
    }
}
