//! One file for each verb: it builds the context, calls the flow and prints the report.

mod backup;
mod bring_back;
mod claims;
pub mod cli;
mod completions;
mod config;
mod diff;
pub mod dispatch;
mod doctor;
mod drill;
mod export;
mod get;
mod images;
mod inspect;
mod keygen;
mod left_claim;
mod life;
mod list;
mod manual;
mod node;
mod on_change;
mod promote;
mod prune;
mod put;
mod recover_quorum;
mod restore;
mod second_engine;
mod standby;
mod status;
mod step_down;
mod undelete;
mod verify;

use std::sync::Arc;

use anyhow::Result;
use jiff::Timestamp;
use swarmdr_archive::TrustedKeys;

use crate::{
    archive::{
        inspection::{Inspector, Subject},
        specs::Specs,
    },
    commands::cli::{Trust, Unlock},
    config::{Config, Loaded},
    downtime::{
        bring_back::{BroughtBack, finish},
        engine_units::EngineControl,
        leftovers::{self, Leftovers},
        stop_history::StopHistory,
        stop_time::{self, Allowed},
    },
    host::shutdown::Shutdown,
    keys::{Keyring, identities, signing, unlock_key::GivenKey},
    outcome::{exit::Exit, output::Output, progress::Progress},
    restore::interrupted::unfinished,
    run::Run,
};

/// Brings back what ran before a run that may have stopped the engine, whether or not the run succeeded, and logs what
/// does not come back. The exit is [`Exit::Attention`] then, and also if `left` needs attention.
async fn bring_everything_back(config: &Config, left: &Leftovers, outcome: Result<Exit>) -> Result<Exit> {
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

/// Cleans up what earlier runs of any kind left on this host; the host's lock must be held.
async fn clean_leftovers(config: &Config) -> Result<Leftovers> {
    let mut left = leftovers::clean(config).await?;
    left.notes.extend(unfinished::sweep(config));
    Ok(left)
}

/// Finds out what a stop of the engine also stops, and refuses if the engine must not be stopped. Called before
/// anything is touched.
async fn require_stoppable_engine(config: &Config) -> Result<EngineControl> {
    let control = EngineControl::connect(config).await?;
    control.require_stoppable().await?;
    stop_time::require(&control, &Allowed::of_restore(config), &StopHistory::default()).await?;
    Ok(control)
}

/// Inputs of every verb.
#[derive(Debug)]
pub struct Context {
    pub loaded: Loaded,
    pub output: Output,
    pub progress: Progress,
    pub shutdown: Shutdown,
    pub now: Timestamp,
}

impl Context {
    fn config(&self) -> &Config {
        &self.loaded.config
    }

    /// Returns the same inputs with other settings.
    fn with_config(&self, config: Config) -> Self {
        Self {
            loaded: self.loaded.with(config),
            output: self.output,
            progress: self.progress,
            shutdown: self.shutdown.clone(),
            now: self.now,
        }
    }

    fn run(&self) -> Run<'_> {
        Run { config: self.config(), shutdown: &self.shutdown, progress: self.progress, now: self.now }
    }

    /// Returns the keys whose signatures are trusted in this run.
    fn trusted(&self, trust: &Trust) -> Result<TrustedKeys> {
        signing::trusted(self.config(), &trust.keys)
    }

    /// Returns the keys whose signatures on data streams are trusted in this run.
    fn trusted_on_streams(&self, trust: &Trust) -> Result<TrustedKeys> {
        signing::trusted_on_streams(self.config(), &trust.keys)
    }

    /// Returns all keys of this run. Identities and unlock key are optional: none is an error unless it is needed.
    fn keyring(&self, trust: &Trust, unlock: &Unlock) -> Result<Keyring> {
        Ok(Keyring {
            trusted: self.trusted(trust)?,
            identities: Arc::new(identities::find(&trust.identities, self.config())?),
            unlock_key: self.unlock_key(unlock)?,
        })
    }

    /// Returns the unlock key that the flag, the configuration or a credential names.
    fn unlock_key(&self, unlock: &Unlock) -> Result<Option<GivenKey>> {
        GivenKey::find(unlock.key_file.as_deref(), self.config())
    }

    /// Makes a inspector for these subjects. A host that trusts no key can still look at its own directories.
    fn inspector(&self, subjects: &[&Subject], trust: &Trust, unlock: &Unlock) -> Result<Inspector<'_>> {
        let any_backup = subjects.iter().any(|subject| matches!(subject, Subject::Backup(_)));
        let keyring = match any_backup {
            true => self.keyring(trust, unlock)?,
            false => Keyring::without_archives(self.unlock_key(unlock)?),
        };
        Ok(Inspector { run: self.run(), keyring, specs: Specs::Skip })
    }
}
