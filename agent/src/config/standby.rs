//! Settings for a second site: who may take the swarm over, what a working site leaves in the vault, and what a standby
//! keeps.

use std::path::PathBuf;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use swarmdr_archive::ClusterId;
use swarmdr_vault::settings::unit_length::Seconds;

use super::{Config, TrustedKey, validation::require_absolute};
use crate::outcome::failure::Failure;

/// Bounds of `sign_of_life` in seconds: more often is a burden on the vault, more rarely says nothing.
const SIGN_OF_LIFE: std::ops::RangeInclusive<u32> = 30..=3600;

/// Bounds of `claim_settle` in seconds: some vaults keep times in whole seconds.
const CLAIM_SETTLE: std::ops::RangeInclusive<u32> = 2..=300;

/// The `[standby]` section of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StandbyConfig {
    /// Name of this site in claims; default: the host name.
    pub site: Option<String>,
    /// Public keys (`RW…`, or paths of .pub files) whose claims count.
    pub promoters: Vec<TrustedKey>,
    /// minisign secret key that signs the claims of this host; default: one that is derived from its age identity.
    pub promoter_key: Option<PathBuf>,
    /// Seconds to wait until every claim that was made at the same time is listed. Less is enough in a single vault that
    /// enforces conditions, and shows all claims.
    pub claim_settle: Seconds,
    /// Seconds between two signs of life of this manager; it leaves none if this is absent.
    pub sign_of_life: Option<Seconds>,
    /// What a manager does that finds its swarm taken over by another site.
    pub on_superseded: OnSuperseded,
    /// Swarm whose newest backup a standby keeps; default: the only one in the vaults.
    pub cluster: Option<ClusterId>,
    /// Whether a standby boots each backup that it keeps, as `drill` does.
    pub drill: bool,
    /// Seconds by which the newest backup may be late for `promote`; absent for no limit.
    pub max_lag: Option<Seconds>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnSuperseded {
    /// Report it: exit code, `status`, the hook `superseded`.
    #[default]
    Report,
    /// Drain every node as well, so that nothing of the old site runs twice.
    Drain,
}

impl Default for StandbyConfig {
    fn default() -> Self {
        Self {
            site: None,
            promoters: Vec::new(),
            promoter_key: None,
            claim_settle: Seconds::new(10),
            sign_of_life: None,
            on_superseded: OnSuperseded::Report,
            cluster: None,
            drill: false,
            max_lag: None,
        }
    }
}

impl Config {
    pub(super) fn validate_standby(&self) -> Result<()> {
        let standby = &self.standby;
        standby.promoter_key.iter().try_for_each(|path| require_absolute(path))?;
        let settle = standby.claim_settle.count();
        if !CLAIM_SETTLE.contains(&settle) {
            let (least, most) = CLAIM_SETTLE.into_inner();
            return Err(Failure::usage(format!("standby.claim_settle is {settle} s; write {least} to {most}")).into());
        }
        match standby.sign_of_life.map(Seconds::count) {
            Some(every) if !SIGN_OF_LIFE.contains(&every) => {
                let (least, most) = SIGN_OF_LIFE.into_inner();
                Err(Failure::usage(format!("standby.sign_of_life is {every} s; write {least} to {most}")).into())
            }
            _ => Ok(()),
        }
    }
}
