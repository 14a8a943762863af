//! Settings for nodes that join the swarm, and for the token that they join with.

use std::path::PathBuf;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Config, validation::require_absolute};

/// The `[join]` section of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JoinConfig {
    /// Addresses of managers (`host:port`; 2377 without a port), asked one after the other.
    pub managers: Vec<String>,
    /// Program (with its arguments) that prints further addresses of managers, one a line.
    pub managers_command: Vec<String>,
    /// File with the worker token, where no systemd credential `swarmdr.join-token` is loaded.
    pub token_file: Option<PathBuf>,
    /// Program (with its arguments) that prints the worker token; run again whenever a token is refused.
    pub token_command: Vec<String>,
    /// Address of this host that the other nodes use; default: the engine's choice.
    pub advertise_addr: Option<String>,
    /// Program (with its arguments) that gets the worker token on standard input and hands it to new nodes.
    pub publish_command: Vec<String>,
}

impl Config {
    pub(super) fn validate_join(&self) -> Result<()> {
        self.join.token_file.iter().try_for_each(|path| require_absolute(path))
    }
}
